//===- LowerNormalization.cpp - LayerNorm, RMSNorm, GroupNorm ----------------===//
//
// Rows of 16 bits differ in size by orders of magnitude where activations have outliers, so that no common scale leaves bits
// for the small ones. Every row is therefore shifted up by as many bits as its largest value leaves (CLZ), the
// squares are summed, and the inverse root of the sum undoes the shift by itself: only the product of row and
// root is formed, in which the scale cancels. Epsilon is a constant on the scale of the input, so it is shifted
// with the row. Rows of 8 bits do without all that.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Functions.h"
#include "passes/Lower/Operands.h"

#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

int64_t ceilLog2(int64_t value) { return static_cast<int64_t>(std::ceil(std::log2(static_cast<double>(value)))); }

/// Rows of a tensor whose elements lie along `axes` of `value`, i32.
struct Rows {
  Value value;
  SmallVector<int64_t, 2> axes;
  /// Of one step of `value`.
  double scale;

  int64_t length(TosaBuilder &b) const {
    int64_t count = 1;
    for (int64_t axis : axes)
      count *= b.dims(value)[static_cast<size_t>(axis)];
    return count;
  }
};

/// Rows as 17-bit integers `value`, and the factor that normalizes them: real = value * factor * unit, where
/// factor is below 2^30 and has extent 1 along the rows.
struct NormalizedRows {
  Value value, factor;
  double unit;
};

Value sumOver(TosaBuilder &b, Value value, llvm::ArrayRef<int64_t> axes) {
  for (int64_t axis : axes)
    value = b.reduceSum(value, axis);
  return value;
}

/// Takes the mean off: four steps of the result are one of `rows`.
Rows subtractMean(TosaBuilder &b, const Rows &rows) {
  int64_t length = rows.length(b);
  Value fine = b.shiftLeft(rows.value, 2);
  int64_t dropped = bitsToDrop(b.magnitude(fine), length);
  Value sum = sumOver(b, b.shiftRight(fine, dropped), rows.axes);
  Value mean = b.rescale(sum, std::ldexp(1.0, static_cast<int>(dropped)) / static_cast<double>(length), {32, 0});
  return {b.sub(fine, mean), rows.axes, rows.scale / 4};
}

/// The lengths along which the squares of rows are summed, one after the other: a long row in runs of 64 elements first,
/// because bits are dropped before every sum and each dropped bit of every square is an error of the sum.
SmallVector<int64_t, 2> stageLengths(TosaBuilder &b, const Rows &rows) {
  constexpr int64_t run = 64;
  SmallVector<int64_t, 2> lengths;
  for (int64_t axis : rows.axes)
    lengths.push_back(b.dims(rows.value)[static_cast<size_t>(axis)]);
  if (lengths.size() == 1 && lengths.front() >= 8 * run && lengths.front() % run == 0)
    return {run, lengths.front() / run};
  return lengths;
}

/// The sum of the squares of 17-bit integers over `axes`, by the stages of stageLengths(). Squares have 32 bits, of which two
/// are dropped, and as many more as every stage adds.
Value sumSquares(TosaBuilder &b, Value value, llvm::ArrayRef<int64_t> axes, llvm::ArrayRef<int64_t> lengths) {
  Value sum = b.mul(value, value, ceilLog2(lengths.front()) + 2);
  if (lengths.size() == axes.size()) {
    for (auto [stage, axis] : llvm::enumerate(axes))
      sum = b.reduceSum(stage ? b.shiftRight(sum, ceilLog2(lengths[stage])) : sum, axis);
    return sum;
  }
  return b.reduceSumByRuns(sum, axes.front(), lengths[0], ceilLog2(lengths[1]));
}

FailureOr<NormalizedRows> normalize(Lowering &lowering, Operation *op, const Rows &rows, double epsilon) {
  TosaBuilder &b = lowering.b;
  int64_t length = rows.length(b), rank = b.rank(rows.value), dropped = 2;
  SmallVector<int64_t, 2> lengths = stageLengths(b, rows);
  for (int64_t stage : lengths)
    dropped += ceilLog2(stage);
  auto c = [&](int64_t value) { return b.scalar(value, rank); };

  Value largest = b.abs(rows.value);
  for (int64_t axis : rows.axes)
    largest = b.reduceMax(largest, axis);
  // The largest value of a row ends up in [2^29, 2^30), and after the shift to the right in [2^15, 2^16].
  Value shift = b.sub(b.clz(b.maximum(largest, c(1))), c(2));
  // Epsilon in steps of the sum of squares, for a shift of 0: each of its bits counts twice.
  double epsilonAtZero = epsilon / (rows.scale * rows.scale) * static_cast<double>(length) *
                         std::ldexp(1.0, -static_cast<int>(dropped) - 28);
  int64_t largestShift = 29;
  while (largestShift > 0 && epsilonAtZero * std::ldexp(1.0, 2 * static_cast<int>(largestShift)) >= (1 << 30) - 1)
    --largestShift;
  if (epsilonAtZero >= (1 << 30) - 1)
    return lowering.refuse(op, llvm::formatv("its epsilon of {0} is out of proportion to steps of {1}", epsilon, rows.scale));
  shift = b.minimum(shift, c(largestShift));
  Value value = b.shiftRight(b.shiftLeft(rows.value, shift), 14);

  Value squares = sumSquares(b, value, rows.axes, lengths);
  auto epsilonAtLargest =
      static_cast<int64_t>(std::nearbyint(epsilonAtZero * std::ldexp(1.0, 2 * static_cast<int>(largestShift))));
  Value down = b.minimum(b.shiftLeft(b.sub(c(largestShift), shift), 1), c(31));
  Value total = b.maximum(b.add(squares, b.shiftRight(c(epsilonAtLargest), down)), c(1));
  InverseRoot root = inverseRoot(b, total);
  // A row's largest square alone is 2^(30 - dropped), which bounds the shift; rows of zeros may have any factor.
  int64_t largestHalf = dropped / 2;
  Value factor = b.shiftRight(root.mantissa, b.sub(c(largestHalf), b.minimum(root.halfShift, c(largestHalf))));
  double unit = std::sqrt(static_cast<double>(length)) * std::pow(2.0, -static_cast<double>(dropped) / 2) *
                std::pow(2.0, static_cast<double>(largestHalf) - 44.5);
  return NormalizedRows{value, factor, unit};
}

/// Rows of 8-bit integers need no scale of their own: the sums of them and of their squares are exact or nearly so, and
/// the variance follows from both. `x` is the integers less their zero point, i32, in steps of `scale`. This takes a
/// third of the operators over all elements that normalize() takes.
FailureOr<NormalizedRows> normalizeBytes(Lowering &lowering, Operation *op, const Rows &x, double epsilon,
                                         bool takesMean) {
  TosaBuilder &b = lowering.b;
  int64_t length = x.length(b), rank = b.rank(x.value);
  auto c = [&](int64_t value) { return b.scalar(value, rank); };
  int64_t magnitude = b.magnitude(x.value), dropped = bitsToDrop(magnitude * magnitude, length);
  auto largest = static_cast<double>(magnitude);
  // The variance gets as many fraction bits as leave it below 2^30 together with epsilon.
  double epsilonInSteps = epsilon / (x.scale * x.scale);
  int64_t fractionBits = 14;
  while (fractionBits >= 0 && std::ldexp(largest * largest + epsilonInSteps, static_cast<int>(fractionBits)) >= (1 << 30) - 1)
    --fractionBits;
  if (fractionBits < 0)
    return lowering.refuse(op, llvm::formatv("its epsilon of {0} is out of proportion to steps of {1}", epsilon, x.scale));
  double unitOfVariance = std::ldexp(1.0, static_cast<int>(fractionBits)) / static_cast<double>(length);
  Value squares = sumOver(b, b.mul(x.value, x.value, dropped), x.axes);
  Value variance = b.rescale(squares, std::ldexp(unitOfVariance, static_cast<int>(dropped)), {32, 0});
  // Seven fraction bits make 17-bit integers of the elements.
  constexpr int64_t elementBits = 7, meanBits = 20;
  Value value = b.shiftLeft(x.value, elementBits);
  if (takesMean) {
    Value sum = sumOver(b, x.value, x.axes);
    Value mean = b.rescale(sum, std::ldexp(1.0, meanBits) / static_cast<double>(length), {32, 0});
    variance = b.sub(variance, b.mul(mean, mean, 2 * meanBits - fractionBits));
    value = b.sub(value, b.shiftRight(mean, meanBits - elementBits));
  }
  auto epsilonBits = static_cast<int64_t>(std::nearbyint(std::ldexp(epsilonInSteps, static_cast<int>(fractionBits))));
  int64_t smallest = std::max<int64_t>(epsilonBits, 1);
  Value total = b.maximum(b.add(variance, c(epsilonBits)), c(smallest));
  InverseRoot root = inverseRoot(b, total);
  // 1 / sqrt(total) = mantissa * 2^(halfShift - 44.5); the smallest total has the largest shift.
  int64_t largestHalf = (30 - static_cast<int64_t>(std::floor(std::log2(static_cast<double>(smallest))))) / 2;
  Value factor = b.shiftRight(root.mantissa, b.sub(c(largestHalf), b.minimum(root.halfShift, c(largestHalf))));
  double unit = std::pow(2.0, static_cast<double>(largestHalf) - 44.5 + static_cast<double>(fractionBits) / 2 - elementBits);
  return NormalizedRows{value, factor, unit};
}

/// Rows of `bits` wide integers, normalized with or without their mean taken off.
FailureOr<NormalizedRows> normalizeRows(Lowering &lowering, Operation *op, const Rows &rows, unsigned bits,
                                        double epsilon, bool takesMean) {
  if (bits == 8)
    return normalizeBytes(lowering, op, rows, epsilon, takesMean);
  return normalize(lowering, op, takesMean ? subtractMean(lowering.b, rows) : rows, epsilon);
}

/// Reals of a constant parameter, one per element.
FailureOr<std::vector<double>> readParameter(Lowering &lowering, Operation *op, Value value, StringRef what) {
  StoredConstant constant = lowering.findConstant(value);
  if (!constant)
    return lowering.refuse(op, "its " + what + " is not constant");
  Tensor reals = constant.reals();
  std::vector<double> result;
  for (int64_t i = 0; i < reals.elementCount(); ++i)
    result.push_back(reals.valueAsDouble(i));
  return result;
}

/// Integers that stand for `reals` in steps of the returned unit, below 2^bits.
struct Integers {
  SmallVector<int64_t> values;
  double unit;
};
Integers toIntegers(llvm::ArrayRef<double> reals, unsigned bits) {
  double largest = 1e-30;
  for (double real : reals)
    largest = std::max(largest, std::abs(real));
  Integers result{{}, largest / static_cast<double>((int64_t(1) << bits) - 1)};
  for (double real : reals)
    result.values.push_back(static_cast<int64_t>(std::nearbyint(real / result.unit)));
  return result;
}

/// product + offset, the product being i32 up to 2^30 in steps of `unit`; it gives up bits where the offset needs
/// more room.
struct Scaled {
  Value value;
  double unit;
};
FailureOr<Scaled> addOffset(Lowering &lowering, Scaled product, llvm::ArrayRef<double> offset, llvm::ArrayRef<int64_t> shape) {
  if (offset.empty())
    return product;
  TosaBuilder &b = lowering.b;
  double largest = 0;
  for (double real : offset)
    largest = std::max(largest, std::abs(real));
  int64_t dropped = std::max<int64_t>(0, static_cast<int64_t>(std::ceil(std::log2(std::max(1e-30, largest / product.unit) / (1 << 29)))));
  product.value = b.shiftRight(product.value, dropped);
  product.unit *= std::ldexp(1.0, static_cast<int>(dropped));
  SmallVector<int64_t> integers;
  for (double real : offset)
    integers.push_back(static_cast<int64_t>(std::nearbyint(real / product.unit)));
  FailureOr<Value> constant = b.data(integers, shape, 32);
  if (failed(constant))
    return failure();
  product.value = b.add(product.value, *constant);
  return product;
}

/// LayerNorm and RMSNorm: scale and bias run along the rows.
FailureOr<Stored> lowerRowNorm(Lowering &lowering, const LoweringRequest &request, int64_t axis, double epsilon,
                               Value scale, Value bias, bool takesMean) {
  Operation *op = request.op;
  FailureOr<Stored> input = lowering.find(op->getOperand(0));
  FailureOr<std::vector<double>> gamma = readParameter(lowering, op, scale, "scale");
  if (failed(input) || failed(gamma))
    return failure();
  std::vector<double> beta;
  if (bias) {
    FailureOr<std::vector<double>> read = readParameter(lowering, op, bias, "bias");
    if (failed(read))
      return failure();
    beta = std::move(*read);
  }
  TosaBuilder &b = lowering.b;
  Shape model = lowering.modelShape(*input);
  int64_t first = countFromFront(axis, input->rank());
  Shape merged(llvm::ArrayRef<int64_t>(model).take_front(static_cast<size_t>(first)));
  merged.push_back(elementCount(llvm::ArrayRef<int64_t>(model).drop_front(static_cast<size_t>(first))));
  Stored joined = lowering.reshape(*input, merged);
  int64_t length = merged.back(), position = joined.position(first);
  if (gamma->size() == 1)
    gamma->assign(static_cast<size_t>(length), gamma->front());
  if (static_cast<int64_t>(gamma->size()) != length || (bias && static_cast<int64_t>(beta.size()) != length))
    return lowering.refuse(op, "its scale or bias has another size than the " + Twine(length) + " normalized elements");

  Rows rows{lowering.reals32(joined), {position}, joined.grid.scale};
  FailureOr<NormalizedRows> normalized = normalizeRows(lowering, op, rows, joined.grid.bits, epsilon, takesMean);
  if (failed(normalized))
    return failure();
  // 17 by 30 bits leave 30 behind the shift.
  Value unscaled = b.mul(normalized->value, normalized->factor, 16);
  Integers weights = toIntegers(*gamma, 20);
  Shape parameterShape(static_cast<size_t>(b.rank(unscaled)), 1);
  parameterShape[static_cast<size_t>(position)] = length;
  FailureOr<Value> constant = b.data(weights.values, parameterShape, 32);
  if (failed(constant))
    return failure();
  Scaled product{b.mul(unscaled, *constant, 21), normalized->unit * 65536 * weights.unit * 2097152};
  FailureOr<Scaled> result = addOffset(lowering, product, beta, parameterShape);
  if (failed(result))
    return failure();
  Stored stored{lowering.toGrid(result->value, result->unit, request.grid), request.grid, joined.order};
  return lowering.reshape(stored, model);
}

FailureOr<Stored> lowerLayerNorm(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::LayerNormalizationOp>(request.op);
  return lowerRowNorm(lowering, request, op.getAxis(), op.getEpsilon().convertToFloat(), op.getScale(), op.getBias(),
                      /*takesMean=*/true);
}

FailureOr<Stored> lowerRMSNorm(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::RMSNormalizationOp>(request.op);
  return lowerRowNorm(lowering, request, op.getAxis(), op.getEpsilon().convertToFloat(), op.getScale(), {},
                      /*takesMean=*/false);
}

/// Norms over the pixels of a group of channels, with a scale and bias per channel: both go into the factor and an
/// offset per channel, so that every pixel takes one product and one sum.
FailureOr<Stored> lowerGroupNorm(Lowering &lowering, const LoweringRequest &request, int64_t groups, double epsilon) {
  Operation *op = request.op;
  FailureOr<Stored> input = lowering.find(op->getOperand(0));
  FailureOr<std::vector<double>> gamma = readParameter(lowering, op, op->getOperand(1), "scale");
  FailureOr<std::vector<double>> beta = readParameter(lowering, op, op->getOperand(2), "bias");
  if (failed(input) || failed(gamma) || failed(beta))
    return failure();
  TosaBuilder &b = lowering.b;
  llvm::SmallVector<int64_t, 6> order = {0};
  for (int64_t dim = 2; dim < input->rank(); ++dim)
    order.push_back(dim);
  order.push_back(1);
  Value value = lowering.inOrder(*input, order);
  Shape stored(b.dims(value));
  int64_t channels = stored.back(), perGroup = channels / groups;
  int64_t pixels = elementCount(stored) / stored.front() / channels;
  Value grouped = b.reshape(value, {stored.front(), pixels, groups, perGroup});
  Rows rows{lowering.reals32(grouped, input->grid), {1, 3}, input->grid.scale};
  FailureOr<NormalizedRows> normalized =
      normalizeRows(lowering, op, rows, input->grid.bits, epsilon, /*takesMean=*/true);
  if (failed(normalized))
    return failure();
  Shape parameterShape = {1, 1, groups, perGroup};
  Integers weights = toIntegers(*gamma, 20);
  FailureOr<Value> constant = b.data(weights.values, parameterShape, 32);
  if (failed(constant))
    return failure();
  Value factor = b.mul(normalized->factor, *constant, 20);
  Scaled product{b.mul(normalized->value, factor, 16), normalized->unit * 65536 * weights.unit * 1048576};
  FailureOr<Scaled> result = addOffset(lowering, product, *beta, parameterShape);
  if (failed(result))
    return failure();
  Value rounded = lowering.toGrid(result->value, result->unit, request.grid);
  return Stored{b.reshape(rounded, stored), request.grid, order};
}

FailureOr<Stored> lowerGroupNormalization(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::GroupNormalizationOp>(request.op);
  return lowerGroupNorm(lowering, request, op.getNumGroups(), op.getEpsilon().convertToFloat());
}

FailureOr<Stored> lowerInstanceNorm(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::InstanceNormalizationOp>(request.op);
  return lowerGroupNorm(lowering, request, nn::shapeOf(op.getInput())[1], op.getEpsilon().convertToFloat());
}

/// Constants throughout: a factor and an offset per channel.
FailureOr<Stored> lowerBatchNorm(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::BatchNormalizationOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  std::vector<double> parameters[4];
  for (auto [i, operand] : llvm::enumerate(op->getOperands().drop_front())) {
    FailureOr<std::vector<double>> read = readParameter(lowering, op, operand, "scale, bias, mean or variance");
    if (failed(read))
      return failure();
    parameters[i] = std::move(*read);
  }
  auto &[scale, bias, mean, variance] = parameters;
  for (size_t i = 0; i < scale.size(); ++i) {
    scale[i] /= std::sqrt(variance[i] + op.getEpsilon().convertToFloat());
    bias[i] -= mean[i] * scale[i];
  }
  TosaBuilder &b = lowering.b;
  Value value = lowering.reals32(*input);
  Shape parameterShape(static_cast<size_t>(input->rank()), 1);
  parameterShape[static_cast<size_t>(input->position(1))] = static_cast<int64_t>(scale.size());
  // 17 by 20 bits leave 30 behind the shift.
  Integers weights = toIntegers(scale, 20);
  FailureOr<Value> constant = b.data(weights.values, parameterShape, 32);
  if (failed(constant))
    return failure();
  Scaled product{b.mul(value, *constant, 7), input->grid.scale * weights.unit * 128};
  FailureOr<Scaled> result = addOffset(lowering, product, bias, parameterShape);
  if (failed(result))
    return failure();
  return Stored{lowering.toGrid(result->value, result->unit, request.grid), request.grid, input->order};
}

} // namespace

void registerNormalizationLowerings(LowerRegistry &registry) {
  registry["layer_normalization"] = lowerLayerNorm;
  registry["rms_normalization"] = lowerRMSNorm;
  registry["group_normalization"] = lowerGroupNormalization;
  registry["instance_normalization"] = lowerInstanceNorm;
  registry["batch_normalization"] = lowerBatchNorm;
}

} // namespace nibble
