//===- RaiseNormalizations.cpp - norms from what exporters write -----------===//
#include "passes/Passes.h"
#include "passes/Rewriting.h"

#include <numeric>

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_RAISENORMALIZATIONSPASS
#include "passes/Passes.h.inc"

namespace {

/// The input and first axis of a mean over the last axes that keeps them.
struct TrailingMean {
  Value input;
  int64_t axis = 0;
};

std::optional<TrailingMean> matchTrailingMean(Value value) {
  auto mean = value.getDefiningOp<nn::ReduceMeanOp>();
  if (!mean || !mean.getKeepdims() || !mean.getAxes())
    return std::nullopt;
  std::optional<SmallVector<int64_t>> axes = nn::readConstantIntegers(mean.getAxes());
  int64_t rank = nn::shapeOf(mean.getInput()).size();
  if (!axes || axes->empty())
    return std::nullopt;
  for (int64_t &axis : *axes)
    axis = axis < 0 ? axis + rank : axis;
  llvm::sort(*axes);
  int64_t first = rank - static_cast<int64_t>(axes->size());
  SmallVector<int64_t> last(axes->size());
  std::iota(last.begin(), last.end(), first);
  if (*axes != last)
    return std::nullopt;
  return TrailingMean{mean.getInput(), first};
}

/// x where `value` is x * x or x ^ 2.
Value matchSquare(Value value) {
  if (auto pow = value.getDefiningOp<nn::PowOp>())
    return isSplatOf(pow.getRhs(), 2) ? pow.getLhs() : Value();
  auto mul = value.getDefiningOp<nn::MulOp>();
  return mul && mul.getLhs() == mul.getRhs() ? mul.getLhs() : Value();
}

/// x / sqrt(mean(x ^ 2) + epsilon) over the last axes.
struct RootMeanSquare {
  Value input;
  int64_t axis = 0;
  double epsilon = 0;
};

/// Matches sqrt(mean(x ^ 2) + epsilon).
std::optional<RootMeanSquare> matchRoot(Value value) {
  auto root = value.getDefiningOp<nn::SqrtOp>();
  auto sum = root ? root.getInput().getDefiningOp<nn::AddOp>() : nullptr;
  if (!sum)
    return std::nullopt;
  auto sides = matchEitherOperand(sum, [](Value side) { return matchSplat(side).has_value(); });
  if (!sides)
    return std::nullopt;
  std::optional<TrailingMean> mean = matchTrailingMean(sides->second);
  Value input = mean ? matchSquare(mean->input) : Value();
  if (!input)
    return std::nullopt;
  return RootMeanSquare{input, mean->axis, *matchSplat(sides->first)};
}

/// Matches the quotient of x and its root mean square, as division or product with the reciprocal.
std::optional<RootMeanSquare> matchQuotient(Operation *op) {
  std::optional<RootMeanSquare> match;
  if (auto div = dyn_cast<nn::DivOp>(op)) {
    match = matchRoot(div.getRhs());
    return match && match->input == div.getLhs() ? match : std::nullopt;
  }
  if (!isa<nn::MulOp>(op))
    return std::nullopt;
  for (unsigned side : {0u, 1u}) {
    Value inverse = op->getOperand(side);
    match.reset();
    if (auto reciprocal = inverse.getDefiningOp<nn::ReciprocalOp>())
      match = matchRoot(reciprocal.getInput());
    else if (auto div = inverse.getDefiningOp<nn::DivOp>(); div && isSplatOf(div.getLhs(), 1))
      match = matchRoot(div.getRhs());
    if (match && match->input == op->getOperand(1 - side))
      return match;
  }
  return std::nullopt;
}

/// The only user of `value` where it is an `Op` with a constant on the other side whose shape, without
/// leading ones, is that of `wanted`; returns it with the constant.
template <typename Op> std::optional<std::pair<Op, Value>> matchParameter(Value value, llvm::ArrayRef<int64_t> wanted) {
  if (!value.hasOneUse())
    return std::nullopt;
  auto user = dyn_cast<Op>(*value.user_begin());
  if (!user || user.getType() != value.getType())
    return std::nullopt;
  Value parameter = user.getLhs() == value ? user.getRhs() : user.getLhs();
  if (!parameter.getDefiningOp<nn::ConstantOp>())
    return std::nullopt;
  llvm::ArrayRef<int64_t> shape = nn::shapeOf(parameter);
  if (shape.size() < wanted.size() || shape.take_back(wanted.size()) != wanted ||
      llvm::any_of(shape.drop_back(wanted.size()), [](int64_t dimension) { return dimension != 1; }))
    return std::nullopt;
  return std::pair(user, parameter);
}

/// A constant of `shape` filled with `value`.
llvm::FailureOr<Value> createSplat(PatternRewriter &rewriter, Location location, llvm::ArrayRef<int64_t> shape,
                                   float value) {
  Tensor tensor = Tensor::allocate(ElementType::F32, shape);
  std::fill_n(tensor.mutableData<float>(), tensor.elementCount(), value);
  return createConstantValue(rewriter, location, tensor);
}

/// What remains to be done once the normalized value is found: takes in a following scale and bias.
struct Affine {
  Value scale, bias;
  Operation *last;
};

llvm::FailureOr<Affine> matchAffine(PatternRewriter &rewriter, Operation *normalized, llvm::ArrayRef<int64_t> shape,
                                    llvm::ArrayRef<int64_t> parameterShape, bool withBias) {
  Affine affine{Value(), Value(), normalized};
  // The parameter keeps its name.
  auto take = [&](auto match) {
    affine.last = match->first;
    return createReshapedConstant(rewriter, match->second.getLoc(), match->second, parameterShape);
  };
  rewriter.setInsertionPoint(normalized);
  if (auto scale = matchParameter<nn::MulOp>(normalized->getResult(0), shape)) {
    affine.scale = take(scale);
  } else {
    llvm::FailureOr<Value> ones =
        createSplat(rewriter, nn::makeDerivedLocation(normalized, "scale"), parameterShape, 1);
    if (failed(ones))
      return failure();
    affine.scale = *ones;
  }
  if (!withBias)
    return affine;
  if (auto bias = matchParameter<nn::AddOp>(affine.last->getResult(0), shape))
    affine.bias = take(bias);
  return affine;
}

template <typename Op> struct RaiseQuotient : OpRewritePattern<Op> {
  RaiseQuotient(MLIRContext *context, Pass::Statistic *raised) : OpRewritePattern<Op>(context), raised(raised) {}
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    std::optional<RootMeanSquare> match = matchQuotient(op);
    if (!match || !nn::elementTypeOf(op.getResult()).isF32() || !hasStaticShape(op.getResult()))
      return failure();
    llvm::ArrayRef<int64_t> shape = nn::shapeOf(op.getResult());
    // A root mean square of a centred value is a LayerNorm.
    Value input = match->input;
    auto centred = input.template getDefiningOp<nn::SubOp>();
    std::optional<TrailingMean> mean = centred ? matchTrailingMean(centred.getRhs()) : std::nullopt;
    bool isLayerNorm = mean && mean->input == centred.getLhs() && mean->axis == match->axis;
    llvm::ArrayRef<int64_t> normalizedShape = shape.drop_front(match->axis);
    llvm::FailureOr<Affine> affine = matchAffine(rewriter, op, normalizedShape, normalizedShape, isLayerNorm);
    if (failed(affine))
      return failure();
    int64_t axis = match->axis - static_cast<int64_t>(shape.size());
    rewriter.setInsertionPoint(affine->last);
    Operation *raisedOp;
    if (isLayerNorm)
      raisedOp = nn::LayerNormalizationOp::create(rewriter, affine->last->getLoc(), op.getType(), centred.getLhs(),
                                                  affine->scale, affine->bias, axis,
                                                  llvm::APFloat(static_cast<float>(match->epsilon)));
    else
      raisedOp = nn::RMSNormalizationOp::create(rewriter, affine->last->getLoc(), op.getType(), input, affine->scale,
                                                axis, llvm::APFloat(static_cast<float>(match->epsilon)));
    rewriter.replaceOp(affine->last, raisedOp->getResults());
    ++*raised;
    return success();
  }
  Pass::Statistic *raised;
};

/// reshape(instance_normalization(reshape(x, [N, G, -1]))) with scale 1 and bias 0 per group.
struct RaiseGroupNorm : OpRewritePattern<nn::ReshapeOp> {
  RaiseGroupNorm(MLIRContext *context, Pass::Statistic *raised) : OpRewritePattern(context), raised(raised) {}
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    auto norm = op.getInput().getDefiningOp<nn::InstanceNormalizationOp>();
    auto grouped = norm ? norm.getInput().getDefiningOp<nn::ReshapeOp>() : nullptr;
    if (!grouped || !norm->hasOneUse() || !hasStaticShape(op))
      return failure();
    llvm::ArrayRef<int64_t> shape = nn::shapeOf(op), groupShape = nn::shapeOf(grouped);
    if (shape.size() < 3 || groupShape[0] != shape[0] || shape[1] % groupShape[1] != 0 ||
        !isSplatOf(norm.getScale(), 1) || !isSplatOf(norm.getBias(), 0))
      return failure();
    SmallVector<int64_t> parameter(shape.size() - 1, 1);
    parameter[0] = shape[1];
    llvm::FailureOr<Affine> affine = matchAffine(rewriter, op, parameter, {shape[1]}, /*withBias=*/true);
    if (failed(affine))
      return failure();
    if (!affine->bias) {
      llvm::FailureOr<Value> zeros = createSplat(rewriter, nn::makeDerivedLocation(op, "bias"), {shape[1]}, 0);
      if (failed(zeros))
        return failure();
      affine->bias = *zeros;
    }
    rewriter.setInsertionPoint(affine->last);
    // The input may have its spatial dimensions in another form; elements are in the same order.
    Value input = createReshape(rewriter, nn::makeDerivedLocation(op, "input"), grouped.getInput(), shape);
    rewriter.replaceOp(affine->last,
                       nn::GroupNormalizationOp::create(rewriter, affine->last->getLoc(), op.getType(), input,
                                                        affine->scale, affine->bias, groupShape[1],
                                                        norm.getEpsilonAttr().getValue())
                           .getResult());
    ++*raised;
    return success();
  }
  Pass::Statistic *raised;
};

struct RaiseNormalizations : impl::RaiseNormalizationsPassBase<RaiseNormalizations> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RaiseQuotient<nn::MulOp>, RaiseQuotient<nn::DivOp>, RaiseGroupNorm>(&getContext(), &numRaised);
    if (failed(applyPatterns(getOperation(), std::move(patterns))))
      return signalPassFailure();
  }
};

} // namespace
} // namespace nibble
