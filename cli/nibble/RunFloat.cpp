//===- RunFloat.cpp - nibble run --on fp32 ---------------------------------===//
#include "calib/Datasets/Layout.h"
#include "calib/Datasets/ModelInputs.h"
#include "cli/driver/Diagnostics.h"
#include "cli/nibble/RunInputs.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "passes/Passes.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace nibble::cli {

/// Gives the symbolic dimensions of `spec` the sizes that `tensor` has.
static llvm::Error bindDimensions(const calib::InputSpec &spec, const Tensor &tensor,
                                  std::map<std::string, int64_t> &bindings) {
  if (tensor.shape().size() != spec.shape.size())
    return makeError(ErrorKind::BadInput,
                     "input '" + spec.name + "': wanted " + calib::describeSpec(spec) + ", found " +
                         calib::describeArray(tensor.elementType(), tensor.shape()));
  for (auto [symbol, size] : llvm::zip_equal(spec.symbols, tensor.shape())) {
    if (symbol.empty())
      continue;
    auto [bound, isNew] = bindings.try_emplace(symbol, size);
    if (!isNew && bound->second != size)
      return makeError(ErrorKind::BadInput, "input '" + spec.name + "': dimension '" + symbol + "' is " +
                                                llvm::Twine(size) + " where another input has " +
                                                llvm::Twine(bound->second));
  }
  return llvm::Error::success();
}

llvm::Expected<std::vector<NamedTensor>> runInFloat(llvm::StringRef modelPath, const RunSample &sample) {
  llvm::Expected<onnx_import::ModelSummary> summary = onnx_import::summarizeModel(modelPath);
  if (!summary)
    return summary.takeError();
  llvm::Expected<std::vector<calib::InputSpec>> specs = calib::makeInputSpecs(*summary, {});
  if (!specs)
    return specs.takeError();
  std::vector<Tensor> inputs;
  onnx_import::ImportOptions importOptions;
  for (const calib::InputSpec &spec : *specs) {
    llvm::Expected<Tensor> tensor = sample.take(spec.name, spec.elementType);
    if (!tensor)
      return tensor.takeError();
    if (llvm::Error error = bindDimensions(spec, *tensor, importOptions.bindings))
      return std::move(error);
    inputs.push_back(std::move(*tensor));
  }

  MLIRContext context(MLIRContext::Threading::DISABLED);
  context.loadDialect<nn::NNDialect, func::FuncDialect>();
  driver::DiagnosticCollector diagnostics(
      context, [](llvm::StringRef text) { llvm::errs() << "warning: " << text << '\n'; });
  llvm::Expected<OwningOpRef<ModuleOp>> module = onnx_import::importModel(modelPath, context, importOptions);
  if (!module)
    return module.takeError();
  diagnostics.beginPhase("normalize");
  PassManager manager(&context);
  buildNormalizePipeline(manager);
  if (failed(manager.run(**module)))
    return diagnostics.takeError(ErrorKind::Unsupported);
  auto function = (*module)->lookupSymbol<func::FuncOp>("main");
  llvm::Expected<std::unique_ptr<runtime::Program>> program = runtime::Program::create(function);
  if (!program)
    return program.takeError();
  llvm::Expected<std::vector<Tensor>> results = (*program)->run(inputs);
  if (!results)
    return results.takeError();
  std::vector<NamedTensor> outputs;
  for (auto [index, tensor] : llvm::enumerate(*results)) {
    auto name = function.getResultAttrOfType<StringAttr>(static_cast<unsigned>(index), nn::nameAttribute);
    outputs.push_back({name.str(), std::move(tensor)});
  }
  return outputs;
}

} // namespace nibble::cli
