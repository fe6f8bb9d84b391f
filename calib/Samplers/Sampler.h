//===- Sampler.h - from noise to an image, step by step ---------------------===//
//
// A sampler turns noise into latents by asking a diffusion model for its prediction
// at a falling row of timesteps. It knows nothing of the model.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_SAMPLERS_SAMPLER_H
#define NIBBLE_CALIB_SAMPLERS_SAMPLER_H

#include "lib/Support/Tensor.h"

namespace nibble::calib {

class Sampler {
public:
  virtual ~Sampler() = default;

  /// The timesteps at which the model is asked, in the order of the steps: the noisiest first. At least one.
  virtual llvm::ArrayRef<int64_t> timesteps() const = 0;
  /// What standard normal noise is multiplied with to be the latents of the first step.
  virtual double initialScale() const = 0;
  /// The latents after the step at `timestep`, one of timesteps(), each taken once and in order. `latents` are those
  /// before it and `prediction` what the model made of them; both are float32 of one shape, and so is the result.
  virtual Tensor step(const Tensor &latents, const Tensor &prediction, int64_t timestep) = 0;
};

} // namespace nibble::calib

#endif
