//===- Gelu.cpp - GELU from erf and from tanh ------------------------------===//
//
// Exporters associate the product x * 0.5 * (1 + erf(x / sqrt(2))) in every
// possible way, so it is flattened into its factors first.
//
//===----------------------------------------------------------------------===//
#include "passes/Legalize/Legalizations.h"
#include "passes/Rewriting.h"

#include <cmath>

using namespace mlir;

namespace nibble {
namespace {

/// Constants in files have about seven digits.
constexpr double tolerance = 1e-5;

/// Factors of a product: the number that all scalar constants multiply to, and the other factors.
struct Product {
  double scalar = 1;
  SmallVector<Value, 4> factors;
};

/// Adds the factors of `value` to `product`. Products that others use too are not opened, except for the root.
void collectFactors(Value value, Product &product, bool isRoot) {
  if (std::optional<double> number = nn::readConstantScalar(value)) {
    product.scalar *= *number;
    return;
  }
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<nn::MulOp>(op) && (isRoot || value.hasOneUse())) {
    collectFactors(op->getOperand(0), product, false);
    collectFactors(op->getOperand(1), product, false);
    return;
  }
  if (isa_and_nonnull<nn::DivOp>(op) && (isRoot || value.hasOneUse()))
    if (std::optional<double> number = nn::readConstantScalar(op->getOperand(1)); number && *number != 0) {
      product.scalar /= *number;
      return collectFactors(op->getOperand(0), product, false);
    }
  product.factors.push_back(value);
}

bool isClose(double value, double expected) { return std::abs(value - expected) <= tolerance * std::abs(expected); }

/// The operand of `Function` in 1 + Function(...).
template <typename Function> Value matchOnePlus(Value value) {
  auto add = value.getDefiningOp<nn::AddOp>();
  auto sides = add ? matchEitherOperand(add, [](Value side) { return isSplatOf(side, 1); }) : std::nullopt;
  auto function = sides ? sides->second.template getDefiningOp<Function>() : nullptr;
  return function ? function.getInput() : Value();
}

/// Whether `value` is `scalar` * x.
bool isScaled(Value value, double scalar, Value x) {
  Product product;
  collectFactors(value, product, /*isRoot=*/true);
  return product.factors.size() == 1 && product.factors[0] == x && isClose(product.scalar, scalar);
}

/// Whether `value` is sqrt(2 / pi) * (x + 0.044715 * x ^ 3).
bool isTanhArgument(Value value, Value x) {
  Product outer;
  collectFactors(value, outer, /*isRoot=*/true);
  if (outer.factors.size() != 1 || !isClose(outer.scalar, std::sqrt(2 / M_PI)))
    return false;
  auto sum = outer.factors[0].getDefiningOp<nn::AddOp>();
  auto sides = sum ? matchEitherOperand(sum, [&](Value side) { return side == x; }) : std::nullopt;
  if (!sides)
    return false;
  Product cube;
  collectFactors(sides->second, cube, /*isRoot=*/true);
  if (!isClose(cube.scalar, 0.044715))
    return false;
  if (cube.factors.size() == 1) {
    auto pow = cube.factors[0].getDefiningOp<nn::PowOp>();
    return pow && pow.getLhs() == x && isSplatOf(pow.getRhs(), 3);
  }
  return cube.factors.size() == 3 && llvm::all_equal(cube.factors) && cube.factors[0] == x;
}

/// Replaces x * 0.5 * (1 + Function(argument of x)) by nn.gelu.
template <typename Function> struct RaiseGelu : OpRewritePattern<nn::MulOp> {
  RaiseGelu(MLIRContext *context, llvm::StringRef approximate, bool (*isArgument)(Value, Value))
      : OpRewritePattern(context), approximate(approximate), isArgument(isArgument) {}
  LogicalResult matchAndRewrite(nn::MulOp op, PatternRewriter &rewriter) const override {
    Product product;
    collectFactors(op.getResult(), product, /*isRoot=*/true);
    if (product.factors.size() != 2 || !isClose(product.scalar, 0.5))
      return failure();
    for (unsigned side : {0u, 1u}) {
      Value x = product.factors[side], argument = matchOnePlus<Function>(product.factors[1 - side]);
      if (!argument || x.getType() != op.getType() || !isArgument(argument, x))
        continue;
      rewriter.replaceOpWithNewOp<nn::GeluOp>(op, op.getType(), x, approximate);
      return success();
    }
    return failure();
  }
  llvm::StringRef approximate;
  bool (*isArgument)(Value, Value);
};

bool isErfArgument(Value value, Value x) { return isScaled(value, std::sqrt(0.5), x); }

} // namespace

void populateErfGeluPatterns(RewritePatternSet &patterns) {
  patterns.add<RaiseGelu<nn::ErfOp>>(patterns.getContext(), "none", isErfArgument);
}

void populateTanhGeluPatterns(RewritePatternSet &patterns) {
  patterns.add<RaiseGelu<nn::TanhOp>>(patterns.getContext(), "tanh", isTanhArgument);
}

} // namespace nibble
