//===- Intervals.h - where the values of an integer program lie --------------===//
//
// TOSA leaves it to the compiler that no accumulator overflows and that every
// rescale gets what it is specified for. This analysis bounds each tensor of an
// integer program by one interval, from the types of the inputs, the constants
// and the structure of the program alone.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_LOWER_INTERVALS_H
#define NIBBLE_PASSES_LOWER_INTERVALS_H

#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"
#include <limits>
#include <memory>
#include <optional>
#include <string>

namespace nibble {

/// The integers from `low` to `high`, both included. Arithmetic saturates at the ends of int64.
struct Interval {
  int64_t low = std::numeric_limits<int64_t>::min();
  int64_t high = std::numeric_limits<int64_t>::max();

  static Interval point(int64_t value) { return {value, value}; }
  /// What `bits` bits hold in two's complement; one bit holds 0 and 1. `bits` in [1, 64].
  static Interval ofBits(unsigned bits);

  bool isPoint() const { return low == high; }
  bool contains(Interval other) const { return low <= other.low && other.high <= high; }
  bool operator==(const Interval &other) const = default;
  Interval hull(Interval other) const { return {std::min(low, other.low), std::max(high, other.high)}; }
  /// The common part; one of the ends where there is none, as the code that asks is then never reached.
  Interval intersect(Interval other) const;
  /// Every value moved into `other`.
  Interval clampTo(Interval other) const;
  /// "[low, high]".
  std::string str() const;
};

Interval operator+(Interval x, Interval y);
Interval operator-(Interval x, Interval y);
Interval operator*(Interval x, Interval y);

/// What an element of `type` can hold (shaped or not); everything for types that are not integers.
Interval rangeOfType(mlir::Type type);

/// Bounds of a sum of products with its bias.
struct AccumulatorBounds {
  Interval result;
  /// Every sum of a part of the products, which bounds the accumulator in any order of addition.
  Interval partial;
  /// The results by the index of the last dimension; empty where they are only known together.
  llvm::SmallVector<Interval> channels;
};

/// The interval of every value of an integer program (TOSA operations, nn.constant, nn.block). Results are
/// computed on demand and kept, so that a lowering can ask while it builds: operations may be added at any
/// time, but `forget` must be called before one is erased or changed. Not thread safe.
class IntervalAnalysis {
public:
  /// Bounds of the elements of `value`. An argument of a function, and what is not known, has the range of its
  /// type; an argument or result of nn.block has the interval of what it passes on. A result that may leave its
  /// type has the range of the type.
  Interval of(mlir::Value value);

  /// Drops what is known of `op` (not of the operations that use it).
  void forget(mlir::Operation *op);

  /// What is not proven of `op`: an accumulator or result that may leave its type, a rescale whose input or result
  /// may leave what its shift allows, a shift out of its range. Nothing where all is proven.
  std::optional<std::string> findProblem(mlir::Operation *op);

  /// The bounds of a conv2d, conv3d, depthwise_conv2d, transpose_conv2d or matmul; null for other operations.
  const AccumulatorBounds *accumulatorOf(mlir::Operation *op);

private:
  llvm::DenseMap<mlir::Operation *, Interval> intervals;
  llvm::DenseMap<mlir::Operation *, std::unique_ptr<AccumulatorBounds>> accumulators;
};

} // namespace nibble

#endif
