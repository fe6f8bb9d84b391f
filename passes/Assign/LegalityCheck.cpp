#include "passes/Assign/LegalityCheck.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Calibrate/QuantizationRules.h"

#include "llvm/ADT/SetVector.h"
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
  nn::FakeQuantOp rounding = nn::roundingOf(value);
  return rounding ? nn::quantizerOf(rounding.getResult()) : nn::QuantizerOp();
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

/// The lines of the recipe that asked for what is refused: those of the operands' and the result's quantizers.
std::string recipePlace(Operation *op, const RecipePlaces &places) {
  llvm::SmallSetVector<StringRef, 2> weights, activations;
  auto add = [&](nn::QuantizerOp quantizer, bool isWeight) {
    auto place = quantizer ? places.find(quantizer.getSymName()) : places.end();
    if (place != places.end() && !place->second.empty())
      (isWeight ? weights : activations).insert(place->second);
  };
  for (Value operand : op->getOperands())
    add(nn::quantizerOf(operand), static_cast<bool>(getConstant(operand)));
  for (Value result : op->getResults())
    add(resultQuantizer(result), /*isWeight=*/false);
  std::string text;
  for (auto [what, found] : {std::pair("weights", &weights), std::pair("activations", &activations)})
    if (!found->empty())
      text += (text.empty() ? "" : ", ") + std::string(what) + " at " + llvm::join(*found, " and ");
  return text;
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

LogicalResult checkLegality(ModuleOp module, const RecipePlaces &places, const Target &target) {
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
    if (std::string place = recipePlace(op, places); !place.empty())
      diagnostic.attachNote() << "the recipe asks for " << place;
  });
  return success(isLegal);
}

} // namespace nibble
