//===- Movement.h - strided copies -----------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_MOVEMENT_H
#define NIBBLE_RUNTIME_FLOAT_MOVEMENT_H

#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Kernel.h"

namespace nibble::runtime {

/// Copies elements at any strides (zero and negative included) into a dense row-major result.
/// Dimensions that are contiguous in the source are merged when the copy is made.
class StridedCopy {
public:
  StridedCopy(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> sourceStrides, int64_t sourceOffset);
  /// For elements of 8, 16, 32 and 64 bits.
  void run(const Tensor &source, Tensor &target) const;

private:
  template <class T>
  void run(const T *source, T *target) const;
  Shape sizes, strides;
  int64_t offset;
};

/// The result is operand 0 under another shape.
llvm::Expected<Kernel> makeView(const NodeSpec &spec);
/// One fixed copy of operand 0.
llvm::Expected<Kernel> makeCopy(const NodeSpec &spec, StridedCopy copy);
/// Dimension i of the result is dimension perm[i] of operand 0; a view where that moves no element.
llvm::Expected<Kernel> makeTransposition(const NodeSpec &spec, llvm::ArrayRef<int64_t> perm);
/// Repeats operand 0 along every dimension as often as the result's shape says.
llvm::Expected<Kernel> makeTile(const NodeSpec &spec);
llvm::Expected<Kernel> makeConcatenation(const NodeSpec &spec, int64_t axis);
/// Pads `source` to the shape of `target`, `begins` elements in front of every dimension. `fill`, one element, is
/// for the constant mode; without it, that fills with zero. Errors: BadInput where an empty dimension is repeated.
llvm::Error padTensor(const NodeSpec &spec, const Tensor &source, llvm::ArrayRef<int64_t> begins, nn::PadMode mode,
                      const Tensor &fill, Tensor &target);

/// An Unsupported error where the result's elements are packed two to a byte.
llvm::Error refusePacked(const NodeSpec &spec);

} // namespace nibble::runtime

#endif
