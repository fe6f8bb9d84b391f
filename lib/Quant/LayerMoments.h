//===- LayerMoments.h - second moments of a layer's inputs ------------------===//
#ifndef NIBBLE_QUANT_LAYERMOMENTS_H
#define NIBBLE_QUANT_LAYERMOMENTS_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nibble::quant {

/// Means over the input vectors x of a layer, which for a convolution are the patches under its kernel (im2col), for
/// each of its groups. Layers that read the same values in the same way share one.
struct LayerMoments {
  int64_t groups = 1, columns = 0;
  /// Input vectors seen, of each group.
  int64_t count = 0;
  /// [groups, columns, columns]: mean of x x^T, symmetric. GPTQ's Hessian is twice this.
  std::vector<float> gram;
  /// [groups, columns]: mean of x.
  std::vector<float> mean;
  /// [groups, columns, columns]: mean of (x_float - x) x^T, where x is what the layer reads in the quantized program
  /// and x_float what it reads in the float program; empty where only one program was run. With the mean of the first.
  std::vector<float> drift;
  std::vector<float> driftMean;

  const float *gramOf(int64_t group) const { return gram.data() + group * columns * columns; }
  const float *driftOf(int64_t group) const { return drift.data() + group * columns * columns; }
  const float *meanOf(int64_t group) const { return mean.data() + group * columns; }
  bool hasDrift() const { return !drift.empty(); }
  /// The moments of x - mean of one group: what counts where a bias takes up the mean of the output's error.
  std::vector<float> centredGram(int64_t group) const;
  /// Bytes that moments of such a layer take.
  static int64_t byteSize(int64_t groups, int64_t columns, bool withDrift);
};

/// Sums moments over batches of input vectors. Deterministic at any thread count; peak memory is that of the result.
class MomentSums {
public:
  MomentSums(int64_t groups, int64_t columns, bool withDrift);

  /// Row-major x [count, columns] of one group. `floats` are the same vectors in the float program, null without
  /// drift; they are overwritten.
  void add(int64_t group, int64_t count, const float *x, float *floats);
  /// The means; the sums are gone afterwards.
  LayerMoments finish();

private:
  LayerMoments sums;
  std::vector<double> meanSums, driftSums;
  std::vector<int64_t> counts;
};

} // namespace nibble::quant

#endif
