//===- QuantizeWeights.cpp - constants become stored integers ----------------===//
//
// Weights get scales by search and are rounded to nearest or against what their layers read, biases take the product
// of their layer's input and weight scales, and constants beside activations their own encoding. Each float constant
// is replaced by its integers and an nn.dequantize_weight. Activation ranges are fixed by now, as biases depend on them.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Diagnostics.h"
#include "passes/Assign/PassInputs.h"
#include "passes/Assign/RecipeResolver.h"
#include "passes/Passes.h"
#include "passes/Quantize/WeightRounding.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_QUANTIZEWEIGHTSPASS
#include "passes/Passes.h.inc"

namespace {

struct QuantizeWeights : impl::QuantizeWeightsPassBase<QuantizeWeights> {
  using Base::Base;
  QuantizeWeights(const quant::Statistics &statistics, const Recipe &recipe, const Target &target,
                  LayerCalibration *calibration)
      : inputs(recipe, target, &statistics), calibration(calibration) {}

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(inputs.load(module, recipeName, targetName, statisticsPath)) || failed(checkCalibration(module)))
      return signalPassFailure();
    FailureOr<ResolvedQuantizers> quantizers = resolveRecipe(module, inputs.recipe(), /*checkEffects=*/false);
    if (failed(quantizers))
      return signalPassFailure();
    ConstantQuantizer quantizer(quantizers->uses, inputs.statistics());
    // Weights before biases, which are stored in steps of their scales.
    auto forRole = [&](StringRef role, auto quantize) {
      for (auto [use, wanted] : llvm::zip_equal(quantizers->uses.list, quantizers->settings))
        if (use.role() == role && failed(quantize(use, wanted.weights)))
          return failure();
      return success();
    };
    if (failed(forRole("constant", [&](QuantizerUse &use, auto &) { return quantizer.quantizeConstant(use); })) ||
        failed(quantizeWeights(module, quantizer, forRole)) ||
        failed(forRole("bias", [&](QuantizerUse &use, auto &) { return quantizer.quantizeBias(use); })))
      return signalPassFailure();
    numStored += quantizer.numStored;
    numRaised += quantizer.numRaised;
  }

  template <typename ForRole>
  LogicalResult quantizeWeights(ModuleOp module, ConstantQuantizer &quantizer, ForRole forRole) {
    std::optional<WeightRounding> rounding;
    if (calibration)
      rounding.emplace(module, inputs.recipe(), quantizer, *calibration);
    auto quantizeOne = [&](QuantizerUse &use, const WeightSettings &settings) -> LogicalResult {
      if (rounding && rounding->take(use, settings))
        return success();
      FailureOr<ChosenWeight> chosen = quantizer.chooseWeight(use, settings);
      return succeeded(chosen) ? quantizer.store(use, chosen->values, chosen->encoding, chosen->origin) : failure();
    };
    if (failed(forRole("weight", quantizeOne)))
      return failure();
    return rounding ? rounding->run() : success();
  }

  LogicalResult checkCalibration(ModuleOp module) {
    if (calibration || !inputs.recipe().readsLayerInputs())
      return success();
    InFlightDiagnostic diagnostic = module.emitError("recipe '")
                                    << inputs.recipe().name << "' rounds weights against what layers read, and there are "
                                    << "no calibration samples";
    nn::markAsBadInput(diagnostic);
    diagnostic.attachNote() << "give samples with --calib, or take a recipe without output-error, rounding, "
                               "coordinate-descent, drift-correction and bias-correction";
    return diagnostic;
  }

  PassInputs inputs;
  LayerCalibration *calibration = nullptr;
};

} // namespace

std::unique_ptr<Pass> createQuantizeWeightsPass(const quant::Statistics &statistics, const Recipe &recipe,
                                                const Target &target, LayerCalibration *calibration) {
  return std::make_unique<QuantizeWeights>(statistics, recipe, target, calibration);
}

} // namespace nibble
