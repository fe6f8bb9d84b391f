//===- LowerConvolution.cpp - convolutions -----------------------------------===//
//
// TOSA stores channels last and has no groups: a depthwise convolution has an operator of its own, other groups
// are convolutions of slices. Windows of one and two dimensions become CONV2D, three CONV3D.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/ShapeInference.h"
#include "passes/Lower/Operands.h"
#include "passes/Lower/Products.h"

using namespace mlir;

namespace nibble {
namespace {

/// Window geometry per spatial dimension.
struct Window {
  Shape kernel, strides, dilations, before, after;
};

/// The pads that TOSA wants: windows end exactly at the end of the padded input. What no window reaches is cut off.
Value fitInput(Lowering &lowering, Value input, const Window &window, llvm::ArrayRef<int64_t> outputs, Shape &before,
               Shape &after) {
  TosaBuilder &b = lowering.b;
  for (size_t i = 0; i < outputs.size(); ++i) {
    auto axis = static_cast<int64_t>(i) + 1;
    int64_t size = b.dims(input)[static_cast<size_t>(axis)];
    int64_t reach = (outputs[i] - 1) * window.strides[i] + (window.kernel[i] - 1) * window.dilations[i] + 1;
    int64_t behind = reach - size - window.before[i];
    if (behind < 0)
      input = b.sliceAxis(input, axis, 0, size + behind);
    before.push_back(window.before[i]);
    after.push_back(std::max<int64_t>(0, behind));
  }
  return input;
}

/// A 16-bit input with a zero point is padded by hand, as TOSA pads it with the integer 0.
Value padByHand(Lowering &lowering, Value input, int64_t zeroPoint, Shape &before, Shape &after) {
  Shape pads = {0, 0};
  for (auto [first, second] : llvm::zip_equal(before, after)) {
    pads.push_back(first);
    pads.push_back(second);
    first = second = 0;
  }
  pads.append({0, 0});
  return lowering.b.pad(input, pads, zeroPoint);
}

Shape interleave(llvm::ArrayRef<int64_t> before, llvm::ArrayRef<int64_t> after) {
  Shape pads;
  for (auto [first, second] : llvm::zip_equal(before, after)) {
    pads.push_back(first);
    pads.push_back(second);
  }
  return pads;
}

/// The accumulators of one group: [N, spatial..., outputs].
FailureOr<Value> convolve(Lowering &lowering, const ProductInput &input, const PreparedWeights &weights,
                          llvm::ArrayRef<double> bias, const Window &window, llvm::ArrayRef<int64_t> outputs,
                          bool isDepthwise) {
  TosaBuilder &b = lowering.b;
  Shape before, after;
  Value value = fitInput(lowering, input.value, window, outputs, before, after);
  if (input.grid.bits == 16 && input.grid.zeroPoint)
    value = padByHand(lowering, value, input.grid.zeroPoint, before, after);
  FailureOr<Value> constant = makeWeights(lowering, weights, input.grid.bits);
  if (failed(constant))
    return failure();
  Value offsets;
  if (isDepthwise) {
    // [height, width, channels, 1]: channels last, unlike the rows that the bias is summed over.
    PreparedWeights rows = weights;
    int64_t channels = weights.shape[2] * weights.shape[3], size = weights.shape[0] * weights.shape[1];
    rows.shape = {channels, size};
    for (int64_t channel = 0; channel < channels; ++channel)
      for (int64_t i = 0; i < size; ++i)
        rows.values[static_cast<size_t>(channel * size + i)] = weights.values[static_cast<size_t>(i * channels + channel)];
    offsets = makeBias(lowering, input, rows, bias);
  } else {
    offsets = makeBias(lowering, input, weights, bias);
  }
  unsigned sumBits = input.grid.bits == 8 ? 32 : 48;
  Shape shape = {b.dims(value)[0]};
  llvm::append_range(shape, outputs);
  shape.push_back(static_cast<int64_t>(bias.size()));
  Type result = b.tensor(shape, sumBits);
  Value zero = b.constant({input.grid.bits == 8 ? input.grid.zeroPoint : 0}, {1}, input.grid.bits);
  Value weightZero = b.constant({0}, {1}, b.bits(*constant));
  Shape pads = interleave(before, after);
  llvm::ArrayRef<int64_t> strides = window.strides, dilations = window.dilations;
  Type sum = b.getIntegerType(sumBits);
  if (isDepthwise)
    return b.create<tosa::DepthwiseConv2DOp>(result, value, *constant, offsets, zero, weightZero, pads, strides, dilations, sum)
        .getResult();
  if (outputs.size() == 3)
    return b.create<tosa::Conv3DOp>(result, value, *constant, offsets, zero, weightZero, pads, strides, dilations, sum)
        .getResult();
  return b.create<tosa::Conv2DOp>(result, value, *constant, offsets, zero, weightZero, pads, strides, dilations, sum).getResult();
}

/// [N, channels, spatial...] as [N, spatial..., channels] with at least two spatial dimensions.
Stored channelsLast(Lowering &lowering, const Stored &input) {
  llvm::SmallVector<int64_t, 6> order = {0};
  for (int64_t dim = 2; dim < input.rank(); ++dim)
    order.push_back(dim);
  order.push_back(1);
  return Stored{lowering.inOrder(input, order), input.grid, order};
}

/// The slice of outputs [start, start + count) of weights with the outputs first.
PreparedWeights sliceOutputs(const PreparedWeights &weights, int64_t start, int64_t count) {
  PreparedWeights part = weights;
  part.shape.front() = count;
  int64_t row = weights.inputs();
  part.values.assign(weights.values.begin() + start * row, weights.values.begin() + (start + count) * row);
  if (weights.scales.size() > 1)
    part.scales.assign(weights.scales.begin() + start, weights.scales.begin() + start + count);
  return part;
}

FailureOr<Stored> lowerConv(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ConvOp>(request.op);
  TosaBuilder &b = lowering.b;
  FailureOr<Stored> found = lowering.find(op.getInput());
  if (failed(found))
    return failure();
  llvm::ArrayRef<int64_t> weightShape = nn::shapeOf(op.getWeight()), resultShape = nn::shapeOf(op.getResult());
  size_t spatial = weightShape.size() - 2;
  if (spatial < 1 || spatial > 3)
    return lowering.refuse(op, "convolutions have an integer form with 1, 2 or 3 spatial dimensions, found " + Twine(spatial));
  SmallVector<int64_t> permutation = {0};
  for (size_t i = 0; i < spatial; ++i)
    permutation.push_back(static_cast<int64_t>(i) + 2);
  permutation.push_back(1);
  FailureOr<SmallVector<PreparedWeights>> prepared = prepareWeights(lowering, op, op.getWeight(), permutation, found->grid.bits);
  if (failed(prepared))
    return failure();
  PreparedWeights weights = std::move(prepared->front());
  FailureOr<std::vector<double>> bias = readBias(lowering, op, op.getBias(), weights.outputs());
  if (failed(bias))
    return failure();

  Stored input = channelsLast(lowering, *found);
  llvm::SmallVector<int64_t, 6> order = input.order;
  Window window{Shape(weightShape.drop_front(2)), Shape(op.getStrides()), Shape(op.getDilations()),
                Shape(op.getPads().take_front(spatial)), Shape(op.getPads().drop_front(spatial))};
  Shape outputs(resultShape.drop_front(2));
  if (spatial == 1) {
    // One row of a picture.
    for (Shape *list : {&window.kernel, &window.strides, &window.dilations, &outputs})
      list->insert(list->begin(), 1);
    for (Shape *list : {&window.before, &window.after})
      list->insert(list->begin(), 0);
    llvm::ArrayRef<int64_t> dims = b.dims(input.value);
    input.value = b.reshape(input.value, {dims[0], 1, dims[1], dims[2]});
    weights.shape.insert(weights.shape.begin() + 1, 1);
  }
  int64_t groups = op.getGroup(), channels = weightShape[1] * groups, outputsPerGroup = weights.outputs() / groups;
  ProductInput product = protectAccumulator(lowering, op, input, weights, *bias);
  SmallVector<double> factors = accumulatorScales(product, weights);
  Value sum;
  if (groups > 1 && groups == channels && outputs.size() == 2) {
    // [height, width, channels, outputs per channel].
    PreparedWeights depthwise = weights;
    int64_t window_ = weights.shape[1] * weights.shape[2], count = weights.outputs();
    depthwise.shape = {weights.shape[1], weights.shape[2], channels, outputsPerGroup};
    for (int64_t output = 0; output < count; ++output)
      for (int64_t i = 0; i < window_; ++i)
        depthwise.values[static_cast<size_t>(i * count + output)] = weights.values[static_cast<size_t>(output * window_ + i)];
    FailureOr<Value> made = convolve(lowering, product, depthwise, *bias, window, outputs, /*isDepthwise=*/true);
    if (failed(made))
      return failure();
    sum = *made;
  } else {
    SmallVector<Value> parts;
    int64_t width = channels / groups;
    for (int64_t group = 0; group < groups; ++group) {
      ProductInput slice = product;
      int64_t axis = b.rank(product.value) - 1;
      slice.value = b.sliceAxis(product.value, axis, group * width, width);
      int64_t start = group * outputsPerGroup;
      FailureOr<Value> part =
          convolve(lowering, slice, sliceOutputs(weights, start, outputsPerGroup),
                   llvm::ArrayRef<double>(*bias).slice(static_cast<size_t>(start), static_cast<size_t>(outputsPerGroup)),
                   window, outputs, /*isDepthwise=*/false);
      if (failed(part))
        return failure();
      // Sums of 48 bits have no CONCAT: every group is rounded before.
      SmallVector<double> own = factors;
      if (factors.size() > 1)
        own.assign(factors.begin() + start, factors.begin() + start + outputsPerGroup);
      parts.push_back(lowering.toGrid(*part, own, request.grid));
    }
    sum = b.concat(parts, b.rank(parts.front()) - 1);
  }
  Value value = b.bits(sum) > 16 ? lowering.toGrid(sum, factors, request.grid) : sum;
  Shape stored = {resultShape[0]};
  llvm::append_range(stored, resultShape.drop_front(2));
  stored.push_back(resultShape[1]);
  return Stored{b.reshape(value, stored), request.grid, order};
}

FailureOr<Stored> lowerConvTranspose(Lowering &lowering, const LoweringRequest &request) {
  auto op = cast<nn::ConvTransposeOp>(request.op);
  TosaBuilder &b = lowering.b;
  FailureOr<Stored> found = lowering.find(op.getInput());
  if (failed(found))
    return failure();
  llvm::ArrayRef<int64_t> weightShape = nn::shapeOf(op.getWeight()), resultShape = nn::shapeOf(op.getResult());
  size_t spatial = weightShape.size() - 2;
  if (spatial != 2 && spatial != 1)
    return lowering.refuse(op, "transposed convolutions have an integer form with 1 or 2 spatial dimensions, found " +
                                   Twine(spatial));
  int64_t groups = op.getGroup();
  // ONNX stores [inputs, outputs per group, window...].
  SmallVector<int64_t> permutation = {1};
  for (size_t i = 0; i < spatial; ++i)
    permutation.push_back(static_cast<int64_t>(i) + 2);
  permutation.push_back(0);
  FailureOr<SmallVector<PreparedWeights>> prepared = prepareWeights(lowering, op, op.getWeight(), permutation, found->grid.bits);
  if (failed(prepared))
    return failure();
  PreparedWeights weights = std::move(prepared->front());
  int64_t outputsPerGroup = weights.outputs(), inputs = weightShape[0];
  FailureOr<std::vector<double>> bias = readBias(lowering, op, op.getBias(), outputsPerGroup * groups);
  if (failed(bias))
    return failure();
  if (groups > 1 && weights.scales.size() > 1)
    return lowering.refuse(op, "a transposed convolution in groups takes one weight scale",
                           "give its weights 'granularity: tensor'");
  Stored input = channelsLast(lowering, *found);
  llvm::SmallVector<int64_t, 6> order = input.order;
  Shape kernel(weightShape.drop_front(2)), strides(op.getStrides()), dilations(op.getDilations());
  Shape before(op.getPads().take_front(spatial)), outputs(resultShape.drop_front(2));
  if (spatial == 1) {
    for (Shape *list : {&kernel, &strides, &dilations, &outputs})
      list->insert(list->begin(), 1);
    before.insert(before.begin(), 0);
    llvm::ArrayRef<int64_t> dims = b.dims(input.value);
    input.value = b.reshape(input.value, {dims[0], 1, dims[1], dims[2]});
    weights.shape.insert(weights.shape.begin() + 1, 1);
  }
  // TOSA's operator has no dilation: the window is filled up with zeros.
  Shape dilated = {(kernel[0] - 1) * dilations[0] + 1, (kernel[1] - 1) * dilations[1] + 1};
  if (dilated[0] != kernel[0] || dilated[1] != kernel[1]) {
    std::vector<int8_t> filled(static_cast<size_t>(outputsPerGroup * dilated[0] * dilated[1] * inputs), 0);
    for (int64_t o = 0; o < outputsPerGroup; ++o)
      for (int64_t y = 0; y < kernel[0]; ++y)
        for (int64_t x = 0; x < kernel[1]; ++x)
          std::copy_n(weights.values.begin() + ((o * kernel[0] + y) * kernel[1] + x) * inputs, inputs,
                      filled.begin() + ((o * dilated[0] + y * dilations[0]) * dilated[1] + x * dilations[1]) * inputs);
    weights.values = std::move(filled);
    weights.shape = {outputsPerGroup, dilated[0], dilated[1], inputs};
  }
  // A pad of ONNX cuts the result, a pad of TOSA widens it.
  llvm::ArrayRef<int64_t> dims = b.dims(input.value);
  Shape pads;
  for (size_t i = 0; i < 2; ++i) {
    int64_t plain = (dims[i + 1] - 1) * strides[i] + dilated[i];
    pads.push_back(-before[i]);
    pads.push_back(outputs[i] - plain + before[i]);
  }
  if (llvm::any_of(llvm::zip_equal(pads, Shape{dilated[0], dilated[0], dilated[1], dilated[1]}), [](auto pair) {
        return std::get<0>(pair) <= -std::get<1>(pair);
      }))
    return lowering.refuse(op, "its pads cut more than its window, for which TOSA has no operator");
  // A zero point outside of TOSA's 8-bit form would have to be added per window position.
  if (input.grid.bits == 16 && input.grid.zeroPoint) {
    double reach = std::max(std::abs(input.grid.lowest()), std::abs(input.grid.highest()));
    Grid symmetric = input.grid;
    symmetric.zeroPoint = 0;
    symmetric.scale = reach / 32767;
    FailureOr<Stored> converted = lowering.convert(input, symmetric);
    if (failed(converted))
      return failure();
    input = *converted;
  }
  SmallVector<Value> parts;
  int64_t width = inputs / groups;
  for (int64_t group = 0; group < groups; ++group) {
    PreparedWeights own = weights;
    own.shape.back() = width;
    own.values.clear();
    for (int64_t row = 0; row < elementCount(weights.shape) / inputs; ++row) {
      auto first = weights.values.begin() + row * inputs + group * width;
      own.values.insert(own.values.end(), first, first + width);
    }
    llvm::ArrayRef<double> ownBias =
        llvm::ArrayRef<double>(*bias).slice(static_cast<size_t>(group * outputsPerGroup), static_cast<size_t>(outputsPerGroup));
    Stored slice = input;
    slice.value = b.sliceAxis(input.value, 3, group * width, width);
    ProductInput product = protectAccumulator(lowering, op, slice, own, ownBias);
    FailureOr<Value> constant = makeWeights(lowering, own, product.grid.bits);
    if (failed(constant))
      return failure();
    unsigned sumBits = product.grid.bits == 8 ? 32 : 48;
    Value zero = b.constant({product.grid.bits == 8 ? product.grid.zeroPoint : 0}, {1}, product.grid.bits);
    Type result = b.tensor({dims[0], outputs[0], outputs[1], outputsPerGroup}, sumBits);
    Value sum = b.create<tosa::TransposeConv2DOp>(result, product.value, *constant, makeBias(lowering, product, own, ownBias),
                                                  zero, b.constant({0}, {1}, b.bits(*constant)), pads, strides,
                                                  b.getIntegerType(sumBits))
                    .getResult();
    parts.push_back(lowering.toGrid(sum, accumulatorScales(product, own), request.grid));
  }
  Value value = b.concat(parts, 3);
  Shape stored = {resultShape[0]};
  llvm::append_range(stored, resultShape.drop_front(2));
  stored.push_back(resultShape[1]);
  return Stored{b.reshape(value, stored), request.grid, order};
}

} // namespace

void registerConvolutionLowerings(LowerRegistry &registry) {
  registry["conv"] = lowerConv;
  registry["conv_transpose"] = lowerConvTranspose;
}

} // namespace nibble
