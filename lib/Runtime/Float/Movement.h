//===- Movement.h - strided copies -----------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_MOVEMENT_H
#define NIBBLE_RUNTIME_FLOAT_MOVEMENT_H

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

/// An Unsupported error where the result's elements are packed two to a byte.
llvm::Error refusePacked(const NodeSpec &spec);

} // namespace nibble::runtime

#endif
