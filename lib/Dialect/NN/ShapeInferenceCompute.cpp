//===- ShapeInferenceCompute.cpp - operators that compute ------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/ShapeInference.h"

#include "llvm/ADT/SmallBitVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace nibble::nn {

static constexpr int64_t kDynamic = ShapedType::kDynamic;

/// Whether two dimensions may be equal.
static bool mayEqual(int64_t a, int64_t b) {
  return a == b || ShapedType::isDynamic(a) || ShapedType::isDynamic(b);
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

LogicalResult MatMulOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> a = shapeOf(getLhs()), b = shapeOf(getRhs());
  auto mismatch = [&] {
    return emitOpError("cannot multiply ") << getLhs().getType() << " by " << getRhs().getType();
  };
  if (a.empty() || b.empty() || elementTypeOf(getLhs()) != elementTypeOf(getRhs()))
    return mismatch();
  int64_t depth = b.size() == 1 ? b[0] : b[b.size() - 2];
  std::optional<Shape> result = broadcastShapes({a.drop_back(std::min<size_t>(a.size(), 2)),
                                                 b.drop_back(std::min<size_t>(b.size(), 2))});
  if (!mayEqual(a.back(), depth) || !result)
    return mismatch();
  if (a.size() > 1)
    result->push_back(a[a.size() - 2]);
  if (b.size() > 1)
    result->push_back(b.back());
  resultTypes.push_back(RankedTensorType::get(*result, elementTypeOf(getLhs())));
  return success();
}

LogicalResult GemmOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> a = shapeOf(getA()), b = shapeOf(getB());
  if (a.size() != 2 || b.size() != 2 || !mayEqual(a[!getTransA()], b[getTransB()]))
    return emitOpError("cannot multiply ") << getA().getType() << " by " << getB().getType();
  Shape result{a[getTransA()], b[!getTransB()]};
  if (getC()) {
    std::optional<Shape> sum = broadcastShapes({result, shapeOf(getC())});
    if (!sum || sum->size() != 2 || !mayEqual((*sum)[0], result[0]) || !mayEqual((*sum)[1], result[1]))
      return emitOpError("cannot broadcast ") << getC().getType() << " to the product's shape";
  }
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getA())));
  return success();
}

std::optional<EinsumEquation> EinsumEquation::parse(llvm::StringRef equation) {
  EinsumEquation result;
  std::string text;
  for (char c : equation)
    if (c != ' ')
      text += c;
  auto [left, right] = llvm::StringRef(text).split("->");
  auto isWord = [](llvm::StringRef word) { return llvm::all_of(word, llvm::isAlpha); };
  llvm::SmallVector<llvm::StringRef> words;
  left.split(words, ',');
  for (llvm::StringRef word : words) {
    if (!isWord(word))
      return std::nullopt;
    result.inputs.push_back(word.str());
  }
  if (llvm::StringRef(text).contains("->")) {
    if (!isWord(right) || llvm::any_of(right, [&](char c) { return !left.contains(c) || right.count(c) > 1; }))
      return std::nullopt;
    result.output = right.str();
    return result;
  }
  // Without an arrow the result has the letters that occur once, in alphabetical order.
  for (char c : left)
    if (c != ',' && left.count(c) == 1)
      result.output += c;
  llvm::sort(result.output);
  return result;
}

LogicalResult EinsumOp::inferShapes(ResultTypes &resultTypes) {
  std::optional<EinsumEquation> equation = EinsumEquation::parse(getEquation());
  if (!equation)
    return emitOpError("cannot read equation \"") << getEquation() << "\"; it must name every index by a letter";
  if (equation->inputs.size() != getInputs().size())
    return emitOpError("equation \"") << getEquation() << "\" has " << equation->inputs.size() << " terms, but there are "
                                      << getInputs().size() << " operands";
  std::array<int64_t, 256> sizes;
  sizes.fill(1);
  for (auto [word, input] : llvm::zip_equal(equation->inputs, getInputs())) {
    llvm::ArrayRef<int64_t> shape = shapeOf(input);
    if (word.size() != shape.size())
      return emitOpError("term \"") << word << "\" does not fit " << input.getType();
    for (auto [letter, dimension] : llvm::zip_equal(word, shape)) {
      int64_t &size = sizes[static_cast<unsigned char>(letter)];
      if (size == 1 || (ShapedType::isDynamic(size) && dimension != 1))
        size = dimension;
      else if (dimension != 1 && !mayEqual(size, dimension))
        return emitOpError("index ") << llvm::StringRef(&letter, 1) << " has sizes " << size << " and " << dimension;
    }
  }
  Shape result;
  for (char letter : equation->output)
    result.push_back(sizes[static_cast<unsigned char>(letter)]);
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInputs()[0])));
  return success();
}

//===----------------------------------------------------------------------===//
// Windows
//===----------------------------------------------------------------------===//

/// Elements that a dilated kernel spans.
static int64_t extent(int64_t kernel, int64_t dilation) { return (kernel - 1) * dilation + 1; }

SmallVector<int64_t> resolveAutoPad(llvm::StringRef autoPad, llvm::ArrayRef<int64_t> pads,
                                    llvm::ArrayRef<int64_t> input, llvm::ArrayRef<int64_t> kernel,
                                    llvm::ArrayRef<int64_t> strides, llvm::ArrayRef<int64_t> dilations) {
  if (autoPad.empty() || autoPad == "NOTSET")
    return SmallVector<int64_t>(pads);
  size_t rank = input.size();
  SmallVector<int64_t> result(2 * rank, 0);
  if (autoPad == "VALID")
    return result;
  for (size_t i = 0; i < rank; ++i) {
    if (ShapedType::isDynamic(input[i]) || ShapedType::isDynamic(kernel[i]))
      continue;
    int64_t output = llvm::divideCeil(input[i], strides[i]);
    int64_t total = std::max<int64_t>(0, (output - 1) * strides[i] + extent(kernel[i], dilations[i]) - input[i]);
    result[i] = autoPad == "SAME_UPPER" ? total / 2 : total - total / 2;
    result[i + rank] = total - result[i];
  }
  return result;
}

SmallVector<int64_t> resolveTransposedPads(llvm::StringRef autoPad, llvm::ArrayRef<int64_t> pads,
                                           llvm::ArrayRef<int64_t> input, llvm::ArrayRef<int64_t> kernel,
                                           llvm::ArrayRef<int64_t> strides, llvm::ArrayRef<int64_t> dilations,
                                           llvm::ArrayRef<int64_t> outputPadding,
                                           llvm::ArrayRef<int64_t> outputShape) {
  bool isSame = autoPad.starts_with("SAME");
  if (outputShape.empty() && !isSame && autoPad != "VALID")
    return SmallVector<int64_t>(pads);
  size_t rank = input.size();
  SmallVector<int64_t> result(2 * rank, 0);
  for (size_t i = 0; i < rank && (isSame || !outputShape.empty()); ++i) {
    if (ShapedType::isDynamic(input[i]) || ShapedType::isDynamic(kernel[i]))
      continue;
    int64_t wanted = outputShape.empty() ? input[i] * strides[i] : outputShape[i];
    int64_t total = std::max<int64_t>(
        0, strides[i] * (input[i] - 1) + outputPadding[i] + extent(kernel[i], dilations[i]) - wanted);
    result[i] = autoPad == "SAME_UPPER" ? total / 2 : total - total / 2;
    result[i + rank] = total - result[i];
  }
  return result;
}

/// Attributes of a window, checked against the number of spatial dimensions.
struct Window {
  llvm::ArrayRef<int64_t> input;
  SmallVector<int64_t> kernel;
  llvm::ArrayRef<int64_t> strides, pads, dilations;
  llvm::StringRef autoPad;
};

/// Largest stride, dilation or pad, so that products of them stay inside int64.
static constexpr int64_t maximumWindow = int64_t(1) << 31;

static LogicalResult checkWindow(Operation *op, const Window &window) {
  size_t rank = window.input.size();
  if (rank == 0 || window.kernel.size() != rank || window.strides.size() != rank || window.dilations.size() != rank ||
      window.pads.size() != 2 * rank)
    return op->emitOpError("has ") << rank << " spatial dimensions, but " << window.kernel.size() << " kernel sizes, "
                                   << window.strides.size() << " strides, " << window.dilations.size()
                                   << " dilations and " << window.pads.size() << " pads";
  auto isWrong = [](int64_t value) { return value < 1 || value > maximumWindow; };
  if (llvm::any_of(window.strides, isWrong) || llvm::any_of(window.dilations, isWrong) ||
      llvm::any_of(window.kernel, [&](int64_t size) { return !ShapedType::isDynamic(size) && isWrong(size); }))
    return op->emitOpError("kernel sizes, strides and dilations must be positive");
  if (llvm::any_of(window.pads, [](int64_t pad) { return pad < 0 || pad > maximumWindow; }))
    return op->emitOpError("pads must not be negative");
  llvm::StringRef autoPad = window.autoPad;
  if (autoPad != "NOTSET" && autoPad != "VALID" && autoPad != "SAME_UPPER" && autoPad != "SAME_LOWER")
    return op->emitOpError("auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, but is ") << autoPad;
  return success();
}

/// Appends the output sizes of a convolution or pooling to `result`.
static LogicalResult appendWindowSizes(Operation *op, const Window &window, bool ceilMode, Shape &result) {
  size_t rank = window.input.size();
  SmallVector<int64_t> pads = resolveAutoPad(window.autoPad, window.pads, window.input, window.kernel, window.strides,
                                             window.dilations);
  for (size_t i = 0; i < rank; ++i) {
    if (ShapedType::isDynamic(window.input[i]) || ShapedType::isDynamic(window.kernel[i])) {
      result.push_back(kDynamic);
      continue;
    }
    int64_t stride = window.strides[i];
    int64_t room = window.input[i] + pads[i] + pads[i + rank] - extent(window.kernel[i], window.dilations[i]);
    if (room < 0)
      return op->emitOpError("window of size ") << extent(window.kernel[i], window.dilations[i])
                                                << " is larger than the padded input of size "
                                                << window.input[i] + pads[i] + pads[i + rank];
    int64_t size = (ceilMode ? llvm::divideCeil(room, stride) : room / stride) + 1;
    // A window may not start beyond the input and the padding before it.
    if (ceilMode && (size - 1) * stride >= window.input[i] + pads[i])
      --size;
    result.push_back(size);
  }
  return success();
}

LogicalResult ConvOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> input = shapeOf(getInput()), weight = shapeOf(getWeight());
  if (input.size() < 3 || weight.size() != input.size())
    return emitOpError("cannot convolve ") << getInput().getType() << " with " << getWeight().getType();
  Window window{input.drop_front(2), SmallVector<int64_t>(weight.drop_front(2)), getStrides(), getPads(),
                getDilations(), getAutoPad()};
  if (failed(checkWindow(*this, window)))
    return failure();
  int64_t group = getGroup();
  bool isStatic = !ShapedType::isDynamic(input[1]) && !ShapedType::isDynamic(weight[1]);
  if (group < 1 || (isStatic && (input[1] % group != 0 || input[1] / group != weight[1])) ||
      (!ShapedType::isDynamic(weight[0]) && weight[0] % group != 0))
    return emitOpError("group ") << group << " does not fit " << getInput().getType() << " and "
                                 << getWeight().getType();
  if (getBias() && (shapeOf(getBias()).size() != 1 || !mayEqual(shapeOf(getBias())[0], weight[0])))
    return emitOpError("bias of type ") << getBias().getType() << " does not fit " << weight[0] << " output channels";
  Shape result{input[0], weight[0]};
  if (failed(appendWindowSizes(*this, window, /*ceilMode=*/false, result)))
    return failure();
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInput())));
  return success();
}

LogicalResult ConvTransposeOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> input = shapeOf(getInput()), weight = shapeOf(getWeight());
  if (input.size() < 3 || weight.size() != input.size() || !mayEqual(input[1], weight[0]))
    return emitOpError("cannot convolve ") << getInput().getType() << " with " << getWeight().getType();
  Window window{input.drop_front(2), SmallVector<int64_t>(weight.drop_front(2)), getStrides(), getPads(),
                getDilations(), getAutoPad()};
  size_t rank = window.input.size();
  llvm::ArrayRef<int64_t> outputShape = getOutputShape().value_or(llvm::ArrayRef<int64_t>());
  if (failed(checkWindow(*this, window)))
    return failure();
  if (getOutputPadding().size() != rank || (!outputShape.empty() && outputShape.size() != rank))
    return emitOpError("output_padding and output_shape must have ") << rank << " entries";
  int64_t channels = 0;
  if (getGroup() < 1 || (!ShapedType::isDynamic(input[1]) && input[1] % getGroup() != 0) ||
      (!ShapedType::isDynamic(weight[1]) && llvm::MulOverflow(weight[1], getGroup(), channels)))
    return emitOpError("group ") << getGroup() << " does not fit " << getWeight().getType();
  Shape result{input[0], ShapedType::isDynamic(weight[1]) ? kDynamic : channels};
  SmallVector<int64_t> pads = resolveTransposedPads(getAutoPad(), getPads(), window.input, window.kernel, getStrides(),
                                                    getDilations(), getOutputPadding(), outputShape);
  for (size_t i = 0; i < rank; ++i) {
    int64_t size = kDynamic;
    if (!outputShape.empty())
      size = outputShape[i];
    else if (!ShapedType::isDynamic(window.input[i]) && !ShapedType::isDynamic(window.kernel[i]) &&
             window.input[i] <= maximumWindow)
      size = getStrides()[i] * (window.input[i] - 1) + getOutputPadding()[i] +
             extent(window.kernel[i], getDilations()[i]) - pads[i] - pads[i + rank];
    if (size < 0 && !ShapedType::isDynamic(size))
      return emitOpError("pads are larger than the result");
    result.push_back(size);
  }
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInput())));
  return success();
}

template <typename PoolOp> static LogicalResult inferPoolOf(PoolOp op, ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> input = shapeOf(op.getInput());
  if (input.size() < 3)
    return op.emitOpError("needs spatial dimensions, but the input has type ") << op.getInput().getType();
  Window window{input.drop_front(2), SmallVector<int64_t>(op.getKernelShape()), op.getStrides(), op.getPads(),
                op.getDilations(), op.getAutoPad()};
  Shape result(input.take_front(2));
  if (failed(checkWindow(op, window)) || failed(appendWindowSizes(op, window, op.getCeilMode(), result)))
    return failure();
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(op.getInput())));
  return success();
}

LogicalResult inferPool(Operation *op, ResultTypes &resultTypes) {
  if (auto pool = dyn_cast<MaxPoolOp>(op))
    return inferPoolOf(pool, resultTypes);
  return inferPoolOf(cast<AveragePoolOp>(op), resultTypes);
}

LogicalResult inferGlobalPool(Operation *op, ResultTypes &resultTypes) {
  Shape shape(shapeOf(op->getOperand(0)));
  if (shape.size() < 3)
    return op->emitOpError("needs spatial dimensions, but the input has type ") << op->getOperand(0).getType();
  std::fill(shape.begin() + 2, shape.end(), 1);
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(op->getOperand(0))));
  return success();
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

template <typename ReduceOp> static LogicalResult inferReductionOf(ReduceOp op, ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> shape = shapeOf(op.getInput());
  SmallVector<int64_t> axes;
  if (op.getAxes()) {
    std::optional<SmallVector<int64_t>> given = readConstantIntegers(op.getAxes());
    if (!given)
      return op.emitOpError("axes must be constant");
    axes = *given;
  }
  if (axes.empty() && !op.getNoopWithEmptyAxes())
    axes = llvm::to_vector(llvm::seq<int64_t>(0, shape.size()));
  llvm::SmallBitVector reduced(shape.size());
  for (int64_t value : axes) {
    llvm::FailureOr<int64_t> axis = normalizeAxis(op, value, shape.size(), "axis");
    if (failed(axis))
      return failure();
    reduced.set(*axis);
  }
  Shape result;
  for (auto [index, dimension] : llvm::enumerate(shape)) {
    if (!reduced.test(index))
      result.push_back(dimension);
    else if (op.getKeepdims())
      result.push_back(1);
  }
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(op.getInput())));
  return success();
}

LogicalResult inferReduction(Operation *op, ResultTypes &resultTypes) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<ReduceMeanOp, ReduceSumOp, ReduceMaxOp, ReduceMinOp, ReduceProdOp, ReduceL1Op, ReduceL2Op,
            ReduceSumSquareOp, ReduceLogSumExpOp>([&](auto reduce) { return inferReductionOf(reduce, resultTypes); })
      .Default([](Operation *other) { return other->emitOpError("is not a reduction"); });
}

template <typename ArgOp> static LogicalResult inferArgumentOf(ArgOp op, ResultTypes &resultTypes) {
  Shape shape(shapeOf(op.getInput()));
  llvm::FailureOr<int64_t> axis = normalizeAxis(op, op.getAxis(), shape.size(), "axis");
  if (failed(axis))
    return failure();
  if (op.getKeepdims())
    shape[*axis] = 1;
  else
    shape.erase(shape.begin() + *axis);
  resultTypes.push_back(RankedTensorType::get(shape, IntegerType::get(op.getContext(), 64)));
  return success();
}

LogicalResult inferArgument(Operation *op, ResultTypes &resultTypes) {
  if (auto argMax = dyn_cast<ArgMaxOp>(op))
    return inferArgumentOf(argMax, resultTypes);
  return inferArgumentOf(cast<ArgMinOp>(op), resultTypes);
}

LogicalResult TopKOp::inferShapes(ResultTypes &resultTypes) {
  Shape shape(shapeOf(getInput()));
  llvm::FailureOr<int64_t> axis = normalizeAxis(*this, getAxis(), shape.size(), "axis");
  if (failed(axis))
    return failure();
  std::optional<SmallVector<int64_t>> k = readConstantIntegers(getK());
  if (k && (k->size() != 1 || k->front() < 0 || (!ShapedType::isDynamic(shape[*axis]) && k->front() > shape[*axis])))
    return emitOpError("k does not fit axis ") << *axis << " of " << getInput().getType();
  shape[*axis] = k ? k->front() : kDynamic;
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getInput())));
  resultTypes.push_back(RankedTensorType::get(shape, IntegerType::get(getContext(), 64)));
  return success();
}

//===----------------------------------------------------------------------===//
// Normalization and attention
//===----------------------------------------------------------------------===//

LogicalResult inferNormalization(Operation *op, ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> input = shapeOf(op->getOperand(0));
  if (isa<LayerNormalizationOp, RMSNormalizationOp>(op)) {
    if (failed(inferAlongAxis(op, resultTypes)))
      return failure();
    for (Value parameter : op->getOperands().drop_front()) {
      std::optional<Shape> shape = broadcastShapes({input, shapeOf(parameter)});
      if (!shape || shape->size() != input.size() || !llvm::all_of_zip(*shape, input, mayEqual))
        return op->emitOpError("cannot broadcast ") << parameter.getType() << " to " << op->getOperand(0).getType();
    }
    return success();
  }
  if (input.size() < 2)
    return op->emitOpError("needs a channel dimension, but the input has type ") << op->getOperand(0).getType();
  for (Value parameter : op->getOperands().drop_front())
    if (shapeOf(parameter).size() != 1 || !mayEqual(shapeOf(parameter)[0], input[1]))
      return op->emitOpError("parameter of type ") << parameter.getType() << " does not fit " << input[1]
                                                   << " channels";
  if (auto group = dyn_cast<GroupNormalizationOp>(op))
    if (group.getNumGroups() < 1 || (!ShapedType::isDynamic(input[1]) && input[1] % group.getNumGroups() != 0))
      return op->emitOpError("cannot cut ") << input[1] << " channels into " << group.getNumGroups() << " groups";
  return inferSameAsInput(op, resultTypes);
}

LogicalResult RotaryEmbeddingOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> input = shapeOf(getInput());
  if (input.size() != 3 && input.size() != 4)
    return emitOpError("input must have rank 3 or 4, but has type ") << getInput().getType();
  for (Value cache : {getCosCache(), getSinCache()})
    if (shapeOf(cache).size() != 2)
      return emitOpError("caches must have rank 2, but one has type ") << cache.getType();
  if (getNumHeads() < 0 || getRotaryDim() < 0 || getRotaryDim() % 2 != 0)
    return emitOpError("num_heads must not be negative and rotary_dim must be even, but are ")
           << getNumHeads() << " and " << getRotaryDim();
  if (getRotaryDim() > 0 && getNumHeads() == 0 && input.size() == 3)
    return emitOpError("needs num_heads where rotary_dim is given and the input has rank 3");
  if (input.size() == 3 && getNumHeads() > 0 && !ShapedType::isDynamic(input[2]) && input[2] % getNumHeads() != 0)
    return emitOpError("cannot cut size ") << input[2] << " into " << getNumHeads() << " heads";
  resultTypes.push_back(cast<RankedTensorType>(getInput().getType()));
  return success();
}

LogicalResult GroupQueryAttentionOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> query = shapeOf(getQuery());
  int64_t heads = getNumHeads(), keyHeads = getKvNumHeads();
  if (query.size() != 3)
    return emitOpError("query must have type [batch, sequence, hidden], but has type ") << getQuery().getType();
  if (heads < 1 || keyHeads < 1 || heads > maximumWindow || heads % keyHeads != 0)
    return emitOpError("num_heads must be a positive multiple of kv_num_heads, but they are ")
           << heads << " and " << keyHeads;
  if (!getKey() != !getValue() || !getPastKey() != !getPastValue())
    return emitOpError("needs both of key and value, and both of past_key and past_value, or neither");
  if (getDoRotary() && (!getCosCache() || !getSinCache()))
    return emitOpError("needs cos_cache and sin_cache where do_rotary is true");
  if (ShapedType::isDynamic(query[2]))
    return emitOpError("needs a static hidden size, but query has type ") << getQuery().getType();
  // Without key and value the query holds all three, one after the other.
  int64_t parts = getKey() ? heads : heads + 2 * keyHeads;
  if (query[2] % parts != 0)
    return emitOpError("cannot cut hidden size ") << query[2] << " into " << parts << " heads";
  int64_t headSize = query[2] / parts;
  for (Value operand : {getKey(), getValue()})
    if (operand && (shapeOf(operand).size() != 3 || !mayEqual(shapeOf(operand)[2], keyHeads * headSize)))
      return emitOpError("key and value must have hidden size ") << keyHeads * headSize << ", but one has type "
                                                                 << operand.getType();
  for (Value operand : {getPastKey(), getPastValue()})
    if (operand && (shapeOf(operand).size() != 4 || !mayEqual(shapeOf(operand)[1], keyHeads) ||
                    !mayEqual(shapeOf(operand)[3], headSize)))
      return emitOpError("past must have type [batch, ") << keyHeads << ", past, " << headSize << "], but has type "
                                                         << operand.getType();
  int64_t past = getPastKey() ? shapeOf(getPastKey())[2] : 0, total = kDynamic;
  if (std::optional<SmallVector<int64_t>> given = readConstantIntegers(getTotalSequenceLength());
      given && given->size() == 1 && !ShapedType::isDynamic(past))
    total = std::max(past, given->front());
  Type elementType = elementTypeOf(getQuery());
  auto present = RankedTensorType::get({query[0], keyHeads, total, headSize}, elementType);
  resultTypes.push_back(RankedTensorType::get({query[0], query[1], heads * headSize}, elementType));
  resultTypes.push_back(present);
  resultTypes.push_back(present);
  return success();
}

} // namespace nibble::nn
