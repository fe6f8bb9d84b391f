//===- SampleModels.h - the models of a pipeline, from files ----------------===//
#ifndef NIBBLE_CLI_NIBBLE_SAMPLEMODELS_H
#define NIBBLE_CLI_NIBBLE_SAMPLEMODELS_H

#include "calib/Samplers/PipelineModels.h"
#include "lib/Export/Vendor/OnnxRuntime.h"
#include <map>
#include <optional>

namespace nibble::cli {

/// Opens the ONNX files of a pipeline, each in Nibble's float runtime or in ONNX Runtime.
class FileModels final : public calib::PipelineModels {
public:
  /// `files` has a path for every component. With `libraries` the models run in ONNX Runtime, graph optimizations off.
  FileModels(std::map<calib::Component, std::string> files, std::optional<vendor::VendorLibraries> libraries)
      : files(std::move(files)), libraries(std::move(libraries)) {}

  llvm::Expected<std::vector<calib::InputSpec>> inputs(calib::Component component) override;
  llvm::Expected<std::unique_ptr<calib::PipelineModel>> open(calib::Component component,
                                                             const calib::Dimensions &bindings) override;

private:
  std::map<calib::Component, std::string> files;
  std::optional<vendor::VendorLibraries> libraries;
};

} // namespace nibble::cli

#endif
