//===- ChannelScales.h - factors that move between a value and its readers ---===//
//
// Channel c of a value is divided by s_c and the weights that read it are multiplied by s_c. In real numbers nothing
// changes; what rounding costs does.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_QUANT_CHANNELSCALES_H
#define NIBBLE_QUANT_CHANNELSCALES_H

#include "lib/Quant/WeightAxes.h"

#include "llvm/ADT/BitVector.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <vector>

namespace nibble::quant {

/// A layer that reads scaled channels: its float32 weight and what was seen of each of its inputs.
struct ScaledReader {
  Tensor weight;
  WeightAxes axes;
  /// Per input: the channel that it carries.
  std::vector<int32_t> channels;
  std::vector<float> min, max;
  std::vector<double> meanMagnitude, meanSquare;
};

/// The value that a layer makes, before what lies between it and the readers; per channel.
struct ScaledSource {
  std::vector<float> min, max;
  std::vector<double> meanSquare;
};

/// What the scales are shared by.
struct ScaledGroup {
  std::vector<ScaledReader> readers;
  /// One bit per channel: those whose scale must be 1.
  llvm::BitVector fixed;
  /// Per channel: the factor of the norm that makes the value; empty where a layer makes it.
  std::vector<float> normScale;
  /// Where it is not what the readers read; empty where it is, or nothing was seen of it. Scales of fixed channels and
  /// others meet in it: the others keep their largest range, so that rounding the fixed ones costs what it did.
  std::optional<ScaledSource> source;
};

struct ChannelScaleOptions {
  /// Of the value, one scale per tensor; 0 where it stays float.
  unsigned activationBits = 8;
  /// Symmetric; one scale per output, or per output and `groupSize` inputs.
  unsigned weightBits = 8;
  int64_t groupSize = 0;
  /// Of the norm's factors, one scale per tensor.
  unsigned normBits = 16;
};

struct ChannelScales {
  /// Per channel, positive; all 1 where no other candidate was better.
  std::vector<float> scales;
  /// The exponent that gave them.
  double exponent = 0;
  /// Predicted noise of the readers' outputs over their power, without scales and with them; summed over readers.
  double noiseBefore = 0, noiseAfter = 0;

  bool isChanged() const { return noiseAfter < noiseBefore; }
};

/// SmoothQuant (Xiao et al. 2022, section 4): s_c = max|x_c|^a / max|w_c|^(1-a). The exponent is searched in steps of
/// 0.05 for the least noise that rounding of values and weights to uniform grids adds to the outputs, where inputs are
/// uncorrelated and a step of width d adds d^2/12. Scales of 1 are a candidate.
ChannelScales chooseSmoothQuantScales(const ScaledGroup &group, const ChannelScaleOptions &options);

/// AWQ (Lin et al. 2023, section 3.2): s_c = mean|x_c|^a, divided by the root of the largest times the smallest. The
/// exponent is searched in steps of 0.05 for the least squared error of the rounded weights, each weighted by the mean
/// square of its input; weights are rounded as `chooseWeightEncoding` has it, of large layers those of 512 outputs.
/// Scales of 1 are a candidate. `weightBits` is 4 or 8. Errors: BadInput (weights that are not finite).
llvm::Expected<ChannelScales> chooseActivationAwareScales(const ScaledGroup &group, const ChannelScaleOptions &options);

/// Cross-layer equalization (Nagel et al. 2019, section 4.1): s_c = sqrt(r1_c / r2_c) for the ranges of what writes and
/// what reads a channel, after which both are sqrt(r1_c r2_c); 1 where a range is 0 and where `fixed` says so.
std::vector<float> chooseCrossLayerScales(llvm::ArrayRef<float> writerRanges, llvm::ArrayRef<float> readerRanges,
                                          const llvm::BitVector &fixed);

} // namespace nibble::quant

#endif
