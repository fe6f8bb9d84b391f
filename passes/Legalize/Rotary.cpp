//===- Rotary.cpp - decomposes com.microsoft RotaryEmbedding ---------------===//
#include "passes/Legalize/Rotary.h"
#include "passes/Legalize/Legalizations.h"

#include <cstring>

using namespace mlir;

namespace nibble {

llvm::FailureOr<RotaryTables> makeRotaryTables(Value cosCache, Value sinCache, bool isInterleaved) {
  Tensor cosine = nn::tryReadConstant(cosCache), sine = nn::tryReadConstant(sinCache);
  if (!cosine || !sine || cosine.elementType() != ElementType::F32 || sine.elementType() != ElementType::F32 ||
      cosine.rank() != 2 || cosine.shape() != sine.shape())
    return failure();
  int64_t positions = cosine.shape()[0], half = cosine.shape()[1];
  RotaryTables tables{Tensor::allocate(ElementType::F32, {positions, 2 * half}),
                      Tensor::allocate(ElementType::F32, {positions, 2 * half}), 2 * half, isInterleaved};
  float *cosineOut = tables.cosine.mutableData<float>(), *sineOut = tables.sine.mutableData<float>();
  for (int64_t row = 0; row < positions; ++row)
    for (int64_t i = 0; i < half; ++i) {
      int64_t first = row * 2 * half + (isInterleaved ? 2 * i : i), second = first + (isInterleaved ? 1 : half);
      cosineOut[first] = cosineOut[second] = cosine.data<float>()[row * half + i];
      sineOut[second] = sine.data<float>()[row * half + i];
      sineOut[first] = -sineOut[second];
    }
  return tables;
}

llvm::FailureOr<Value> lookUpRows(OpBuilder &builder, Operation *op, llvm::StringRef suffix, const Tensor &table,
                                  Value positions, llvm::ArrayRef<int64_t> shape) {
  Location location = nn::makeDerivedLocation(op, suffix);
  std::optional<SmallVector<int64_t>> rows = nn::readConstantIntegers(positions);
  if (!rows) {
    llvm::FailureOr<Value> stored = createConstantValue(builder, nn::makeDerivedLocation(op, suffix.str() + "_table"),
                                                        table);
    if (failed(stored))
      return failure();
    Value gathered = createInferred<nn::GatherOp>(builder, location, *stored, positions);
    return createReshape(builder, nn::makeDerivedLocation(op, suffix.str() + "_rows"), gathered, shape);
  }
  int64_t width = table.shape()[1];
  Tensor result = Tensor::allocate(ElementType::F32, shape);
  float *out = result.mutableData<float>();
  for (int64_t row : *rows) {
    if (row < 0 || row >= table.shape()[0])
      return failure();
    std::memcpy(out, table.data<float>() + row * width, static_cast<size_t>(width) * sizeof(float));
    out += width;
  }
  return createConstantValue(builder, location, result);
}

Value rotate(OpBuilder &builder, Operation *op, llvm::StringRef suffix, Value input, Value cosine, Value sine,
             const RotaryTables &tables) {
  auto at = [&](llvm::StringRef name) { return nn::makeDerivedLocation(op, (suffix + "/" + name).str()); };
  Shape shape(nn::shapeOf(input));
  int64_t size = shape.back(), width = tables.width;
  Value turned = input;
  if (width < size)
    turned = createSlice(builder, at("turned"), input, 3, 0, width);
  Value swapped;
  if (tables.isInterleaved) {
    Shape pairs(shape);
    pairs.back() = width / 2;
    pairs.push_back(2);
    Value split = createReshape(builder, at("pairs"), turned, pairs);
    Value parts[] = {createSlice(builder, at("odd"), split, 4, 1, 2), createSlice(builder, at("even"), split, 4, 0, 1)};
    Value joined = createInferred<nn::ConcatOp>(builder, at("exchanged"), ValueRange(parts), int64_t(4));
    swapped = createReshape(builder, at("swapped"), joined, nn::shapeOf(turned));
  } else {
    Value parts[] = {createSlice(builder, at("high"), turned, 3, width / 2, width),
                     createSlice(builder, at("low"), turned, 3, 0, width / 2)};
    swapped = createInferred<nn::ConcatOp>(builder, at("swapped"), ValueRange(parts), int64_t(3));
  }
  Value straight = createInferred<nn::MulOp>(builder, at("cosine_part"), turned, cosine);
  Value crossed = createInferred<nn::MulOp>(builder, at("sine_part"), swapped, sine);
  Value sum = createInferred<nn::AddOp>(builder, at("rotated"), straight, crossed);
  if (width == size)
    return sum;
  Value parts[] = {sum, createSlice(builder, at("kept"), input, 3, width, size)};
  return createInferred<nn::ConcatOp>(builder, at("joined"), ValueRange(parts), int64_t(3));
}

namespace {

struct DecomposeRotary : OpRewritePattern<nn::RotaryEmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::RotaryEmbeddingOp op, PatternRewriter &rewriter) const override {
    llvm::FailureOr<RotaryTables> tables =
        makeRotaryTables(op.getCosCache(), op.getSinCache(), op.getInterleaved());
    if (failed(tables) || !hasStaticShape(op.getInput()) || !hasStaticShape(op.getPositionIds()))
      return failure();
    // Rank 3 is [batch, sequence, heads * size], rank 4 is [batch, heads, sequence, size].
    Shape shape(nn::shapeOf(op.getInput()));
    bool headsLast = shape.size() == 3;
    int64_t size = !headsLast ? shape[3] : op.getNumHeads() > 0 ? shape[2] / op.getNumHeads() : tables->width;
    if (size < tables->width || (headsLast && shape[2] % size != 0))
      return failure();
    int64_t batch = shape[0], sequence = headsLast ? shape[1] : shape[2];
    Value positions = op.getPositionIds();
    llvm::ArrayRef<int64_t> given = nn::shapeOf(positions);
    int64_t rows = batch;
    if (elementCount(given) == 1 && sequence * batch != 1) {
      // One number is the position of the first row.
      SmallVector<int64_t> range = llvm::to_vector(llvm::seq<int64_t>(0, sequence));
      Value offsets = nn::createIntegers(rewriter, nn::makeDerivedLocation(op, "offsets"), range);
      if (std::optional<SmallVector<int64_t>> first = nn::readConstantIntegers(positions)) {
        for (int64_t &position : range)
          position += first->front();
        positions = nn::createIntegers(rewriter, nn::makeDerivedLocation(op, "positions"), range);
      } else {
        positions = createInferred<nn::AddOp>(rewriter, nn::makeDerivedLocation(op, "positions"), positions, offsets);
      }
      rows = 1;
    } else if (elementCount(given) != batch * sequence) {
      return failure();
    }
    Shape factorShape = headsLast ? Shape{rows, sequence, 1, tables->width} : Shape{rows, 1, sequence, tables->width};
    llvm::FailureOr<Value> cosine = lookUpRows(rewriter, op, "cosine", tables->cosine, positions, factorShape);
    llvm::FailureOr<Value> sine = lookUpRows(rewriter, op, "sine", tables->sine, positions, factorShape);
    if (failed(cosine) || failed(sine))
      return failure();
    Value input = op.getInput();
    if (headsLast)
      input = createReshape(rewriter, nn::makeDerivedLocation(op, "heads"), input,
                            {batch, sequence, shape[2] / size, size});
    Value rotated = rotate(rewriter, op, "rotary", input, *cosine, *sine, *tables);
    if (headsLast)
      rotated = createReshape(rewriter, op.getLoc(), rotated, shape);
    else
      rotated.getDefiningOp()->setLoc(op.getLoc());
    rewriter.replaceOp(op, rotated);
    return success();
  }
};

} // namespace

void populateRotaryEmbeddingPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeRotary>(patterns.getContext());
}

} // namespace nibble
