//===- RaiseActivations.cpp - GELU and attention scales --------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Passes.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_RAISEACTIVATIONSPASS
#include "passes/Passes.h.inc"

namespace {

/// The operand and the number of a product with a scalar constant.
std::optional<std::pair<Value, double>> matchScaled(Value value) {
  auto mul = value.getDefiningOp<nn::MulOp>();
  if (!mul)
    return std::nullopt;
  auto sides = matchEitherOperand(mul, [](Value side) {
    return nn::readConstantScalar(side).has_value() && side.getDefiningOp<nn::ConstantOp>();
  });
  if (!sides || sides->second.getType() != mul.getType())
    return std::nullopt;
  return std::pair(sides->second, *nn::readConstantScalar(sides->first));
}

/// (q * a) @ (k * b) with scalars a and b: (q * (a * b)) @ k.
struct GatherScales : OpRewritePattern<nn::MatMulOp> {
  GatherScales(MLIRContext *context, Pass::Statistic *gathered) : OpRewritePattern(context), gathered(gathered) {}
  LogicalResult matchAndRewrite(nn::MatMulOp op, PatternRewriter &rewriter) const override {
    auto query = matchScaled(op.getLhs()), key = matchScaled(op.getRhs());
    if (!query || !key)
      return failure();
    Operation *scaledQuery = op.getLhs().getDefiningOp();
    Location location = nn::makeDerivedLocation(scaledQuery, "scaled");
    Value scale = nn::createScalar(rewriter, nn::makeDerivedLocation(scaledQuery, "scale"),
                                   static_cast<float>(query->second * key->second));
    Value product = createInferred<nn::MulOp>(rewriter, location, query->first, scale);
    rewriter.replaceOpWithNewOp<nn::MatMulOp>(op, op.getType(), product, key->first);
    ++*gathered;
    return success();
  }
  Pass::Statistic *gathered;
};

struct RaiseActivations : impl::RaiseActivationsPassBase<RaiseActivations> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<GatherScales>(&getContext(), &numScales);
    populateErfGeluPatterns(patterns);
    populateTanhGeluPatterns(patterns);
    auto countGelu = [&] {
      unsigned count = 0;
      getOperation().walk([&](nn::GeluOp) { ++count; });
      return count;
    };
    unsigned before = countGelu();
    if (failed(applyPatterns(getOperation(), std::move(patterns))))
      return signalPassFailure();
    numGelu += countGelu() - before;
  }
};

} // namespace
} // namespace nibble
