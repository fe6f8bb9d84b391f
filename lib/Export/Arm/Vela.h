//===- Vela.h - Arm's compiler for Ethos-U NPUs ----------------------------===//
#ifndef NIBBLE_EXPORT_ARM_VELA_H
#define NIBBLE_EXPORT_ARM_VELA_H

#include "lib/Export/Arm/ArmTool.h"
#include "lib/Export/Arm/VelaFigures.h"
#include "lib/Target/Target.h"

namespace nibble::arm {

/// Options of a user for Vela, by the names of the target's `options` or: optimise (Size or Performance),
/// arena_cache_size (bytes), tensor_allocator (HillClimb, LinearAlloc, Greedy), cop_format (COP1, COP2). A user's
/// value stands over the target's.
using VelaOptions = std::vector<std::pair<std::string, std::string>>;

/// Errors: Usage (unknown name with the nearest one, a value that is not among those that are known).
llvm::Error checkVelaOptions(const VelaOptions &options);

struct VelaBinary {
  /// An .npz with the command stream, the encoded weights and where inputs and outputs lie.
  std::string path;
  uint64_t bytes = 0;
  VelaFigures figures;
};

/// Compiles a TOSA file for the NPU that `target` describes and writes `binaryPath`, whose bytes depend on the file,
/// the options and Vela's version alone. Nothing else of what Vela writes is kept.
/// Errors: Usage (options), Unsupported (Vela refuses the file: its message in one line, and the nodes of the operator
/// that it names), Limit (time), IO.
llvm::Expected<VelaBinary> compileWithVela(const ArmTool &tool, const Target &target, const VelaOptions &options,
                                           llvm::StringRef tosaPath, llvm::StringRef binaryPath,
                                           unsigned timeLimitSeconds = 3600);

} // namespace nibble::arm

#endif
