//===- Encoding.cpp - rounding to integers and back -------------------------===//
//
// Every granularity is cut into segments of consecutive elements that either
// share one scale or have one scale each, so that two inner loops serve all. A
// loop clamps before it rounds: the bounds are integers, so the result is the
// same as ONNX's order, and what is rounded is small enough for the addition of
// 1.5 * 2^23, which rounds half to even in every vector instruction set.
//
//===----------------------------------------------------------------------===//
#include "lib/Quant/Encoding.h"
#include "lib/Support/Error.h"
#include "lib/Support/Parallel.h"
#include "lib/Support/VectorClones.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace nibble::quant {
namespace {

constexpr float roundingConstant = 12582912.0f;
constexpr int64_t elementsPerTile = 1 << 16;

/// Elements [offset, offset + count): scale index `scale` for all, or `scale + i` for element i.
struct Segment {
  int64_t offset, count, scale;
};

/// How a tensor splits into rows of segments. A row is the unit that tiles are made of.
struct Layout {
  enum class Form { Tensor, ConstantRows, VectorRows, BlockedRows, BlockedVectorRows } form;
  int64_t rows, rowLength;
  /// Extent of the axis, inner elements, block size and number of blocks along the axis.
  int64_t extent = 1, inner = 1, blockSize = 1, blocks = 1;

  bool isVector() const { return form == Form::VectorRows || form == Form::BlockedVectorRows; }

  template <typename Body>
  void forEachSegment(int64_t row, Body body) const {
    int64_t offset = row * rowLength;
    switch (form) {
    case Form::Tensor:
    case Form::VectorRows:
      return body(Segment{offset, rowLength, 0});
    case Form::ConstantRows:
      return body(Segment{offset, rowLength, row % extent});
    case Form::BlockedRows:
      for (int64_t block = 0; block < blocks; ++block)
        body(Segment{offset + block * blockSize, std::min(blockSize, extent - block * blockSize), row * blocks + block});
      return;
    case Form::BlockedVectorRows:
      return body(Segment{offset, rowLength, (row / extent * blocks + row % extent / blockSize) * inner});
    }
  }
};

Layout makeLayout(llvm::ArrayRef<int64_t> shape, const Encoding &encoding) {
  using Form = Layout::Form;
  int64_t count = elementCount(shape);
  if (!encoding.axis)
    return {Form::Tensor, 1, count};
  size_t axis = static_cast<size_t>(*encoding.axis);
  assert(axis < shape.size() && "the axis was checked when the encoding was made");
  int64_t extent = shape[axis], outer = elementCount(shape.take_front(axis)), inner = elementCount(shape.drop_front(axis + 1));
  if (!encoding.blockSize) {
    assert(static_cast<int64_t>(encoding.scales.size()) == extent && "one scale per index of the axis");
    if (inner == 1)
      return {Form::VectorRows, outer, extent, extent, inner};
    return {Form::ConstantRows, outer * extent, inner, extent, inner};
  }
  int64_t blockSize = *encoding.blockSize, blocks = (extent + blockSize - 1) / blockSize;
  if (inner == 1)
    return {Form::BlockedRows, outer, extent, extent, inner, blockSize, blocks};
  return {Form::BlockedVectorRows, outer * extent, inner, extent, inner, blockSize, blocks};
}

/// Calls `body(segment)` for all segments, several threads at a time.
template <typename Body>
void forEachSegment(const Layout &layout, int64_t count, Body body) {
  if (layout.form == Layout::Form::Tensor) {
    parallelFor((count + elementsPerTile - 1) / elementsPerTile, [&](int64_t tile) {
      int64_t begin = tile * elementsPerTile;
      body(Segment{begin, std::min(elementsPerTile, count - begin), 0});
    });
    return;
  }
  int64_t rowsPerTile = std::max<int64_t>(1, elementsPerTile / std::max<int64_t>(1, layout.rowLength));
  parallelFor((layout.rows + rowsPerTile - 1) / rowsPerTile, [&](int64_t tile) {
    int64_t end = std::min(layout.rows, (tile + 1) * rowsPerTile);
    for (int64_t row = tile * rowsPerTile; row < end; ++row)
      layout.forEachSegment(row, body);
  });
}

/// Scales and zero points with the bounds of q - zero_point, as float where that is exact.
struct Grid {
  std::vector<float> scales;
  std::vector<int32_t> zeroPoints;
  int64_t quantMin, quantMax;

  explicit Grid(const Encoding &encoding)
      : scales(encoding.effectiveScales()), zeroPoints(encoding.zeroPoints), quantMin(encoding.quantMin),
        quantMax(encoding.quantMax) {
    if (zeroPoints.empty())
      zeroPoints.assign(scales.size(), 0);
  }
};

/// value / scale, cut to the integers [low, high] and rounded half to even.
__attribute__((always_inline)) inline float roundToGrid(float value, float scale, float low, float high) {
  float q = value / scale;
  q = q < low ? low : q;
  q = q > high ? high : q;
  return (q + roundingConstant) - roundingConstant;
}

NIBBLE_VECTOR_CLONES
void fakeQuantizeRun(const float *in, float *out, int64_t count, float scale, float low, float high) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = roundToGrid(in[i], scale, low, high) * scale;
}

NIBBLE_VECTOR_CLONES
void fakeQuantizeVector(const float *in, float *out, int64_t count, const float *scales, const int32_t *zeroPoints,
                        int32_t quantMin, int32_t quantMax) {
  for (int64_t i = 0; i < count; ++i) {
    float low = static_cast<float>(quantMin - zeroPoints[i]), high = static_cast<float>(quantMax - zeroPoints[i]);
    out[i] = roundToGrid(in[i], scales[i], low, high) * scales[i];
  }
}

/// Writes q - zero_point for a run of one scale.
NIBBLE_VECTOR_CLONES
void roundRun(const float *in, int32_t *out, int64_t count, float scale, float low, float high) {
  for (int64_t i = 0; i < count; ++i)
    out[i] = static_cast<int32_t>(roundToGrid(in[i], scale, low, high));
}

/// 32-bit storage: float32 cannot hold the quotient, so it is computed in double.
int32_t roundWide(float value, float scale, int64_t low, int64_t high) {
  double q = std::nearbyint(static_cast<double>(value) / static_cast<double>(scale));
  return static_cast<int32_t>(std::clamp(q, static_cast<double>(low), static_cast<double>(high)));
}

bool isWide(ElementType storage) { return bitWidth(storage) == 32; }

/// q - zero_point of a segment into `out`.
void roundSegment(const float *in, int32_t *out, const Segment &segment, bool isVector, const Grid &grid, bool wide) {
  auto roundPart = [&](int64_t begin, int64_t count, int64_t scale) {
    int64_t low = grid.quantMin - grid.zeroPoints[scale], high = grid.quantMax - grid.zeroPoints[scale];
    if (wide)
      for (int64_t i = begin; i < begin + count; ++i)
        out[i] = roundWide(in[i], grid.scales[scale], low, high);
    else
      roundRun(in + begin, out + begin, count, grid.scales[scale], static_cast<float>(low), static_cast<float>(high));
  };
  if (!isVector)
    return roundPart(0, segment.count, segment.scale);
  for (int64_t i = 0; i < segment.count; ++i)
    roundPart(i, 1, segment.scale + i);
}

template <typename T>
void store(const int32_t *centered, T *out, const Segment &segment, bool isVector, const Grid &grid) {
  const int32_t *zeroPoints = grid.zeroPoints.data() + segment.scale;
  for (int64_t i = 0; i < segment.count; ++i)
    out[i] = static_cast<T>(centered[i] + zeroPoints[isVector ? i : 0]);
}

template <typename T>
void quantizeAll(const Tensor &input, const Layout &layout, const Grid &grid, bool wide, T *out) {
  const float *in = input.data<float>();
  forEachSegment(layout, input.elementCount(), [&](const Segment &segment) {
    std::vector<int32_t> centered(static_cast<size_t>(segment.count));
    roundSegment(in + segment.offset, centered.data(), segment, layout.isVector(), grid, wide);
    store(centered.data(), out + segment.offset, segment, layout.isVector(), grid);
  });
}

template <typename T>
void dequantizeAll(const T *in, int64_t count, const Layout &layout, const Grid &grid, float *out) {
  forEachSegment(layout, count, [&](const Segment &segment) {
    const float *scales = grid.scales.data() + segment.scale;
    const int32_t *zeroPoints = grid.zeroPoints.data() + segment.scale;
    const T *from = in + segment.offset;
    float *to = out + segment.offset;
    if (layout.isVector())
      for (int64_t i = 0; i < segment.count; ++i)
        to[i] = static_cast<float>(static_cast<int32_t>(from[i]) - zeroPoints[i]) * scales[i];
    else
      for (int64_t i = 0; i < segment.count; ++i)
        to[i] = static_cast<float>(static_cast<int32_t>(from[i]) - zeroPoints[0]) * scales[0];
  });
}

} // namespace

Granularity Encoding::granularity() const {
  return kind == EncodingKind::LPBQ ? Granularity::LPBQ
         : blockSize                ? Granularity::Block
         : axis                     ? Granularity::Axis
                                    : Granularity::Tensor;
}

std::vector<float> Encoding::effectiveScales() const {
  if (kind != EncodingKind::LPBQ)
    return scales;
  std::vector<float> products(blockMultipliers.size());
  size_t channels = scales.size(), blocksPerChannel = channels ? products.size() / channels : 0;
  for (size_t i = 0; i < products.size(); ++i) {
    size_t channel = channelAxis == 0 ? i / blocksPerChannel : i % channels;
    products[i] = scales[channel] * static_cast<float>(blockMultipliers[i]);
  }
  return products;
}

std::pair<int64_t, int64_t> integerRange(ElementType storage) {
  unsigned bits = bitWidth(storage);
  switch (storage) {
  case ElementType::U4:
  case ElementType::U8:
  case ElementType::U16:
  case ElementType::U32:
    return {0, (int64_t(1) << bits) - 1};
  default:
    assert(bits < 64 && "64-bit integers are not a storage type");
    return {-(int64_t(1) << (bits - 1)), (int64_t(1) << (bits - 1)) - 1};
  }
}

unsigned usedBits(const Encoding &encoding) {
  unsigned bits = 1;
  while ((int64_t(1) << bits) <= encoding.quantMax - encoding.quantMin)
    ++bits;
  return bits;
}

float makeScale(double scale) {
  return static_cast<float>(std::clamp(scale, static_cast<double>(FLT_MIN), static_cast<double>(FLT_MAX)));
}

Encoding makeUncalibrated(ElementType storage, bool symmetric) {
  Encoding encoding;
  encoding.storage = storage;
  encoding.symmetric = symmetric;
  std::tie(encoding.quantMin, encoding.quantMax) = integerRange(storage);
  return encoding;
}

Encoding makeTensorEncoding(ElementType storage, float scale, int64_t zeroPoint) {
  Encoding encoding = makeUncalibrated(storage, /*symmetric=*/false);
  encoding.scales = {scale};
  encoding.zeroPoints = {static_cast<int32_t>(zeroPoint)};
  return encoding;
}

Encoding makeTensorEncoding(ElementType storage, bool symmetric, float min, float max) {
  Encoding encoding = makeUncalibrated(storage, symmetric);
  double low = std::min(0.0, static_cast<double>(min)), high = std::max(0.0, static_cast<double>(max));
  if (low == high)
    high = 1;
  int64_t zeroPoint = 0;
  double scale;
  if (symmetric) {
    zeroPoint = encoding.quantMin == 0 ? (encoding.quantMax + 1) / 2 : 0;
    scale = std::max(high / static_cast<double>(encoding.quantMax - zeroPoint),
                     -low / static_cast<double>(zeroPoint - encoding.quantMin));
  } else {
    scale = (high - low) / static_cast<double>(encoding.quantMax - encoding.quantMin);
  }
  encoding.scales = {makeScale(scale)};
  if (!symmetric) {
    double exact = static_cast<double>(encoding.quantMin) - low / static_cast<double>(encoding.scales[0]);
    zeroPoint = static_cast<int64_t>(std::clamp(std::nearbyint(exact), static_cast<double>(encoding.quantMin),
                                                static_cast<double>(encoding.quantMax)));
  }
  if (zeroPoint != 0)
    encoding.zeroPoints = {static_cast<int32_t>(zeroPoint)};
  return encoding;
}

llvm::Error checkShape(const Encoding &encoding, llvm::ArrayRef<int64_t> shape) {
  size_t wanted = 1, found = encoding.kind == EncodingKind::LPBQ ? encoding.blockMultipliers.size() : encoding.scales.size();
  if (encoding.axis) {
    if (*encoding.axis < 0 || *encoding.axis >= static_cast<int64_t>(shape.size()))
      return makeError(ErrorKind::BadInput, "encoding runs along axis " + llvm::Twine(*encoding.axis) +
                                                ", but the tensor has rank " + llvm::Twine(shape.size()));
    int64_t extent = shape[static_cast<size_t>(*encoding.axis)];
    wanted = static_cast<size_t>(extent);
    if (encoding.blockSize) {
      Shape blocks(shape);
      blocks[static_cast<size_t>(*encoding.axis)] = (extent + *encoding.blockSize - 1) / *encoding.blockSize;
      wanted = static_cast<size_t>(elementCount(blocks));
    }
  }
  if (found != wanted)
    return makeError(ErrorKind::BadInput, "encoding has " + llvm::Twine(found) + " scales, but the tensor takes " +
                                              llvm::Twine(wanted));
  if (encoding.kind != EncodingKind::LPBQ)
    return llvm::Error::success();
  int64_t rank = static_cast<int64_t>(shape.size());
  if (!encoding.channelAxis || (*encoding.channelAxis != 0 && *encoding.channelAxis != rank - 1) ||
      encoding.channelAxis == encoding.axis)
    return makeError(ErrorKind::BadInput, "lpbq encoding needs its channels along the first or the last axis, "
                                          "and its blocks along another");
  int64_t channels = shape[static_cast<size_t>(*encoding.channelAxis)];
  if (static_cast<int64_t>(encoding.scales.size()) != channels)
    return makeError(ErrorKind::BadInput, "lpbq encoding has " + llvm::Twine(encoding.scales.size()) +
                                              " channel scales, but the tensor has " + llvm::Twine(channels) +
                                              " channels");
  return llvm::Error::success();
}

Tensor packNibbles(llvm::ArrayRef<int8_t> values, ElementType storage, llvm::ArrayRef<int64_t> shape) {
  Tensor packed = Tensor::allocate(storage, shape);
  auto *bytes = static_cast<uint8_t *>(packed.mutableRaw());
  int64_t count = static_cast<int64_t>(values.size()), pairs = count / 2;
  for (int64_t i = 0; i < pairs; ++i)
    bytes[i] = static_cast<uint8_t>((values[2 * i] & 15) | (values[2 * i + 1] & 15) << 4);
  if (count % 2)
    bytes[pairs] = static_cast<uint8_t>(values[count - 1] & 15);
  return packed;
}

std::vector<int8_t> unpackNibbles(const Tensor &packed) {
  bool isSigned = packed.elementType() == ElementType::I4;
  const auto *bytes = static_cast<const uint8_t *>(packed.raw());
  std::vector<int8_t> values(static_cast<size_t>(packed.elementCount()));
  for (size_t i = 0; i < values.size(); ++i) {
    int value = bytes[i / 2] >> (i % 2 * 4) & 15;
    values[i] = static_cast<int8_t>(isSigned && value > 7 ? value - 16 : value);
  }
  return values;
}

llvm::Expected<Tensor> quantize(const Tensor &input, const Encoding &encoding) {
  if (llvm::Error error = checkShape(encoding, input.shape()))
    return error;
  for (int64_t i = 0, count = input.elementCount(); i < count; ++i)
    if (std::isnan(input.data<float>()[i]))
      return makeError(ErrorKind::BadInput, "element " + llvm::Twine(i) + " is NaN, which no integer stands for");
  Grid grid(encoding);
  Layout layout = makeLayout(input.shape(), encoding);
  bool wide = isWide(encoding.storage);
  if (bitWidth(encoding.storage) == 4) {
    std::vector<int8_t> values(static_cast<size_t>(input.elementCount()));
    quantizeAll(input, layout, grid, wide, values.data());
    return packNibbles(values, encoding.storage, input.shape());
  }
  Tensor stored = Tensor::allocate(encoding.storage, input.shape());
  switch (encoding.storage) {
  case ElementType::I8: quantizeAll(input, layout, grid, wide, stored.mutableData<int8_t>()); break;
  case ElementType::U8: quantizeAll(input, layout, grid, wide, stored.mutableData<uint8_t>()); break;
  case ElementType::I16: quantizeAll(input, layout, grid, wide, stored.mutableData<int16_t>()); break;
  case ElementType::U16: quantizeAll(input, layout, grid, wide, stored.mutableData<uint16_t>()); break;
  case ElementType::I32: quantizeAll(input, layout, grid, wide, stored.mutableData<int32_t>()); break;
  default:
    return makeError(ErrorKind::Unsupported, "cannot store reals as " + name(encoding.storage));
  }
  return stored;
}

Tensor dequantize(const Tensor &stored, const Encoding &encoding) {
  Grid grid(encoding);
  Layout layout = makeLayout(stored.shape(), encoding);
  int64_t count = stored.elementCount();
  Tensor output = Tensor::allocate(ElementType::F32, stored.shape());
  float *out = output.mutableData<float>();
  switch (stored.elementType()) {
  case ElementType::I4:
  case ElementType::U4: dequantizeAll(unpackNibbles(stored).data(), count, layout, grid, out); break;
  case ElementType::I8: dequantizeAll(stored.data<int8_t>(), count, layout, grid, out); break;
  case ElementType::U8: dequantizeAll(stored.data<uint8_t>(), count, layout, grid, out); break;
  case ElementType::I16: dequantizeAll(stored.data<int16_t>(), count, layout, grid, out); break;
  case ElementType::U16: dequantizeAll(stored.data<uint16_t>(), count, layout, grid, out); break;
  case ElementType::I32: dequantizeAll(stored.data<int32_t>(), count, layout, grid, out); break;
  default: assert(false && "not a storage type");
  }
  return output;
}

void fakeQuantize(const Tensor &input, const Encoding &encoding, Tensor &output) {
  Grid grid(encoding);
  Layout layout = makeLayout(input.shape(), encoding);
  const float *in = input.data<float>();
  float *out = output.mutableData<float>();
  bool wide = isWide(encoding.storage);
  forEachSegment(layout, input.elementCount(), [&](const Segment &segment) {
    const float *from = in + segment.offset;
    float *to = out + segment.offset;
    if (wide) {
      std::vector<int32_t> centered(static_cast<size_t>(segment.count));
      roundSegment(from, centered.data(), segment, layout.isVector(), grid, wide);
      for (int64_t i = 0; i < segment.count; ++i)
        to[i] = static_cast<float>(centered[i]) * grid.scales[segment.scale + (layout.isVector() ? i : 0)];
    } else if (layout.isVector()) {
      fakeQuantizeVector(from, to, segment.count, grid.scales.data() + segment.scale,
                         grid.zeroPoints.data() + segment.scale, static_cast<int32_t>(grid.quantMin),
                         static_cast<int32_t>(grid.quantMax));
    } else {
      fakeQuantizeRun(from, to, segment.count, grid.scales[segment.scale],
                      static_cast<float>(grid.quantMin - grid.zeroPoints[segment.scale]),
                      static_cast<float>(grid.quantMax - grid.zeroPoints[segment.scale]));
    }
  });
}

} // namespace nibble::quant
