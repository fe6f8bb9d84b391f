//===- Split.h - samples held out of calibration ---------------------------===//
#ifndef NIBBLE_CALIB_DATASETS_SPLIT_H
#define NIBBLE_CALIB_DATASETS_SPLIT_H

#include "calib/Datasets/Dataset.h"

namespace nibble::calib {

/// Some of the samples of a set.
std::shared_ptr<Dataset> selectSamples(std::shared_ptr<Dataset> dataset, std::vector<int64_t> samples);

/// A calibration set and the samples held out of it for evaluation, which is null where none can be.
struct HeldOutSplit {
  std::shared_ptr<Dataset> calibration, evaluation;
};

/// Holds every fifth sample of the deployed shape out, the last one where there are fewer than five, and none
/// where there are fewer than two. Errors: BadInput where there is only one sample at all.
llvm::Expected<HeldOutSplit> splitHeldOut(std::shared_ptr<Dataset> dataset);

/// Errors: BadInput, naming both, where a sample is in both sets.
llvm::Error checkDisjoint(Dataset &calibration, Dataset &evaluation);

} // namespace nibble::calib

#endif
