//===- WeightRounding.h - weights rounded against what their layers read -----===//
#ifndef NIBBLE_PASSES_QUANTIZE_WEIGHTROUNDING_H
#define NIBBLE_PASSES_QUANTIZE_WEIGHTROUNDING_H

#include "lib/Dialect/NN/Layers.h"
#include "passes/Quantize/ConstantQuantizer.h"
#include "passes/Quantize/LayerCalibration.h"

namespace nibble {

/// Rounds weights in program order, so many at a time as their moments fit into memory: with quantized inputs those of
/// one block, whose layers then read what the blocks before them have become.
class WeightRounding {
public:
  WeightRounding(mlir::ModuleOp module, const Recipe &recipe, ConstantQuantizer &quantizer, LayerCalibration &calibration)
      : module(module), recipe(recipe), quantizer(quantizer), calibration(calibration) {}

  /// Takes `use`, a weight, for rounding if `settings` ask for a stage that reads inputs and it is one layer's own; else
  /// it is to be stored as it is. Weights that are not taken although the recipe asks for it are counted by reason.
  bool take(QuantizerUse &use, const WeightSettings &settings);
  /// Rounds and stores all that was taken. Fails with a diagnostic.
  llvm::LogicalResult run();

private:
  struct Pending {
    QuantizerUse *use;
    const WeightSettings *settings;
    mlir::Operation *op;
    nn::Layer layer;
    /// The operation of the function that holds `op`.
    mlir::Operation *place;
  };
  std::vector<llvm::ArrayRef<Pending>> makeWaves() const;
  llvm::LogicalResult runWave(llvm::ArrayRef<Pending> wave);
  llvm::LogicalResult round(const Pending &pending, const quant::LayerMoments &moments);

  bool readsQuantized() const { return recipe.layerInputs.value_or("float") == "quantized"; }

  mlir::ModuleOp module;
  const Recipe &recipe;
  ConstantQuantizer &quantizer;
  LayerCalibration &calibration;
  std::vector<Pending> pending;
  std::map<std::string, int64_t> skipped;
};

} // namespace nibble

#endif
