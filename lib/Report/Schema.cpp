#include "lib/Report/Schema.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"

namespace nibble::report {
namespace {

using llvm::json::Array;
using llvm::json::Object;
using llvm::json::Value;

/// Deep enough for any honest schema; a cycle of references ends here.
constexpr unsigned maximumDepth = 64;

class Validator {
public:
  explicit Validator(const Value &schema) : root(schema) {}

  std::vector<std::string> run(const Value &value) {
    check(value, root, "$", 0);
    return std::move(violations);
  }

private:
  void violation(const std::string &place, const llvm::Twine &text) { violations.push_back((place + " " + text).str()); }

  static bool hasType(const Value &value, llvm::StringRef type) {
    return llvm::StringSwitch<bool>(type)
        .Case("object", value.kind() == Value::Object)
        .Case("array", value.kind() == Value::Array)
        .Case("string", value.kind() == Value::String)
        .Case("boolean", value.kind() == Value::Boolean)
        .Case("null", value.kind() == Value::Null)
        .Case("number", value.kind() == Value::Number)
        .Case("integer", value.getAsInteger().has_value())
        .Default(false);
  }

  void check(const Value &value, const Value &schemaValue, const std::string &place, unsigned depth) {
    const Object *schema = schemaValue.getAsObject();
    if (!schema || depth > maximumDepth) {
      violation(place, "has no usable schema");
      return;
    }
    for (const auto &[key, rule] : *schema)
      checkRule(value, *schema, key, rule, place, depth);
  }

  void checkRule(const Value &value, const Object &schema, llvm::StringRef key, const Value &rule,
                 const std::string &place, unsigned depth) {
    if (key == "$schema" || key == "$id" || key == "$defs" || key == "title" || key == "description")
      return;
    if (key == "type") {
      if (!hasType(value, rule.getAsString().value_or("")))
        violation(place, "is not of type " + rule.getAsString().value_or("?"));
    } else if (key == "const") {
      if (value != rule)
        violation(place, llvm::formatv("is {0}, expected {1}", value, rule).str());
    } else if (key == "enum") {
      if (!llvm::is_contained(*rule.getAsArray(), value))
        violation(place, llvm::formatv("is {0}, expected one of {1}", value, rule).str());
    } else if (key == "minimum" || key == "maximum") {
      double number = value.getAsNumber().value_or(0), bound = rule.getAsNumber().value_or(0);
      if (value.getAsNumber() && (key == "minimum" ? number < bound : number > bound))
        violation(place, llvm::formatv("is {0}, {1} is {2}", number, key, bound).str());
    } else if (key == "$ref") {
      const Object *definitions = root.getAsObject()->getObject("$defs");
      llvm::StringRef name = rule.getAsString().value_or("");
      const Value *target = definitions && name.consume_front("#/$defs/") ? definitions->get(name) : nullptr;
      target ? check(value, *target, place, depth + 1) : violation(place, "refers to an unknown definition");
    } else if (key == "anyOf") {
      checkAnyOf(value, rule, place, depth);
    } else if (key == "required") {
      if (const Object *object = value.getAsObject())
        for (const Value &name : *rule.getAsArray())
          if (!object->get(*name.getAsString()))
            violation(place, "lacks '" + *name.getAsString() + "'");
    } else if (key == "properties") {
      if (const Object *object = value.getAsObject())
        for (const auto &[name, property] : *rule.getAsObject())
          if (const Value *member = object->get(name))
            check(*member, property, place + "." + name.str(), depth + 1);
    } else if (key == "additionalProperties") {
      checkAdditional(value, schema, rule, place, depth);
    } else if (key == "items") {
      if (const Array *array = value.getAsArray())
        for (size_t i = 0; i < array->size(); ++i)
          check((*array)[i], rule, place + "[" + std::to_string(i) + "]", depth + 1);
    } else {
      violation(place, "has a schema with the unknown keyword '" + key + "'");
    }
  }

  void checkAnyOf(const Value &value, const Value &rule, const std::string &place, unsigned depth) {
    for (const Value &choice : *rule.getAsArray()) {
      size_t before = violations.size();
      check(value, choice, place, depth + 1);
      if (violations.size() == before)
        return;
      violations.resize(before);
    }
    violation(place, "fits none of its forms");
  }

  void checkAdditional(const Value &value, const Object &schema, const Value &rule, const std::string &place,
                       unsigned depth) {
    const Object *object = value.getAsObject(), *known = schema.getObject("properties");
    if (!object)
      return;
    for (const auto &[name, member] : *object) {
      if (known && known->get(name))
        continue;
      if (rule.getAsBoolean() == false)
        violation(place, "has the unknown member '" + name.str() + "'");
      else if (rule.getAsObject())
        check(member, rule, place + "." + name.str(), depth + 1);
    }
  }

  const Value &root;
  std::vector<std::string> violations;
};

} // namespace

std::vector<std::string> validateJson(const Value &value, const Value &schema) { return Validator(schema).run(value); }

} // namespace nibble::report
