//===- ShapeInferenceMovement.cpp - operators that move data ---------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/ShapeInference.h"

#include "llvm/ADT/SmallBitVector.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;

namespace nibble::nn {

static constexpr int64_t kDynamic = ShapedType::kDynamic;

/// The number of elements of `shape`, or nullopt where a dimension is dynamic or the product overflows.
static std::optional<int64_t> staticCount(llvm::ArrayRef<int64_t> shape) {
  int64_t count = 1;
  for (int64_t dimension : shape)
    if (ShapedType::isDynamic(dimension) || llvm::MulOverflow(count, dimension, count))
      return std::nullopt;
  return count;
}

/// The length of the rank-1 tensor `value`, or an error on `op`.
static llvm::FailureOr<int64_t> lengthOf(Operation *op, Value value, llvm::StringRef what) {
  llvm::ArrayRef<int64_t> shape = shapeOf(value);
  if (shape.size() != 1 || ShapedType::isDynamic(shape[0]))
    return op->emitOpError() << what << " must be a list of known length, but has type " << value.getType();
  return shape[0];
}

LogicalResult ShapeOp::inferShapes(ResultTypes &resultTypes) {
  int64_t rank = shapeOf(getInput()).size();
  auto clampIndex = [&](int64_t index) { return std::clamp<int64_t>(index < 0 ? index + rank : index, 0, rank); };
  int64_t start = clampIndex(getStart()), end = clampIndex(getEnd().value_or(rank));
  resultTypes.push_back(
      RankedTensorType::get({std::max<int64_t>(end - start, 0)}, IntegerType::get(getContext(), 64)));
  return success();
}

LogicalResult SizeOp::inferShapes(ResultTypes &resultTypes) {
  resultTypes.push_back(RankedTensorType::get({}, IntegerType::get(getContext(), 64)));
  return success();
}

LogicalResult ReshapeOp::inferShapes(ResultTypes &resultTypes) {
  llvm::FailureOr<int64_t> rank = lengthOf(*this, getShape(), "shape");
  if (failed(rank))
    return failure();
  std::optional<SmallVector<int64_t>> wanted = readConstantIntegers(getShape());
  if (!wanted) {
    resultTypes.push_back(RankedTensorType::get(Shape(*rank, kDynamic), elementTypeOf(getInput())));
    return success();
  }
  llvm::ArrayRef<int64_t> input = shapeOf(getInput());
  Shape shape(wanted->begin(), wanted->end());
  std::optional<size_t> inferred;
  for (auto [index, dimension] : llvm::enumerate(shape)) {
    if (dimension == -1) {
      if (inferred)
        return emitOpError("shape has more than one -1");
      inferred = index;
    } else if (dimension == 0 && !getAllowzero()) {
      if (index >= input.size())
        return emitOpError("shape copies dimension ") << index << ", but the input has type " << getInput().getType();
      dimension = input[index];
    } else if (dimension < 0) {
      return emitOpError("shape has the negative dimension ") << dimension;
    }
  }
  if (inferred)
    shape[*inferred] = 1;
  std::optional<int64_t> have = staticCount(input), want = staticCount(shape);
  if (inferred) {
    if (have && want && *want > 0 && *have % *want == 0)
      shape[*inferred] = *have / *want;
    else if (have && want)
      return emitOpError("cannot infer -1: ") << *have << " elements are not a multiple of " << *want;
    else
      shape[*inferred] = kDynamic;
  } else if (have && want && *have != *want) {
    return emitOpError("input has ") << *have << " elements, but the shape holds " << *want;
  }
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getInput())));
  return success();
}

LogicalResult FlattenOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> shape = shapeOf(getInput());
  int64_t rank = shape.size(), axis = getAxis();
  if (axis < -rank || axis > rank)
    return emitOpError("axis must be in [") << -rank << ", " << rank << "], but is " << axis;
  axis = axis < 0 ? axis + rank : axis;
  resultTypes.push_back(RankedTensorType::get({staticCount(shape.take_front(axis)).value_or(kDynamic),
                                               staticCount(shape.drop_front(axis)).value_or(kDynamic)},
                                              elementTypeOf(getInput())));
  return success();
}

LogicalResult SqueezeOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> shape = shapeOf(getInput());
  llvm::SmallBitVector dropped(shape.size());
  if (getAxes()) {
    std::optional<SmallVector<int64_t>> axes = readConstantIntegers(getAxes());
    if (!axes)
      return emitOpError("axes must be constant");
    for (int64_t value : *axes) {
      llvm::FailureOr<int64_t> axis = normalizeAxis(*this, value, shape.size(), "axis");
      if (failed(axis))
        return failure();
      if (shape[*axis] != 1 && !ShapedType::isDynamic(shape[*axis]))
        return emitOpError("cannot drop axis ") << *axis << " of size " << shape[*axis];
      dropped.set(*axis);
    }
  } else {
    for (auto [index, dimension] : llvm::enumerate(shape)) {
      if (ShapedType::isDynamic(dimension))
        return emitOpError("without axes needs a static shape, but the input has type ") << getInput().getType();
      dropped[index] = dimension == 1;
    }
  }
  Shape result;
  for (auto [index, dimension] : llvm::enumerate(shape))
    if (!dropped[index])
      result.push_back(dimension);
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInput())));
  return success();
}

LogicalResult UnsqueezeOp::inferShapes(ResultTypes &resultTypes) {
  std::optional<SmallVector<int64_t>> axes = readConstantIntegers(getAxes());
  if (!axes)
    return emitOpError("axes must be constant");
  llvm::ArrayRef<int64_t> shape = shapeOf(getInput());
  int64_t rank = shape.size() + axes->size();
  llvm::SmallBitVector added(rank);
  for (int64_t value : *axes) {
    llvm::FailureOr<int64_t> axis = normalizeAxis(*this, value, rank, "axis");
    if (failed(axis))
      return failure();
    if (added.test(*axis))
      return emitOpError("has axis ") << *axis << " twice";
    added.set(*axis);
  }
  Shape result;
  for (int64_t axis = 0; axis < rank; ++axis) {
    result.push_back(added.test(axis) ? 1 : shape.front());
    if (!added.test(axis))
      shape = shape.drop_front();
  }
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInput())));
  return success();
}

LogicalResult TransposeOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> shape = shapeOf(getInput()), perm = getPerm();
  llvm::SmallBitVector seen(shape.size());
  Shape result;
  if (perm.size() != shape.size())
    return emitOpError("perm has ") << perm.size() << " entries, but the input has type " << getInput().getType();
  for (int64_t axis : perm) {
    if (axis < 0 || axis >= static_cast<int64_t>(shape.size()) || seen.test(axis))
      return emitOpError("perm is not a permutation of ") << shape.size() << " axes";
    seen.set(axis);
    result.push_back(shape[axis]);
  }
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInput())));
  return success();
}

LogicalResult ConcatOp::inferShapes(ResultTypes &resultTypes) {
  if (getInputs().empty())
    return emitOpError("needs at least one operand");
  llvm::ArrayRef<int64_t> first = shapeOf(getInputs()[0]);
  llvm::FailureOr<int64_t> axis = normalizeAxis(*this, getAxis(), first.size(), "axis");
  if (failed(axis))
    return failure();
  Shape result(first);
  result[*axis] = 0;
  for (Value input : getInputs()) {
    llvm::ArrayRef<int64_t> shape = shapeOf(input);
    if (shape.size() != first.size() || elementTypeOf(input) != elementTypeOf(getInputs()[0]))
      return emitOpError("operands must agree in rank and element type, but have ")
             << getInputs()[0].getType() << " and " << input.getType();
    for (auto [index, dimension] : llvm::enumerate(shape)) {
      int64_t &out = result[index];
      if (static_cast<int64_t>(index) == *axis) {
        if (ShapedType::isDynamic(dimension) || ShapedType::isDynamic(out))
          out = kDynamic;
        else if (llvm::AddOverflow(out, dimension, out))
          return emitOpError("result is too large");
      } else if (ShapedType::isDynamic(out)) {
        out = dimension;
      } else if (out != dimension && !ShapedType::isDynamic(dimension)) {
        return emitOpError("operands differ outside of axis ")
               << *axis << ": " << getInputs()[0].getType() << " and " << input.getType();
      }
    }
  }
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInputs()[0])));
  return success();
}

LogicalResult SplitOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> shape = shapeOf(getInput());
  llvm::FailureOr<int64_t> axis = normalizeAxis(*this, getAxis(), shape.size(), "axis");
  if (failed(axis))
    return failure();
  int64_t count = getNumResults(), size = shape[*axis];
  SmallVector<int64_t> sizes(count, kDynamic);
  if (std::optional<SmallVector<int64_t>> given = readConstantIntegers(getSizes())) {
    int64_t sum = 0;
    for (int64_t part : *given)
      if (part < 0 || llvm::AddOverflow(sum, part, sum))
        return emitOpError("has the wrong size ") << part;
    if (static_cast<int64_t>(given->size()) != count)
      return emitOpError("has ") << given->size() << " sizes, but " << count << " results";
    if (sum != size && !ShapedType::isDynamic(size))
      return emitOpError("sizes add up to ") << sum << ", but axis " << *axis << " has size " << size;
    sizes = *given;
  } else if (!getSizes() && !ShapedType::isDynamic(size) && count > 0) {
    // Parts are equal but for the last, which takes what is left.
    int64_t part = llvm::divideCeil(size, count);
    if (size < part * (count - 1))
      return emitOpError("cannot cut size ") << size << " into " << count << " parts";
    sizes.assign(count, part);
    sizes.back() = size - part * (count - 1);
  }
  for (int64_t part : sizes) {
    Shape result(shape);
    result[*axis] = part;
    resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInput())));
  }
  return success();
}

llvm::FailureOr<std::optional<SmallVector<SliceRange>>> resolveSlice(Operation *op) {
  auto slice = cast<SliceOp>(op);
  using Ranges = SmallVector<SliceRange>;
  llvm::ArrayRef<int64_t> shape = shapeOf(slice.getInput());
  std::optional<SmallVector<int64_t>> starts = readConstantIntegers(slice.getStarts());
  std::optional<SmallVector<int64_t>> ends = readConstantIntegers(slice.getEnds());
  if (!starts || !ends)
    return std::optional<Ranges>();
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  SmallVector<int64_t> steps(starts->size(), 1);
  for (auto [operand, list] : {std::pair(slice.getAxes(), &axes), std::pair(slice.getSteps(), &steps)}) {
    if (!operand)
      continue;
    std::optional<SmallVector<int64_t>> values = readConstantIntegers(operand);
    if (!values)
      return std::optional<Ranges>();
    *list = *values;
  }
  if (ends->size() != starts->size() || axes.size() != starts->size() || steps.size() != starts->size())
    return op->emitOpError("starts, ends, axes and steps must be equally long, but have ")
           << starts->size() << ", " << ends->size() << ", " << axes.size() << " and " << steps.size() << " entries";
  Ranges ranges;
  llvm::SmallBitVector seen(shape.size());
  for (auto [start, end, givenAxis, step] : llvm::zip_equal(*starts, *ends, axes, steps)) {
    llvm::FailureOr<int64_t> axis = normalizeAxis(op, givenAxis, shape.size(), "axis");
    if (failed(axis))
      return failure();
    if (seen.test(*axis))
      return op->emitOpError("has axis ") << *axis << " twice";
    seen.set(*axis);
    if (step == 0)
      return op->emitOpError("step of axis ") << *axis << " is 0";
    int64_t size = shape[*axis];
    if (ShapedType::isDynamic(size))
      return std::optional<Ranges>();
    // Clamping first keeps the arithmetic away from the limits of int64.
    auto fromFront = [&](int64_t index) { return std::clamp<int64_t>(index, -size - 1, size) + (index < 0 ? size : 0); };
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    int64_t first = std::clamp<int64_t>(fromFront(start), step > 0 ? 0 : std::min<int64_t>(0, high), high);
    int64_t last = std::clamp<int64_t>(fromFront(end), low, high);
    int64_t count = 0;
    if (step > 0 && last > first)
      count = (last - first - 1) / step + 1;
    else if (step < 0 && first > last)
      count = (last - first + 1) / step + 1;
    ranges.push_back({*axis, first, step, count});
  }
  return std::optional<Ranges>(std::move(ranges));
}

LogicalResult SliceOp::inferShapes(ResultTypes &resultTypes) {
  auto ranges = resolveSlice(*this);
  if (failed(ranges))
    return failure();
  Shape shape(shapeOf(getInput()));
  if (*ranges) {
    for (const SliceRange &range : **ranges)
      shape[range.axis] = range.size;
  } else if (std::optional<SmallVector<int64_t>> axes = readConstantIntegers(getAxes())) {
    for (int64_t value : *axes) {
      llvm::FailureOr<int64_t> axis = normalizeAxis(*this, value, shape.size(), "axis");
      if (failed(axis))
        return failure();
      shape[*axis] = kDynamic;
    }
  } else {
    shape.assign(shape.size(), kDynamic);
  }
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getInput())));
  return success();
}

LogicalResult ExpandOp::inferShapes(ResultTypes &resultTypes) {
  llvm::FailureOr<int64_t> rank = lengthOf(*this, getShape(), "shape");
  if (failed(rank))
    return failure();
  llvm::ArrayRef<int64_t> input = shapeOf(getInput());
  Shape result(std::max<int64_t>(*rank, input.size()), kDynamic);
  if (std::optional<SmallVector<int64_t>> wanted = readConstantIntegers(getShape())) {
    for (int64_t dimension : *wanted)
      if (dimension < 0)
        return emitOpError("shape has the negative dimension ") << dimension;
    std::optional<Shape> shape = broadcastShapes({input, *wanted});
    if (!shape) {
      InFlightDiagnostic error = emitOpError("cannot broadcast ") << getInput().getType() << " to the shape [";
      llvm::interleaveComma(*wanted, error);
      return error << ']';
    }
    result = *shape;
  }
  resultTypes.push_back(RankedTensorType::get(result, elementTypeOf(getInput())));
  return success();
}

LogicalResult TileOp::inferShapes(ResultTypes &resultTypes) {
  Shape shape(shapeOf(getInput()));
  std::optional<SmallVector<int64_t>> repeats = readConstantIntegers(getRepeats());
  if (repeats && repeats->size() != shape.size())
    return emitOpError("has ") << repeats->size() << " repeats, but the input has type " << getInput().getType();
  for (auto [index, dimension] : llvm::enumerate(shape)) {
    if (!repeats) {
      dimension = kDynamic;
      continue;
    }
    int64_t repeat = (*repeats)[index];
    if (repeat < 0)
      return emitOpError("has the negative repeat ") << repeat;
    if (!ShapedType::isDynamic(dimension) && llvm::MulOverflow(dimension, repeat, dimension))
      return emitOpError("result is too large");
  }
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getInput())));
  return success();
}

LogicalResult PadOp::inferShapes(ResultTypes &resultTypes) {
  Shape shape(shapeOf(getInput()));
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, shape.size()));
  std::optional<SmallVector<int64_t>> pads = readConstantIntegers(getPads());
  if (getAxes()) {
    std::optional<SmallVector<int64_t>> given = readConstantIntegers(getAxes());
    if (!given)
      return emitOpError("axes must be constant");
    axes = *given;
  }
  if (pads && pads->size() != 2 * axes.size())
    return emitOpError("needs two pads per axis: ") << 2 * axes.size() << ", but has " << pads->size();
  for (auto [index, value] : llvm::enumerate(axes)) {
    llvm::FailureOr<int64_t> axis = normalizeAxis(*this, value, shape.size(), "axis");
    if (failed(axis))
      return failure();
    int64_t &dimension = shape[*axis];
    if (!pads || ShapedType::isDynamic(dimension)) {
      dimension = kDynamic;
      continue;
    }
    if (llvm::AddOverflow(dimension, (*pads)[index], dimension) ||
        llvm::AddOverflow(dimension, (*pads)[index + axes.size()], dimension) || dimension < 0)
      return emitOpError("pads ") << (*pads)[index] << " and " << (*pads)[index + axes.size()] << " do not fit axis "
                                  << *axis << " of " << getInput().getType();
  }
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getInput())));
  return success();
}

LogicalResult GatherOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> data = shapeOf(getData()), indices = shapeOf(getIndices());
  llvm::FailureOr<int64_t> axis = normalizeAxis(*this, getAxis(), data.size(), "axis");
  if (failed(axis))
    return failure();
  Shape shape(data.take_front(*axis));
  llvm::append_range(shape, indices);
  llvm::append_range(shape, data.drop_front(*axis + 1));
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getData())));
  return success();
}

LogicalResult GatherElementsOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> data = shapeOf(getData()), indices = shapeOf(getIndices());
  if (failed(normalizeAxis(*this, getAxis(), data.size(), "axis")))
    return failure();
  if (data.size() != indices.size())
    return emitOpError("data and indices must have one rank, but have types ")
           << getData().getType() << " and " << getIndices().getType();
  resultTypes.push_back(RankedTensorType::get(indices, elementTypeOf(getData())));
  return success();
}

LogicalResult GatherNDOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> data = shapeOf(getData()), indices = shapeOf(getIndices());
  int64_t batch = getBatchDims();
  if (batch < 0 || batch >= static_cast<int64_t>(indices.size()) || batch >= static_cast<int64_t>(data.size()))
    return emitOpError("batch_dims ") << batch << " does not fit " << getData().getType() << " and "
                                      << getIndices().getType();
  int64_t depth = indices.back();
  if (ShapedType::isDynamic(depth) || depth < 0 || batch + depth > static_cast<int64_t>(data.size()))
    return emitOpError("indices of type ") << getIndices().getType() << " do not fit data of type "
                                           << getData().getType();
  Shape shape(indices.drop_back());
  llvm::append_range(shape, data.drop_front(batch + depth));
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getData())));
  return success();
}

/// The input's shape with channels divided by `channelFactor` and both spatial sizes by `spaceFactor`.
static llvm::FailureOr<Shape> moveBlocks(Operation *op, int64_t blocksize, bool toSpace) {
  Shape shape(shapeOf(op->getOperand(0)));
  int64_t square = 0;
  if (shape.size() != 4 || blocksize < 1 || llvm::MulOverflow(blocksize, blocksize, square))
    return op->emitOpError("needs a rank-4 input and a positive blocksize, but has ")
           << op->getOperand(0).getType() << " and " << blocksize;
  auto scale = [&](int64_t &dimension, int64_t factor, bool up) {
    if (ShapedType::isDynamic(dimension))
      return true;
    if (up)
      return !llvm::MulOverflow(dimension, factor, dimension);
    bool divides = dimension % factor == 0;
    dimension /= factor;
    return divides;
  };
  if (!scale(shape[1], square, !toSpace) || !scale(shape[2], blocksize, toSpace) ||
      !scale(shape[3], blocksize, toSpace))
    return op->emitOpError("blocksize ") << blocksize << " does not fit " << op->getOperand(0).getType();
  return shape;
}

LogicalResult DepthToSpaceOp::inferShapes(ResultTypes &resultTypes) {
  llvm::FailureOr<Shape> shape = moveBlocks(*this, getBlocksize(), /*toSpace=*/true);
  if (failed(shape))
    return failure();
  resultTypes.push_back(RankedTensorType::get(*shape, elementTypeOf(getInput())));
  return success();
}

LogicalResult SpaceToDepthOp::inferShapes(ResultTypes &resultTypes) {
  llvm::FailureOr<Shape> shape = moveBlocks(*this, getBlocksize(), /*toSpace=*/false);
  if (failed(shape))
    return failure();
  resultTypes.push_back(RankedTensorType::get(*shape, elementTypeOf(getInput())));
  return success();
}

/// The single number of a constant, of integer or float type.
static std::optional<double> readNumber(Value value) {
  if (std::optional<SmallVector<int64_t>> integers = readConstantIntegers(value))
    return integers->size() == 1 ? std::optional<double>(static_cast<double>(integers->front())) : std::nullopt;
  return readConstantScalar(value);
}

LogicalResult RangeOp::inferShapes(ResultTypes &resultTypes) {
  std::optional<double> start = readNumber(getStart()), limit = readNumber(getLimit()), delta = readNumber(getDelta());
  int64_t count = kDynamic;
  if (start && limit && delta) {
    double exact = std::ceil((*limit - *start) / *delta);
    if (*delta == 0 || !(exact <= static_cast<double>(maximumElementCount)))
      return emitOpError("cannot count from ") << *start << " to " << *limit << " in steps of " << *delta;
    count = std::max<int64_t>(0, static_cast<int64_t>(std::max(exact, 0.0)));
  }
  resultTypes.push_back(RankedTensorType::get({count}, elementTypeOf(getStart())));
  return success();
}

LogicalResult ConstantOfShapeOp::inferShapes(ResultTypes &resultTypes) {
  llvm::FailureOr<int64_t> rank = lengthOf(*this, getShape(), "shape");
  if (failed(rank))
    return failure();
  Shape shape(*rank, kDynamic);
  if (std::optional<SmallVector<int64_t>> values = readConstantIntegers(getShape())) {
    for (int64_t dimension : *values)
      if (dimension < 0)
        return emitOpError("shape has the negative dimension ") << dimension;
    shape.assign(values->begin(), values->end());
  }
  resultTypes.push_back(RankedTensorType::get(shape, getValue().getElementType()));
  return success();
}

LogicalResult OneHotOp::inferShapes(ResultTypes &resultTypes) {
  llvm::ArrayRef<int64_t> indices = shapeOf(getIndices());
  llvm::FailureOr<int64_t> axis = normalizeAxis(*this, getAxis(), indices.size() + 1, "axis");
  if (failed(axis))
    return failure();
  std::optional<double> depth = readNumber(getDepth());
  if (depth && !(*depth >= 0 && *depth <= static_cast<double>(maximumElementCount)))
    return emitOpError("has the wrong depth ") << *depth;
  Shape shape(indices);
  shape.insert(shape.begin() + *axis, depth ? static_cast<int64_t>(*depth) : kDynamic);
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getValues())));
  return success();
}

LogicalResult ResizeOp::inferShapes(ResultTypes &resultTypes) {
  Shape shape(shapeOf(getInput()));
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, shape.size()));
  if (std::optional<llvm::ArrayRef<int64_t>> given = getAxes())
    axes.assign(given->begin(), given->end());
  if (!getScales() == !getSizes())
    return emitOpError("needs one of scales and sizes");
  SmallVector<int64_t> sizes(axes.size(), kDynamic);
  if (getSizes()) {
    if (std::optional<SmallVector<int64_t>> values = readConstantIntegers(getSizes()))
      sizes = *values;
  } else {
    llvm::Expected<Tensor> scales = readConstant(getScales());
    if (!scales)
      return emitOpError() << llvm::toString(scales.takeError());
    if (*scales && scales->elementCount() != static_cast<int64_t>(axes.size()))
      return emitOpError("has ") << scales->elementCount() << " scales for " << axes.size() << " axes";
    for (auto [index, value] : llvm::enumerate(axes)) {
      if (!*scales || value < 0 || value >= static_cast<int64_t>(shape.size()) || ShapedType::isDynamic(shape[value]))
        continue;
      // In float, as ONNX Runtime does: 3 * 1.6666666f is 5 there, and below 5 in double.
      float exact = static_cast<float>(shape[value]) * static_cast<float>(scales->valueAsDouble(index));
      sizes[index] = exact >= 0 && exact <= static_cast<float>(maximumElementCount) ? static_cast<int64_t>(exact) : -1;
    }
  }
  if (sizes.size() != axes.size())
    return emitOpError("has ") << sizes.size() << " sizes for " << axes.size() << " axes";
  for (auto [value, size] : llvm::zip_equal(axes, sizes)) {
    llvm::FailureOr<int64_t> axis = normalizeAxis(*this, value, shape.size(), "axis");
    if (failed(axis))
      return failure();
    if (size < 0 && !ShapedType::isDynamic(size))
      return emitOpError("has a wrong size or scale for axis ") << *axis;
    shape[*axis] = size;
  }
  resultTypes.push_back(RankedTensorType::get(shape, elementTypeOf(getInput())));
  return success();
}

} // namespace nibble::nn
