//===- RaiseGemm.cpp - matrix products with their biases -------------------===//
//
// Exporters write a linear layer of a matrix as a product and an addition. A program in integers rounds the
// result of each, while a Gemm adds its bias to the accumulator and rounds once.
//
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
#define GEN_PASS_DEF_RAISEGEMMPASS
#include "passes/Passes.h.inc"

namespace {

/// Whether `value` is a constant with one number per column of a matrix with `columns` columns.
bool isBiasOf(Value value, int64_t columns) {
  if (!value.getDefiningOp<nn::ConstantOp>() || !hasStaticShape(value))
    return false;
  llvm::ArrayRef<int64_t> shape = nn::shapeOf(value);
  return !shape.empty() && shape.size() <= 2 && shape.back() == columns && (shape.size() == 1 || shape.front() == 1);
}

struct JoinBias : OpRewritePattern<nn::AddOp> {
  JoinBias(MLIRContext *context, Pass::Statistic *raised) : OpRewritePattern(context), raised(raised) {}
  LogicalResult matchAndRewrite(nn::AddOp op, PatternRewriter &rewriter) const override {
    auto sides = matchEitherOperand(op, [](Value side) {
      auto product = side.getDefiningOp<nn::MatMulOp>();
      return product && side.hasOneUse() && product.getRhs().getDefiningOp<nn::ConstantOp>();
    });
    if (!sides)
      return failure();
    auto product = sides->first.getDefiningOp<nn::MatMulOp>();
    for (Value matrix : {product.getLhs(), product.getRhs(), product.getResult()})
      if (!hasStaticShape(matrix) || nn::shapeOf(matrix).size() != 2)
        return failure();
    int64_t columns = nn::shapeOf(product.getResult()).back();
    if (op.getType() != product.getType() || !isBiasOf(sides->second, columns))
      return failure();
    Value bias = createReshapedConstant(rewriter, sides->second.getLoc(), sides->second, {columns});
    // The layer keeps the name of its product, which is what recipes name, and the tensor of its sum.
    Location location = nn::makeLocation(op.getContext(), nn::nodeName(product), {nn::tensorName(op.getResult())});
    auto gemm = nn::GemmOp::create(rewriter, location, op.getType(), product.getLhs(), product.getRhs(), bias,
                                   llvm::APFloat(1.0f), llvm::APFloat(1.0f));
    rewriter.replaceOp(op, gemm.getResult());
    ++*raised;
    return success();
  }
  Pass::Statistic *raised;
};

struct RaiseGemm : impl::RaiseGemmPassBase<RaiseGemm> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<JoinBias>(&getContext(), &numRaised);
    if (failed(applyPatterns(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace nibble
