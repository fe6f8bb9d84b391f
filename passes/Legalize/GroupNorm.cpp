//===- GroupNorm.cpp - GroupNormalization as InstanceNormalization ---------===//
//
// Back ends that quantize InstanceNormalization but not GroupNormalization get
// the groups as channels. The group's elements are kept in two dimensions, as
// rank 4 is what image kernels are fast on:
//   [N, C, spatial...] -> [N, G, C / G * first, rest] -> normalize -> [N, C, spatial...]
// then the parameters are applied by a depthwise convolution; a scale of ones
// with a bias of zeros is left out.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
namespace {

/// Qualcomm's compiler (onnxruntime-qnn 2.7.0) ends with a segmentation fault on a depthwise convolution of 16-bit
/// activations with a window of one element and more channels than this; with a window of three it is sound.
constexpr int64_t mostChannelsOfPointwise = 256;

/// scale * x + bias per channel as a depthwise convolution whose window has the scale in its middle. Each
/// channel of its weight has a scale of its own in an integer program, so the parameters lose nothing to 8 bits.
llvm::FailureOr<Value> createDepthwise(PatternRewriter &rewriter, nn::GroupNormalizationOp op, Value value) {
  llvm::ArrayRef<int64_t> shape = nn::shapeOf(value);
  int64_t channels = shape[1], window = channels > mostChannelsOfPointwise ? 3 : 1;
  size_t spatial = shape.size() - 2;
  Shape weightShape(shape.size(), window);
  weightShape[0] = channels;
  weightShape[1] = 1;
  llvm::Expected<Tensor> scale = nn::readConstant(op.getScale());
  if (!scale)
    return op.emitError() << llvm::toString(scale.takeError());
  Tensor weight = Tensor::allocate(ElementType::F32, weightShape);
  int64_t elements = elementCount(llvm::ArrayRef(weightShape).drop_front());
  float *data = weight.mutableData<float>();
  std::fill_n(data, weight.elementCount(), 0.0f);
  for (int64_t channel = 0; channel < channels; ++channel)
    data[channel * elements + elements / 2] = scale->data<float>()[channel];
  llvm::FailureOr<Value> constant = createConstantValue(rewriter, op.getScale().getLoc(), weight);
  if (failed(constant))
    return failure();
  llvm::SmallVector<int64_t> ones(spatial, 1), pads(2 * spatial, window / 2);
  return createInferred<nn::ConvOp>(rewriter, op.getLoc(), value, *constant, op.getBias(),
                                    rewriter.getDenseI64ArrayAttr(ones), rewriter.getDenseI64ArrayAttr(pads),
                                    rewriter.getDenseI64ArrayAttr(ones), rewriter.getI64IntegerAttr(channels),
                                    rewriter.getStringAttr("NOTSET"));
}

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
    bool hasParameters = !isSplatOf(op.getScale(), 1) || !isSplatOf(op.getBias(), 0);
    // The last operation computes the value of the original and so takes its name.
    Value value = createReshape(rewriter, at("grouped"), input, grouped);
    value = createInferred<nn::InstanceNormalizationOp>(rewriter, at("normalized"), value, *ones, *zeros,
                                                        op.getEpsilonAttr());
    value = createReshape(rewriter, hasParameters ? at("ungrouped") : op.getLoc(), value, shape);
    if (hasParameters) {
      llvm::FailureOr<Value> scaled = createDepthwise(rewriter, op, value);
      if (failed(scaled))
        return failure();
      value = *scaled;
    }
    rewriter.replaceOp(op, value);
    return success();
  }
};

} // namespace

void populateGroupNormPatterns(RewritePatternSet &patterns) { patterns.add<SplitGroupNorm>(patterns.getContext()); }

} // namespace nibble
