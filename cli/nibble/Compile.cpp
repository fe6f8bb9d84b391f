//===- Compile.cpp - nibble compile ----------------------------------------===//
#include "cli/nibble/Commands.h"
#include <CLI/CLI.hpp>

namespace nibble::cli {

void registerCompileCommand(CLI::App &app, int &exitCode) {}

} // namespace nibble::cli
