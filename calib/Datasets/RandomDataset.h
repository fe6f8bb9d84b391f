//===- RandomDataset.h - samples for a first look --------------------------===//
#ifndef NIBBLE_CALIB_DATASETS_RANDOMDATASET_H
#define NIBBLE_CALIB_DATASETS_RANDOMDATASET_H

#include "calib/Datasets/Dataset.h"
#include "lib/Support/Error.h"

namespace nibble::calib {

/// `count` samples of inputs with static shapes; equal for equal seeds. A missing mask or position
/// input is completed as for files.
std::unique_ptr<Dataset> makeRandomDataset(int64_t count, uint64_t seed, std::vector<InputSpec> inputs);

} // namespace nibble::calib

#endif
