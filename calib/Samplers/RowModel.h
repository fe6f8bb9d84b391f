//===- RowModel.h - any number of rows through a model of one batch ---------===//
#ifndef NIBBLE_CALIB_SAMPLERS_ROWMODEL_H
#define NIBBLE_CALIB_SAMPLERS_ROWMODEL_H

#include "calib/Samplers/PipelineModels.h"
#include "lib/Support/Npy.h"

namespace nibble::calib {

/// Rows `rows` of `tensor`, along its first axis.
Tensor selectRows(const Tensor &tensor, llvm::ArrayRef<int64_t> rows);

/// A component that is fed rows of arrays. A quantized file has the batch that it was compiled for, whatever the number of
/// prompts is: rows are cut to that batch, and the last batch is filled up with its last row.
class RowModel {
public:
  /// Opens `component` for inputs of these names, of which one of rank 0 is a value for the whole batch and any other an
  /// array of rows; a model with a single input takes a single input whatever its name. A batch that the model leaves
  /// open is `batch`; its other open dimensions are those of the arrays, or 1 where a value fills them. Errors: BadInput
  /// (shapes that do not fit), Unsupported (an input that is not fed), those of `models`.
  static llvm::Expected<RowModel> open(PipelineModels &models, Component component, llvm::ArrayRef<NamedTensor> inputs,
                                       int64_t batch);

  /// The rows of the first output in float32, for as many rows of inputs; names and row shapes are those that the model
  /// was opened for. Errors: BadInput (a value that does not fit the input's type, an output without the batch), those of
  /// the engine.
  llvm::Expected<Tensor> run(llvm::ArrayRef<NamedTensor> inputs);

private:
  /// An input of the model with its bound shape, and which of the arrays fills it.
  struct Input {
    std::string name;
    ElementType elementType;
    Shape shape;
    size_t source;
    bool isRows;
  };

  llvm::Error match(llvm::ArrayRef<InputSpec> specs, llvm::ArrayRef<NamedTensor> given);
  llvm::Error chooseBatch(llvm::ArrayRef<InputSpec> specs, int64_t openBatch);
  llvm::Error bind(llvm::ArrayRef<InputSpec> specs, llvm::ArrayRef<NamedTensor> given, Dimensions &bindings);
  llvm::Expected<Tensor> fill(const Input &input, const Tensor &array, int64_t firstRow) const;
  llvm::Error context(llvm::Error error) const;

  Component component;
  std::vector<Input> inputs;
  int64_t batch = 0;
  std::unique_ptr<PipelineModel> model;
};

} // namespace nibble::calib

#endif
