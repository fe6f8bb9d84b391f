//===- LimitRank.cpp - transposes of rank above 5 ----------------------===//
//
// Axes that stay neighbours in order move as one, and axes of size 1 do not move
// any data: [a, b, c, d, e, f] with perm [0, 2, 1, 3, 4, 5] is a transpose of
// [a, b, c, d * e * f] with perm [0, 2, 1, 3].
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
namespace {

struct CollapseTranspose : OpRewritePattern<nn::TransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  static constexpr size_t maximumRank = 5;

  LogicalResult matchAndRewrite(nn::TransposeOp op, PatternRewriter &rewriter) const override {
    if (!hasStaticShape(op.getInput()) || op.getPerm().size() <= maximumRank)
      return failure();
    llvm::ArrayRef<int64_t> shape = nn::shapeOf(op.getInput());
    // Groups of input axes in the order of the result.
    SmallVector<SmallVector<int64_t>> groups;
    for (int64_t axis : op.getPerm()) {
      if (shape[axis] == 1)
        continue;
      auto follows = [&](int64_t previous) {
        for (int64_t between = previous + 1; between < axis; ++between)
          if (shape[between] != 1)
            return false;
        return previous < axis;
      };
      if (!groups.empty() && follows(groups.back().back()))
        groups.back().push_back(axis);
      else
        groups.push_back({axis});
    }
    if (groups.size() > maximumRank)
      return failure();
    // The collapsed input has the groups in the order of their first axis.
    SmallVector<size_t> inputOrder = llvm::to_vector(llvm::seq<size_t>(0, groups.size()));
    llvm::sort(inputOrder, [&](size_t x, size_t y) { return groups[x].front() < groups[y].front(); });
    Shape collapsed;
    SmallVector<int64_t> perm(groups.size());
    for (auto [position, group] : llvm::enumerate(inputOrder)) {
      int64_t size = 1;
      for (int64_t axis : groups[group])
        size *= shape[axis];
      collapsed.push_back(size);
      perm[group] = static_cast<int64_t>(position);
    }
    Value input = createReshape(rewriter, nn::makeDerivedLocation(op, "collapsed"), op.getInput(), collapsed);
    Value moved = createTranspose(rewriter, nn::makeDerivedLocation(op, "moved"), input, perm);
    rewriter.replaceOp(op, createReshape(rewriter, op.getLoc(), moved, nn::shapeOf(op.getResult())));
    return success();
  }
};

} // namespace

void populateLimitRankPatterns(RewritePatternSet &patterns) {
  patterns.add<CollapseTranspose>(patterns.getContext());
}

} // namespace nibble
