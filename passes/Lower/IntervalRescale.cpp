#include "passes/Lower/IntervalRescale.h"
#include "passes/Lower/IntegerConstants.h"

#include "mlir/IR/TypeUtilities.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nibble {
namespace {

using Wide = __int128;

struct Scale {
  int64_t multiplier;
  int64_t shift;
  bool isDoubleRounded = false;

  int64_t apply(int64_t value) const {
    Wide round = Wide(1) << (shift - 1);
    if (isDoubleRounded && shift > 31)
      round += value >= 0 ? Wide(1) << 30 : -(Wide(1) << 30);
    Wide scaled = (Wide(value) * multiplier + round) >> shift;
    return static_cast<int64_t>(std::clamp<Wide>(scaled, std::numeric_limits<int64_t>::min(),
                                                 std::numeric_limits<int64_t>::max()));
  }
  Interval apply(Interval values) const { return {apply(values.low), apply(values.high)}; }
};

/// Values of `bits` bits that are read without a sign.
Interval readUnsigned(Interval values, unsigned bits) {
  if (values.isPoint() && values.low < 0)
    return values + Interval::point(int64_t(1) << bits);
  return values.low < 0 ? Interval{0, Interval::ofBits(bits + 1).high} : values;
}

struct Requirements {
  std::optional<std::string> &problem;
  std::string channel = "";

  void require(llvm::StringRef subject, Interval found, Interval wanted) {
    if (!problem && !wanted.contains(found))
      problem = subject.str() + channel + " may lie in " + found.str() + ", which must be within " + wanted.str();
  }
};

constexpr Interval shifts = {2, 62};

} // namespace

Interval evaluateRescale(IntervalAnalysis &analysis, tosa::RescaleOp op, std::optional<std::string> &problem) {
  unsigned inputBits = getElementTypeOrSelf(op.getInput().getType()).getIntOrFloatBitWidth();
  unsigned outputBits = getElementTypeOrSelf(op.getType()).getIntOrFloatBitWidth();
  Interval outputRange = op.getOutputUnsigned() ? Interval{0, Interval::ofBits(outputBits + 1).high}
                                                : Interval::ofBits(outputBits);
  Tensor multipliers = readIntegers(op.getMultiplier()), shiftTensor = readIntegers(op.getShift());
  Interval inputZeroPoint = analysis.of(op.getInputZp()), outputZeroPoint = analysis.of(op.getOutputZp());
  if (!multipliers || !shiftTensor || multipliers.elementCount() == 0 ||
      multipliers.elementCount() != shiftTensor.elementCount()) {
    problem = "multiplier and shift are not constants of the same length";
    return outputRange;
  }
  if (op.getRoundingMode() == tosa::RoundingMode::INEXACT_ROUND && !problem)
    problem = "rounding is left to the target";
  Interval whole = analysis.of(op.getInput());
  if (op.getInputUnsigned()) {
    whole = readUnsigned(whole, inputBits);
    inputZeroPoint = readUnsigned(inputZeroPoint, inputBits);
  }
  if (op.getOutputUnsigned())
    outputZeroPoint = readUnsigned(outputZeroPoint, outputBits);
  SmallVector<int64_t> multiplier = multipliers.valuesAsInt64(), shift = shiftTensor.valuesAsInt64();
  // A sum of products is known by channel.
  const AccumulatorBounds *accumulator = nullptr;
  if (Operation *producer = resolveMoved(op.getInput()).getDefiningOp(); producer && multiplier.size() > 1)
    accumulator = analysis.accumulatorOf(producer);
  bool isKnownByChannel = accumulator && accumulator->channels.size() == multiplier.size();
  std::optional<Interval> result;
  for (auto [channel, factor, amount] : llvm::enumerate(multiplier, shift)) {
    Requirements requirements{problem, multiplier.size() > 1 ? " of channel " + std::to_string(channel) : ""};
    Interval input = isKnownByChannel ? accumulator->channels[channel].clampTo(whole) : whole;
    Interval value = input - inputZeroPoint;
    requirements.require("shift", Interval::point(amount), shifts);
    requirements.require("multiplier", Interval::point(factor), {0, Interval::ofBits(32).high});
    int64_t usedShift = Interval::point(amount).clampTo(shifts).low;
    if (op.getScale32())
      requirements.require("input less its zero point", value, Interval::ofBits(static_cast<unsigned>(usedShift)));
    Scale scale = {factor, usedShift, op.getRoundingMode() == tosa::RoundingMode::DOUBLE_ROUND};
    Interval scaled = scale.apply(value);
    if (factor < 0)
      std::swap(scaled.low, scaled.high);
    requirements.require("scaled value", scaled, Interval::ofBits(32));
    requirements.require("scaled value with its zero point", scaled + outputZeroPoint, Interval::ofBits(32));
    Interval output = (scaled + outputZeroPoint).clampTo(outputRange);
    result = result ? result->hull(output) : output;
  }
  // The elements of the result are signless: what is above their positive numbers is read as negative.
  Interval readable = Interval::ofBits(outputBits);
  return readable.contains(*result) ? *result : readable;
}

Interval evaluateAveragePool(IntervalAnalysis &analysis, tosa::AvgPool2dOp op, std::optional<std::string> &problem) {
  Requirements requirements{problem};
  Interval value = analysis.of(op.getInput()) - analysis.of(op.getInputZp());
  Interval zeroPoint = analysis.of(op.getOutputZp());
  Interval accumulatorRange = rangeOfType(op.getAccType());
  auto average = [&](int64_t count) {
    Interval sum = value * Interval::point(count);
    requirements.require("accumulator", sum, accumulatorRange);
    // The reciprocal that TOSA divides by, with 31 significant bits.
    int64_t bits = 32 - static_cast<int64_t>(llvm::countl_zero(static_cast<uint32_t>(count - 1)));
    int64_t multiplier = static_cast<int64_t>(((Wide(1) << 30) + 1) * (Wide(1) << bits) / count);
    Scale scale = {multiplier, 30 + bits};
    requirements.require("sum of the window", sum, Interval::ofBits(static_cast<unsigned>(scale.shift)));
    return scale.apply(sum) + zeroPoint;
  };
  int64_t whole = op.getKernel()[0] * op.getKernel()[1];
  Interval result = average(whole);
  bool isPadded = llvm::any_of(op.getPad(), [](int64_t pad) { return pad != 0; });
  for (int64_t count = isPadded ? 1 : whole; count < whole; ++count)
    result = result.hull(average(count));
  return result.clampTo(rangeOfType(op.getType()));
}

} // namespace nibble
