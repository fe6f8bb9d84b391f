#include "calib/Samplers/TextToImage.h"
#include "calib/Datasets/Layout.h"
#include "calib/Samplers/RowModel.h"
#include "lib/Support/Error.h"

#include <cstring>

namespace nibble::calib {

/// Batches where the model leaves its own open: what devices run, and calibration data have.
static constexpr int64_t openBatch = 1, openUNetBatch = 2;

static Tensor scaled(const Tensor &tensor, double factor) {
  Tensor result = Tensor::allocate(ElementType::F32, tensor.shape());
  for (int64_t i = 0, count = tensor.elementCount(); i < count; ++i)
    result.mutableData<float>()[i] = static_cast<float>(tensor.data<float>()[i] * factor);
  return result;
}

/// Rows 2i and 2i + 1 are the predictions for prompt i and for the empty prompt.
static Tensor guide(const Tensor &predictions, double guidanceScale) {
  Shape shape(predictions.shape());
  shape[0] /= 2;
  Tensor result = Tensor::allocate(ElementType::F32, shape);
  int64_t rowSize = elementCount(predictions.shape().drop_front());
  for (int64_t row = 0; row < shape[0]; ++row) {
    const float *conditional = predictions.data<float>() + 2 * row * rowSize, *unconditional = conditional + rowSize;
    float *out = result.mutableData<float>() + row * rowSize;
    for (int64_t i = 0; i < rowSize; ++i) {
      double base = unconditional[i];
      out[i] = static_cast<float>(base + guidanceScale * (conditional[i] - base));
    }
  }
  return result;
}

static llvm::Error checkInputs(const TextToImageInputs &inputs) {
  auto describe = [](const Tensor &tensor) { return describeArray(tensor.elementType(), tensor.shape()); };
  const Tensor &prompts = inputs.promptIds, &empty = inputs.unconditionalIds, &noise = inputs.noise;
  if (prompts.rank() != 2 || prompts.shape()[0] < 1 || !isInteger(prompts.elementType()))
    return makeError(ErrorKind::BadInput, "wanted token ids of prompts as integers [prompts, tokens], found " + describe(prompts));
  if (empty.rank() != 2 || empty.shape()[0] != 1 || empty.shape()[1] != prompts.shape()[1] ||
      empty.elementType() != prompts.elementType())
    return makeError(ErrorKind::BadInput, "wanted token ids of the empty prompt as " +
                                              describeArray(prompts.elementType(), {1, prompts.shape()[1]}) + ", found " +
                                              describe(empty));
  if (noise.rank() < 2 || noise.shape()[0] != prompts.shape()[0] || noise.elementType() != ElementType::F32)
    return makeError(ErrorKind::BadInput, "wanted initial noise as float32 [" + llvm::Twine(prompts.shape()[0]) +
                                              ", channels, height, width], found " + describe(noise));
  return llvm::Error::success();
}

/// The text encoder's states of every prompt, each followed by those of the empty prompt.
static llvm::Expected<Tensor> encode(PipelineModels &models, const TextToImageInputs &inputs) {
  NamedTensor prompts{"input_ids", inputs.promptIds}, empty{"input_ids", inputs.unconditionalIds};
  llvm::Expected<RowModel> encoder = RowModel::open(models, Component::TextEncoder, prompts, openBatch);
  if (!encoder)
    return encoder.takeError();
  llvm::Expected<Tensor> states = encoder->run(prompts), emptyStates = encoder->run(empty);
  if (llvm::Error error = llvm::joinErrors(states.takeError(), emptyStates.takeError()))
    return std::move(error);
  Shape shape(states->shape());
  int64_t count = shape[0], bytes = emptyStates->byteSize();
  shape[0] = 2 * count;
  Tensor paired = Tensor::allocate(ElementType::F32, shape);
  char *out = static_cast<char *>(paired.mutableRaw());
  for (int64_t row = 0; row < count; ++row, out += 2 * bytes) {
    std::memcpy(out, static_cast<const char *>(states->raw()) + row * bytes, static_cast<size_t>(bytes));
    std::memcpy(out + bytes, emptyStates->raw(), static_cast<size_t>(bytes));
  }
  return paired;
}

static llvm::Expected<Tensor> denoise(PipelineModels &models, Sampler &sampler, double guidanceScale, const Tensor &noise,
                                      const Tensor &states, Progress *progress) {
  Tensor latents = scaled(noise, sampler.initialScale());
  std::vector<int64_t> twice;
  for (int64_t row = 0; row < noise.shape()[0]; ++row)
    twice.insert(twice.end(), {row, row});
  auto inputsAt = [&](int64_t timestep) {
    return std::vector<NamedTensor>{{"sample", selectRows(latents, twice)},
                                    {"timestep", Tensor::fromValues<int64_t>({}, timestep)},
                                    {"encoder_hidden_states", states}};
  };
  llvm::Expected<RowModel> unet =
      RowModel::open(models, Component::UNet, inputsAt(sampler.timesteps().front()), openUNetBatch);
  if (!unet)
    return unet.takeError();
  if (progress)
    progress->begin("sample", static_cast<int64_t>(sampler.timesteps().size()), "step");
  for (int64_t timestep : sampler.timesteps()) {
    llvm::Expected<Tensor> predictions = unet->run(inputsAt(timestep));
    if (!predictions)
      return predictions.takeError();
    if (predictions->shape().drop_front() != noise.shape().drop_front())
      return makeError(ErrorKind::BadInput, nameOf(Component::UNet) + ": wanted a first output in the shape of the latents, " +
                                                formatShape(noise.shape().drop_front()) + " for each row, found " +
                                                formatShape(predictions->shape().drop_front()));
    latents = sampler.step(latents, guide(*predictions, guidanceScale), timestep);
    if (progress)
      progress->advance();
  }
  if (progress)
    progress->end();
  return latents;
}

llvm::Expected<TextToImageOutputs> generateImages(PipelineModels &models, Sampler &sampler, double guidanceScale,
                                                  double vaeScalingFactor, const TextToImageInputs &inputs,
                                                  Progress *progress) {
  if (llvm::Error error = checkInputs(inputs))
    return std::move(error);
  llvm::Expected<Tensor> states = encode(models, inputs);
  if (!states)
    return states.takeError();
  llvm::Expected<Tensor> latents = denoise(models, sampler, guidanceScale, inputs.noise, *states, progress);
  if (!latents)
    return latents.takeError();
  NamedTensor decoded{"latent_sample", scaled(*latents, 1 / vaeScalingFactor)};
  llvm::Expected<RowModel> decoder = RowModel::open(models, Component::VaeDecoder, decoded, openBatch);
  if (!decoder)
    return decoder.takeError();
  llvm::Expected<Tensor> images = decoder->run(decoded);
  if (!images)
    return images.takeError();
  return TextToImageOutputs{*latents, *images};
}

} // namespace nibble::calib
