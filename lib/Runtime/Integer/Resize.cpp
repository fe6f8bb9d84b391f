//===- Resize.cpp - nearest and bilinear resizing --------------------------===//
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Kernels.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include <cstring>

using namespace mlir;

namespace nibble::runtime {
namespace {

/// The two input positions around an output position, and where between them it lies.
struct Sample {
  int64_t first, second;
  /// Of `scale`: the weight of the second position.
  int64_t fraction;
};

/// Samples of all output positions along an axis; `numerator` output steps are `denominator` input steps.
std::vector<Sample> makeSamples(int64_t in, int64_t out, int64_t numerator, int64_t denominator, int64_t offset) {
  std::vector<Sample> samples;
  for (int64_t i = 0; i < out; ++i) {
    int64_t at = i * denominator + offset;
    int64_t index = at >= 0 ? at / numerator : -((-at + numerator - 1) / numerator);
    samples.push_back({std::clamp<int64_t>(index, 0, in - 1), std::clamp<int64_t>(index + 1, 0, in - 1),
                       at - index * numerator});
  }
  return samples;
}

struct Resize {
  int64_t images, height, width, channels, outHeight, outWidth, scaleY, scaleX;
  std::vector<Sample> rows, columns;
};

/// Copies whole pixels.
void resizeNearest(const Resize &r, const char *in, int64_t pixelBytes, char *out) {
  parallelRanges(r.images * r.outHeight, std::max<int64_t>(1, 65536 / (r.outWidth * pixelBytes)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t line = begin; line < end; ++line) {
                     const Sample &row = r.rows[static_cast<size_t>(line % r.outHeight)];
                     int64_t y = row.fraction * 2 >= r.scaleY ? row.second : row.first;
                     const char *from = in + (line / r.outHeight * r.height + y) * r.width * pixelBytes;
                     char *to = out + line * r.outWidth * pixelBytes;
                     for (const Sample &column : r.columns) {
                       int64_t x = column.fraction * 2 >= r.scaleX ? column.second : column.first;
                       std::memcpy(to, from + x * pixelBytes, static_cast<size_t>(pixelBytes));
                       to += pixelBytes;
                     }
                   }
                 });
}

template <class In, class Out>
void resizeBilinear(const Resize &r, const In *in, Out *out) {
  parallelRanges(r.images * r.outHeight, std::max<int64_t>(1, 16384 / (r.outWidth * r.channels)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t line = begin; line < end; ++line) {
                     const Sample &row = r.rows[static_cast<size_t>(line % r.outHeight)];
                     const In *image = in + line / r.outHeight * r.height * r.width * r.channels;
                     const In *top = image + row.first * r.width * r.channels;
                     const In *bottom = image + row.second * r.width * r.channels;
                     Out *to = out + line * r.outWidth * r.channels;
                     for (const Sample &column : r.columns) {
                       int64_t left = column.first * r.channels, right = column.second * r.channels;
                       Out dy = static_cast<Out>(row.fraction), dx = static_cast<Out>(column.fraction);
                       Out restY = static_cast<Out>(r.scaleY) - dy, restX = static_cast<Out>(r.scaleX) - dx;
                       simd([=, channels = r.channels]() NIBBLE_INLINE {
                         NIBBLE_INDEPENDENT
                         for (int64_t c = 0; c < channels; ++c)
                           to[c] = (top[left + c] * restX + top[right + c] * dx) * restY +
                                   (bottom[left + c] * restX + bottom[right + c] * dx) * dy;
                       });
                       to += r.channels;
                     }
                   }
                 });
}

llvm::Expected<Kernel> makeResize(const NodeSpec &spec) {
  auto op = cast<tosa::ResizeOp>(spec.op);
  for (unsigned i : {1u, 2u})
    if (!spec.operands[i].constant)
      return spec.unsupported("scale and offset must be constants");
  llvm::SmallVector<int64_t> scale = spec.operands[1].constant.valuesAsInt64();
  llvm::SmallVector<int64_t> offset = spec.operands[2].constant.valuesAsInt64();
  if (llvm::any_of(scale, [](int64_t value) { return value <= 0; }))
    return makeError(ErrorKind::BadInput, "resize has a scale that is not positive");
  const Shape &in = spec.operands[0].shape, &out = spec.results[0].shape;
  auto resize = std::make_shared<Resize>(
      Resize{in[0], in[1], in[2], in[3], out[1], out[2], scale[0], scale[2],
             makeSamples(in[1], out[1], scale[0], scale[1], offset[0]),
             makeSamples(in[2], out[2], scale[2], scale[3], offset[1])});
  ElementType type = spec.operands[0].type;
  if (type != ElementType::I8 && type != ElementType::I16)
    return spec.unsupported("element type " + name(type) + " has no kernel; int8 and int16 have");
  bool isNearest = op.getMode() == tosa::ResizeMode::NEAREST_NEIGHBOR;
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    if (isNearest)
      resizeNearest(*resize, static_cast<const char *>(operands[0].raw()), resize->channels * bitWidth(type) / 8,
                    static_cast<char *>(results[0].mutableRaw()));
    else if (type == ElementType::I8)
      resizeBilinear(*resize, operands[0].data<int8_t>(), results[0].mutableData<int32_t>());
    else
      resizeBilinear(*resize, operands[0].data<int16_t>(), results[0].mutableData<int64_t>());
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace

void registerIntegerResizeKernels(KernelRegistry &registry) { registry["tosa.resize"] = makeResize; }

} // namespace nibble::runtime
