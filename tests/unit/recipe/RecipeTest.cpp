//===- RecipeTest.cpp - recipe files and what is wrong with them --------------===//
#include "lib/Recipe/Recipe.h"
#include "lib/Support/AtomicFile.h"
#include "lib/Support/Error.h"

#include "llvm/Support/FileSystem.h"
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
            (std::vector<std::string>{"w4", "w4-g128", "w4-g32", "w4a16", "w4a8", "w8", "w8a16", "w8a8"}));
  for (const std::string &name : Recipe::listNames()) {
    llvm::Expected<Recipe> recipe = Recipe::load(name);
    ASSERT_TRUE(static_cast<bool>(recipe)) << llvm::toString(recipe.takeError());
    EXPECT_EQ(recipe->name, name);
    EXPECT_EQ(recipe->isWeightOnly(), name.find('a') == std::string::npos);
    EXPECT_EQ(*recipe->weights.bits, name[1] - '0');
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
            "r.yaml:5:9: wanted one of 4, 8, 16 bits or float, found '5'");
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
  EXPECT_EQ(faultOf("weights: {bits: 5}\n"), "r.yaml:3:17: wanted one of 4, 8, 16 bits or float, found '5'");
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

} // namespace
