//===- Legalizations.h - rewrites of float operators, by name --------------===//
//
// A target's file lists the rewrites that it wants by these names. Every rewrite
// takes one float form into another before anything is rounded.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_LEGALIZE_LEGALIZATIONS_H
#define NIBBLE_PASSES_LEGALIZE_LEGALIZATIONS_H

#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace nibble {

struct Legalization {
  /// As in a target's `legalizations:` list.
  llvm::StringLiteral name;
  /// When it applies, in words that finish "needs ...".
  llvm::StringLiteral conditions;
  /// "exact", or "bounded: ..." with the bound.
  llvm::StringLiteral numerics;
  /// Where values that it creates take their range from.
  llvm::StringLiteral range;
  /// The operation that is gone afterwards, without the dialect; empty where some may stay. One that
  /// stays although it should not is an error that quotes `conditions`.
  llvm::StringLiteral eliminates;
  /// Null where quantizers have to exist first: the quantize phase applies it.
  void (*populate)(mlir::RewritePatternSet &patterns);
};

/// All legalizations, in the order of the documentation.
llvm::ArrayRef<Legalization> getLegalizations();

/// What masked attention scores are clamped to, and below which values count as masks, see FiniteMasks.cpp.
inline constexpr float finiteMaskValue = -50.0f, maskThreshold = -10000.0f;

void populateErfGeluPatterns(mlir::RewritePatternSet &patterns);
void populateTanhGeluPatterns(mlir::RewritePatternSet &patterns);
void populateGroupNormPatterns(mlir::RewritePatternSet &patterns);
void populateFiniteMaskPatterns(mlir::RewritePatternSet &patterns);
void populateNaNGuardPatterns(mlir::RewritePatternSet &patterns);
void populateRotaryEmbeddingPatterns(mlir::RewritePatternSet &patterns);
void populateGroupQueryAttentionPatterns(mlir::RewritePatternSet &patterns);
void populateEinsumPatterns(mlir::RewritePatternSet &patterns);
void populateLimitRankPatterns(mlir::RewritePatternSet &patterns);
void populatePadIntoConvPatterns(mlir::RewritePatternSet &patterns);
void populateOperandOrderPatterns(mlir::RewritePatternSet &patterns);

} // namespace nibble

#endif
