#include "passes/Lower/InterpolatedTable.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;

namespace nibble {

double InterpolatedTable::operator()(double input) const {
  double index = std::clamp((input - center) / step, -32768.0, 32767.0) + 32768;
  auto knot = static_cast<size_t>(index / 128);
  double before = static_cast<double>(entries[knot]), after = static_cast<double>(entries[knot + 1]);
  return unit * (before + (after - before) * (index / 128 - static_cast<double>(knot)));
}

void InterpolatedTable::setKnots(llvm::ArrayRef<double> knots, const Grid &output) {
  double largest = 0, steepest = 0;
  for (size_t knot = 0; knot < knots.size(); ++knot) {
    largest = std::max(largest, std::abs(knots[knot]));
    if (knot)
      steepest = std::max(steepest, std::abs(knots[knot] - knots[knot - 1]));
  }
  // The rounding of both ends of a step may add one.
  unit = std::max({largest / 32767, steepest / 32766, output.scale / 32767});
  entries.clear();
  for (double knot : knots)
    entries.push_back(static_cast<int64_t>(std::nearbyint(knot / unit)));
}

namespace {

/// Knots one integer apart: nothing is interpolated.
constexpr double exactStep = 1.0 / 128;

using Tables = llvm::ArrayRef<InterpolatedTable>;

double sumOf(Tables tables, double input) {
  double sum = 0;
  for (const InterpolatedTable &table : tables)
    sum += table(input);
  return sum;
}

/// A function of input integers, which ascend, kept within the range of its result.
class RealFunction {
public:
  RealFunction(const ElementwiseFunction &function, const Grid &input, const Grid &output)
      : function(function), input(input), output(output) {}

  FailureOr<SmallVector<double>> at(llvm::ArrayRef<double> integers) const {
    SmallVector<double> points, values;
    for (double integer : integers)
      points.push_back(input.scale * (integer - static_cast<double>(input.zeroPoint)));
    if (failed(function(points, values)))
      return failure();
    // What is undefined has the value of its neighbour, which makes no edge.
    double next = 0;
    if (auto defined = llvm::find_if(values, [](double value) { return !std::isnan(value); }); defined != values.end())
      next = *defined;
    for (double &value : values) {
      next = std::isnan(value) ? next : value;
      value = std::clamp(next, output.lowest(), output.highest());
    }
    return values;
  }

  /// The values at the knots of `table`, each moved by half of the error of the chords beside it.
  FailureOr<SmallVector<double>> atKnots(const InterpolatedTable &table) const {
    SmallVector<double> positions;
    for (int64_t knot = -1; knot <= InterpolatedTable::knotCount; ++knot)
      positions.push_back(table.knotPosition(knot));
    FailureOr<SmallVector<double>> values = at(positions);
    if (failed(values))
      return failure();
    SmallVector<double> knots;
    for (size_t knot = 1; knot + 1 < values->size(); ++knot) {
      double bend = (*values)[knot - 1] - 2 * (*values)[knot] + (*values)[knot + 1];
      // Beside a jump or a corner the second difference is no curvature.
      bool isSmooth = std::abs(bend) < 0.01 * (output.highest() - output.lowest()) && table.step > exactStep;
      knots.push_back((*values)[knot] - (isSmooth ? bend / 16 : 0));
    }
    return knots;
  }

private:
  const ElementwiseFunction &function;
  const Grid &input, &output;
};

/// A span of positions in the list of input integers, both included.
struct Span {
  size_t first, last;
  size_t length() const { return last - first + 1; }
};

/// Where the function is more than `tolerance` from its values at the ends.
Span findActivePart(llvm::ArrayRef<double> values, double tolerance) {
  Span span{0, values.size() - 1};
  while (span.first + 1 < span.last && std::abs(values[span.first + 1] - values.front()) <= tolerance)
    ++span.first;
  while (span.last > span.first + 1 && std::abs(values[span.last - 1] - values.back()) <= tolerance)
    --span.last;
  return span;
}

/// A table without entries whose knots span `length` integers from `first` on; knots are one integer apart at least.
InterpolatedTable spread(double first, double length) {
  InterpolatedTable table;
  // A whole number of indices per integer, so that no index is rounded: where the function is steep, half an index is
  // several quanta of it. The rescale to the index subtracts an integer.
  double perInteger = std::clamp(std::floor(65535 / (length + 1)), 1.0, 128.0);
  table.step = 1 / perInteger;
  table.center = std::floor(first + 32768 * table.step);
  return table;
}

struct Misses {
  size_t count = 0;
  Span span{0, 0};
  double largest = 0;
};

Misses findMisses(Tables tables, llvm::ArrayRef<double> integers, llvm::ArrayRef<double> values, double tolerance) {
  Misses misses;
  for (size_t i = 0; i < integers.size(); ++i) {
    double error = std::abs(values[i] - sumOf(tables, integers[i]));
    misses.largest = std::max(misses.largest, error);
    if (error > tolerance)
      misses.span = {misses.count++ ? misses.span.first : i, i};
  }
  return misses;
}

} // namespace

FailureOr<SmallVector<InterpolatedTable>> planTables(const ElementwiseFunction &function, const Grid &input,
                                                     const Grid &output) {
  constexpr size_t mostTables = 3;
  RealFunction real(function, input, output);
  SmallVector<double> integers;
  for (int64_t integer = input.low; integer <= input.high; ++integer)
    integers.push_back(static_cast<double>(integer));
  FailureOr<SmallVector<double>> values = real.at(integers);
  if (failed(values))
    return failure();

  SmallVector<InterpolatedTable> tables;
  Span active = findActivePart(*values, 0.25 * output.scale);
  if (active.length() < integers.size() / 2)
    tables.push_back(spread(integers[active.first], static_cast<double>(active.length() - 1)));
  else
    tables.emplace_back();
  FailureOr<SmallVector<double>> knots = real.atKnots(tables.front());
  if (failed(knots))
    return failure();
  tables.front().setKnots(*knots, output);

  // What is repaired at all is repaired a little further.
  double tolerance = 1.5 * output.scale, limit = 2 * output.scale;
  Misses misses = findMisses(tables, integers, *values, tolerance);
  size_t covered = active.length();
  while (misses.largest > limit && tables.size() < mostTables) {
    Span part{misses.span.first - (misses.span.first > 0), std::min(misses.span.last + 1, integers.size() - 1)};
    if (2 * part.length() > covered)
      break;
    covered = part.length();
    InterpolatedTable more = spread(integers[part.first], static_cast<double>(covered - 1));
    if (failed(knots = real.atKnots(more)))
      return failure();
    for (auto [knot, value] : llvm::enumerate(*knots))
      value -= sumOf(tables, more.knotPosition(static_cast<int64_t>(knot)));
    // Indices beyond the part have the value of its ends.
    if (part.first > 0)
      knots->front() = 0;
    if (part.last + 1 < integers.size())
      knots->back() = 0;
    more.setKnots(*knots, output);
    tables.push_back(std::move(more));
    Misses left = findMisses(tables, integers, *values, tolerance);
    if (left.count >= misses.count) {
      tables.pop_back();
      break;
    }
    misses = left;
  }
  return tables;
}

} // namespace nibble
