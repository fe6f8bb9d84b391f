//===- Rotation.h - orthogonal matrices that spread outliers -----------------===//
#ifndef NIBBLE_QUANT_ROTATION_H
#define NIBBLE_QUANT_ROTATION_H

#include "lib/Support/Tensor.h"
#include <vector>

namespace nibble::quant {

enum class RotationKind {
  /// Random signs and a Walsh-Hadamard transform, of blocks of the largest power of two that divides the size
  /// (QuaRot, Ashkboos et al. 2024, section 4). Blocks of less than 16 mix too little: such a size gets `Orthogonal`,
  /// unless it is a power of two itself.
  Hadamard,
  /// The orthogonal factor of a matrix of normal numbers.
  Orthogonal
};

/// An orthogonal matrix R of `size` rows; the same bytes for one seed.
class Rotation {
public:
  Rotation(int64_t size, RotationKind kind, uint64_t seed);

  int64_t size() const { return rows; }
  /// How many elements are mixed with each other.
  int64_t blockSize() const { return block; }
  /// v R for a vector of `size` elements, in place.
  void apply(double *vector) const;

private:
  int64_t rows, block;
  std::vector<double> signs;
  /// Row-major; empty for Hadamard.
  std::vector<double> matrix;
};

/// Replaces every run of `rotation.size()` elements along `axis` of a float32 tensor that begins at one of `starts` by
/// its product with the rotation, computed in double.
void rotateRuns(Tensor &tensor, int64_t axis, llvm::ArrayRef<int64_t> starts, const Rotation &rotation);

} // namespace nibble::quant

#endif
