//===- FileDataset.cpp - samples read from files ---------------------------===//
#include "calib/Datasets/FileDataset.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>

namespace nibble::calib {
namespace {

class FileDataset : public Dataset {
public:
  FileDataset(SamplePlan plan, std::vector<DimensionRun> runs)
      : plan(std::move(plan)), runs(std::move(runs)), cached(this->plan.inputs.size()) {}

  int64_t size() const override { return plan.samples; }
  std::vector<std::string> files() const override { return plan.files; }

  llvm::Expected<std::vector<Tensor>> sample(int64_t index) override {
    std::vector<Tensor> result(plan.inputs.size());
    for (size_t i = 0; i < plan.inputs.size(); ++i) {
      const InputPlan &input = plan.inputs[i];
      if (input.segments.empty()) {
        Shape shape = completedShape(input.spec, runOf(index).dimensions);
        result[i] = makeCompletion(input.completion, input.spec.elementType, shape);
        if (!result[i])
          return makeError(ErrorKind::Unsupported, "input '" + input.spec.name + "' is " + name(input.spec.elementType) +
                                                       ", for which nothing can be filled in");
        continue;
      }
      const Segment &segment = segmentOf(input, index);
      llvm::Expected<Tensor> array = load(segment.array, cached[i]);
      if (!array)
        return array.takeError();
      Tensor taken = takeSample(*array, segment.layout, index - segment.first);
      llvm::Expected<Tensor> converted = convertTensor(taken, input.spec.elementType, sampleName(index) + ": " + input.spec.name);
      if (!converted)
        return converted.takeError();
      if (llvm::Error error = checkFinite(*converted, input.spec.name, index))
        return std::move(error);
      result[i] = std::move(*converted);
    }
    return result;
  }

  std::string sampleName(int64_t index) const override { return calib::sampleName(plan, index); }
  Dimensions otherDimensions(int64_t index) const override { return runOf(index).otherDimensions; }

private:
  const DimensionRun &runOf(int64_t index) const {
    auto after = llvm::upper_bound(runs, index,
                                   [](int64_t sample, const DimensionRun &run) { return sample < run.first; });
    return *std::prev(after);
  }

  /// The array read last for an input, since an array often holds many samples.
  struct Cached {
    std::string path;
    Tensor tensor;
  };

  llvm::Error checkFinite(const Tensor &tensor, llvm::StringRef input, int64_t index) const {
    if (tensor.elementType() != ElementType::F32)
      return llvm::Error::success();
    for (auto [element, value] : llvm::enumerate(tensor.values<float>()))
      if (!std::isfinite(value))
        return makeError(ErrorKind::BadInput, "sample '" + sampleName(index) + "': input '" + input + "' holds " +
                                                  (std::isnan(value) ? "a NaN" : "an infinity") + " at element " +
                                                  llvm::Twine(element));
    return llvm::Error::success();
  }

  llvm::Expected<Tensor> load(const SourceArray &array, Cached &cache) {
    if (cache.tensor && cache.path == array.path)
      return cache.tensor;
    llvm::Expected<Tensor> tensor = array.entry.empty() ? readNpy(array.path) : readEntry(array);
    if (!tensor)
      return tensor;
    if (tensor->elementType() != array.elementType || tensor->shape() != llvm::ArrayRef<int64_t>(array.shape))
      return makeError(ErrorKind::BadInput, "'" + array.path + "' has changed while the program ran");
    cache = {array.path, *tensor};
    return tensor;
  }

  llvm::Expected<Tensor> readEntry(const SourceArray &array) {
    if (!archive || archivePath != array.path) {
      llvm::Expected<std::unique_ptr<NpzReader>> opened = NpzReader::open(array.path);
      if (!opened)
        return opened.takeError();
      archive = std::move(*opened);
      archivePath = array.path;
    }
    for (const NpzReader::Entry &entry : archive->entries())
      if (entry.name == array.entry)
        return archive->read(entry);
    return makeError(ErrorKind::BadInput, "'" + array.path + "' has changed while the program ran");
  }

  SamplePlan plan;
  std::vector<DimensionRun> runs;
  std::vector<Cached> cached;
  std::unique_ptr<NpzReader> archive;
  std::string archivePath;
};

} // namespace

std::unique_ptr<Dataset> makeFileDataset(SamplePlan plan, std::vector<DimensionRun> runs) {
  return std::make_unique<FileDataset>(std::move(plan), std::move(runs));
}

} // namespace nibble::calib
