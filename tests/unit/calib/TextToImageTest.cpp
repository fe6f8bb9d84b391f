// The whole pipeline with models written by hand against a plain loop, at any batch, and inputs that do not fit.
#include "calib/Metrics/ImageErrors.h"
#include "calib/Samplers/DdimSampler.h"
#include "calib/Samplers/RowModel.h"
#include "calib/Samplers/TextToImage.h"
#include "tests/unit/TestFiles.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>
#include <functional>
#include <random>

using namespace nibble;
using namespace nibble::calib;
using namespace nibble::test;

namespace {

constexpr int64_t prompts = 3, tokens = 2, latentSize = 4;
constexpr double guidanceScale = 3, vaeScalingFactor = 0.5;

/// The UNet written by hand: what it predicts for one element.
double predict(double sample, double timestep, double firstState) {
  return 0.3 * sample + 0.001 * timestep * firstState - 0.05 * firstState;
}

class FunctionModel final : public PipelineModel {
public:
  using Function = std::function<std::vector<Tensor>(llvm::ArrayRef<Tensor>)>;
  FunctionModel(Function function, int &open) : function(std::move(function)), open(open) { ++open; }
  ~FunctionModel() override { --open; }
  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> inputs) override { return function(inputs); }

private:
  Function function;
  int &open;
};

/// A pipeline of three functions. Its shapes may be changed before it is used.
class HandmadeModels final : public PipelineModels {
public:
  std::map<Component, std::vector<InputSpec>> specs = {
      {Component::TextEncoder, {{"ids", ElementType::I64, {-1, tokens}, {"batch", ""}}}},
      {Component::UNet,
       {{"encoder_hidden_states", ElementType::F32, {-1, -1, 1}, {"batch", "sequence", ""}},
        {"timestep", ElementType::F32, {-1}, {"time_batch"}},
        {"sample", ElementType::F32, {-1, 1, 2, 2}, {"batch", "", "", ""}}}},
      {Component::VaeDecoder, {{"latent_sample", ElementType::F32, {-1, 1, 2, 2}, {"batch", "", "", ""}}}}};
  std::map<Component, Dimensions> bound;
  std::map<Component, int> runs;
  int mostOpen = 0;
  /// Set by tests: the UNet's first output is cut to this many rows.
  int64_t outputRows = -1;

  llvm::Expected<std::vector<InputSpec>> inputs(Component component) override { return specs[component]; }

  llvm::Expected<std::unique_ptr<PipelineModel>> open(Component component, const Dimensions &bindings) override {
    bound[component] = bindings;
    auto function = [this, component](llvm::ArrayRef<Tensor> inputs) -> std::vector<Tensor> {
      ++runs[component];
      switch (component) {
      case Component::TextEncoder: return {encode(inputs[0])};
      case Component::UNet: return {denoise(inputs[2], inputs[1], inputs[0])};
      case Component::VaeDecoder: return {decode(inputs[0])};
      }
      llvm_unreachable("all components are handled");
    };
    auto model = std::make_unique<FunctionModel>(function, openModels);
    mostOpen = std::max(mostOpen, openModels);
    return model;
  }

private:
  Tensor encode(const Tensor &ids) {
    EXPECT_EQ(ids.elementType(), ElementType::I64);
    Tensor states = Tensor::allocate(ElementType::F32, {ids.shape()[0], tokens, 1});
    for (int64_t i = 0; i < ids.elementCount(); ++i)
      states.mutableData<float>()[i] = static_cast<float>(ids.values<int64_t>()[i]);
    return states;
  }
  Tensor denoise(const Tensor &sample, const Tensor &timestep, const Tensor &states) {
    EXPECT_EQ(timestep.shape(), llvm::ArrayRef<int64_t>({1}));
    Tensor result = Tensor::allocate(ElementType::F32, sample.shape());
    for (int64_t i = 0; i < sample.elementCount(); ++i)
      result.mutableData<float>()[i] = static_cast<float>(
          predict(sample.values<float>()[i], timestep.values<float>()[0], states.values<float>()[i / latentSize * tokens]));
    if (outputRows < 0)
      return result;
    return selectRows(result, std::vector<int64_t>(static_cast<size_t>(outputRows), 0));
  }
  Tensor decode(const Tensor &latents) {
    Tensor images = Tensor::allocate(ElementType::F32, latents.shape());
    for (int64_t i = 0; i < latents.elementCount(); ++i)
      images.mutableData<float>()[i] = 2 * latents.values<float>()[i];
    return images;
  }
  int openModels = 0;
};

TextToImageInputs makeInputs() {
  TextToImageInputs inputs;
  inputs.promptIds = Tensor::fromValues<int32_t>({prompts, tokens}, {5, 1, 2, 1, 7, 1});
  inputs.unconditionalIds = Tensor::fromValues<int32_t>({1, tokens}, {3, 1});
  inputs.noise = Tensor::allocate(ElementType::F32, {prompts, 1, 2, 2});
  std::mt19937_64 generator(7);
  std::normal_distribution<float> normal;
  for (int64_t i = 0; i < inputs.noise.elementCount(); ++i)
    inputs.noise.mutableData<float>()[i] = normal(generator);
  return inputs;
}

/// Scales noise by two and subtracts a tenth of the prediction in each of its steps, which are met in order.
class PlainSampler final : public Sampler {
public:
  llvm::ArrayRef<int64_t> timesteps() const override { return steps; }
  double initialScale() const override { return 2; }
  Tensor step(const Tensor &latents, const Tensor &prediction, int64_t timestep) override {
    EXPECT_EQ(timestep, steps[taken++]);
    Tensor result = Tensor::allocate(ElementType::F32, latents.shape());
    for (int64_t i = 0; i < latents.elementCount(); ++i)
      result.mutableData<float>()[i] = latents.values<float>()[i] - 0.1f * prediction.values<float>()[i];
    return result;
  }
  std::vector<int64_t> steps = {30, 20, 10};
  size_t taken = 0;
};

llvm::Expected<TextToImageOutputs> generate(HandmadeModels &models, const TextToImageInputs &inputs = makeInputs()) {
  PlainSampler sampler;
  return generateImages(models, sampler, guidanceScale, vaeScalingFactor, inputs);
}

void setBatch(HandmadeModels &models, Component component, int64_t batch) {
  for (InputSpec &spec : models.specs[component])
    if (spec.symbols[0] == "batch") {
      spec.shape[0] = batch;
      spec.symbols[0].clear();
    }
}

TEST(TextToImage, MatchesAPlainLoop) {
  TextToImageInputs inputs = makeInputs();
  HandmadeModels models;
  TextToImageOutputs outputs = valueOrFail(generate(models, inputs));
  ASSERT_EQ(outputs.latents.shape(), inputs.noise.shape());
  for (int64_t i = 0; i < inputs.noise.elementCount(); ++i) {
    double latent = 2 * inputs.noise.values<float>()[i];
    double state = inputs.promptIds.values<int32_t>()[i / latentSize * tokens];
    for (double timestep : {30.0, 20.0, 10.0}) {
      double empty = predict(latent, timestep, 3), prompt = predict(latent, timestep, state);
      latent -= 0.1 * (empty + guidanceScale * (prompt - empty));
    }
    EXPECT_NEAR(outputs.latents.values<float>()[i], latent, 1e-5);
    EXPECT_NEAR(outputs.images.values<float>()[i], 2 * latent / vaeScalingFactor, 1e-4);
  }
  // Open batches: the prompt and the empty prompt go through the UNet together.
  EXPECT_EQ(models.bound[Component::UNet], (Dimensions{{"batch", 2}, {"sequence", tokens}, {"time_batch", 1}}));
  EXPECT_EQ(models.bound[Component::TextEncoder], (Dimensions{{"batch", 1}}));
  EXPECT_EQ(models.runs[Component::TextEncoder], prompts + 1);
  EXPECT_EQ(models.runs[Component::UNet], 3 * prompts);
  EXPECT_EQ(models.runs[Component::VaeDecoder], prompts);
  EXPECT_EQ(models.mostOpen, 1);
}

TEST(TextToImage, BatchesOfFilesDoNotMatter) {
  HandmadeModels open;
  TextToImageOutputs wanted = valueOrFail(generate(open));
  for (int64_t batch : {1, 2, 4, 5, 7}) {
    HandmadeModels models;
    for (Component component : {Component::TextEncoder, Component::UNet, Component::VaeDecoder})
      setBatch(models, component, batch);
    TextToImageOutputs outputs = valueOrFail(generate(models));
    EXPECT_EQ(outputs.latents.values<float>(), wanted.latents.values<float>()) << "batch " << batch;
    EXPECT_EQ(outputs.images.values<float>(), wanted.images.values<float>()) << "batch " << batch;
    EXPECT_EQ(models.runs[Component::UNet], 3 * ((2 * prompts + batch - 1) / batch));
  }
}

TEST(TextToImage, ModelsThatDoNotFit) {
  auto refused = [](std::function<void(std::vector<InputSpec> &)> change, ErrorKind kind, llvm::StringRef message) {
    HandmadeModels models;
    change(models.specs[Component::UNet]);
    expectError(generate(models).takeError(), kind, message);
  };
  refused([](auto &specs) { specs.push_back({"text_embeds", ElementType::F32, {2, 8}, {"", ""}}); }, ErrorKind::Unsupported,
          "unet: input 'text_embeds' is none that is fed");
  refused([](auto &specs) { specs.erase(specs.begin() + 1); }, ErrorKind::BadInput, "unet: the model has no input 'timestep'");
  refused([](auto &specs) { specs[2].shape[0] = 2, specs[0].shape[0] = 1; }, ErrorKind::BadInput, "wanted one batch in all inputs");
  refused([](auto &specs) { specs[2].shape[0] = 0; }, ErrorKind::BadInput, "wanted one batch in all inputs");
  refused([](auto &specs) { specs[2].shape[3] = 3; }, ErrorKind::BadInput,
          "input 'sample': wanted float32 [batch, 1, 2, 3], found float32 [2, 1, 2, 2]");
  refused([](auto &specs) { specs[2].shape = {-1, 4}, specs[2].symbols = {"batch", ""}; }, ErrorKind::BadInput,
          "input 'sample': wanted float32 [batch, 4], found float32 [2, 1, 2, 2]");
  refused([](auto &specs) { specs[0].shape[2] = -1, specs[0].symbols[2] = "sequence"; }, ErrorKind::BadInput,
          "dimension 'sequence' is 1 where another input has 2");
  refused([](auto &specs) { specs[1].symbols = {""}; }, ErrorKind::Unsupported, "which has a dimension with neither size nor name");
  refused([](auto &specs) { specs[0].elementType = ElementType::I64; }, ErrorKind::BadInput,
          "input 'encoder_hidden_states': wanted int64, found float32");
}

TEST(TextToImage, InputsThatDoNotFit) {
  auto refused = [](std::function<void(TextToImageInputs &)> change, llvm::StringRef message) {
    HandmadeModels models;
    TextToImageInputs inputs = makeInputs();
    change(inputs);
    expectError(generate(models, inputs).takeError(), ErrorKind::BadInput, message);
  };
  refused([](auto &inputs) { inputs.promptIds = inputs.promptIds.reshaped({6}); }, "integers [prompts, tokens], found int32 [6]");
  refused([](auto &inputs) { inputs.promptIds = inputs.noise.reshaped({prompts, 4}); }, "found float32 [3, 4]");
  refused([](auto &inputs) { inputs.unconditionalIds = inputs.promptIds; }, "empty prompt as int32 [1, 2], found int32 [3, 2]");
  refused([](auto &inputs) { inputs.noise = selectRows(inputs.noise, {0, 1}); }, "float32 [3, channels, height, width], found float32 [2");
  HandmadeModels models;
  models.outputRows = 1;
  expectError(generate(models).takeError(), ErrorKind::BadInput, "unet: wanted a first output of batch 2, found float32 [1, 1, 2, 2]");
}

TEST(ImageErrors, MatchTheFormulas) {
  Tensor reference = Tensor::fromValues<float>({2, 3}, {0, 1, 4, -2, 0, 2}), actual = Tensor::fromValues<float>({2, 3}, {0, 1, 3, -2, 0, 2});
  std::vector<double> latents = valueOrFail(latentPsnr(reference, actual, "latents"));
  EXPECT_NEAR(latents[0], 10 * std::log10(4 * 4 / (1.0 / 3)), 1e-9);
  EXPECT_EQ(latents[1], INFINITY);
  // What is outside of -1 to 1 looks the same.
  std::vector<double> same = valueOrFail(imagePsnr(reference, actual, "images"));
  EXPECT_EQ(same[0], INFINITY);
  actual.mutableData<float>()[0] = -0.5f;
  actual.mutableData<float>()[4] = NAN;
  std::vector<double> images = valueOrFail(imagePsnr(reference, actual, "images"));
  EXPECT_NEAR(images[0], 10 * std::log10(2 * 2 / (0.25 / 3)), 1e-9);
  EXPECT_EQ(images[1], -INFINITY);
  expectError(imagePsnr(reference, selectRows(actual, {0}), "images").takeError(), ErrorKind::BadInput,
              "images: the reference is float32 [2, 3], wanted float32 [1, 3]");
}

TEST(Bootstrap, IntervalsHoldTheMean) {
  std::mt19937_64 generator(11);
  std::normal_distribution<double> normal(30, 4);
  std::vector<double> values(400);
  for (double &value : values)
    value = normal(generator);
  double sum = 0, squares = 0;
  for (double value : values)
    sum += value;
  double mean = sum / 400;
  for (double value : values)
    squares += (value - mean) * (value - mean);
  // Of many values the interval is that of the normal distribution.
  double half = 1.96 * std::sqrt(squares / 400 / 400);
  MeanInterval interval = bootstrapMean(values), again = bootstrapMean(values);
  EXPECT_DOUBLE_EQ(interval.mean, mean);
  EXPECT_NEAR(interval.low, mean - half, 0.05 * half);
  EXPECT_NEAR(interval.high, mean + half, 0.05 * half);
  EXPECT_EQ(interval.low, again.low);
  EXPECT_EQ(interval.high, again.high);
}

TEST(Bootstrap, FewAndInfiniteValues) {
  MeanInterval one = bootstrapMean({7.0});
  EXPECT_TRUE(one.mean == 7 && one.low == 7 && one.high == 7);
  // Means of two values are low, middle and high with probabilities of a quarter, a half and a quarter.
  MeanInterval two = bootstrapMean({1.0, 3.0});
  EXPECT_TRUE(two.mean == 2 && two.low == 1 && two.high == 3);
  MeanInterval broken = bootstrapMean({-INFINITY, INFINITY, 1});
  EXPECT_EQ(broken.mean, -INFINITY);
  EXPECT_EQ(broken.low, -INFINITY);
  EXPECT_EQ(broken.high, INFINITY);
}

} // namespace
