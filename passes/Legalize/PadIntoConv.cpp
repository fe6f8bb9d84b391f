//===- PadIntoConv.cpp - zero padding as a convolution's pads --------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
namespace {

struct PadIntoConv : OpRewritePattern<nn::ConvOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::ConvOp op, PatternRewriter &rewriter) const override {
    auto pad = op.getInput().getDefiningOp<nn::PadOp>();
    if (!pad || !pad->hasOneUse() || pad.getMode() != nn::PadMode::Constant || op.getAutoPad() != "NOTSET" ||
        (pad.getConstantValue() && !isSplatOf(pad.getConstantValue(), 0)))
      return failure();
    std::optional<SmallVector<int64_t>> given = nn::readConstantIntegers(pad.getPads());
    int64_t rank = nn::shapeOf(pad.getInput()).size();
    SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
    if (pad.getAxes()) {
      std::optional<SmallVector<int64_t>> values = nn::readConstantIntegers(pad.getAxes());
      if (!values)
        return failure();
      axes = *values;
    }
    if (!given)
      return failure();
    SmallVector<int64_t> pads(op.getPads());
    for (auto [index, axis] : llvm::enumerate(axes)) {
      int64_t begin = (*given)[index], end = (*given)[index + axes.size()];
      int64_t spatial = (axis < 0 ? axis + rank : axis) - 2;
      if (begin < 0 || end < 0 || (spatial < 0 && (begin != 0 || end != 0)))
        return failure();
      if (spatial < 0)
        continue;
      pads[spatial] += begin;
      pads[spatial + rank - 2] += end;
    }
    rewriter.modifyOpInPlace(op, [&] {
      op.getInputMutable().set(pad.getInput());
      op.setPads(pads);
    });
    return success();
  }
};

} // namespace

void populatePadIntoConvPatterns(RewritePatternSet &patterns) { patterns.add<PadIntoConv>(patterns.getContext()); }

} // namespace nibble
