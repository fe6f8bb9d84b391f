//===- Yaml.h - configuration files with located errors ---------------------===//
#ifndef NIBBLE_SUPPORT_YAML_H
#define NIBBLE_SUPPORT_YAML_H

#include "lib/Support/Error.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>
#include <yaml-cpp/yaml.h>

namespace nibble {

/// One YAML file. Every error reads "FILE:LINE:COLUMN: what is wrong", lines and columns from 1, and is
/// BadInput where nothing else is said. No exception of yaml-cpp leaves this class.
class YamlFile {
public:
  /// Errors: IO (cannot be read), BadInput (not YAML, longer than 4 MiB, or nested deeper than 64).
  static llvm::Expected<YamlFile> open(llvm::StringRef path);
  static llvm::Expected<YamlFile> parse(llvm::StringRef text, llvm::StringRef name);

  const YAML::Node &root() const { return rootNode; }
  llvm::StringRef path() const { return name; }

  /// An error at `node`.
  llvm::Error errorAt(const YAML::Node &node, const llvm::Twine &message, std::vector<std::string> notes = {},
                      ErrorKind kind = ErrorKind::BadInput) const;
  /// Checks that `node` is a map whose keys are among `keys`, each once. Unknown keys are refused
  /// with the nearest known one.
  llvm::Error expectMap(const YAML::Node &node, llvm::ArrayRef<llvm::StringRef> keys) const;
  /// The value of `key` in a map. Errors: absent.
  llvm::Expected<YAML::Node> require(const YAML::Node &map, llvm::StringRef key) const;

  llvm::Expected<std::string> asString(const YAML::Node &node) const;
  llvm::Expected<bool> asBool(const YAML::Node &node) const;
  /// Errors: not an integer, or outside [minimum, maximum].
  llvm::Expected<int64_t> asInteger(const YAML::Node &node, int64_t minimum, int64_t maximum) const;
  /// Errors: not a finite number, or below `minimum`.
  llvm::Expected<double> asNumber(const YAML::Node &node, double minimum) const;
  /// A list of strings; one string stands for a list of one.
  llvm::Expected<std::vector<std::string>> asStrings(const YAML::Node &node) const;

private:
  std::string name;
  YAML::Node rootNode;
};

} // namespace nibble

#endif
