//===- SmoothActivations.cpp - SmoothQuant and AWQ ----------------------------===//
//
// A channel with outliers decides the step of a whole tensor, or one with large inputs the error of the weights that
// read it. Both get better when the channel is divided by a factor that the weights behind it are multiplied by. The
// producer takes the divisor into its own parameters, so nothing is computed that was not computed before.
//
//===----------------------------------------------------------------------===//
#include "lib/Quant/ChannelScales.h"
#include "passes/Equalize/ChannelScaling.h"
#include "passes/Equalize/Stages.h"
#include "passes/Passes.h"

#include "lib/Dialect/NN/Diagnostics.h"
#include "lib/Dialect/NN/Names.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_SMOOTHACTIVATIONSPASS
#include "passes/Passes.h.inc"

namespace {

constexpr EqualizationStage stage = EqualizationStage::SmoothActivations;

/// Channels, what makes them and all layers that read them.
struct Group {
  std::optional<NormLayer> norm;
  std::optional<LinearLayer> layer;
  ChannelFlow flow;

  Operation *producer() const { return norm ? norm->op : layer->op; }

  static std::optional<Group> match(Operation *op) {
    Group group;
    if ((group.norm = matchNormLayer(op)))
      group.flow = traceChannels(*group.norm, FlowRules::all());
    else if ((group.layer = matchLinearLayer(op)) && canDivide(*group.layer))
      group.flow = traceChannels(*group.layer, FlowRules::all());
    else
      return std::nullopt;
    bool readsFreeChannel = llvm::any_of(group.flow.readers, [&](const ChannelReader &reader) {
      return llvm::any_of(reader.channels,
                          [&](int32_t channel) { return !group.flow.fixed.test(static_cast<unsigned>(channel)); });
    });
    return readsFreeChannel ? std::optional(std::move(group)) : std::nullopt;
  }

  /// Divides what the producer makes and multiplies the weights that read it.
  void scale(ConstantEdits &edits, llvm::ArrayRef<float> scales) const {
    if (norm)
      divideChannels(edits, *norm, scales);
    else
      divideChannels(edits, *layer, scales);
    multiplyReaders(edits, flow, scales);
    for (const ChannelReader &reader : flow.readers)
      markStage(reader.layer.op, stage);
  }
};

struct SmoothActivations : impl::SmoothActivationsPassBase<SmoothActivations> {
  using Base::Base;
  SmoothActivations(const quant::Statistics &statistics, SmoothActivationsPassOptions options)
      : Base(std::move(options)), statistics(&statistics) {}

  void runOnOperation() override {
    if (failed(checkIsFloatProgram(getOperation(), stage)) || failed(checkOptions()) || failed(loadStatistics()))
      return signalPassFailure();
    scaled.clear();
    std::vector<Group> groups;
    getOperation().walk([&](Operation *op) {
      if (std::optional<Group> group = Group::match(op))
        groups.push_back(std::move(*group));
    });
    for (const Group &group : groups)
      if (failed(smooth(group)))
        return signalPassFailure();
    if (failed(edits.commit()))
      signalPassFailure();
  }

private:
  LogicalResult checkOptions() {
    if (method == SmoothingMethod::AWQ && weightBits != 4 && weightBits != 8)
      return getOperation().emitError("nibble-smooth-activations: awq needs weight-bits 4 or 8, but found ")
             << weightBits.getValue();
    if (weightBits < 2 || weightBits > 16 || activationBits == 1 || activationBits > 16 || normBits < 2 || normBits > 16)
      return getOperation().emitError("nibble-smooth-activations: expected 2 to 16 bits (activations: or 0), but found ")
             << "weight-bits " << weightBits.getValue() << ", activation-bits " << activationBits.getValue() << ", norm-bits "
             << normBits.getValue();
    if (groupSize < 0)
      return getOperation().emitError("nibble-smooth-activations: group-size must not be negative, but is ")
             << groupSize.getValue();
    return success();
  }

  LogicalResult loadStatistics() {
    if (!statistics && !statisticsPath.empty()) {
      llvm::Expected<quant::Statistics> loaded = quant::Statistics::load(statisticsPath);
      if (!loaded)
        return getOperation().emitError(llvm::toString(loaded.takeError()));
      loadedStatistics = std::make_shared<const quant::Statistics>(std::move(*loaded));
      statistics = loadedStatistics.get();
    }
    if (statistics && !statistics->tensors.empty())
      return success();
    InFlightDiagnostic diagnostic = getOperation().emitError("nibble-smooth-activations needs statistics of the program");
    diagnostic.attachNote() << "calibrate the program that is smoothed";
    return diagnostic;
  }

  LogicalResult smooth(const Group &group) {
    for (const ChannelReader &reader : group.flow.readers) {
      if (!scaled.contains(reader.layer.op) && !(skipRotated && hasStage(reader.layer.op, EqualizationStage::RotateResidual))) {
        if (failed(checkStage(reader.layer.op, stage)))
          return failure();
        continue;
      }
      ++numSkipped;
      return success();
    }
    llvm::FailureOr<std::optional<quant::ScaledGroup>> problem = makeProblem(group);
    if (failed(problem))
      return failure();
    if (!*problem)
      return success();
    llvm::Expected<quant::ChannelScales> chosen = choose(**problem);
    if (!chosen) {
      InFlightDiagnostic diagnostic = group.producer()->emitError("node '") << nn::nodeName(group.producer()) << "': ";
      nn::appendError(diagnostic, chosen.takeError());
      return diagnostic;
    }
    if (!chosen->isChanged()) {
      ++numUnchanged;
      return success();
    }
    group.scale(edits, chosen->scales);
    for (const ChannelReader &reader : group.flow.readers)
      scaled.insert(reader.layer.op);
    ++numSmoothed;
    size_t readers = group.flow.readers.size();
    auto decibels = [](double noise) { return 10 * std::log10(noise); };
    group.producer()->emitRemark("node '")
        << nn::nodeName(group.producer()) << "': "
        << llvm::formatv("{0} channels scaled for {1} reader{2}, exponent {3:f2}, predicted noise {4:f1} dB instead of {5:f1}",
                         group.flow.fixed.size() - group.flow.fixed.count(), readers, readers == 1 ? "" : "s", chosen->exponent,
                         decibels(chosen->noiseAfter), decibels(chosen->noiseBefore))
               .str();
    return success();
  }

  llvm::Expected<quant::ChannelScales> choose(const quant::ScaledGroup &problem) {
    quant::ChannelScaleOptions options;
    options.activationBits = activationBits;
    options.weightBits = weightBits;
    options.normBits = normBits;
    options.groupSize = groupSize;
    if (method == SmoothingMethod::AWQ)
      return quant::chooseActivationAwareScales(problem, options);
    return quant::chooseSmoothQuantScales(problem, options);
  }

  /// Weights and statistics of a group; nothing where statistics are lacking.
  llvm::FailureOr<std::optional<quant::ScaledGroup>> makeProblem(const Group &group) {
    quant::ScaledGroup problem;
    problem.fixed = group.flow.fixed;
    if (group.norm) {
      llvm::FailureOr<Tensor> scale = edits.current(*group.norm->scale);
      if (failed(scale))
        return failure();
      problem.normScale = scale->values<float>().vec();
    }
    if (group.layer)
      problem.source = findSource(group);
    for (const ChannelReader &reader : group.flow.readers) {
      std::string tensor = nn::tensorName(reader.layer.input->get());
      const quant::TensorStatistics *seen = statistics->find(tensor);
      size_t inputs = reader.channels.size();
      if (!seen || seen->channelMin.size() != inputs || seen->channelAxis != reader.layer.inputAxis) {
        ++numUnknown;
        reader.layer.op->emitRemark("node '") << nn::nodeName(reader.layer.op) << "': its input is not smoothed, as there are no "
                                              << "statistics of the " << inputs << " channels of tensor '" << tensor << "'";
        return std::optional<quant::ScaledGroup>();
      }
      llvm::FailureOr<Tensor> weight = edits.current(*reader.layer.weight);
      if (failed(weight))
        return failure();
      double count = static_cast<double>(seen->elementCount - seen->infiniteCount) / static_cast<double>(inputs);
      quant::ScaledReader view{*weight, reader.layer.axes, reader.channels, seen->channelMin, seen->channelMax, {}, {}};
      for (size_t i = 0; i < inputs; ++i) {
        view.meanMagnitude.push_back(seen->channelSumOfMagnitudes[i] / count);
        view.meanSquare.push_back(seen->channelSumOfSquares[i] / count);
      }
      problem.readers.push_back(std::move(view));
    }
    return std::optional(std::move(problem));
  }

  /// Statistics of what the layer of a group makes, with its bias, where they hold and the readers read something else.
  std::optional<quant::ScaledSource> findSource(const Group &group) {
    Value value = group.layer->op->getResult(0);
    for (const ChannelSum &sum : group.flow.sums)
      if (llvm::is_contained(sum.constant->getOwner()->getOperands(), value))
        value = sum.constant->getOwner()->getResult(0);
    std::string tensor = nn::tensorName(value);
    const quant::TensorStatistics *seen = statistics->find(tensor);
    size_t channels = group.flow.fixed.size();
    bool isRead = llvm::any_of(group.flow.readers, [&](const ChannelReader &reader) {
      return nn::tensorName(reader.layer.input->get()) == tensor;
    });
    if (!seen || isRead || seen->channelMin.size() != channels || seen->channelAxis != group.layer->resultAxis)
      return std::nullopt;
    quant::ScaledSource source{seen->channelMin, seen->channelMax, {}};
    double count = static_cast<double>(seen->elementCount - seen->infiniteCount) / static_cast<double>(channels);
    for (double squares : seen->channelSumOfSquares)
      source.meanSquare.push_back(squares / count);
    return source;
  }

  const quant::Statistics *statistics = nullptr;
  /// Shared, as MLIR copies passes.
  std::shared_ptr<const quant::Statistics> loadedStatistics;
  ConstantEdits edits;
  /// Readers whose input was scaled in this run.
  DenseSet<Operation *> scaled;
};

} // namespace

std::unique_ptr<Pass> createSmoothActivationsPass(const quant::Statistics &statistics,
                                                  const SmoothActivationsPassOptions &options) {
  return std::make_unique<SmoothActivations>(statistics, options);
}

} // namespace nibble
