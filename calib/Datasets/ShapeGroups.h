//===- ShapeGroups.h - samples by their shape ------------------------------===//
#ifndef NIBBLE_CALIB_DATASETS_SHAPEGROUPS_H
#define NIBBLE_CALIB_DATASETS_SHAPEGROUPS_H

#include "calib/Datasets/Dataset.h"

namespace nibble::calib {

/// Samples of one shape, in order.
struct ShapeGroup {
  /// What differs from the deployed shape; empty for the group that has it.
  Dimensions otherDimensions;
  std::vector<int64_t> samples;
  bool isDeployed() const { return otherDimensions.empty(); }
};

/// The groups of a set, in the order of their first samples.
std::vector<ShapeGroup> groupByShape(const Dataset &dataset);

/// "height=24, width=12".
std::string describeDimensions(const Dimensions &dimensions);
/// "8 of 16 WHAT samples have other dimensions than the deployed ones (height=24, width=12)"; empty where all
/// have the deployed ones.
std::string describeOtherShapes(llvm::ArrayRef<ShapeGroup> groups, llvm::StringRef what);

} // namespace nibble::calib

#endif
