#include "lib/Target/Target.h"
#include "lib/Support/Configs.h"
#include "lib/Support/Error.h"
#include "lib/Support/NearestName.h"
#include "lib/Target/Rules.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

namespace path = llvm::sys::path;

namespace nibble {

namespace {
class ParsedTarget final : public Target {
public:
  Legality legality(const LegalityQuery &query) const override {
    for (const LegalityRule &rule : legalityRules)
      if (rule.matches(query))
        return rule.answer;
    return {Legality::Kind::Unsupported, {}, "target '" + name + "' has no rule for this operation", ""};
  }

  ErrorBound errorBound(llvm::StringRef operation, ElementType resultStorage,
                        const EncodingClass *weight) const override {
    for (const BoundRule &rule : boundRules)
      if (rule.matches(operation, resultStorage, weight))
        return rule.bound;
    // Loading checks that the last bound matches everything.
    return boundRules.back().bound;
  }

  std::vector<LegalityRule> legalityRules;
  std::vector<BoundRule> boundRules;
};
} // namespace

static std::string join(llvm::StringRef folder, const llvm::Twine &a, const llvm::Twine &b = "") {
  llvm::SmallString<128> result(folder);
  path::append(result, a, b);
  return std::string(result);
}

EncodingClass EncodingClass::of(const quant::Encoding &encoding) {
  return {encoding.storage, encoding.symmetric, encoding.granularity(), encoding.blockSize.value_or(0), false};
}

std::vector<std::string> Target::listNames() { return listConfigs("targets"); }

static llvm::Error expectSchema(const YamlFile &file, llvm::StringRef wanted) {
  llvm::Expected<YAML::Node> node = file.require(file.root(), "schema");
  if (!node)
    return node.takeError();
  llvm::Expected<std::string> found = file.asString(*node);
  if (!found)
    return found.takeError();
  if (*found != wanted)
    return file.errorAt(*node, "wanted '" + wanted + "', found '" + *found + "'");
  return llvm::Error::success();
}

static llvm::Error readStrings(const YamlFile &file, const YAML::Node &root, ParsedTarget &target) {
  std::pair<const char *, std::string *> fields[] = {
      {"name", &target.name}, {"description", &target.description}, {"backend", &target.backend}};
  for (auto [key, field] : fields) {
    llvm::Expected<YAML::Node> node = file.require(root, key);
    if (!node)
      return node.takeError();
    llvm::Expected<std::string> text = file.asString(*node);
    if (!text)
      return text.takeError();
    *field = std::move(*text);
  }
  const std::vector<std::string> backends = {"onnx", "qnn-htp", "tosa", "vela"};
  if (!llvm::is_contained(backends, target.backend))
    return file.errorAt(root["backend"], "unknown back end '" + target.backend + "'",
                        {"known: " + llvm::join(backends, ", ")});
  return llvm::Error::success();
}

/// The keys under `options` of a back end. Options of the vendor's compiler are given with --vendor-option.
static std::vector<std::string> optionsOf(llvm::StringRef backend) {
  if (backend == "vela")
    return {"accelerator_config", "system_config", "memory_mode", "vela_config"};
  if (backend != "qnn-htp")
    return {};
  return {"soc_model", "architecture", "vtcm_mb", "hvx_threads", "estimator_soc_model", "estimator_name"};
}

/// `int4-range: [minimum, maximum]`. Four bits must hold it, and zero must lie inside.
static llvm::Error readInt4Range(const YamlFile &file, const YAML::Node &range, ParsedTarget &target) {
  if (!range.IsSequence() || range.size() != 2)
    return file.errorAt(range, "wanted the smallest and the largest integer under 'int4-range'");
  llvm::Expected<int64_t> minimum = file.asInteger(range[0], -8, -1);
  if (!minimum)
    return minimum.takeError();
  llvm::Expected<int64_t> maximum = file.asInteger(range[1], 1, 7);
  if (!maximum)
    return maximum.takeError();
  target.int4Minimum = *minimum;
  target.int4Maximum = *maximum;
  return llvm::Error::success();
}

static llvm::Error readSettings(const YamlFile &file, const YAML::Node &root, ParsedTarget &target) {
  std::pair<const char *, bool *> flags[] = {{"float-arithmetic", &target.hasFloatArithmetic},
                                             {"symmetric-int16", &target.symmetricInt16},
                                             {"unsigned-activations", &target.unsignedActivations}};
  for (auto [key, field] : flags) {
    llvm::Expected<YAML::Node> node = file.require(root, key);
    if (!node)
      return node.takeError();
    llvm::Expected<bool> flag = file.asBool(*node);
    if (!flag)
      return flag.takeError();
    *field = *flag;
  }
  if (YAML::Node range = root["int4-range"])
    if (llvm::Error error = readInt4Range(file, range, target))
      return error;
  if (YAML::Node options = root["options"]) {
    if (!options.IsMap())
      return file.errorAt(options, "wanted a map");
    const std::vector<std::string> known = optionsOf(target.backend);
    for (const auto &entry : options) {
      std::string key = entry.first.Scalar();
      if (!llvm::is_contained(known, key)) {
        std::string nearest = nearestName(key, known);
        return file.errorAt(entry.first, "unknown option '" + key + "' of back end '" + target.backend + "'",
                            {nearest.empty() ? "known: " + llvm::join(known, ", ") : "did you mean '" + nearest + "'"});
      }
      llvm::Expected<std::string> value = file.asString(entry.second);
      if (!value)
        return value.takeError();
      target.backendOptions[key] = std::move(*value);
    }
  }
  if (YAML::Node list = root["legalizations"]) {
    llvm::Expected<std::vector<std::string>> names = file.asStrings(list);
    if (!names)
      return names.takeError();
    target.legalizations = std::move(*names);
  }
  return llvm::Error::success();
}

static llvm::Error readSharedRules(const YamlFile &file, const YAML::Node &include, const std::string &name,
                                   llvm::StringRef folder, ParsedTarget &target) {
  if (name.empty() || !llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '-'; }))
    return file.errorAt(include, "wanted the name of a file in 'rules', without folder and extension");
  target.files.push_back(join(folder, "rules", name + ".yaml"));
  llvm::Expected<YamlFile> shared = YamlFile::open(target.files.back());
  if (!shared)
    return shared.takeError();
  if (llvm::Error error = shared->expectMap(shared->root(), {"schema", "legality", "bounds"}))
    return error;
  if (llvm::Error error = expectSchema(*shared, "nibble-target-rules-1"))
    return error;
  return parseRules(*shared, shared->root(), target.legalityRules, target.boundRules);
}

static llvm::Error readRules(const YamlFile &file, const YAML::Node &root, llvm::StringRef folder,
                             ParsedTarget &target) {
  if (llvm::Error error = parseRules(file, root, target.legalityRules, target.boundRules))
    return error;
  if (YAML::Node include = root["rules"]) {
    llvm::Expected<std::vector<std::string>> names = file.asStrings(include);
    if (!names)
      return names.takeError();
    for (const std::string &name : *names)
      if (llvm::Error error = readSharedRules(file, include, name, folder, target))
        return error;
  }
  if (target.legalityRules.empty())
    return file.errorAt(root, "wanted at least one legality rule");
  if (target.boundRules.empty() || !llvm::is_contained(target.boundRules.back().operations, "*") ||
      !target.boundRules.back().storage.empty() || target.boundRules.back().weight)
    return file.errorAt(root, "wanted a last error bound for operation '*' and any storage");
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<Target>> Target::load(llvm::StringRef name) {
  llvm::Expected<std::string> configs = findConfigFolder();
  if (!configs)
    return configs.takeError();
  std::vector<std::string> known = listNames();
  if (!llvm::is_contained(known, name)) {
    std::string nearest = nearestName(name, known);
    std::vector<std::string> notes = {"known targets: " + llvm::join(known, ", ")};
    if (!nearest.empty())
      notes.insert(notes.begin(), "did you mean '" + nearest + "'");
    return makeError(ErrorKind::Usage, "unknown target '" + name + "'", std::move(notes));
  }
  std::string folder = join(*configs, "targets");
  llvm::Expected<YamlFile> file = YamlFile::open(join(folder, name + ".yaml"));
  if (!file)
    return file.takeError();
  const YAML::Node &root = file->root();
  if (llvm::Error error = file->expectMap(root, {"schema", "name", "description", "backend", "float-arithmetic",
                                                 "symmetric-int16", "unsigned-activations", "int4-range", "options", "source",
                                                 "legalizations", "rules", "legality", "bounds"}))
    return std::move(error);
  if (llvm::Error error = expectSchema(*file, "nibble-target-1"))
    return std::move(error);
  auto target = std::make_unique<ParsedTarget>();
  target->files.push_back(join(folder, name + ".yaml"));
  if (llvm::Error error = readStrings(*file, root, *target))
    return std::move(error);
  if (target->name != name)
    return file->errorAt(root["name"], "wanted the name of the file, '" + name + "', found '" + target->name + "'");
  if (llvm::Error error = readSettings(*file, root, *target))
    return std::move(error);
  if (llvm::Error error = readRules(*file, root, folder, *target))
    return std::move(error);
  return target;
}

} // namespace nibble
