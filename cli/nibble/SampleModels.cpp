#include "cli/nibble/SampleModels.h"
#include "calib/Datasets/ModelInputs.h"
#include "cli/driver/FloatModel.h"

#include "llvm/Support/raw_ostream.h"

namespace nibble::cli {
namespace {

/// A model of any engine that has a run method.
template <typename Engine> class EngineModel final : public calib::PipelineModel {
public:
  explicit EngineModel(std::unique_ptr<Engine> engine) : engine(std::move(engine)) {}
  llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> inputs) override { return engine->run(inputs); }

private:
  std::unique_ptr<Engine> engine;
};

template <typename Engine>
llvm::Expected<std::unique_ptr<calib::PipelineModel>> wrap(llvm::Expected<std::unique_ptr<Engine>> engine) {
  if (!engine)
    return engine.takeError();
  return std::make_unique<EngineModel<Engine>>(std::move(*engine));
}

} // namespace

llvm::Expected<std::vector<calib::InputSpec>> FileModels::inputs(calib::Component component) {
  llvm::Expected<onnx_import::ModelSummary> summary = onnx_import::summarizeModel(files.at(component));
  if (!summary)
    return summary.takeError();
  return calib::makeInputSpecs(*summary, {});
}

llvm::Expected<std::unique_ptr<calib::PipelineModel>> FileModels::open(calib::Component component,
                                                                       const calib::Dimensions &bindings) {
  const std::string &path = files.at(component);
  if (libraries)
    return wrap(vendor::CpuSession::fromFile(*libraries, path, /*optimize=*/false));
  return wrap(driver::FloatModel::create(path, bindings,
                                         [](llvm::StringRef text) { llvm::errs() << "warning: " << text << '\n'; }));
}

} // namespace nibble::cli
