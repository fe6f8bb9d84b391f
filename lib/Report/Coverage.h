//===- Coverage.h - how much of a model is on the integer grid -------------===//
//
// Definitions are in docs/spec/numerics.md.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_REPORT_COVERAGE_H
#define NIBBLE_REPORT_COVERAGE_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <map>
#include <string>

namespace nibble::report {

/// Whether an operation computes on float values, rather than moving or making them.
bool isComputeNode(mlir::Operation *op);

/// Multiply-accumulates of an operation with static shapes; 0 for all but products and convolutions.
int64_t multiplyAccumulates(mlir::Operation *op);

/// Whether all float operands of a compute node come from a quantizer and all its float results go to one.
bool isOnIntegerGrid(mlir::Operation *op);

struct Coverage {
  int64_t computeNodes = 0, integerComputeNodes = 0;
  int64_t multiplyAccumulates = 0, integerMultiplyAccumulates = 0;
  /// Float results of compute nodes and float inputs of the graph, as float32.
  int64_t activationBytes = 0, integerActivationBytes = 0;
  /// Compute nodes in float arithmetic, by operation name without the dialect.
  std::map<std::string, int64_t> floatOperators;
};

/// Coverage of a quantized module, or of a float one (which has none).
Coverage computeCoverage(mlir::ModuleOp module);

/// What the weights of a module take. A constant that several operations share counts once.
struct WeightSizes {
  int64_t parameters = 0;
  std::map<std::string, int64_t> bytesByType;
  /// Scales, zero points and block multipliers of weight quantizers.
  int64_t quantizerBytes = 0;
  int64_t bytes() const;
  /// Over all stored bytes, those of quantizers included; 0 without parameters.
  double bitsPerWeight() const;
};

/// Counts float constants and constants that nn.dequantize_weight reads; integers that are shapes,
/// indices and axes are no weights. Errors: those of reading quantizers.
llvm::Expected<WeightSizes> computeWeightSizes(mlir::ModuleOp module);

} // namespace nibble::report

#endif
