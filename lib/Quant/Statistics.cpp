//===- Statistics.cpp - the statistics file --------------------------------===//
//
// The layout is in docs/spec/statistics.md.
//
//===----------------------------------------------------------------------===//
#include "lib/Quant/Statistics.h"
#include "lib/Support/Digest.h"
#include "lib/Support/Error.h"
#include "lib/Support/Safetensors.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

namespace nibble::quant {
namespace {

constexpr size_t digestBytes = 32;
const std::string samplesName = "::samples", randomName = "::random";
constexpr llvm::StringLiteral formatName("nibble-statistics"), formatVersion("2");

template <typename T> Tensor makeArray(llvm::ArrayRef<T> values) {
  return Tensor::fromValues<T>({static_cast<int64_t>(values.size())}, values);
}

std::string digestOf(const std::map<std::string, Tensor> &tensors) {
  Digest digest;
  for (const auto &[name, tensor] : tensors) {
    digest.update(static_cast<uint64_t>(name.size()));
    digest.update(llvm::StringRef(name));
    digest.update(nibble::name(tensor.elementType()));
    digest.update(static_cast<uint64_t>(tensor.byteSize()));
    digest.update(llvm::ArrayRef<char>(static_cast<const char *>(tensor.raw()), tensor.byteSize()));
  }
  return digest.hex();
}

/// The arrays of a file, taken one by one with the type and length that they must have.
class Arrays {
public:
  Arrays(llvm::StringRef path, const Safetensors &file) : path(path), file(file) {}

  /// `count` -1 accepts any number of elements.
  template <typename T> llvm::Expected<llvm::ArrayRef<T>> take(const std::string &name, int64_t count) const {
    auto found = file.tensors.find(name);
    if (found == file.tensors.end())
      return makeError(ErrorKind::BadInput, "statistics file '" + path + "' lacks '" + name + "'");
    const Tensor &tensor = found->second;
    if (tensor.elementType() != ElementTypeOf<T>::value || tensor.rank() != 1 ||
        (count >= 0 && tensor.elementCount() != count))
      return makeError(ErrorKind::BadInput, "statistics file '" + path + "': '" + name + "' has another type or shape");
    return tensor.values<T>();
  }
  bool has(const std::string &name) const { return file.tensors.count(name) != 0; }

private:
  llvm::StringRef path;
  const Safetensors &file;
};

/// Reads what files of earlier versions do not have.
llvm::Error readChannelExtremes(const Arrays &arrays, const std::string &name, TensorStatistics &result) {
  if (!arrays.has(name + "::channel_magnitudes"))
    return llvm::Error::success();
  auto count = static_cast<int64_t>(result.channelSumOfSquares.size());
  llvm::Expected<llvm::ArrayRef<double>> magnitudes = arrays.take<double>(name + "::channel_magnitudes", count);
  if (!magnitudes)
    return magnitudes.takeError();
  llvm::Expected<llvm::ArrayRef<float>> min = arrays.take<float>(name + "::channel_min", count);
  if (!min)
    return min.takeError();
  llvm::Expected<llvm::ArrayRef<float>> max = arrays.take<float>(name + "::channel_max", count);
  if (!max)
    return max.takeError();
  result.channelSumOfMagnitudes = magnitudes->vec();
  result.channelMin = min->vec();
  result.channelMax = max->vec();
  return llvm::Error::success();
}

llvm::Expected<TensorStatistics> readTensor(const Arrays &arrays, const std::string &name, llvm::StringRef path) {
  llvm::Expected<llvm::ArrayRef<int64_t>> counts = arrays.take<int64_t>(name + "::counts", 4);
  if (!counts)
    return counts.takeError();
  llvm::Expected<llvm::ArrayRef<float>> range = arrays.take<float>(name + "::range", 6);
  if (!range)
    return range.takeError();
  llvm::Expected<llvm::ArrayRef<double>> sums = arrays.take<double>(name + "::sums", 2);
  if (!sums)
    return sums.takeError();
  llvm::Expected<llvm::ArrayRef<int64_t>> histogram = arrays.take<int64_t>(name + "::histogram", -1);
  if (!histogram)
    return histogram.takeError();

  TensorStatistics result;
  result.elementCount = (*counts)[0];
  result.sampleCount = (*counts)[1];
  result.infiniteCount = (*counts)[2];
  result.allIntegers = (*counts)[3] != 0;
  result.min = (*range)[0], result.max = (*range)[1];
  result.movingMin = (*range)[2], result.movingMax = (*range)[3];
  result.histogramMin = (*range)[4], result.histogramMax = (*range)[5];
  result.sum = (*sums)[0], result.sumOfSquares = (*sums)[1];
  result.histogram = histogram->vec();
  if (arrays.has(name + "::channels")) {
    llvm::Expected<llvm::ArrayRef<double>> channels = arrays.take<double>(name + "::channels", -1);
    if (!channels)
      return channels.takeError();
    llvm::Expected<llvm::ArrayRef<int64_t>> axis = arrays.take<int64_t>(name + "::channel_axis", 1);
    if (!axis)
      return axis.takeError();
    result.channelSumOfSquares = channels->vec();
    result.channelAxis = axis->front();
    if (llvm::Error error = readChannelExtremes(arrays, name, result))
      return std::move(error);
  }
  bool finite = llvm::all_of(*range, [](float v) { return std::isfinite(v); }) &&
                llvm::all_of(*sums, [](double v) { return std::isfinite(v); }) &&
                llvm::all_of(result.channelSumOfSquares, [](double v) { return std::isfinite(v) && v >= 0; }) &&
                llvm::all_of(result.channelSumOfMagnitudes, [](double v) { return std::isfinite(v) && v >= 0; }) &&
                llvm::all_of(llvm::zip_equal(result.channelMin, result.channelMax), [](auto extremes) {
                  auto [low, high] = extremes;
                  return std::isfinite(low) && std::isfinite(high) && low <= high;
                });
  bool counted = llvm::all_of(*counts, [](int64_t v) { return v >= 0; }) &&
                 llvm::all_of(*histogram, [](int64_t v) { return v >= 0; });
  if (!finite || !counted || result.min > result.max || result.histogramMin > result.histogramMax)
    return makeError(ErrorKind::BadInput, "statistics file '" + path + "': tensor '" + name +
                                              "' has values that no statistics have");
  return result;
}

} // namespace

const TensorStatistics *Statistics::find(llvm::StringRef tensorName) const {
  auto found = tensors.find(tensorName.str());
  return found == tensors.end() ? nullptr : &found->second;
}

llvm::Error Statistics::save(llvm::StringRef path) const {
  Safetensors file;
  for (const auto &[name, s] : tensors) {
    file.tensors[name + "::counts"] =
        makeArray<int64_t>({s.elementCount, s.sampleCount, s.infiniteCount, s.allIntegers ? 1 : 0});
    file.tensors[name + "::range"] =
        makeArray<float>({s.min, s.max, s.movingMin, s.movingMax, s.histogramMin, s.histogramMax});
    file.tensors[name + "::sums"] = makeArray<double>({s.sum, s.sumOfSquares});
    file.tensors[name + "::histogram"] = makeArray<int64_t>(s.histogram);
    if (!s.channelSumOfSquares.empty()) {
      file.tensors[name + "::channels"] = makeArray<double>(s.channelSumOfSquares);
      file.tensors[name + "::channel_axis"] = makeArray<int64_t>({s.channelAxis});
      if (!s.channelMin.empty()) {
        file.tensors[name + "::channel_magnitudes"] = makeArray<double>(s.channelSumOfMagnitudes);
        file.tensors[name + "::channel_min"] = makeArray<float>(s.channelMin);
        file.tensors[name + "::channel_max"] = makeArray<float>(s.channelMax);
      }
    }
  }
  std::vector<uint8_t> digests;
  for (const std::string &digest : sampleDigests)
    llvm::append_range(digests, llvm::arrayRefFromStringRef(llvm::fromHex(digest)));
  file.tensors[samplesName] = makeArray<uint8_t>(digests);
  file.tensors[randomName] = makeArray<int64_t>({samplesAreRandom ? 1 : 0});
  file.metadata = {{"format", formatName.str()},
                   {"version", formatVersion.str()},
                   {"fingerprint", fingerprint},
                   {"sha256", digestOf(file.tensors)}};
  return writeSafetensors(path, file);
}

llvm::Expected<Statistics> Statistics::load(llvm::StringRef path) {
  llvm::Expected<Safetensors> file = readSafetensors(path);
  if (!file)
    return file.takeError();
  if (file->metadata["format"] != formatName)
    return makeError(ErrorKind::BadInput, "'" + path + "' is not a statistics file");
  if (file->metadata["version"] != formatVersion)
    return makeError(ErrorKind::BadInput, "statistics file '" + path + "' has version '" + file->metadata["version"] +
                                              "', expected version '" + formatVersion + "'",
                     {"calibrate again with this version of the program"});
  if (file->metadata["sha256"] != digestOf(file->tensors))
    return makeError(ErrorKind::BadInput, "statistics file '" + path + "' was changed after it was written: its digest differs");
  Statistics result;
  result.fingerprint = file->metadata["fingerprint"];
  Arrays arrays(path, *file);
  llvm::Expected<llvm::ArrayRef<uint8_t>> digests = arrays.take<uint8_t>(samplesName, -1);
  if (!digests)
    return digests.takeError();
  llvm::Expected<llvm::ArrayRef<int64_t>> random = arrays.take<int64_t>(randomName, 1);
  if (!random)
    return random.takeError();
  if (digests->size() % digestBytes != 0)
    return makeError(ErrorKind::BadInput, "statistics file '" + path + "': '" + samplesName + "' has another type or shape");
  for (size_t i = 0; i < digests->size(); i += digestBytes)
    result.sampleDigests.push_back(llvm::toHex(digests->slice(i, digestBytes), /*LowerCase=*/true));
  result.samplesAreRandom = random->front() != 0;
  for (const auto &[key, tensor] : file->tensors) {
    llvm::StringRef name = key;
    if (!name.consume_back("::counts"))
      continue;
    llvm::Expected<TensorStatistics> statistics = readTensor(arrays, name.str(), path);
    if (!statistics)
      return statistics.takeError();
    result.tensors.emplace(name.str(), std::move(*statistics));
  }
  return result;
}

} // namespace nibble::quant
