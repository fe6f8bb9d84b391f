//===- RunFloat.cpp - nibble run --on fp32 ---------------------------------===//
#include "calib/Datasets/ModelInputs.h"
#include "cli/driver/FloatModel.h"
#include "cli/nibble/RunInputs.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

namespace nibble::cli {

llvm::Expected<std::vector<NamedTensor>> runInFloat(llvm::StringRef modelPath, const RunSample &sample) {
  llvm::Expected<onnx_import::ModelSummary> summary = onnx_import::summarizeModel(modelPath);
  if (!summary)
    return summary.takeError();
  llvm::Expected<std::vector<calib::InputSpec>> specs = calib::makeInputSpecs(*summary, {});
  if (!specs)
    return specs.takeError();
  std::vector<Tensor> inputs;
  calib::Dimensions bindings;
  for (const calib::InputSpec &spec : *specs) {
    llvm::Expected<Tensor> tensor = sample.take(spec.name, spec.elementType);
    if (!tensor)
      return tensor.takeError();
    if (llvm::Error error = calib::bindDimensions(spec, tensor->elementType(), tensor->shape(), bindings))
      return std::move(error);
    inputs.push_back(std::move(*tensor));
  }
  llvm::Expected<std::unique_ptr<driver::FloatModel>> model = driver::FloatModel::create(
      modelPath, bindings, [](llvm::StringRef text) { llvm::errs() << "warning: " << text << '\n'; });
  if (!model)
    return model.takeError();
  llvm::Expected<std::vector<Tensor>> results = (*model)->run(inputs);
  if (!results)
    return results.takeError();
  std::vector<NamedTensor> outputs;
  for (auto [name, tensor] : llvm::zip_equal((*model)->outputNames(), *results))
    outputs.push_back({name, std::move(tensor)});
  return outputs;
}

} // namespace nibble::cli
