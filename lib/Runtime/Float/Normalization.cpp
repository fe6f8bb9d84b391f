//===- Normalization.cpp - norms and softmax -------------------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Sums.h"

namespace nibble::runtime {
namespace {

llvm::Error requireFloat(const NodeSpec &spec) {
  if (spec.operands[0].type == ElementType::F32)
    return llvm::Error::success();
  return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 has");
}

struct Moments {
  float mean, inverseDeviation;
};

/// Mean and 1 / sqrt(variance + epsilon), the variance from differences to the mean.
NIBBLE_INLINE inline Moments momentsOf(const float *values, int64_t count, float epsilon) {
  double n = static_cast<double>(std::max<int64_t>(count, 1));
  float mean = static_cast<float>(sumOf(values, count, [](float x) NIBBLE_INLINE { return x; }) / n);
  double variance = sumOf(values, count, [mean](float x) NIBBLE_INLINE { return (x - mean) * (x - mean); }) / n;
  return {mean, static_cast<float>(1.0 / std::sqrt(variance + static_cast<double>(epsilon)))};
}

/// Rows of about this many elements in all make one tile.
constexpr int64_t normalizationTile = 16384;

/// Calls body(row) for every row of `size` elements. `body` is as the one of simd().
template <class Body>
void forEachRow(int64_t rows, int64_t size, Body body) {
  parallelRanges(rows, normalizationTile / std::max<int64_t>(size, 1), [&](int64_t begin, int64_t end) {
    simd([=]() NIBBLE_INLINE {
      for (int64_t row = begin; row < end; ++row)
        body(row);
    });
  });
}

llvm::Expected<Kernel> makeLayerNormalization(const NodeSpec &spec) {
  if (llvm::Error error = requireFloat(spec))
    return std::move(error);
  auto op = llvm::cast<nn::LayerNormalizationOp>(spec.op);
  const Shape &in = spec.operands[0].shape;
  int64_t rank = static_cast<int64_t>(in.size()), axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), rank);
  int64_t rows = dimensionProduct(in, 0, axis), size = dimensionProduct(in, axis, rank);
  if (spec.operands[1].elementCount() != size || (spec.has(2) && spec.operands[2].elementCount() != size))
    return spec.unsupported("scale and bias must have the " + llvm::Twine(size) + " elements of the normalized axes");
  float epsilon = op.getEpsilon().convertToFloat();
  bool hasBias = spec.has(2);
  Kernel kernel;
  kernel.overwritable = {0};
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *x = operands[0].data<float>(), *scale = operands[1].data<float>();
    const float *bias = hasBias ? operands[2].data<float>() : nullptr;
    float *y = results[0].mutableData<float>();
    forEachRow(rows, size, [=](int64_t row) NIBBLE_INLINE {
      const float *in = x + row * size;
      float *out = y + row * size;
      Moments m = momentsOf(in, size, epsilon);
      if (bias) {
        NIBBLE_INDEPENDENT
        for (int64_t i = 0; i < size; ++i)
          out[i] = (in[i] - m.mean) * m.inverseDeviation * scale[i] + bias[i];
      } else {
        NIBBLE_INDEPENDENT
        for (int64_t i = 0; i < size; ++i)
          out[i] = (in[i] - m.mean) * m.inverseDeviation * scale[i];
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}

llvm::Expected<Kernel> makeRMSNormalization(const NodeSpec &spec) {
  if (llvm::Error error = requireFloat(spec))
    return std::move(error);
  auto op = llvm::cast<nn::RMSNormalizationOp>(spec.op);
  const Shape &in = spec.operands[0].shape;
  int64_t rank = static_cast<int64_t>(in.size()), axis = normalizeAxis(static_cast<int64_t>(op.getAxis()), rank);
  int64_t rows = dimensionProduct(in, 0, axis), size = dimensionProduct(in, axis, rank);
  if (spec.operands[1].elementCount() != size)
    return spec.unsupported("scale must have the " + llvm::Twine(size) + " elements of the normalized axes");
  float epsilon = op.getEpsilon().convertToFloat();
  Kernel kernel;
  kernel.overwritable = {0};
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *x = operands[0].data<float>(), *scale = operands[1].data<float>();
    float *y = results[0].mutableData<float>();
    forEachRow(rows, size, [=](int64_t row) NIBBLE_INLINE {
      const float *in = x + row * size;
      float *out = y + row * size;
      double meanSquare = sumOf(in, size, [](float v) NIBBLE_INLINE { return v * v; }) /
                          static_cast<double>(std::max<int64_t>(size, 1));
      float factor = static_cast<float>(1.0 / std::sqrt(meanSquare + static_cast<double>(epsilon)));
      NIBBLE_INDEPENDENT
      for (int64_t i = 0; i < size; ++i)
        out[i] = in[i] * factor * scale[i];
    });
    return llvm::Error::success();
  };
  return kernel;
}

/// Groups of `channelsPerGroup` channel planes are normalized together, then scaled per channel.
llvm::Expected<Kernel> makeGroups(const NodeSpec &spec, int64_t groups, float epsilon) {
  if (llvm::Error error = requireFloat(spec))
    return std::move(error);
  const Shape &in = spec.operands[0].shape;
  int64_t rank = static_cast<int64_t>(in.size()), channels = in[1], plane = dimensionProduct(in, 2, rank);
  if (groups < 1 || channels % groups != 0 || spec.operands[1].elementCount() != channels ||
      spec.operands[2].elementCount() != channels)
    return spec.unsupported("scale and bias must have one element for each of the " + llvm::Twine(channels) +
                            " channels, which " + llvm::Twine(groups) + " groups must divide");
  int64_t perGroup = channels / groups, count = in[0] * groups;
  Kernel kernel;
  kernel.overwritable = {0};
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *x = operands[0].data<float>(), *scale = operands[1].data<float>(), *bias = operands[2].data<float>();
    float *y = results[0].mutableData<float>();
    int64_t size = perGroup * plane;
    forEachRow(count, size, [=](int64_t group) NIBBLE_INLINE {
      Moments m = momentsOf(x + group * size, size, epsilon);
      for (int64_t c = 0; c < perGroup; ++c) {
        int64_t channel = group % groups * perGroup + c;
        float factor = m.inverseDeviation * scale[channel], shift = bias[channel] - m.mean * factor;
        const float *in = x + group * size + c * plane;
        float *out = y + group * size + c * plane;
        NIBBLE_INDEPENDENT
        for (int64_t i = 0; i < plane; ++i)
          out[i] = in[i] * factor + shift;
      }
    });
    return llvm::Error::success();
  };
  return kernel;
}
llvm::Expected<Kernel> makeInstanceNormalization(const NodeSpec &spec) {
  auto op = llvm::cast<nn::InstanceNormalizationOp>(spec.op);
  return makeGroups(spec, spec.operands[0].shape[1], op.getEpsilon().convertToFloat());
}
llvm::Expected<Kernel> makeGroupNormalization(const NodeSpec &spec) {
  auto op = llvm::cast<nn::GroupNormalizationOp>(spec.op);
  return makeGroups(spec, static_cast<int64_t>(op.getNumGroups()), op.getEpsilon().convertToFloat());
}

llvm::Expected<Kernel> makeBatchNormalization(const NodeSpec &spec) {
  if (llvm::Error error = requireFloat(spec))
    return std::move(error);
  const Shape &in = spec.operands[0].shape;
  int64_t channels = in.size() > 1 ? in[1] : 1, plane = dimensionProduct(in, 2, static_cast<int64_t>(in.size()));
  float epsilon = llvm::cast<nn::BatchNormalizationOp>(spec.op).getEpsilon().convertToFloat();
  Kernel kernel;
  kernel.overwritable = {0};
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *x = operands[0].data<float>();
    float *y = results[0].mutableData<float>();
    const float *scale = operands[1].data<float>(), *bias = operands[2].data<float>();
    const float *mean = operands[3].data<float>(), *variance = operands[4].data<float>();
    forEachRow(in.empty() ? 0 : in[0] * channels, plane, [=](int64_t row) NIBBLE_INLINE {
      int64_t c = row % channels;
      float factor = scale[c] / std::sqrt(variance[c] + epsilon);
      float shift = bias[c] - mean[c] * factor;
      NIBBLE_INDEPENDENT
      for (int64_t i = row * plane; i < (row + 1) * plane; ++i)
        y[i] = x[i] * factor + shift;
    });
    return llvm::Error::success();
  };
  return kernel;
}

/// Softmax along an axis that is not the last: `inner` neighbouring columns at once.
NIBBLE_INLINE inline void softmaxColumns(const float *in, float *out, int64_t size, int64_t inner, int64_t columns,
                                         bool isLog) {
  constexpr int64_t width = 64;
  float maximum[width], sum[width];
  for (int64_t begin = 0; begin < columns; begin += width) {
    int64_t count = std::min(width, columns - begin);
    std::fill_n(maximum, count, -std::numeric_limits<float>::infinity());
    std::fill_n(sum, count, 0.0f);
    for (int64_t i = 0; i < size; ++i)
      for (int64_t c = 0; c < count; ++c)
        maximum[c] = maximum[c] > in[i * inner + begin + c] ? maximum[c] : in[i * inner + begin + c];
    for (int64_t i = 0; i < size; ++i)
      for (int64_t c = 0; c < count; ++c) {
        float e = fastExp(in[i * inner + begin + c] - maximum[c]);
        sum[c] += e;
        out[i * inner + begin + c] = isLog ? in[i * inner + begin + c] - maximum[c] : e;
      }
    for (int64_t c = 0; c < count; ++c)
      sum[c] = isLog ? std::log(sum[c]) : 1.0f / sum[c];
    for (int64_t i = 0; i < size; ++i)
      for (int64_t c = 0; c < count; ++c) {
        float &value = out[i * inner + begin + c];
        value = isLog ? value - sum[c] : value * sum[c];
      }
  }
}

llvm::Expected<Kernel> makeSoftmaxOf(const NodeSpec &spec, int64_t axis, bool isLog) {
  if (llvm::Error error = requireFloat(spec))
    return std::move(error);
  const Shape &in = spec.operands[0].shape;
  int64_t rank = static_cast<int64_t>(in.size());
  axis = normalizeAxis(axis, rank);
  int64_t outer = dimensionProduct(in, 0, axis), size = rank ? in[static_cast<size_t>(axis)] : 1;
  int64_t inner = dimensionProduct(in, axis + 1, rank);
  Kernel kernel;
  if (inner == 1)
    kernel.overwritable = {0};
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const float *x = operands[0].data<float>();
    float *y = results[0].mutableData<float>();
    parallelRanges(outer, 8192 / std::max<int64_t>(size * inner, 1), [&](int64_t begin, int64_t end) {
      simd([=]() NIBBLE_INLINE {
        for (int64_t row = begin; row < end; ++row) {
          const float *in = x + row * size * inner;
          float *out = y + row * size * inner;
          if (inner != 1) {
            softmaxColumns(in, out, size, inner, inner, isLog);
          } else if (isLog) {
            float maximum = maximumOf(in, size);
            double sum = sumOf(in, size, [maximum](float v) NIBBLE_INLINE { return fastExp(v - maximum); });
            float shift = static_cast<float>(std::log(sum));
            NIBBLE_INDEPENDENT
            for (int64_t i = 0; i < size; ++i)
              out[i] = in[i] - maximum - shift;
          } else {
            softmaxRow(in, out, size);
          }
        }
      });
    });
    return llvm::Error::success();
  };
  return kernel;
}
llvm::Expected<Kernel> makeSoftmax(const NodeSpec &spec) {
  return makeSoftmaxOf(spec, static_cast<int64_t>(llvm::cast<nn::SoftmaxOp>(spec.op).getAxis()), false);
}
llvm::Expected<Kernel> makeLogSoftmax(const NodeSpec &spec) {
  return makeSoftmaxOf(spec, static_cast<int64_t>(llvm::cast<nn::LogSoftmaxOp>(spec.op).getAxis()), true);
}

} // namespace

void registerNormalizationKernels(KernelRegistry &registry) {
  registry["nn.layer_normalization"] = makeLayerNormalization;
  registry["nn.rms_normalization"] = makeRMSNormalization;
  registry["nn.instance_normalization"] = makeInstanceNormalization;
  registry["nn.group_normalization"] = makeGroupNormalization;
  registry["nn.batch_normalization"] = makeBatchNormalization;
  registry["nn.softmax"] = makeSoftmax;
  registry["nn.log_softmax"] = makeLogSoftmax;
}

} // namespace nibble::runtime
