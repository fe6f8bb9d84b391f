//===- IntegerModel.h - an integer program with reals at its ends ------------===//
#ifndef NIBBLE_CLI_DRIVER_INTEGERMODEL_H
#define NIBBLE_CLI_DRIVER_INTEGERMODEL_H

#include "lib/Export/Io/IoDescription.h"
#include "lib/Runtime/Integer/Interpreter.h"
#include "mlir/IR/BuiltinOps.h"

namespace nibble::driver {

/// The ends of @main, in its order, and how reals are stored in them. Numbers are int32, conditions bool. Inputs without
/// elements are not among them.
struct IntegerEnds {
  std::vector<IoTensor> inputs, outputs;
  static llvm::Expected<IntegerEnds> of(mlir::ModuleOp module);
};

/// Runs a lowered module on the model's own inputs.
class IntegerModel {
public:
  /// `inputNames` are those of the model, in its order. Errors: as createIntegerProgram.
  static llvm::Expected<std::unique_ptr<IntegerModel>> create(mlir::ModuleOp module, std::vector<std::string> inputNames,
                                                              runtime::ExecutionObserver *observer = nullptr,
                                                              runtime::IntegerOptions options = {});
  /// Reals, and int64 for numbers. Errors: as toStored and Program::run.
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
