#include "cli/driver/FloatModel.h"

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Import/ONNX/Import.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nibble::driver {

FloatModel::FloatModel(std::function<void(llvm::StringRef)> warn)
    : context(MLIRContext::Threading::DISABLED), diagnostics(context, std::move(warn)) {
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
}

llvm::Expected<std::unique_ptr<FloatModel>> FloatModel::create(llvm::StringRef path,
                                                               const std::map<std::string, int64_t> &bindings,
                                                               std::function<void(llvm::StringRef)> warn) {
  std::unique_ptr<FloatModel> model(new FloatModel(std::move(warn)));
  onnx_import::ImportOptions importOptions;
  importOptions.bindings = bindings;
  llvm::Expected<OwningOpRef<ModuleOp>> imported = onnx_import::importModel(path, model->context, importOptions);
  if (!imported)
    return imported.takeError();
  model->module = std::move(*imported);
  if (llvm::Error error = runPasses(model->diagnostics, /*progress=*/nullptr, "normalize", *model->module,
                                    ErrorKind::Unsupported, [](OpPassManager &manager) { buildNormalizePipeline(manager); }))
    return std::move(error);
  auto function = model->module->lookupSymbol<func::FuncOp>("main");
  if (llvm::Error error = runtime::Program::create(function).moveInto(model->program))
    return std::move(error);
  for (unsigned index = 0; index < function.getNumResults(); ++index)
    model->outputs.push_back(function.getResultAttrOfType<StringAttr>(index, nn::nameAttribute).str());
  return model;
}

} // namespace nibble::driver
