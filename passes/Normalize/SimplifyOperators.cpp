//===- SimplifyOperators.cpp - identities and one form for each operation --===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Passes.h"
#include "passes/Rewriting.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_SIMPLIFYOPERATORSPASS
#include "passes/Passes.h.inc"

namespace {

//===----------------------------------------------------------------------===//
// Identities
//===----------------------------------------------------------------------===//

/// The operand that `op` returns unchanged, or null. Only asked where result and operand types agree.
Value findUnchangedOperand(Operation *op) {
  Value first = op->getNumOperands() ? op->getOperand(0) : Value();
  auto isNeutral = [&](unsigned index, double neutral) { return isSplatOf(op->getOperand(index), neutral); };
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<nn::IdentityOp, nn::CastOp, nn::ReshapeOp, nn::ExpandOp, nn::TileOp, nn::SqueezeOp, nn::UnsqueezeOp,
            nn::FlattenOp>([&](auto) { return first; })
      .Case([&](nn::TransposeOp transpose) {
        return llvm::is_sorted(transpose.getPerm()) ? first : Value();
      })
      .Case([&](nn::SliceOp slice) {
        llvm::FailureOr<std::optional<SmallVector<nn::SliceRange>>> ranges = nn::resolveSlice(slice);
        bool isForward = succeeded(ranges) && *ranges &&
                         llvm::all_of(**ranges, [](const nn::SliceRange &range) { return range.step > 0; });
        return isForward ? first : Value();
      })
      .Case([&](nn::PadOp pad) {
        std::optional<SmallVector<int64_t>> pads = nn::readConstantIntegers(pad.getPads());
        return pads && llvm::all_of(*pads, [](int64_t count) { return count == 0; }) ? first : Value();
      })
      .Case<nn::ConcatOp, nn::MaxOp, nn::MinOp>(
          [&](auto variadic) { return variadic->getNumOperands() == 1 ? first : Value(); })
      .Case([&](nn::SplitOp split) { return split->getNumResults() == 1 ? first : Value(); })
      .Case([&](nn::ClipOp clip) { return !clip.getMin() && !clip.getMax() ? first : Value(); })
      .Case([&](nn::AddOp add) {
        return isNeutral(1, 0) ? first : isNeutral(0, 0) ? add.getRhs() : Value();
      })
      .Case([&](nn::MulOp mul) {
        return isNeutral(1, 1) ? first : isNeutral(0, 1) ? mul.getRhs() : Value();
      })
      .Case<nn::DivOp, nn::PowOp>([&](auto) { return isNeutral(1, 1) ? first : Value(); })
      .Case([&](nn::SubOp) { return isNeutral(1, 0) ? first : Value(); })
      .Case([&](nn::WhereOp where) {
        std::optional<double> condition = matchSplat(where.getCondition());
        return !condition ? Value() : *condition != 0 ? where.getX() : where.getY();
      })
      .Default(Value());
}

struct RemoveUnchanged : RewritePattern {
  explicit RemoveUnchanged(MLIRContext *context) : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/2, context) {}
  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    if (op->getNumResults() != 1)
      return failure();
    Value operand = findUnchangedOperand(op);
    if (!operand || operand.getType() != op->getResult(0).getType())
      return failure();
    rewriter.replaceOp(op, operand);
    return success();
  }
};

/// Operands without elements add nothing to a concatenation; an empty KV cache is such an operand.
struct DropEmptyOperands : OpRewritePattern<nn::ConcatOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ConcatOp op, PatternRewriter &rewriter) const override {
    SmallVector<Value> kept;
    for (Value input : op.getInputs())
      if (!llvm::is_contained(nn::shapeOf(input), 0))
        kept.push_back(input);
    if (kept.empty() || kept.size() == op.getInputs().size())
      return failure();
    rewriter.modifyOpInPlace(op, [&] { op->setOperands(kept); });
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Reshape and transpose
//===----------------------------------------------------------------------===//

/// Makes `op` a reshape of `input` to the type of its result.
void replaceByReshape(Operation *op, Value input, PatternRewriter &rewriter) {
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  Value shape = nn::createIntegers(rewriter, nn::makeDerivedLocation(op, "shape"), type.getShape());
  auto reshape = nn::ReshapeOp::create(rewriter, op->getLoc(), type, input, shape,
                                       /*allowzero=*/llvm::is_contained(type.getShape(), 0));
  rewriter.replaceOp(op, reshape.getResult());
}

template <typename Op> struct ToReshape : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (!hasStaticShape(op.getResult()))
      return failure();
    replaceByReshape(op, op.getInput(), rewriter);
    return success();
  }
};

/// A complete shape: no 0, no -1, no shape that is computed; and no reshape of a reshape.
struct CompleteReshape : OpRewritePattern<nn::ReshapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ReshapeOp op, PatternRewriter &rewriter) const override {
    if (!hasStaticShape(op.getResult()))
      return failure();
    auto producer = op.getInput().getDefiningOp<nn::ReshapeOp>();
    std::optional<SmallVector<int64_t>> shape = nn::readConstantIntegers(op.getShape());
    if (!producer && shape && llvm::equal(*shape, nn::shapeOf(op.getResult())))
      return failure();
    replaceByReshape(op, producer ? producer.getInput() : op.getInput(), rewriter);
    return success();
  }
};

/// An expand that only adds dimensions of size 1 in front.
struct ExpandToReshape : OpRewritePattern<nn::ExpandOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ExpandOp op, PatternRewriter &rewriter) const override {
    if (!hasStaticShape(op.getResult()) || !hasStaticShape(op.getInput()) ||
        cast<RankedTensorType>(op.getInput().getType()).getNumElements() !=
            cast<RankedTensorType>(op.getType()).getNumElements())
      return failure();
    replaceByReshape(op, op.getInput(), rewriter);
    return success();
  }
};

struct ComposeTransposes : OpRewritePattern<nn::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    auto producer = op.getInput().getDefiningOp<nn::TransposeOp>();
    if (!producer)
      return failure();
    SmallVector<int64_t> perm;
    for (int64_t axis : op.getPerm())
      perm.push_back(producer.getPerm()[axis]);
    rewriter.replaceOpWithNewOp<nn::TransposeOp>(op, op.getType(), producer.getInput(), perm);
    return success();
  }
};

//===----------------------------------------------------------------------===//
// Padding of windows
//===----------------------------------------------------------------------===//

template <typename Op> SmallVector<int64_t> kernelOf(Op op) {
  if constexpr (std::is_same_v<Op, nn::ConvOp> || std::is_same_v<Op, nn::ConvTransposeOp>)
    return SmallVector<int64_t>(nn::shapeOf(op.getWeight()).drop_front(2));
  else
    return SmallVector<int64_t>(op.getKernelShape());
}

template <typename Op> struct ResolvePads : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;
  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (op.getAutoPad() == "NOTSET" || !hasStaticShape(op.getInput()))
      return failure();
    SmallVector<int64_t> pads =
        nn::resolveAutoPad(op.getAutoPad(), op.getPads(), nn::shapeOf(op.getInput()).drop_front(2), kernelOf(op),
                           op.getStrides(), op.getDilations());
    rewriter.modifyOpInPlace(op, [&] {
      op.setPads(pads);
      op.setAutoPad("NOTSET");
    });
    return success();
  }
};

struct ResolveTransposedPads : OpRewritePattern<nn::ConvTransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ConvTransposeOp op, PatternRewriter &rewriter) const override {
    llvm::ArrayRef<int64_t> input = nn::shapeOf(op.getInput()).drop_front(2);
    llvm::ArrayRef<int64_t> outputShape = op.getOutputShape().value_or(llvm::ArrayRef<int64_t>());
    if ((op.getAutoPad() == "NOTSET" && outputShape.empty()) || !hasStaticShape(op.getInput()))
      return failure();
    SmallVector<int64_t> kernel = kernelOf(op), padding(op.getOutputPadding());
    SmallVector<int64_t> pads =
        nn::resolveTransposedPads(op.getAutoPad(), op.getPads(), input, kernel, op.getStrides(), op.getDilations(),
                                  padding, outputShape);
    // What pads alone do not give is output padding.
    for (size_t i = 0; i < input.size(); ++i) {
      int64_t size = op.getStrides()[i] * (input[i] - 1) + (kernel[i] - 1) * op.getDilations()[i] + 1 - pads[i] -
                     pads[i + input.size()];
      padding[i] = nn::shapeOf(op.getResult())[i + 2] - size;
      if (padding[i] < 0)
        return failure();
    }
    rewriter.modifyOpInPlace(op, [&] {
      op.setPads(pads);
      op.setOutputPadding(padding);
      op.removeOutputShapeAttr();
      op.setAutoPad("NOTSET");
    });
    return success();
  }
};

struct SimplifyOperators : impl::SimplifyOperatorsPassBase<SimplifyOperators> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<RemoveUnchanged, DropEmptyOperands, CompleteReshape, ExpandToReshape, ComposeTransposes,
                 ResolveTransposedPads, ToReshape<nn::SqueezeOp>, ToReshape<nn::UnsqueezeOp>,
                 ToReshape<nn::FlattenOp>, ResolvePads<nn::ConvOp>, ResolvePads<nn::MaxPoolOp>,
                 ResolvePads<nn::AveragePoolOp>>(&getContext());
    populateNaNGuardPatterns(patterns);
    if (failed(applyPatterns(getOperation(), std::move(patterns))))
      return signalPassFailure();
  }
};

} // namespace
} // namespace nibble
