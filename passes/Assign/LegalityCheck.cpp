#include "passes/Assign/LegalityCheck.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Calibrate/QuantizationRules.h"

#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace nibble {
namespace {

/// The class of a quantizer's encoding; of a float edge where there is no quantizer.
FailureOr<EncodingClass> classOf(nn::QuantizerOp quantizer) {
  if (!quantizer)
    return EncodingClass();
  llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
  if (!encoding)
    return quantizer.emitError(llvm::toString(encoding.takeError()));
  return EncodingClass::of(*encoding);
}

nn::QuantizerOp resultQuantizer(Value value) {
  for (Operation *user : value.getUsers())
    if (auto fakeQuant = dyn_cast<nn::FakeQuantOp>(user))
      return nn::quantizerOf(fakeQuant.getResult());
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

FailureOr<LegalityQuery> buildLegalityQuery(Operation *op) {
  LegalityQuery query;
  query.operation = op->getName().stripDialect().str();
  for (Value operand : op->getOperands()) {
    FailureOr<EncodingClass> encoding = classOf(nn::quantizerOf(operand));
    if (failed(encoding))
      return failure();
    encoding->isConstant = static_cast<bool>(getConstant(operand));
    query.operands.push_back(*encoding);
    query.operandShapes.emplace_back(cast<RankedTensorType>(operand.getType()).getShape());
  }
  if (op->getNumResults() == 0)
    return query;
  FailureOr<EncodingClass> result = classOf(resultQuantizer(op->getResult(0)));
  if (failed(result))
    return failure();
  query.result = *result;
  return query;
}

LogicalResult checkLegality(ModuleOp module, const Recipe &recipe, const Target &target) {
  bool isLegal = true;
  module.walk([&](Operation *op) {
    if (!isa_and_present<nn::NNDialect>(op->getDialect()) ||
        isa<nn::ConstantOp, nn::BlockOp, nn::YieldOp, nn::QuantizerOp, nn::FakeQuantOp, nn::DequantizeWeightOp>(op))
      return;
    FailureOr<LegalityQuery> query = buildLegalityQuery(op);
    if (failed(query)) {
      isLegal = false;
      return;
    }
    Legality answer = target.legality(*query);
    if (answer.kind == Legality::Kind::Native)
      return;
    isLegal = false;
    std::string operands = llvm::join(llvm::map_range(query->operands, describe), ", ");
    InFlightDiagnostic diagnostic = op->emitError("node '")
                                    << nn::nodeName(op) << "': target '" << target.name << "' "
                                    << (answer.kind == Legality::Kind::Unsound ? "computes unsoundly " : "does not execute ")
                                    << query->operation << "(" << operands << ") -> " << describe(query->result) << ": "
                                    << answer.reason;
    if (!answer.rewrites.empty())
      diagnostic.attachNote() << "legalized by " << llvm::join(answer.rewrites, ", ")
                              << ", which did not apply here";
    if (!answer.evidence.empty())
      diagnostic.attachNote() << "evidence: " << answer.evidence;
    if (std::string place = recipePlace(*query, recipe); !place.empty())
      diagnostic.attachNote() << "the recipe asks for " << place;
  });
  return success(isLegal);
}

} // namespace nibble
