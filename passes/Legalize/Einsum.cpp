//===- Einsum.cpp - products of two operands as MatMul ---------------------===//
//
// Indices of two operands a and b fall into batch (in both and in the result),
// summed (in both, not in the result), rows (a and result) and columns (b and
// result). Both operands are permuted and reshaped to [batch, rows, summed] and
// [batch, summed, columns]; the product is permuted to the order of the result.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

using namespace mlir;

namespace nibble {
namespace {

bool hasRepeatedLetter(llvm::StringRef word) {
  return llvm::any_of(word, [&](char c) { return word.count(c) > 1; });
}

struct EinsumToMatMul : OpRewritePattern<nn::EinsumOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(nn::EinsumOp op, PatternRewriter &rewriter) const override {
    std::optional<nn::EinsumEquation> equation = nn::EinsumEquation::parse(op.getEquation());
    if (!equation || op.getInputs().size() != 2 || !llvm::all_of(op.getInputs(), hasStaticShape))
      return failure();
    llvm::StringRef a = equation->inputs[0], b = equation->inputs[1], out = equation->output;
    if (hasRepeatedLetter(a) || hasRepeatedLetter(b))
      return failure();
    std::array<int64_t, 256> sizes{};
    for (auto [word, input] : llvm::zip_equal(equation->inputs, op.getInputs()))
      for (auto [letter, dimension] : llvm::zip_equal(word, nn::shapeOf(input))) {
        int64_t &size = sizes[static_cast<unsigned char>(letter)];
        if (size != 0 && size != dimension)
          return failure();
        size = dimension;
      }
    std::string batch, summed, rows, columns;
    for (char letter : a) {
      if (b.contains(letter))
        (out.contains(letter) ? batch : summed) += letter;
      else if (out.contains(letter))
        rows += letter;
      else
        return failure();
    }
    for (char letter : b)
      if (!a.contains(letter)) {
        if (!out.contains(letter))
          return failure();
        columns += letter;
      }
    auto shapeOfWord = [&](llvm::StringRef word) {
      Shape shape;
      for (char letter : word)
        shape.push_back(sizes[static_cast<unsigned char>(letter)]);
      return shape;
    };
    auto count = [&](llvm::StringRef word) { return elementCount(shapeOfWord(word)); };
    auto permutation = [](llvm::StringRef from, llvm::StringRef to) {
      SmallVector<int64_t> perm;
      for (char letter : to)
        perm.push_back(static_cast<int64_t>(from.find(letter)));
      return perm;
    };
    auto at = [&](llvm::StringRef suffix) { return nn::makeDerivedLocation(op, suffix); };
    // Two batch dimensions are what attention has; more are merged to stay at rank 4.
    Shape batchShape = batch.size() <= 2 ? shapeOfWord(batch) : Shape{count(batch)};
    auto arrange = [&](llvm::StringRef name, Value value, llvm::StringRef word, llvm::StringRef first,
                       llvm::StringRef second) {
      std::string wanted = batch + first.str() + second.str();
      Value permuted = createTranspose(rewriter, at((name + "/permuted").str()), value, permutation(word, wanted));
      Shape shape(batchShape);
      shape.push_back(count(first));
      shape.push_back(count(second));
      return createReshape(rewriter, at(name), permuted, shape);
    };
    Value left = arrange("a", op.getInputs()[0], a, rows, summed);
    Value right = arrange("b", op.getInputs()[1], b, summed, columns);
    Value product = createInferred<nn::MatMulOp>(rewriter, at("product"), left, right);
    std::string order = batch + rows + columns;
    Value split = createReshape(rewriter, at("split"), product, shapeOfWord(order));
    Value result = createTranspose(rewriter, op.getLoc(), split, permutation(order, out));
    result.getDefiningOp()->setLoc(op.getLoc());
    rewriter.replaceOp(op, result);
    return success();
  }
};

} // namespace

void populateEinsumPatterns(RewritePatternSet &patterns) { patterns.add<EinsumToMatMul>(patterns.getContext()); }

} // namespace nibble
