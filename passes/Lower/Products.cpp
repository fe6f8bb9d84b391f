#include "passes/Lower/Products.h"

#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "lib/Support/Parallel.h"

#include "llvm/ADT/STLExtras.h"
#include <cmath>

using namespace mlir;

namespace nibble {

namespace {

/// Integers of a stored weight, one per byte, in the model's order.
FailureOr<std::vector<int8_t>> readIntegers(Lowering &lowering, Operation *op, const StoredConstant &constant) {
  ElementType storage = constant.encoding->storage;
  if (storage == ElementType::I4)
    return quant::unpackNibbles(constant.integers);
  if (storage != ElementType::I8)
    return lowering.refuse(op, "TOSA multiplies with weights of int4 and int8, found " + Twine(name(storage)),
                           "give the weights 'bits: 8' and 'symmetric: true'");
  llvm::ArrayRef<int8_t> values = constant.integers.values<int8_t>();
  return std::vector<int8_t>(values.begin(), values.end());
}

/// Strides of a row-major shape.
Shape stridesOf(llvm::ArrayRef<int64_t> shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

/// `values` of `shape` with dimension permutation[i] at place i.
std::vector<int8_t> permute(const std::vector<int8_t> &values, llvm::ArrayRef<int64_t> shape,
                            llvm::ArrayRef<int64_t> permutation) {
  Shape strides = stridesOf(shape), target, steps;
  for (int64_t dim : permutation) {
    target.push_back(shape[static_cast<size_t>(dim)]);
    steps.push_back(strides[static_cast<size_t>(dim)]);
  }
  std::vector<int8_t> result(values.size());
  int64_t outer = target.front(), inner = elementCount(target) / std::max<int64_t>(1, outer);
  // Rows of a transposed matrix are read a cache line at a time.
  constexpr int64_t block = 64;
  parallelFor((outer + block - 1) / block, [&](int64_t tile) {
    int64_t first = tile * block, count = std::min(block, outer - first), source = first * steps[0];
    Shape index(target.size(), 0);
    for (int64_t i = 0; i < inner; ++i) {
      for (int64_t row = 0; row < count; ++row)
        result[static_cast<size_t>((first + row) * inner + i)] = values[static_cast<size_t>(source + row * steps[0])];
      for (size_t dim = index.size(); dim-- > 1;) {
        source += steps[dim];
        if (++index[dim] < target[dim])
          break;
        source -= index[dim] * steps[dim];
        index[dim] = 0;
      }
    }
  });
  return result;
}

} // namespace

FailureOr<SmallVector<PreparedWeights>> prepareWeights(Lowering &lowering, Operation *op, Value value,
                                                       llvm::ArrayRef<int64_t> permutation,
                                                       unsigned activationBits) {
  StoredConstant constant = lowering.findConstant(value);
  if (!constant || !constant.encoding)
    return lowering.refuse(op, "its weights '" + nn::tensorName(value) + "' are not stored as integers",
                           "give them 4 or 8 bits in the recipe");
  const quant::Encoding &encoding = *constant.encoding;
  if (llvm::any_of(encoding.zeroPoints, [](int32_t zeroPoint) { return zeroPoint != 0; }))
    return lowering.refuse(op, "its weights have zero points, for which TOSA has no operator",
                           "give them 'symmetric: true' in the recipe");
  FailureOr<std::vector<int8_t>> integers = readIntegers(lowering, op, constant);
  if (failed(integers))
    return failure();
  bool is4Bit = encoding.storage == ElementType::I4;
  if (is4Bit && activationBits == 16) {
    lowering.remark(op, "its int4 weights are stored as int8, as TOSA multiplies 16-bit activations with 8-bit weights only");
    is4Bit = false;
  }
  if (is4Bit && encoding.quantMin < -7)
    if (llvm::is_contained(*integers, int8_t(-8))) {
      lowering.remark(op, "its int4 weights hold -8, where TOSA's int4 ends at -7: they are stored as int8");
      is4Bit = false;
    }
  llvm::ArrayRef<int64_t> shape = constant.integers.shape();
  auto channelAxis = static_cast<size_t>(permutation.front());
  PreparedWeights whole;
  for (int64_t dim : permutation)
    whole.shape.push_back(shape[static_cast<size_t>(dim)]);

  quant::Granularity granularity = encoding.granularity();
  if (granularity == quant::Granularity::Tensor || granularity == quant::Granularity::Axis) {
    if (encoding.axis && static_cast<size_t>(*encoding.axis) != channelAxis)
      return lowering.refuse(op, "the scales of its weights run along axis " + Twine(*encoding.axis) +
                                     ", the output channels along axis " + Twine(channelAxis));
    whole.values = permute(*integers, shape, permutation);
    whole.is4Bit = is4Bit;
    whole.scales.assign(encoding.scales.begin(), encoding.scales.end());
    return SmallVector<PreparedWeights>{std::move(whole)};
  }

  auto blockAxis = static_cast<size_t>(*encoding.axis);
  int64_t blockSize = *encoding.blockSize, length = shape[blockAxis], blocks = (length + blockSize - 1) / blockSize;
  Shape blockShape(shape), strides = stridesOf(shape);
  blockShape[blockAxis] = blocks;
  Shape blockStrides = stridesOf(blockShape);
  if (granularity == quant::Granularity::LPBQ) {
    // The integer multipliers are part of the weights: |w| <= 7 * 16 or 8 * 16.
    for (int64_t i = 0; i < static_cast<int64_t>(integers->size()); ++i) {
      int64_t block = 0, rest = i;
      for (size_t dim = 0; dim < shape.size(); ++dim) {
        int64_t index = rest / strides[dim];
        rest -= index * strides[dim];
        block += (dim == blockAxis ? index / blockSize : index) * blockStrides[dim];
      }
      int product = (*integers)[static_cast<size_t>(i)] * encoding.blockMultipliers[static_cast<size_t>(block)];
      assert(product >= -128 && product <= 127 && "a product of 4 bits and 1 to 16 has 8 bits");
      (*integers)[static_cast<size_t>(i)] = static_cast<int8_t>(product);
    }
    whole.values = permute(*integers, shape, permutation);
    whole.scales.assign(encoding.scales.begin(), encoding.scales.end());
    return SmallVector<PreparedWeights>{std::move(whole)};
  }

  // Blocks with scales of their own. Only matrices have them, with the inputs last after the permutation.
  if (shape.size() != 2 || static_cast<size_t>(permutation.back()) != blockAxis)
    return lowering.refuse(op, "scales per block have an integer form for matrices only, found weights of rank " +
                                   Twine(shape.size()));
  std::vector<int8_t> ordered = permute(*integers, shape, permutation);
  SmallVector<PreparedWeights> parts;
  int64_t outputs = whole.shape.front();
  for (int64_t block = 0; block < blocks; ++block) {
    PreparedWeights part;
    int64_t start = block * blockSize, size = std::min(blockSize, length - start);
    part.shape = {outputs, size};
    part.is4Bit = is4Bit;
    for (int64_t row = 0; row < outputs; ++row) {
      auto first = ordered.begin() + row * length + start;
      part.values.insert(part.values.end(), first, first + size);
      part.scales.push_back(encoding.scales[static_cast<size_t>(row * blockStrides[channelAxis] + block * blockStrides[blockAxis])]);
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

FailureOr<Value> makeWeights(Lowering &lowering, const PreparedWeights &weights, unsigned activationBits) {
  if (weights.is4Bit && activationBits == 8)
    return lowering.b.weights(quant::packNibbles(weights.values, ElementType::I4, weights.shape));
  return lowering.b.weights(Tensor::fromValues<int8_t>(weights.shape, weights.values));
}

FailureOr<std::vector<double>> readBias(Lowering &lowering, Operation *op, Value value, int64_t outputs) {
  std::vector<double> bias(static_cast<size_t>(outputs), 0.0);
  if (!value)
    return bias;
  StoredConstant constant = lowering.findConstant(value);
  if (!constant || !constant.encoding)
    return lowering.refuse(op, "its bias '" + nn::tensorName(value) + "' is not stored as integers",
                           "export the model with the bias as an addition");
  Tensor reals = constant.reals();
  for (int64_t i = 0; i < outputs; ++i)
    bias[static_cast<size_t>(i)] = reals.valueAsDouble(reals.elementCount() == 1 ? 0 : i);
  return bias;
}

SmallVector<double> accumulatorScales(const ProductInput &input, const PreparedWeights &weights) {
  SmallVector<double> scales;
  for (double scale : weights.scales)
    scales.push_back(scale * input.grid.scale);
  return scales;
}

ProductInput protectAccumulator(Lowering &lowering, Operation *op, const Stored &input, const PreparedWeights &weights,
                                llvm::ArrayRef<double> bias) {
  TosaBuilder &b = lowering.b;
  if (input.grid.bits != 8)
    return {input.value, input.grid};
  Interval range = b.interval(input.value);
  int64_t low = range.low - input.grid.zeroPoint, high = range.high - input.grid.zeroPoint, worst = 0;
  int64_t inputs = weights.inputs();
  for (int64_t row = 0; row < weights.outputs(); ++row) {
    int64_t smallest = 0, largest = 0;
    const int8_t *values = weights.values.data() + row * inputs;
    int64_t positive = 0, negative = 0;
    for (int64_t i = 0; i < inputs; ++i)
      (values[i] > 0 ? positive : negative) += values[i];
    largest = positive * high + negative * low;
    smallest = positive * low + negative * high;
    double scale = weights.scales[weights.scales.size() == 1 ? 0 : static_cast<size_t>(row)] * input.grid.scale;
    auto offset = static_cast<int64_t>(std::abs(bias[static_cast<size_t>(row)] / scale)) + 1;
    worst = std::max({worst, largest + offset, -smallest + offset, largest, -smallest});
  }
  if (worst <= INT32_MAX)
    return {input.value, input.grid};
  lowering.remark(op, "its sums may reach " + Twine(worst) + ", more than 32 bits hold: the input is widened to 16 bits, "
                                                             "whose products are summed in 48");
  Grid wide = input.grid;
  wide.bits = 16;
  wide.zeroPoint = 0;
  wide.low = -32768;
  wide.high = 32767;
  return {b.widen(input.value, input.grid.zeroPoint, 16), wide};
}

Value makeBias(Lowering &lowering, const ProductInput &input, const PreparedWeights &weights, llvm::ArrayRef<double> bias) {
  SmallVector<int64_t> integers;
  bool isWide = input.grid.bits == 16;
  for (int64_t row = 0; row < weights.outputs(); ++row) {
    double scale = weights.scales[weights.scales.size() == 1 ? 0 : static_cast<size_t>(row)] * input.grid.scale;
    auto integer = static_cast<int64_t>(std::nearbyint(bias[static_cast<size_t>(row)] / scale));
    if (isWide && input.grid.zeroPoint) {
      const int8_t *values = weights.values.data() + row * weights.inputs();
      int64_t sum = 0;
      for (int64_t i = 0; i < weights.inputs(); ++i)
        sum += values[i];
      integer -= input.grid.zeroPoint * sum;
    }
    integers.push_back(integer);
  }
  return lowering.b.constant(integers, {weights.outputs()}, isWide ? 48 : 32);
}

/// One matrix product of `input` [1, rows, 1, inputs] with one block of weights, as a 1x1 convolution.
static FailureOr<Value> multiplyBlock(Lowering &lowering, const ProductInput &input, const PreparedWeights &weights,
                                      llvm::ArrayRef<double> bias) {
  TosaBuilder &b = lowering.b;
  PreparedWeights window = weights;
  window.shape = {weights.outputs(), 1, 1, weights.inputs()};
  FailureOr<Value> constant = makeWeights(lowering, window, input.grid.bits);
  if (failed(constant))
    return failure();
  unsigned sumBits = input.grid.bits == 8 ? 32 : 48;
  Value zero = b.constant({input.grid.bits == 8 ? input.grid.zeroPoint : 0}, {1}, input.grid.bits);
  Value weightZero = b.constant({0}, {1}, b.bits(*constant));
  return b
      .create<tosa::Conv2DOp>(b.tensor({1, b.dims(input.value)[1], 1, weights.outputs()}, sumBits), input.value, *constant,
                              makeBias(lowering, input, weights, bias), zero, weightZero, llvm::ArrayRef<int64_t>{0, 0, 0, 0},
                              llvm::ArrayRef<int64_t>{1, 1}, llvm::ArrayRef<int64_t>{1, 1}, b.getIntegerType(sumBits))
      .getResult();
}

FailureOr<Stored> multiplyByWeights(Lowering &lowering, const LoweringRequest &request, const Stored &input,
                                    llvm::ArrayRef<PreparedWeights> blocks, llvm::ArrayRef<double> bias) {
  TosaBuilder &b = lowering.b;
  llvm::ArrayRef<int64_t> stored = b.dims(input.value);
  int64_t inputs = stored.back(), rows = elementCount(stored) / inputs;
  Stored flat = input;
  flat.value = b.reshape(input.value, {1, rows, 1, inputs});
  Shape target(stored);
  target.back() = blocks.front().outputs();
  Value result;
  if (blocks.size() == 1) {
    ProductInput product = protectAccumulator(lowering, request.op, flat, blocks.front(), bias);
    FailureOr<Value> sum = multiplyBlock(lowering, product, blocks.front(), bias);
    if (failed(sum))
      return failure();
    result = lowering.toGrid(*sum, accumulatorScales(product, blocks.front()), request.grid);
  } else {
    // Sums of blocks meet on one i32 grid per output channel, finer than the finest block.
    lowering.remark(request.op, "its weights have a scale per block: " + Twine(blocks.size()) +
                                    " products are rescaled and added, one per block");
    size_t outputs = bias.size();
    SmallVector<double> steps(outputs, 0.0);
    for (const PreparedWeights &block : blocks)
      for (size_t row = 0; row < outputs; ++row)
        // No sum of a block exceeds this, and all together stay below 2^30.
        steps[row] += block.scales[row] * input.grid.scale * 128.0 * static_cast<double>(block.inputs()) *
                      std::ldexp(1.0, static_cast<int>(input.grid.bits));
    for (size_t row = 0; row < outputs; ++row)
      steps[row] = (steps[row] + std::abs(bias[row])) / static_cast<double>(1 << 29);
    int64_t start = 0;
    Value sum;
    for (const PreparedWeights &block : blocks) {
      Stored slice = flat;
      slice.value = b.sliceAxis(flat.value, 3, start, block.inputs());
      start += block.inputs();
      std::vector<double> blockBias(outputs, 0.0);
      if (!sum)
        blockBias.assign(bias.begin(), bias.end());
      ProductInput product = protectAccumulator(lowering, request.op, slice, block, blockBias);
      FailureOr<Value> part = multiplyBlock(lowering, product, block, blockBias);
      if (failed(part))
        return failure();
      SmallVector<double> factors = accumulatorScales(product, block);
      for (size_t row = 0; row < outputs; ++row)
        factors[row] /= steps[row];
      Value common = b.rescale(*part, factors, {32, 0});
      sum = sum ? b.add(sum, common) : common;
    }
    result = lowering.toGrid(sum, steps, request.grid);
  }
  return Stored{b.reshape(result, target), request.grid, input.order};
}

} // namespace nibble
