#include "calib/Datasets/Dataset.h"
#include "calib/Datasets/FileDataset.h"
#include "calib/Datasets/RandomDataset.h"

namespace nibble::calib {

llvm::Expected<std::unique_ptr<Dataset>> Dataset::open(const DatasetOptions &options, std::vector<InputSpec> inputs,
                                                       llvm::function_ref<void(llvm::StringRef)> note) {
  llvm::Expected<Sources> sources = findSources(options, inputs);
  if (!sources)
    return sources.takeError();
  if (sources->randomSamples > 0) {
    if (llvm::Error error = checkBound(inputs, {}, /*isRandom=*/true))
      return std::move(error);
    note("samples are random: the result is NOT CALIBRATED");
    return makeRandomDataset(sources->randomSamples, options.seed, std::move(inputs));
  }
  llvm::Expected<SamplePlan> plan = makeSamplePlan(inputs, *sources, note);
  if (!plan)
    return plan.takeError();
  llvm::Expected<std::vector<DimensionRun>> runs = findDimensions(*plan);
  if (!runs)
    return runs.takeError();
  if (llvm::Error error = checkBound(inputs, *runs, /*isRandom=*/false))
    return std::move(error);
  return makeFileDataset(std::move(*plan), std::move(*runs));
}

} // namespace nibble::calib
