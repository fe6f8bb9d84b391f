//===- Schema.h - JSON checked against a schema ----------------------------===//
#ifndef NIBBLE_REPORT_SCHEMA_H
#define NIBBLE_REPORT_SCHEMA_H

#include "llvm/Support/JSON.h"
#include <string>
#include <vector>

namespace nibble::report {

/// The ways in which `value` breaks `schema`, each with its place; empty where it is valid. Understands the
/// part of JSON Schema that the project's own schemas use: type, const, enum, properties, required,
/// additionalProperties, items, anyOf, minimum, maximum and $ref to "#/$defs/NAME". A keyword
/// outside of these is a violation too, so that no rule is silently skipped.
std::vector<std::string> validateJson(const llvm::json::Value &value, const llvm::json::Value &schema);

} // namespace nibble::report

#endif
