//===- PipelineConfig.h - how a folder of models makes an image -------------===//
#ifndef NIBBLE_CALIB_SAMPLERS_PIPELINECONFIG_H
#define NIBBLE_CALIB_SAMPLERS_PIPELINECONFIG_H

#include "calib/Samplers/DdimSampler.h"
#include <optional>

namespace nibble::calib {

struct PipelineConfig {
  DdimConfig sampler;
  /// Where the files say them: a diffusers folder leaves both to the caller.
  std::optional<int64_t> steps;
  std::optional<double> guidanceScale;
  /// Latents are divided by it before they are decoded.
  double vaeScalingFactor = 1;
};

/// Reads `folder`/pipeline.json or, where there is none, what a pipeline of the library diffusers has in its place:
/// scheduler/scheduler_config.json and vae_decoder/config.json, or vae/config.json. docs/spec/sample.md lists the keys.
/// Errors: IO; BadInput (malformed values, an unknown key of pipeline.json, timesteps other than those of the spacing);
/// Unsupported (another scheduler, prediction type, schedule or spacing). Each is at the line and column of the mistake.
llvm::Expected<PipelineConfig> readPipelineConfig(llvm::StringRef folder);

} // namespace nibble::calib

#endif
