//===- InputPatches.h - the vectors that a layer multiplies ------------------===//
#ifndef NIBBLE_CALIB_OBSERVERS_INPUTPATCHES_H
#define NIBBLE_CALIB_OBSERVERS_INPUTPATCHES_H

#include "lib/Dialect/NN/Layers.h"
#include "lib/Support/Tensor.h"

namespace nibble::calib {

/// How many vectors, of each group, a layer takes from an input of this shape.
int64_t countPatches(const nn::InputPatches &patches, llvm::ArrayRef<int64_t> inputShape);

/// Row-major [n, patches.columns] of one group: vectors first, first + stride, ... of float32 `input`.
std::vector<float> extractPatches(const nn::InputPatches &patches, const Tensor &input, int64_t group, int64_t first,
                                  int64_t stride);

} // namespace nibble::calib

#endif
