//===- QuantizeActivations.cpp - ranges for activation quantizers ------------===//
//
// A range comes from the statistics of the tensor, from a rule of the operator, or not at all: a value with
// neither is an error. Two rules narrow what was measured. Scores that only a softmax reads, and to which
// a mask was added, need no room for the mask: what lies further below the unmasked scores than the
// softmax can resolve is zero behind it; a mask that is an input of the model saturates at the value that
// constant masks are clamped to. And a fixed range, which holds for every input, is cut to the
// extremes seen where 8 bits would be too coarse for it.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "passes/Assign/PassInputs.h"
#include "passes/Assign/RecipeResolver.h"
#include "passes/Calibrate/QuantizationRules.h"
#include "passes/Legalize/Legalizations.h"
#include "passes/Passes.h"

#include <cmath>

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_QUANTIZEACTIVATIONSPASS
#include "passes/Passes.h.inc"

namespace {

class ActivationQuantizer {
public:
  explicit ActivationQuantizer(const quant::Statistics &statistics) : statistics(statistics) {}

  LogicalResult quantize(QuantizerUse &use, const ActivationSettings &settings) {
    nn::QuantizerOp quantizer = use.quantizer;
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(quantizer);
    if (!encoding)
      return quantizer.emitError(llvm::toString(encoding.takeError()));
    if (encoding->isCalibrated())
      return success();
    quant::RangeOptions options;
    options.observer = settings.observer.value_or("min-max");
    options.percentile = settings.percentile.value_or(99.99);
    options.headroom = settings.headroom.value_or(0);
    options.sampleHeadroom = settings.sampleHeadroom.value_or(0);
    options.storage = encoding->storage;
    if (isNarrowed(use, settings)) {
      // Settings for 16 bits, where covering everything is best, do not suit an edge rounded to 8.
      options.observer = "mse";
      options.headroom = 0;
    }
    options.symmetric = encoding->symmetric;

    const quant::TensorStatistics *seen = statistics.find(quantizer.getTensor().value_or(""));
    Value value = resolveMovedValue(use.fakeQuants.front().getInput());
    std::optional<FixedRange> fixed;
    if (Operation *producer = value.getDefiningOp())
      fixed = getFixedRange(producer);
    if (fixed && (!seen || bitWidth(options.storage) > 8))
      return write(quantizer, quant::makeTensorEncoding(options.storage, options.symmetric, fixed->range.min,
                                                        fixed->range.max),
                   fixed->rule.str());
    if (!seen)
      return refuse(use, "there are no statistics for its values");
    llvm::Expected<quant::Range> range = quant::estimateRange(*seen, options);
    if (!range)
      return refuse(use, llvm::toString(range.takeError()));
    std::string origin = "observer '" + options.observer + "' of " + std::to_string(seen->sampleCount) + " samples";
    if (!use.producer() && range->min < maskThreshold &&
        reachesOnlySoftmax(use.fakeQuants.front().getInput(), /*throughSums=*/true)) {
      range->min = finiteMaskValue;
      origin += ", a mask of attention scores needs no lower value";
      ++numFloors;
    }
    if (std::optional<float> floor = findScoreFloor(use, value, bitWidth(options.storage)); floor && *floor > range->min) {
      range->min = *floor;
      origin += ", masked scores end where softmax resolves nothing";
      ++numFloors;
    }
    *range = quant::addHeadroom(*range, *seen, options);
    if (fixed) {
      range->min = std::max(range->min, fixed->range.min);
      range->max = std::min(range->max, fixed->range.max);
      origin += ", " + fixed->rule.str();
    }
    return write(quantizer, quant::makeActivationEncoding(*seen, *range, options), origin);
  }

  unsigned numRanges = 0, numFloors = 0;

private:
  LogicalResult write(nn::QuantizerOp quantizer, const quant::Encoding &encoding, const std::string &origin) {
    if (llvm::Error error = nn::writeEncoding(quantizer, encoding))
      return quantizer.emitError(llvm::toString(std::move(error)));
    quantizer.setOrigin(StringRef(origin));
    ++numRanges;
    return success();
  }

  LogicalResult refuse(QuantizerUse &use, const Twine &reason) {
    nn::FakeQuantOp fakeQuant = use.fakeQuants.front();
    InFlightDiagnostic diagnostic = fakeQuant.emitError("tensor '")
                                    << use.quantizer.getTensor().value_or("") << "': " << reason;
    diagnostic.attachNote() << "a range is never guessed: calibrate the program that is quantized, or give the pass that "
                               "made the value a rule for its range";
    return diagnostic;
  }

  /// True for an edge between operators that was rounded to fewer bits than the recipe asked for.
  static bool isNarrowed(QuantizerUse &use, const ActivationSettings &settings) {
    return isa_and_present<nn::FakeQuantOp>(use.producer()) &&
           use.quantizer.getStorage().getIntOrFloatBitWidth() < settings.bits.value_or(0);
  }

  /// For scores + mask in front of a softmax: the lowest value worth representing. Every row has an unmasked
  /// score, which is at least the smallest score seen; a value further below it than ln(2^(bits + 2)) is
  /// less than a quarter of a step of the softmax's result, which every arithmetic rounds to zero.
  std::optional<float> findScoreFloor(QuantizerUse &use, Value value, unsigned bits) {
    auto add = value.getDefiningOp<nn::AddOp>();
    if (!add || !reachesOnlySoftmax(use.fakeQuants.front().getInput(), /*throughSums=*/false))
      return std::nullopt;
    const quant::TensorStatistics *sum = statistics.find(nn::tensorName(add.getResult()));
    const quant::TensorStatistics *scores = nullptr;
    // The scores are the operand with the larger minimum; the mask is what reaches far down.
    for (Value operand : add.getOperands()) {
      const quant::TensorStatistics *seen = statistics.find(nn::tensorName(resolveMovedValue(operand)));
      if (!getConstant(operand) && seen && (!scores || seen->min > scores->min))
        scores = seen;
    }
    float reach = std::log(2.0f) * static_cast<float>(bits + 2);
    if (!sum || !scores || sum->min >= scores->min - reach)
      return std::nullopt;
    return scores->min - reach;
  }

  const quant::Statistics &statistics;
};

struct QuantizeActivations : impl::QuantizeActivationsPassBase<QuantizeActivations> {
  using Base::Base;
  QuantizeActivations(const quant::Statistics &statistics, const Recipe &recipe, const Target &target)
      : inputs(recipe, target, &statistics) {}

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(inputs.load(module, recipeName, targetName, statisticsPath)))
      return signalPassFailure();
    FailureOr<ResolvedQuantizers> quantizers = resolveRecipe(module, inputs.recipe(), /*checkEffects=*/false);
    if (failed(quantizers))
      return signalPassFailure();
    ActivationQuantizer quantizer(inputs.statistics());
    bool isSound = true;
    for (auto [use, wanted] : llvm::zip_equal(quantizers->uses.list, quantizers->settings))
      if (use.isActivation())
        isSound &= succeeded(quantizer.quantize(use, wanted.activations));
    numRanges += quantizer.numRanges;
    numFloors += quantizer.numFloors;
    if (!isSound)
      signalPassFailure();
  }

  PassInputs inputs;
};

} // namespace

std::unique_ptr<Pass> createQuantizeActivationsPass(const quant::Statistics &statistics, const Recipe &recipe,
                                                    const Target &target) {
  return std::make_unique<QuantizeActivations>(statistics, recipe, target);
}

} // namespace nibble
