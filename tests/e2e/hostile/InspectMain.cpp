//===- InspectMain.cpp - nibble with `inspect` alone -----------------------===//
//
// What the sanitized run of the hostile files executes: the reader, the checker and the builder,
// without the rest of the program, which would take as long to build as everything else.
//
//===----------------------------------------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Support/Error.h"

#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

int main(int argc, char **argv) {
  CLI::App app("nibble inspect");
  app.require_subcommand(1);
  int exitCode = 0;
  nibble::cli::registerInspectCommand(app, exitCode);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    llvm::errs() << "error: " << error.what() << '\n';
    return static_cast<int>(nibble::ErrorKind::Usage);
  }
  return exitCode;
}
