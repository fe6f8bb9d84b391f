//===- GroupNorm.cpp - GroupNormalization as InstanceNormalization ---------===//
//
// Back ends that quantize InstanceNormalization but not GroupNormalization get
// the groups as channels. The group's elements are kept in two dimensions, as
// rank 4 is what image kernels are fast on:
//   [N, C, spatial...] -> [N, G, C / G * first, rest] -> normalize -> [N, C, spatial...]
// then the parameters are applied per channel; a scale of ones and a bias of
// zeros are left out.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
namespace {

struct SplitGroupNorm : OpRewritePattern<nn::GroupNormalizationOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::GroupNormalizationOp op, PatternRewriter &rewriter) const override {
    Value input = op.getInput();
    if (!hasStaticShape(input) || nn::shapeOf(input).size() < 3 || !op.getScale().getDefiningOp<nn::ConstantOp>() ||
        !op.getBias().getDefiningOp<nn::ConstantOp>())
      return failure();
    llvm::ArrayRef<int64_t> shape = nn::shapeOf(input);
    int64_t groups = op.getNumGroups();
    Shape grouped{shape[0], groups, shape[1] / groups * shape[2], elementCount(shape.drop_front(3))};
    auto at = [&](llvm::StringRef suffix) { return nn::makeDerivedLocation(op, suffix); };
    auto fill = [&](float value, llvm::StringRef name) {
      Tensor tensor = Tensor::allocate(ElementType::F32, {groups});
      std::fill_n(tensor.mutableData<float>(), groups, value);
      return createConstantValue(rewriter, at(name), tensor);
    };
    llvm::FailureOr<Value> ones = fill(1, "ones"), zeros = fill(0, "zeros");
    if (failed(ones) || failed(zeros))
      return failure();
    bool hasScale = !isSplatOf(op.getScale(), 1), hasBias = !isSplatOf(op.getBias(), 0);
    Shape parameter(shape.size(), 1);
    parameter[1] = shape[1];
    // The last operation computes the value of the original and so takes its name.
    auto locationOf = [&](bool isLast, llvm::StringRef suffix) { return isLast ? op.getLoc() : at(suffix); };
    Value value = createReshape(rewriter, at("grouped"), input, grouped);
    value = createInferred<nn::InstanceNormalizationOp>(rewriter, at("normalized"), value, *ones, *zeros,
                                                        op.getEpsilonAttr());
    value = createReshape(rewriter, locationOf(!hasScale && !hasBias, "ungrouped"), value, shape);
    if (hasScale)
      value = createInferred<nn::MulOp>(rewriter, locationOf(!hasBias, "scaled"), value,
                                        createReshapedConstant(rewriter, op.getScale().getLoc(), op.getScale(), parameter));
    if (hasBias)
      value = createInferred<nn::AddOp>(rewriter, op.getLoc(), value,
                                        createReshapedConstant(rewriter, op.getBias().getLoc(), op.getBias(), parameter));
    rewriter.replaceOp(op, value);
    return success();
  }
};

} // namespace

void populateGroupNormPatterns(RewritePatternSet &patterns) { patterns.add<SplitGroupNorm>(patterns.getContext()); }

} // namespace nibble
