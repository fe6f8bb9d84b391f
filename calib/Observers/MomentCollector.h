//===- MomentCollector.h - moments of layers' inputs over samples ------------===//
#ifndef NIBBLE_CALIB_OBSERVERS_MOMENTCOLLECTOR_H
#define NIBBLE_CALIB_OBSERVERS_MOMENTCOLLECTOR_H

#include "lib/Dialect/NN/Layers.h"
#include "lib/Quant/LayerMoments.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "llvm/ADT/DenseMap.h"
#include <memory>

namespace nibble::calib {

/// Keeps what a program computes for given values until the next run.
class ValueRecorder : public runtime::ExecutionObserver {
public:
  void want(mlir::Value value) { tensors[value]; }
  /// Empty where the run did not show the value.
  Tensor get(mlir::Value value) const { return tensors.lookup(value); }
  bool wants(mlir::Value value) override { return tensors.contains(value); }
  void onValue(mlir::Value value, const Tensor &tensor) override { tensors[value] = tensor; }

private:
  llvm::DenseMap<mlir::Value, Tensor> tensors;
};

/// Sums the moments of layers over samples. Layers that read one value in the same way share their moments. For long
/// inputs vectors are taken at equal distances, so that a layer sees about max(32768, 8 * columns) of them in all.
class MomentCollector {
public:
  /// `layers` have nn::getLayer. `floatLayers`, empty or as many, are the same layers in the float program; drift is
  /// then collected. `sampleCount` is how many samples will be added.
  MomentCollector(llvm::ArrayRef<mlir::Operation *> layers, llvm::ArrayRef<mlir::Operation *> floatLayers,
                  int64_t sampleCount);

  /// The observers of the two programs, the second only with `floatLayers`.
  runtime::ExecutionObserver &observer() { return recorder; }
  runtime::ExecutionObserver &floatObserver() { return floatRecorder; }

  /// To be called after the programs ran on a sample. Errors: BadInput where a layer reads a NaN or an infinity,
  /// naming sample and tensor.
  llvm::Error addSample(llvm::StringRef sampleName);

  /// One per layer, in their order.
  std::vector<std::shared_ptr<const quant::LayerMoments>> finish();

private:
  struct Input {
    mlir::Value value, floatValue;
    nn::InputPatches patches;
    std::unique_ptr<quant::MomentSums> sums;
  };
  std::vector<Input> inputs;
  std::vector<size_t> inputOfLayer;
  ValueRecorder recorder, floatRecorder;
  int64_t sampleCount, numAdded = 0;
};

} // namespace nibble::calib

#endif
