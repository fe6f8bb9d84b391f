//===- PassInputs.h - recipe, target and statistics of a pass ----------------===//
#ifndef NIBBLE_PASSES_ASSIGN_PASSINPUTS_H
#define NIBBLE_PASSES_ASSIGN_PASSINPUTS_H

#include "lib/Quant/Statistics.h"
#include "lib/Recipe/Recipe.h"
#include "lib/Target/Target.h"
#include "mlir/IR/Operation.h"
#include <memory>

namespace nibble {

/// What a pass reads besides the IR: given by the compiler driver, or loaded by the names that
/// `nibble-opt` passes as options.
class PassInputs {
public:
  PassInputs() = default;
  PassInputs(const Recipe &recipe, const Target &target, const quant::Statistics *statistics = nullptr)
      : givenRecipe(&recipe), givenTarget(&target), givenStatistics(statistics) {}

  /// Loads what was not given; an empty `statisticsPath` leaves statistics empty. Fails with a diagnostic at `op`.
  llvm::LogicalResult load(mlir::Operation *op, llvm::StringRef recipeName, llvm::StringRef targetName,
                           llvm::StringRef statisticsPath = "");

  const Recipe &recipe() const { return *givenRecipe; }
  const Target &target() const { return *givenTarget; }
  const quant::Statistics &statistics() const { return *givenStatistics; }

private:
  const Recipe *givenRecipe = nullptr;
  const Target *givenTarget = nullptr;
  const quant::Statistics *givenStatistics = nullptr;
  /// Shared, as MLIR copies passes.
  std::shared_ptr<const Recipe> loadedRecipe;
  std::shared_ptr<const Target> loadedTarget;
  std::shared_ptr<const quant::Statistics> loadedStatistics;
};

} // namespace nibble

#endif
