//===- Pipeline.cpp - the order of the lowering passes -----------------------===//
#include "passes/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace nibble {

void buildLowerPipeline(OpPassManager &manager) {
  manager.addPass(createLowerToTosaPass());
  // Lowerings make the constants that they need anew every time.
  manager.addPass(createCSEPass());
  manager.addNestedPass<func::FuncOp>(createEncloseOperationsPass());
  tosa::TosaAttachTargetOptions environment;
  environment.profiles = {"pro_int"};
  environment.extensions = {"int4", "int16", "doubleround"};
  manager.addPass(tosa::createTosaAttachTarget(environment));
  tosa::TosaValidationOptions strict;
  strict.strictOpSpecAlignment = true;
  manager.addPass(tosa::createTosaValidation(strict));
  manager.addPass(createCheckIntervalsPass());
}

} // namespace nibble
