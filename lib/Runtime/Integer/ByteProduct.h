//===- ByteProduct.h - the choice of a kernel for products of bytes --------===//
//
// Kernels that multiply unsigned by signed bytes add two products before they widen
// them on some machines, and saturate there. Which kernel runs is decided by what it
// computes: one that is not exact for the worst operands is never used.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_INTEGER_BYTEPRODUCT_H
#define NIBBLE_RUNTIME_INTEGER_BYTEPRODUCT_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace nibble::runtime {

/// row-major C[rows, columns] = A[rows, inner] B[inner, columns].
using ByteProduct = llvm::function_ref<void(int64_t rows, int64_t inner, int64_t columns, const uint8_t *a,
                                            const int8_t *b, int32_t *c)>;

/// Whether `product` gives the exact sums for operands at the ends of their ranges: 255 with pairs of -128 and 127,
/// sums beyond 24 bits, several thousand products each.
bool isExactByteProduct(ByteProduct product, int64_t rows, int64_t inner, int64_t columns);

/// Whether oneDNN's kernel for products of bytes is exact on this machine; tested once.
bool isDnnlExact();
/// Whether oneDNN's implementation of that name may be used; where it is not yet known, `product` is tested.
bool isTrustedImplementation(llvm::StringRef name, ByteProduct product, int64_t rows, int64_t inner, int64_t columns);

/// row-major C[rows, columns] = A[rows, inner] B[inner, columns] on the calling thread, with sums in `Sum`: int32_t,
/// which wraps, or int64_t. Leading dimensions are those of dense matrices but for C's.
template <class Sum>
void multiplyExact(int64_t rows, int64_t inner, int64_t columns, const int16_t *a, const int16_t *b, int64_t leadingB,
                   Sum *c, int64_t leadingC);

} // namespace nibble::runtime

#endif
