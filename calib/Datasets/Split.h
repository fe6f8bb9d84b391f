//===- Split.h - samples held out of calibration ---------------------------===//
#ifndef NIBBLE_CALIB_DATASETS_SPLIT_H
#define NIBBLE_CALIB_DATASETS_SPLIT_H

#include "calib/Datasets/Dataset.h"

namespace nibble::calib {

/// A calibration set and the samples held out of it for evaluation.
struct HeldOutSplit {
  std::shared_ptr<Dataset> calibration, evaluation;
};

/// Holds every fifth sample out, the last one where there are fewer than five. Errors: BadInput
/// where there is only one sample.
llvm::Expected<HeldOutSplit> splitHeldOut(std::shared_ptr<Dataset> dataset);

/// Errors: BadInput, naming both, where a sample is in both sets.
llvm::Error checkDisjoint(Dataset &calibration, Dataset &evaluation);

} // namespace nibble::calib

#endif
