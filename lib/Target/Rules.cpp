#include "lib/Target/Rules.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

namespace nibble {

bool EncodingPattern::matches(const EncodingClass &encoding) const {
  if (storage && !llvm::is_contained(*storage, encoding.storage))
    return false;
  if (symmetric && *symmetric != encoding.symmetric)
    return false;
  if (isConstant && *isConstant != encoding.isConstant)
    return false;
  return !granularity || llvm::is_contained(*granularity, encoding.granularity);
}

static bool namesOperation(const std::vector<std::string> &operations, llvm::StringRef operation) {
  return llvm::any_of(operations, [&](llvm::StringRef name) { return name == "*" || name == operation; });
}

bool LegalityRule::matches(const LegalityQuery &query) const {
  if (!namesOperation(operations, query.operation) || operands.size() > query.operands.size())
    return false;
  for (size_t i = 0; i < operands.size(); ++i)
    if (!operands[i].matches(query.operands[i]))
      return false;
  if (anyOperand && llvm::none_of(query.operands, [&](const auto &operand) { return anyOperand->matches(operand); }))
    return false;
  if (result && !result->matches(query.result))
    return false;
  return !minimumRank || llvm::any_of(query.operandShapes, [&](const auto &shape) {
    return static_cast<int64_t>(shape.size()) >= *minimumRank;
  });
}

bool BoundRule::matches(llvm::StringRef operation, ElementType resultStorage,
                        const EncodingClass *weightEncoding) const {
  if (!namesOperation(operations, operation) || (!storage.empty() && !llvm::is_contained(storage, resultStorage)))
    return false;
  return !weight || (weightEncoding && weight->matches(*weightEncoding));
}

/// nullopt for a word that is no storage type; an empty inner value for "none".
static std::optional<std::optional<ElementType>> storageFromName(llvm::StringRef word) {
  using Storage = std::optional<ElementType>;
  return llvm::StringSwitch<std::optional<Storage>>(word)
      .Case("none", Storage())
      .Case("int4", Storage(ElementType::I4))
      .Case("uint4", Storage(ElementType::U4))
      .Case("int8", Storage(ElementType::I8))
      .Case("uint8", Storage(ElementType::U8))
      .Case("int16", Storage(ElementType::I16))
      .Case("uint16", Storage(ElementType::U16))
      .Case("int32", Storage(ElementType::I32))
      .Default(std::nullopt);
}

static llvm::Expected<std::vector<std::optional<ElementType>>> parseStorage(const YamlFile &file,
                                                                            const YAML::Node &node) {
  llvm::Expected<std::vector<std::string>> words = file.asStrings(node);
  if (!words)
    return words.takeError();
  std::vector<std::optional<ElementType>> types;
  for (const std::string &word : *words) {
    auto type = storageFromName(word);
    if (!type)
      return file.errorAt(node, "unknown storage type '" + word + "'",
                          {"known: none, int4, uint4, int8, uint8, int16, uint16, int32"});
    types.push_back(*type);
  }
  return types;
}

static llvm::Expected<EncodingPattern> parsePattern(const YamlFile &file, const YAML::Node &node) {
  if (llvm::Error error = file.expectMap(node, {"storage", "symmetric", "constant", "granularity"}))
    return std::move(error);
  EncodingPattern pattern;
  if (YAML::Node value = node["storage"]) {
    auto storage = parseStorage(file, value);
    if (!storage)
      return storage.takeError();
    pattern.storage = std::move(*storage);
  }
  std::pair<const char *, std::optional<bool> *> flags[] = {{"symmetric", &pattern.symmetric},
                                                            {"constant", &pattern.isConstant}};
  for (auto [key, field] : flags)
    if (YAML::Node value = node[key]) {
      llvm::Expected<bool> flag = file.asBool(value);
      if (!flag)
        return flag.takeError();
      *field = *flag;
    }
  if (YAML::Node value = node["granularity"]) {
    llvm::Expected<std::vector<std::string>> words = file.asStrings(value);
    if (!words)
      return words.takeError();
    using Granularity = EncodingClass::Granularity;
    pattern.granularity.emplace();
    for (const std::string &word : *words) {
      auto granularity = llvm::StringSwitch<std::optional<Granularity>>(word)
                             .Case("tensor", Granularity::Tensor)
                             .Case("axis", Granularity::Axis)
                             .Case("block", Granularity::Block)
                             .Case("lpbq", Granularity::LPBQ)
                             .Default(std::nullopt);
      if (!granularity)
        return file.errorAt(value, "unknown granularity '" + word + "'", {"known: tensor, axis, block, lpbq"});
      pattern.granularity->push_back(*granularity);
    }
  }
  return pattern;
}

static llvm::Error parseAnswer(const YamlFile &file, const YAML::Node &node, Legality &answer) {
  llvm::Expected<YAML::Node> verdictNode = file.require(node, "verdict");
  if (!verdictNode)
    return verdictNode.takeError();
  llvm::Expected<std::string> verdict = file.asString(*verdictNode);
  if (!verdict)
    return verdict.takeError();
  auto kind = llvm::StringSwitch<std::optional<Legality::Kind>>(*verdict)
                  .Case("native", Legality::Kind::Native)
                  .Case("rewrite", Legality::Kind::Rewrite)
                  .Case("unsound", Legality::Kind::Unsound)
                  .Case("unsupported", Legality::Kind::Unsupported)
                  .Default(std::nullopt);
  if (!kind)
    return file.errorAt(*verdictNode, "unknown verdict '" + *verdict + "'",
                        {"known: native, rewrite, unsound, unsupported"});
  answer.kind = *kind;
  bool isRewrite = answer.kind == Legality::Kind::Rewrite;
  if (static_cast<bool>(node["rewrites"]) != isRewrite)
    return file.errorAt(node, isRewrite ? "verdict 'rewrite' needs key 'rewrites'"
                                        : "key 'rewrites' needs verdict 'rewrite'");
  if (isRewrite) {
    llvm::Expected<std::vector<std::string>> rewrites = file.asStrings(node["rewrites"]);
    if (!rewrites)
      return rewrites.takeError();
    answer.rewrites = std::move(*rewrites);
  }
  // Only what is native needs no reason; everything is backed by evidence.
  std::pair<const char *, std::string *> texts[] = {{"reason", &answer.reason}, {"evidence", &answer.evidence}};
  for (auto [key, field] : texts) {
    if (!node[key] && llvm::StringRef(key) == "reason" && answer.kind == Legality::Kind::Native)
      continue;
    llvm::Expected<YAML::Node> value = file.require(node, key);
    if (!value)
      return value.takeError();
    llvm::Expected<std::string> text = file.asString(*value);
    if (!text)
      return text.takeError();
    *field = std::move(*text);
  }
  return llvm::Error::success();
}

static llvm::Expected<std::vector<std::string>> parseOperations(const YamlFile &file, const YAML::Node &node) {
  llvm::Expected<YAML::Node> operations = file.require(node, "operations");
  if (!operations)
    return operations.takeError();
  return file.asStrings(*operations);
}

static llvm::Expected<LegalityRule> parseLegalityRule(const YamlFile &file, const YAML::Node &node) {
  if (llvm::Error error = file.expectMap(node, {"operations", "operands", "any-operand", "result", "minimum-rank",
                                                "verdict", "rewrites", "reason", "evidence"}))
    return std::move(error);
  LegalityRule rule;
  auto operations = parseOperations(file, node);
  if (!operations)
    return operations.takeError();
  rule.operations = std::move(*operations);
  if (YAML::Node operands = node["operands"]) {
    if (!operands.IsSequence())
      return file.errorAt(operands, "wanted a list with one entry per operand");
    for (const YAML::Node &entry : operands) {
      auto pattern = parsePattern(file, entry);
      if (!pattern)
        return pattern.takeError();
      rule.operands.push_back(std::move(*pattern));
    }
  }
  std::pair<const char *, std::optional<EncodingPattern> *> patterns[] = {{"any-operand", &rule.anyOperand},
                                                                          {"result", &rule.result}};
  for (auto [key, field] : patterns)
    if (YAML::Node value = node[key]) {
      auto pattern = parsePattern(file, value);
      if (!pattern)
        return pattern.takeError();
      *field = std::move(*pattern);
    }
  if (YAML::Node value = node["minimum-rank"]) {
    auto rank = file.asInteger(value, 0, 64);
    if (!rank)
      return rank.takeError();
    rule.minimumRank = *rank;
  }
  if (llvm::Error error = parseAnswer(file, node, rule.answer))
    return std::move(error);
  return rule;
}

static llvm::Expected<BoundRule> parseBound(const YamlFile &file, const YAML::Node &node) {
  if (llvm::Error error =
          file.expectMap(node, {"operations", "storage", "weight", "maximum", "root-mean-square", "evidence"}))
    return std::move(error);
  BoundRule rule;
  auto operations = parseOperations(file, node);
  if (!operations)
    return operations.takeError();
  rule.operations = std::move(*operations);
  if (YAML::Node value = node["storage"]) {
    auto storage = parseStorage(file, value);
    if (!storage)
      return storage.takeError();
    for (std::optional<ElementType> type : *storage) {
      if (!type)
        return file.errorAt(value, "a bound in quanta needs an integer storage type, found 'none'");
      rule.storage.push_back(*type);
    }
  }
  if (YAML::Node value = node["weight"]) {
    auto pattern = parsePattern(file, value);
    if (!pattern)
      return pattern.takeError();
    rule.weight = std::move(*pattern);
  }
  std::pair<const char *, double *> numbers[] = {{"maximum", &rule.bound.maximum},
                                                 {"root-mean-square", &rule.bound.rootMeanSquare}};
  for (auto [key, field] : numbers) {
    llvm::Expected<YAML::Node> value = file.require(node, key);
    if (!value)
      return value.takeError();
    llvm::Expected<double> number = file.asNumber(*value, 0);
    if (!number)
      return number.takeError();
    *field = *number;
  }
  llvm::Expected<YAML::Node> evidenceNode = file.require(node, "evidence");
  if (!evidenceNode)
    return evidenceNode.takeError();
  llvm::Expected<std::string> evidence = file.asString(*evidenceNode);
  if (!evidence)
    return evidence.takeError();
  rule.bound.evidence = std::move(*evidence);
  return rule;
}

llvm::Error parseRules(const YamlFile &file, const YAML::Node &map, std::vector<LegalityRule> &legality,
                       std::vector<BoundRule> &bounds) {
  auto parseList = [&](const char *key, auto parseEntry, auto &rules) -> llvm::Error {
    YAML::Node list = map[key];
    if (!list)
      return llvm::Error::success();
    if (!list.IsSequence())
      return file.errorAt(list, llvm::Twine("wanted a list under '") + key + "'");
    for (const YAML::Node &entry : list) {
      auto rule = parseEntry(file, entry);
      if (!rule)
        return rule.takeError();
      rules.push_back(std::move(*rule));
    }
    return llvm::Error::success();
  };
  if (llvm::Error error = parseList("legality", parseLegalityRule, legality))
    return error;
  return parseList("bounds", parseBound, bounds);
}

} // namespace nibble
