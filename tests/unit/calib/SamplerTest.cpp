// DDIM against its formula and values computed by hand, noise schedules against published ones, and pipeline files.
#include "calib/Samplers/DdimSampler.h"
#include "calib/Samplers/PipelineConfig.h"
#include "tests/unit/TestFiles.h"

#include <cmath>
#include <random>

using namespace nibble;
using namespace nibble::calib;
using namespace nibble::test;

namespace {

std::unique_ptr<DdimSampler> makeSampler(const DdimConfig &config, int64_t steps) {
  return valueOrFail(DdimSampler::create(config, steps));
}

/// The schedule of Stable Diffusion, and of the models in testdata.
DdimConfig stableDiffusion() {
  DdimConfig config;
  config.betaSchedule = BetaSchedule::ScaledLinear;
  config.betaStart = 0.00085;
  config.betaEnd = 0.012;
  config.clipSample = false;
  config.setAlphaToOne = false;
  config.stepsOffset = 1;
  return config;
}

/// Two timesteps with alpha-bars 0.64 and 0.36, whose roots are 0.8 and 0.6.
DdimConfig twoTimesteps() {
  DdimConfig config;
  config.trainTimesteps = 2;
  config.betaStart = 1 - 0.64;
  config.betaEnd = 1 - 0.36 / 0.64;
  config.clipSample = false;
  return config;
}

float stepOne(DdimSampler &sampler, float latent, float prediction, int64_t timestep) {
  return sampler.step(Tensor::fromValues<float>({1}, latent), Tensor::fromValues<float>({1}, prediction), timestep)
      .values<float>()[0];
}

std::vector<float> normalValues(size_t count, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float &value : values)
    value = normal(generator);
  return values;
}

TEST(DdimSampler, SchedulesHaveTheirPublishedNoise) {
  // Stable Diffusion's largest and smallest sigma, sqrt((1 - a) / a), as k-diffusion names them.
  auto sampler = makeSampler(stableDiffusion(), 20);
  auto sigma = [&](int64_t t) { return std::sqrt((1 - sampler->alphaBar(t)) / sampler->alphaBar(t)); };
  EXPECT_NEAR(sigma(999), 14.6146, 5e-5);
  EXPECT_NEAR(sigma(0), 0.0292, 5e-5);
  EXPECT_EQ(sampler->alphaBar(-1), sampler->alphaBar(0));
  // The linear schedule of Ho, Jain and Abbeel, 2020, leaves 4.0358e-5 of an image.
  auto linear = makeSampler(DdimConfig(), 20);
  EXPECT_NEAR(linear->alphaBar(999), 4.0358e-5, 1e-9);
  EXPECT_EQ(linear->alphaBar(-1), 1);
  // The cosine one telescopes, until its betas are cut off at 0.999.
  DdimConfig config;
  config.betaSchedule = BetaSchedule::SquaredCosine;
  auto cosine = makeSampler(config, 20);
  auto f = [](double t) { return std::pow(std::cos((t / 1000 + 0.008) / 1.008 * M_PI / 2), 2); };
  for (int64_t t : {0, 499, 998})
    EXPECT_NEAR(cosine->alphaBar(t), f(double(t + 1)) / f(0), 1e-12);
  EXPECT_NEAR(cosine->alphaBar(999), 0.001 * cosine->alphaBar(998), 1e-15);
}

TEST(DdimSampler, TimestepsFollowTheSpacing) {
  EXPECT_EQ(makeSampler(stableDiffusion(), 20)->timesteps(),
            llvm::ArrayRef<int64_t>({951, 901, 851, 801, 751, 701, 651, 601, 551, 501,
                                     451, 401, 351, 301, 251, 201, 151, 101, 51, 1}));
  DdimConfig config;
  config.trainTimesteps = 10;
  EXPECT_EQ(makeSampler(config, 4)->timesteps(), llvm::ArrayRef<int64_t>({6, 4, 2, 0}));
  EXPECT_EQ(makeSampler(config, 1)->timesteps(), llvm::ArrayRef<int64_t>({0}));
  // 10, 7.5, 5, 2.5 round to 10, 8, 5, 2.
  config.timestepSpacing = TimestepSpacing::Trailing;
  EXPECT_EQ(makeSampler(config, 4)->timesteps(), llvm::ArrayRef<int64_t>({9, 7, 4, 1}));
  config.timestepSpacing = TimestepSpacing::Linspace;
  EXPECT_EQ(makeSampler(config, 4)->timesteps(), llvm::ArrayRef<int64_t>({9, 6, 3, 0}));
  EXPECT_EQ(makeSampler(config, 1)->timesteps(), llvm::ArrayRef<int64_t>({0}));
}

TEST(DdimSampler, StepsComputedByHand) {
  // x_0 = (1 - 0.8 * 0.5) / 0.6 = 1, then 0.8 * 1 + 0.6 * 0.5 = 1.1.
  auto sampler = makeSampler(twoTimesteps(), 2);
  EXPECT_EQ(sampler->initialScale(), 1);
  EXPECT_FLOAT_EQ(stepOne(*sampler, 1, 0.5f, 1), 1.1f);
  // x_0 = (1.1 - 0.6 * 0.5) / 0.8 = 1, after which there is no noise, or still that of timestep 0.
  EXPECT_FLOAT_EQ(stepOne(*sampler, 1.1f, 0.5f, 0), 1);
  DdimConfig config = twoTimesteps();
  config.setAlphaToOne = false;
  EXPECT_FLOAT_EQ(stepOne(*makeSampler(config, 2), 1.1f, 0.5f, 0), 1.1f);
  // The image is clamped and the noise is not: 0.8 * 0.5 + 0.6 * 0.5.
  config.clipSample = true;
  config.clipSampleRange = 0.5;
  auto clipping = makeSampler(config, 2);
  EXPECT_FLOAT_EQ(stepOne(*clipping, 1, 0.5f, 1), 0.7f);
  EXPECT_FLOAT_EQ(stepOne(*clipping, -1, -0.5f, 1), -0.7f);
  EXPECT_TRUE(std::isnan(stepOne(*clipping, 1, NAN, 1)));
}

TEST(DdimSampler, StepIsEquation12) {
  constexpr int64_t count = 64;
  std::vector<float> x = normalValues(count, 1), e = normalValues(count, 2);
  auto sampler = makeSampler(stableDiffusion(), 20);
  for (int64_t t : sampler->timesteps()) {
    Tensor result = sampler->step(Tensor::fromValues<float>({2, count / 2}, x), Tensor::fromValues<float>({2, count / 2}, e), t);
    EXPECT_EQ(result.shape(), llvm::ArrayRef<int64_t>({2, count / 2}));
    double a = 1, next = 1;
    for (int64_t s = 0; s <= t; ++s) {
      double root = std::sqrt(0.00085) + (std::sqrt(0.012) - std::sqrt(0.00085)) * double(s) / 999;
      a *= 1 - root * root;
      if (s == std::max<int64_t>(t - 50, 0))
        next = a;
    }
    for (int64_t i = 0; i < count; ++i) {
      double image = (x[i] - std::sqrt(1 - a) * e[i]) / std::sqrt(a);
      double wanted = std::sqrt(next) * image + std::sqrt(1 - next) * e[i];
      ASSERT_NEAR(result.values<float>()[i], wanted, 1e-6 * (1 + std::fabs(wanted))) << "timestep " << t;
    }
  }
}

TEST(DdimSampler, PredictionsOfOneImageLeadToOneResult) {
  std::vector<float> images = normalValues(16, 3), noises = normalValues(16, 4);
  for (int64_t t : {951, 501, 1}) {
    DdimConfig config = stableDiffusion();
    double a = makeSampler(config, 20)->alphaBar(t);
    for (size_t i = 0; i < images.size(); ++i) {
      double image = images[i], noise = noises[i];
      float latent = float(std::sqrt(a) * image + std::sqrt(1 - a) * noise);
      double next = makeSampler(config, 20)->alphaBar(t - 50);
      double wanted = std::sqrt(next) * image + std::sqrt(1 - next) * noise;
      std::pair<PredictionType, double> predictions[] = {
          {PredictionType::Epsilon, noise},
          {PredictionType::Velocity, std::sqrt(a) * noise - std::sqrt(1 - a) * image},
          {PredictionType::Sample, image}};
      for (auto [type, prediction] : predictions) {
        config.predictionType = type;
        EXPECT_NEAR(stepOne(*makeSampler(config, 20), latent, float(prediction), t), wanted, 2e-5);
      }
    }
  }
}

TEST(DdimSampler, RefusesStepsThatTrainingDoesNotHave) {
  expectError(DdimSampler::create(DdimConfig(), 0).takeError(), ErrorKind::BadInput, "wanted 1 to 1000 sampling steps");
  expectError(DdimSampler::create(DdimConfig(), 1001).takeError(), ErrorKind::BadInput, "found 1001");
  expectError(DdimSampler::create(stableDiffusion(), 1000).takeError(), ErrorKind::BadInput,
              "begin at timestep 1000, beyond the last one of training, 999");
}

TEST(PipelineConfig, ReadsThePipelineOfTestdata) {
  PipelineConfig config = valueOrFail(readPipelineConfig(testData("models/emoji-diffusion")));
  DdimConfig wanted = stableDiffusion();
  EXPECT_EQ(config.sampler.betaSchedule, wanted.betaSchedule);
  EXPECT_EQ(config.sampler.betaStart, wanted.betaStart);
  EXPECT_EQ(config.sampler.betaEnd, wanted.betaEnd);
  EXPECT_EQ(config.sampler.clipSample, wanted.clipSample);
  EXPECT_EQ(config.sampler.setAlphaToOne, wanted.setAlphaToOne);
  EXPECT_EQ(config.sampler.stepsOffset, wanted.stepsOffset);
  EXPECT_EQ(config.sampler.predictionType, PredictionType::Epsilon);
  EXPECT_EQ(config.sampler.timestepSpacing, TimestepSpacing::Leading);
  EXPECT_EQ(config.steps, 20);
  EXPECT_EQ(config.guidanceScale, 3.0);
  EXPECT_EQ(config.vaeScalingFactor, 0.8479243481498081);
}

TEST(PipelineConfig, ReadsAFolderOfDiffusers) {
  TemporaryFolder folder;
  folder.write("scheduler/scheduler_config.json",
               "{\n  \"_class_name\": \"DDIMScheduler\",\n  \"_diffusers_version\": \"0.31.0\",\n  \"beta_start\": 1e-3,\n"
               "  \"beta_end\": 0.01,\n  \"clip_sample_range\": 2.5,\n  \"prediction_type\": \"v_prediction\",\n"
               "  \"skip_prk_steps\": true,\n  \"thresholding\": false,\n  \"timestep_spacing\": \"trailing\",\n"
               "  \"trained_betas\": null\n}\n");
  folder.write("vae/config.json", "{\"_class_name\": \"AutoencoderKL\", \"shift_factor\": null}");
  PipelineConfig config = valueOrFail(readPipelineConfig(folder.file("")));
  EXPECT_EQ(config.sampler.betaSchedule, BetaSchedule::Linear);
  EXPECT_EQ(config.sampler.betaStart, 0.001);
  EXPECT_EQ(config.sampler.clipSampleRange, 2.5);
  EXPECT_EQ(config.sampler.predictionType, PredictionType::Velocity);
  EXPECT_EQ(config.sampler.timestepSpacing, TimestepSpacing::Trailing);
  EXPECT_TRUE(config.sampler.clipSample && config.sampler.setAlphaToOne);
  EXPECT_FALSE(config.steps || config.guidanceScale);
  EXPECT_EQ(config.vaeScalingFactor, 0.18215);
  folder.write("vae_decoder/config.json", "{\"scaling_factor\": 0.5}");
  EXPECT_EQ(valueOrFail(readPipelineConfig(folder.file(""))).vaeScalingFactor, 0.5);
  folder.write("vae_decoder/config.json", "{\n \"shift_factor\": 0.1159}");
  expectError(readPipelineConfig(folder.file("")).takeError(), ErrorKind::Unsupported,
              "vae_decoder/config.json:2:18: shift_factor is not supported");
}

TEST(PipelineConfig, MistakesHavePlaces) {
  TemporaryFolder folder;
  expectError(readPipelineConfig(folder.file("")).takeError(), ErrorKind::IO, "holds no pipeline");
  struct Mistake {
    const char *body;
    ErrorKind kind;
    const char *message;
  };
  for (const Mistake &mistake : std::initializer_list<Mistake>{
           {"\"scheduler\": \"pndm\"", ErrorKind::Unsupported, ":2:15: wanted scheduler 'ddim', found 'pndm'"},
           {"\"prediction_type\": \"flow_prediction\"", ErrorKind::Unsupported,
            ":2:21: wanted prediction_type epsilon, v_prediction, sample, found 'flow_prediction'"},
           {"\"beta_schedule\": \"sigmoid\"", ErrorKind::Unsupported, ":2:19: wanted beta_schedule linear, "},
           {"\"timestep_spacing\": \"karras\"", ErrorKind::Unsupported, ":2:22: wanted timestep_spacing leading, "},
           {"\"predicton_type\": \"epsilon\"", ErrorKind::BadInput, "did you mean 'prediction_type'"},
           {"\"beta_end\": 1", ErrorKind::BadInput, ":2:14: wanted a number below 1, found 1"},
           {"\"beta_start\": 0", ErrorKind::BadInput, ":2:16: wanted a number above 0, found 0"},
           {"\"steps\": 1001", ErrorKind::BadInput, ":2:11: wanted an integer from 1 to 1000, found 1001"},
           {"\"steps_offset\": -1", ErrorKind::BadInput, ":2:18: wanted an integer from 0 to 999"},
           {"\"clip_sample\": \"no way\"", ErrorKind::BadInput, ":2:17: wanted true or false"},
           {"\"guidance_scale\": -1", ErrorKind::BadInput, ":2:20: wanted a number of at least 0"},
           {"\"steps\": 2, \"timesteps\": [500]", ErrorKind::BadInput, "wanted 2 timesteps, as many as steps, found 1"},
           {"\"timesteps\": [500, 1]", ErrorKind::BadInput, ":2:21: wanted timestep 0, which timestep_spacing"},
           {"\"timesteps\": 1", ErrorKind::BadInput, ":2:15: wanted a list of timesteps"}}) {
    bool hasScheduler = llvm::StringRef(mistake.body).starts_with("\"scheduler\"");
    folder.write("pipeline.json", std::string("{\n ") + mistake.body + ",\n \"vae_scaling_factor\": 1" +
                                      (hasScheduler ? "" : ",\n \"scheduler\": \"ddim\"") + "\n}\n");
    expectError(readPipelineConfig(folder.file("")).takeError(), mistake.kind, mistake.message);
  }
  folder.write("pipeline.json", "{\"scheduler\": \"ddim\"}");
  expectError(readPipelineConfig(folder.file("")).takeError(), ErrorKind::BadInput, "key 'vae_scaling_factor' is missing");
  folder.write("pipeline.json", "[1, 2");
  expectError(readPipelineConfig(folder.file("")).takeError(), ErrorKind::BadInput, "pipeline.json:1:");
}

TEST(PipelineConfig, RefusesWhatSamplesOtherwise) {
  TemporaryFolder folder;
  for (auto [body, message] : std::initializer_list<std::pair<const char *, const char *>>{
           {"\"_class_name\": \"PNDMScheduler\"", ":2:17: wanted scheduler 'DDIMScheduler', found 'PNDMScheduler'"},
           {"\"thresholding\": true", ":2:18: thresholding is not supported"},
           {"\"rescale_betas_zero_snr\": true", ":2:28: rescale_betas_zero_snr is not supported"},
           {"\"trained_betas\": [0.1]", ":2:19: trained_betas are not supported"}}) {
    folder.write("scheduler/scheduler_config.json", std::string("{\n ") + body + "\n}");
    expectError(readPipelineConfig(folder.file("")).takeError(), ErrorKind::Unsupported, message);
  }
}

} // namespace
