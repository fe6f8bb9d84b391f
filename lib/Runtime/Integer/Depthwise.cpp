//===- Depthwise.cpp - convolutions of every channel on its own ------------===//
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include <atomic>

using namespace mlir;

namespace nibble::runtime {
namespace {

struct DepthwiseShape {
  int64_t images, height, width, channels, multiplier, outHeight, outWidth, kernelHeight, kernelWidth;
  int64_t strideHeight, strideWidth, dilationHeight, dilationWidth, padTop, padLeft;
  int32_t inputZero;
};

/// The weights less their zero point, [kernelHeight, kernelWidth, channels * multiplier].
std::vector<int16_t> readWeights(const Tensor &weights, int64_t zero) {
  std::vector<int16_t> values(static_cast<size_t>(weights.elementCount()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int16_t>(weights.valueAsDouble(static_cast<int64_t>(i)) - static_cast<double>(zero));
  return values;
}

/// One output pixel; `sums` starts as the bias.
template <class In, class Sum>
void convolvePixel(const DepthwiseShape &s, const In *image, const int16_t *weights, int64_t y, int64_t x, Sum *sums) {
  int64_t outChannels = s.channels * s.multiplier;
  for (int64_t ky = 0; ky < s.kernelHeight; ++ky)
    for (int64_t kx = 0; kx < s.kernelWidth; ++kx) {
      int64_t row = y * s.strideHeight - s.padTop + ky * s.dilationHeight;
      int64_t column = x * s.strideWidth - s.padLeft + kx * s.dilationWidth;
      if (row < 0 || row >= s.height || column < 0 || column >= s.width)
        continue;
      const In *from = image + (row * s.width + column) * s.channels;
      const int16_t *weight = weights + (ky * s.kernelWidth + kx) * outChannels;
      simd([=, channels = s.channels, multiplier = s.multiplier, zero = s.inputZero]() NIBBLE_INLINE {
        if (multiplier == 1) {
          NIBBLE_INDEPENDENT
          for (int64_t c = 0; c < channels; ++c)
            sums[c] += static_cast<Sum>((from[c] - zero) * weight[c]);
          return;
        }
        for (int64_t c = 0; c < channels; ++c)
          for (int64_t m = 0; m < multiplier; ++m)
            sums[c * multiplier + m] += static_cast<Sum>((from[c] - zero) * weight[c * multiplier + m]);
      });
    }
}

template <class In, class Sum, class Out>
Kernel depthwiseKernel(DepthwiseShape s, std::shared_ptr<const std::vector<int16_t>> constant, int64_t weightZero,
                       bool checked) {
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    std::shared_ptr<const std::vector<int16_t>> weights = constant;
    if (!weights)
      weights = std::make_shared<const std::vector<int16_t>>(readWeights(operands[1], weightZero));
    const In *in = operands[0].data<In>();
    const Out *bias = operands[2].data<Out>();
    bool isScalarBias = operands[2].elementCount() == 1;
    Out *out = results[0].mutableData<Out>();
    int64_t outChannels = s.channels * s.multiplier;
    constexpr int64_t limit = int64_t(1) << (sizeof(Out) == 4 ? 31 : 47);
    std::atomic<bool> overflow{false};
    int64_t work = outChannels * s.kernelHeight * s.kernelWidth;
    parallelRanges(s.images * s.outHeight * s.outWidth, std::max<int64_t>(1, 32768 / work),
                   [&](int64_t begin, int64_t end) {
                     std::vector<Sum> sums(static_cast<size_t>(outChannels));
                     for (int64_t i = begin; i < end; ++i) {
                       for (size_t c = 0; c < sums.size(); ++c)
                         sums[c] = bias[isScalarBias ? 0 : c];
                       int64_t image = i / s.outWidth / s.outHeight;
                       convolvePixel(s, in + image * s.height * s.width * s.channels, weights->data(),
                                     i / s.outWidth % s.outHeight, i % s.outWidth, sums.data());
                       for (size_t c = 0; c < sums.size(); ++c) {
                         out[i * outChannels + static_cast<int64_t>(c)] = static_cast<Out>(sums[c]);
                         if (checked && (sums[c] < -limit || sums[c] >= limit))
                           overflow = true;
                       }
                     }
                   });
    if (overflow)
      return makeError(ErrorKind::Internal, "a sum leaves the accumulator's range");
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace

llvm::Expected<Kernel> makeDepthwise(const NodeSpec &spec, bool checked) {
  auto op = cast<tosa::DepthwiseConv2DOp>(spec.op);
  const OperandSpec &input = spec.operands[0], &weights = spec.operands[1];
  bool isByte = input.type == ElementType::I8;
  bool isKnown = (isByte && (weights.type == ElementType::I8 || weights.type == ElementType::I4)) ||
                 (input.type == ElementType::I16 && weights.type == ElementType::I8);
  if (!isKnown)
    return spec.unsupported("element types " + name(input.type) + " and " + name(weights.type) +
                            " have no kernel; int8 with int8 or int4 and int16 with int8 have");
  if (!spec.operands[3].constant || !spec.operands[4].constant)
    return spec.unsupported("zero points must be constants");
  const Shape &in = input.shape, &kernel = weights.shape, &out = spec.results[0].shape;
  DepthwiseShape s{in[0], in[1], in[2], in[3], kernel[3], out[1], out[2], kernel[0], kernel[1],
                   op.getStride()[0], op.getStride()[1], op.getDilation()[0], op.getDilation()[1],
                   op.getPad()[0], op.getPad()[2],
                   static_cast<int32_t>(spec.operands[3].constant.valuesAsInt64()[0])};
  int64_t weightZero = spec.operands[4].constant.valuesAsInt64()[0];
  std::shared_ptr<const std::vector<int16_t>> constant;
  if (weights.constant)
    constant = std::make_shared<const std::vector<int16_t>>(readWeights(weights.constant, weightZero));
  if (!isByte)
    return depthwiseKernel<int16_t, int64_t, int64_t>(s, constant, weightZero, checked);
  if (checked)
    return depthwiseKernel<int8_t, int64_t, int32_t>(s, constant, weightZero, checked);
  return depthwiseKernel<int8_t, int32_t, int32_t>(s, constant, weightZero, checked);
}

} // namespace nibble::runtime
