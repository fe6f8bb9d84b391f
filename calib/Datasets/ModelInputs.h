//===- ModelInputs.h - what a model expects of its samples -----------------===//
#ifndef NIBBLE_CALIB_DATASETS_MODELINPUTS_H
#define NIBBLE_CALIB_DATASETS_MODELINPUTS_H

#include "calib/Datasets/Dataset.h"
#include "lib/Import/ONNX/Import.h"

namespace nibble::calib {

/// The inputs of a model with `bindings` put in for symbolic dimensions; symbols keep their names.
/// Errors: Unsupported (an input's element type), Usage (a binding that no input has).
llvm::Expected<std::vector<InputSpec>> makeInputSpecs(const onnx_import::ModelSummary &model,
                                                      const std::map<std::string, int64_t> &bindings);

/// Gives the symbolic dimensions of `spec` the sizes that an array of this type and shape has. Errors: BadInput where the
/// ranks differ, or a symbol is bound to another size already.
llvm::Error bindDimensions(const InputSpec &spec, ElementType type, llvm::ArrayRef<int64_t> shape, Dimensions &bindings);

} // namespace nibble::calib

#endif
