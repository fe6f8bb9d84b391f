//===- LayerRounding.h - the stages that round one layer ---------------------===//
//
// In their order: target for drifted inputs, scales by the output's error, rounding, coordinate descent with scales
// refitted, bias correction. Each can be left out; what each cost and gained is reported.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_QUANT_LAYERROUNDING_H
#define NIBBLE_QUANT_LAYERROUNDING_H

#include "lib/Quant/Gptq.h"
#include "lib/Quant/LayerMoments.h"

#include <string>

namespace nibble::quant {

enum class RoundingMethod { Nearest, Gptq, SignRound, AdaRound };

struct LayerRoundingOptions {
  RoundingMethod method = RoundingMethod::Nearest;
  GptqOptions gptq;
  /// Of SignRound and AdaRound.
  unsigned iterations = 200;
  /// 0 leaves coordinate descent out.
  unsigned coordinateDescentSweeps = 0;
  bool refitScales = false;
  bool searchScalesByOutputError = false;
  /// Of correctForDrift; 0 leaves it out, as do moments without drift.
  double driftCorrection = 0;
  /// Whether a bias takes up the mean error of each output: the other stages then count errors about their mean.
  bool correctBias = false;
  /// Below which scales may not fall, in the order of the encoding's; empty where nothing bounds them.
  std::vector<float> minimumScales;
};

/// A stage that ran on a layer.
struct RoundingStage {
  /// "nearest", "drift correction", "output error search", "gptq", ...
  std::string name;
  double seconds = 0;
  /// Error of the output after the stage, as a share of the output's own mean square.
  double relativeError = 0;
};

struct LayerRounding {
  /// In the shape of the weight, exact multiples of the encoding's scales.
  Tensor rounded;
  /// With the scales as searched and refitted.
  Encoding encoding;
  /// What to add to the bias, one per output in the order (group, row); empty without bias correction.
  std::vector<float> biasCorrection;
  /// The first is round-to-nearest with the scales given, against which stages are held.
  std::vector<RoundingStage> stages;
  /// Greatest damping that a group needed, and what happened on the way.
  double damping = 0;
  unsigned numDampingRetries = 0;
  int64_t numDeadColumns = 0;
  /// Groups that kept round-to-nearest: their moments had no factor, or no stage made them better.
  int64_t numFallbacks = 0;
};

/// Rounds float32 `weight`, seen through `layout`, to `encoding` (uniform or LPBQ, calibrated) for inputs with
/// `moments`. The output's error is never larger than that of round-to-nearest. Peak memory beside its arguments:
/// that of the rounding method on one group. Errors: BadInput (moments that are not finite).
llvm::Expected<LayerRounding> roundLayer(const Tensor &weight, const WeightLayout &layout, const Encoding &encoding,
                                         const LayerMoments &moments, const LayerRoundingOptions &options);

} // namespace nibble::quant

#endif
