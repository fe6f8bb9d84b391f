//===- TextToImage.h - a whole diffusion pipeline ---------------------------===//
//
// Text encoder, sampling loop with classifier-free guidance, VAE decoder, with whatever models it is given: the same
// inputs through a float and a quantized pipeline say what quantization costs after all steps, which the error of one
// step does not.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_SAMPLERS_TEXTTOIMAGE_H
#define NIBBLE_CALIB_SAMPLERS_TEXTTOIMAGE_H

#include "calib/Samplers/PipelineModels.h"
#include "calib/Samplers/Sampler.h"
#include "lib/Support/Progress.h"

namespace nibble::calib {

struct TextToImageInputs {
  /// Token ids, integers: [prompts, tokens], and of the empty prompt, [1, tokens].
  Tensor promptIds, unconditionalIds;
  /// Standard normal noise, float32 [prompts, channels, height, width].
  Tensor noise;
};

struct TextToImageOutputs {
  /// float32: latents after the last step, in the shape of the noise, and what the decoder makes of them, not clamped.
  Tensor latents, images;
};

/// Makes an image of every prompt. In each step the UNet predicts e_c from the prompt and e_u from the empty prompt, in this
/// order in one batch where it has more than one row, and e_u + guidanceScale (e_c - e_u) is taken (J. Ho, T. Salimans,
/// "Classifier-Free Diffusion Guidance", 2022, https://arxiv.org/abs/2207.12598, eq. 6, with guidanceScale = 1 + w).
/// Latents divided by `vaeScalingFactor` are decoded. The UNet's inputs are `sample`, `timestep` and
/// `encoder_hidden_states`; the other two models have one input each. One model is open at a time. `progress`, if given,
/// counts the steps. Errors: BadInput (inputs whose shapes do not fit one another), those of RowModel.
llvm::Expected<TextToImageOutputs> generateImages(PipelineModels &models, Sampler &sampler, double guidanceScale,
                                                  double vaeScalingFactor, const TextToImageInputs &inputs,
                                                  Progress *progress = nullptr);

} // namespace nibble::calib

#endif
