//===- AssignEncodings.cpp - an encoding for every quantizer ------------------===//
//
// The recipe says how many bits, the target says in which form. An operator computes at the width of its
// result: an operand of another width is converted at the edge (a second fake_quant, which is a
// DequantizeLinear and a QuantizeLinear in the export), and so is the right operand of a product of two
// activations that the target computes well only with a narrow one. An operator that the target computes
// soundly only at 16 bits gets 16 bits around it, see passes/Legalize/WidenOperators.cpp. What the target
// cannot execute or computes wrongly is refused here, before any number is rounded.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Assign/JoinBiases.h"
#include "passes/Assign/LegalityCheck.h"
#include "passes/Assign/PassInputs.h"
#include "passes/Assign/RecipeResolver.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Legalize/WidenOperators.h"
#include "passes/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_ASSIGNENCODINGSPASS
#include "passes/Passes.h.inc"

namespace {

using Granularity = WeightSettings::Granularity;

/// As in a target's `rewrites:`.
constexpr llvm::StringLiteral integerNormParametersName = "integer-norm-parameters";

class Assigner {
public:
  Assigner(ModuleOp module, const Recipe &recipe, const Target &target, ResolvedQuantizers quantizers)
      : module(module), recipe(recipe), target(target), uses(std::move(quantizers.uses)),
        settings(std::move(quantizers.settings)) {}

  /// Activations first: constants, weights and biases follow the operators that read them.
  LogicalResult assignStorage() {
    for (StringRef role : {"activation", "constant", "weight", "bias"})
      for (size_t i = 0; i < uses.list.size(); ++i)
        if (uses.list[i].role() == role && failed(assign(uses.list[i], settings[i])))
          return failure();
    return success();
  }

  LogicalResult insertConversions() {
    SmallVector<Operation *> ops;
    module.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isComputing(op))
        ops.push_back(op);
    });
    // A widened operator computes at another width, which its operands follow.
    for (Operation *op : ops)
      if (failed(widen(op)) || failed(convertOperandWidths(op)) || failed(narrowProduct(op)) ||
          failed(storeNormParameters(op)))
        return failure();
    return success();
  }

  void eraseFloatEdges() {
    for (QuantizerUse &use : uses.list) {
      if (!isFloat.contains(use.quantizer))
        continue;
      for (nn::FakeQuantOp op : use.fakeQuants) {
        op.getResult().replaceAllUsesWith(op.getInput());
        op.erase();
      }
      use.quantizer.erase();
      ++numFloat;
    }
  }

  unsigned numConversions = 0, numFloat = 0;

private:
  /// An operator that computes numbers, in contrast to structure and moves.
  static bool isComputing(Operation *op) {
    if (!isa_and_present<nn::NNDialect>(op->getDialect()) ||
        isa<nn::ConstantOp, nn::BlockOp, nn::YieldOp, nn::QuantizerOp, nn::FakeQuantOp, nn::DequantizeWeightOp>(op))
      return false;
    return op->getNumResults() == 0 || !getMovedOperand(op->getResult(0));
  }

  LogicalResult write(nn::QuantizerOp quantizer, const quant::Encoding &encoding) {
    if (llvm::Error error = nn::writeEncoding(quantizer, encoding))
      return quantizer.emitError(llvm::toString(std::move(error)));
    return success();
  }

  LogicalResult assign(QuantizerUse &use, const QuantizerSettings &wanted) {
    if (use.role() == "activation")
      return assignWidth(use, wanted.activations.bits.value_or(0), wanted.activations.symmetric.value_or(false));
    if (use.role() == "constant")
      return assignWidth(use, widthOfReaders(use), wanted.activations.symmetric.value_or(false));
    return use.role() == "weight" ? assignWeight(use, wanted) : assignBias(use);
  }

  LogicalResult assignWidth(QuantizerUse &use, unsigned bits, bool symmetric) {
    if (bits == 0) {
      isFloat.insert(use.quantizer);
      return success();
    }
    return write(use.quantizer, quant::makeUncalibrated(storageOf(bits), symmetric || (bits == 16 && target.symmetricInt16)));
  }

  /// How the target stores activations of 8 or 16 bits.
  ElementType storageOf(unsigned bits) const {
    return bits == 8 ? target.unsignedActivations ? ElementType::U8 : ElementType::I8
                     : target.unsignedActivations ? ElementType::U16 : ElementType::I16;
  }

  /// Bits of the values that an operator computes; 0 where they are float.
  unsigned widthOf(Operation *op) {
    nn::QuantizerOp quantizer = resultQuantizer(op);
    return !quantizer || isFloat.contains(quantizer) ? 0 : quantizer.getStorage().getIntOrFloatBitWidth();
  }

  /// The quantizer behind the first result of an operator that has one.
  static nn::QuantizerOp resultQuantizer(Operation *op) {
    for (OpResult result : op->getResults())
      if (nn::FakeQuantOp rounding = nn::roundingOf(result))
        return nn::quantizerOf(rounding.getResult());
    return {};
  }

  /// A constant has the width of what is computed with it; the recipe's where that is not a number.
  unsigned widthOfReaders(QuantizerUse &use) {
    for (nn::FakeQuantOp fakeQuant : use.fakeQuants)
      for (Operation *user : fakeQuant->getUsers())
        if (isComputing(user) && llvm::any_of(user->getResultTypes(), isQuantizable))
          return widthOf(user);
    return recipe.activations.bits.value_or(0);
  }

  LogicalResult assignWeight(QuantizerUse &use, const QuantizerSettings &wanted) {
    const WeightSettings &weights = wanted.weights;
    unsigned bits = weights.bits.value_or(0);
    if (bits == 0) {
      isFloat.insert(use.quantizer);
      return success();
    }
    OpOperand &reader = *use.fakeQuants.front()->use_begin();
    OperandRole role = getOperandRole(reader);
    bool symmetric = weights.symmetric.value_or(true);
    if (bits < 4 && !target.hasFloatArithmetic)
      return refuse(reader.getOwner(), wanted, "target '" + target.name + "' has no weights of " + Twine(bits) + " bits");
    ElementType storage = bits <= 4   ? symmetric ? ElementType::I4 : ElementType::U4
                          : bits == 8 ? symmetric ? ElementType::I8 : ElementType::U8
                                      : symmetric ? ElementType::I16 : ElementType::U16;
    quant::Encoding encoding = quant::makeUncalibrated(storage, symmetric);
    if (bits < 4) {
      // Stored as four bits in the program; files hold no more than are used.
      encoding.quantMin = symmetric ? -(1 << (bits - 1)) : 0;
      encoding.quantMax = encoding.quantMin + (1 << bits) - 1;
    } else if (storage == ElementType::I4) {
      encoding.quantMin = target.int4Minimum;
      encoding.quantMax = target.int4Maximum;
    }
    Granularity granularity = weights.granularity.value_or(Granularity::Channel);
    bool isBlocked = granularity == Granularity::Group || granularity == Granularity::LPBQ;
    if (isBlocked && !role.inputAxis)
      return refuse(reader.getOwner(), wanted, "its weight has no axis of inputs to cut into groups");
    if (granularity == Granularity::Channel)
      encoding.axis = role.channelAxis;
    if (isBlocked) {
      encoding.axis = role.inputAxis;
      encoding.blockSize = weights.groupSize.value_or(32);
    }
    if (granularity == Granularity::LPBQ) {
      if (bits != 4 || !symmetric)
        return refuse(reader.getOwner(), wanted, "lpbq is a form of symmetric 4-bit weights");
      if (!role.channelAxis || role.isTable)
        return refuse(reader.getOwner(), wanted, "its weight has no axis of output channels for the scales of lpbq");
      encoding.kind = quant::EncodingKind::LPBQ;
      encoding.channelAxis = role.channelAxis;
    }
    return write(use.quantizer, encoding);
  }

  LogicalResult refuse(Operation *op, const QuantizerSettings &wanted, const Twine &reason) {
    InFlightDiagnostic diagnostic = op->emitError("node '") << nn::nodeName(op) << "': " << reason;
    if (std::string place = toString(wanted.bitsPosition); !place.empty())
      diagnostic.attachNote() << "asked for at " << place;
    return diagnostic;
  }

  /// A bias is stored in steps of input scale times weight scale, so it needs both, and one of the latter
  /// per output channel at most.
  LogicalResult assignBias(QuantizerUse &use) {
    Operation *layer = *use.fakeQuants.front()->getUsers().begin();
    QuantizerUse *input = uses.find(layer->getOperand(0)), *weight = uses.find(layer->getOperand(1));
    auto isInteger = [&](QuantizerUse *other) { return other && !isFloat.contains(other->quantizer); };
    if (!isInteger(input) || !isInteger(weight)) {
      isFloat.insert(use.quantizer);
      return success();
    }
    if (weight->quantizer.getBlockSize()) {
      InFlightDiagnostic diagnostic = layer->emitError("node '")
                                      << nn::nodeName(layer)
                                      << "': a bias needs one weight scale per output channel, but its weight is "
                                         "stored in blocks";
      diagnostic.attachNote() << "give the node 'granularity: channel', or export the model with the bias as an addition";
      return diagnostic;
    }
    quant::Encoding encoding = quant::makeUncalibrated(ElementType::I32, /*symmetric=*/true);
    if (weight->quantizer.getAxis())
      encoding.axis = 0;
    return write(use.quantizer, encoding);
  }

  //===--------------------------------------------------------------------===//
  // Conversions
  //===--------------------------------------------------------------------===//

  /// 16 bits around an operator for which the target's file asks for them: an operand that is a constant of its
  /// own is stored at 16 bits, the others are converted like those of any operator of 16 bits.
  LogicalResult widen(Operation *op) {
    FailureOr<LegalityQuery> query = buildLegalityQuery(op);
    if (failed(query))
      return failure();
    if (!llvm::is_contained(target.legality(*query).rewrites, widenOperatorsName))
      return success();
    auto widened = [&](nn::QuantizerOp narrow) {
      return quant::makeUncalibrated(storageOf(16), narrow.getSymmetric() || target.symmetricInt16);
    };
    if (failed(widenResult(module, op, widened(resultQuantizer(op)))))
      return failure();
    ++numConversions;
    for (Value operand : op->getOperands())
      if (QuantizerUse *use = uses.find(operand); use && use->role() == "constant")
        if (failed(write(use->quantizer, widened(use->quantizer))))
          return failure();
    return success();
  }

  /// Scale and bias of a norm, where the target's file asks for it: a 32-bit bias, and the first storage of the
  /// scale with which that is native. Where none is, the legality check says what the target takes.
  LogicalResult storeNormParameters(Operation *op) {
    FailureOr<LegalityQuery> query = buildLegalityQuery(op);
    if (failed(query))
      return failure();
    if (!llvm::is_contained(target.legality(*query).rewrites, integerNormParametersName))
      return success();
    QuantizerUse *scale = uses.find(op->getOperand(1)), *bias = uses.find(op->getOperand(2));
    if (!scale || !bias || scale->role() != "constant" || bias->role() != "constant")
      return success();
    query->operands[2].storage = ElementType::I32;
    query->operands[2].symmetric = true;
    for (auto [storage, symmetric] : {std::pair(ElementType::I16, true), std::pair(ElementType::U16, false),
                                      std::pair(ElementType::U8, false)}) {
      query->operands[1].storage = storage;
      query->operands[1].symmetric = symmetric;
      if (target.legality(*query).kind != Legality::Kind::Native)
        continue;
      if (failed(write(scale->quantizer, quant::makeUncalibrated(storage, symmetric))))
        return failure();
      return write(bias->quantizer, quant::makeUncalibrated(ElementType::I32, /*symmetric=*/true));
    }
    return success();
  }

  /// `operand` rounded to another encoding. Readers in one block share the conversion.
  LogicalResult convert(OpOperand &operand, QuantizerUse &from, ElementType storage, bool symmetric) {
    auto key = std::make_tuple(operand.get().getAsOpaquePointer(), static_cast<int>(storage), symmetric);
    Value &converted = conversions[key];
    if (!converted) {
      std::string tensor = nn::tensorName(operand.get()), name = tensor + "/" + nibble::name(storage).str();
      llvm::Expected<nn::QuantizerOp> quantizer =
          nn::createQuantizer(module, name, quant::makeUncalibrated(storage, symmetric));
      if (!quantizer)
        return operand.getOwner()->emitError(llvm::toString(quantizer.takeError()));
      quantizer->setRole(StringRef("activation"));
      if (std::optional<StringRef> source = from.quantizer.getTensor())
        quantizer->setTensor(*source);
      if (from.quantizer.getFixed()) {
        quantizer->setFixed(true);
        quantizer->setOriginAttr(from.quantizer.getOriginAttr());
      }
      OpBuilder before(operand.getOwner());
      Location location = nn::makeLocation(module.getContext(), nn::nodeName(operand.getOwner()) + "/convert", {name});
      converted = nn::FakeQuantOp::create(before, location, operand.get().getType(), operand.get(),
                                          FlatSymbolRefAttr::get(quantizer->getSymNameAttr()));
      ++numConversions;
    }
    operand.set(converted);
    return success();
  }

  LogicalResult convertOperandWidths(Operation *op) {
    unsigned width = widthOf(op);
    if (width == 0)
      return success();
    for (OpOperand &operand : op->getOpOperands()) {
      QuantizerUse *use = uses.find(operand.get());
      if (!use || !use->isActivation() || isFloat.contains(use->quantizer) ||
          getOperandRole(operand).kind != OperandRole::Kind::Value)
        continue;
      auto storage = cast<IntegerType>(use->quantizer.getStorage());
      if (storage.getWidth() == width)
        continue;
      bool isUnsigned = storage.isUnsigned();
      ElementType converted = width == 8 ? isUnsigned ? ElementType::U8 : ElementType::I8
                                         : isUnsigned ? ElementType::U16 : ElementType::I16;
      if (failed(convert(operand, *use, converted, use->quantizer.getSymmetric())))
        return failure();
    }
    return success();
  }

  /// Products of two activations at 16 bits: where the target wants a narrow right operand, it gets the
  /// first symmetric 8-bit form that is native.
  LogicalResult narrowProduct(Operation *op) {
    if (!isa<nn::MatMulOp>(op) || widthOf(op) != 16)
      return success();
    QuantizerUse *right = uses.find(op->getOperand(1));
    if (!right || !right->isActivation() || isFloat.contains(right->quantizer))
      return success();
    FailureOr<LegalityQuery> query = buildLegalityQuery(op);
    if (failed(query))
      return failure();
    if (target.legality(*query).kind == Legality::Kind::Native)
      return success();
    for (ElementType storage : {ElementType::I8, ElementType::U8}) {
      query->operands[1].storage = storage;
      query->operands[1].symmetric = true;
      if (target.legality(*query).kind != Legality::Kind::Native)
        continue;
      op->emitRemark("node '") << nn::nodeName(op) << "': the right operand of the product is rounded to symmetric "
                               << name(storage) << ", as the target computes it best";
      return convert(op->getOpOperand(1), *right, storage, /*symmetric=*/true);
    }
    return success();
  }

  ModuleOp module;
  const Recipe &recipe;
  const Target &target;
  QuantizerUses uses;
  std::vector<QuantizerSettings> settings;
  /// Quantizers whose edges stay float.
  DenseSet<Operation *> isFloat;
  std::map<std::tuple<void *, int, bool>, Value> conversions;
};

struct AssignEncodings : impl::AssignEncodingsPassBase<AssignEncodings> {
  using Base::Base;
  AssignEncodings(const Recipe &recipe, const Target &target) : inputs(recipe, target) {}

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(inputs.load(module, recipeName, targetName)))
      return signalPassFailure();
    FailureOr<ResolvedQuantizers> quantizers = resolveRecipe(module, inputs.recipe(), /*checkEffects=*/true);
    if (failed(quantizers))
      return signalPassFailure();
    numJoined += joinBiases(*quantizers, inputs.recipe());
    RecipePlaces places;
    for (auto [use, setting] : llvm::zip_equal(quantizers->uses.list, quantizers->settings))
      places[use.quantizer.getSymName()] = toString(setting.bitsPosition);
    Assigner assigner(module, inputs.recipe(), inputs.target(), std::move(*quantizers));
    if (failed(assigner.assignStorage()) || failed(assigner.insertConversions()))
      return signalPassFailure();
    assigner.eraseFloatEdges();
    numConversions += assigner.numConversions;
    numFloat += assigner.numFloat;
    if (failed(checkLegality(module, places, inputs.target())))
      signalPassFailure();
  }

  PassInputs inputs;
};

} // namespace

std::unique_ptr<Pass> createAssignEncodingsPass(const Recipe &recipe, const Target &target) {
  return std::make_unique<AssignEncodings>(recipe, target);
}

} // namespace nibble
