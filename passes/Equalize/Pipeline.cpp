//===- Pipeline.cpp - stages of a recipe to equalization passes ----------------===//
#include "passes/Passes.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>

using namespace mlir;

namespace nibble {

void addEqualizeStage(OpPassManager &manager, llvm::StringRef stage, const quant::Statistics &statistics,
                      const Recipe &recipe) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  if (stage == "fold-norm-scales")
    return functions.addPass(createFoldNormScalesPass());
  if (stage == "cross-layer")
    return functions.addPass(createCrossLayerEqualizationPass());
  if (stage == "rotate")
    return functions.addPass(createRotateResidualPass());
  assert((stage == "smoothquant" || stage == "awq") && "recipes name no other stage");
  SmoothActivationsPassOptions options;
  options.method = stage == "awq" ? SmoothingMethod::AWQ : SmoothingMethod::SmoothQuant;
  options.activationBits = recipe.activations.bits.value_or(0);
  // Grids of two and three bits are judged like those of four, and what stays float like one of eight.
  unsigned bits = recipe.weights.bits.value_or(8);
  options.weightBits = bits == 0 ? 8 : std::clamp(bits, 4u, 8u);
  if (recipe.weights.granularity == WeightSettings::Granularity::Group ||
      recipe.weights.granularity == WeightSettings::Granularity::LPBQ)
    options.groupSize = recipe.weights.groupSize.value_or(32);
  options.skipRotated = llvm::is_contained(recipe.equalize, "rotate");
  functions.addPass(createSmoothActivationsPass(statistics, options));
}

} // namespace nibble
