//===- Configs.h - where recipes and targets are installed ------------------===//
#ifndef NIBBLE_SUPPORT_CONFIGS_H
#define NIBBLE_SUPPORT_CONFIGS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble {

/// The folder of configs: NIBBLE_CONFIG_DIR, else ../share/nibble/configs beside the program's folder, which the
/// build tree has too. Errors: IO where none exists.
llvm::Expected<std::string> findConfigFolder();

/// Names of the .yaml files in the folder `kind` ("targets", "recipes") of configs, without the ending and
/// sorted; none where there is no folder of configs.
std::vector<std::string> listConfigs(llvm::StringRef kind);

} // namespace nibble

#endif
