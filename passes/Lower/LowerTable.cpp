//===- LowerTable.cpp - functions of one value -------------------------------===//
//
// An 8-bit value has 256 integers, so a function of it is a TABLE and exactly rounded. 16-bit values are interpolated
// between knots (InterpolatedTable.h), where whole numbers are not what the function makes.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Float/Interpreter.h"
#include "passes/Lower/InterpolatedTable.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

double saturate(double real, const Grid &grid) {
  return std::isnan(real) ? 0 : std::clamp(real, grid.lowest(), grid.highest());
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
    for (int64_t knot = 0; knot < InterpolatedTable::knotCount; ++knot)
      knots.push_back(saturate(values[static_cast<size_t>(std::min<int64_t>(knot, 255))], grid));
    InterpolatedTable table;
    table.setKnots(knots, grid);
    return Stored{lowering.toGrid(lowering.b.table(index, table.entries), table.unit / 128, grid), grid, input.order};
  }
  SmallVector<int64_t> entries;
  for (double value : values)
    entries.push_back(grid.nearest(value));
  return Stored{lowering.b.table(input.value, entries), grid, input.order};
}

/// The index of a TABLE, whose knots span the whole range or a part of it.
Value indexInto(TosaBuilder &b, const InterpolatedTable &table, Value input, Value wide) {
  if (table.center == 0 && table.step == 1)
    return input;
  Value centered = b.sub(wide, b.scalar(static_cast<int64_t>(table.center), b.rank(wide)));
  return b.rescale(centered, 1 / table.step, {16, 0});
}

FailureOr<Stored> lookUpWide(Lowering &lowering, const Stored &input, const ElementwiseFunction &function,
                             const Grid &grid) {
  TosaBuilder &b = lowering.b;
  FailureOr<SmallVector<InterpolatedTable>> tables = planTables(function, input.grid, grid);
  if (failed(tables))
    return failure();
  Value wide = b.widen(input.value), sum;
  double unit = tables->front().unit / 128;
  for (const InterpolatedTable &table : *tables) {
    Value found = b.table(indexInto(b, table, input.value, wide), table.entries);
    sum = sum ? b.add(sum, b.rescale(found, table.unit / 128 / unit, {32, 0})) : found;
  }
  return Stored{lowering.toGrid(sum, unit, grid), grid, input.order};
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

FailureOr<Stored> lowerUnary(Lowering &lowering, const LoweringRequest &request) {
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

/// Functions whose results are whole numbers. A table would slope where they jump.
static FailureOr<Stored> lowerToWhole(Lowering &lowering, const LoweringRequest &request) {
  FailureOr<Stored> input = lowering.find(request.op->getOperand(0));
  if (failed(input))
    return failure();
  if (input->grid.bits == 8)
    return lowerUnary(lowering, request);
  TosaBuilder &b = lowering.b;
  int64_t rank = input->rank();
  Value value = lowering.reals32(*input);
  if (isa<nn::SignOp>(request.op))
    return Stored{lowering.toGrid(b.clamp(value, -1, 1), 1, request.grid), request.grid, input->order};
  double reach = std::max(std::abs(input->grid.lowest()), std::abs(input->grid.highest())) + 1;
  int64_t fraction = 29 - static_cast<int64_t>(std::ceil(std::log2(reach)));
  if (fraction < 1)
    return lowering.refuse(request.op, llvm::formatv("its argument reaches {0}, which leaves no fraction", reach));
  Value fine = b.rescale(value, std::ldexp(input->grid.scale, static_cast<int>(fraction)), {32, 0});
  auto floor = [&](Value x) { return b.shiftRight(x, fraction, /*round=*/false); };
  Value whole;
  if (isa<nn::FloorOp>(request.op)) {
    whole = floor(fine);
  } else if (isa<nn::CeilOp>(request.op)) {
    whole = b.negative(floor(b.negative(fine)));
  } else {
    // Halves go to the even neighbour: where the fraction is one half, odd results go down by one.
    Value raised = b.add(fine, b.scalar(int64_t(1) << (fraction - 1), rank));
    whole = floor(raised);
    Value isHalf = b.cast(b.compare<tosa::EqualOp>(b.shiftLeft(whole, fraction), raised), 32);
    Value odd = b.sub(whole, b.shiftLeft(b.shiftRight(whole, 1, /*round=*/false), 1));
    whole = b.sub(whole, b.mul(isHalf, odd));
  }
  return Stored{lowering.toGrid(whole, 1, request.grid), request.grid, input->order};
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
  for (int64_t knot = 0; knot < InterpolatedTable::knotCount; ++knot)
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
  for (StringRef name : {"abs", "neg", "exp", "log", "sqrt", "tanh", "sigmoid", "erf", "softplus", "softsign",
                         "hard_swish", "mish", "leaky_relu", "elu", "quick_gelu",
                         "hard_sigmoid", "gelu"})
    registry[name] = lowerUnary;
  for (StringRef name : {"floor", "ceil", "round", "sign"})
    registry[name] = lowerToWhole;
  registry["relu"] = lowerRelu;
  registry["sin"] = lowerPeriodic;
  registry["cos"] = lowerPeriodic;
}

} // namespace nibble
