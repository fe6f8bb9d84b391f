//===- LayerRuns.h - what layers read, by running calibration data -----------===//
#ifndef NIBBLE_CLI_DRIVER_LAYERRUNS_H
#define NIBBLE_CLI_DRIVER_LAYERRUNS_H

#include "calib/Datasets/Dataset.h"
#include "lib/Support/Progress.h"
#include "passes/Quantize/LayerCalibration.h"

#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/DenseMap.h"
#include <map>

namespace nibble::driver {

/// Answers the quantization passes from samples of the deployed shape, and keeps what they did for the report.
class LayerRuns : public LayerCalibration {
public:
  LayerRuns(std::shared_ptr<calib::Dataset> samples, Progress &progress) : samples(std::move(samples)), progress(progress) {}

  llvm::Expected<std::vector<std::shared_ptr<const quant::LayerMoments>>>
  collectMoments(mlir::ModuleOp module, llvm::ArrayRef<mlir::Operation *> layers, bool quantized, bool withDrift) override;
  int64_t momentBytes() const override { return int64_t(2) << 30; }
  void record(RoundedLayer layer) override { layers.push_back(std::move(layer)); }
  void recordSkipped(llvm::StringRef reason, int64_t count) override { skipped[reason.str()] += count; }

  /// In the order in which they were rounded.
  std::vector<RoundedLayer> layers;
  /// Weights that were rounded without their layer's inputs, by reason.
  std::map<std::string, int64_t> skipped;

private:
  std::shared_ptr<calib::Dataset> samples;
  Progress &progress;
  /// The float program, and its operations by those of the module that is being quantized.
  mlir::OwningOpRef<mlir::ModuleOp> floatModule;
  llvm::DenseMap<mlir::Operation *, mlir::Operation *> floatOperations;
};

} // namespace nibble::driver

#endif
