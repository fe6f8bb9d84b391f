#include "lib/Quant/LayerRounding.h"
#include "lib/Quant/CoordinateDescent.h"
#include "lib/Quant/OutputErrorSearch.h"
#include "lib/Quant/SignRound.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include <chrono>
#include <cmath>

namespace nibble::quant {
namespace {

using Clock = std::chrono::steady_clock;

/// Rounds one matrix of a weight.
class GroupRounding {
public:
  GroupRounding(const Tensor &weight, const WeightLayout &layout, const Encoding &encoding, const LayerMoments &moments,
                int64_t group, const LayerRoundingOptions &options, LayerRounding &result)
      : layout(layout), moments(moments), group(group), options(options), result(result),
        grid(encoding, weight.shape(), layout, group), original(layout.read(weight, group)), target(original) {
    if (options.correctBias) {
      centred = moments.centredGram(group);
      gram = centred.data();
    } else {
      gram = moments.gramOf(group);
    }
    if (!options.minimumScales.empty()) {
      // Bounds are found as scales are, through a grid of them.
      Encoding bounds = encoding;
      bounds.scales = options.minimumScales;
      minimumScales = RoundingGrid(bounds, weight.shape(), layout, group).scales;
    }
  }

  void run() {
    start = Clock::now();
    rounded = roundToNearest(original, grid);
    best = rounded;
    bestScales = grid.scales;
    finish("nearest");
    correctDrift();
    searchScales();
    applyMethod();
    descend();
    if (leastError >= firstError && result.stages.size() > 1)
      ++result.numFallbacks;
  }

  void store(Tensor &weight, Encoding &encoding) {
    layout.write(best, group, weight);
    if (encoding.kind != EncodingKind::Uniform)
      return;
    grid.scales = bestScales;
    grid.storeScales(encoding);
  }

  void correctBias(std::vector<float> &correction) const {
    for (int64_t row = 0; row < layout.rows; ++row) {
      double sum = 0;
      for (int64_t column = 0; column < layout.columns; ++column) {
        size_t i = static_cast<size_t>(row * layout.columns + column);
        double mean = static_cast<double>(moments.meanOf(group)[column]);
        double drift = moments.hasDrift() ? static_cast<double>(moments.driftMean[static_cast<size_t>(group * layout.columns + column)]) : 0;
        sum += static_cast<double>(original[i]) * (mean + drift) - static_cast<double>(best[i]) * mean;
      }
      correction.push_back(static_cast<float>(sum));
    }
  }

  double outputEnergy() const {
    return outputError(original, std::vector<float>(original.size(), 0.0f), layout.columns, moments.gramOf(group));
  }

private:
  /// Ends the stage that began when the last one ended, and keeps what it made if that is the best so far.
  void finish(const std::string &name) {
    double error = outputError(target, rounded, layout.columns, gram);
    if (name == "nearest")
      firstError = leastError = error;
    else if (error < leastError) {
      leastError = error;
      best = rounded;
      bestScales = grid.scales;
    }
    auto stage = llvm::find_if(result.stages, [&](const RoundingStage &s) { return s.name == name; });
    if (stage == result.stages.end())
      stage = result.stages.insert(result.stages.end(), {name, 0, 0});
    Clock::time_point now = Clock::now();
    stage->seconds += std::chrono::duration<double>(now - start).count();
    stage->relativeError += leastError;
    start = now;
  }

  void correctDrift() {
    if (options.driftCorrection == 0 || !moments.hasDrift())
      return;
    std::vector<float> drift(moments.driftOf(group), moments.driftOf(group) + layout.columns * layout.columns);
    if (options.correctBias)
      for (int64_t i = 0; i < layout.columns; ++i)
        for (int64_t j = 0; j < layout.columns; ++j)
          drift[static_cast<size_t>(i * layout.columns + j)] -=
              moments.driftMean[static_cast<size_t>(group * layout.columns + i)] * moments.meanOf(group)[j];
    std::vector<float> corrected =
        correctForDrift(original, layout.columns, gram, drift.data(), options.driftCorrection, options.gptq.damping);
    if (corrected.empty())
      return;
    target = std::move(corrected);
    // Errors are held against the new target from here on.
    rounded = roundToNearest(target, grid);
    firstError = leastError = std::numeric_limits<double>::infinity();
    finish("drift correction");
    firstError = leastError;
  }

  void searchScales() {
    if (!options.searchScalesByOutputError || !grid.hasOwnScales)
      return;
    searchScalesByOutputError(target, grid, gram, /*candidates=*/20, minimumScales);
    rounded = roundToNearest(target, grid);
    finish("output error search");
  }

  void applyMethod() {
    switch (options.method) {
    case RoundingMethod::Nearest:
      return;
    case RoundingMethod::Gptq: {
      GptqResult gptq = roundWithGptq(target, grid, gram, options.gptq);
      result.damping = std::max(result.damping, gptq.damping);
      result.numDampingRetries += gptq.numRetries;
      result.numDeadColumns += gptq.numDeadColumns;
      if (!gptq.rounded.empty())
        rounded = std::move(gptq.rounded);
      return finish("gptq");
    }
    case RoundingMethod::SignRound:
      rounded = roundWithSignedGradient(target, grid, gram, options.iterations);
      return finish("sign-round");
    case RoundingMethod::AdaRound:
      rounded = roundAdaptively(target, grid, gram, options.iterations);
      return finish("ada-round");
    }
  }

  void descend() {
    if (options.coordinateDescentSweeps == 0)
      return;
    rounded = best;
    grid.scales = bestScales;
    descendCoordinates(target, grid, gram, {options.coordinateDescentSweeps, options.refitScales, minimumScales}, rounded);
    finish("coordinate descent");
  }

  const WeightLayout &layout;
  const LayerMoments &moments;
  int64_t group;
  const LayerRoundingOptions &options;
  LayerRounding &result;
  RoundingGrid grid;
  std::vector<float> original, target, centred, minimumScales;
  const float *gram;
  std::vector<float> rounded, best, bestScales;
  double firstError = 0, leastError = 0;
  Clock::time_point start;
};

llvm::Error checkMoments(const LayerMoments &moments) {
  auto isFinite = [](float value) { return std::isfinite(value); };
  if (llvm::all_of(moments.gram, isFinite) && llvm::all_of(moments.drift, isFinite))
    return llvm::Error::success();
  return makeError(ErrorKind::BadInput, "the moments of the layer's inputs are not finite");
}

} // namespace

llvm::Expected<LayerRounding> roundLayer(const Tensor &weight, const WeightLayout &layout, const Encoding &encoding,
                                         const LayerMoments &moments, const LayerRoundingOptions &options) {
  assert(moments.groups == layout.groups && moments.columns == layout.columns && "moments are those of the layer");
  if (llvm::Error error = checkMoments(moments))
    return error;
  LayerRounding result;
  result.rounded = Tensor::allocate(ElementType::F32, weight.shape());
  result.encoding = encoding;
  double energy = 0;
  for (int64_t group = 0; group < layout.groups; ++group) {
    GroupRounding rounding(weight, layout, encoding, moments, group, options, result);
    rounding.run();
    rounding.store(result.rounded, result.encoding);
    if (options.correctBias)
      rounding.correctBias(result.biasCorrection);
    energy += rounding.outputEnergy();
  }
  for (RoundingStage &stage : result.stages)
    stage.relativeError = energy > 0 ? stage.relativeError / energy : 0;
  return result;
}

} // namespace nibble::quant
