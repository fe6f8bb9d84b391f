#include "passes/Assign/LegalityCheck.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Calibrate/QuantizationRules.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace nibble {
namespace {

EncodingClass classOf(nn::QuantizerOp quantizer) {
  EncodingClass result;
  result.storage = nn::toElementType(quantizer.getStorage());
  result.symmetric = quantizer.getSymmetric();
  result.blockSize = static_cast<int64_t>(quantizer.getBlockSize().value_or(0));
  result.granularity = quantizer.getKind() == nn::QuantizerKind::LPBQ ? EncodingClass::Granularity::LPBQ
                       : quantizer.getBlockSize()                     ? EncodingClass::Granularity::Block
                       : quantizer.getAxis()                          ? EncodingClass::Granularity::Axis
                                                                      : EncodingClass::Granularity::Tensor;
  return result;
}

/// The quantizer that an operand was rounded or stored with.
nn::QuantizerOp operandQuantizer(Value value) {
  Operation *op = nn::resolveThroughBlocks(value).getDefiningOp();
  if (auto fakeQuant = dyn_cast_or_null<nn::FakeQuantOp>(op))
    return nn::lookupQuantizer(op, fakeQuant.getQuantizerAttr());
  if (auto weight = dyn_cast_or_null<nn::DequantizeWeightOp>(op))
    return nn::lookupQuantizer(op, weight.getQuantizerAttr());
  return {};
}

nn::QuantizerOp resultQuantizer(Value value) {
  for (Operation *user : value.getUsers())
    if (auto fakeQuant = dyn_cast<nn::FakeQuantOp>(user))
      return nn::lookupQuantizer(fakeQuant, fakeQuant.getQuantizerAttr());
  return {};
}

std::string describe(const EncodingClass &encoding) {
  if (!encoding.storage)
    return encoding.isConstant ? "constant" : "no quantizer";
  std::string text = (encoding.symmetric ? "symmetric " : "") + name(*encoding.storage).str();
  switch (encoding.granularity) {
  case EncodingClass::Granularity::Tensor: break;
  case EncodingClass::Granularity::Axis: text += " per channel"; break;
  case EncodingClass::Granularity::Block: text += " in blocks of " + std::to_string(encoding.blockSize); break;
  case EncodingClass::Granularity::LPBQ: text += " lpbq in blocks of " + std::to_string(encoding.blockSize); break;
  }
  return text + (encoding.isConstant ? " constant" : "");
}

/// The line of the recipe that asked for what is refused: weights where an operand is a weight.
std::string recipePlace(const LegalityQuery &query, const Recipe &recipe) {
  bool hasWeight = llvm::any_of(query.operands, [](const EncodingClass &e) {
    return e.isConstant && e.storage && bitWidth(*e.storage) <= 8 && e.symmetric;
  });
  std::string weights = toString(recipe.weightsPosition), activations = toString(recipe.activationsPosition);
  if (weights.empty() || activations.empty())
    return weights + activations;
  return hasWeight ? "weights at " + weights + ", activations at " + activations : "activations at " + activations;
}

} // namespace

LegalityQuery buildLegalityQuery(Operation *op) {
  LegalityQuery query;
  query.operation = op->getName().stripDialect().str();
  for (Value operand : op->getOperands()) {
    EncodingClass encoding;
    if (nn::QuantizerOp quantizer = operandQuantizer(operand))
      encoding = classOf(quantizer);
    encoding.isConstant = static_cast<bool>(getConstant(operand));
    query.operands.push_back(encoding);
    query.operandShapes.emplace_back(cast<RankedTensorType>(operand.getType()).getShape());
  }
  if (op->getNumResults() > 0)
    if (nn::QuantizerOp quantizer = resultQuantizer(op->getResult(0)))
      query.result = classOf(quantizer);
  return query;
}

LogicalResult checkLegality(ModuleOp module, const Recipe &recipe, const Target &target) {
  bool isLegal = true;
  module.walk([&](Operation *op) {
    if (!isa_and_present<nn::NNDialect>(op->getDialect()) ||
        isa<nn::ConstantOp, nn::BlockOp, nn::YieldOp, nn::QuantizerOp, nn::FakeQuantOp, nn::DequantizeWeightOp>(op))
      return;
    LegalityQuery query = buildLegalityQuery(op);
    Legality answer = target.legality(query);
    if (answer.kind == Legality::Kind::Native)
      return;
    isLegal = false;
    std::string operands = llvm::join(llvm::map_range(query.operands, describe), ", ");
    InFlightDiagnostic diagnostic = op->emitError("node '")
                                    << nn::nodeName(op) << "': target '" << target.name << "' "
                                    << (answer.kind == Legality::Kind::Unsound ? "computes unsoundly " : "does not execute ")
                                    << query.operation << "(" << operands << ") -> " << describe(query.result) << ": "
                                    << answer.reason;
    if (!answer.rewrites.empty())
      diagnostic.attachNote() << "legalized by " << llvm::join(answer.rewrites, ", ")
                              << ", which did not apply here";
    if (!answer.evidence.empty())
      diagnostic.attachNote() << "evidence: " << answer.evidence;
    if (std::string place = recipePlace(query, recipe); !place.empty())
      diagnostic.attachNote() << "the recipe asks for " << place;
  });
  return success(isLegal);
}

} // namespace nibble
