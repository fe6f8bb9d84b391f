//===- FiniteMasks.cpp - attention masks that integers can hold ------------===//
//
// Exporters mask attention scores by adding the lowest float or minus infinity.
// A quantizer whose range holds such a value has no step left for the scores, so
// the constants behind masks, those below -10000, are clamped. Scores are of the
// order of 10; no model scales them by this much.
//
// The value: softmax gives a masked position at most exp(mask - d), where d is by
// how much the highest visible score of the row lies above the masked score. At
// -50 that is below 2e-22 for d >= 0 and below 1e-8 (a quarter of a float's last
// place beside 1) as long as a masked score is no more than 31 above the visible
// maximum. It is not an exact zero: that takes exp(-104), twice the range and so
// twice the step of an integer edge that holds mask and scores together.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Dataflow.h"
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
namespace {

/// `tensor` with magnitudes above the threshold clamped, or an empty tensor where there are none. Large
/// positive values occur as factors of (mask - 1).
Tensor clampMask(const Tensor &tensor) {
  if (tensor.elementType() != ElementType::F32)
    return {};
  if (llvm::none_of(tensor.values<float>(), [](float v) { return v <= maskThreshold || v >= -maskThreshold; }))
    return {};
  Tensor clamped = Tensor::allocate(ElementType::F32, tensor.shape());
  llvm::transform(tensor.values<float>(), clamped.mutableData<float>(), [](float value) {
    return value <= maskThreshold ? finiteMaskValue : value >= -maskThreshold ? -finiteMaskValue : value;
  });
  return clamped;
}

struct ClampMasks : OpRewritePattern<nn::SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::SoftmaxOp op, PatternRewriter &rewriter) const override {
    SmallVector<std::pair<OpOperand *, Tensor>> masks;
    LogicalResult status = success();
    visitScoreConstants(op, [&](OpOperand &use, Value constant) {
      llvm::Expected<Tensor> tensor = nn::readConstant(constant);
      if (!tensor)
        status = op.emitOpError() << llvm::toString(tensor.takeError());
      else if (Tensor clamped = clampMask(*tensor))
        masks.emplace_back(&use, clamped);
    });
    if (failed(status) || masks.empty())
      return failure();
    // Only these uses change: the same constant may be the bound of a clip elsewhere.
    for (auto &[use, clamped] : masks) {
      rewriter.setInsertionPoint(use->getOwner());
      llvm::FailureOr<Value> constant =
          createConstantValue(rewriter, nn::makeDerivedLocation(use->getOwner(), "mask_value"), clamped);
      if (failed(constant))
        return failure();
      rewriter.modifyOpInPlace(use->getOwner(), [&, use = use] { use->set(*constant); });
    }
    return success();
  }
};

} // namespace

void populateFiniteMaskPatterns(RewritePatternSet &patterns) { patterns.add<ClampMasks>(patterns.getContext()); }

} // namespace nibble
