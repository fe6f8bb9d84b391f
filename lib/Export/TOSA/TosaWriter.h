//===- TosaWriter.h - integer programs as TOSA flatbuffers -----------------===//
//
// The format is that of tosa.fbs beside this file, version 1.0.0. A file holds one region with one basic block;
// nn.block operations are written as what they hold. Inputs are named TosaInput_0, TosaInput_1, ... and outputs
// TosaOutput_0, ... in the order of the function, as the reference tools name them; other tensors carry their ONNX
// name, or that of their node, with a number where it is taken. An operator's location is the name of its ONNX node.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_EXPORT_TOSA_TOSAWRITER_H
#define NIBBLE_EXPORT_TOSA_TOSAWRITER_H

#include "lib/Dialect/NN/NNDialect.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <string>

namespace nibble::tosa_export {

/// Offsets of a flatbuffer are signed 32-bit numbers.
inline constexpr uint64_t flatbufferLimit = (uint64_t(1) << 31) - 1;

struct TosaOptions {
  /// Larger files are refused; at most flatbufferLimit.
  uint64_t sizeLimit = flatbufferLimit;
  /// A file for every block even where one file would do, see writeTosaFiles().
  bool filePerBlock = false;
};

/// The file's name of input or output `index`.
std::string inputTensorName(size_t index);
std::string outputTensorName(size_t index);

/// The file of an integer program: a function of operations of the tosa dialect, nn.constant and nn.block, all of
/// static shape. A value that is returned twice, an argument or a constant that is returned gets an IDENTITY.
/// Errors: Limit (the file would pass the size limit), Internal (something that an integer program does not hold, or
/// -8 in a 4-bit constant; the message names the node), and those of reading blobs.
llvm::Expected<std::string> toTosaFlatbuffer(mlir::func::FuncOp function, const TosaOptions &options = {});
/// The file of one block alone: its operands are the inputs, its results the outputs.
llvm::Expected<std::string> toTosaFlatbuffer(nn::BlockOp block, const TosaOptions &options = {});

/// The same into a stream, which spares a copy of the file in memory.
llvm::Error writeTosa(mlir::func::FuncOp function, llvm::raw_ostream &os, const TosaOptions &options = {});
llvm::Error writeTosa(nn::BlockOp block, llvm::raw_ostream &os, const TosaOptions &options = {});

} // namespace nibble::tosa_export

#endif
