//===- Pipeline.cpp - the order of the quantization passes --------------------===//
#include "passes/Passes.h"

using namespace mlir;

namespace nibble {

void buildActivationPipeline(OpPassManager &manager, const quant::Statistics &statistics, const Recipe &recipe,
                             const Target &target) {
  manager.addPass(createPlaceQuantizersPass());
  manager.addPass(createTieQuantizersPass());
  manager.addPass(createAssignEncodingsPass(recipe, target));
  manager.addPass(createQuantizeActivationsPass(statistics, recipe, target));
}

void buildQuantizePipeline(OpPassManager &manager, const quant::Statistics &statistics, const Recipe &recipe,
                           const Target &target, LayerCalibration *calibration) {
  // Biases are stored in steps of the input's scale, so activations come first.
  buildActivationPipeline(manager, statistics, recipe, target);
  manager.addPass(createQuantizeWeightsPass(statistics, recipe, target, calibration));
}

} // namespace nibble
