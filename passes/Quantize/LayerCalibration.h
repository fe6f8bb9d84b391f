//===- LayerCalibration.h - where rounding gets what layers read -------------===//
//
// Rounding a weight against its layer's inputs takes runs over calibration data in the middle of a pass. The pass asks
// through this interface; who has data and a runtime (the compiler driver) implements it.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_QUANTIZE_LAYERCALIBRATION_H
#define NIBBLE_PASSES_QUANTIZE_LAYERCALIBRATION_H

#include "lib/Quant/LayerMoments.h"
#include "lib/Quant/LayerRounding.h"
#include "mlir/IR/BuiltinOps.h"
#include <memory>

namespace nibble {

/// What the stages did to one layer.
struct RoundedLayer {
  std::string node, weight;
  unsigned bits = 0;
  std::vector<quant::RoundingStage> stages;
  double damping = 0;
  unsigned numDampingRetries = 0;
  int64_t numDeadColumns = 0, numFallbacks = 0;
};

class LayerCalibration {
public:
  virtual ~LayerCalibration() = default;

  /// Moments of what each of `layers` reads, in their order. `quantized`: as `module` computes it now, with quantizers
  /// that have a range and stored weights as they are; otherwise as the float program that `module` was computes it.
  /// `withDrift`: from both. Errors: BadInput (names sample and tensor), those of the runtime and the data.
  virtual llvm::Expected<std::vector<std::shared_ptr<const quant::LayerMoments>>>
  collectMoments(mlir::ModuleOp module, llvm::ArrayRef<mlir::Operation *> layers, bool quantized, bool withDrift) = 0;

  /// Bytes of moments that may be collected at once; what needs more takes several runs.
  virtual int64_t momentBytes() const = 0;

  virtual void record(RoundedLayer layer) = 0;
  /// Why weights were rounded without their layer's inputs: the reason, and how many weights.
  virtual void recordSkipped(llvm::StringRef reason, int64_t count) = 0;
};

} // namespace nibble

#endif
