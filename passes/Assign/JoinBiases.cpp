//===- JoinBiases.cpp - matrix products with their biases --------------------===//
//
// Exporters write a linear layer of a matrix as a product and an addition. A program in integers rounds the
// result of each, while a Gemm adds its bias to the accumulator and rounds once. Its bias is stored in steps of
// input scale times weight scale, which weights in blocks do not have, so the recipe decides. That is after
// overrides were matched: they may name the product, the sum, or the tensors of both.
//
//===----------------------------------------------------------------------===//
#include "passes/Assign/JoinBiases.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
namespace {

using Granularity = WeightSettings::Granularity;

class Joiner {
public:
  Joiner(ResolvedQuantizers &quantizers, const Recipe &recipe) : quantizers(quantizers), recipe(recipe) {}

  bool join(nn::AddOp sum) {
    auto sides = matchEitherOperand(sum, [](Value side) { return static_cast<bool>(productBehind(side)); });
    if (!sides)
      return false;
    nn::MatMulOp product = productBehind(sides->first);
    for (Value matrix : {product.getLhs(), product.getRhs(), product.getResult()})
      if (!hasStaticShape(matrix) || nn::shapeOf(matrix).size() != 2)
        return false;
    int64_t columns = nn::shapeOf(product.getResult()).back();
    auto bias = sides->second.getDefiningOp<nn::FakeQuantOp>();
    if (sum.getType() != product.getType() || !bias || !bias->hasOneUse() || !isBiasOf(bias.getInput(), columns) ||
        !isAllowed(product, sides->first, sum))
      return false;

    OpBuilder builder(sum);
    sum.emitRemark("node '") << nn::nodeName(product) << "': the product and the sum of node '" << nn::nodeName(sum)
                             << "' are rounded once";
    OpBuilder beforeBias(bias);
    bias.getInputMutable().assign(createReshapedConstant(beforeBias, bias.getInput().getLoc(), bias.getInput(), {columns}));
    bias.getResult().setType(cast<RankedTensorType>(bias.getInput().getType()));
    quantizers.uses.find(bias.getResult())->quantizer.setRole(StringRef("bias"));
    Location location = nn::makeLocation(sum.getContext(), nn::nodeName(product), {nn::tensorName(sum.getResult())});
    auto gemm = nn::GemmOp::create(builder, location, sum.getType(), product.getLhs(), product.getRhs(),
                                   bias.getResult(), llvm::APFloat(1.0f), llvm::APFloat(1.0f));
    QuantizerUse *dropped = quantizers.uses.find(sides->first);
    sum.replaceAllUsesWith(gemm.getResult());
    sum.erase();
    removed.insert(dropped);
    sides->first.getDefiningOp()->erase();
    product.erase();
    return true;
  }

  /// Drops the quantizers between products and sums.
  void removeUnused() {
    ResolvedQuantizers kept;
    for (auto [use, setting] : llvm::zip_equal(quantizers.uses.list, quantizers.settings)) {
      if (removed.contains(&use)) {
        use.quantizer.erase();
        continue;
      }
      kept.uses.indexOf[use.quantizer.getSymNameAttr()] = kept.uses.list.size();
      kept.uses.list.push_back(std::move(use));
      kept.settings.push_back(std::move(setting));
    }
    quantizers = std::move(kept);
  }

private:
  /// The product of a matrix with constant weights whose rounded result is `value`, where nothing else reads it.
  static nn::MatMulOp productBehind(Value value) {
    auto rounded = value.getDefiningOp<nn::FakeQuantOp>();
    if (!rounded || !rounded->hasOneUse())
      return {};
    auto product = rounded.getInput().getDefiningOp<nn::MatMulOp>();
    return product && product->hasOneUse() && getConstant(product.getRhs()) ? product : nn::MatMulOp();
  }

  /// Whether `value` is a constant with one number per column of a matrix with `columns` columns.
  static bool isBiasOf(Value value, int64_t columns) {
    if (!value.getDefiningOp<nn::ConstantOp>() || !hasStaticShape(value))
      return false;
    llvm::ArrayRef<int64_t> shape = nn::shapeOf(value);
    return !shape.empty() && shape.size() <= 2 && shape.back() == columns && (shape.size() == 1 || shape.front() == 1);
  }

  const QuantizerSettings *settingsOf(QuantizerUse *use) {
    return use ? &quantizers.settings[static_cast<size_t>(use - quantizers.uses.list.data())] : nullptr;
  }

  bool isAllowed(nn::MatMulOp product, Value roundedProduct, nn::AddOp sum) {
    nn::FakeQuantOp roundedSum = nn::roundingOf(sum.getResult());
    QuantizerUse *between = quantizers.uses.find(roundedProduct),
                 *after = roundedSum ? quantizers.uses.find(roundedSum.getResult()) : nullptr;
    const QuantizerSettings *ofWeight = settingsOf(quantizers.uses.find(product.getRhs())),
                            *ofProduct = settingsOf(between), *ofSum = settingsOf(after);
    if (!ofWeight || !ofProduct || !ofSum || between->fakeQuants.size() != 1)
      return false;
    Granularity granularity = ofWeight->weights.granularity.value_or(Granularity::Channel);
    if (ofWeight->weights.bits.value_or(0) == 0 || granularity == Granularity::Group || granularity == Granularity::LPBQ)
      return false;
    if (ofProduct->activations.bits.value_or(0) == 0 || ofSum->activations.bits.value_or(0) == 0)
      return false;
    return ofProduct->activations == recipe.activations || ofProduct->activations == ofSum->activations;
  }

  ResolvedQuantizers &quantizers;
  const Recipe &recipe;
  DenseSet<QuantizerUse *> removed;
};

} // namespace

unsigned joinBiases(ResolvedQuantizers &quantizers, const Recipe &recipe) {
  SmallVector<nn::AddOp> sums;
  for (QuantizerUse &use : quantizers.uses.list)
    for (nn::FakeQuantOp rounded : use.fakeQuants)
      if (auto sum = rounded.getInput().getDefiningOp<nn::AddOp>())
        sums.push_back(sum);
  Joiner joiner(quantizers, recipe);
  auto joined = llvm::count_if(sums, [&](nn::AddOp sum) { return joiner.join(sum); });
  joiner.removeUnused();
  return static_cast<unsigned>(joined);
}

} // namespace nibble
