//===- RecipeResolver.h - what a recipe says about each quantizer ------------===//
#ifndef NIBBLE_PASSES_ASSIGN_RECIPERESOLVER_H
#define NIBBLE_PASSES_ASSIGN_RECIPERESOLVER_H

#include "lib/Recipe/Recipe.h"
#include "passes/Calibrate/QuantizerUses.h"

namespace nibble {

/// Settings of one quantizer: the recipe's defaults with the overrides that match it.
struct QuantizerSettings {
  WeightSettings weights;
  ActivationSettings activations;
  /// Where the number of bits was stated.
  SourcePosition bitsPosition;
};

/// The quantizers of a module, and the settings of each in the order of `uses.list`.
struct ResolvedQuantizers {
  QuantizerUses uses;
  std::vector<QuantizerSettings> settings;
};

/// What the recipe says about every quantizer. An override matches a weight or bias by the operation that
/// reads it and an activation by the operation that makes it; a constant beside activations follows its reader.
/// Fails as QuantizerUses::collect, with one diagnostic per quantizer that two overrides would set differently
/// and, where `checkEffects` is set (that is, before float edges lost their quantizers), per override without
/// effect.
llvm::FailureOr<ResolvedQuantizers> resolveRecipe(mlir::ModuleOp module, const Recipe &recipe, bool checkEffects);

} // namespace nibble

#endif
