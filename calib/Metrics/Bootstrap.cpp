#include "calib/Metrics/Bootstrap.h"

#include "llvm/ADT/STLExtras.h"
#include <cassert>
#include <limits>
#include <random>
#include <vector>

namespace nibble::calib {

/// The mean of `count` values, of which value(i) is the i-th. Infinities of both signs would make a NaN.
static double meanOf(size_t count, llvm::function_ref<double(size_t)> value) {
  constexpr double worst = -std::numeric_limits<double>::infinity();
  double sum = 0;
  bool hasWorst = false;
  for (size_t i = 0; i < count; ++i) {
    hasWorst |= value(i) == worst;
    sum += value(i);
  }
  return hasWorst ? worst : sum / static_cast<double>(count);
}

MeanInterval bootstrapMean(llvm::ArrayRef<double> values) {
  assert(!values.empty());
  size_t count = values.size();
  // The standard fixes the numbers of this engine, but not those of its distributions. The remainder favours some values
  // by less than one part in 2^50.
  std::mt19937_64 generator(0);
  std::vector<double> means;
  std::vector<size_t> drawn(count);
  for (int64_t resample = 0; resample < bootstrapResamples; ++resample) {
    for (size_t &index : drawn)
      index = generator() % count;
    means.push_back(meanOf(count, [&](size_t i) { return values[drawn[i]]; }));
  }
  llvm::sort(means);
  auto percentile = [&](double share) { return means[static_cast<size_t>(share * static_cast<double>(means.size() - 1))]; };
  return {meanOf(count, [&](size_t i) { return values[i]; }), percentile(0.025), percentile(0.975)};
}

} // namespace nibble::calib
