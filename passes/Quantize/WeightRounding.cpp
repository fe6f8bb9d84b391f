#include "passes/Quantize/WeightRounding.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Diagnostics.h"
#include "lib/Dialect/NN/Names.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace nibble {

/// Why `use` cannot be rounded against inputs; empty where it can, with its layer.
static std::string findLayer(QuantizerUse &use, Operation *&op, std::optional<nn::Layer> &layer) {
  if (use.quantizer.getStorage().getIntOrFloatBitWidth() > 8)
    return "16 bits need no rounding against inputs";
  if (use.fakeQuants.size() != 1 || !use.fakeQuants.front()->hasOneUse())
    return "shared by several operations";
  OpOperand &reader = *use.fakeQuants.front()->use_begin();
  op = reader.getOwner();
  layer = nn::getLayer(op);
  if (!layer || reader.getOperandNumber() != 1)
    return "no weight of a layer";
  return "";
}

bool WeightRounding::take(QuantizerUse &use, const WeightSettings &settings) {
  if (!settings.readsLayerInputs())
    return false;
  Operation *op = nullptr;
  std::optional<nn::Layer> layer;
  if (std::string reason = findLayer(use, op, layer); !reason.empty()) {
    ++skipped[reason];
    return false;
  }
  Operation *place = op;
  while (!isa<func::FuncOp>(place->getParentOp()))
    place = place->getParentOp();
  pending.push_back({&use, &settings, op, *layer, place});
  return true;
}

std::vector<ArrayRef<WeightRounding::Pending>> WeightRounding::makeWaves() const {
  std::vector<ArrayRef<Pending>> waves;
  size_t begin = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < pending.size(); ++i) {
    const nn::InputPatches &patches = pending[i].layer.patches;
    bool isShared = i > begin && pending[i].op->getOperand(0) == pending[i - 1].op->getOperand(0) &&
                    patches == pending[i - 1].layer.patches;
    int64_t more = isShared ? 0 : quant::LayerMoments::byteSize(patches.groups, patches.columns, readsQuantized());
    bool isNextBlock = readsQuantized() && i > begin && pending[i].place != pending[i - 1].place;
    if (i > begin && (isNextBlock || bytes + more > calibration.momentBytes())) {
      waves.push_back(ArrayRef(pending).slice(begin, i - begin));
      begin = i;
      bytes = 0;
    }
    bytes += more;
  }
  if (begin < pending.size())
    waves.push_back(ArrayRef(pending).drop_front(begin));
  return waves;
}

LogicalResult WeightRounding::run() {
  for (const auto &[reason, count] : skipped)
    calibration.recordSkipped(reason, count);
  // Program order, also across blocks.
  DenseMap<Operation *, size_t> order;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) { order.try_emplace(op, order.size()); });
  llvm::sort(pending, [&](const Pending &a, const Pending &b) { return order[a.op] < order[b.op]; });
  for (ArrayRef<Pending> wave : makeWaves())
    if (failed(runWave(wave)))
      return failure();
  return success();
}

LogicalResult WeightRounding::runWave(ArrayRef<Pending> wave) {
  bool withDrift = readsQuantized() && llvm::any_of(wave, [](const Pending &entry) {
                     return entry.settings->driftCorrection.value_or(0) > 0 || entry.settings->biasCorrection.value_or(false);
                   });
  SmallVector<Operation *> layers;
  for (const Pending &entry : wave)
    layers.push_back(entry.op);
  auto moments = calibration.collectMoments(module, layers, readsQuantized(), withDrift);
  if (!moments) {
    InFlightDiagnostic diagnostic = module.emitError("inputs of layers from '") << nn::nodeName(layers.front()) << "' on: ";
    nn::appendError(diagnostic, moments.takeError());
    return diagnostic;
  }
  for (auto [entry, seen] : llvm::zip_equal(wave, *moments))
    if (failed(round(entry, *seen)))
      return failure();
  return success();
}

static quant::LayerRoundingOptions makeOptions(const WeightSettings &settings, const nn::Layer &layer, Operation *op) {
  using Method = quant::RoundingMethod;
  quant::LayerRoundingOptions options;
  options.method = llvm::StringSwitch<Method>(settings.rounding.value_or("nearest"))
                       .Case("gptq", Method::Gptq)
                       .Case("sign-round", Method::SignRound)
                       .Case("ada-round", Method::AdaRound)
                       .Default(Method::Nearest);
  options.gptq.activationOrder = settings.activationOrder.value_or(true);
  options.gptq.firstOrder = static_cast<float>(settings.firstOrder.value_or(0));
  options.iterations = static_cast<unsigned>(settings.iterations.value_or(200));
  options.coordinateDescentSweeps = static_cast<unsigned>(settings.coordinateDescent.value_or(0));
  options.refitScales = settings.refitScales.value_or(false);
  options.searchScalesByOutputError = settings.scaleSearch == "output-error";
  options.driftCorrection = settings.driftCorrection.value_or(0);
  options.correctBias = settings.biasCorrection.value_or(false) && layer.rowsAreChannels && ConstantQuantizer::canCorrectBias(op);
  return options;
}

LogicalResult WeightRounding::round(const Pending &pending, const quant::LayerMoments &moments) {
  FailureOr<ChosenWeight> chosen = quantizer.chooseWeight(*pending.use, *pending.settings, &moments);
  if (failed(chosen))
    return failure();
  quant::LayerRoundingOptions options = makeOptions(*pending.settings, pending.layer, pending.op);
  options.minimumScales = chosen->minimumScales;
  std::string weight = pending.use->quantizer.getTensor().value_or("").str();
  llvm::Expected<quant::LayerRounding> rounding =
      quant::roundLayer(chosen->values, pending.layer.layout, chosen->encoding, moments, options);
  if (!rounding) {
    InFlightDiagnostic diagnostic = pending.op->emitError("node '") << nn::nodeName(pending.op) << "', weight '" << weight << "': ";
    nn::appendError(diagnostic, rounding.takeError());
    return diagnostic;
  }
  std::string origin = chosen->origin;
  for (const quant::RoundingStage &stage : llvm::drop_begin(rounding->stages))
    origin += ", " + stage.name;
  // The correction is made of what is stored; the reader's bias is still float.
  if (!rounding->biasCorrection.empty()) {
    origin += ", bias correction";
    if (failed(quantizer.correctBias(pending.op, rounding->biasCorrection)))
      return failure();
  }
  calibration.record({nn::nodeName(pending.op), weight, quant::usedBits(rounding->encoding), rounding->stages, rounding->damping, rounding->numDampingRetries, rounding->numDeadColumns,
                      rounding->numFallbacks});
  return quantizer.store(*pending.use, rounding->rounded, rounding->encoding, origin);
}

} // namespace nibble
