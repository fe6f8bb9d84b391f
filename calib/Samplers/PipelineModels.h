//===- PipelineModels.h - the models of a pipeline, in any engine -----------===//
//
// What the driver needs of an engine. Whoever opens files implements it: models may be float or quantized, in Nibble's
// runtime or in another one.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_SAMPLERS_PIPELINEMODELS_H
#define NIBBLE_CALIB_SAMPLERS_PIPELINEMODELS_H

#include "calib/Datasets/Dataset.h"

namespace nibble::calib {

enum class Component { TextEncoder, UNet, VaeDecoder };
/// The folder of the component in a pipeline: "text_encoder", "unet", "vae_decoder".
llvm::StringRef nameOf(Component component);

/// A model whose shapes are all bound.
class PipelineModel {
public:
  virtual ~PipelineModel() = default;
  /// Inputs and outputs are in the order of the graph. Errors: those of the engine.
  virtual llvm::Expected<std::vector<Tensor>> run(llvm::ArrayRef<Tensor> inputs) = 0;
};

class PipelineModels {
public:
  virtual ~PipelineModels() = default;
  /// What the model expects, -1 where a dimension is symbolic. Errors: those of the file.
  virtual llvm::Expected<std::vector<InputSpec>> inputs(Component component) = 0;
  /// Loads the model with these sizes of its symbolic dimensions. Errors: those of the file and the engine.
  virtual llvm::Expected<std::unique_ptr<PipelineModel>> open(Component component, const Dimensions &bindings) = 0;
};

} // namespace nibble::calib

#endif
