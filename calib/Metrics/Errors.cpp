#include "calib/Metrics/Errors.h"
#include "lib/Support/Parallel.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <vector>

namespace nibble::calib {
namespace {

constexpr int64_t tileSize = 16384;
constexpr double infinity = std::numeric_limits<double>::infinity();

Tensor toFloat(const Tensor &tensor) {
  if (tensor.elementType() == ElementType::F32)
    return tensor;
  Tensor result = Tensor::allocate(ElementType::F32, tensor.shape());
  for (int64_t i = 0, count = tensor.elementCount(); i < count; ++i)
    result.mutableData<float>()[i] = static_cast<float>(tensor.valueAsDouble(i));
  return result;
}

double decibels(double ratio) { return 10 * std::log10(ratio); }

/// ln(sum of exp(score)) of one token, and its best class.
std::pair<double, int64_t> logSumExp(const float *scores, int64_t classes) {
  int64_t best = std::max_element(scores, scores + classes) - scores;
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c)
    sum += std::exp(scores[c] - scores[best]);
  return {scores[best] + std::log(sum), best};
}

} // namespace

ErrorAccumulator::Sums ErrorAccumulator::sumTile(const float *reference, const float *actual, int64_t count) {
  // Lanes fix the order of additions, so that the result does not depend on how the loop is vectorised.
  constexpr int64_t lanes = 8;
  double sums[4][lanes] = {};
  float largestError[lanes] = {}, low[lanes], high[lanes];
  std::fill(low, low + lanes, FLT_MAX);
  std::fill(high, high + lanes, -FLT_MAX);
  int64_t whole = count / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes)
    for (int64_t l = 0; l < lanes; ++l) {
      float r = reference[i + l], a = actual[i + l], difference = std::fabs(r - a);
      double wideR = r, wideA = a, error = wideR - wideA;
      sums[0][l] += wideR * wideR;
      sums[1][l] += error * error;
      sums[2][l] += wideA * wideA;
      sums[3][l] += wideR * wideA;
      largestError[l] = difference > largestError[l] ? difference : largestError[l];
      low[l] = r < low[l] ? r : low[l];
      high[l] = r > high[l] ? r : high[l];
    }
  Sums result;
  result.smallest = infinity;
  result.largest = -infinity;
  result.count = whole;
  bool finite = true;
  for (int64_t l = 0; l < lanes; ++l) {
    result.reference += sums[0][l];
    result.error += sums[1][l];
    result.actual += sums[2][l];
    result.product += sums[3][l];
    result.largestError = std::max<double>(result.largestError, largestError[l]);
    result.smallest = std::min<double>(result.smallest, low[l]);
    result.largest = std::max<double>(result.largest, high[l]);
  }
  finite = std::isfinite(result.reference) && std::isfinite(result.actual) && std::isfinite(result.error);
  if (!finite) {
    result = Sums();
    result.smallest = infinity;
    result.largest = -infinity;
    whole = 0;
  }
  for (int64_t i = whole; i < count; ++i) {
    double r = reference[i], a = actual[i], error = r - a;
    if (!std::isfinite(r))
      continue;
    ++result.count;
    result.reference += r * r;
    result.smallest = std::min(result.smallest, r);
    result.largest = std::max(result.largest, r);
    if (!std::isfinite(a)) {
      result.error = result.largestError = infinity;
      continue;
    }
    result.error += error * error;
    result.actual += a * a;
    result.product += r * a;
    result.largestError = std::max(result.largestError, std::fabs(error));
  }
  return result;
}

void ErrorAccumulator::add(const Tensor &reference, const Tensor &actual) {
  Tensor r = toFloat(reference), a = toFloat(actual);
  int64_t elements = r.elementCount(), tiles = (elements + tileSize - 1) / tileSize;
  std::vector<Sums> partial(static_cast<size_t>(tiles));
  parallelFor(tiles, [&](int64_t tile) {
    int64_t first = tile * tileSize;
    partial[tile] = sumTile(r.data<float>() + first, a.data<float>() + first, std::min(tileSize, elements - first));
  });
  for (const Sums &sums : partial) {
    bool isFirst = total.count == 0;
    total.reference += sums.reference;
    total.error += sums.error;
    total.actual += sums.actual;
    total.product += sums.product;
    total.largestError = std::max(total.largestError, sums.largestError);
    total.smallest = isFirst ? sums.smallest : std::min(total.smallest, sums.smallest);
    total.largest = isFirst ? sums.largest : std::max(total.largest, sums.largest);
    total.count += sums.count;
  }
}

double ErrorAccumulator::sqnr() const { return total.error == 0 ? infinity : decibels(total.reference / total.error); }

double ErrorAccumulator::psnr(double peak) const {
  return total.error == 0 ? infinity : decibels(peak * peak * static_cast<double>(total.count) / total.error);
}

double ErrorAccumulator::cosine() const {
  double lengths = std::sqrt(total.reference * total.actual);
  if (lengths == 0)
    return total.reference == total.actual ? 1 : 0;
  return std::min(1.0, total.product / lengths);
}

void TokenAccumulator::add(const Tensor &referenceScores, const Tensor &actualScores) {
  if (referenceScores.rank() == 0 || referenceScores.elementCount() == 0)
    return;
  Tensor reference = toFloat(referenceScores), actual = toFloat(actualScores);
  int64_t classes = reference.shape().back(), rows = reference.elementCount() / classes;
  std::vector<double> divergences(static_cast<size_t>(rows));
  std::vector<char> agree(static_cast<size_t>(rows));
  parallelFor(rows, [&](int64_t row) {
    const float *r = reference.data<float>() + row * classes, *a = actual.data<float>() + row * classes;
    auto [logSumR, bestR] = logSumExp(r, classes);
    auto [logSumA, bestA] = logSumExp(a, classes);
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) {
      double logP = r[c] - logSumR;
      // A class that the reference excludes (-inf) adds nothing.
      if (double p = std::exp(logP); p > 0)
        sum += p * (logP - (a[c] - logSumA));
    }
    // Rounding may leave a tiny negative sum where the distributions are equal.
    divergences[row] = std::max(0.0, sum);
    agree[row] = bestR == bestA;
  });
  for (int64_t row = 0; row < rows; ++row) {
    divergence += divergences[row];
    agreements += agree[row];
  }
  tokens += rows;
}

bool PerplexityAccumulator::add(const Tensor &logits, const Tensor &tokenIds) {
  if (logits.rank() != 3 || tokenIds.rank() != 2 || logits.shape().drop_back() != tokenIds.shape())
    return false;
  Tensor scores = toFloat(logits);
  int64_t batch = logits.shape()[0], sequence = logits.shape()[1], vocabulary = logits.shape()[2];
  llvm::SmallVector<int64_t> ids = tokenIds.valuesAsInt64();
  if (std::any_of(ids.begin(), ids.end(), [&](int64_t id) { return id < 0 || id >= vocabulary; }))
    return false;
  std::vector<double> losses(static_cast<size_t>(batch * sequence));
  parallelFor(batch * sequence, [&](int64_t row) {
    if (row % sequence == sequence - 1)
      return;
    const float *r = scores.data<float>() + row * vocabulary;
    losses[row] = logSumExp(r, vocabulary).first - r[ids[row + 1]];
  });
  for (double loss : losses)
    negativeLogLikelihood += loss;
  tokens += batch * std::max<int64_t>(0, sequence - 1);
  return true;
}

double PerplexityAccumulator::perplexity() const {
  return tokens ? std::exp(negativeLogLikelihood / static_cast<double>(tokens)) : 0;
}

} // namespace nibble::calib
