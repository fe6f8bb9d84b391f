#include "calib/Samplers/DdimSampler.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>
#include <numbers>

namespace nibble::calib {

static std::vector<double> makeBetas(const DdimConfig &config) {
  int64_t count = config.trainTimesteps;
  std::vector<double> betas;
  auto between = [&](double first, double last, int64_t t) {
    return count == 1 ? first : first + (last - first) * static_cast<double>(t) / static_cast<double>(count - 1);
  };
  // alpha-bar as a function of the share of the time that has passed, up to a factor that ratios lose.
  auto squaredCosine = [&](int64_t t) {
    double root = std::cos((static_cast<double>(t) / static_cast<double>(count) + 0.008) / 1.008 * std::numbers::pi / 2);
    return root * root;
  };
  for (int64_t t = 0; t < count; ++t)
    switch (config.betaSchedule) {
    case BetaSchedule::Linear: betas.push_back(between(config.betaStart, config.betaEnd, t)); break;
    case BetaSchedule::ScaledLinear: {
      double root = between(std::sqrt(config.betaStart), std::sqrt(config.betaEnd), t);
      betas.push_back(root * root);
      break;
    }
    case BetaSchedule::SquaredCosine:
      betas.push_back(std::min(1 - squaredCosine(t + 1) / squaredCosine(t), 0.999));
      break;
    }
  return betas;
}

/// The timesteps of the spacing, the largest first. Halves round to the even neighbour, as numpy rounds them.
static std::vector<int64_t> chooseTimesteps(const DdimConfig &config, int64_t steps) {
  double all = static_cast<double>(config.trainTimesteps), share = all / static_cast<double>(steps);
  std::vector<int64_t> timesteps;
  for (int64_t i = 0; i < steps; ++i)
    switch (config.timestepSpacing) {
    case TimestepSpacing::Leading:
      timesteps.push_back((steps - 1 - i) * (config.trainTimesteps / steps) + config.stepsOffset);
      break;
    case TimestepSpacing::Trailing:
      timesteps.push_back(static_cast<int64_t>(std::nearbyint(all - static_cast<double>(i) * share)) - 1);
      break;
    case TimestepSpacing::Linspace: {
      double width = steps == 1 ? 0 : (all - 1) / static_cast<double>(steps - 1);
      timesteps.push_back(static_cast<int64_t>(std::nearbyint(static_cast<double>(steps - 1 - i) * width)));
      break;
    }
    }
  return timesteps;
}

llvm::Expected<std::unique_ptr<DdimSampler>> DdimSampler::create(const DdimConfig &config, int64_t steps) {
  if (steps < 1 || steps > config.trainTimesteps)
    return makeError(ErrorKind::BadInput, "wanted 1 to " + llvm::Twine(config.trainTimesteps) +
                                              " sampling steps, as many as training has timesteps, found " + llvm::Twine(steps));
  std::unique_ptr<DdimSampler> sampler(new DdimSampler(config));
  sampler->chosen = chooseTimesteps(config, steps);
  if (int64_t first = sampler->chosen.front(), last = config.trainTimesteps - 1; first > last)
    return makeError(ErrorKind::BadInput, llvm::Twine(steps) + " sampling steps with steps_offset " +
                                              llvm::Twine(config.stepsOffset) + " begin at timestep " + llvm::Twine(first) +
                                              ", beyond the last one of training, " + llvm::Twine(last),
                     {"take fewer steps, or timestep_spacing \"trailing\""});
  double product = 1;
  for (double beta : makeBetas(config))
    sampler->alphaBars.push_back(product *= 1 - beta);
  return sampler;
}

double DdimSampler::alphaBar(int64_t timestep) const {
  assert(timestep < config.trainTimesteps);
  if (timestep < 0)
    return config.setAlphaToOne ? 1 : alphaBars.front();
  return alphaBars[timestep];
}

Tensor DdimSampler::step(const Tensor &latents, const Tensor &prediction, int64_t timestep) {
  assert(latents.shape() == prediction.shape() && llvm::is_contained(chosen, timestep));
  // As in diffusers the distance is the same whatever the spacing; leading timesteps have it between them.
  int64_t next = timestep - config.trainTimesteps / static_cast<int64_t>(chosen.size());
  const double image = std::sqrt(alphaBar(timestep)), noise = std::sqrt(1 - alphaBar(timestep));
  const double nextImage = std::sqrt(alphaBar(next)), nextNoise = std::sqrt(1 - alphaBar(next));
  Tensor result = Tensor::allocate(ElementType::F32, latents.shape());
  const float *x = latents.data<float>(), *predicted = prediction.data<float>();
  float *out = result.mutableData<float>();
  for (int64_t i = 0, count = latents.elementCount(); i < count; ++i) {
    double x0 = 0, epsilon = 0, value = predicted[i];
    switch (config.predictionType) {
    case PredictionType::Epsilon:
      epsilon = value;
      x0 = (x[i] - noise * epsilon) / image;
      break;
    case PredictionType::Velocity:
      x0 = image * x[i] - noise * value;
      epsilon = image * value + noise * x[i];
      break;
    case PredictionType::Sample:
      x0 = value;
      epsilon = (x[i] - image * x0) / noise;
      break;
    }
    // The noise stays what was predicted. A comparison with NaN is false, so that a NaN is not clamped away.
    if (config.clipSample)
      x0 = x0 < -config.clipSampleRange ? -config.clipSampleRange : x0 > config.clipSampleRange ? config.clipSampleRange : x0;
    out[i] = static_cast<float>(nextImage * x0 + nextNoise * epsilon);
  }
  return result;
}

} // namespace nibble::calib
