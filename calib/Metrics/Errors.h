//===- Errors.h - how far two runs of a model lie apart --------------------===//
//
// Definitions are in docs/spec/numerics.md.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CALIB_METRICS_ERRORS_H
#define NIBBLE_CALIB_METRICS_ERRORS_H

#include "lib/Support/Tensor.h"

namespace nibble::calib {

/// Differences between reference and actual values, accumulated over samples. Elements whose
/// reference is not finite are left out; where only the actual value is not finite the error is infinite.
class ErrorAccumulator {
public:
  /// Both tensors have equally many elements of any type. Deterministic at any thread count.
  void add(const Tensor &reference, const Tensor &actual);

  int64_t elementCount() const { return total.count; }
  /// 10 log10(sum of reference^2 / sum of error^2) in dB; +inf where there is no error.
  double sqnr() const;
  /// 10 log10(peak^2 / mean of error^2) in dB, peak = largest less smallest reference value.
  double psnr() const { return psnr(total.count ? total.largest - total.smallest : 0); }
  /// The same with a given peak.
  double psnr(double peak) const;
  /// Cosine of the angle between the two as vectors; 1 where both are zero.
  double cosine() const;
  double maxError() const { return total.largestError; }

private:
  struct Sums {
    double reference = 0, error = 0, actual = 0, product = 0;
    double largestError = 0, smallest = 0, largest = 0;
    int64_t count = 0;
  };
  static Sums sumTile(const float *reference, const float *actual, int64_t count);
  Sums total;
};

/// Compares class scores, such as logits over a vocabulary: the last axis holds the classes, every
/// other index is a token.
class TokenAccumulator {
public:
  void add(const Tensor &referenceScores, const Tensor &actualScores);
  /// Mean over tokens of KL(reference || actual) of the softmax distributions, in nats.
  double kl() const { return tokens ? divergence / static_cast<double>(tokens) : 0; }
  /// Share of tokens whose best class is the same. The first of equally good classes is the best one.
  double top1Agreement() const { return tokens ? static_cast<double>(agreements) / static_cast<double>(tokens) : 1; }
  int64_t tokenCount() const { return tokens; }

private:
  double divergence = 0;
  int64_t agreements = 0, tokens = 0;
};

/// Perplexity of a language model: exp of the mean over tokens 1..S-1 of -ln softmax(logits[t-1])[id[t]].
class PerplexityAccumulator {
public:
  /// `logits` [batch, sequence, vocabulary] float32, `tokenIds` [batch, sequence] of an integer type.
  /// False where the shapes do not fit or an id is outside the vocabulary.
  [[nodiscard]] bool add(const Tensor &logits, const Tensor &tokenIds);
  double perplexity() const;

private:
  double negativeLogLikelihood = 0;
  int64_t tokens = 0;
};

} // namespace nibble::calib

#endif
