//===- ArmTool.h - programs of Arm, found and run --------------------------===//
//
// Unlike the libraries of lib/Export/Vendor, which a child of ours loads, these are programs of their own with files
// in between, so they share nothing with them but the rules of the search.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_ARM_ARMTOOL_H
#define NIBBLE_EXPORT_ARM_ARMTOOL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace nibble::arm {

/// A program that was found, and has the version that Nibble was measured with.
struct ArmTool {
  std::string program, version;
  /// Which rule found it: the name of an environment variable, "active venv", "set-up venv", "PATH".
  std::string foundBy;
};

/// The TOSA reference model of the Python package tosa-tools: the program or its folder in NIBBLE_TOSA_REFERENCE_MODEL,
/// else in the active virtual environment, in set-up's for Arm's tools, in PATH.
/// Errors: Unsupported, where it is absent or has another version, saying how to install the right one.
llvm::Expected<ArmTool> findReferenceModel();
/// Vela of the Python package ethos-u-vela: NIBBLE_VELA, then as above.
llvm::Expected<ArmTool> findVela();

/// The virtual environment that set-up makes for Arm's tools: NIBBLE_ARM_VENV, NIBBLE_CACHE_DIR/arm-venv or
/// ~/.cache/nibble/arm-venv.
std::string armEnvironmentFolder();

struct ProgramResult {
  /// Negative where a signal ended the program.
  int exitCode = 0;
  /// What it wrote to standard output and standard error.
  std::string output;
};

/// Runs a program with nothing to read and no PATH: nothing that it happens to find may change what it does (the
/// reference model, for one, starts a debugger on itself when it fails).
/// Errors: IO (cannot be started), Limit (took longer than `timeLimitSeconds`).
llvm::Expected<ProgramResult> runProgram(llvm::StringRef program, llvm::ArrayRef<std::string> arguments,
                                         unsigned timeLimitSeconds);

} // namespace nibble::arm

#endif
