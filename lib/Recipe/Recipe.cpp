#include "lib/Recipe/Recipe.h"
#include "lib/Quant/RangeEstimator.h"
#include "lib/Support/Configs.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"
#include "lib/Support/Yaml.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

namespace path = llvm::sys::path;

namespace nibble {
namespace {

using Granularity = WeightSettings::Granularity;

constexpr std::pair<llvm::StringLiteral, Granularity> granularities[] = {{"tensor", Granularity::Tensor},
                                                                         {"channel", Granularity::Channel},
                                                                         {"group", Granularity::Group},
                                                                         {"lpbq", Granularity::LPBQ}};

llvm::StringRef name(Granularity granularity) {
  for (auto [word, value] : granularities)
    if (value == granularity)
      return word;
  llvm_unreachable("all granularities are listed");
}

/// Reads one recipe file. Every method returns an error at the place of the mistake.
class Reader {
public:
  explicit Reader(const YamlFile &file) : file(file) {}

  llvm::Expected<Recipe> read(unsigned depth) {
    const YAML::Node &root = file.root();
    if (llvm::Error error =
            file.expectMap(root, {"schema", "name", "description", "base", "equalize", "layer-inputs", "widen", "weights", "activations", "overrides"}))
      return error;
    Recipe recipe;
    if (llvm::Error error = readBase(root, depth, recipe))
      return error;
    if (llvm::Error error = readHeader(root, recipe))
      return error;
    if (llvm::Error error = readEqualize(root, recipe))
      return error;
    if (llvm::Error error = readField(root, "widen", recipe.widen, [&](const YAML::Node &node) { return readShare(node); }))
      return error;
    if (llvm::Error error = readField(root, "layer-inputs", recipe.layerInputs, [&](const YAML::Node &node) {
          return readChoice(node, {"float", "quantized"});
        }))
      return error;
    if (YAML::Node weights = root["weights"]) {
      if (llvm::Error error = readWeights(weights, recipe.weights))
        return error;
      recipe.weightsPosition = positionOf(weights);
    }
    if (YAML::Node activations = root["activations"]) {
      if (llvm::Error error = readActivations(activations, recipe.activations))
        return error;
      recipe.activationsPosition = positionOf(activations);
    }
    if (YAML::Node overrides = root["overrides"]) {
      if (!overrides.IsSequence())
        return file.errorAt(overrides, "wanted a list of overrides");
      for (const YAML::Node &entry : overrides)
        if (llvm::Error error = readOverride(entry, recipe))
          return error;
    }
    if (llvm::Error error = check(root, recipe))
      return error;
    return recipe;
  }

private:
  SourcePosition positionOf(const YAML::Node &node) const {
    return {file.path().str(), static_cast<unsigned>(node.Mark().line + 1), static_cast<unsigned>(node.Mark().column + 1)};
  }

  /// Stores what `read` gives for `key`, if the map has it.
  template <typename T, typename Read>
  llvm::Error readField(const YAML::Node &map, llvm::StringRef key, std::optional<T> &field, Read read) const {
    YAML::Node node = map[key.str()];
    if (!node)
      return llvm::Error::success();
    llvm::Expected<T> value = read(node);
    if (!value)
      return value.takeError();
    field = std::move(*value);
    return llvm::Error::success();
  }

  llvm::Expected<std::string> readChoice(const YAML::Node &node, std::vector<std::string> choices) const {
    llvm::Expected<std::string> word = file.asString(node);
    if (!word || llvm::is_contained(choices, *word))
      return word;
    std::vector<std::string> notes;
    if (std::string nearest = nearestName(*word, choices); !nearest.empty())
      notes.push_back("did you mean '" + nearest + "'");
    return file.errorAt(node, "wanted one of " + llvm::join(choices, ", ") + ", found '" + *word + "'", notes);
  }

  llvm::Expected<unsigned> readBits(const YAML::Node &node, llvm::ArrayRef<unsigned> widths) const {
    if (node.IsScalar() && node.Scalar() == "float")
      return 0u;
    std::vector<std::string> words;
    for (unsigned width : widths) {
      words.push_back(std::to_string(width));
      if (node.IsScalar() && node.Scalar() == words.back())
        return width;
    }
    return file.errorAt(node, "wanted one of " + llvm::join(words, ", ") + " bits or float, found '" +
                                  (node.IsScalar() ? node.Scalar() : std::string("a collection")) + "'");
  }

  llvm::Expected<std::string> readPattern(const YAML::Node &node) const {
    llvm::Expected<std::string> pattern = file.asString(node);
    if (!pattern)
      return pattern;
    std::string reason;
    if (pattern->empty() || !llvm::Regex(*pattern).isValid(reason))
      return file.errorAt(node, "'" + *pattern + "' is no regular expression" + (reason.empty() ? "" : ": " + reason));
    return pattern;
  }

  llvm::Error readBase(const YAML::Node &root, unsigned depth, Recipe &recipe) const {
    YAML::Node node = root["base"];
    if (!node)
      return llvm::Error::success();
    llvm::Expected<std::string> base = file.asString(node);
    if (!base)
      return base.takeError();
    if (depth >= 8)
      return file.errorAt(node, "recipes are based on one another more than 8 levels deep");
    // A path is relative to the file that it is written in.
    llvm::SmallString<128> beside(*base);
    if (Recipe::isPath(*base) && path::is_relative(*base)) {
      beside = path::parent_path(file.path());
      path::append(beside, *base);
    }
    llvm::Expected<Recipe> read = load(beside, depth + 1);
    if (!read) {
      // What is wrong inside the base has its own place; that there is no such base is a mistake of this line.
      llvm::Error error = llvm::handleErrors(read.takeError(), [&](const NibbleError &e) {
        return e.kind == ErrorKind::BadInput ? makeError(e.kind, e.message, e.notes) : file.errorAt(node, e.message, e.notes);
      });
      return error;
    }
    recipe = std::move(*read);
    return llvm::Error::success();
  }

  llvm::Error readHeader(const YAML::Node &root, Recipe &recipe) const {
    llvm::Expected<YAML::Node> schema = file.require(root, "schema");
    if (!schema)
      return schema.takeError();
    if (llvm::Expected<std::string> word = readChoice(*schema, {"nibble-recipe-1"}); !word)
      return word.takeError();
    llvm::Expected<YAML::Node> title = file.require(root, "name");
    if (!title)
      return title.takeError();
    llvm::Expected<std::string> word = file.asString(*title);
    if (!word)
      return word.takeError();
    recipe.name = *word;
    std::optional<std::string> description;
    if (llvm::Error error =
            readField(root, "description", description, [&](const YAML::Node &node) { return file.asString(node); }))
      return error;
    recipe.description = description.value_or("");
    return llvm::Error::success();
  }

  llvm::Error readWeights(const YAML::Node &map, WeightSettings &settings) const {
    if (llvm::Error error = file.expectMap(
            map, {"bits", "symmetric", "granularity", "group-size", "scale-search", "rounding", "activation-order",
                  "first-order", "iterations", "coordinate-descent", "refit-scales", "drift-correction", "bias-correction"}))
      return error;
    std::vector<std::string> words;
    for (auto [word, value] : granularities)
      words.push_back(word.str());
    auto readGranularity = [&](const YAML::Node &node) -> llvm::Expected<Granularity> {
      llvm::Expected<std::string> word = readChoice(node, words);
      if (!word)
        return word.takeError();
      return llvm::find_if(granularities, [&](auto &entry) { return entry.first == *word; })->second;
    };
    if (llvm::Error error = readField(map, "bits", settings.bits,
                                      [&](const YAML::Node &node) { return readBits(node, {2, 3, 4, 8, 16}); }))
      return error;
    if (llvm::Error error =
            readField(map, "symmetric", settings.symmetric, [&](const YAML::Node &node) { return file.asBool(node); }))
      return error;
    if (llvm::Error error = readField(map, "granularity", settings.granularity, readGranularity))
      return error;
    if (llvm::Error error = readField(map, "group-size", settings.groupSize,
                                      [&](const YAML::Node &node) { return file.asInteger(node, 1, 1 << 20); }))
      return error;
    if (llvm::Error error = readField(map, "scale-search", settings.scaleSearch, [&](const YAML::Node &node) {
          return readChoice(node, {"min-max", "mse", "output-error"});
        }))
      return error;
    return readRounding(map, settings);
  }

  /// A list replaces that of the base; an empty one turns its stages off.
  llvm::Error readEqualize(const YAML::Node &root, Recipe &recipe) const {
    YAML::Node list = root["equalize"];
    if (!list)
      return llvm::Error::success();
    if (!list.IsSequence())
      return file.errorAt(list, "wanted a list of stages");
    recipe.equalize.clear();
    for (const YAML::Node &entry : list) {
      llvm::Expected<std::string> stage =
          readChoice(entry, {"fold-norm-scales", "smoothquant", "awq", "cross-layer", "rotate"});
      if (!stage)
        return stage.takeError();
      if (llvm::is_contained(recipe.equalize, *stage))
        return file.errorAt(entry, "stage '" + *stage + "' is listed twice");
      recipe.equalize.push_back(std::move(*stage));
    }
    return checkEqualize(list, recipe);
  }

  llvm::Error checkEqualize(const YAML::Node &list, const Recipe &recipe) const {
    auto placeOf = [&](llvm::StringRef stage) { return llvm::find(recipe.equalize, stage) - recipe.equalize.begin(); };
    auto has = [&](llvm::StringRef stage) { return llvm::is_contained(recipe.equalize, stage); };
    if (has("smoothquant") && has("awq"))
      return file.errorAt(list, "smoothquant and awq both choose one factor per channel of the same edges",
                          {"keep smoothquant where activations are integers, awq where they are float"});
    if (has("rotate") && has("awq"))
      return file.errorAt(list, "rotate and awq do not stack: channels that are rotated are alike, so awq has no scale left "
                                "to choose on the same edges",
                          {"keep one of them"});
    if (has("rotate") && has("smoothquant") && placeOf("smoothquant") < placeOf("rotate"))
      return file.errorAt(list, "rotate mixes the channels that smoothquant has scaled",
                          {"list rotate before smoothquant, which then scales the edges that are not rotated"});
    if (has("rotate") && (!has("fold-norm-scales") || placeOf("fold-norm-scales") > placeOf("rotate")))
      return file.errorAt(list, "rotate needs norms without scales", {"list fold-norm-scales before it"});
    return llvm::Error::success();
  }

  llvm::Expected<double> readShare(const YAML::Node &node) const {
    llvm::Expected<double> value = file.asNumber(node, 0);
    if (value && *value > 1)
      return file.errorAt(node, "wanted a share from 0 to 1, found " + node.Scalar());
    return value;
  }

  llvm::Error readRounding(const YAML::Node &map, WeightSettings &settings) const {
    auto asShare = [&](const YAML::Node &node) { return readShare(node); };
    auto asFlag = [&](const YAML::Node &node) { return file.asBool(node); };
    if (llvm::Error error = readField(map, "rounding", settings.rounding, [&](const YAML::Node &node) {
          return readChoice(node, {"nearest", "gptq", "sign-round", "ada-round"});
        }))
      return error;
    if (llvm::Error error = readField(map, "activation-order", settings.activationOrder, asFlag))
      return error;
    if (llvm::Error error = readField(map, "first-order", settings.firstOrder, asShare))
      return error;
    if (llvm::Error error = readField(map, "iterations", settings.iterations,
                                      [&](const YAML::Node &node) { return file.asInteger(node, 1, 100000); }))
      return error;
    if (llvm::Error error = readField(map, "coordinate-descent", settings.coordinateDescent,
                                      [&](const YAML::Node &node) { return file.asInteger(node, 0, 1000); }))
      return error;
    if (llvm::Error error = readField(map, "refit-scales", settings.refitScales, asFlag))
      return error;
    if (llvm::Error error = readField(map, "drift-correction", settings.driftCorrection, asShare))
      return error;
    return readField(map, "bias-correction", settings.biasCorrection, asFlag);
  }

  llvm::Error readActivations(const YAML::Node &map, ActivationSettings &settings) const {
    if (llvm::Error error = file.expectMap(map, {"bits", "symmetric", "observer", "percentile", "headroom", "sample-headroom"}))
      return error;
    if (llvm::Error error = readField(map, "bits", settings.bits,
                                      [&](const YAML::Node &node) { return readBits(node, {8, 16}); }))
      return error;
    if (llvm::Error error =
            readField(map, "symmetric", settings.symmetric, [&](const YAML::Node &node) { return file.asBool(node); }))
      return error;
    std::vector<std::string> observers(std::begin(quant::observerNames), std::end(quant::observerNames));
    if (llvm::Error error = readField(map, "observer", settings.observer,
                                      [&](const YAML::Node &node) { return readChoice(node, observers); }))
      return error;
    auto asShare = [&](const YAML::Node &node) { return readShare(node); };
    if (llvm::Error error = readField(map, "headroom", settings.headroom, asShare))
      return error;
    if (llvm::Error error = readField(map, "sample-headroom", settings.sampleHeadroom, asShare))
      return error;
    return readField(map, "percentile", settings.percentile, [&](const YAML::Node &node) -> llvm::Expected<double> {
      llvm::Expected<double> value = file.asNumber(node, 0);
      if (value && (*value <= 0 || *value > 100))
        return file.errorAt(node, "wanted a percentage above 0 and up to 100, found " + node.Scalar());
      return value;
    });
  }

  llvm::Error readOverride(const YAML::Node &map, Recipe &recipe) const {
    if (llvm::Error error =
            file.expectMap(map, {"node", "operator", "tensor", "role", "weights", "activations", "optional"}))
      return error;
    Override entry;
    entry.position = positionOf(map);
    auto asPattern = [&](const YAML::Node &node) { return readPattern(node); };
    if (llvm::Error error = readField(map, "node", entry.nodePattern, asPattern))
      return error;
    if (llvm::Error error = readField(map, "tensor", entry.tensorPattern, asPattern))
      return error;
    if (llvm::Error error = readField(map, "operator", entry.operatorType,
                                      [&](const YAML::Node &node) { return file.asString(node); }))
      return error;
    if (llvm::Error error = readField(map, "role", entry.role,
                                      [&](const YAML::Node &node) { return readChoice(node, {"table", "output", "phase"}); }))
      return error;
    if (!entry.nodePattern && !entry.operatorType && !entry.tensorPattern && !entry.role)
      return file.errorAt(map, "an override needs at least one of node, operator, tensor and role");
    std::optional<bool> isOptional;
    if (llvm::Error error =
            readField(map, "optional", isOptional, [&](const YAML::Node &node) { return file.asBool(node); }))
      return error;
    entry.isOptional = isOptional.value_or(false);
    if (YAML::Node weights = map["weights"])
      if (llvm::Error error = readWeights(weights, entry.weights))
        return error;
    if (YAML::Node activations = map["activations"])
      if (llvm::Error error = readActivations(activations, entry.activations))
        return error;
    if (entry.weights == WeightSettings() && entry.activations == ActivationSettings())
      return file.errorAt(map, "an override needs settings under weights or activations");
    recipe.overrides.push_back(std::move(entry));
    return llvm::Error::success();
  }

  llvm::Error check(const YAML::Node &root, const Recipe &recipe) const {
    if (!recipe.weights.bits || !recipe.activations.bits)
      return file.errorAt(root, "a recipe needs bits under weights and under activations, its own or those of its base");
    if (*recipe.weights.bits == 0 && *recipe.activations.bits == 0 && recipe.overrides.empty())
      return file.errorAt(root, "the recipe leaves everything in float, so there is nothing to quantize");
    auto isGrouped = [](const WeightSettings &settings) {
      return settings.granularity == Granularity::Group || settings.granularity == Granularity::LPBQ;
    };
    auto isPercentile = [](const ActivationSettings &settings) { return settings.observer == "percentile"; };
    auto checkGroup = [&](const SourcePosition &place, const WeightSettings &settings) -> llvm::Error {
      if (isGrouped(settings) && !settings.groupSize && !recipe.weights.groupSize)
        return makeError(ErrorKind::BadInput,
                         toString(place) + ": granularity " + name(*settings.granularity) + " needs a group-size");
      return llvm::Error::success();
    };
    if (llvm::Error error = checkGroup(recipe.weightsPosition, recipe.weights))
      return error;
    for (const Override &entry : recipe.overrides)
      if (llvm::Error error = checkGroup(entry.position, entry.weights))
        return error;
    // A setting that nothing reads is a mistake, where it stands; what a base leaves over is none.
    YAML::Node weights = root["weights"], activations = root["activations"];
    bool readsGroups = isGrouped(recipe.weights) ||
                       llvm::any_of(recipe.overrides, [&](const Override &entry) { return isGrouped(entry.weights); });
    bool readsPercentile =
        isPercentile(recipe.activations) ||
        llvm::any_of(recipe.overrides, [&](const Override &entry) { return isPercentile(entry.activations); });
    if (weights && weights["group-size"] && !readsGroups)
      return file.errorAt(weights["group-size"], "group-size has no effect without granularity group or lpbq");
    if (llvm::Error error = checkRounding(root, recipe))
      return error;
    if (root["widen"] && *recipe.activations.bits != 8)
      return file.errorAt(root["widen"], "widen has no effect without activations of 8 bits");
    if (activations && activations["percentile"] && !readsPercentile)
      return file.errorAt(activations["percentile"], "percentile has no effect without observer percentile");
    return llvm::Error::success();
  }

  /// A setting of a stage that does not run is a mistake where it stands.
  llvm::Error checkRounding(const YAML::Node &root, const Recipe &recipe) const {
    auto anyWeights = [&](auto holds) {
      return holds(recipe.weights) ||
             llvm::any_of(recipe.overrides, [&](const Override &entry) { return holds(entry.weights); });
    };
    auto rounds = [&](std::vector<llvm::StringRef> methods) {
      return anyWeights([&](const WeightSettings &settings) {
        return settings.rounding && llvm::is_contained(methods, *settings.rounding);
      });
    };
    bool descends = anyWeights([](const WeightSettings &settings) { return settings.coordinateDescent.value_or(0) > 0; });
    const std::tuple<llvm::StringRef, bool, llvm::StringRef> needs[] = {
        {"activation-order", rounds({"gptq"}), "rounding gptq"},
        {"first-order", rounds({"gptq"}), "rounding gptq"},
        {"iterations", rounds({"sign-round", "ada-round"}), "rounding sign-round or ada-round"},
        {"refit-scales", descends, "coordinate-descent"},
        {"drift-correction", recipe.layerInputs == "quantized", "layer-inputs: quantized"}};
    YAML::Node weights = root["weights"];
    for (const auto &[key, isMet, what] : needs)
      if (weights && weights[key.str()] && !isMet)
        return file.errorAt(weights[key.str()], key + " has no effect without " + what);
    if (root["layer-inputs"] && !recipe.readsLayerInputs())
      return file.errorAt(root["layer-inputs"], "layer-inputs has no effect without a stage that reads them",
                          {"stages that do: scale-search output-error, rounding, coordinate-descent, drift-correction, "
                           "bias-correction"});
    return llvm::Error::success();
  }

public:
  static llvm::Expected<Recipe> load(llvm::StringRef nameOrPath, unsigned depth);

private:
  const YamlFile &file;
};

llvm::Expected<std::string> findFile(llvm::StringRef nameOrPath) {
  if (Recipe::isPath(nameOrPath))
    return nameOrPath.str();
  llvm::Expected<std::string> folder = findConfigFolder();
  if (!folder)
    return folder;
  std::vector<std::string> names = Recipe::listNames();
  if (!llvm::is_contained(names, nameOrPath)) {
    std::vector<std::string> notes;
    if (std::string nearest = nearestName(nameOrPath, names); !nearest.empty())
      notes.push_back("did you mean '" + nearest + "'");
    notes.push_back("recipes: " + llvm::join(names, ", ") + "; or a path that ends in .yaml");
    return makeError(ErrorKind::Usage, "unknown recipe '" + nameOrPath + "'", std::move(notes));
  }
  llvm::SmallString<128> file(*folder);
  path::append(file, "recipes", nameOrPath + ".yaml");
  return std::string(file);
}

llvm::Expected<Recipe> Reader::load(llvm::StringRef nameOrPath, unsigned depth) {
  llvm::Expected<std::string> path = findFile(nameOrPath);
  if (!path)
    return path.takeError();
  llvm::Expected<YamlFile> file = YamlFile::open(*path);
  if (!file)
    return file.takeError();
  llvm::Expected<Recipe> recipe = Reader(*file).read(depth);
  if (recipe)
    recipe->files.insert(recipe->files.begin(), *path);
  return recipe;
}

/// A double-quoted YAML scalar; JSON's escapes are YAML's.
std::string quoted(llvm::StringRef text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      result += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      result += "\\x" + llvm::utohexstr(static_cast<unsigned char>(c), /*LowerCase=*/true, /*Width=*/2);
    else
      result += c;
  }
  return result + '"';
}

std::string bitsWord(unsigned bits) { return bits ? std::to_string(bits) : "float"; }

void writeSettings(llvm::raw_ostream &os, const std::string &indent, const WeightSettings &weights,
                   const ActivationSettings &activations) {
  auto word = [](bool value) { return value ? "true" : "false"; };
  if (weights != WeightSettings()) {
    os << indent << "weights:\n";
    if (weights.bits)
      os << indent << "  bits: " << bitsWord(*weights.bits) << '\n';
    if (weights.symmetric)
      os << indent << "  symmetric: " << word(*weights.symmetric) << '\n';
    if (weights.granularity)
      os << indent << "  granularity: " << name(*weights.granularity) << '\n';
    if (weights.groupSize)
      os << indent << "  group-size: " << *weights.groupSize << '\n';
    if (weights.scaleSearch)
      os << indent << "  scale-search: " << *weights.scaleSearch << '\n';
    if (weights.rounding)
      os << indent << "  rounding: " << *weights.rounding << '\n';
    if (weights.activationOrder)
      os << indent << "  activation-order: " << word(*weights.activationOrder) << '\n';
    if (weights.firstOrder)
      os << indent << "  first-order: " << llvm::format("%.17g", *weights.firstOrder) << '\n';
    if (weights.iterations)
      os << indent << "  iterations: " << *weights.iterations << '\n';
    if (weights.coordinateDescent)
      os << indent << "  coordinate-descent: " << *weights.coordinateDescent << '\n';
    if (weights.refitScales)
      os << indent << "  refit-scales: " << word(*weights.refitScales) << '\n';
    if (weights.driftCorrection)
      os << indent << "  drift-correction: " << llvm::format("%.17g", *weights.driftCorrection) << '\n';
    if (weights.biasCorrection)
      os << indent << "  bias-correction: " << word(*weights.biasCorrection) << '\n';
  }
  if (activations != ActivationSettings()) {
    os << indent << "activations:\n";
    if (activations.bits)
      os << indent << "  bits: " << bitsWord(*activations.bits) << '\n';
    if (activations.symmetric)
      os << indent << "  symmetric: " << word(*activations.symmetric) << '\n';
    if (activations.observer)
      os << indent << "  observer: " << *activations.observer << '\n';
    if (activations.percentile)
      os << indent << "  percentile: " << llvm::format("%.17g", *activations.percentile) << '\n';
    if (activations.headroom)
      os << indent << "  headroom: " << llvm::format("%.17g", *activations.headroom) << '\n';
    if (activations.sampleHeadroom)
      os << indent << "  sample-headroom: " << llvm::format("%.17g", *activations.sampleHeadroom) << '\n';
  }
}

} // namespace

std::string toString(const SourcePosition &position) {
  if (position.line == 0)
    return "";
  return position.file + ":" + std::to_string(position.line) + ":" + std::to_string(position.column);
}

bool WeightSettings::readsLayerInputs() const {
  return scaleSearch == "output-error" || rounding.value_or("nearest") != "nearest" ||
         coordinateDescent.value_or(0) > 0 || driftCorrection.value_or(0) > 0 || biasCorrection.value_or(false);
}

bool Recipe::equalizesByStatistics() const {
  return llvm::is_contained(equalize, "smoothquant") || llvm::is_contained(equalize, "awq");
}

bool Recipe::readsLayerInputs() const {
  return weights.readsLayerInputs() ||
         llvm::any_of(overrides, [](const Override &entry) { return entry.weights.readsLayerInputs(); });
}

std::string describePlaces(const Recipe &recipe) {
  std::string weights = toString(recipe.weightsPosition), activations = toString(recipe.activationsPosition);
  return (weights.empty() ? "" : "weights at " + weights) + (weights.empty() || activations.empty() ? "" : ", ") +
         (activations.empty() ? "" : "activations at " + activations);
}

llvm::Expected<Recipe> Recipe::load(llvm::StringRef nameOrPath) { return Reader::load(nameOrPath, 0); }

llvm::Expected<Recipe> Recipe::parse(llvm::StringRef text, llvm::StringRef fileName) {
  llvm::Expected<YamlFile> file = YamlFile::parse(text, fileName);
  if (!file)
    return file.takeError();
  return Reader(*file).read(0);
}

bool Recipe::isPath(llvm::StringRef nameOrPath) { return path::extension(nameOrPath) == ".yaml"; }

std::vector<std::string> Recipe::listNames() { return listConfigs("recipes"); }

std::string Recipe::toYAML() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "schema: nibble-recipe-1\nname: " << quoted(name) << '\n';
  if (!description.empty())
    os << "description: " << quoted(description) << '\n';
  if (!equalize.empty())
    os << "equalize: [" << llvm::join(equalize, ", ") << "]\n";
  if (widen)
    os << "widen: " << llvm::format("%.17g", *widen) << '\n';
  if (layerInputs)
    os << "layer-inputs: " << *layerInputs << '\n';
  writeSettings(os, "", weights, activations);
  if (overrides.empty())
    return text;
  os << "overrides:\n";
  for (const Override &entry : overrides) {
    std::string first = "- ";
    auto field = [&](llvm::StringRef key, const std::optional<std::string> &value) {
      if (value)
        os << "  " << std::exchange(first, "  ") << key << ": " << quoted(*value) << '\n';
    };
    field("node", entry.nodePattern);
    field("operator", entry.operatorType);
    field("tensor", entry.tensorPattern);
    field("role", entry.role);
    if (entry.isOptional)
      os << "    optional: true\n";
    writeSettings(os, "    ", entry.weights, entry.activations);
  }
  return text;
}

} // namespace nibble
