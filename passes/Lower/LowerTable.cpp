//===- LowerTable.cpp - functions of one value -------------------------------===//
//
// An 8-bit value has 256 integers, so a function of it is a TABLE and exactly rounded. A 16-bit value is looked
// up by its upper 9 bits in 513 knots and interpolated by its lower 7: the error is the chord's, at most
// h^2 / 8 * |f''| for knots h apart. Two things keep it small. The knots only span the part of the range where
// the function still changes, as sigmoid and tanh do near 0. And every knot is moved by half of the chord's
// error, which halves the largest.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Float/Interpreter.h"
#include "passes/Lower/Functions.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

constexpr int64_t knotCount = 513;

int64_t toInteger(double real, const Grid &grid) {
  double integer = std::nearbyint(real / grid.scale) + static_cast<double>(grid.zeroPoint);
  // Infinities saturate; what is undefined becomes the integer nearest to 0.
  if (std::isnan(real))
    integer = static_cast<double>(grid.zeroPoint);
  return static_cast<int64_t>(std::clamp(integer, static_cast<double>(grid.low), static_cast<double>(grid.high)));
}

double saturate(double real, const Grid &grid) {
  return std::isnan(real) ? 0 : std::clamp(real, grid.lowest(), grid.highest());
}

/// The part [low, high] of the input's range outside of which the function stays within a quarter of a quantum of
/// its values at the ends.
std::pair<double, double> findActivePart(llvm::ArrayRef<double> points, llvm::ArrayRef<double> values, double tolerance) {
  size_t first = 0, last = points.size() - 1;
  while (first + 1 < last && std::abs(values[first + 1] - values.front()) <= tolerance)
    ++first;
  while (last > first + 1 && std::abs(values[last - 1] - values.back()) <= tolerance)
    --last;
  return {points[first], points[last]};
}

/// The knots of a 16-bit table in steps of `unit`.
struct Entries {
  SmallVector<int64_t> values;
  double unit;
};

/// Entries and the steps between them fit 16 bits.
Entries makeEntries(llvm::ArrayRef<double> knots, const Grid &grid) {
  double largest = 0, steepest = 0;
  for (size_t knot = 0; knot < knots.size(); ++knot) {
    largest = std::max(largest, std::abs(knots[knot]));
    if (knot)
      steepest = std::max(steepest, std::abs(knots[knot] - knots[knot - 1]));
  }
  // The rounding of both ends of a step may add one.
  Entries entries{{}, std::max({largest / 32767, steepest / 32766, grid.scale / 32767})};
  for (double knot : knots)
    entries.values.push_back(static_cast<int64_t>(std::nearbyint(knot / entries.unit)));
  return entries;
}

FailureOr<Stored> lookUpNarrow(Lowering &lowering, const Stored &input, const ElementwiseFunction &function,
                               const Grid &grid) {
  SmallVector<double> points, values;
  for (int64_t integer = -128; integer < 128; ++integer)
    points.push_back(input.grid.real(integer));
  if (failed(function(points, values)))
    return failure();
  if (grid.bits != 8) {
    // The table of 8-bit values has 8-bit results; for wider ones every integer becomes a knot of the other table.
    Value index = lowering.b.rescale(input.value, 128.0, {16, 0}, 0);
    SmallVector<double> knots;
    for (int64_t knot = 0; knot < knotCount; ++knot)
      knots.push_back(saturate(values[static_cast<size_t>(std::min<int64_t>(knot, 255))], grid));
    Entries entries = makeEntries(knots, grid);
    return Stored{lowering.toGrid(lowering.b.table(index, entries.values), entries.unit / 128, grid), grid, input.order};
  }
  SmallVector<int64_t> entries;
  for (double value : values)
    entries.push_back(toInteger(value, grid));
  return Stored{lowering.b.table(input.value, entries), grid, input.order};
}

FailureOr<Stored> lookUpWide(Lowering &lowering, const Stored &input, const ElementwiseFunction &function,
                             const Grid &grid) {
  TosaBuilder &b = lowering.b;
  // Sampled finely, to see where the function changes.
  constexpr int64_t sampleCount = 4097;
  double lowest = input.grid.real(-32768), highest = input.grid.real(32767);
  SmallVector<double> points, values;
  for (int64_t i = 0; i < sampleCount; ++i)
    points.push_back(lowest + (highest - lowest) * static_cast<double>(i) / static_cast<double>(sampleCount - 1));
  if (failed(function(points, values)))
    return failure();
  for (double &value : values)
    value = saturate(value, grid);
  auto [low, high] = findActivePart(points, values, 0.25 * grid.scale);
  bool isPartial = high - low < 0.6 * (highest - lowest);
  Value index = input.value;
  // Index -32768 stands for `low`, and 2^16 steps above it lies `high`.
  double step = input.grid.scale;
  if (isPartial) {
    step = (high - low) / 65535;
    double middle = low + 32768 * step;
    Value centered = b.sub(b.widen(input.value), b.scalar(static_cast<int64_t>(std::nearbyint(middle / input.grid.scale)) +
                                                              input.grid.zeroPoint,
                                                          input.rank()));
    // The part begins at an integer of the input.
    low = std::nearbyint(middle / input.grid.scale) * input.grid.scale - 32768 * step;
    index = b.rescale(centered, input.grid.scale / step, {16, 0});
  } else {
    low = lowest;
  }
  double distance = 128 * step;
  points.clear();
  for (int64_t knot = -1; knot <= knotCount; ++knot)
    points.push_back(low + distance * static_cast<double>(knot));
  if (failed(function(points, values)))
    return failure();
  SmallVector<double> knots;
  for (size_t knot = 1; knot + 1 < values.size(); ++knot) {
    double before = saturate(values[knot - 1], grid), here = saturate(values[knot], grid),
           after = saturate(values[knot + 1], grid);
    double bend = before - 2 * here + after;
    // Beside a jump or a corner the second difference is no curvature.
    knots.push_back(std::abs(bend) < 0.01 * (grid.highest() - grid.lowest()) ? here - bend / 16 : here);
  }
  Entries entries = makeEntries(knots, grid);
  return Stored{lowering.toGrid(b.table(index, entries.values), entries.unit / 128, grid), grid, input.order};
}

} // namespace

FailureOr<Stored> lookUp(Lowering &lowering, const Stored &input, const ElementwiseFunction &function, const Grid &grid) {
  return input.grid.bits == 8 ? lookUpNarrow(lowering, input, function, grid)
                              : lookUpWide(lowering, input, function, grid);
}

LogicalResult evaluateElementwise(Operation *op, unsigned variable, llvm::ArrayRef<double> points,
                                  llvm::ArrayRef<double> constants, SmallVectorImpl<double> &values) {
  auto count = static_cast<int64_t>(points.size());
  MLIRContext *context = op->getContext();
  auto type = RankedTensorType::get({count}, Float32Type::get(context));
  SmallVector<Tensor> operands;
  SmallVector<Value> placeholders;
  Block arguments;
  size_t nextConstant = 0;
  for (unsigned i = 0; i < op->getNumOperands(); ++i) {
    Tensor tensor = Tensor::allocate(ElementType::F32, i == variable ? Shape{count} : Shape{});
    if (i == variable)
      llvm::transform(points, tensor.mutableData<float>(), [](double point) { return static_cast<float>(point); });
    else
      *tensor.mutableData<float>() = static_cast<float>(constants[nextConstant++]);
    operands.push_back(tensor);
    placeholders.push_back(arguments.addArgument(
        RankedTensorType::get(tensor.shape(), Float32Type::get(context)), op->getLoc()));
  }
  OperationState state(op->getLoc(), op->getName(), placeholders, TypeRange(type), op->getAttrs());
  state.propertiesAttr = op->getPropertiesAsAttribute();
  Operation *scalar = Operation::create(state);
  llvm::Expected<SmallVector<Tensor>> results = runtime::evaluate(scalar, operands);
  scalar->destroy();
  if (!results)
    return op->emitError(llvm::toString(results.takeError()));
  values.clear();
  for (float value : results->front().values<float>())
    values.push_back(value);
  return success();
}

static FailureOr<Stored> lowerUnary(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  return lookUp(
      lowering, *input,
      [&](llvm::ArrayRef<double> points, SmallVectorImpl<double> &values) {
        return evaluateElementwise(request.op, 0, points, {}, values);
      },
      request.grid);
}

/// max(x, 0): on one grid a clamp at the zero point.
static FailureOr<Stored> lowerRelu(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (succeeded(input))
    input = lowering.convert(*input, request.grid);
  if (failed(input))
    return failure();
  input->value = lowering.b.clamp(input->value, std::max(request.grid.zeroPoint, request.grid.low), request.grid.high);
  return input;
}

/// Whole turns are taken off the phase first: 2^16 steps of the table span one turn.
static FailureOr<Stored> lowerPeriodic(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  TosaBuilder &b = lowering.b;
  constexpr double turn = 2 * M_PI;
  double span = std::max(std::abs(input->grid.lowest()), std::abs(input->grid.highest()));
  if (span < turn / 2)
    return lowerUnary(lowering, request);
  if (span / turn > 4096)
    return lowering.refuse(request.op,
                           llvm::formatv("its argument reaches {0}, more than 4096 turns, which leaves no phase", span));
  Value phase = b.rescale(lowering.reals32(*input), input->grid.scale / turn * 65536, {32, 0});
  Value turns = b.shiftRight(phase, 16, /*round=*/false);
  Value rest = b.sub(phase, b.shiftLeft(turns, 16));
  Value index = b.rescale(b.sub(rest, b.scalar(32768, input->rank())), 1.0, {16, 0});
  SmallVector<double> points, values;
  for (int64_t knot = 0; knot < knotCount; ++knot)
    points.push_back(turn * static_cast<double>(knot) / 512);
  if (failed(evaluateElementwise(request.op, 0, points, {}, values)))
    return failure();
  // The chord of a sine lies inside by (pi / 512)^2 / 2 at most, in proportion to its value.
  double stretch = 1 + std::pow(turn / 512, 2) / 16;
  SmallVector<int64_t> entries;
  for (double value : values)
    entries.push_back(static_cast<int64_t>(std::nearbyint(value * stretch * 32760)));
  Value found = b.table(index, entries);
  return Stored{lowering.toGrid(found, 1.0 / (32760.0 * 128), request.grid), request.grid, input->order};
}

void registerTableLowerings(LowerRegistry &registry) {
  for (StringRef name : {"abs", "neg", "exp", "log", "sqrt", "reciprocal", "tanh", "sigmoid", "erf", "softplus", "softsign",
                         "hard_swish", "mish", "floor", "ceil", "round", "sign", "leaky_relu", "elu", "quick_gelu",
                         "hard_sigmoid", "gelu"})
    registry[name] = lowerUnary;
  registry["relu"] = lowerRelu;
  registry["sin"] = lowerPeriodic;
  registry["cos"] = lowerPeriodic;
}

} // namespace nibble
