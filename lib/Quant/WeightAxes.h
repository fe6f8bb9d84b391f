//===- WeightAxes.h - which inputs and outputs a weight connects ------------===//
#ifndef NIBBLE_QUANT_WEIGHTAXES_H
#define NIBBLE_QUANT_WEIGHTAXES_H

#include "lib/Support/Tensor.h"

namespace nibble::quant {

/// The axes of a weight that run along the inputs and the outputs of its layer. Where a layer has groups, one of the
/// two axes runs over all groups and the other one, the local one, within a group.
struct WeightAxes {
  int64_t input = 0, output = 1, groups = 1;
  /// True: the input axis is the local one (Conv). False: the output axis is (ConvTranspose).
  bool inputIsLocal = true;

  int64_t inputCount(llvm::ArrayRef<int64_t> shape) const {
    return shape[static_cast<size_t>(input)] * (inputIsLocal ? groups : 1);
  }
  int64_t outputCount(llvm::ArrayRef<int64_t> shape) const {
    return shape[static_cast<size_t>(output)] * (inputIsLocal ? 1 : groups);
  }
};

/// Calls `body(offset, input, output)` for every element of a weight of `shape`, in the order of storage; input and
/// output are counted over all groups.
template <typename Body>
void forEachWeight(llvm::ArrayRef<int64_t> shape, const WeightAxes &axes, Body body) {
  size_t first = static_cast<size_t>(std::min(axes.input, axes.output));
  size_t second = static_cast<size_t>(std::max(axes.input, axes.output));
  bool inputIsFirst = axes.input < axes.output;
  int64_t outer = elementCount(shape.take_front(first)), between = elementCount(shape.slice(first + 1, second - first - 1)),
          inner = elementCount(shape.drop_front(second + 1));
  int64_t inputs = shape[static_cast<size_t>(axes.input)], outputs = shape[static_cast<size_t>(axes.output)];
  int64_t perGroup = (axes.inputIsLocal ? outputs : inputs) / axes.groups, offset = 0;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t a = 0; a < shape[first]; ++a)
      for (int64_t m = 0; m < between; ++m)
        for (int64_t b = 0; b < shape[second]; ++b) {
          int64_t input = inputIsFirst ? a : b, output = inputIsFirst ? b : a;
          if (axes.inputIsLocal)
            input += output / perGroup * inputs;
          else
            output += input / perGroup * outputs;
          for (int64_t i = 0; i < inner; ++i)
            body(offset++, input, output);
        }
}

} // namespace nibble::quant

#endif
