//===- Pipelines.cpp - the order of passes ---------------------------------===//
#include "passes/Passes.h"

#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace nibble {

void buildNormalizePipeline(OpPassManager &manager) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  functions.addPass(createInferShapesPass());
  // Raising looks for reshapes and plain products, which exporters hide behind unsqueezes and casts.
  functions.addPass(createSimplifyOperatorsPass());
  functions.addPass(createCSEPass());
  functions.addPass(createRaiseNormalizationsPass());
  functions.addPass(createRaiseActivationsPass());
  // Raising turns operands into constants' neighbours anew; fold what that made constant.
  functions.addPass(createInferShapesPass());
  functions.addPass(createOutlineBlocksPass());
}

void buildLegalizePipeline(OpPassManager &manager, const Target &target) {
  OpPassManager &functions = manager.nest<func::FuncOp>();
  LegalizePassOptions options;
  options.patterns.assign(target.legalizations.begin(), target.legalizations.end());
  functions.addPass(createLegalizePass(options));
  // Decompositions leave reshapes of reshapes and slices of constants behind.
  functions.addPass(createSimplifyOperatorsPass());
  functions.addPass(createInferShapesPass());
  functions.addPass(createPruneBlocksPass());
}

void registerNibblePipelines() {
  PassPipelineRegistration<>("nibble-normalize", "all passes of the normalize phase", buildNormalizePipeline);
  PassPipelineRegistration<>("nibble-lower", "all passes of the lower phase", buildLowerPipeline);
}

} // namespace nibble
