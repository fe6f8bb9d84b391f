//===- Interpreter.h - runs nn programs in float32 -------------------------===//
//
// Executes a function of nn operations, nn.fake_quant and nn.dequantize_weight included, so the
// same engine gives the `fp32` and the `fake-quant` arithmetic.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_INTERPRETER_H
#define NIBBLE_RUNTIME_FLOAT_INTERPRETER_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Support/Tensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <memory>
#include <vector>

namespace nibble::runtime {

/// Called with every value as soon as it is computed, in program order, on the calling thread:
/// function arguments first, then results of operations (also those inside nn.block). The tensor
/// is only valid during the call unless copied (copies share storage, which the program will not
/// reuse while a copy lives). Values that depend on constants alone are computed when the program is
/// made and are not shown; neither are the arguments and results of nn.block, which are other names of
/// values that are shown.
class ExecutionObserver {
public:
  virtual ~ExecutionObserver() = default;
  /// Return false for values that need not be shown; asked once, when the program is made.
  virtual bool wants(mlir::Value value) { return true; }
  virtual void onValue(mlir::Value value, const Tensor &tensor) = 0;
  /// May replace the value that consumers see, for example to isolate the error of one layer.
  /// Called before onValue; return an empty tensor to leave it.
  virtual Tensor replaceValue(mlir::Value value, const Tensor &tensor) { return {}; }
};

/// A prepared program: weights packed for the kernels, buffers planned. Not thread safe; kernels
/// use parallelFor inside.
class Program {
public:
  /// All types must be static. `observer`, if given, is used by every run. Errors: Unsupported for an
  /// operation or element type without a kernel, naming the ONNX node.
  static llvm::Expected<std::unique_ptr<Program>> create(mlir::func::FuncOp function,
                                                         ExecutionObserver *observer = nullptr);
  /// The program of one block, with the block's operands as inputs and its results as outputs.
  /// `symbolScope` is where quantizers are looked up.
  static llvm::Expected<std::unique_ptr<Program>> create(nn::BlockOp block, mlir::Operation *symbolScope,
                                                         ExecutionObserver *observer = nullptr);
  virtual ~Program() = default;

  /// Errors: BadInput where an input's type or shape is not the argument's.
  virtual llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> inputs) = 0;
};

/// Computes one operation on constant operands (empty tensors for absent optional ones, in operand
/// order of the operation). Used for constant folding. Errors: Unsupported.
llvm::Expected<llvm::SmallVector<Tensor>> evaluate(mlir::Operation *op, llvm::ArrayRef<Tensor> operands);

} // namespace nibble::runtime

#endif
