#include "lib/Report/Coverage.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/Quantizers.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/TypeSwitch.h"
#include <set>

using namespace mlir;

namespace nibble::report {
namespace {

/// An empty tensor holds no values that could be off the grid.
bool isFloat(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && isa<FloatType>(tensor.getElementType()) && !llvm::is_contained(tensor.getShape(), 0);
}

/// Operations that only choose, order or repeat values of their first operands.
bool isDataMovement(Operation *op) {
  if (auto resize = dyn_cast<nn::ResizeOp>(op))
    return resize.getMode() == "nearest";
  return isa<nn::IdentityOp, nn::ReshapeOp, nn::FlattenOp, nn::SqueezeOp, nn::UnsqueezeOp, nn::TransposeOp, nn::ConcatOp,
             nn::SplitOp, nn::SliceOp, nn::ExpandOp, nn::TileOp, nn::PadOp, nn::GatherOp, nn::GatherElementsOp,
             nn::GatherNDOp, nn::ScatterNDOp, nn::ScatterElementsOp, nn::DepthToSpaceOp, nn::SpaceToDepthOp, nn::TriluOp,
             nn::CastOp>(op);
}

bool makesOnlyConstants(Operation *op) {
  return isa<nn::ConstantOp, nn::ConstantOfShapeOp, nn::RangeOp, nn::ShapeOp, nn::SizeOp, nn::OneHotOp>(op);
}

/// Activation functions that hardware applies before it rounds the result of the operation above.
bool isFusedActivation(Operation *op) { return isa<nn::ReluOp, nn::ClipOp>(op); }

/// Whether a value that is read is the result of rounding, however it was moved since.
bool comesFromQuantizer(Value value) {
  Operation *maker = nn::resolveThroughBlocks(value).getDefiningOp();
  if (!maker)
    return false;
  if (isa<nn::FakeQuantOp, nn::DequantizeWeightOp>(maker))
    return true;
  return isDataMovement(maker) && llvm::all_of(maker->getOperands(), [](Value operand) {
           return !isFloat(operand.getType()) || comesFromQuantizer(operand);
         });
}

/// Whether everything that reads a value reads it rounded.
bool goesToQuantizer(Value value) {
  return !value.use_empty() && llvm::all_of(value.getUses(), [](OpOperand &use) {
    Operation *user = use.getOwner();
    if (isa<nn::FakeQuantOp>(user))
      return true;
    if (auto block = dyn_cast<nn::BlockOp>(user))
      return goesToQuantizer(block.getBody().getArgument(use.getOperandNumber()));
    if (isa<nn::YieldOp>(user))
      return goesToQuantizer(user->getParentOp()->getResult(use.getOperandNumber()));
    if (isFusedActivation(user) && use.get().hasOneUse())
      return goesToQuantizer(user->getResult(0));
    return isDataMovement(user) && llvm::all_of(user->getResults(), goesToQuantizer);
  });
}

/// Operands that are parameters of the operation and not data: bounds and scale factors.
bool isParameter(OpOperand &operand) {
  return operand.getOperandNumber() > 0 && isa<nn::ClipOp, nn::ResizeOp, nn::PadOp>(operand.getOwner());
}

int64_t bytesAsFloat(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  return type.hasStaticShape() ? type.getNumElements() * 4 : 0;
}

} // namespace

bool isComputeNode(Operation *op) {
  if (!isa_and_nonnull<nn::NNDialect>(op->getDialect()) || isDataMovement(op) || makesOnlyConstants(op) ||
      isa<nn::BlockOp, nn::YieldOp, nn::QuantizerOp, nn::FakeQuantOp, nn::DequantizeWeightOp>(op))
    return false;
  return llvm::any_of(op->getResultTypes(), isFloat) && llvm::any_of(op->getOperandTypes(), isFloat);
}

bool isOnIntegerGrid(Operation *op) {
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    if (!isFloat(value.getType()) || isParameter(operand) || comesFromQuantizer(value))
      continue;
    Operation *maker = value.getDefiningOp();
    bool fused = isFusedActivation(op) && value.hasOneUse() && maker && isComputeNode(maker);
    if (!fused)
      return false;
  }
  return llvm::all_of(op->getResults(), [](Value result) { return !isFloat(result.getType()) || goesToQuantizer(result); });
}

int64_t multiplyAccumulates(Operation *op) {
  auto shapeOf = [](Value value) -> llvm::ArrayRef<int64_t> { return cast<RankedTensorType>(value.getType()).getShape(); };
  for (Type type : llvm::concat<const Type>(op->getOperandTypes(), op->getResultTypes()))
    if (auto tensor = dyn_cast<RankedTensorType>(type); !tensor || !tensor.hasStaticShape())
      return 0;
  return llvm::TypeSwitch<Operation *, int64_t>(op)
      .Case<nn::MatMulOp>([&](nn::MatMulOp product) {
        return elementCount(shapeOf(product.getResult())) * shapeOf(product.getLhs()).back();
      })
      .Case<nn::GemmOp>([&](nn::GemmOp product) {
        return elementCount(shapeOf(product.getResult())) * shapeOf(product.getA())[product.getTransA() ? 0 : 1];
      })
      .Case<nn::ConvOp>([&](nn::ConvOp conv) {
        return elementCount(shapeOf(conv.getResult())) * elementCount(shapeOf(conv.getWeight()).drop_front());
      })
      .Case<nn::ConvTransposeOp>([&](nn::ConvTransposeOp conv) {
        return elementCount(shapeOf(conv.getInput())) * elementCount(shapeOf(conv.getWeight()).drop_front());
      })
      .Case<nn::GroupQueryAttentionOp>([&](nn::GroupQueryAttentionOp attention) {
        // Scores and weighted values, each [batch, heads, sequence, total] by the size of a head, which
        // together with the heads is the hidden size of the output.
        return 2 * elementCount(shapeOf(attention.getOutput())) * shapeOf(attention.getPresentKey())[2];
      })
      .Default([](Operation *) { return int64_t(0); });
}

Coverage computeCoverage(ModuleOp module) {
  Coverage coverage;
  module.walk([&](Operation *op) {
    if (!isComputeNode(op))
      return;
    bool isInteger = isOnIntegerGrid(op);
    int64_t macs = multiplyAccumulates(op);
    ++coverage.computeNodes;
    coverage.multiplyAccumulates += macs;
    if (isInteger) {
      ++coverage.integerComputeNodes;
      coverage.integerMultiplyAccumulates += macs;
    } else {
      ++coverage.floatOperators[op->getName().stripDialect().str()];
    }
    for (Value result : op->getResults())
      if (isFloat(result.getType())) {
        coverage.activationBytes += bytesAsFloat(result);
        coverage.integerActivationBytes += goesToQuantizer(result) ? bytesAsFloat(result) : 0;
      }
  });
  for (func::FuncOp function : module.getOps<func::FuncOp>())
    for (Value argument : function.getArguments())
      if (isFloat(argument.getType())) {
        coverage.activationBytes += bytesAsFloat(argument);
        coverage.integerActivationBytes += goesToQuantizer(argument) ? bytesAsFloat(argument) : 0;
      }
  return coverage;
}

int64_t WeightSizes::bytes() const {
  int64_t total = quantizerBytes;
  for (const auto &[type, bytes] : bytesByType)
    total += bytes;
  return total;
}

double WeightSizes::bitsPerWeight() const {
  return parameters ? 8.0 * static_cast<double>(bytes()) / static_cast<double>(parameters) : 0;
}

llvm::Expected<WeightSizes> computeWeightSizes(ModuleOp module) {
  WeightSizes sizes;
  std::set<const void *> countedConstants, countedQuantizers;
  llvm::Error failure = llvm::Error::success();
  module.walk([&](nn::ConstantOp constant) {
    auto type = cast<RankedTensorType>(constant.getResult().getType());
    bool isStored = llvm::any_of(constant->getUsers(), [](Operation *user) { return isa<nn::DequantizeWeightOp>(user); });
    std::optional<ElementType> element = nn::toElementType(type.getElementType());
    if (!element || (!isStored && !isFloat(type)) || constant->use_empty())
      return;
    // Attributes are uniqued: equal references are one pointer.
    if (!countedConstants.insert(constant.getValue().getAsOpaquePointer()).second)
      return;
    sizes.parameters += type.getNumElements();
    std::string kind = name(*element).str();
    int64_t bits = bitWidth(*element);
    // Files hold no more bits of a 4-bit integer than its quantizer uses.
    for (Operation *user : constant->getUsers()) {
      auto weight = dyn_cast<nn::DequantizeWeightOp>(user);
      if (!weight || bitWidth(*element) != 4)
        continue;
      llvm::Expected<quant::Encoding> encoding = nn::readEncoding(nn::lookupQuantizer(weight, weight.getQuantizerAttr()));
      if (!encoding) {
        failure = llvm::joinErrors(std::move(failure), encoding.takeError());
        continue;
      }
      bits = std::min<int64_t>(bits, quant::usedBits(*encoding));
      kind.back() = static_cast<char>('0' + bits);
    }
    sizes.bytesByType[kind] += (bits * type.getNumElements() + 7) / 8;
  });
  module.walk([&](nn::DequantizeWeightOp op) {
    nn::QuantizerOp quantizer = nn::lookupQuantizer(op, op.getQuantizerAttr());
    if (failure || !quantizer || !countedQuantizers.insert(quantizer.getOperation()).second)
      return;
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
    if (!encoding) {
      failure = llvm::joinErrors(std::move(failure), encoding.takeError());
      return;
    }
    sizes.quantizerBytes += static_cast<int64_t>(encoding->scales.size() * sizeof(float) + encoding->blockMultipliers.size()) +
                            byteSize(encoding->storage, static_cast<int64_t>(encoding->zeroPoints.size()));
  });
  if (failure)
    return std::move(failure);
  return sizes;
}

} // namespace nibble::report
