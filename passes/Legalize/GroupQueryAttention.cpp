//===- GroupQueryAttention.cpp - attention in plain operators --------------===//
//
// com.microsoft GroupQueryAttention with a cache that grows by the new rows.
// Query heads that share a key head are rows of one product, so the cache is not
// repeated: [B, H, S, D] is read as [B, KV, G * S, D], G = H / KV, and K^T and V
// are always the right operand, which back ends quantize like a weight.
//
// Positions and masks: without a past they are constants. With a past of P rows
// only the first start = seqlens_k + 1 - S of them are valid; new rows stand at
// positions start, start + 1, ... and behind all past rows in the cache.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Legalize/Rotary.h"

#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

struct Decomposer {
  nn::GroupQueryAttentionOp op;
  PatternRewriter &rewriter;
  int64_t batch, sequence, past, total, heads, keyHeads, size;

  Location at(llvm::StringRef suffix) const { return nn::makeDerivedLocation(op, suffix); }
  /// The location of the operation that computes result `index`.
  Location resultLocation(unsigned index) {
    return nn::makeLocation(op.getContext(), nn::nodeName(op), {nn::tensorName(op->getResult(index))});
  }

  /// [B, S, count * D] to [B, count, S, D].
  Value splitHeads(llvm::StringRef name, Value value, int64_t count) {
    Value split = createReshape(rewriter, at((name + "/split").str()), value, {batch, sequence, count, size});
    return createTranspose(rewriter, at((name + "/heads").str()), split, {0, 2, 1, 3});
  }

  /// How many past rows are valid, i32 or i64 [B, 1]. Only asked where there is a past.
  Value makeStart() {
    Value lengths = createReshape(rewriter, at("lengths"), op.getSeqlensK(), {batch, 1});
    Type type = nn::elementTypeOf(lengths);
    Tensor offset = type.isInteger(32) ? Tensor::fromValues<int32_t>({}, {static_cast<int32_t>(1 - sequence)})
                                       : Tensor::fromValues<int64_t>({}, {1 - sequence});
    llvm::FailureOr<Value> constant = createConstantValue(rewriter, at("new_rows"), offset);
    if (failed(constant))
      return {};
    return createInferred<nn::AddOp>(rewriter, at("start"), lengths, *constant);
  }

  /// 0, 1, ..., count - 1 in the type of `start`.
  Value makeCount(llvm::StringRef name, int64_t count, llvm::ArrayRef<int64_t> shape, Type type) {
    Tensor tensor = Tensor::allocate(type.isInteger(32) ? ElementType::I32 : ElementType::I64, shape);
    for (int64_t i = 0; i < count; ++i) {
      if (type.isInteger(32))
        tensor.mutableData<int32_t>()[i] = static_cast<int32_t>(i);
      else
        tensor.mutableData<int64_t>()[i] = i;
    }
    llvm::FailureOr<Value> constant = createConstantValue(rewriter, at(name), tensor);
    return succeeded(constant) ? *constant : Value();
  }

  /// The causal mask between new rows, [1, 1, repeats * S, S].
  Value makeCausalMask(int64_t repeats) {
    Tensor mask = Tensor::allocate(ElementType::F32, {1, 1, repeats * sequence, sequence});
    int64_t window = op.getLocalWindowSize();
    for (int64_t row = 0; row < repeats * sequence; ++row)
      for (int64_t column = 0; column < sequence; ++column) {
        int64_t distance = row % sequence - column;
        bool isVisible = distance >= 0 && (window < 0 || distance < window);
        mask.mutableData<float>()[row * sequence + column] = isVisible ? 0 : finiteMaskValue;
      }
    llvm::FailureOr<Value> constant = createConstantValue(rewriter, at("causal_mask"), mask);
    return succeeded(constant) ? *constant : Value();
  }

  /// The additive mask [B or 1, 1, repeats * S, T].
  Value makeMask(Value start, int64_t repeats) {
    Value causal = makeCausalMask(repeats);
    if (!start || !causal)
      return causal;
    Value first = createReshape(rewriter, at("start_rows"), start, {batch, 1, 1, 1});
    Value columns = makeCount("past_rows", past, {1, 1, 1, past}, nn::elementTypeOf(start));
    Value isValid = createInferred<nn::LessOp>(rewriter, at("past_is_valid"), columns, first);
    Value visible = nn::createScalar(rewriter, at("visible"), 0);
    Value hidden = nn::createScalar(rewriter, at("hidden"), finiteMaskValue);
    Value mask = createInferred<nn::WhereOp>(rewriter, at("past_mask_row"), isValid, visible, hidden);
    auto expand = [&](llvm::StringRef name, Value value, int64_t columnCount) {
      Shape shape{batch, 1, repeats * sequence, columnCount};
      if (nn::shapeOf(value) == llvm::ArrayRef<int64_t>(shape))
        return value;
      Value constant = nn::createIntegers(rewriter, at((name + "/shape").str()), shape);
      return createInferred<nn::ExpandOp>(rewriter, at(name), value, constant);
    };
    Value parts[] = {expand("past_mask", mask, past), expand("new_mask", causal, sequence)};
    return createInferred<nn::ConcatOp>(rewriter, at("mask"), ValueRange(parts), int64_t(3));
  }

  LogicalResult rotateBoth(Value start, Value &query, Value &key) {
    llvm::FailureOr<RotaryTables> tables =
        makeRotaryTables(op.getCosCache(), op.getSinCache(), op.getRotaryInterleaved());
    if (failed(tables) || tables->width > size)
      return failure();
    Value positions;
    Shape shape{1, 1, sequence, tables->width};
    if (start) {
      Value offsets = makeCount("new_offsets", sequence, {1, sequence}, nn::elementTypeOf(start));
      positions = createInferred<nn::AddOp>(rewriter, at("positions"), start, offsets);
      shape[0] = batch;
    } else {
      positions = nn::createIntegers(rewriter, at("positions"), llvm::to_vector(llvm::seq<int64_t>(0, sequence)));
    }
    llvm::FailureOr<Value> cosine = lookUpRows(rewriter, op, "cosine", tables->cosine, positions, shape);
    llvm::FailureOr<Value> sine = lookUpRows(rewriter, op, "sine", tables->sine, positions, shape);
    if (failed(cosine) || failed(sine))
      return failure();
    query = rotate(rewriter, op, "query", query, *cosine, *sine, *tables);
    key = rotate(rewriter, op, "key", key, *cosine, *sine, *tables);
    return success();
  }

  /// The cache with the new rows behind it; computes result `index`.
  Value appendRows(Value cache, Value rows, unsigned index) {
    if (past > 0) {
      Value parts[] = {cache, rows};
      return createInferred<nn::ConcatOp>(rewriter, resultLocation(index), ValueRange(parts), int64_t(2));
    }
    rows.getDefiningOp()->setLoc(resultLocation(index));
    return rows;
  }

  /// softmax(q k^T * scale + mask) v, [B, KV, G * S, D].
  Value attend(Value query, Value key, Value value, Value mask) {
    double factor = op.getScale().convertToFloat();
    factor = factor != 0 ? factor : 1 / std::sqrt(static_cast<double>(size));
    Value scale = nn::createScalar(rewriter, at("scale"), static_cast<float>(factor));
    Value scaled = createInferred<nn::MulOp>(rewriter, at("query/scaled"), query, scale);
    Value grouped = createReshape(rewriter, at("query/grouped"), scaled,
                                  {batch, keyHeads, heads / keyHeads * sequence, size});
    Value transposed = createTranspose(rewriter, at("key/transposed"), key, {0, 1, 3, 2});
    Value scores = createInferred<nn::MatMulOp>(rewriter, at("scores"), grouped, transposed);
    if (float cap = op.getSoftcap().convertToFloat(); cap > 0) {
      Value limit = nn::createScalar(rewriter, at("softcap"), cap);
      Value inverse = nn::createScalar(rewriter, at("softcap_inverse"), 1 / cap);
      scores = createInferred<nn::MulOp>(rewriter, at("scores/divided"), scores, inverse);
      scores = createInferred<nn::TanhOp>(rewriter, at("scores/tanh"), scores);
      scores = createInferred<nn::MulOp>(rewriter, at("scores/capped"), scores, limit);
    }
    Value masked = createInferred<nn::AddOp>(rewriter, at("scores/masked"), scores, mask);
    Value probabilities = createInferred<nn::SoftmaxOp>(rewriter, at("probabilities"), masked);
    return createInferred<nn::MatMulOp>(rewriter, at("attended"), probabilities, value);
  }

  LogicalResult run() {
    Value query = op.getQuery(), key = op.getKey(), value = op.getValue();
    if (!key) {
      int64_t queryWidth = heads * size, keyWidth = keyHeads * size;
      key = createSlice(rewriter, at("key/projected"), query, 2, queryWidth, queryWidth + keyWidth);
      value = createSlice(rewriter, at("value/projected"), query, 2, queryWidth + keyWidth, queryWidth + 2 * keyWidth);
      query = createSlice(rewriter, at("query/projected"), query, 2, 0, queryWidth);
    }
    query = splitHeads("query", query, heads);
    key = splitHeads("key", key, keyHeads);
    value = splitHeads("value", value, keyHeads);
    Value start = past > 0 ? makeStart() : Value();
    if (past > 0 && !start)
      return failure();
    if (op.getDoRotary() && failed(rotateBoth(start, query, key)))
      return failure();
    key = appendRows(op.getPastKey(), key, 1);
    value = appendRows(op.getPastValue(), value, 2);
    Value mask = makeMask(start, heads / keyHeads);
    if (!mask)
      return failure();
    Value attended = attend(query, key, value, mask);
    attended = createReshape(rewriter, at("attended/heads"), attended, {batch, heads, sequence, size});
    attended = createTranspose(rewriter, at("attended/rows"), attended, {0, 2, 1, 3});
    Value output = createReshape(rewriter, resultLocation(0), attended, {batch, sequence, heads * size});
    rewriter.replaceOp(op, ValueRange{output, key, value});
    return success();
  }
};

struct DecomposeAttention : OpRewritePattern<nn::GroupQueryAttentionOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::GroupQueryAttentionOp op, PatternRewriter &rewriter) const override {
    if (!llvm::all_of(op->getOperands(), hasStaticShape) || !llvm::all_of(op->getResults(), hasStaticShape))
      return failure();
    int64_t past = op.getPastKey() ? nn::shapeOf(op.getPastKey())[2] : 0;
    int64_t sequence = nn::shapeOf(op.getQuery())[1];
    llvm::ArrayRef<int64_t> present = nn::shapeOf(op.getPresentKey());
    if (present[2] != past + sequence || (past > 0 && op.getLocalWindowSize() >= 0))
      return failure();
    // Everything that can fail later is checked before anything is created.
    if (op.getDoRotary()) {
      llvm::FailureOr<RotaryTables> tables =
          makeRotaryTables(op.getCosCache(), op.getSinCache(), op.getRotaryInterleaved());
      if (failed(tables) || tables->width > present[3] || tables->cosine.shape()[0] < present[2])
        return failure();
    }
    Decomposer decomposer{op,         rewriter,         present[0],           sequence,  past,
                          present[2], op.getNumHeads(), op.getKvNumHeads(), present[3]};
    return decomposer.run();
  }
};

} // namespace

void populateGroupQueryAttentionPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeAttention>(patterns.getContext());
}

} // namespace nibble
