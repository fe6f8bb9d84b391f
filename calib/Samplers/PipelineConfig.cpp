#include "calib/Samplers/PipelineConfig.h"
#include "lib/Support/Yaml.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace nibble::calib {
namespace {

template <typename T> using Words = llvm::ArrayRef<std::pair<llvm::StringLiteral, T>>;

constexpr std::pair<llvm::StringLiteral, BetaSchedule> betaSchedules[] = {
    {"linear", BetaSchedule::Linear},
    {"scaled_linear", BetaSchedule::ScaledLinear},
    {"squaredcos_cap_v2", BetaSchedule::SquaredCosine}};
constexpr std::pair<llvm::StringLiteral, PredictionType> predictionTypes[] = {
    {"epsilon", PredictionType::Epsilon}, {"v_prediction", PredictionType::Velocity}, {"sample", PredictionType::Sample}};
constexpr std::pair<llvm::StringLiteral, TimestepSpacing> timestepSpacings[] = {
    {"leading", TimestepSpacing::Leading}, {"trailing", TimestepSpacing::Trailing}, {"linspace", TimestepSpacing::Linspace}};

/// More than any model is trained with; the schedule is held in memory.
constexpr int64_t maximumTimesteps = 1000000;

/// Reads one file. JSON is YAML too, and read so its mistakes have places.
class Reader {
public:
  explicit Reader(const YamlFile &file) : file(file) {}

  llvm::Error readPipeline(PipelineConfig &config) const {
    if (llvm::Error error = file.expectMap(
            file.root(), {"scheduler", "num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "clip_sample",
                          "clip_sample_range", "set_alpha_to_one", "steps_offset", "timestep_spacing", "prediction_type",
                          "steps", "timesteps", "guidance_scale", "vae_scaling_factor"}))
      return error;
    if (llvm::Error error = readScheduler("scheduler", "ddim", config.sampler))
      return error;
    if (llvm::Error error = readInteger("steps", 1, config.sampler.trainTimesteps, config.steps))
      return error;
    if (llvm::Error error = readNumber("guidance_scale", 0, config.guidanceScale))
      return error;
    if (llvm::Error error = file.require(file.root(), "vae_scaling_factor").takeError())
      return error;
    if (llvm::Error error = readPositive("vae_scaling_factor", config.vaeScalingFactor))
      return error;
    return checkTimesteps(config);
  }

  /// A scheduler_config.json. Keys that do not matter to DDIM are passed over: schedulers share these files.
  llvm::Error readSchedulerConfig(DdimConfig &config) const {
    if (!file.root().IsMap())
      return file.errorAt(file.root(), "wanted a map");
    for (llvm::StringRef key : {"thresholding", "rescale_betas_zero_snr"})
      if (YAML::Node node = find(key)) {
        llvm::Expected<bool> value = file.asBool(node);
        if (!value)
          return value.takeError();
        if (*value)
          return unsupported(node, key + " is not supported");
      }
    if (YAML::Node node = find("trained_betas"))
      return unsupported(node, "trained_betas are not supported");
    return readScheduler("_class_name", "DDIMScheduler", config);
  }

  llvm::Error readVaeConfig(PipelineConfig &config) const {
    if (!file.root().IsMap())
      return file.errorAt(file.root(), "wanted a map");
    for (llvm::StringRef key : {"shift_factor", "latents_mean", "latents_std"})
      if (YAML::Node node = find(key))
        return unsupported(node, key + " is not supported");
    // What diffusers' AutoencoderKL takes where the file was written before the key was.
    config.vaeScalingFactor = 0.18215;
    return readPositive("scaling_factor", config.vaeScalingFactor);
  }

private:
  /// The value of `key`; none where it is absent or null.
  YAML::Node find(llvm::StringRef key) const {
    const YAML::Node &root = file.root();
    YAML::Node node = root[key.str()];
    return node && !node.IsNull() ? node : YAML::Node(YAML::NodeType::Undefined);
  }

  llvm::Error unsupported(const YAML::Node &node, const llvm::Twine &message, std::vector<std::string> notes = {}) const {
    return file.errorAt(node, message, std::move(notes), ErrorKind::Unsupported);
  }

  llvm::Error readScheduler(llvm::StringRef classKey, llvm::StringRef className, DdimConfig &config) const {
    llvm::Expected<YAML::Node> scheduler = file.require(file.root(), classKey);
    if (!scheduler)
      return scheduler.takeError();
    llvm::Expected<std::string> found = file.asString(*scheduler);
    if (!found)
      return found.takeError();
    if (*found != className)
      return unsupported(*scheduler, "wanted scheduler '" + className + "', found '" + *found + "'",
                         {"DDIM samples any model that was trained with this noise schedule: put '" + className.str() +
                          "' here"});
    if (llvm::Error error = readInteger("num_train_timesteps", 1, maximumTimesteps, config.trainTimesteps))
      return error;
    if (llvm::Error error = readWord<BetaSchedule>("beta_schedule", betaSchedules, config.betaSchedule))
      return error;
    if (llvm::Error error = readShare("beta_start", config.betaStart))
      return error;
    if (llvm::Error error = readShare("beta_end", config.betaEnd))
      return error;
    if (llvm::Error error = readWord<PredictionType>("prediction_type", predictionTypes, config.predictionType))
      return error;
    if (llvm::Error error = readWord<TimestepSpacing>("timestep_spacing", timestepSpacings, config.timestepSpacing))
      return error;
    if (llvm::Error error = readInteger("steps_offset", 0, config.trainTimesteps - 1, config.stepsOffset))
      return error;
    if (llvm::Error error = readBool("set_alpha_to_one", config.setAlphaToOne))
      return error;
    if (llvm::Error error = readBool("clip_sample", config.clipSample))
      return error;
    return readPositive("clip_sample_range", config.clipSampleRange);
  }

  /// The timesteps that a file lists are those that its other keys give.
  llvm::Error checkTimesteps(const PipelineConfig &config) const {
    YAML::Node list = find("timesteps");
    if (!list)
      return llvm::Error::success();
    if (!list.IsSequence())
      return file.errorAt(list, "wanted a list of timesteps");
    int64_t steps = config.steps ? *config.steps : static_cast<int64_t>(list.size());
    if (static_cast<int64_t>(list.size()) != steps)
      return file.errorAt(list, "wanted " + llvm::Twine(steps) + " timesteps, as many as steps, found " + llvm::Twine(list.size()));
    llvm::Expected<std::unique_ptr<DdimSampler>> sampler = DdimSampler::create(config.sampler, steps);
    if (!sampler)
      return sampler.takeError();
    for (auto [index, wanted] : llvm::enumerate((*sampler)->timesteps())) {
      llvm::Expected<int64_t> found = file.asInteger(list[index], 0, config.sampler.trainTimesteps - 1);
      if (!found)
        return found.takeError();
      if (*found != wanted)
        return file.errorAt(list[index], "wanted timestep " + llvm::Twine(wanted) +
                                             ", which timestep_spacing and steps_offset give, found " + llvm::Twine(*found));
    }
    return llvm::Error::success();
  }

  template <typename T> llvm::Error readInteger(llvm::StringRef key, int64_t minimum, int64_t maximum, T &value) const {
    YAML::Node node = find(key);
    return node ? file.asInteger(node, minimum, maximum).moveInto(value) : llvm::Error::success();
  }

  template <typename T> llvm::Error readNumber(llvm::StringRef key, double minimum, T &value) const {
    YAML::Node node = find(key);
    return node ? file.asNumber(node, minimum).moveInto(value) : llvm::Error::success();
  }

  llvm::Error readPositive(llvm::StringRef key, double &value) const {
    if (llvm::Error error = readNumber(key, 0, value))
      return error;
    return value > 0 ? llvm::Error::success() : file.errorAt(find(key), "wanted a number above 0, found " + find(key).Scalar());
  }

  /// A number above 0 and below 1.
  llvm::Error readShare(llvm::StringRef key, double &value) const {
    if (llvm::Error error = readPositive(key, value))
      return error;
    return value < 1 ? llvm::Error::success() : file.errorAt(find(key), "wanted a number below 1, found " + find(key).Scalar());
  }

  llvm::Error readBool(llvm::StringRef key, bool &value) const {
    YAML::Node node = find(key);
    return node ? file.asBool(node).moveInto(value) : llvm::Error::success();
  }

  template <typename T> llvm::Error readWord(llvm::StringRef key, Words<T> words, T &value) const {
    YAML::Node node = find(key);
    if (!node)
      return llvm::Error::success();
    llvm::Expected<std::string> found = file.asString(node);
    if (!found)
      return found.takeError();
    std::vector<std::string> known;
    for (const auto &[word, meaning] : words) {
      if (word == *found) {
        value = meaning;
        return llvm::Error::success();
      }
      known.push_back(word.str());
    }
    return unsupported(node, "wanted " + key + " " + llvm::join(known, ", ") + ", found '" + *found + "'");
  }

  const YamlFile &file;
};

std::string pathIn(llvm::StringRef folder, llvm::StringRef name) {
  llvm::SmallString<128> path(folder);
  llvm::sys::path::append(path, name);
  return std::string(path);
}

} // namespace

static llvm::Expected<PipelineConfig> readDiffusersFolder(llvm::StringRef folder) {
  PipelineConfig config;
  llvm::Expected<YamlFile> scheduler = YamlFile::open(pathIn(folder, "scheduler/scheduler_config.json"));
  if (!scheduler)
    return scheduler.takeError();
  if (llvm::Error error = Reader(*scheduler).readSchedulerConfig(config.sampler))
    return std::move(error);
  std::string vaePath = pathIn(folder, "vae_decoder/config.json");
  if (!llvm::sys::fs::exists(vaePath))
    vaePath = pathIn(folder, "vae/config.json");
  llvm::Expected<YamlFile> vae = YamlFile::open(vaePath);
  if (!vae)
    return vae.takeError();
  if (llvm::Error error = Reader(*vae).readVaeConfig(config))
    return std::move(error);
  return config;
}

llvm::Expected<PipelineConfig> readPipelineConfig(llvm::StringRef folder) {
  std::string path = pathIn(folder, "pipeline.json");
  if (!llvm::sys::fs::exists(path)) {
    if (llvm::sys::fs::exists(pathIn(folder, "scheduler/scheduler_config.json")))
      return readDiffusersFolder(folder);
    return makeError(ErrorKind::IO, "'" + folder + "' holds no pipeline",
                     {"wanted pipeline.json or scheduler/scheduler_config.json in it"});
  }
  llvm::Expected<YamlFile> file = YamlFile::open(path);
  if (!file)
    return file.takeError();
  PipelineConfig config;
  if (llvm::Error error = Reader(*file).readPipeline(config))
    return std::move(error);
  return config;
}

} // namespace nibble::calib
