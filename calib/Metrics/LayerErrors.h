//===- LayerErrors.h - what each layer costs, alone and together -----------===//
//
// Isolated and accumulated error are defined in docs/spec/numerics.md. All
// isolated errors come from one run: the quantized program, in which every
// layer's result is compared with the float one and then replaced by it.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_METRICS_LAYERERRORS_H
#define NIBBLE_CALIB_METRICS_LAYERERRORS_H

#include "calib/Metrics/Errors.h"
#include "lib/Quant/Statistics.h"
#include "lib/Report/Report.h"
#include "lib/Runtime/Float/Interpreter.h"
#include <memory>

namespace nibble::calib {

/// Measures the compute nodes of a quantized function against the float function that it was made
/// from; they meet by ONNX tensor name. The quantized function must outlive this object.
class LayerErrors {
public:
  explicit LayerErrors(mlir::func::FuncOp quantized);
  ~LayerErrors();

  /// To be passed to Program::create: for the float function, and twice for the quantized one.
  runtime::ExecutionObserver &floatObserver();
  runtime::ExecutionObserver &isolatedObserver();
  runtime::ExecutionObserver &accumulatedObserver();

  struct Runs {
    std::vector<Tensor> reference, quantized;
  };
  /// Runs one sample through the three programs, and returns what the float and the fully quantized
  /// one gave. Holds the float model's layer results of one sample. Errors: those of the programs.
  llvm::Expected<Runs> addSample(runtime::Program &floatProgram, runtime::Program &isolatedProgram,
                                 runtime::Program &accumulatedProgram, llvm::ArrayRef<Tensor> inputs);

  /// One row per layer that was met in both functions, worst first. `statistics`, if given, names
  /// outliers and clipped values as reasons.
  std::vector<report::LayerError> finish(const quant::Statistics *statistics) const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace nibble::calib

#endif
