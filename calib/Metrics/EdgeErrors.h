//===- EdgeErrors.h - what rounding one activation costs the output ---------===//
#ifndef NIBBLE_CALIB_METRICS_EDGEERRORS_H
#define NIBBLE_CALIB_METRICS_EDGEERRORS_H

#include "calib/Datasets/Dataset.h"
#include "lib/Quant/Encoding.h"
#include "lib/Support/Progress.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace nibble::calib {

/// Values of a float function that one quantizer would round.
struct Edge {
  llvm::SmallVector<mlir::Value, 2> values;
  quant::Encoding encoding;
};

/// For every edge the error of the function's float outputs if it alone is rounded: squared error over the squared
/// float outputs, summed over outputs, as a mean over up to `sampleCount` samples that are spread over `dataset`.
/// Costs a run per edge and sample. Errors: those of the program and the dataset.
llvm::Expected<std::vector<double>> measureEdges(mlir::func::FuncOp function, llvm::ArrayRef<Edge> edges, Dataset &dataset,
                                                 int64_t sampleCount, Progress *progress = nullptr);

} // namespace nibble::calib

#endif
