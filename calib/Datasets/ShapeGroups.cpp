#include "calib/Datasets/ShapeGroups.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

namespace nibble::calib {

std::vector<ShapeGroup> groupByShape(const Dataset &dataset) {
  std::vector<ShapeGroup> groups;
  std::map<Dimensions, size_t> groupOf;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    Dimensions other = dataset.otherDimensions(i);
    auto [found, isNew] = groupOf.try_emplace(other, groups.size());
    if (isNew)
      groups.push_back({std::move(other), {}});
    groups[found->second].samples.push_back(i);
  }
  return groups;
}

std::string describeDimensions(const Dimensions &dimensions) {
  return llvm::join(llvm::map_range(dimensions,
                                    [](const auto &entry) { return entry.first + "=" + std::to_string(entry.second); }),
                    ", ");
}

std::string describeOtherShapes(llvm::ArrayRef<ShapeGroup> groups, llvm::StringRef what) {
  constexpr size_t shown = 8;
  std::vector<const ShapeGroup *> others;
  size_t samples = 0, otherSamples = 0;
  for (const ShapeGroup &group : groups) {
    samples += group.samples.size();
    if (group.isDeployed())
      continue;
    others.push_back(&group);
    otherSamples += group.samples.size();
  }
  if (others.empty())
    return {};
  std::string list;
  for (size_t i = 0; i < std::min(shown, others.size()); ++i) {
    list += (i ? "; " : "") + describeDimensions(others[i]->otherDimensions);
    if (others.size() > 1)
      list += " in " + std::to_string(others[i]->samples.size());
  }
  if (others.size() > shown)
    list += "; and " + std::to_string(others.size() - shown) + " other shapes";
  return std::to_string(otherSamples) + " of " + std::to_string(samples) + " " + what.str() + " samples " +
         (otherSamples == 1 ? "has" : "have") + " other dimensions than the deployed ones (" + list + ")";
}

} // namespace nibble::calib
