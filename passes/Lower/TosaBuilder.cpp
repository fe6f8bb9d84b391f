#include "passes/Lower/TosaBuilder.h"

#include "lib/Dialect/NN/Constants.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;

namespace nibble {

RankedTensorType TosaBuilder::tensor(Dims dims, unsigned bits) {
  return RankedTensorType::get(dims, getIntegerType(bits));
}

Shape TosaBuilder::broadcast(Value a, Value b) {
  assert(rank(a) == rank(b) && "elementwise operands have one rank");
  Shape result;
  for (auto [x, y] : llvm::zip_equal(dims(a), dims(b))) {
    assert((x == y || x == 1 || y == 1) && "elementwise operands broadcast");
    result.push_back(std::max(x, y));
  }
  return result;
}

Value TosaBuilder::constant(llvm::ArrayRef<int64_t> values, Dims shape, unsigned bits) {
  RankedTensorType type = tensor(shape, bits);
  llvm::SmallVector<llvm::APInt> elements;
  elements.reserve(values.size());
  for (int64_t value : values)
    elements.emplace_back(bits, static_cast<uint64_t>(value), /*isSigned=*/bits > 1, /*implicitTrunc=*/bits == 1);
  return create<tosa::ConstOp>(type, DenseElementsAttr::get(type, elements)).getResult();
}

Value TosaBuilder::scalar(int64_t value, int64_t rank) {
  return constant({value}, Shape(static_cast<size_t>(rank), 1));
}

llvm::FailureOr<Value> TosaBuilder::weights(const Tensor &tensor) {
  llvm::Expected<Attribute> attribute = nn::makeConstantAttribute(getContext(), tensor);
  if (!attribute)
    return mlir::emitError(getLoc(), llvm::toString(attribute.takeError()));
  return create<nn::ConstantOp>(nn::typeOf(getContext(), tensor), *attribute).getResult();
}

template <typename T> static Tensor makeTensor(llvm::ArrayRef<int64_t> values, llvm::ArrayRef<int64_t> shape) {
  Tensor tensor = Tensor::allocate(ElementTypeOf<T>::value, shape);
  llvm::transform(values, tensor.mutableData<T>(), [](int64_t value) { return static_cast<T>(value); });
  return tensor;
}

llvm::FailureOr<Value> TosaBuilder::data(llvm::ArrayRef<int64_t> values, Dims shape, unsigned bits) {
  if (bits == 1 || values.size() * bits / 8 <= static_cast<size_t>(nn::inlineLimitBytes))
    return constant(values, shape, bits);
  return weights(bits == 8    ? makeTensor<int8_t>(values, shape)
                 : bits == 16 ? makeTensor<int16_t>(values, shape)
                              : makeTensor<int32_t>(values, shape));
}

Value TosaBuilder::shapeOf(Dims dims) {
  auto elements = DenseIntElementsAttr::get(RankedTensorType::get({static_cast<int64_t>(dims.size())}, getIndexType()), dims);
  auto type = tosa::shapeType::get(getContext(), static_cast<int>(dims.size()));
  return create<tosa::ConstShapeOp>(type, elements).getResult();
}

Value TosaBuilder::shiftRight(Value a, Value b, bool round) {
  return create<tosa::ArithmeticRightShiftOp>(RankedTensorType::get(broadcast(a, b), getElementTypeOrSelf(a.getType())), a, b,
                                              getBoolAttr(round))
      .getResult();
}

Value TosaBuilder::mul(Value a, Value b, int64_t shift) {
  return create<tosa::MulOp>(tensor(broadcast(a, b), 32), a, b, constant({shift}, {1}, 8)).getResult();
}

Value TosaBuilder::select(Value condition, Value a, Value b) {
  Shape shape = broadcast(a, b);
  for (auto [size, other] : llvm::zip_equal(shape, dims(condition)))
    size = std::max(size, other);
  return create<tosa::SelectOp>(RankedTensorType::get(shape, getElementTypeOrSelf(a.getType())), condition, a, b).getResult();
}

Value TosaBuilder::table(Value a, llvm::ArrayRef<int64_t> entries) {
  assert(entries.size() == (bits(a) == 8 ? 256u : 513u) && "a table has an entry per index");
  Value table = constant(entries, {static_cast<int64_t>(entries.size())}, bits(a));
  return create<tosa::TableOp>(tensor(dims(a), bits(a) == 8 ? 8 : 32), a, table).getResult();
}

Value TosaBuilder::clamp(Value a, int64_t low, int64_t high) {
  if (bits(a) == 32) {
    // TOSA's CLAMP takes 8 and 16 bits only.
    Value lifted = maximum(a, scalar(low, rank(a)));
    return minimum(lifted, scalar(high, rank(a)));
  }
  Type element = getElementTypeOrSelf(a.getType());
  return create<tosa::ClampOp>(a.getType(), a, getIntegerAttr(element, low), getIntegerAttr(element, high)).getResult();
}

Value TosaBuilder::cast(Value a, unsigned bits) { return create<tosa::CastOp>(tensor(dims(a), bits), a).getResult(); }

Value TosaBuilder::rescale(Value a, double factor, RescaleResult result, int64_t zeroPoint) {
  return rescale(a, llvm::ArrayRef<double>(factor), result, zeroPoint);
}

Value TosaBuilder::rescale(Value a, llvm::ArrayRef<double> factors, RescaleResult result, int64_t zeroPoint) {
  bool isWide = bits(a) == 48;
  llvm::SmallVector<int64_t> multipliers, shifts;
  int64_t smallestShift = 62;
  for (double factor : factors) {
    std::optional<quant::FixedPoint> fixed = quant::makeFixedPoint(factor, isWide ? 15 : 31);
    assert(fixed && "a factor of 2^29 and above has no multiplier");
    multipliers.push_back(fixed->multiplier);
    shifts.push_back(fixed->shift);
    smallestShift = std::min<int64_t>(smallestShift, fixed->shift);
  }
  // The multiplier works for values in [-2^(shift - 1), 2^(shift - 1)), whose results reach 2^29 in magnitude.
  if (!isWide && bits(a) == 32 && smallestShift < 32) {
    int64_t limit = (int64_t(1) << (smallestShift - 1)) - 1;
    Interval range = interval(a);
    if (range.low < -limit || range.high > limit)
      a = clamp(a, -limit, limit);
  }
  auto count = static_cast<int64_t>(factors.size());
  Value multiplier = constant(multipliers, {count}, isWide ? 16 : 32), shift = constant(shifts, {count}, 8);
  return create<tosa::RescaleOp>(tensor(dims(a), result.bits), a, multiplier, shift, constant({zeroPoint}, {1}, bits(a)),
                                 constant({result.zeroPoint}, {1}, result.bits), /*scale32=*/!isWide,
                                 tosa::RoundingMode::SINGLE_ROUND, /*per_channel=*/count > 1, /*input_unsigned=*/false,
                                 /*output_unsigned=*/false)
      .getResult();
}

Value TosaBuilder::widen(Value a, int64_t zeroPoint, unsigned resultBits) {
  if (bits(a) == resultBits && zeroPoint == 0)
    return a;
  if (bits(a) == 8)
    return rescale(a, 1.0, {resultBits, 0}, zeroPoint);
  // Only 8-bit operands have a zero point in TOSA.
  Value wide = bits(a) == 32 ? a : rescale(a, 1.0, {32, 0});
  return zeroPoint ? sub(wide, scalar(zeroPoint, rank(a))) : wide;
}

Value TosaBuilder::reduceSum(Value a, int64_t axis) {
  if (dims(a)[static_cast<size_t>(axis)] == 1)
    return a;
  return create<tosa::ReduceSumOp>(a, static_cast<uint32_t>(axis)).getResult();
}

Value TosaBuilder::reduceSumByRuns(Value a, int64_t axis, int64_t run, int64_t dropped) {
  Shape runs(dims(a));
  runs[static_cast<size_t>(axis)] /= run;
  Shape split = runs;
  split.insert(split.begin() + axis + 1, run);
  return reduceSum(shiftRight(reshape(reduceSum(reshape(a, split), axis + 1), runs), dropped), axis);
}

Value TosaBuilder::reduceMax(Value a, int64_t axis) {
  while (true) {
    int64_t size = dims(a)[static_cast<size_t>(axis)];
    if (size == 1)
      return a;
    // The halves overlap by one where the extent is odd.
    int64_t half = (size + 1) / 2;
    a = maximum(sliceAxis(a, axis, 0, half), sliceAxis(a, axis, size - half, half));
  }
}

Value TosaBuilder::reshape(Value a, Dims shape) {
  if (dims(a) == shape)
    return a;
  return create<tosa::ReshapeOp>(RankedTensorType::get(shape, getElementTypeOrSelf(a.getType())), a, shapeOf(shape)).getResult();
}

Value TosaBuilder::transpose(Value a, llvm::ArrayRef<int64_t> permutation) {
  llvm::SmallVector<int32_t> perms;
  Shape shape;
  bool isIdentity = true;
  // A transpose that keeps the order of all dimensions above 1 moves nothing.
  int64_t last = -1;
  for (int64_t dim : permutation) {
    perms.push_back(static_cast<int32_t>(dim));
    shape.push_back(dims(a)[static_cast<size_t>(dim)]);
    if (shape.back() == 1)
      continue;
    isIdentity &= dim > last;
    last = dim;
  }
  if (isIdentity)
    return reshape(a, shape);
  return create<tosa::TransposeOp>(RankedTensorType::get(shape, getElementTypeOrSelf(a.getType())), a,
                                   getDenseI32ArrayAttr(perms))
      .getResult();
}

Value TosaBuilder::slice(Value a, Dims starts, Dims sizes) {
  if (dims(a) == sizes)
    return a;
  return create<tosa::SliceOp>(RankedTensorType::get(sizes, getElementTypeOrSelf(a.getType())), a, shapeOf(starts),
                               shapeOf(sizes))
      .getResult();
}

Value TosaBuilder::sliceAxis(Value a, int64_t axis, int64_t start, int64_t size) {
  Shape starts(dims(a).size(), 0), sizes(dims(a));
  starts[static_cast<size_t>(axis)] = start;
  sizes[static_cast<size_t>(axis)] = size;
  return slice(a, starts, sizes);
}

Value TosaBuilder::concat(llvm::ArrayRef<Value> values, int64_t axis) {
  if (values.size() == 1)
    return values.front();
  Shape shape(dims(values.front()));
  for (Value value : values.drop_front())
    shape[static_cast<size_t>(axis)] += dims(value)[static_cast<size_t>(axis)];
  return create<tosa::ConcatOp>(RankedTensorType::get(shape, getElementTypeOrSelf(values.front().getType())), values,
                                static_cast<uint32_t>(axis))
      .getResult();
}

Value TosaBuilder::tile(Value a, Dims repeats) {
  if (llvm::all_of(repeats, [](int64_t repeat) { return repeat == 1; }))
    return a;
  Shape shape;
  for (auto [size, repeat] : llvm::zip_equal(dims(a), repeats))
    shape.push_back(size * repeat);
  return create<tosa::TileOp>(RankedTensorType::get(shape, getElementTypeOrSelf(a.getType())), a, shapeOf(repeats)).getResult();
}

Value TosaBuilder::pad(Value a, Dims pads, int64_t value) {
  // One axis after the other, as the middle one of three: the list of pads counts as a shape of twice the rank, and
  // shapes have 6 entries at most.
  for (int64_t axis = 0; axis < rank(a); ++axis) {
    int64_t before = pads[2 * static_cast<size_t>(axis)], after = pads[2 * static_cast<size_t>(axis) + 1];
    if (before == 0 && after == 0)
      continue;
    Shape shape(dims(a));
    int64_t size = shape[static_cast<size_t>(axis)];
    int64_t outer = elementCount(Dims(shape).take_front(static_cast<size_t>(axis)));
    int64_t inner = elementCount(Dims(shape).drop_front(static_cast<size_t>(axis) + 1));
    Value middle = reshape(a, {outer, size, inner});
    RankedTensorType padded = tensor({outer, size + before + after, inner}, bits(a));
    middle = create<tosa::PadOp>(padded, middle, shapeOf({0, 0, before, after, 0, 0}), constant({value}, {1}, bits(a))).getResult();
    shape[static_cast<size_t>(axis)] += before + after;
    a = reshape(middle, shape);
  }
  return a;
}

Value TosaBuilder::gather(Value values, Value indices) {
  Shape shape = {dims(values)[0], dims(indices)[1], dims(values)[2]};
  return create<tosa::GatherOp>(RankedTensorType::get(shape, getElementTypeOrSelf(values.getType())), values, indices)
      .getResult();
}

Value TosaBuilder::matmul(Value a, Value b, int64_t aZeroPoint, int64_t bZeroPoint) {
  unsigned width = bits(a);
  return create<tosa::MatMulOp>(tensor({dims(a)[0], dims(a)[1], dims(b)[2]}, width == 8 ? 32 : 48), a, b,
                                constant({aZeroPoint}, {1}, width), constant({bZeroPoint}, {1}, width))
      .getResult();
}

} // namespace nibble
