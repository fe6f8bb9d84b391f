//===- OperandOrder.cpp - probabilities on the left of a product -----------===//
//
// Back ends quantize the right operand of a product like a weight: symmetric and
// in 8 bits. Values fit that; probabilities, which are never negative, do not:
//   v^T @ p^T  ==>  (p @ v)^T
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

#include <numeric>

using namespace mlir;

namespace nibble {
namespace {

/// The permutation that swaps the last two of `rank` axes.
SmallVector<int64_t> swapLast(int64_t rank) {
  SmallVector<int64_t> perm(rank);
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[rank - 1], perm[rank - 2]);
  return perm;
}

bool isSoftmax(Value value) {
  if (auto transpose = value.getDefiningOp<nn::TransposeOp>())
    value = transpose.getInput();
  return value.getDefiningOp<nn::SoftmaxOp>() != nullptr;
}

/// `value` with its last two axes swapped; undoes such a transpose instead of adding another.
Value createSwapped(PatternRewriter &rewriter, Location location, Value value) {
  SmallVector<int64_t> perm = swapLast(nn::shapeOf(value).size());
  if (auto transpose = value.getDefiningOp<nn::TransposeOp>(); transpose && transpose.getPerm() == llvm::ArrayRef(perm))
    return transpose.getInput();
  return createTranspose(rewriter, location, value, perm);
}

struct SwapOperands : OpRewritePattern<nn::MatMulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::MatMulOp op, PatternRewriter &rewriter) const override {
    if (!isSoftmax(op.getRhs()) || isSoftmax(op.getLhs()) || nn::shapeOf(op.getLhs()).size() < 2 ||
        nn::shapeOf(op.getRhs()).size() < 2)
      return failure();
    Value left = createSwapped(rewriter, nn::makeDerivedLocation(op, "probabilities"), op.getRhs());
    Value right = createSwapped(rewriter, nn::makeDerivedLocation(op, "values"), op.getLhs());
    Value product = createInferred<nn::MatMulOp>(rewriter, nn::makeDerivedLocation(op, "product"), left, right);
    rewriter.replaceOp(
        op, createTranspose(rewriter, op.getLoc(), product, swapLast(nn::shapeOf(op.getResult()).size())));
    return success();
  }
};

} // namespace

void populateOperandOrderPatterns(RewritePatternSet &patterns) { patterns.add<SwapOperands>(patterns.getContext()); }

} // namespace nibble
