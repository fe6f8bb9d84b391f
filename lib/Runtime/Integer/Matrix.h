//===- Matrix.h - convolutions and matrix products as kernels --------------===//
#ifndef NIBBLE_RUNTIME_INTEGER_MATRIX_H
#define NIBBLE_RUNTIME_INTEGER_MATRIX_H

#include "lib/Runtime/Integer/Elementwise.h"
#include "lib/Runtime/Integer/Product.h"
#include <atomic>

namespace nibble::runtime {

/// Whether `op` is a matrix product or a convolution that can compute a group of elementwise operations on its
/// sums while they are in cache.
bool isMatrixOperation(mlir::Operation *op);

/// Takes the sums of one piece of a result.
class MatrixSink {
public:
  /// Sums go to `target`; where `isChecked`, they come in 64 bits and are verified to fit.
  MatrixSink(Tensor &target, bool isChecked) : target(&target), isChecked(isChecked) {}
  /// Sums go through `program`, whose partial input follows `inputs`.
  MatrixSink(const TileProgram &program, llvm::ArrayRef<const void *> inputs, llvm::ArrayRef<void *> outputs)
      : program(&program), inputs(inputs), outputs(outputs) {}

  /// Where sums of `elementBytes` from `begin` on are computed; null where the caller has to give the memory.
  void *place(int64_t begin, int64_t elementBytes) const;
  /// Takes rows of `columns` sums; `sums` is row `row` and column 0 of a result with `leading` columns, of which
  /// those from `column` on are computed.
  void take(int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t leading, const void *sums) const;
  /// Whether a sum did not fit.
  bool hasOverflow() const { return overflow; }

private:
  Tensor *target = nullptr;
  bool isChecked = false;
  const TileProgram *program = nullptr;
  llvm::ArrayRef<const void *> inputs;
  llvm::ArrayRef<void *> outputs;
  mutable std::atomic<bool> overflow{false};
};

class MatrixOperation {
public:
  virtual ~MatrixOperation() = default;
  virtual llvm::Error run(llvm::ArrayRef<Tensor> operands, const MatrixSink &sink) const = 0;
};

/// Brings the planes of rows [row, row + rows) of left matrix `entry` into `planes`, [planes, rows, inner].
using GatherRows = llvm::function_ref<void(int64_t entry, int64_t row, int64_t rows, char *planes)>;
/// Multiplies `right.size()` or, where that is one matrix for all, `batch` left matrices. Throws dnnl::error.
void multiply(const Product &product, llvm::ArrayRef<PackedRight> right, GatherRows gather, const MatrixSink &sink);

/// With `checked`, sums are computed in 64 bits. Errors: Unsupported for types without a kernel.
llvm::Expected<std::shared_ptr<const MatrixOperation>> makeMatmul(const NodeSpec &spec, bool checked);
llvm::Expected<std::shared_ptr<const MatrixOperation>> makeConvolution(const NodeSpec &spec, bool checked);

/// The kernel of one operation.
llvm::Expected<Kernel> makeMatrixKernel(const NodeSpec &spec, bool checked);
/// The kernel of `anchor` and the elementwise `members` that read its result. The operands of `spec` are those of
/// `anchor`, then those of the members; `values` names them.
llvm::Expected<Kernel> makeMatrixGroup(mlir::Operation *anchor, llvm::ArrayRef<mlir::Operation *> members,
                                       llvm::ArrayRef<mlir::Value> values, llvm::ArrayRef<mlir::Value> results,
                                       const NodeSpec &spec);

} // namespace nibble::runtime

#endif
