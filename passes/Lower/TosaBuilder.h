//===- TosaBuilder.h - writes TOSA operators on integers --------------------===//
//
// Shapes of results follow from the operands. Elementwise operands have one rank and broadcast along
// dimensions of extent 1, as TOSA wants it. Semantics: TOSA 1.0, section 2.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_LOWER_TOSABUILDER_H
#define NIBBLE_PASSES_LOWER_TOSABUILDER_H

#include "lib/Quant/FixedPoint.h"
#include "lib/Support/Tensor.h"
#include "passes/Lower/Intervals.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nibble {

/// What a rescale adds after scaling, and what it writes.
struct RescaleResult {
  unsigned bits = 32;
  int64_t zeroPoint = 0;
};

class TosaBuilder : public mlir::ImplicitLocOpBuilder {
public:
  TosaBuilder(mlir::Location location, mlir::OpBuilder &builder, IntervalAnalysis &intervals)
      : ImplicitLocOpBuilder(location, builder), intervals(intervals) {}

  using Value = mlir::Value;
  using Dims = llvm::ArrayRef<int64_t>;

  /// An integer constant of `bits` bits; one value stands for all elements.
  Value constant(llvm::ArrayRef<int64_t> values, Dims shape, unsigned bits = 32);
  /// One i32 that broadcasts against tensors of rank `rank`.
  Value scalar(int64_t value, int64_t rank);
  /// A constant with the bytes of `tensor` behind a reference; 4-bit values are packed.
  llvm::FailureOr<Value> weights(const Tensor &tensor);
  /// Integers of 1, 8, 16 or 32 bits as a constant of either form, by their size.
  llvm::FailureOr<Value> data(llvm::ArrayRef<int64_t> values, Dims shape, unsigned bits);
  Value shapeOf(Dims dims);

  Value add(Value a, Value b) { return binary<mlir::tosa::AddOp>(a, b); }
  Value sub(Value a, Value b) { return binary<mlir::tosa::SubOp>(a, b); }
  Value maximum(Value a, Value b) { return binary<mlir::tosa::MaximumOp>(a, b); }
  Value minimum(Value a, Value b) { return binary<mlir::tosa::MinimumOp>(a, b); }
  Value shiftLeft(Value a, Value b) { return binary<mlir::tosa::LogicalLeftShiftOp>(a, b); }
  Value shiftRight(Value a, Value b, bool round = true);
  Value shiftLeft(Value a, int64_t bits) { return shiftLeft(a, scalar(bits, rank(a))); }
  Value shiftRight(Value a, int64_t bits, bool round = true) { return bits ? shiftRight(a, scalar(bits, rank(a)), round) : a; }
  /// (a * b) >> shift, rounded half up, on 64 bits inside.
  Value mul(Value a, Value b, int64_t shift = 0);
  /// a / b towards zero, i32.
  Value intDiv(Value a, Value b) { return binary<mlir::tosa::IntDivOp>(a, b); }
  Value negative(Value a) { return sub(scalar(0, rank(a)), a); }
  Value abs(Value a) { return unary<mlir::tosa::AbsOp>(a); }
  Value clz(Value a) { return unary<mlir::tosa::ClzOp>(a); }
  template <typename Op> Value compare(Value a, Value b) { return binary<Op>(a, b, getI1Type()); }
  Value select(Value condition, Value a, Value b);
  template <typename Op> Value logical(Value a, Value b) { return binary<Op>(a, b); }
  Value logicalNot(Value a) { return unary<mlir::tosa::LogicalNotOp>(a); }
  /// i8: 256 entries, i8 result. i16: 513 entries, i32 result with 7 more fractional bits.
  Value table(Value a, llvm::ArrayRef<int64_t> entries);
  Value clamp(Value a, int64_t low, int64_t high);
  Value cast(Value a, unsigned bits);

  /// factor * (a - zeroPoint), rounded and saturated. An i32 operand that may leave the range in which the
  /// multiplier works is clamped first, which changes nothing: such values saturate. i48 operands are scaled by
  /// 16-bit multipliers. Where the result's zero point is not 0, the result has 8 bits.
  Value rescale(Value a, double factor, RescaleResult result, int64_t zeroPoint = 0);
  /// The same with a factor per index of the last dimension.
  Value rescale(Value a, llvm::ArrayRef<double> factors, RescaleResult result, int64_t zeroPoint = 0);
  /// a - zeroPoint as i32, exactly; `a` has 8 or 16 bits. Also as i16 from i8.
  Value widen(Value a, int64_t zeroPoint = 0, unsigned bits = 32);

  /// The sum over one axis, which keeps extent 1.
  Value reduceSum(Value a, int64_t axis);
  /// The same by sums of `run` neighbours, which divide the extent, of each of which `dropped` bits are dropped.
  Value reduceSumByRuns(Value a, int64_t axis, int64_t run, int64_t dropped);
  /// The maximum over one axis, by halves: on NPUs a tree of MAXIMUM costs a fraction of REDUCE_MAX, which some
  /// of them lack for i32.
  Value reduceMax(Value a, int64_t axis);

  Value reshape(Value a, Dims dims);
  Value transpose(Value a, llvm::ArrayRef<int64_t> permutation);
  Value slice(Value a, Dims starts, Dims sizes);
  Value sliceAxis(Value a, int64_t axis, int64_t start, int64_t size);
  Value concat(llvm::ArrayRef<Value> values, int64_t axis);
  Value tile(Value a, Dims repeats);
  /// `pads` holds (before, after) per dimension.
  Value pad(Value a, Dims pads, int64_t value);
  Value gather(Value values, Value indices);
  Value matmul(Value a, Value b, int64_t aZeroPoint, int64_t bZeroPoint);

  static Dims dims(Value a) { return mlir::cast<mlir::RankedTensorType>(a.getType()).getShape(); }
  static int64_t rank(Value a) { return static_cast<int64_t>(dims(a).size()); }
  static unsigned bits(Value a) { return mlir::getElementTypeOrSelf(a.getType()).getIntOrFloatBitWidth(); }
  Interval interval(Value a) { return intervals.of(a); }
  /// The largest absolute value that `a` may hold.
  int64_t magnitude(Value a) {
    Interval range = interval(a);
    return std::max(range.high, -range.low);
  }
  mlir::RankedTensorType tensor(Dims dims, unsigned bits);

private:
  template <typename Op> Value binary(Value a, Value b, mlir::Type element = {}) {
    if (!element)
      element = mlir::getElementTypeOrSelf(a.getType());
    return create<Op>(mlir::RankedTensorType::get(broadcast(a, b), element), a, b).getResult();
  }
  template <typename Op> Value unary(Value a) { return create<Op>(a.getType(), a).getResult(); }
  Shape broadcast(Value a, Value b);

  IntervalAnalysis &intervals;
};

} // namespace nibble

#endif
