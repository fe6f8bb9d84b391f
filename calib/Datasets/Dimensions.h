//===- Dimensions.h - values of named dimensions in samples ----------------===//
#ifndef NIBBLE_CALIB_DATASETS_DIMENSIONS_H
#define NIBBLE_CALIB_DATASETS_DIMENSIONS_H

#include "calib/Datasets/SamplePlan.h"

namespace nibble::calib {

/// Consecutive samples whose named dimensions have the same values.
struct DimensionRun {
  int64_t first = 0, samples = 0;
  /// All that have a value; of them, those whose value is not the bound one.
  Dimensions dimensions, otherDimensions;
};

/// The named dimensions of all samples, in order. A dimension takes its value from the arrays of the sample; one
/// that only completed inputs have takes it from what they are filled with, or the bound one. Errors: BadInput
/// where two inputs of a sample disagree.
llvm::Expected<std::vector<DimensionRun>> findDimensions(const SamplePlan &plan);

/// The shape of a completed input in a sample with these dimensions.
Shape completedShape(const InputSpec &spec, const Dimensions &dimensions);

/// Success where every dimension has a value. Errors: BadInput with the options to paste, those of the most
/// frequent samples in `runs`; Unsupported where a dimension has neither value nor name.
llvm::Error checkBound(llvm::ArrayRef<InputSpec> inputs, llvm::ArrayRef<DimensionRun> runs, bool isRandom);

} // namespace nibble::calib

#endif
