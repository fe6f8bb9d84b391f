//===- RecipeTest.cpp - recipe files and what is wrong with them --------------===//
#include "lib/Recipe/Recipe.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Regex.h"
#include "gtest/gtest.h"

using namespace nibble;

namespace {

constexpr llvm::StringLiteral head = "schema: nibble-recipe-1\nname: test\n";

std::string faultOf(const llvm::Twine &body) {
  llvm::Expected<Recipe> recipe = Recipe::parse((head + body).str(), "r.yaml");
  if (recipe)
    return "none";
  std::string text;
  llvm::handleAllErrors(recipe.takeError(), [&](const NibbleError &error) {
    EXPECT_EQ(error.kind, ErrorKind::BadInput);
    text = error.message;
    for (const std::string &note : error.notes)
      text += " | " + note;
  });
  return text;
}

constexpr llvm::StringLiteral full = R"(weights:
  bits: 4
  symmetric: true
  granularity: group
  group-size: 32
  scale-search: mse
activations:
  bits: 8
  symmetric: false
  observer: percentile
  percentile: 99.9
overrides:
  - node: "/down/.*"
    operator: "Conv"
    weights:
      bits: 8
  - tensor: "out\"put"
    role: output
    optional: true
    activations:
      bits: float
)";

TEST(Recipe, ReadsEveryField) {
  Recipe recipe = llvm::cantFail(Recipe::parse((head + full).str(), "r.yaml"));
  EXPECT_EQ(recipe.name, "test");
  EXPECT_EQ(recipe.weights.bits, 4u);
  EXPECT_EQ(recipe.weights.granularity, WeightSettings::Granularity::Group);
  EXPECT_EQ(recipe.weights.groupSize, 32);
  EXPECT_EQ(recipe.weights.scaleSearch, "mse");
  EXPECT_EQ(recipe.activations.observer, "percentile");
  EXPECT_EQ(recipe.activations.percentile, 99.9);
  EXPECT_EQ(toString(recipe.weightsPosition), "r.yaml:4:3");
  ASSERT_EQ(recipe.overrides.size(), 2u);
  EXPECT_EQ(recipe.overrides[0].nodePattern, "/down/.*");
  EXPECT_EQ(recipe.overrides[0].operatorType, "Conv");
  EXPECT_EQ(recipe.overrides[0].weights.bits, 8u);
  EXPECT_FALSE(recipe.overrides[0].weights.granularity);
  EXPECT_EQ(toString(recipe.overrides[0].position), "r.yaml:15:5");
  EXPECT_EQ(recipe.overrides[1].role, "output");
  EXPECT_EQ(recipe.overrides[1].activations.bits, 0u);
  EXPECT_TRUE(recipe.overrides[1].isOptional);
  EXPECT_FALSE(recipe.isWeightOnly());
}

TEST(Recipe, CanonicalTextReadsBackAsTheSameRecipe) {
  Recipe recipe = llvm::cantFail(Recipe::parse((head + full).str(), "r.yaml"));
  std::string text = recipe.toYAML();
  Recipe again = llvm::cantFail(Recipe::parse(text, "again.yaml"));
  EXPECT_EQ(again.toYAML(), text);
  EXPECT_EQ(again.weights, recipe.weights);
  EXPECT_EQ(again.activations, recipe.activations);
  EXPECT_EQ(again.overrides[1].tensorPattern, "out\"put");
}

TEST(Recipe, ShippedRecipesLoadUnderTheirOwnNames) {
  EXPECT_EQ(Recipe::listNames(),
            (std::vector<std::string>{
                "diffusion-w4a16", "diffusion-w4a8",  "diffusion-w8a16", "diffusion-w8a8", "encoder-w8a8", "llm-w2",
                "llm-w3",          "llm-w4-best",     "llm-w4-fast",     "llm-w4a16-best", "llm-w4a16-fast", "llm-w4a8",
                "llm-w8a8",        "vae-w8a8",        "w4",              "w4-g128",        "w4-g32",       "w4a16",
                "w4a8",            "w8",              "w8a16",           "w8a8"}));
  for (const std::string &name : Recipe::listNames()) {
    llvm::Expected<Recipe> recipe = Recipe::load(name);
    ASSERT_TRUE(static_cast<bool>(recipe)) << llvm::toString(recipe.takeError());
    EXPECT_EQ(recipe->name, name);
    // "w4a16" in a name is bits of weights and activations; recipes for a kind of model round against inputs.
    size_t kind = name.find("-w");
    llvm::StringRef bits = kind == std::string::npos ? llvm::StringRef(name) : llvm::StringRef(name).substr(kind + 1);
    EXPECT_EQ(recipe->isWeightOnly(), !llvm::Regex("^w[0-9]a").match(bits)) << name;
    EXPECT_EQ(*recipe->weights.bits, static_cast<unsigned>(bits[1] - '0')) << name;
    EXPECT_EQ(recipe->readsLayerInputs(), kind != std::string::npos) << name;
  }
}

TEST(Recipe, BaseIsRefined) {
  Recipe recipe = llvm::cantFail(Recipe::parse((head + "base: w8a16\nactivations: {observer: mse}\n").str(), "r.yaml"));
  EXPECT_EQ(recipe.name, "test");
  EXPECT_EQ(recipe.weights.bits, 8u);
  EXPECT_EQ(recipe.activations.bits, 16u);
  EXPECT_EQ(recipe.activations.observer, "mse");
}

TEST(Recipe, UnknownNamesAreUsageErrors) {
  llvm::handleAllErrors(Recipe::load("w8a6").takeError(), [](const NibbleError &error) {
    EXPECT_EQ(error.kind, ErrorKind::Usage);
    EXPECT_EQ(error.message, "unknown recipe 'w8a6'");
    ASSERT_EQ(error.notes.size(), 2u);
    EXPECT_EQ(error.notes[0].substr(0, 13), "did you mean ");
  });
  llvm::handleAllErrors(Recipe::load("absent.yaml").takeError(),
                        [](const NibbleError &error) { EXPECT_EQ(error.kind, ErrorKind::IO); });
}

TEST(Recipe, WindowsLineEndsAreReadAndCounted) {
  Recipe recipe = llvm::cantFail(Recipe::parse("schema: nibble-recipe-1\r\nname: test\r\nbase: w8a8\r\n", "r.yaml"));
  EXPECT_EQ(recipe.name, "test");
  EXPECT_EQ(faultOf("base: w8a8\r\nweights:\r\n  bits: 5\r\n"),
            "r.yaml:5:9: wanted one of 2, 3, 4, 8, 16 bits or float, found '5'");
}

TEST(Recipe, EmptyFilesHaveAPlaceToo) {
  llvm::handleAllErrors(Recipe::parse("", "r.yaml").takeError(), [](const NibbleError &error) {
    EXPECT_EQ(error.message, "r.yaml:1:1: wanted a map");
  });
}

TEST(Recipe, BasesAreBesideTheFileThatNamesThem) {
  llvm::SmallString<128> folder;
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("nibble-recipe", folder));
  ASSERT_FALSE(llvm::errorToBool(writeFileAtomically(
      (folder + "/base.yaml").str(), (head + "base: w8a8\nactivations: {headroom: 0.5}\n").str())));
  ASSERT_FALSE(llvm::errorToBool(writeFileAtomically((folder + "/top.yaml").str(), (head + "base: base.yaml\n").str())));
  llvm::Expected<Recipe> recipe = Recipe::load((folder + "/top.yaml").str());
  ASSERT_TRUE(static_cast<bool>(recipe)) << llvm::toString(recipe.takeError());
  EXPECT_EQ(recipe->activations.headroom, 0.5);
  llvm::sys::fs::remove_directories(folder);
}

TEST(Recipe, MistakesAreLocated) {
  llvm::StringRef bits = "weights: {bits: 8}\nactivations: {bits: 8}\n";
  EXPECT_EQ(faultOf("weight: {}\n"), "r.yaml:3:1: unknown key 'weight' | did you mean 'weights'");
  EXPECT_EQ(faultOf("weights: {bits: 5}\n"), "r.yaml:3:17: wanted one of 2, 3, 4, 8, 16 bits or float, found '5'");
  EXPECT_EQ(faultOf("weights: {granularity: chanel}\n"),
            "r.yaml:3:24: wanted one of tensor, channel, group, lpbq, found 'chanel' | did you mean 'channel'");
  EXPECT_EQ(faultOf("weights: {bits: 4, granularity: group}\nactivations: {bits: 8}\n"),
            "r.yaml:3:10: granularity group needs a group-size");
  EXPECT_EQ(faultOf(bits + "overrides: [{node: a, weights: {granularity: lpbq}}]\n"),
            "r.yaml:5:13: granularity lpbq needs a group-size");
  EXPECT_EQ(faultOf("base: w8a8\nweights: {group-size: 32}\n"),
            "r.yaml:4:23: group-size has no effect without granularity group or lpbq");
  EXPECT_EQ(faultOf("base: w8a16\nactivations: {percentile: 99.9}\n"),
            "r.yaml:4:27: percentile has no effect without observer percentile");
  EXPECT_EQ(faultOf("base: w8a15\n").substr(0, 50), "r.yaml:3:7: unknown recipe 'w8a15' | did you mean ");
  EXPECT_EQ(faultOf("base: absent.yaml\n").substr(0, 39), "r.yaml:3:7: cannot read 'absent.yaml': ");
  EXPECT_EQ(faultOf(bits + "---\nname: other\n"), "r.yaml:6:1: wanted one YAML document, found a second");
  EXPECT_EQ(faultOf(bits + "weights: {bits: 4}\n"), "r.yaml:5:1: key 'weights' is given twice");
  EXPECT_EQ(faultOf("weights: {symmetric: maybe}\n"), "r.yaml:3:22: wanted true or false");
  EXPECT_EQ(faultOf("activations: {observer: minmax}\n"),
            "r.yaml:3:25: wanted one of min-max, moving-average, percentile, mse, entropy, found 'minmax' | did you "
            "mean 'min-max'");
  EXPECT_EQ(faultOf("activations: {percentile: 101}\n"),
            "r.yaml:3:27: wanted a percentage above 0 and up to 100, found 101");
  EXPECT_EQ(faultOf("weights: {bits: 8}\n"),
            "r.yaml:1:1: a recipe needs bits under weights and under activations, its own or those of its base");
  EXPECT_EQ(faultOf("weights: {bits: float}\nactivations: {bits: float}\n"),
            "r.yaml:1:1: the recipe leaves everything in float, so there is nothing to quantize");
  EXPECT_EQ(faultOf(bits + "overrides: [{weights: {bits: 4}}]\n"),
            "r.yaml:5:13: an override needs at least one of node, operator, tensor and role");
  EXPECT_EQ(faultOf(bits + "overrides: [{node: a}]\n"),
            "r.yaml:5:13: an override needs settings under weights or activations");
  EXPECT_EQ(faultOf(bits + "overrides: [{node: 'a(', weights: {bits: 4}}]\n"),
            "r.yaml:5:20: 'a(' is no regular expression: parentheses not balanced");
  EXPECT_EQ(faultOf(bits + "overrides: {}\n"), "r.yaml:5:12: wanted a list of overrides");
}

constexpr llvm::StringLiteral rounding = R"(base: w4a16
equalize: [fold-norm-scales, rotate, smoothquant]
layer-inputs: quantized
weights:
  scale-search: output-error
  rounding: gptq
  activation-order: false
  first-order: 0.1
  coordinate-descent: 8
  refit-scales: true
  drift-correction: 0.5
  bias-correction: true
overrides:
  - operator: Conv
    weights: {rounding: sign-round, iterations: 50}
)";

TEST(Recipe, StagesOfRoundingAreReadAndWritten) {
  Recipe recipe = llvm::cantFail(Recipe::parse((head + rounding).str(), "r.yaml"));
  EXPECT_EQ(recipe.equalize, (std::vector<std::string>{"fold-norm-scales", "rotate", "smoothquant"}));
  EXPECT_EQ(recipe.layerInputs, "quantized");
  EXPECT_EQ(recipe.weights.scaleSearch, "output-error");
  EXPECT_EQ(recipe.weights.rounding, "gptq");
  EXPECT_EQ(recipe.weights.activationOrder, false);
  EXPECT_EQ(recipe.weights.firstOrder, 0.1);
  EXPECT_EQ(recipe.weights.coordinateDescent, 8);
  EXPECT_EQ(recipe.weights.refitScales, true);
  EXPECT_EQ(recipe.weights.driftCorrection, 0.5);
  EXPECT_EQ(recipe.weights.biasCorrection, true);
  EXPECT_EQ(recipe.overrides.back().weights.iterations, 50);
  EXPECT_TRUE(recipe.readsLayerInputs());
  EXPECT_TRUE(recipe.equalizesByStatistics());
  Recipe again = llvm::cantFail(Recipe::parse(recipe.toYAML(), "again.yaml"));
  EXPECT_EQ(again.toYAML(), recipe.toYAML());
  EXPECT_EQ(again.weights, recipe.weights);
  EXPECT_EQ(again.equalize, recipe.equalize);
}

TEST(Recipe, EveryStageCanBeSwitchedOff) {
  Recipe recipe = llvm::cantFail(
      Recipe::parse((head + "base: llm-w4-best\nweights: {rounding: nearest, coordinate-descent: 0, "
                            "bias-correction: false, drift-correction: 0}\n").str(), "r.yaml"));
  EXPECT_FALSE(recipe.readsLayerInputs());
  Recipe plain = llvm::cantFail(Recipe::parse((head + "base: w8a8\nequalize: []\n").str(), "r.yaml"));
  EXPECT_TRUE(plain.equalize.empty());
}

TEST(Recipe, StagesThatDoNotStackAreLocated) {
  auto equalize = [](llvm::StringRef list) { return faultOf(("base: w4a16\nequalize: " + list + "\n").str()); };
  EXPECT_EQ(equalize("[fold-norm-scales, rotate, awq]"),
            "r.yaml:4:11: rotate and awq do not stack: channels that are rotated are alike, so awq has no scale left to "
            "choose on the same edges | keep one of them");
  EXPECT_EQ(equalize("[smoothquant, awq]"), "r.yaml:4:11: smoothquant and awq both choose one factor per channel of the same "
                                            "edges | keep smoothquant where activations are integers, awq where they are float");
  EXPECT_EQ(equalize("[rotate]"), "r.yaml:4:11: rotate needs norms without scales | list fold-norm-scales before it");
  EXPECT_EQ(equalize("[fold-norm-scales, smoothquant, rotate]").substr(0, 67),
            "r.yaml:4:11: rotate mixes the channels that smoothquant has scaled ");
  EXPECT_EQ(equalize("[awq, awq]"), "r.yaml:4:17: stage 'awq' is listed twice");
  EXPECT_EQ(equalize("[smoothquand]").substr(0, 16), "r.yaml:4:12: wan");
  EXPECT_EQ(equalize("awq"), "r.yaml:4:11: wanted a list of stages");
  auto weights = [](llvm::StringRef keys) { return faultOf(("base: w4a16\nweights: {" + keys + "}\n").str()); };
  EXPECT_EQ(weights("activation-order: true"), "r.yaml:4:29: activation-order has no effect without rounding gptq");
  EXPECT_EQ(weights("iterations: 5"), "r.yaml:4:23: iterations has no effect without rounding sign-round or ada-round");
  EXPECT_EQ(weights("refit-scales: true"), "r.yaml:4:25: refit-scales has no effect without coordinate-descent");
  EXPECT_EQ(weights("drift-correction: 0.5"),
            "r.yaml:4:29: drift-correction has no effect without layer-inputs: quantized");
  EXPECT_EQ(weights("drift-correction: 2"), "r.yaml:4:29: wanted a share from 0 to 1, found 2");
  EXPECT_EQ(faultOf("base: w4a16\nlayer-inputs: float\n").substr(0, 72),
            "r.yaml:4:15: layer-inputs has no effect without a stage that reads them ");
}

} // namespace
