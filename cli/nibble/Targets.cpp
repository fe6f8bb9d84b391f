//===- Targets.cpp - nibble targets ----------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Support/Configs.h"
#include "lib/Support/Error.h"
#include "lib/Target/Target.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>

namespace nibble::cli {

static llvm::Error listTargets() {
  // Without any target something is wrong with the installation, which this error explains.
  if (llvm::Expected<std::string> folder = findConfigFolder(); !folder)
    return folder.takeError();
  std::vector<std::string> names = Target::listNames();
  size_t width = 0;
  for (const std::string &name : names)
    width = std::max(width, name.size());
  for (const std::string &name : names) {
    llvm::Expected<std::unique_ptr<Target>> target = Target::load(name);
    if (!target)
      return target.takeError();
    llvm::outs() << llvm::left_justify(name, static_cast<unsigned>(width) + 2) << (*target)->description << '\n';
  }
  return llvm::Error::success();
}

static llvm::Error printTarget(llvm::StringRef name) {
  llvm::Expected<std::unique_ptr<Target>> loaded = Target::load(name);
  if (!loaded)
    return loaded.takeError();
  const Target &target = **loaded;
  llvm::raw_ostream &os = llvm::outs();
  os << target.name << ": " << target.description << '\n';
  os << "back end: " << target.backend << '\n';
  for (const auto &[key, value] : target.backendOptions)
    os << "  " << key << ": " << value << '\n';
  os << "float activations: " << (target.hasFloatArithmetic ? "yes" : "no") << '\n';
  os << "16-bit activations: " << (target.symmetricInt16 ? "symmetric" : "symmetric or asymmetric") << '\n';
  os << "int4 weights: " << target.int4Minimum << " to " << target.int4Maximum << '\n';
  if (!target.legalizations.empty())
    os << "legalizations, in order:\n";
  for (const std::string &legalization : target.legalizations)
    os << "  " << legalization << '\n';
  return llvm::Error::success();
}

void registerTargetsCommand(CLI::App &app, int &exitCode) {
  auto name = std::make_shared<std::string>();
  CLI::App *command = app.add_subcommand("targets", "List the targets, or describe one");
  command->add_option("target", *name, "Target name");
  command->callback([name, &exitCode] {
    exitCode = reportError(name->empty() ? listTargets() : printTarget(*name), llvm::errs());
  });
}

} // namespace nibble::cli
