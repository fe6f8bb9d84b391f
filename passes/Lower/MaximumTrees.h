//===- MaximumTrees.h - maxima over an axis, computed by halves --------------===//
#ifndef NIBBLE_PASSES_LOWER_MAXIMUMTREES_H
#define NIBBLE_PASSES_LOWER_MAXIMUMTREES_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"

namespace nibble {

/// A value of whose elements along `axis` another value is at least the maximum.
struct ReducedAxis {
  mlir::Value value;
  int64_t axis;
};

/// The values that `maximum`, the result of a tosa.maximum, reduces over an axis by maxima of slices that together
/// take in the whole axis, as in
///   m = maximum(slice(v, [0, 2)), slice(v, [2, 4))); maximum(slice(m, [0, 1)), slice(m, [1, 2)))
/// The values keep their other axes, or are broadcast along them.
llvm::SmallVector<ReducedAxis> findReducedAxes(mlir::Value maximum);

} // namespace nibble

#endif
