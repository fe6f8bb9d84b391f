#include "passes/Assign/PassInputs.h"

using namespace mlir;

namespace nibble {

LogicalResult PassInputs::load(Operation *op, StringRef recipeName, StringRef targetName, StringRef statisticsPath) {
  if (!givenRecipe) {
    llvm::Expected<Recipe> recipe = Recipe::load(recipeName);
    if (!recipe)
      return op->emitError(llvm::toString(recipe.takeError()));
    loadedRecipe = std::make_shared<const Recipe>(std::move(*recipe));
    givenRecipe = loadedRecipe.get();
  }
  if (!givenTarget) {
    llvm::Expected<std::unique_ptr<Target>> target = Target::load(targetName);
    if (!target)
      return op->emitError(llvm::toString(target.takeError()));
    loadedTarget = std::move(*target);
    givenTarget = loadedTarget.get();
  }
  if (givenStatistics)
    return success();
  quant::Statistics statistics;
  if (!statisticsPath.empty()) {
    llvm::Expected<quant::Statistics> loaded = quant::Statistics::load(statisticsPath);
    if (!loaded)
      return op->emitError(llvm::toString(loaded.takeError()));
    statistics = std::move(*loaded);
  }
  loadedStatistics = std::make_shared<const quant::Statistics>(std::move(statistics));
  givenStatistics = loadedStatistics.get();
  return success();
}

} // namespace nibble
