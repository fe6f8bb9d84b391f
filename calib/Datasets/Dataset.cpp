#include "calib/Datasets/Dataset.h"
#include "calib/Datasets/FileDataset.h"
#include "calib/Datasets/RandomDataset.h"
#include "lib/Support/Digest.h"

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

std::string digestOfSample(llvm::ArrayRef<Tensor> tensors) {
  Digest digest;
  for (const Tensor &tensor : tensors) {
    digest.update(static_cast<uint64_t>(tensor.elementType()));
    digest.update(static_cast<uint64_t>(tensor.rank()));
    for (int64_t dim : tensor.shape())
      digest.update(static_cast<uint64_t>(dim));
    digest.update(llvm::ArrayRef<char>(static_cast<const char *>(tensor.raw()), tensor.byteSize()));
  }
  return digest.hex();
}

llvm::Expected<std::string> Dataset::sampleDigest(int64_t index) {
  llvm::Expected<std::vector<Tensor>> tensors = sample(index);
  if (!tensors)
    return tensors.takeError();
  return digestOfSample(*tensors);
}

} // namespace nibble::calib
