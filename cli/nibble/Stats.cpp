//===- Stats.cpp - nibble stats --------------------------------------------===//
#include "cli/nibble/Commands.h"
#include "lib/Quant/Statistics.h"
#include "lib/Support/Error.h"
#include "lib/Support/Json.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <CLI/CLI.hpp>
#include <cmath>

using namespace nibble;
using quant::Statistics;
using quant::TensorStatistics;

namespace nibble::cli {
namespace {

constexpr size_t printedBins = 32, barLength = 40;

struct Options {
  std::string path, tensor;
  bool json = false;
};

/// Root mean square of the finite values.
double rootMeanSquare(const TensorStatistics &s) {
  int64_t finite = s.elementCount - s.infiniteCount;
  return finite > 0 ? std::sqrt(s.sumOfSquares / static_cast<double>(finite)) : 0;
}

double mean(const TensorStatistics &s) {
  int64_t finite = s.elementCount - s.infiniteCount;
  return finite > 0 ? s.sum / static_cast<double>(finite) : 0;
}

/// Names come from the model: control characters must not reach the terminal.
std::string printable(llvm::StringRef name) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os.write_escaped(name);
  return text;
}

void printTable(const Statistics &statistics, llvm::raw_ostream &os) {
  os << "fingerprint: " << printable(statistics.fingerprint) << "\nsamples: " << statistics.sampleDigests.size()
     << (statistics.samplesAreRandom ? ", random: NOT CALIBRATED" : "") << "\ntensors: " << statistics.tensors.size() << '\n';
  os << llvm::format("%8s %12s %12s %12s %12s %12s  %s\n", "samples", "elements", "min", "max", "mean", "rms", "tensor");
  for (const auto &[name, s] : statistics.tensors)
    os << llvm::format("%8lld %12lld %12.5g %12.5g %12.5g %12.5g  ", static_cast<long long>(s.sampleCount),
                       static_cast<long long>(s.elementCount), s.min, s.max, mean(s), rootMeanSquare(s))
       << printable(name) << (s.allIntegers ? " (integers)" : "") << '\n';
}

/// The histogram in at most 32 lines, each with a bar in proportion to its count.
void printTensor(llvm::StringRef name, const TensorStatistics &s, llvm::raw_ostream &os) {
  os << "tensor: " << printable(name) << "\nsamples: " << s.sampleCount << "\nelements: " << s.elementCount
     << "\ninfinities: " << s.infiniteCount << "\nall integers: " << (s.allIntegers ? "yes" : "no")
     << llvm::format("\nrange: %.9g to %.9g\n", s.min, s.max)
     << llvm::format("moving average of the range: %.9g to %.9g\n", s.movingMin, s.movingMax)
     << llvm::format("mean: %.9g\nroot mean square: %.9g\n", mean(s), rootMeanSquare(s));
  if (!s.channelSumOfSquares.empty())
    os << "channels: " << s.channelSumOfSquares.size() << " along axis " << s.channelAxis << '\n';
  if (s.histogram.empty())
    return;
  double width = (static_cast<double>(s.histogramMax) - s.histogramMin) / static_cast<double>(s.histogram.size());
  size_t first = 0, last = s.histogram.size();
  while (first < last && s.histogram[first] == 0)
    ++first;
  while (last > first && s.histogram[last - 1] == 0)
    --last;
  size_t group = std::max<size_t>(1, (last - first + printedBins - 1) / printedBins);
  std::vector<int64_t> counts;
  for (size_t bin = first; bin < last; bin += group) {
    int64_t count = 0;
    for (size_t i = bin; i < std::min(last, bin + group); ++i)
      count += s.histogram[i];
    counts.push_back(count);
  }
  int64_t most = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  for (size_t i = 0; i < counts.size(); ++i) {
    size_t length = most ? static_cast<size_t>(static_cast<double>(counts[i]) / static_cast<double>(most) * barLength) : 0;
    os << llvm::format("%12.5g %12lld ", s.histogramMin + static_cast<double>(first + i * group) * width,
                       static_cast<long long>(counts[i]))
       << std::string(length, '#') << '\n';
  }
}

llvm::json::Object toObject(const TensorStatistics &s) {
  llvm::json::Object object{{"samples", s.sampleCount},
                            {"elements", s.elementCount},
                            {"infinities", s.infiniteCount},
                            {"all_integers", s.allIntegers},
                            {"min", s.min},
                            {"max", s.max},
                            {"moving_min", s.movingMin},
                            {"moving_max", s.movingMax},
                            {"mean", mean(s)},
                            {"rms", rootMeanSquare(s)},
                            {"histogram_min", s.histogramMin},
                            {"histogram_max", s.histogramMax},
                            {"histogram", llvm::json::Array(s.histogram)}};
  if (!s.channelSumOfSquares.empty()) {
    object["channel_axis"] = s.channelAxis;
    object["channel_sum_of_squares"] = llvm::json::Array(s.channelSumOfSquares);
    if (!s.channelMin.empty()) {
      object["channel_sum_of_magnitudes"] = llvm::json::Array(s.channelSumOfMagnitudes);
      object["channel_min"] = llvm::json::Array(s.channelMin);
      object["channel_max"] = llvm::json::Array(s.channelMax);
    }
  }
  return object;
}

llvm::Error printStatistics(const Options &options) {
  llvm::Expected<Statistics> statistics = Statistics::load(options.path);
  if (!statistics)
    return statistics.takeError();
  if (!options.tensor.empty()) {
    const TensorStatistics *found = statistics->find(options.tensor);
    if (!found)
      return makeError(ErrorKind::Usage, "'" + options.path + "' has no tensor '" + options.tensor + "'");
    TensorStatistics kept = *found;
    statistics->tensors = {{options.tensor, std::move(kept)}};
  }
  if (options.json) {
    llvm::json::Object tensors;
    for (const auto &[name, s] : statistics->tensors)
      tensors[name] = toObject(s);
    llvm::outs() << formatJson(llvm::json::Object{{"fingerprint", statistics->fingerprint},
                                                  {"samples", statistics->sampleDigests.size()},
                                                  {"random", statistics->samplesAreRandom},
                                                  {"tensors", std::move(tensors)}});
  } else if (!options.tensor.empty()) {
    printTensor(options.tensor, statistics->tensors.begin()->second, llvm::outs());
  } else {
    printTable(*statistics, llvm::outs());
  }
  return llvm::Error::success();
}

} // namespace

void registerStatsCommand(CLI::App &app, int &exitCode) {
  CLI::App *command = app.add_subcommand("stats", "Print what calibration saw of every tensor");
  auto options = std::make_shared<Options>();
  command->add_option("file", options->path, "Statistics file that calibration wrote")->required();
  command->add_option("--tensor", options->tensor, "Print one tensor with its histogram");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &exitCode] { exitCode = reportError(printStatistics(*options), llvm::errs()); });
}

} // namespace nibble::cli
