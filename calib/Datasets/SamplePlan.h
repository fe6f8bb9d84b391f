//===- SamplePlan.h - which array holds which samples ----------------------===//
//
// A plan says, for every input, which array holds which samples. It is made from
// the headers of all files; elements are read when a sample is asked for.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_DATASETS_SAMPLEPLAN_H
#define NIBBLE_CALIB_DATASETS_SAMPLEPLAN_H

#include "calib/Datasets/Sources.h"

namespace nibble::calib {

/// Samples [first, first + layout.samples) of an input, in one array.
struct Segment {
  SourceArray array;
  Layout layout;
  int64_t first = 0;
};

struct InputPlan {
  InputSpec spec;
  /// In order of samples, without gaps; empty for an input that is completed.
  std::vector<Segment> segments;
  Completion completion = Completion::None;
};

struct SamplePlan {
  std::vector<InputPlan> inputs;
  int64_t samples = 0;
  std::vector<std::string> files;
};

/// The segment that holds `sample` of an input that is not completed.
const Segment &segmentOf(const InputPlan &input, int64_t sample);
/// File name, and the number inside a file of several samples.
std::string sampleName(const SamplePlan &plan, int64_t index);

/// `note` receives one line per thing that was inferred or converted. Errors: BadInput, as of Dataset::open.
llvm::Expected<SamplePlan> makeSamplePlan(llvm::ArrayRef<InputSpec> inputs, const Sources &sources,
                                          llvm::function_ref<void(llvm::StringRef)> note);

} // namespace nibble::calib

#endif
