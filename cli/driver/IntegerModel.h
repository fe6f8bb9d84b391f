//===- IntegerModel.h - an integer program with reals at its ends ------------===//
#ifndef NIBBLE_CLI_DRIVER_INTEGERMODEL_H
#define NIBBLE_CLI_DRIVER_INTEGERMODEL_H

#include "lib/Quant/Encoding.h"
#include "lib/Runtime/Integer/Interpreter.h"
#include "mlir/IR/BuiltinOps.h"

namespace nibble::driver {

/// One end of an integer program: the graph input or output, and how reals are stored in it.
struct IntegerEnd {
  std::string name;
  /// Empty where the integers are numbers.
  std::optional<quant::Encoding> encoding;
  ElementType storage = ElementType::I32;
  Shape shape;

  /// The integers that the program takes for a tensor of the model. Errors: BadInput (a number beyond 32 bits, a NaN).
  llvm::Expected<Tensor> toStored(const Tensor &tensor) const;
  /// What the program's integers stand for: float32, or int64 for numbers.
  Tensor toReal(const Tensor &stored) const;
};

/// The ends of @main, in its order. Inputs without elements are not among them.
struct IntegerEnds {
  std::vector<IntegerEnd> inputs, outputs;
  static llvm::Expected<IntegerEnds> of(mlir::ModuleOp module);
};

/// Runs a lowered module on the model's own inputs.
class IntegerModel {
public:
  /// `inputNames` are those of the model, in its order. Errors: as createIntegerProgram.
  static llvm::Expected<std::unique_ptr<IntegerModel>> create(mlir::ModuleOp module, std::vector<std::string> inputNames,
                                                              runtime::ExecutionObserver *observer = nullptr,
                                                              runtime::IntegerOptions options = {});
  /// Errors: as IntegerEnd::toStored and Program::run.
  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> sample);
  /// The integers that `sample` becomes.
  llvm::Expected<std::vector<Tensor>> store(llvm::ArrayRef<Tensor> sample) const;

private:
  std::vector<std::string> inputNames;
  IntegerEnds ends;
  std::unique_ptr<runtime::Program> program;
};

} // namespace nibble::driver

#endif
