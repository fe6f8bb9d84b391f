//===- Pipeline.cpp - the order of the quantization passes --------------------===//
#include "passes/Passes.h"

using namespace mlir;

namespace nibble {

void buildQuantizePipeline(OpPassManager &manager, const quant::Statistics &statistics, const Recipe &recipe,
                           const Target &target, LayerCalibration *calibration) {
  manager.addPass(createPlaceQuantizersPass());
  manager.addPass(createTieQuantizersPass());
  manager.addPass(createAssignEncodingsPass(recipe, target));
  // Biases are stored in steps of the input's scale, so activations come first.
  manager.addPass(createQuantizeActivationsPass(statistics, recipe, target));
  manager.addPass(createQuantizeWeightsPass(statistics, recipe, target, calibration));
}

} // namespace nibble
