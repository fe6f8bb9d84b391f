//===- Json.h - JSON from files that are not trusted -----------------------===//
#ifndef NIBBLE_SUPPORT_JSON_H
#define NIBBLE_SUPPORT_JSON_H

#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"

namespace nibble {

/// Parses `text`, refusing values nested deeper than `maximumDepth`, since the parser recurses.
/// `what` names the file in messages. Errors: BadInput.
llvm::Expected<llvm::json::Value> parseJson(llvm::StringRef text, llvm::StringRef what, unsigned maximumDepth = 32);

/// Reads and parses a JSON file of at most `maximumBytes`. Errors: IO, BadInput, Limit.
llvm::Expected<llvm::json::Value> readJson(llvm::StringRef path, uint64_t maximumBytes = uint64_t(256) << 20);

/// JSON has no infinities: they are the strings "inf" and "-inf", and what is undefined is "nan".
llvm::json::Value jsonNumber(double value);

/// The value as text: two spaces of indentation, sorted keys, a line end at the end of the file.
std::string formatJson(const llvm::json::Value &value);

} // namespace nibble

#endif
