//===- FloatModel.h - an ONNX file in Nibble's float runtime ----------------===//
#ifndef NIBBLE_CLI_DRIVER_FLOATMODEL_H
#define NIBBLE_CLI_DRIVER_FLOATMODEL_H

#include "cli/driver/Diagnostics.h"
#include "lib/Runtime/Float/Interpreter.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>
#include <memory>

namespace nibble::driver {

/// A model as `nibble run --on fp32` executes it: imported and normalized, with the quantizers of a QDQ model rounding to
/// their grids. It has a context of its own, with which all that it holds is freed.
class FloatModel {
public:
  /// `bindings` has a size for every symbolic dimension; `warn` is called, while the model is made, with what the passes
  /// warn of. Errors: those of the importer, the passes and the runtime.
  static llvm::Expected<std::unique_ptr<FloatModel>> create(llvm::StringRef path,
                                                            const std::map<std::string, int64_t> &bindings,
                                                            std::function<void(llvm::StringRef)> warn);

  /// Inputs and outputs are in the order of the graph. Errors: BadInput where an input's type or shape is not the model's.
  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> inputs) { return program->run(inputs); }
  const std::vector<std::string> &outputNames() const { return outputs; }

private:
  explicit FloatModel(std::function<void(llvm::StringRef)> warn);

  mlir::MLIRContext context;
  DiagnosticCollector diagnostics;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<runtime::Program> program;
  std::vector<std::string> outputs;
};

} // namespace nibble::driver

#endif
