//===- Interpreter.h - runs integer programs -------------------------------===//
//
// Executes functions of TOSA 1.0 operations on integers, as nibble-lower-to-tosa makes
// them, bit by bit as the specification says. Blocks are inlined. Elements of i48 are
// stored in 64 bits.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_INTEGER_INTERPRETER_H
#define NIBBLE_RUNTIME_INTEGER_INTERPRETER_H

#include "lib/Runtime/Float/Interpreter.h"
#include <string>

namespace nibble::runtime {

struct IntegerOptions {
  /// Verifies what TOSA leaves unpredictable: values that a RESCALE does not take, sums and products that leave
  /// 32 or 48 bits, shifts beyond the width, divisions without a result. run() then fails with an Internal error
  /// that names the operation. Every operation is a step of its own, so this is slow.
  bool checked = false;
};

/// The program of a function. All types must be static. Errors: Unsupported for an operation or element type
/// without a kernel, BadInput for parameters that TOSA does not allow.
llvm::Expected<std::unique_ptr<Program>> createIntegerProgram(mlir::func::FuncOp function,
                                                              ExecutionObserver *observer = nullptr,
                                                              IntegerOptions options = {});
/// The program of one block, with the block's operands as inputs and its results as outputs.
llvm::Expected<std::unique_ptr<Program>> createIntegerProgram(nn::BlockOp block, ExecutionObserver *observer = nullptr,
                                                              IntegerOptions options = {});

/// The kernel that multiplies bytes on this machine, for reports: "oneDNN u8s8 (avx512_core_vnni)", or
/// "nibble exact" where none of oneDNN's is exact.
std::string integerKernelName();

} // namespace nibble::runtime

#endif
