//===- InterpolatedTable.h - functions of 16-bit integers by TABLE -----------===//
//
// TOSA's 16-bit TABLE looks an index up by its upper 9 bits in 513 knots and interpolates by its lower 7. The error is
// the chord's, at most h^2 / 8 * |f''| for knots h apart. Three things keep it small: the knots only span the part of
// the range where the function still changes, as sigmoid and tanh do near 0; every knot is moved by half of the chord's
// error, which halves the largest; and where that is not enough, as for a square root near 0, tables of what is missing
// follow, each over the part of the range where it is missing.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_PASSES_LOWER_INTERPOLATEDTABLE_H
#define NIBBLE_PASSES_LOWER_INTERPOLATEDTABLE_H

#include "passes/Lower/Functions.h"

namespace nibble {

/// One TABLE and the affine map from input integers to its index.
struct InterpolatedTable {
  static constexpr int64_t knotCount = 513;

  /// The input integer that index 0 stands for, and input integers per index.
  double center = 0, step = 1;
  /// The knots in steps of `unit`; the TABLE's result is in steps of unit / 128.
  llvm::SmallVector<int64_t> entries;
  double unit = 1;

  /// The input integer, or position between two, of a knot.
  double knotPosition(int64_t knot) const { return center - 32768 * step + 128 * step * static_cast<double>(knot); }
  /// Takes reals as 16-bit entries whose differences have 16 bits too, in a unit that `output` cannot tell from a finer one.
  void setKnots(llvm::ArrayRef<double> knots, const Grid &output);
  /// What the TABLE gives for an input integer, or for a position between two.
  double operator()(double input) const;
};

/// Tables whose results add up to function(input.real(x)), kept within `output`'s range, for x in input.low to
/// input.high: one, and up to two more while the error exceeds two quanta of `output` in a part of the range that is
/// less than half as long. Fails after the function's diagnostic.
llvm::FailureOr<llvm::SmallVector<InterpolatedTable>> planTables(const ElementwiseFunction &function, const Grid &input,
                                                                 const Grid &output);

} // namespace nibble

#endif
