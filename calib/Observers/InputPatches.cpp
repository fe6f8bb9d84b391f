#include "calib/Observers/InputPatches.h"
#include "lib/Support/Parallel.h"

#include <algorithm>

namespace nibble::calib {

using Kind = nn::InputPatches::Kind;

constexpr int64_t patchesPerTile = 64;

int64_t countPatches(const nn::InputPatches &patches, llvm::ArrayRef<int64_t> inputShape) {
  switch (patches.kind) {
  case Kind::Linear: return elementCount(inputShape) / patches.columns;
  case Kind::Pixels: return inputShape[0] * elementCount(inputShape.drop_front(2));
  case Kind::Kernel: return inputShape[0] * patches.outHeight * patches.outWidth;
  }
  llvm_unreachable("all kinds are listed");
}

/// One vector of a convolution with a kernel.
static void copyUnderKernel(const nn::InputPatches &p, const Tensor &input, int64_t group, int64_t index, float *to) {
  llvm::ArrayRef<int64_t> shape = input.shape();
  int64_t channels = shape[1], width = shape.back(), height = shape.size() == 4 ? shape[2] : 1;
  int64_t perGroup = channels / p.groups;
  int64_t image = index / (p.outHeight * p.outWidth), row = index / p.outWidth % p.outHeight, column = index % p.outWidth;
  int64_t top = row * p.strideHeight - p.padTop, left = column * p.strideWidth - p.padLeft;
  const float *plane = input.data<float>() + (image * channels + group * perGroup) * height * width;
  for (int64_t channel = 0; channel < perGroup; ++channel, plane += height * width)
    for (int64_t i = 0; i < p.kernelHeight; ++i)
      for (int64_t j = 0; j < p.kernelWidth; ++j, ++to) {
        int64_t y = top + i * p.dilationHeight, x = left + j * p.dilationWidth;
        *to = y >= 0 && y < height && x >= 0 && x < width ? plane[y * width + x] : 0.0f;
      }
}

std::vector<float> extractPatches(const nn::InputPatches &patches, const Tensor &input, int64_t group, int64_t first,
                                  int64_t stride) {
  int64_t total = countPatches(patches, input.shape()), columns = patches.columns;
  int64_t count = total > first ? (total - first + stride - 1) / stride : 0;
  std::vector<float> result(static_cast<size_t>(count * columns));
  const float *data = input.data<float>();
  parallelFor((count + patchesPerTile - 1) / patchesPerTile, [&](int64_t tile) {
    for (int64_t i = tile * patchesPerTile; i < std::min(count, (tile + 1) * patchesPerTile); ++i) {
      int64_t index = first + i * stride;
      float *to = result.data() + i * columns;
      switch (patches.kind) {
      case Kind::Linear:
        std::copy_n(data + index * columns, columns, to);
        break;
      case Kind::Pixels: {
        int64_t plane = elementCount(input.shape().drop_front(2)), channels = input.shape()[1];
        const float *from = data + (index / plane * channels + group * columns) * plane + index % plane;
        for (int64_t channel = 0; channel < columns; ++channel)
          to[channel] = from[channel * plane];
        break;
      }
      case Kind::Kernel:
        copyUnderKernel(patches, input, group, index, to);
        break;
      }
    }
  });
  return result;
}

} // namespace nibble::calib
