//===- LowerSampling.cpp - resize and pooling --------------------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Operands.h"

#include <cmath>
#include <numeric>

using namespace mlir;

namespace nibble {
namespace {

/// Channels last, [N, height, width, channels].
constexpr int64_t pictureRank = 4;

Stored channelsLast(Lowering &lowering, const Stored &input) {
  llvm::SmallVector<int64_t, 6> order = {0, 2, 3, 1};
  return Stored{lowering.inOrder(input, order), input.grid, order};
}

//===----------------------------------------------------------------------===//
// Resize
//===----------------------------------------------------------------------===//

/// Where output position `i` lies in the input, after ONNX Resize; nullopt for modes without an integer form.
std::optional<double> findCoordinate(StringRef mode, int64_t i, int64_t in, int64_t out, double scale) {
  auto at = static_cast<double>(i);
  if (mode == "asymmetric")
    return at / scale;
  if (mode == "align_corners")
    return out > 1 ? at * static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
  if (mode == "half_pixel" || (mode == "pytorch_half_pixel" && out > 1))
    return (at + 0.5) / scale - 0.5;
  return mode == "pytorch_half_pixel" ? std::optional<double>(0) : std::nullopt;
}

std::optional<double> roundCoordinate(StringRef mode, double at) {
  if (mode == "round_prefer_floor")
    return std::ceil(at - 0.5);
  if (mode == "round_prefer_ceil")
    return std::floor(at + 0.5);
  if (mode == "floor")
    return std::floor(at);
  return mode == "ceil" ? std::optional<double>(std::ceil(at)) : std::nullopt;
}

/// TOSA's description of one resized axis: input = (output * denominator + offset) / numerator.
struct Axis {
  int64_t numerator, denominator, offset, border;
};

/// The border with which TOSA computes `out` from `in` positions; nullopt where the axis cannot be stated.
std::optional<Axis> makeAxis(int64_t numerator, int64_t denominator, int64_t offset, int64_t in, int64_t out) {
  int64_t divisor = std::gcd(std::gcd(numerator, denominator), std::abs(offset));
  Axis axis{numerator / divisor, denominator / divisor, offset / divisor, 0};
  axis.border = (out - 1) * axis.denominator - (in - 1) * axis.numerator + axis.offset;
  bool isLegal = axis.numerator <= 2048 && axis.denominator < 16 * axis.numerator && axis.offset >= -axis.numerator &&
                 axis.offset < 16 * axis.numerator && axis.border >= -16 * axis.numerator && axis.border < axis.numerator;
  return isLegal ? std::optional(axis) : std::nullopt;
}

std::optional<Axis> findLinearAxis(StringRef mode, int64_t in, int64_t out) {
  if (mode == "align_corners")
    return in > 1 && out > 1 ? makeAxis(out - 1, in - 1, 0, in, out) : std::nullopt;
  int64_t divisor = std::gcd(in, out), up = out / divisor, down = in / divisor;
  if (mode == "asymmetric")
    return makeAxis(up, down, 0, in, out);
  // (2 i + 1) * down / (2 up) - 1/2.
  return makeAxis(2 * up, 2 * down, down - up, in, out);
}

Value resize(TosaBuilder &b, Value input, const Axis &y, const Axis &x, int64_t height, int64_t width, unsigned bits,
             tosa::ResizeMode mode) {
  Value scale = b.shapeOf({y.numerator, y.denominator, x.numerator, x.denominator});
  Value offset = b.shapeOf({y.offset, x.offset}), border = b.shapeOf({y.border, x.border});
  llvm::ArrayRef<int64_t> dims = b.dims(input);
  return b.create<tosa::ResizeOp>(b.tensor({dims[0], height, width, dims[3]}, bits), input, scale, offset, border, mode)
      .getResult();
}

FailureOr<Stored> lowerNearest(Lowering &lowering, nn::ResizeOp op, const Stored &input, llvm::ArrayRef<double> scales) {
  TosaBuilder &b = lowering.b;
  Shape shape = lowering.modelShape(input);
  llvm::ArrayRef<int64_t> result = nn::shapeOf(op.getResult());
  SmallVector<SmallVector<int64_t>> chosen(shape.size());
  SmallVector<int64_t> repeats(shape.size(), 0);
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    bool repeatsEach = result[dim] % shape[dim] == 0;
    for (int64_t i = 0; i < result[dim]; ++i) {
      std::optional<double> at =
          findCoordinate(op.getCoordinateTransformationMode(), i, shape[dim], result[dim], scales[dim]);
      std::optional<double> nearest = at ? roundCoordinate(op.getNearestMode(), *at) : std::nullopt;
      if (!nearest)
        return lowering.refuse(op, "coordinate mode '" + op.getCoordinateTransformationMode() + "' with nearest mode '" +
                                       op.getNearestMode() + "' has no integer form");
      chosen[dim].push_back(static_cast<int64_t>(std::clamp(*nearest, 0.0, static_cast<double>(shape[dim] - 1))));
      repeatsEach &= chosen[dim].back() == i / std::max<int64_t>(1, result[dim] / shape[dim]);
    }
    repeats[dim] = repeatsEach ? result[dim] / shape[dim] : 0;
  }
  if (input.rank() == pictureRank && repeats[0] == 1 && repeats[1] == 1 && repeats[2] > 0 && repeats[3] > 0) {
    // Every pixel is repeated: half a step before it to half a step behind it. Not all NPUs resize several pictures.
    Stored picture = channelsLast(lowering, input);
    auto axis = [](int64_t factor) { return Axis{2 * factor, 2, 1 - factor, factor - 1}; };
    SmallVector<Value> resized;
    for (int64_t i = 0; i < result[0]; ++i)
      resized.push_back(resize(b, b.sliceAxis(picture.value, 0, i, 1), axis(repeats[2]), axis(repeats[3]), result[2],
                               result[3], b.bits(picture.value), tosa::ResizeMode::NEAREST_NEIGHBOR));
    picture.value = b.concat(resized, 0);
    return picture;
  }
  Value value = lowering.inModelOrder(input);
  for (size_t dim = 0; dim < shape.size(); ++dim) {
    if (repeats[dim] == 1)
      continue;
    // Rows of the axis are chosen by constant indices.
    llvm::SmallVector<int64_t> toFront = {static_cast<int64_t>(dim)}, back;
    for (size_t other = 0; other < shape.size(); ++other)
      if (other != dim)
        toFront.push_back(static_cast<int64_t>(other));
    for (size_t place = 0; place < shape.size(); ++place)
      back.push_back(llvm::find(toFront, static_cast<int64_t>(place)) - toFront.begin());
    Value front = b.transpose(value, toFront);
    Shape frontShape(b.dims(front));
    int64_t columns = elementCount(frontShape) / shape[dim];
    FailureOr<Value> indices = b.data(chosen[dim], {1, result[dim]}, 32);
    if (failed(indices))
      return failure();
    Value gathered = b.gather(b.reshape(front, {1, shape[dim], columns}), *indices);
    frontShape[0] = result[dim];
    value = b.transpose(b.reshape(gathered, frontShape), back);
  }
  return Stored{value, input.grid, identityOrder(input.rank())};
}

FailureOr<Stored> lowerResize(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ResizeOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  Shape shape = lowering.modelShape(*input);
  llvm::ArrayRef<int64_t> result = nn::shapeOf(op.getResult());
  SmallVector<double> scales;
  Tensor given = op.getScales() ? nn::tryReadConstant(op.getScales()) : Tensor();
  for (size_t dim = 0; dim < shape.size(); ++dim)
    scales.push_back(given && given.elementCount() == static_cast<int64_t>(shape.size())
                         ? given.valueAsDouble(static_cast<int64_t>(dim))
                         : static_cast<double>(result[dim]) / static_cast<double>(shape[dim]));
  if (op.getMode() == "nearest")
    return lowerNearest(lowering, op, *input, scales);
  std::optional<Axis> y, x;
  StringRef mode = op.getCoordinateTransformationMode();
  bool isKnown = mode == "align_corners" || mode == "asymmetric" || mode == "half_pixel" || mode == "pytorch_half_pixel";
  if (op.getMode() == "linear" && isKnown && !op.getAntialias() && input->rank() == pictureRank && result[0] == shape[0] &&
      result[1] == shape[1]) {
    y = findLinearAxis(mode, shape[2], result[2]);
    x = findLinearAxis(mode, shape[3], result[3]);
  }
  if (!x || !y)
    return lowering.refuse(op, "resizing has an integer form for nearest values, and for linear interpolation of pictures "
                               "by ratios of up to 256; found mode '" + op.getMode() + "', coordinates '" + mode + "'");
  TosaBuilder &b = lowering.b;
  Stored picture = channelsLast(lowering, *input);
  if (picture.grid.zeroPoint != 0) {
    // Weighted sums add up the zero point too, so it is taken off before.
    picture.value = b.bits(picture.value) == 8 ? b.widen(picture.value, picture.grid.zeroPoint, 16)
                                               : b.rescale(lowering.reals32(picture), 0.5, {16, 0});
    picture.grid.scale *= picture.grid.bits == 8 ? 1 : 2;
  }
  unsigned sumBits = b.bits(picture.value) == 8 ? 32 : 48;
  Value sums = resize(b, picture.value, *y, *x, result[2], result[3], sumBits, tosa::ResizeMode::BILINEAR);
  double factor = picture.grid.scale / static_cast<double>(y->numerator * x->numerator);
  return Stored{lowering.toGrid(sums, factor, request.grid), request.grid, picture.order};
}

//===----------------------------------------------------------------------===//
// Pooling
//===----------------------------------------------------------------------===//

/// The input as a picture whose last window ends at its padded end, and the pads (top, bottom, left, right).
struct Pooled {
  Stored picture;
  Shape kernel, strides, pads;
};

template <typename Op> FailureOr<Pooled> preparePool(Lowering &lowering, Op op) {
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  if (input->rank() != pictureRank || llvm::any_of(op.getDilations(), [](int64_t dilation) { return dilation != 1; }))
    return lowering.refuse(op, "pooling has an integer form over pictures without dilation only");
  TosaBuilder &b = lowering.b;
  Pooled pooled{channelsLast(lowering, *input), Shape(op.getKernelShape()), Shape(op.getStrides()), {}};
  llvm::ArrayRef<int64_t> result = nn::shapeOf(op.getResult());
  for (size_t i = 0; i < 2; ++i) {
    auto axis = static_cast<int64_t>(i) + 1;
    int64_t size = b.dims(pooled.picture.value)[i + 1], before = op.getPads()[i];
    int64_t behind = (result[i + 2] - 1) * pooled.strides[i] + pooled.kernel[i] - size - before;
    if (behind < 0)
      pooled.picture.value = b.sliceAxis(pooled.picture.value, axis, 0, size + behind);
    pooled.pads.push_back(before);
    pooled.pads.push_back(std::max<int64_t>(0, behind));
  }
  return pooled;
}

Type pooledType(TosaBuilder &b, const Pooled &pooled, Operation *op, unsigned bits) {
  llvm::ArrayRef<int64_t> result = nn::shapeOf(op->getResult(0));
  return b.tensor({result[0], result[2], result[3], result[1]}, bits);
}

FailureOr<Stored> lowerMaxPool(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::MaxPoolOp>(request.op);
  FailureOr<Pooled> pooled = preparePool(lowering, op);
  if (failed(pooled))
    return failure();
  TosaBuilder &b = lowering.b;
  Value value = b.create<tosa::MaxPool2dOp>(pooledType(b, *pooled, op, b.bits(pooled->picture.value)), pooled->picture.value,
                                            llvm::ArrayRef<int64_t>(pooled->kernel), llvm::ArrayRef<int64_t>(pooled->strides),
                                            llvm::ArrayRef<int64_t>(pooled->pads))
                    .getResult();
  return Stored{value, pooled->picture.grid, pooled->picture.order};
}

FailureOr<Stored> lowerAveragePool(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::AveragePoolOp>(request.op);
  FailureOr<Pooled> pooled = preparePool(lowering, op);
  if (failed(pooled))
    return failure();
  TosaBuilder &b = lowering.b;
  Stored &picture = pooled->picture;
  bool hasPads = llvm::any_of(pooled->pads, [](int64_t pad) { return pad != 0; });
  unsigned bits = b.bits(picture.value);
  if (hasPads && !op.getCountIncludePad()) {
    // Pads do not count, so the mean of the integers is the integer of the mean, zero point or not.
    Value zero = b.constant({0}, {1}, bits);
    Value mean = b.create<tosa::AvgPool2dOp>(pooledType(b, *pooled, op, bits), picture.value, zero, zero,
                                             llvm::ArrayRef<int64_t>(pooled->kernel), llvm::ArrayRef<int64_t>(pooled->strides),
                                             llvm::ArrayRef<int64_t>(pooled->pads), Type(b.getI32Type()))
                     .getResult();
    return lowering.convert({mean, picture.grid, picture.order}, request.grid);
  }
  // A sum over the window, rounded once.
  Value input = b.pad(picture.value, {0, 0, pooled->pads[0], pooled->pads[1], pooled->pads[2], pooled->pads[3], 0, 0},
                      picture.grid.zeroPoint);
  int64_t channels = b.dims(input)[3], window = pooled->kernel[0] * pooled->kernel[1];
  FailureOr<Value> ones = b.data(SmallVector<int64_t>(static_cast<size_t>(window * channels), 1),
                                 {pooled->kernel[0], pooled->kernel[1], channels, 1}, 8);
  if (failed(ones))
    return failure();
  unsigned sumBits = bits == 8 ? 32 : 48;
  int64_t offset = bits == 8 ? 0 : -picture.grid.zeroPoint * window;
  Value bias = b.constant(SmallVector<int64_t>(static_cast<size_t>(channels), offset), {channels}, sumBits);
  Value sum = b.create<tosa::DepthwiseConv2DOp>(pooledType(b, *pooled, op, sumBits), input, *ones, bias,
                                                b.constant({bits == 8 ? picture.grid.zeroPoint : 0}, {1}, bits),
                                                b.constant({0}, {1}, 8), llvm::ArrayRef<int64_t>{0, 0, 0, 0},
                                                llvm::ArrayRef<int64_t>(pooled->strides), llvm::ArrayRef<int64_t>{1, 1},
                                                b.getIntegerType(sumBits))
                  .getResult();
  return Stored{lowering.toGrid(sum, picture.grid.scale / static_cast<double>(window), request.grid), request.grid,
                picture.order};
}

} // namespace

void registerSamplingLowerings(LowerRegistry &registry) {
  registry["resize"] = lowerResize;
  registry["max_pool"] = lowerMaxPool;
  registry["average_pool"] = lowerAveragePool;
}

} // namespace nibble
