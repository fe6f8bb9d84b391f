//===- QuantizerUses.h - where quantizers stand in the program ---------------===//
#ifndef NIBBLE_PASSES_CALIBRATE_QUANTIZERUSES_H
#define NIBBLE_PASSES_CALIBRATE_QUANTIZERUSES_H

#include "lib/Dialect/NN/NNDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include <vector>

namespace nibble {

/// One quantizer and its fake_quants: first that of the tensor that the quantizer is named after, the others in
/// program order.
struct QuantizerUse {
  nn::QuantizerOp quantizer;
  llvm::SmallVector<nn::FakeQuantOp, 2> fakeQuants;

  llvm::StringRef role() { return quantizer.getRole().value_or("activation"); }
  bool isActivation() { return role() == "activation"; }
  /// What computed the values of the tensor that the quantizer is named after; null for graph inputs.
  mlir::Operation *producer() { return fakeQuants.front().getInput().getDefiningOp(); }
  /// The values that are computed, not moved from one another: several where quantizers are tied.
  llvm::SmallVector<mlir::Value, 2> computedValues();
};

/// All quantizers of a module that have fake_quants, in the order of the first one in the program.
struct QuantizerUses {
  /// Fails with a diagnostic where a fake_quant names a quantizer that does not exist.
  static llvm::FailureOr<QuantizerUses> collect(mlir::ModuleOp module);

  /// The quantizer whose fake_quant gives `value`, also through block arguments and results; null for
  /// float edges.
  QuantizerUse *find(mlir::Value value);

  std::vector<QuantizerUse> list;
  llvm::DenseMap<mlir::StringAttr, size_t> indexOf;
};

} // namespace nibble

#endif
