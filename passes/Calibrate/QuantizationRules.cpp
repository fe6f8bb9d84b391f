#include "passes/Calibrate/QuantizationRules.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nibble {
namespace {

using Kind = OperandRole::Kind;

OperandRole weight(std::optional<int64_t> channelAxis, std::optional<int64_t> inputAxis, bool isTable = false) {
  return {Kind::Weight, channelAxis, inputAxis, isTable};
}

int64_t rankOf(Value value) { return cast<RankedTensorType>(value.getType()).getRank(); }

OperandRole convolutionRole(unsigned index, int64_t channelAxis, int64_t inputAxis, bool hasOneChannelAxis) {
  if (index == 1)
    return hasOneChannelAxis ? weight(channelAxis, inputAxis) : weight(std::nullopt, inputAxis);
  return {index == 2 ? Kind::Bias : Kind::Value, {}, {}};
}

OperandRole matmulRole(nn::MatMulOp op, unsigned index) {
  bool otherIsConstant = static_cast<bool>(getConstant(op->getOperand(1 - index)));
  if (otherIsConstant && index == 0)
    return {};
  int64_t rank = rankOf(op->getOperand(index));
  if (rank < 2)
    return weight(std::nullopt, 0);
  return index == 1 ? weight(rank - 1, rank - 2) : weight(rank - 2, rank - 1);
}

OperandRole gemmRole(nn::GemmOp op, unsigned index) {
  if (index == 0)
    return getConstant(op.getB()) ? OperandRole() : weight(op.getTransA() ? 1 : 0, op.getTransA() ? 0 : 1);
  if (index == 1)
    return op.getTransB() ? weight(0, 1) : weight(1, 0);
  // The accumulator takes a vector without factors; anything else is an addition of its own.
  bool isPlain = op.getAlpha().convertToFloat() == 1.0f && op.getBeta().convertToFloat() == 1.0f;
  return {isPlain && rankOf(op.getC()) == 1 && getConstant(op.getB()) ? Kind::Bias : Kind::Value, {}, {}};
}

} // namespace

bool isQuantizable(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getElementType().isF32() && !llvm::is_contained(tensor.getShape(), 0);
}

nn::ConstantOp getConstant(Value value) {
  value = nn::resolveThroughBlocks(value);
  while (auto op = value.getDefiningOp()) {
    if (!isa<nn::FakeQuantOp, nn::DequantizeWeightOp>(op))
      break;
    value = nn::resolveThroughBlocks(op->getOperand(0));
  }
  return value.getDefiningOp<nn::ConstantOp>();
}

OperandRole getOperandRole(OpOperand &operand) {
  unsigned index = operand.getOperandNumber();
  bool isConstant = static_cast<bool>(getConstant(operand.get()));
  return llvm::TypeSwitch<Operation *, OperandRole>(operand.getOwner())
      .Case([&](nn::ClipOp) { return OperandRole{index == 0 ? Kind::Value : Kind::Parameter, {}, {}}; })
      .Case([&](nn::PadOp) { return OperandRole{index == 0 ? Kind::Value : Kind::Parameter, {}, {}}; })
      .Case([&](nn::ResizeOp) { return OperandRole{index == 0 ? Kind::Value : Kind::Parameter, {}, {}}; })
      .Case<nn::RangeOp, nn::OneHotOp, nn::CumSumOp, nn::BatchNormalizationOp>([&](Operation *op) {
        return OperandRole{index == 0 && !isa<nn::RangeOp>(op) ? Kind::Value : Kind::Parameter, {}, {}};
      })
      .Default([&](Operation *op) -> OperandRole {
        if (!isConstant)
          return {};
        return llvm::TypeSwitch<Operation *, OperandRole>(op)
            .Case([&](nn::ConvOp) { return convolutionRole(index, 0, 1, true); })
            .Case([&](nn::ConvTransposeOp conv) { return convolutionRole(index, 1, 0, conv.getGroup() == 1); })
            .Case([&](nn::MatMulOp matmul) { return matmulRole(matmul, index); })
            .Case([&](nn::GemmOp gemm) { return gemmRole(gemm, index); })
            .Case([&](nn::GatherOp gather) {
              if (index != 0)
                return OperandRole();
              return weight(gather.getAxis(), rankOf(gather.getData()) - 1, /*isTable=*/true);
            })
            .Default([](Operation *) { return OperandRole(); });
      });
}

Value getMovedOperand(OpResult result) {
  return llvm::TypeSwitch<Operation *, Value>(result.getOwner())
      .Case<nn::IdentityOp, nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::TransposeOp, nn::SplitOp,
            nn::SliceOp, nn::ExpandOp, nn::TileOp, nn::GatherElementsOp, nn::GatherNDOp, nn::DepthToSpaceOp,
            nn::SpaceToDepthOp, nn::MaxPoolOp, nn::GlobalMaxPoolOp, nn::ReduceMaxOp, nn::ReduceMinOp, nn::TriluOp>(
          [](Operation *op) { return op->getOperand(0); })
      .Case([](nn::GatherOp op) { return getConstant(op.getData()) ? Value() : op.getData(); })
      .Case([&](nn::TopKOp op) { return result.getResultNumber() == 0 ? op.getInput() : Value(); })
      .Case([](nn::ResizeOp op) { return op.getMode() == "nearest" ? op.getInput() : Value(); })
      .Case([](nn::PadOp op) {
        // Zero has an integer in every encoding; another value would have to be measured.
        std::optional<double> value = op.getConstantValue() ? nn::readConstantScalar(op.getConstantValue()) : 0.0;
        bool keepsValues = op.getMode() != nn::PadMode::Constant || value == 0.0;
        return keepsValues ? op.getInput() : Value();
      })
      .Default([](Operation *) { return Value(); });
}

std::optional<FixedRange> getFixedRange(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<FixedRange>>(op)
      .Case([](nn::SoftmaxOp) { return FixedRange{{0, 1}, "softmax lies in [0, 1]"}; })
      .Case([](nn::SigmoidOp) { return FixedRange{{0, 1}, "sigmoid lies in [0, 1]"}; })
      .Case([](nn::HardSigmoidOp) { return FixedRange{{0, 1}, "hard sigmoid lies in [0, 1]"}; })
      .Case([](nn::TanhOp) { return FixedRange{{-1, 1}, "tanh lies in [-1, 1]"}; })
      .Case([](nn::SinOp) { return FixedRange{{-1, 1}, "sine lies in [-1, 1]"}; })
      .Case([](nn::CosOp) { return FixedRange{{-1, 1}, "cosine lies in [-1, 1]"}; })
      .Default([](Operation *) { return std::nullopt; });
}

Value resolveMovedValue(Value value) {
  while (true) {
    value = nn::resolveThroughBlocks(value);
    auto result = dyn_cast<OpResult>(value);
    if (!result)
      return value;
    if (auto quantize = dyn_cast<nn::FakeQuantOp>(result.getOwner())) {
      value = quantize.getInput();
      continue;
    }
    Value source = getMovedOperand(result);
    if (!source)
      return value;
    value = source;
  }
}

bool reachesOnlySoftmax(Value value, bool throughSums) {
  if (value.use_empty())
    return false;
  return llvm::all_of(value.getUses(), [&](OpOperand &use) {
    Operation *op = use.getOwner();
    if (isa<nn::SoftmaxOp>(op))
      return true;
    if (auto block = dyn_cast<nn::BlockOp>(op))
      return reachesOnlySoftmax(block.getBody().getArgument(use.getOperandNumber()), throughSums);
    if (isa<nn::YieldOp>(op))
      return reachesOnlySoftmax(op->getParentOp()->getResult(use.getOperandNumber()), throughSums);
    bool goesOn = isa<nn::FakeQuantOp>(op) || (throughSums && isa<nn::AddOp>(op)) ||
                  (op->getNumResults() == 1 && getMovedOperand(op->getResult(0)) == use.get());
    return goesOn && reachesOnlySoftmax(op->getResult(0), throughSums);
  });
}

std::string comparableOperatorName(llvm::StringRef name) {
  std::string result;
  for (char c : name)
    if (c != '_')
      result += static_cast<char>(llvm::toLower(static_cast<unsigned char>(c)));
  return result;
}

} // namespace nibble
