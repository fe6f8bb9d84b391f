//===- NaNGuards.cpp - where(is_nan(softmax), 0, softmax) ------------------===//
//
// A row of a softmax is NaN only where all its scores are minus infinity, or one
// of them is NaN or plus infinity. Where every constant that is added to the
// scores is finite the guard never acts on finite inputs.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Dataflow.h"
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

/// Whether all elements of a constant are finite.
bool isFiniteConstant(Value value) {
  Tensor tensor = nn::tryReadConstant(value);
  if (!tensor)
    return false;
  for (int64_t i = 0; i < tensor.elementCount(); ++i)
    if (!std::isfinite(tensor.valueAsDouble(i)))
      return false;
  return true;
}

struct RemoveGuard : OpRewritePattern<nn::WhereOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::WhereOp op, PatternRewriter &rewriter) const override {
    auto test = op.getCondition().getDefiningOp<nn::IsNaNOp>();
    if (!test || test.getInput() != op.getY() || op.getY().getType() != op.getType())
      return failure();
    auto softmax = op.getY().getDefiningOp<nn::SoftmaxOp>();
    if (!softmax)
      return failure();
    bool isFinite = true;
    visitScoreConstants(softmax, [&](OpOperand &use, Value constant) { isFinite &= isFiniteConstant(constant); });
    if (!isFinite)
      return failure();
    rewriter.replaceOp(op, softmax.getResult());
    return success();
  }
};

} // namespace

void populateNaNGuardPatterns(RewritePatternSet &patterns) { patterns.add<RemoveGuard>(patterns.getContext()); }

} // namespace nibble
