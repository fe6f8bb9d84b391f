//===- LowerSoftmax.cpp - exponentials over their sum ------------------------===//
//
// exp(x - max) is a TABLE of the 256 differences of 8-bit scores, and a power of two for 16-bit scores: the whole
// part of the exponent is a shift, its fraction a TABLE over one octave. Both give 22 bits. Sums stay in 32 bits by
// adding 256 values at most before bits are dropped. Scores that lie as far below the largest as the masks of
// attention do come out as exactly zero: what is left of their exponential is less than half a step.
//
//===----------------------------------------------------------------------===//
#include "passes/Lower/Functions.h"
#include "passes/Lower/Operands.h"

#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

/// exp(0) as the tables give it: 15 bits, and 7 more from the interpolation.
constexpr int64_t one = 32767 * 128;
constexpr int64_t summandsPerStage = 256;

/// exp(scale * (x - max)) for 8-bit integers, in 22 bits.
Value exponentialOfBytes(TosaBuilder &b, Value x, double scale, int64_t axis) {
  Value wide = b.widen(x);
  Value difference = b.sub(wide, b.reduceMax(wide, axis));
  Value index = b.rescale(difference, 128.0, {16, 0});
  SmallVector<int64_t> entries;
  for (int64_t knot = 0; knot < 513; ++knot) {
    double distance = static_cast<double>(std::min<int64_t>(knot - 256, 0));
    entries.push_back(static_cast<int64_t>(std::nearbyint(32767 * std::exp(scale * distance))));
  }
  return b.table(index, entries);
}

/// The same for values of more bits: 2^-(k + f), k by a shift and f in [0, 1) by a table.
Value exponentialOfWords(TosaBuilder &b, Value x, double scale, int64_t axis) {
  int64_t rank = b.rank(x);
  Value distance = b.sub(b.reduceMax(x, axis), x);
  Value exponent = b.rescale(distance, scale * M_LOG2E * 65536, {32, 0});
  Value whole = b.shiftRight(exponent, 16, /*round=*/false);
  Value fraction = b.sub(exponent, b.shiftLeft(whole, 16));
  Value index = b.rescale(b.sub(fraction, b.scalar(32768, rank)), 1.0, {16, 0});
  SmallVector<int64_t> entries;
  double chord = std::pow(M_LN2 / 512, 2) / 16;
  for (int64_t knot = 0; knot < 513; ++knot)
    entries.push_back(static_cast<int64_t>(std::nearbyint(32767 * std::exp2(-static_cast<double>(knot) / 512) * (1 - chord))));
  return b.shiftRight(b.table(index, entries), b.minimum(whole, b.scalar(31, rank)));
}

/// The sum over `axis`, divided by 2^dropped.
struct Sum {
  Value value;
  int64_t dropped;
};
Sum sumUp(TosaBuilder &b, Value e, int64_t axis) {
  int64_t count = b.dims(e)[static_cast<size_t>(axis)];
  if (count <= summandsPerStage)
    return {b.reduceSum(e, axis), 0};
  int64_t dropped = static_cast<int64_t>(std::ceil(std::log2(static_cast<double>(count)))) - 8;
  int64_t stage = summandsPerStage;
  while (count % stage)
    --stage;
  Value total;
  if (stage >= 16 && axis + 1 == b.rank(e) && b.rank(e) < 6) {
    Shape split(b.dims(e)), joined(b.dims(e));
    split.back() = count / stage;
    joined.back() = count / stage;
    split.push_back(stage);
    Value partial = b.reshape(b.reduceSum(b.reshape(e, split), axis + 1), joined);
    total = b.reduceSum(b.shiftRight(partial, dropped), axis);
  } else {
    for (int64_t start = 0; start < count; start += summandsPerStage) {
      Value part = b.sliceAxis(e, axis, start, std::min(summandsPerStage, count - start));
      Value partial = b.shiftRight(b.reduceSum(part, axis), dropped);
      total = total ? b.add(total, partial) : partial;
    }
  }
  return {total, dropped};
}

FailureOr<Stored> lowerSoftmax(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::SoftmaxOp>(request.op);
  FailureOr<Stored> input = lowering.find(op.getInput());
  if (failed(input))
    return failure();
  TosaBuilder &b = lowering.b;
  int64_t rank = input->rank(), axis = input->position(countFromFront(op.getAxis(), rank));
  Value e = input->grid.bits == 8 ? exponentialOfBytes(b, input->value, input->grid.scale, axis)
                                  : exponentialOfWords(b, b.widen(input->value), input->grid.scale, axis);
  Sum sum = sumUp(b, e, axis);
  // Every row holds exp(0); the maximum only says so to whoever checks ranges.
  Reciprocal inverse = reciprocal(b, b.maximum(sum.value, b.scalar(one >> sum.dropped, rank)));
  // e / sum = e * mantissa * 2^(shift - 60 - dropped); shift is 9 + dropped at most.
  Value down = b.sub(b.scalar(9 + sum.dropped, rank), inverse.shift);
  Value factor = b.shiftRight(inverse.mantissa, b.maximum(down, b.scalar(0, rank)));
  Value probability = b.mul(e, factor, 23);
  return Stored{lowering.toGrid(probability, std::ldexp(1.0, -28), request.grid), request.grid, input->order};
}

} // namespace

void registerSoftmaxLowerings(LowerRegistry &registry) { registry["softmax"] = lowerSoftmax; }

} // namespace nibble
