//===- DdimSampler.h - denoising diffusion implicit models ------------------===//
//
// J. Song, C. Meng, S. Ermon, "Denoising Diffusion Implicit Models", 2020, https://arxiv.org/abs/2010.02502.
// Which timesteps there are and what follows the last one is not in the paper; it is as in the library diffusers,
// whose pipelines and scheduler_config.json users have.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_SAMPLERS_DDIMSAMPLER_H
#define NIBBLE_CALIB_SAMPLERS_DDIMSAMPLER_H

#include "calib/Samplers/Sampler.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <vector>

namespace nibble::calib {

/// The variances beta_t of the noise that training adds at timestep t of T. Linear: from start to end. Scaled linear:
/// their roots are linear. Squared cosine: from the cosine schedule of Nichol and Dhariwal, 2021
/// (https://arxiv.org/abs/2102.09672, eq. 17), without start and end.
enum class BetaSchedule { Linear, ScaledLinear, SquaredCosine };

/// What the model predicts: the noise, the velocity v = sqrt(a) noise - sqrt(1 - a) x_0 (Salimans and Ho, 2022,
/// https://arxiv.org/abs/2202.00512, appendix D), or the image x_0 itself.
enum class PredictionType { Epsilon, Velocity, Sample };

/// Which N of T timesteps are taken. Leading: multiples of floor(T / N), from 0. Trailing: T - 1 and every T / N below it.
/// Linspace: from T - 1 to 0, both included.
enum class TimestepSpacing { Leading, Trailing, Linspace };

/// Defaults are those of diffusers' DDIMScheduler, which stand where a file has no such key.
struct DdimConfig {
  int64_t trainTimesteps = 1000;
  BetaSchedule betaSchedule = BetaSchedule::Linear;
  /// Each more than 0 and less than 1.
  double betaStart = 0.0001, betaEnd = 0.02;
  PredictionType predictionType = PredictionType::Epsilon;
  TimestepSpacing timestepSpacing = TimestepSpacing::Leading;
  /// Added to every timestep of leading spacing.
  int64_t stepsOffset = 0;
  /// Whether the step after the last timestep leads to an image without noise (alpha-bar of 1) instead of to the
  /// noise of timestep 0.
  bool setAlphaToOne = true;
  /// Whether a predicted image is clamped to +-clipSampleRange.
  bool clipSample = true;
  double clipSampleRange = 1;
};

/// The deterministic sampler: eq. 12 of the paper with sigma = 0.
class DdimSampler final : public Sampler {
public:
  /// A sampler of `steps` steps. Errors: BadInput where `steps` is not between 1 and the timesteps of training, or a
  /// timestep lies beyond the last one of training.
  static llvm::Expected<std::unique_ptr<DdimSampler>> create(const DdimConfig &config, int64_t steps);

  llvm::ArrayRef<int64_t> timesteps() const override { return chosen; }
  double initialScale() const override { return 1; }
  /// With a_t = alphaBar(t), e the predicted noise and t' the next timestep,
  ///   x_0  = (x_t - sqrt(1 - a_t) e) / sqrt(a_t)
  ///   x_t' = sqrt(a_t') x_0 + sqrt(1 - a_t') e,
  /// computed in float64 and rounded once.
  Tensor step(const Tensor &latents, const Tensor &prediction, int64_t timestep) override;

  /// The product of 1 - beta_s over s = 0..timestep: the share of the image in the variance at `timestep`. The paper
  /// calls it alpha_t. A timestep below 0 is the one after the last.
  double alphaBar(int64_t timestep) const;

private:
  explicit DdimSampler(const DdimConfig &config) : config(config) {}
  DdimConfig config;
  std::vector<double> alphaBars;
  std::vector<int64_t> chosen;
};

} // namespace nibble::calib

#endif
