#include "passes/Lower/IntervalAccumulators.h"
#include "passes/Lower/IntegerConstants.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/ErrorHandling.h"

using namespace mlir;

namespace nibble {
namespace {

/// The sums of the weights above zero and of those below, which give the extremes of the sum of products for any
/// interval of inputs.
struct WeightSums {
  int64_t positive = 0;
  int64_t negative = 0;

  WeightSums &operator+=(const WeightSums &other) {
    positive += other.positive;
    negative += other.negative;
    return *this;
  }
  Interval times(Interval input) const {
    return Interval::point(positive) * input + Interval::point(negative) * input;
  }
};

/// Elements that are summed in 32 bits, which vectorize better than 64: 2^15 elements of 16 bits.
constexpr int64_t chunk = 1 << 15;

template <typename T> WeightSums sumRow(const T *row, int64_t count, int32_t zeroPoint) {
  using Sum = std::conditional_t<(sizeof(T) > 2), int64_t, int32_t>;
  WeightSums sums;
  for (int64_t begin = 0; begin < count; begin += chunk) {
    Sum positive = 0, all = 0;
    for (int64_t i = begin, end = std::min(count, begin + chunk); i < end; ++i) {
      Sum weight = static_cast<Sum>(row[i]) - zeroPoint;
      positive += weight > 0 ? weight : 0;
      all += weight;
    }
    sums += {positive, static_cast<int64_t>(all) - positive};
  }
  return sums;
}

/// Elements [begin, begin + count) of packed nibbles.
WeightSums sumPackedRow(const int8_t *bytes, int64_t begin, int64_t count, int32_t zeroPoint) {
  WeightSums sums;
  auto add = [&](int32_t weight) { sums += {std::max(weight, 0), std::min(weight, 0)}; };
  auto lowNibble = [](int8_t byte) { return static_cast<int8_t>(static_cast<uint8_t>(byte) << 4) >> 4; };
  int64_t end = begin + count;
  if (begin % 2 && begin < end)
    add((bytes[begin++ / 2] >> 4) - zeroPoint);
  if (end % 2 && begin < end)
    add(lowNibble(bytes[--end / 2]) - zeroPoint);
  for (int64_t first = begin / 2; first < end / 2; first += chunk) {
    int32_t positive = 0, all = 0;
    for (int64_t i = first, last = std::min(end / 2, first + chunk); i < last; ++i) {
      int32_t even = lowNibble(bytes[i]) - zeroPoint, odd = (bytes[i] >> 4) - zeroPoint;
      positive += std::max(even, 0) + std::max(odd, 0);
      all += even + odd;
    }
    sums += {positive, all - positive};
  }
  return sums;
}

WeightSums sumElements(const Tensor &tensor, int64_t begin, int64_t count, int32_t zeroPoint) {
  switch (tensor.elementType()) {
  case ElementType::I4: return sumPackedRow(static_cast<const int8_t *>(tensor.raw()), begin, count, zeroPoint);
  case ElementType::I8: return sumRow(tensor.data<int8_t>() + begin, count, zeroPoint);
  case ElementType::I16: return sumRow(tensor.data<int16_t>() + begin, count, zeroPoint);
  case ElementType::I32: return sumRow(tensor.data<int32_t>() + begin, count, zeroPoint);
  default: llvm_unreachable("weights have at most 32 bits");
  }
}

/// Sums of `rows` rows that follow each other.
SmallVector<WeightSums> sumRows(const Tensor &weights, int64_t rows, int32_t zeroPoint) {
  SmallVector<WeightSums> sums(rows);
  int64_t length = weights.elementCount() / rows;
  for (int64_t row = 0; row < rows; ++row)
    sums[row] = sumElements(weights, row * length, length, zeroPoint);
  return sums;
}

/// Sums of columns of a matrix of `columns` columns, from element `begin` on.
template <typename T>
SmallVector<WeightSums> sumColumns(const T *matrix, int64_t rows, int64_t columns, int32_t zeroPoint) {
  SmallVector<int64_t> positive(columns), all(columns);
  for (int64_t row = 0; row < rows; ++row) {
    const T *elements = matrix + row * columns;
    for (int64_t column = 0; column < columns; ++column) {
      int64_t weight = static_cast<int64_t>(elements[column]) - zeroPoint;
      positive[column] += weight > 0 ? weight : 0;
      all[column] += weight;
    }
  }
  SmallVector<WeightSums> sums;
  for (int64_t column = 0; column < columns; ++column)
    sums.push_back({positive[column], all[column] - positive[column]});
  return sums;
}

SmallVector<WeightSums> sumColumns(const Tensor &weights, int64_t begin, int64_t rows, int64_t columns,
                                   int32_t zeroPoint) {
  switch (weights.elementType()) {
  case ElementType::I8: return sumColumns(weights.data<int8_t>() + begin, rows, columns, zeroPoint);
  case ElementType::I16: return sumColumns(weights.data<int16_t>() + begin, rows, columns, zeroPoint);
  case ElementType::I32: return sumColumns(weights.data<int32_t>() + begin, rows, columns, zeroPoint);
  default: break;
  }
  SmallVector<WeightSums> sums(columns);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column)
      sums[column] += sumElements(weights, begin + row * columns + column, 1, zeroPoint);
  return sums;
}

Interval withZero(Interval interval) { return interval.hull(Interval::point(0)); }

/// The weights, where they are constant and of a type that is summed here.
Tensor readWeights(Value value) {
  Tensor weights = readIntegers(value);
  bool isSummed = weights && weights.elementCount() > 0 && bitWidth(weights.elementType()) <= 32 &&
                  weights.elementType() != ElementType::Bool;
  return isSummed ? weights : Tensor();
}

struct ConvolutionBounder {
  IntervalAnalysis &analysis;
  AccumulatorBounds bounds = {};

  /// Adds the bias to the result of `channel` of `count`. A bias of one element is that of all channels.
  void addChannel(Interval sum, Interval partial, std::optional<Interval> bias) {
    Interval result = bias ? sum + *bias : sum;
    bounds.result = bounds.channels.empty() ? result : bounds.result.hull(result);
    bounds.partial = bounds.channels.empty() ? partial : bounds.partial.hull(partial);
    bounds.channels.push_back(result);
  }

  /// `sums` holds, for each of `channels` channels, as many sums as there are sets of weights that may meet in one
  /// result (one, but for transposed convolutions).
  AccumulatorBounds boundConstant(ArrayRef<WeightSums> sums, int64_t channels, Interval input, bool isPadded,
                                  Value bias) {
    Tensor biases = readIntegers(bias);
    Interval anyBias = analysis.of(bias);
    int64_t sets = static_cast<int64_t>(sums.size()) / channels;
    for (int64_t channel = 0; channel < channels; ++channel) {
      std::optional<Interval> sum, partial;
      for (const WeightSums &set : sums.slice(channel * sets, sets)) {
        // What padding leaves out adds nothing, so every result is a part of the sum then.
        Interval part = set.times(withZero(input)), all = isPadded ? part : set.times(input);
        sum = sum ? sum->hull(all) : all;
        partial = partial ? partial->hull(part) : part;
      }
      bool hasOwnBias = biases && biases.elementCount() == channels && bitWidth(biases.elementType()) >= 32;
      addChannel(*sum, *partial, hasOwnBias ? Interval::point(readInteger(biases, channel)) : anyBias);
    }
    return bounds;
  }

  AccumulatorBounds boundUnknown(Interval product, int64_t count, bool isPadded, std::optional<Interval> bias) {
    bounds.partial = withZero(product) * Interval::point(count);
    Interval sum = isPadded ? bounds.partial : product * Interval::point(count);
    bounds.result = bias ? sum + *bias : sum;
    return bounds;
  }

  static int64_t readInteger(const Tensor &tensor, int64_t index) {
    return tensor.elementType() == ElementType::I64 ? tensor.data<int64_t>()[index] : tensor.data<int32_t>()[index];
  }
};

/// Sums of a transposed convolution: of each output channel, one set for each position in the stride, as a result
/// meets only the weights of one.
SmallVector<WeightSums> sumPhases(const Tensor &weights, ArrayRef<int64_t> stride, int32_t zeroPoint) {
  ArrayRef<int64_t> shape = weights.shape();
  SmallVector<WeightSums> rows = sumRows(weights, shape[0] * shape[1] * shape[2], zeroPoint);
  SmallVector<WeightSums> sums(shape[0] * stride[0] * stride[1]);
  for (auto [row, sum] : llvm::enumerate(rows)) {
    int64_t index = static_cast<int64_t>(row);
    int64_t x = index % shape[2], y = index / shape[2] % shape[1], channel = index / shape[2] / shape[1];
    sums[(channel * stride[0] + y % stride[0]) * stride[1] + x % stride[1]] += sum;
  }
  return sums;
}

template <typename Convolution> AccumulatorBounds bound(IntervalAnalysis &analysis, Convolution op) {
  constexpr bool isTransposed = std::is_same_v<Convolution, tosa::TransposeConv2DOp>;
  constexpr bool isDepthwise = std::is_same_v<Convolution, tosa::DepthwiseConv2DOp>;
  bool isPadded = isTransposed;
  if constexpr (!isTransposed)
    isPadded = llvm::any_of(op.getPad(), [](int64_t pad) { return pad != 0; });
  Interval input = analysis.of(op.getInput()) - analysis.of(op.getInputZp());
  Interval zeroPoint = analysis.of(op.getWeightZp());
  Tensor weights = zeroPoint.isPoint() ? readWeights(op.getWeight()) : Tensor();
  ArrayRef<int64_t> shape = cast<ShapedType>(op.getWeight().getType()).getShape();
  int64_t channels = isDepthwise ? shape[2] * shape[3] : shape[0];
  ConvolutionBounder bounder{analysis};
  if (!weights) {
    int64_t products = channels ? elementCount(shape) / channels : 0;
    return bounder.boundUnknown(input * (analysis.of(op.getWeight()) - zeroPoint), products, isPadded,
                                analysis.of(op.getBias()));
  }
  int32_t zero = static_cast<int32_t>(zeroPoint.low);
  SmallVector<WeightSums> sums;
  if constexpr (isTransposed)
    sums = sumPhases(weights, op.getStride(), zero);
  else if constexpr (isDepthwise)
    sums = sumColumns(weights, 0, shape[0] * shape[1], channels, zero);
  else
    sums = sumRows(weights, channels, zero);
  return bounder.boundConstant(sums, channels, input, isPadded, op.getBias());
}

AccumulatorBounds boundMatMul(IntervalAnalysis &analysis, tosa::MatMulOp op) {
  Interval leftZeroPoint = analysis.of(op.getAZp()), rightZeroPoint = analysis.of(op.getBZp());
  ArrayRef<int64_t> leftShape = cast<ShapedType>(op.getA().getType()).getShape();
  ArrayRef<int64_t> rightShape = cast<ShapedType>(op.getB().getType()).getShape();
  ConvolutionBounder bounder{analysis};
  if (Tensor right = rightZeroPoint.isPoint() ? readWeights(op.getB()) : Tensor()) {
    Interval left = analysis.of(op.getA()) - leftZeroPoint;
    int64_t rows = rightShape[1], columns = rightShape[2];
    SmallVector<Interval> results, partials;
    for (int64_t batch = 0; batch < rightShape[0]; ++batch) {
      SmallVector<WeightSums> sums = sumColumns(right, batch * rows * columns, rows, columns,
                                                static_cast<int32_t>(rightZeroPoint.low));
      for (auto [column, sum] : llvm::enumerate(sums)) {
        Interval result = sum.times(left), partial = sum.times(withZero(left));
        if (batch == 0) {
          results.push_back(result);
          partials.push_back(partial);
        } else {
          results[column] = results[column].hull(result);
          partials[column] = partials[column].hull(partial);
        }
      }
    }
    for (auto [result, partial] : llvm::zip_equal(results, partials))
      bounder.addChannel(result, partial, std::nullopt);
    return bounder.bounds;
  }
  Interval right = analysis.of(op.getB()) - rightZeroPoint;
  if (Tensor left = leftZeroPoint.isPoint() ? readWeights(op.getA()) : Tensor()) {
    for (const WeightSums &sum :
         sumRows(left, leftShape[0] * leftShape[1], static_cast<int32_t>(leftZeroPoint.low)))
      bounder.addChannel(sum.times(right), sum.times(withZero(right)), std::nullopt);
    // These are rows, not the last dimension.
    bounder.bounds.channels.clear();
    return bounder.bounds;
  }
  return bounder.boundUnknown((analysis.of(op.getA()) - leftZeroPoint) * right, leftShape[2], false, std::nullopt);
}

} // namespace

std::optional<AccumulatorBounds> boundAccumulator(IntervalAnalysis &analysis, Operation *op) {
  using Result = std::optional<AccumulatorBounds>;
  return llvm::TypeSwitch<Operation *, Result>(op)
      .Case<tosa::Conv2DOp, tosa::Conv3DOp, tosa::DepthwiseConv2DOp, tosa::TransposeConv2DOp>(
          [&](auto convolution) -> Result { return bound(analysis, convolution); })
      .Case([&](tosa::MatMulOp product) -> Result { return boundMatMul(analysis, product); })
      .Default([](Operation *) -> Result { return std::nullopt; });
}

template <typename T> static Interval hullOf(const T *elements, int64_t count) {
  T low = elements[0], high = elements[0];
  for (int64_t i = 1; i < count; ++i) {
    low = std::min(low, elements[i]);
    high = std::max(high, elements[i]);
  }
  return {static_cast<int64_t>(low), static_cast<int64_t>(high)};
}

Interval hullOf(const Tensor &tensor) {
  int64_t count = tensor.elementCount();
  assert(count > 0 && "an empty tensor has no extremes");
  switch (tensor.elementType()) {
  case ElementType::I8: return hullOf(tensor.data<int8_t>(), count);
  case ElementType::I16: return hullOf(tensor.data<int16_t>(), count);
  case ElementType::I32: return hullOf(tensor.data<int32_t>(), count);
  case ElementType::I64: return hullOf(tensor.data<int64_t>(), count);
  default: break;
  }
  SmallVector<int64_t> values = tensor.valuesAsInt64();
  return hullOf(values.data(), count);
}

} // namespace nibble
