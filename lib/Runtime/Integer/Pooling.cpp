//===- Pooling.cpp - pooling of images with interleaved channels -----------===//
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include <bit>

using namespace mlir;

namespace nibble::runtime {
namespace {

struct Pool {
  int64_t images, height, width, channels, outHeight, outWidth;
  int64_t kernelHeight, kernelWidth, strideHeight, strideWidth, padTop, padLeft;

  template <class Op>
  Pool(const NodeSpec &spec, Op op) {
    const Shape &in = spec.operands[0].shape, &out = spec.results[0].shape;
    images = in[0], height = in[1], width = in[2], channels = in[3], outHeight = out[1], outWidth = out[2];
    kernelHeight = op.getKernel()[0], kernelWidth = op.getKernel()[1];
    strideHeight = op.getStride()[0], strideWidth = op.getStride()[1];
    padTop = op.getPad()[0], padLeft = op.getPad()[2];
  }

  /// Calls pixel(output pixel, first row, end row, first column, end column, image) for every output, in parallel.
  template <class Pixel>
  void forEach(Pixel pixel) const {
    int64_t work = std::max<int64_t>(1, channels * kernelHeight * kernelWidth);
    parallelRanges(images * outHeight * outWidth, std::max<int64_t>(1, 32768 / work), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t x = i % outWidth * strideWidth - padLeft, y = i / outWidth % outHeight * strideHeight - padTop;
        pixel(i, std::max<int64_t>(y, 0), std::min(height, y + kernelHeight), std::max<int64_t>(x, 0),
              std::min(width, x + kernelWidth), i / outWidth / outHeight);
      }
    });
  }
};

template <class T>
void poolMaximum(const Pool &p, const T *in, T *out) {
  p.forEach([&](int64_t pixel, int64_t rowBegin, int64_t rowEnd, int64_t columnBegin, int64_t columnEnd, int64_t image) {
    T *to = out + pixel * p.channels;
    std::fill_n(to, p.channels, std::numeric_limits<T>::lowest());
    for (int64_t y = rowBegin; y < rowEnd; ++y)
      for (int64_t x = columnBegin; x < columnEnd; ++x) {
        const T *from = in + ((image * p.height + y) * p.width + x) * p.channels;
        simd([=, channels = p.channels]() NIBBLE_INLINE {
          NIBBLE_INDEPENDENT
          for (int64_t c = 0; c < channels; ++c)
            to[c] = std::max(to[c], from[c]);
        });
      }
  });
}

template <class T>
void poolAverage(const Pool &p, const T *in, int32_t inputZero, int32_t outputZero, T *out) {
  p.forEach([&](int64_t pixel, int64_t rowBegin, int64_t rowEnd, int64_t columnBegin, int64_t columnEnd, int64_t image) {
    // The division as a multiplication, which is what the specification says.
    int64_t count = (rowEnd - rowBegin) * (columnEnd - columnBegin);
    int k = count > 1 ? 32 - std::countl_zero(static_cast<uint32_t>(count - 1)) : 0;
    int64_t multiplier = (((int64_t(1) << 30) + 1) << k) / std::max<int64_t>(count, 1), shift = 30 + k;
    for (int64_t c = 0; c < p.channels; ++c) {
      int64_t sum = 0;
      for (int64_t y = rowBegin; y < rowEnd; ++y)
        for (int64_t x = columnBegin; x < columnEnd; ++x)
          sum += in[((image * p.height + y) * p.width + x) * p.channels + c] - inputZero;
      int64_t scaled = (sum * multiplier + (int64_t(1) << (shift - 1))) >> shift;
      out[pixel * p.channels + c] = static_cast<T>(std::clamp<int64_t>(
          scaled + outputZero, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    }
  });
}

template <class Callback>
llvm::Expected<Kernel> dispatchPool(const NodeSpec &spec, Callback callback) {
  if (spec.operands[0].type == ElementType::I8)
    return callback(int8_t());
  if (spec.operands[0].type == ElementType::I16)
    return callback(int16_t());
  return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; int8 and int16 have");
}

llvm::Expected<Kernel> makeMaxPool(const NodeSpec &spec) {
  return dispatchPool(spec, [&](auto tag) {
    using T = decltype(tag);
    Kernel kernel;
    kernel.run = [pool = Pool(spec, cast<tosa::MaxPool2dOp>(spec.op))](llvm::ArrayRef<Tensor> operands,
                                                                       llvm::MutableArrayRef<Tensor> results) {
      poolMaximum(pool, operands[0].data<T>(), results[0].mutableData<T>());
      return llvm::Error::success();
    };
    return kernel;
  });
}

llvm::Expected<Kernel> makeAvgPool(const NodeSpec &spec) {
  if (!spec.operands[1].constant || !spec.operands[2].constant)
    return spec.unsupported("zero points must be constants");
  int32_t inputZero = static_cast<int32_t>(spec.operands[1].constant.valuesAsInt64()[0]);
  int32_t outputZero = static_cast<int32_t>(spec.operands[2].constant.valuesAsInt64()[0]);
  return dispatchPool(spec, [&](auto tag) {
    using T = decltype(tag);
    Kernel kernel;
    kernel.run = [=, pool = Pool(spec, cast<tosa::AvgPool2dOp>(spec.op))](llvm::ArrayRef<Tensor> operands,
                                                                          llvm::MutableArrayRef<Tensor> results) {
      poolAverage(pool, operands[0].data<T>(), inputZero, outputZero, results[0].mutableData<T>());
      return llvm::Error::success();
    };
    return kernel;
  });
}

} // namespace

void registerIntegerPoolingKernels(KernelRegistry &registry) {
  registry["tosa.max_pool2d"] = makeMaxPool;
  registry["tosa.avg_pool2d"] = makeAvgPool;
}

} // namespace nibble::runtime
