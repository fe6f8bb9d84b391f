#include "cli/driver/CalibrationProgram.h"

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Import/ONNX/Import.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nibble::driver {

CalibrationProgram::CalibrationProgram()
    : context(MLIRContext::Threading::DISABLED), diagnostics(context, [](llvm::StringRef) {}) {
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
}

llvm::Expected<std::unique_ptr<CalibrationProgram>>
CalibrationProgram::create(llvm::StringRef modelPath, const std::map<std::string, int64_t> &bindings,
                           const Target &target) {
  std::unique_ptr<CalibrationProgram> result(new CalibrationProgram());
  onnx_import::ImportOptions importOptions;
  importOptions.bindings = bindings;
  llvm::Expected<OwningOpRef<ModuleOp>> imported =
      onnx_import::importModel(modelPath, result->context, importOptions);
  if (!imported)
    return imported.takeError();
  result->program = std::move(*imported);
  if (llvm::Error error = runPasses(result->diagnostics, /*progress=*/nullptr, "legalize for calibration", *result->program,
                                    ErrorKind::Unsupported, [&](OpPassManager &manager) {
                                      buildNormalizePipeline(manager);
                                      buildLegalizePipeline(manager, target);
                                    }))
    return std::move(error);
  return result;
}

} // namespace nibble::driver
