//===- LegalityCheck.h - whether a target executes a quantized program --------===//
#ifndef NIBBLE_PASSES_ASSIGN_LEGALITYCHECK_H
#define NIBBLE_PASSES_ASSIGN_LEGALITYCHECK_H

#include "lib/Target/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace nibble {

/// The question whether `op` is legal with the quantizers that its operands and its first result have now.
/// Fails with a diagnostic where a quantizer cannot be read.
llvm::FailureOr<LegalityQuery> buildLegalityQuery(mlir::Operation *op);

/// Where the recipe states what a quantizer, named by its symbol, stores.
using RecipePlaces = llvm::StringMap<std::string>;

/// Asks about every operator of the module. Fails with one diagnostic per operator that is not native: node,
/// encodings, the target's reason with its evidence, the rewrites that would help, and the recipe's line.
llvm::LogicalResult checkLegality(mlir::ModuleOp module, const RecipePlaces &places, const Target &target);

} // namespace nibble

#endif
