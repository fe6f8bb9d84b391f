//===- TestUtilities.h - random tensors for the quantization tests ----------===//
#ifndef NIBBLE_TESTS_UNIT_QUANT_TESTUTILITIES_H
#define NIBBLE_TESTS_UNIT_QUANT_TESTUTILITIES_H

#include "lib/Support/Tensor.h"
#include <random>

namespace nibble::test {

/// Normally distributed values with one large value in every 97, as weights and activations have.
inline Tensor makeRandomTensor(llvm::ArrayRef<int64_t> shape, uint64_t seed, float outlier = 8.0f) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<float> normal;
  Tensor tensor = Tensor::allocate(ElementType::F32, shape);
  for (int64_t i = 0; i < tensor.elementCount(); ++i)
    tensor.mutableData<float>()[i] = normal(generator) * (i % 97 == 13 ? outlier : 1.0f);
  return tensor;
}

} // namespace nibble::test

#endif
