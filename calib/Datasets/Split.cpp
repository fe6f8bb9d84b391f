#include "calib/Datasets/Split.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"

namespace nibble::calib {
namespace {

constexpr int64_t heldOutPeriod = 5;

/// Some of the samples of another set.
class Subset : public Dataset {
public:
  Subset(std::shared_ptr<Dataset> whole, std::vector<int64_t> indices)
      : whole(std::move(whole)), indices(std::move(indices)) {}
  int64_t size() const override { return static_cast<int64_t>(indices.size()); }
  llvm::Expected<std::vector<Tensor>> sample(int64_t index) override { return whole->sample(indices[index]); }
  Dimensions otherDimensions(int64_t index) const override { return whole->otherDimensions(indices[index]); }
  std::string sampleName(int64_t index) const override { return whole->sampleName(indices[index]); }
  bool isRandom() const override { return whole->isRandom(); }
  std::vector<std::string> files() const override { return whole->files(); }

private:
  std::shared_ptr<Dataset> whole;
  std::vector<int64_t> indices;
};

} // namespace

std::shared_ptr<Dataset> selectSamples(std::shared_ptr<Dataset> dataset, std::vector<int64_t> samples) {
  return std::make_shared<Subset>(std::move(dataset), std::move(samples));
}

llvm::Expected<HeldOutSplit> splitHeldOut(std::shared_ptr<Dataset> dataset) {
  std::vector<int64_t> kept, heldOut, deployed;
  for (int64_t i = 0; i < dataset->size(); ++i)
    (dataset->otherDimensions(i).empty() ? deployed : kept).push_back(i);
  int64_t size = static_cast<int64_t>(deployed.size());
  if (dataset->size() == size && size < 2)
    return makeError(ErrorKind::BadInput, "one calibration sample cannot be used for evaluation too",
                     {"give more samples, or evaluation samples with --eval"});
  if (size < 2)
    return HeldOutSplit{std::move(dataset), nullptr};
  for (int64_t i = 0; i < size; ++i) {
    bool isHeldOut = size < heldOutPeriod ? i == size - 1 : i % heldOutPeriod == heldOutPeriod - 1;
    (isHeldOut ? heldOut : kept).push_back(deployed[i]);
  }
  llvm::sort(kept);
  return HeldOutSplit{selectSamples(dataset, std::move(kept)), selectSamples(dataset, std::move(heldOut))};
}

llvm::Error checkDisjoint(Dataset &calibration, Dataset &evaluation) {
  std::map<std::string, int64_t> seen;
  for (int64_t i = 0; i < calibration.size(); ++i) {
    llvm::Expected<std::string> digest = calibration.sampleDigest(i);
    if (!digest)
      return digest.takeError();
    seen.emplace(std::move(*digest), i);
  }
  for (int64_t i = 0; i < evaluation.size(); ++i) {
    llvm::Expected<std::string> digest = evaluation.sampleDigest(i);
    if (!digest)
      return digest.takeError();
    if (auto found = seen.find(*digest); found != seen.end())
      return makeError(ErrorKind::BadInput, "evaluation sample '" + evaluation.sampleName(i) +
                                                "' is also calibration sample '" +
                                                calibration.sampleName(found->second) + "'",
                       {"evaluate on samples that calibration has not seen"});
  }
  return llvm::Error::success();
}

} // namespace nibble::calib
