//===- Rules.h - legality rules and error bounds of a target ----------------===//
#ifndef NIBBLE_TARGET_RULES_H
#define NIBBLE_TARGET_RULES_H

#include "lib/Support/Yaml.h"
#include "lib/Target/Target.h"

namespace nibble {

/// What a rule asks of one operand or result. Unset fields accept anything.
struct EncodingPattern {
  /// An empty entry stands for an edge without a quantizer.
  std::optional<std::vector<std::optional<ElementType>>> storage;
  std::optional<bool> symmetric, isConstant;
  std::optional<std::vector<EncodingClass::Granularity>> granularity;

  bool matches(const EncodingClass &encoding) const;
};

/// One legality rule; the first that matches answers a query.
struct LegalityRule {
  /// Names of operations; "*" for all.
  std::vector<std::string> operations;
  /// By position. A query with fewer operands does not match.
  std::vector<EncodingPattern> operands;
  std::optional<EncodingPattern> anyOperand, result;
  /// Matches where an operand has at least this rank.
  std::optional<int64_t> minimumRank;
  Legality answer;

  bool matches(const LegalityQuery &query) const;
};

/// One error bound; the first that matches answers.
struct BoundRule {
  std::vector<std::string> operations;
  /// Empty means any.
  std::vector<ElementType> storage;
  /// Matches only operations with a constant right operand of such an encoding.
  std::optional<EncodingPattern> weight;
  ErrorBound bound;

  bool matches(llvm::StringRef operation, ElementType resultStorage, const EncodingClass *weightEncoding) const;
};

/// Appends the rules under the keys `legality` and `bounds` of `map`, a target or rule file.
llvm::Error parseRules(const YamlFile &file, const YAML::Node &map, std::vector<LegalityRule> &legality,
                       std::vector<BoundRule> &bounds);

} // namespace nibble

#endif
