//===- Sample.cpp - nibble sample ------------------------------------------===//
#include "calib/Datasets/Layout.h"
#include "calib/Metrics/ImageErrors.h"
#include "calib/Samplers/PipelineConfig.h"
#include "calib/Samplers/RowModel.h"
#include "calib/Samplers/TextToImage.h"
#include "cli/nibble/Commands.h"
#include "cli/nibble/RunInputs.h"
#include "cli/nibble/SampleModels.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"
#include "lib/Support/Npy.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>
#include <limits>
#include <numeric>

using namespace nibble;
using calib::Component;

namespace nibble::cli {
namespace {

constexpr Component components[] = {Component::TextEncoder, Component::UNet, Component::VaeDecoder};
/// Arrays of the files that are read and written.
constexpr llvm::StringLiteral noiseName("initial_noise"), latentsName("final_latents"), imagesName("images");

struct Options {
  std::string pipeline, prompts, unconditional, noise, reference, output, where = "fp32", qnnFolder;
  /// Files in place of the pipeline's own.
  std::map<Component, std::string> replacements;
  std::optional<int64_t> count, steps;
  std::optional<double> guidanceScale;
  bool json = false;
};

/// What a run is compared by: decibels for every prompt.
struct Figures {
  std::vector<double> latents, images;
};

llvm::Expected<calib::TextToImageInputs> readInputs(const Options &options) {
  calib::TextToImageInputs inputs;
  if (llvm::Error error = readNpy(options.prompts).moveInto(inputs.promptIds))
    return std::move(error);
  if (llvm::Error error = readNpy(options.unconditional).moveInto(inputs.unconditionalIds))
    return std::move(error);
  if (llvm::StringRef(options.noise).ends_with(".npy")) {
    if (llvm::Error error = readNpy(options.noise).moveInto(inputs.noise))
      return std::move(error);
  } else {
    llvm::Expected<RunSample> sample = RunSample::read(options.noise);
    if (!sample)
      return sample.takeError();
    if (llvm::Error error = sample->take(noiseName, ElementType::F32).moveInto(inputs.noise))
      return std::move(error);
  }
  return inputs;
}

/// The first prompts only, where there are as many.
llvm::Error takeFirst(int64_t count, calib::TextToImageInputs &inputs) {
  int64_t rows = inputs.promptIds.rank() ? inputs.promptIds.shape()[0] : 0;
  if (count > rows)
    return makeError(ErrorKind::Usage, "--count: wanted at most " + llvm::Twine(rows) + ", as many as there are prompts, found " +
                                           llvm::Twine(count));
  std::vector<int64_t> first(static_cast<size_t>(count));
  std::iota(first.begin(), first.end(), 0);
  inputs.promptIds = calib::selectRows(inputs.promptIds, first);
  if (inputs.noise.rank() && inputs.noise.shape()[0] == rows)
    inputs.noise = calib::selectRows(inputs.noise, first);
  return llvm::Error::success();
}

llvm::Error completeConfig(const Options &options, calib::PipelineConfig &config) {
  if (options.steps)
    config.steps = options.steps;
  if (options.guidanceScale)
    config.guidanceScale = options.guidanceScale;
  if (!config.steps)
    return makeError(ErrorKind::Usage, "the pipeline does not say how many steps it takes", {"give --steps N"});
  if (!config.guidanceScale)
    return makeError(ErrorKind::Usage, "the pipeline does not say how strong its guidance is", {"give --guidance-scale S"});
  return llvm::Error::success();
}

/// Compares with what the reference has for the prompts that were sampled.
llvm::Expected<Figures> compare(const Options &options, const RunSample &reference, const Tensor &noise,
                                const calib::TextToImageOutputs &outputs) {
  auto take = [&](llvm::StringRef name, const Tensor &actual) -> llvm::Expected<Tensor> {
    llvm::Expected<Tensor> array = reference.take(name);
    if (!array || !options.count || array->rank() == 0 || array->shape()[0] < actual.shape()[0])
      return array;
    std::vector<int64_t> first(static_cast<size_t>(actual.shape()[0]));
    std::iota(first.begin(), first.end(), 0);
    return calib::selectRows(*array, first);
  };
  Figures figures;
  llvm::Expected<Tensor> sameNoise = take(noiseName, noise), latents = take(latentsName, outputs.latents),
                         images = take(imagesName, outputs.images);
  if (llvm::Error error = llvm::joinErrors(sameNoise.takeError(), llvm::joinErrors(latents.takeError(), images.takeError())))
    return std::move(error);
  llvm::Expected<std::vector<double>> likeness = calib::latentPsnr(*sameNoise, noise, noiseName);
  if (!likeness)
    return likeness.takeError();
  if (llvm::any_of(*likeness, [](double decibels) { return decibels < std::numeric_limits<double>::infinity(); }))
    return makeError(ErrorKind::BadInput, "the reference '" + options.reference + "' was made from other noise",
                     {"give it to --noise too"});
  if (llvm::Error error = calib::latentPsnr(*latents, outputs.latents, latentsName).moveInto(figures.latents))
    return std::move(error);
  if (llvm::Error error = calib::imagePsnr(*images, outputs.images, imagesName).moveInto(figures.images))
    return std::move(error);
  return figures;
}

llvm::json::Object toObject(const calib::MeanInterval &interval) {
  return llvm::json::Object{{"mean", jsonNumber(interval.mean)},
                            {"low", jsonNumber(interval.low)},
                            {"high", jsonNumber(interval.high)}};
}

void printJson(const Options &options, const calib::PipelineConfig &config, const Figures &figures) {
  llvm::json::Array prompts;
  for (auto [latents, images] : llvm::zip_equal(figures.latents, figures.images))
    prompts.push_back(llvm::json::Object{{"latent_psnr_db", jsonNumber(latents)}, {"image_psnr_db", jsonNumber(images)}});
  llvm::json::Object replaced;
  for (const auto &[component, path] : options.replacements)
    replaced[calib::nameOf(component)] = llvm::sys::path::filename(path).str();
  llvm::outs() << formatJson(llvm::json::Object{{"on", options.where},
                                                {"replaced", std::move(replaced)},
                                                {"steps", *config.steps},
                                                {"guidance_scale", *config.guidanceScale},
                                                {"prompts", std::move(prompts)},
                                                {"latent_psnr_db", toObject(calib::bootstrapMean(figures.latents))},
                                                {"image_psnr_db", toObject(calib::bootstrapMean(figures.images))}});
}

void printTable(const Figures &figures) {
  llvm::outs() << llvm::format("%8s %16s %16s\n", "prompt", "latent PSNR, dB", "image PSNR, dB");
  for (auto [index, latents, images] : llvm::enumerate(figures.latents, figures.images))
    llvm::outs() << llvm::format("%8zu %16.2f %16.2f\n", index, latents, images);
  auto printMean = [](const char *what, llvm::ArrayRef<double> values) {
    calib::MeanInterval interval = calib::bootstrapMean(values);
    llvm::outs() << llvm::format("mean %s PSNR: %.2f dB, 95 %% interval %.2f to %.2f\n", what, interval.mean, interval.low,
                                 interval.high);
  };
  printMean("latent", figures.latents);
  printMean("image", figures.images);
}

llvm::Error sample(Options &options) {
  if (options.output.empty() && options.reference.empty())
    return makeError(ErrorKind::Usage, "nothing of the run would be kept", {"give -o FILE, --reference FILE or both"});
  if (options.json && options.reference.empty())
    return makeError(ErrorKind::Usage, "--json has no effect without --reference");
  llvm::Expected<calib::PipelineConfig> config = calib::readPipelineConfig(options.pipeline);
  if (!config)
    return config.takeError();
  if (llvm::Error error = completeConfig(options, *config))
    return error;
  llvm::Expected<std::unique_ptr<calib::DdimSampler>> sampler = calib::DdimSampler::create(config->sampler, *config->steps);
  if (!sampler)
    return sampler.takeError();
  std::optional<vendor::VendorLibraries> libraries;
  if (options.where == "onnxruntime")
    if (llvm::Error error = vendor::findVendorLibraries(options.qnnFolder).moveInto(libraries))
      return error;
  std::optional<RunSample> reference;
  if (!options.reference.empty())
    if (llvm::Error error = RunSample::read(options.reference).moveInto(reference))
      return error;
  llvm::Expected<calib::TextToImageInputs> inputs = readInputs(options);
  if (!inputs)
    return inputs.takeError();
  if (options.count)
    if (llvm::Error error = takeFirst(*options.count, *inputs))
      return error;

  std::map<Component, std::string> files = options.replacements;
  for (Component component : components) {
    llvm::SmallString<128> path(options.pipeline);
    llvm::sys::path::append(path, calib::nameOf(component), "model.onnx");
    files.try_emplace(component, std::string(path));
  }
  FileModels models(std::move(files), std::move(libraries));
  Progress progress(ProgressMode::Auto);
  llvm::Expected<calib::TextToImageOutputs> outputs = calib::generateImages(
      models, **sampler, *config->guidanceScale, config->vaeScalingFactor, *inputs, &progress);
  if (!outputs)
    return outputs.takeError();
  if (!options.output.empty())
    if (llvm::Error error = writeNpz(options.output, {{noiseName.str(), inputs->noise},
                                                      {latentsName.str(), outputs->latents},
                                                      {imagesName.str(), outputs->images}}))
      return error;
  if (!reference)
    return llvm::Error::success();
  llvm::Expected<Figures> figures = compare(options, *reference, inputs->noise, *outputs);
  if (!figures)
    return figures.takeError();
  if (options.json)
    printJson(options, *config, *figures);
  else
    printTable(*figures);
  return llvm::Error::success();
}

} // namespace

void registerSampleCommand(CLI::App &app, int &exitCode) {
  auto options = std::make_shared<Options>();
  CLI::App *command = app.add_subcommand(
      "sample", "Run a text-to-image pipeline, any of its models replaced, and compare its images with a reference");
  command->add_option("pipeline", options->pipeline,
                      "Folder of text_encoder, unet and vae_decoder, a model.onnx in each, with pipeline.json or a "
                      "scheduler/scheduler_config.json of diffusers")
      ->required();
  auto addReplacement = [&](const std::string &name, Component component) {
    command->add_option_function<std::string>(
        name, [options, component](const std::string &path) { options->replacements[component] = path; },
        "ONNX model in place of the pipeline's own, float or quantized");
  };
  addReplacement("--text-encoder", Component::TextEncoder);
  addReplacement("--unet", Component::UNet);
  addReplacement("--vae-decoder", Component::VaeDecoder);
  command->add_option("--prompts", options->prompts, "Token ids of the prompts, .npy [prompts, tokens]")->required();
  command->add_option("--unconditional", options->unconditional, "Token ids of the empty prompt, .npy [1, tokens]")->required();
  command->add_option("--noise", options->noise,
                      "Standard normal noise [prompts, channels, height, width]: a .npy, or a .npz with initial_noise")
      ->required();
  command->add_option("--count", options->count, "Take the first N prompts only")
      ->check(CLI::Range(int64_t(1), std::numeric_limits<int64_t>::max()));
  command->add_option("--steps", options->steps, "Sampling steps (default: what the pipeline says)")
      ->check(CLI::Range(int64_t(1), std::numeric_limits<int64_t>::max()));
  command->add_option("--guidance-scale", options->guidanceScale,
                      "Strength of classifier-free guidance, 1 for none (default: what the pipeline says)")
      ->check(CLI::Range(0.0, std::numeric_limits<double>::max()));
  command->add_option("--on", options->where,
                      "Arithmetic to run all models in. fp32: Nibble's runtime, in which a quantized model is fake-quant. "
                      "onnxruntime: ONNX Runtime on the CPU, optimizations off")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "onnxruntime"}));
  command->add_option("--reference", options->reference,
                      ".npz that -o wrote for the float pipeline, with initial_noise, final_latents and images: print the "
                      "PSNR of both");
  command->add_option("-o,--output", options->output, "Where to write initial_noise, final_latents and images, .npz");
  command->add_flag("--json", options->json, "Print the PSNR as JSON");
  command->add_option("--qnn-dir", options->qnnFolder, "Folder of onnxruntime-qnn, where it is not found by itself");
  command->callback([options, &exitCode] { exitCode = reportError(sample(*options), llvm::errs()); });
}

} // namespace nibble::cli
