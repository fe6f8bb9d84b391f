#include "lib/Runtime/Float/Fusion.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/MatrixOperand.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

using Absorbed = llvm::SmallVector<Operation *, 8>;
using CanVanish = llvm::function_ref<bool(Value)>;

std::optional<ValueSpec> floatSpec(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.hasStaticShape() || !type.getElementType().isF32())
    return std::nullopt;
  return ValueSpec{ElementType::F32, Shape(type.getShape()), {}};
}

/// The strides of a row-major tensor of `shape` seen through a transposition.
Shape transposedStrides(llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> perm) {
  Shape own = rowMajorStrides(shape), strides;
  for (int64_t axis : perm)
    strides.push_back(own[static_cast<size_t>(axis)]);
  return strides;
}

/// Whether the program computes `value` once: a constant, or a few operations away from constants.
bool isConstant(Value value, int depth = 3) {
  Operation *op = value.getDefiningOp();
  if (!op || isa<nn::ConstantOp>(op))
    return op != nullptr;
  return depth > 0 && op->getNumRegions() == 0 && op->getNumOperands() > 0 &&
         llvm::all_of(op->getOperands(), [&](Value operand) { return isConstant(operand, depth - 1); });
}

struct Operand {
  Value value;
  OperandSpec spec;
};

/// An operand of a matrix product without the transposition and the factor in front of it.
std::optional<Operand> matchOperand(Value value, CanVanish canVanish, float &factor, Absorbed &absorbed) {
  std::optional<ValueSpec> spec = floatSpec(value);
  if (!spec)
    return std::nullopt;
  Operand operand{value, {}};
  static_cast<ValueSpec &>(operand.spec) = *spec;
  operand.spec.present = true;
  while (canVanish(operand.value)) {
    if (auto transpose = operand.value.getDefiningOp<nn::TransposeOp>(); transpose && operand.spec.strides.empty()) {
      auto input = cast<RankedTensorType>(transpose.getInput().getType());
      ValueSpec seen = *spec;
      seen.strides = transposedStrides(input.getShape(), transpose.getPerm());
      if (isConstant(transpose.getInput()) || !isMatrixInPlace(seen, /*allowTransposed=*/true))
        break;
      operand.spec.strides = seen.strides;
      operand.value = transpose.getInput();
      absorbed.push_back(transpose);
      continue;
    }
    if (auto mul = operand.value.getDefiningOp<nn::MulOp>()) {
      std::optional<double> scalar = nn::readConstantScalar(mul.getRhs());
      if (!scalar || mul.getLhs().getType() != mul.getType())
        break;
      factor *= static_cast<float>(*scalar);
      operand.value = mul.getLhs();
      absorbed.push_back(mul);
      continue;
    }
    break;
  }
  return operand;
}

/// Lets the product write the transposition of its result, where that is the result's only use.
void absorbResultTransposition(Value &result, ValueSpec &spec, CanVanish canVanish, Absorbed &absorbed) {
  if (!canVanish(result))
    return;
  auto transpose = dyn_cast<nn::TransposeOp>(*result.getUsers().begin());
  if (!transpose)
    return;
  auto output = cast<RankedTensorType>(transpose.getType());
  // The product's dimension perm[i] is dimension i of what is stored.
  Shape stored = rowMajorStrides(output.getShape()), strides(stored.size());
  for (auto [i, axis] : llvm::enumerate(transpose.getPerm()))
    strides[static_cast<size_t>(axis)] = stored[i];
  ValueSpec seen = spec;
  seen.strides = strides;
  if (!isMatrixInPlace(seen, /*allowTransposed=*/false))
    return;
  spec = seen;
  result = transpose.getResult();
  absorbed.push_back(transpose);
}

/// softmax(query keys [+ mask]) values, from the product with the values.
std::optional<FusedNode> matchAttention(nn::MatMulOp last, CanVanish canVanish, Absorbed &absorbed) {
  auto softmax = last.getLhs().getDefiningOp<nn::SoftmaxOp>();
  auto type = dyn_cast<RankedTensorType>(last.getType());
  if (!softmax || !canVanish(softmax.getResult()) || !type || type.getRank() < 3)
    return std::nullopt;
  int64_t rank = type.getRank(), axis = softmax.getAxis();
  if (normalizeAxis(axis, rank) != rank - 1)
    return std::nullopt;
  FusedNode node;
  node.kind = FusedNode::Kind::Attention;
  Value scores = softmax.getInput(), mask;
  if (!canVanish(scores))
    return std::nullopt;
  auto first = scores.getDefiningOp<nn::MatMulOp>();
  if (auto add = scores.getDefiningOp<nn::AddOp>()) {
    for (bool swap : {false, true}) {
      Value product = swap ? add.getRhs() : add.getLhs();
      if (auto matmul = product.getDefiningOp<nn::MatMulOp>(); matmul && !first && canVanish(product) &&
                                                                product.getType() == add.getType()) {
        first = matmul;
        mask = swap ? add.getLhs() : add.getRhs();
      }
    }
    absorbed.push_back(add);
  }
  if (!first)
    return std::nullopt;
  float factor = 1, valueFactor = 1;
  std::optional<Operand> query = matchOperand(first.getLhs(), canVanish, factor, absorbed);
  std::optional<Operand> keys = matchOperand(first.getRhs(), canVanish, factor, absorbed);
  std::optional<Operand> values = matchOperand(last.getRhs(), canVanish, valueFactor, absorbed);
  std::optional<ValueSpec> result = floatSpec(last.getResult());
  if (!query || !keys || !values || !result || valueFactor != 1)
    return std::nullopt;
  auto sameBatch = [&](const ValueSpec &spec) {
    return spec.rank() == rank && llvm::ArrayRef(spec.shape).drop_back(2) == type.getShape().drop_back(2);
  };
  if (!sameBatch(query->spec) || !sameBatch(keys->spec) || !sameBatch(values->spec) || result->elementCount() == 0 ||
      query->spec.elementCount() == 0 || values->spec.elementCount() == 0)
    return std::nullopt;
  OperandSpec maskSpec;
  if (mask) {
    std::optional<ValueSpec> spec = floatSpec(mask);
    if (!spec || spec->rank() > rank)
      return std::nullopt;
    static_cast<ValueSpec &>(maskSpec) = *spec;
    maskSpec.present = true;
  }
  absorbed.append({softmax, first});
  node.result = last.getResult();
  node.spec.op = last;
  node.spec.factor = factor;
  node.spec.operands = {query->spec, keys->spec, maskSpec, values->spec};
  node.spec.results = {*result};
  node.operands = {query->value, keys->value, mask, values->value};
  return node;
}

/// A product with a constant matrix and the constant row that is added to it.
std::optional<FusedNode> matchBiased(nn::MatMulOp op, CanVanish canVanish, Absorbed &absorbed) {
  if (!isConstant(op.getRhs()) || !canVanish(op.getResult()))
    return std::nullopt;
  auto add = dyn_cast<nn::AddOp>(*op->getUsers().begin());
  if (!add || add.getType() != op.getType())
    return std::nullopt;
  Value bias = add.getLhs() == op.getResult() ? add.getRhs() : add.getLhs();
  std::optional<ValueSpec> left = floatSpec(op.getLhs()), right = floatSpec(op.getRhs()), row = floatSpec(bias);
  std::optional<ValueSpec> result = floatSpec(op.getResult());
  if (!isConstant(bias) || !left || !right || !row || !result || left->elementCount() == 0 || right->rank() != 2 ||
      left->rank() < 2 || row->rank() < 1 || row->elementCount() != right->shape[1] ||
      row->shape.back() != right->shape[1])
    return std::nullopt;
  FusedNode node;
  node.spec.op = op;
  for (const std::optional<ValueSpec> &spec : {left, right, row}) {
    OperandSpec operand;
    static_cast<ValueSpec &>(operand) = *spec;
    operand.present = true;
    node.spec.operands.push_back(operand);
  }
  node.spec.results = {*result};
  node.operands = {op.getLhs(), op.getRhs(), bias};
  node.result = add.getResult();
  absorbed.push_back(add);
  return node;
}

std::optional<FusedNode> matchProduct(nn::MatMulOp op, CanVanish canVanish, Absorbed &absorbed) {
  FusedNode node;
  std::optional<ValueSpec> result = floatSpec(op.getResult());
  auto left = dyn_cast<RankedTensorType>(op.getLhs().getType()),
       right = dyn_cast<RankedTensorType>(op.getRhs().getType());
  if (!result || result->elementCount() == 0 || !left || !right || left.getRank() < 2 || right.getRank() < 2)
    return std::nullopt;
  // A constant matrix is packed once, which is worth more than reading its operand in place.
  if (isConstant(op.getRhs()))
    return std::nullopt;
  float factor = 1;
  std::optional<Operand> a = matchOperand(op.getLhs(), canVanish, factor, absorbed);
  std::optional<Operand> b = matchOperand(op.getRhs(), canVanish, factor, absorbed);
  if (!a || !b || a->spec.elementCount() == 0)
    return std::nullopt;
  node.result = op.getResult();
  node.spec.op = op;
  node.spec.factor = factor;
  node.spec.operands = {a->spec, b->spec};
  node.spec.results = {*result};
  node.operands = {a->value, b->value};
  return node;
}

} // namespace

bool FusionPlan::canVanish(Value value, llvm::function_ref<bool(Value)> isObserved) const {
  return value.getDefiningOp() && value.hasOneUse() && !isObserved(value);
}

FusionPlan::FusionPlan(Block &block, llvm::function_ref<bool(Value)> isObserved) {
  auto vanishes = [&](Value value) { return canVanish(value, isObserved); };
  // Last operations first, so that a product inside an attention is not taken on its own.
  for (Operation &op : llvm::reverse(block)) {
    auto product = dyn_cast<nn::MatMulOp>(op);
    if (!product || absorbed.contains(product))
      continue;
    Absorbed used;
    std::optional<FusedNode> node = matchBiased(product, vanishes, used);
    bool isPacked = node.has_value();
    if (!node)
      node = matchAttention(product, vanishes, used);
    if (!node) {
      used.clear();
      node = matchProduct(product, vanishes, used);
    }
    if (!node)
      continue;
    if (!isPacked)
      absorbResultTransposition(node->result, node->spec.results[0], vanishes, used);
    if (used.empty())
      continue;
    // The step stands where its last operation stood.
    Operation *root = node->result.getDefiningOp();
    absorbed.insert(used.begin(), used.end());
    absorbed.insert(product);
    absorbed.erase(root);
    nodes.try_emplace(root, std::move(*node));
  }
}

StepPlan FusionPlan::takeSteps() {
  StepPlan plan;
  plan.absorbed = std::move(absorbed);
  for (auto &[root, node] : nodes) {
    bool isAttention = node.kind == FusedNode::Kind::Attention;
    plan.steps.try_emplace(root, FusedStep{std::move(node.spec), std::move(node.operands), {node.result},
                                           isAttention ? makeFusedAttention : makeKernel});
  }
  return plan;
}

} // namespace nibble::runtime
