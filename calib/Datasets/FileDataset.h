//===- FileDataset.h - samples read from files -----------------------------===//
#ifndef NIBBLE_CALIB_DATASETS_FILEDATASET_H
#define NIBBLE_CALIB_DATASETS_FILEDATASET_H

#include "calib/Datasets/Dimensions.h"
#include "calib/Datasets/SamplePlan.h"

namespace nibble::calib {

/// The samples of a plan, of which all named dimensions have values. `runs` are the plan's own.
std::unique_ptr<Dataset> makeFileDataset(SamplePlan plan, std::vector<DimensionRun> runs);

} // namespace nibble::calib

#endif
