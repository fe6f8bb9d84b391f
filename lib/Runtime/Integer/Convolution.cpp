//===- Convolution.cpp - convolutions as matrix products -------------------===//
//
// The input is brought into planes with the zero point around it, and for a transposed
// convolution between its elements; every output position then is a row of the left
// matrix, whose parts are runs of the planes.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/Matrix.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include <cstring>

using namespace mlir;

namespace nibble::runtime {
namespace {

/// One spatial dimension.
struct Axis {
  int64_t in = 1, out = 1, kernel = 1, stride = 1, dilation = 1;
  /// Positions in front of the input, and from one input element to the next.
  int64_t pad = 0, expansion = 1;

  /// Positions that outputs read.
  int64_t extent() const { return (out - 1) * stride + (kernel - 1) * dilation + 1; }
  /// The input index at padded position `at`, or -1.
  int64_t source(int64_t at) const {
    int64_t from = at - pad;
    return from < 0 || from % expansion || from / expansion >= in ? -1 : from / expansion;
  }
};

struct Geometry {
  int64_t images, channels;
  /// Depth, height and width.
  std::array<Axis, 3> axes;

  int64_t inPositions() const { return axes[0].in * axes[1].in * axes[2].in; }
  int64_t outPositions() const { return axes[0].out * axes[1].out * axes[2].out; }
  /// Every output reads the input position of the same index.
  bool isPointwise() const {
    for (const Axis &axis : axes)
      if (axis.kernel != 1 || axis.stride != 1 || axis.pad != 0 || axis.expansion != 1 || axis.in != axis.out)
        return false;
    return true;
  }
};

class Convolution : public MatrixOperation {
public:
  Convolution(const Geometry &geometry, std::shared_ptr<const Product> product, bool isTransposed)
      : g(geometry), product(std::move(product)), isTransposed(isTransposed) {}

  /// Throws dnnl::error.
  void packConstants(const Tensor &weights, const Tensor &bias) { packed.push_back(pack(weights, bias)); }

  llvm::Error run(llvm::ArrayRef<Tensor> operands, const MatrixSink &sink) const override {
    return catchDnnl("conv", [&] {
      llvm::SmallVector<PackedRight, 1> now;
      if (packed.empty())
        now.push_back(pack(operands[1], operands[2]));
      llvm::ArrayRef<PackedRight> right = packed.empty() ? llvm::ArrayRef<PackedRight>(now) : llvm::ArrayRef(packed);
      const char *source = static_cast<const char *>(operands[0].raw());
      if (g.isPointwise())
        runPointwise(source, right, sink);
      else
        runGathered(source, right, sink);
    });
  }

private:
  PackedRight pack(const Tensor &weights, const Tensor &bias) const {
    const ProductShape &shape = product->shape();
    int64_t count = shape.inner * shape.columns;
    const int8_t *values = static_cast<const int8_t *>(weights.raw());
    std::vector<int8_t> own;
    if (weights.elementType() == ElementType::I4) {
      own.resize(static_cast<size_t>(count));
      for (int64_t i = 0; i < count; ++i)
        own[static_cast<size_t>(i)] = static_cast<int8_t>(static_cast<int8_t>(values[i / 2] << (i % 2 ? 0 : 4)) >> 4);
      values = own.data();
    }
    if (!isTransposed)
      return product->pack(values, bias);
    // The transposed convolution is one with the kernel turned round, [columns, kernel positions, channels].
    std::vector<int8_t> turned(static_cast<size_t>(count));
    int64_t positions = shape.inner / g.channels;
    for (int64_t n = 0; n < shape.columns; ++n)
      for (int64_t at = 0; at < positions; ++at)
        std::memcpy(turned.data() + (n * positions + at) * g.channels,
                    values + (n * positions + positions - 1 - at) * g.channels, static_cast<size_t>(g.channels));
    return product->pack(turned.data(), bias);
  }

  void runPointwise(const char *source, llvm::ArrayRef<PackedRight> right, const MatrixSink &sink) const {
    const ProductShape &shape = product->shape();
    const Planes &planes = product->leftPlanes();
    auto gather = [&](int64_t, int64_t row, int64_t rows, char *out) {
      int64_t count = rows * shape.inner;
      product->splitLeft(source + row * shape.inner * bitWidth(shape.left) / 8, count,
                         {out, out + count * planes.elementBytes});
    };
    multiply(*product, right, gather, sink);
  }

  void runGathered(const char *source, llvm::ArrayRef<PackedRight> right, const MatrixSink &sink) const {
    const ProductShape &shape = product->shape();
    const Planes &planes = product->leftPlanes();
    const auto &[depth, height, width] = g.axes;
    int64_t rowElements = width.extent() * g.channels;
    int64_t planeElements = g.images * depth.extent() * height.extent() * rowElements;
    char *padded = static_cast<char *>(
        threadScratch(0, static_cast<size_t>(planes.count * planeElements * planes.elementBytes)));
    parallelRanges(g.images * depth.extent() * height.extent(), std::max<int64_t>(1, 32768 / rowElements),
                   [&](int64_t begin, int64_t end) {
                     for (int64_t row = begin; row < end; ++row)
                       padRow(source, row, padded, planeElements);
                   });
    auto gather = [&](int64_t, int64_t row, int64_t rows, char *out) {
      for (int plane = 0; plane < planes.count; ++plane)
        gatherRows(padded + plane * planeElements * planes.elementBytes, row, rows,
                   out + plane * rows * shape.inner * planes.elementBytes);
    };
    multiply(*product, right, gather, sink);
  }

  /// Fills row `row` of the padded planes.
  void padRow(const char *source, int64_t row, char *padded, int64_t planeElements) const {
    const Planes &planes = product->leftPlanes();
    const auto &[depth, height, width] = g.axes;
    int64_t y = height.source(row % height.extent()), rest = row / height.extent();
    int64_t z = depth.source(rest % depth.extent()), image = rest / depth.extent();
    int64_t extent = width.extent(), bytes = planes.elementBytes;
    char *targets[2] = {padded + row * extent * g.channels * bytes,
                        padded + (planeElements + row * extent * g.channels) * bytes};
    auto split = [&](int64_t from, int64_t count, int64_t at) {
      product->splitLeft(source + ((image * depth.in + z) * height.in + y) * width.in * g.channels * sourceBytes() +
                             from * g.channels * sourceBytes(),
                         count * g.channels,
                         {targets[0] + at * g.channels * bytes, targets[1] + at * g.channels * bytes});
    };
    if (y < 0 || z < 0) {
      fill(targets, 0, extent);
      return;
    }
    if (width.expansion == 1) {
      int64_t begin = std::min(width.pad, extent), end = std::min(extent, width.pad + width.in);
      fill(targets, 0, begin);
      if (end > begin)
        split(0, end - begin, begin);
      fill(targets, std::max(begin, end), extent);
      return;
    }
    fill(targets, 0, extent);
    for (int64_t x = 0; x < extent; ++x)
      if (int64_t from = width.source(x); from >= 0)
        split(from, 1, x);
  }

  void fill(char *const targets[2], int64_t begin, int64_t end) const {
    const Planes &planes = product->leftPlanes();
    std::array<int16_t, 2> zero = product->leftZeroBytes();
    int64_t count = (end - begin) * g.channels;
    for (int plane = 0; plane < planes.count; ++plane) {
      char *to = targets[plane] + begin * g.channels * planes.elementBytes;
      if (planes.elementBytes == 1)
        std::memset(to, zero[static_cast<size_t>(plane)], static_cast<size_t>(count));
      else
        std::fill_n(reinterpret_cast<int16_t *>(to), count, zero[static_cast<size_t>(plane)]);
    }
  }

  /// The parts of the inputs under output positions [row, row + rows), kernel positions in order.
  void gatherRows(const char *plane, int64_t row, int64_t rows, char *out) const {
    const auto &[depth, height, width] = g.axes;
    int64_t pixelBytes = g.channels * product->leftPlanes().elementBytes;
    // Kernel columns that touch are one run.
    int64_t runs = width.dilation == 1 ? 1 : width.kernel;
    size_t runBytes = static_cast<size_t>((width.dilation == 1 ? width.kernel : 1) * pixelBytes);
    for (int64_t i = row; i < row + rows; ++i) {
      int64_t x = i % width.out * width.stride, rest = i / width.out;
      int64_t y = rest % height.out * height.stride;
      rest /= height.out;
      int64_t z = rest % depth.out * depth.stride, image = rest / depth.out;
      for (int64_t kz = 0; kz < depth.kernel; ++kz)
        for (int64_t ky = 0; ky < height.kernel; ++ky) {
          int64_t line = (image * depth.extent() + z + kz * depth.dilation) * height.extent() + y + ky * height.dilation;
          const char *from = plane + (line * width.extent() + x) * pixelBytes;
          for (int64_t run = 0; run < runs; ++run) {
            std::memcpy(out, from + run * width.dilation * pixelBytes, runBytes);
            out += runBytes;
          }
        }
    }
  }

  int64_t sourceBytes() const { return bitWidth(product->shape().left) / 8; }

  Geometry g;
  std::shared_ptr<const Product> product;
  bool isTransposed;
  std::vector<PackedRight> packed;
};

Geometry describe(const NodeSpec &spec) {
  const Shape &in = spec.operands[0].shape, &weights = spec.operands[1].shape, &out = spec.results[0].shape;
  Geometry g;
  g.images = in[0], g.channels = in.back();
  size_t spatial = in.size() - 2;
  auto set = [&](llvm::ArrayRef<int64_t> strides, llvm::ArrayRef<int64_t> dilations, llvm::ArrayRef<int64_t> pads) {
    for (size_t i = 0; i < spatial; ++i) {
      Axis &axis = g.axes[3 - spatial + i];
      axis.in = in[i + 1], axis.out = out[i + 1], axis.kernel = weights[i + 1];
      axis.stride = strides[i], axis.dilation = dilations[i], axis.pad = pads[2 * i];
    }
  };
  if (auto conv = dyn_cast<tosa::Conv2DOp>(spec.op)) {
    set(conv.getStride(), conv.getDilation(), conv.getPad());
  } else if (auto conv = dyn_cast<tosa::Conv3DOp>(spec.op)) {
    set(conv.getStride(), conv.getDilation(), conv.getPad());
  } else {
    auto transposed = cast<tosa::TransposeConv2DOp>(spec.op);
    set({1, 1}, {1, 1}, transposed.getOutPad());
    for (size_t i = 0; i < 2; ++i) {
      Axis &axis = g.axes[i + 1];
      axis.expansion = transposed.getStride()[i];
      axis.pad += axis.kernel - 1;
    }
  }
  return g;
}

} // namespace

llvm::Expected<std::shared_ptr<const MatrixOperation>> makeConvolution(const NodeSpec &spec, bool checked) {
  const OperandSpec &input = spec.operands[0], &weights = spec.operands[1], &bias = spec.operands[2];
  bool isKnown = (input.type == ElementType::I8 && (weights.type == ElementType::I8 || weights.type == ElementType::I4)) ||
                 (input.type == ElementType::I16 && weights.type == ElementType::I8);
  if (!isKnown || spec.results[0].elementCount() == 0 || input.elementCount() == 0)
    return spec.unsupported("element types " + name(input.type) + " and " + name(weights.type) +
                            " have no kernel; int8 with int8 or int4 and int16 with int8 have");
  if (!spec.operands[3].constant || !spec.operands[4].constant)
    return spec.unsupported("zero points must be constants");
  Geometry geometry = describe(spec);
  ProductShape shape;
  shape.batch = 1, shape.rows = geometry.images * geometry.outPositions(), shape.columns = spec.results[0].shape.back();
  shape.inner = weights.elementCount() / shape.columns;
  shape.left = input.type, shape.right = ElementType::I8;
  shape.leftZero = spec.operands[3].constant.valuesAsInt64()[0];
  shape.rightZero = spec.operands[4].constant.valuesAsInt64()[0];
  shape.innerStride = 1, shape.columnStride = shape.inner;
  llvm::Expected<std::shared_ptr<const Product>> product = Product::create(shape, checked);
  if (!product)
    return product.takeError();
  auto convolution =
      std::make_shared<Convolution>(geometry, *product, isa<tosa::TransposeConv2DOp>(spec.op));
  if (weights.constant && bias.constant)
    if (llvm::Error error =
            catchDnnl("conv", [&] { convolution->packConstants(weights.constant, bias.constant); }))
      return std::move(error);
  return convolution;
}

} // namespace nibble::runtime
