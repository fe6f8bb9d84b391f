//===- Cholesky.h - factors of symmetric positive definite matrices --------===//
//
// Blocks on the diagonal are Eigen's, in double; everything else is products of matrices on all threads.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_LINEARALGEBRA_CHOLESKY_H
#define NIBBLE_LINEARALGEBRA_CHOLESKY_H

#include <cstdint>
#include <vector>

namespace nibble {

/// Replaces the lower triangle of row-major `a` [size, size] by L with A = L L^T; reads the lower triangle only and
/// leaves the upper one as it is. False where A is not positive definite in float32; `a` is then undefined.
bool choleskyInPlace(int64_t size, float *a);

/// The inverse of the lower triangle of `l`, with zeros above the diagonal; row-major [size, size].
std::vector<float> invertLower(int64_t size, const float *l);

/// The upper triangular U with A^-1 = U^T U, the factor that GPTQ reads (Frantar et al. 2022, section 3.3), row-major
/// with zeros below the diagonal; empty where A is not positive definite in float32. With J the reversal of order,
/// J A J = L L^T gives U = J L^-1 J, so neither A^-1 nor a second factorisation is needed. Takes twice the memory of A.
std::vector<float> upperFactorOfInverse(int64_t size, const float *a);

} // namespace nibble

#endif
