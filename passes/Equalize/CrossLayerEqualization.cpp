//===- CrossLayerEqualization.cpp - even weight ranges along chains -----------===//
//
// Nagel et al. 2019, section 4.1: between two layers with a scale-equivariant activation, a channel's weights are scaled
// so that it has the same range in both. Layers in the middle of a chain take part twice, so sweeps repeat until scales
// no longer change.
//
//===----------------------------------------------------------------------===//
#include "lib/Quant/ChannelScales.h"
#include "passes/Equalize/ChannelScaling.h"
#include "passes/Equalize/Stages.h"
#include "passes/Passes.h"

#include "lib/Dialect/NN/Names.h"
#include <cmath>
#include <cstring>

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_CROSSLAYEREQUALIZATIONPASS
#include "passes/Passes.h.inc"

namespace {

constexpr EqualizationStage stage = EqualizationStage::CrossLayerEqualization;

/// Sweeps end when no scale is further from 1.
constexpr float negligible = 1e-3f;

/// A layer and the layers that its channels go to.
struct Link {
  LinearLayer writer;
  ChannelFlow flow;
  /// The product of the scales of all sweeps.
  std::vector<float> scales;
};

class Equalizer {
public:
  explicit Equalizer(std::vector<Link> links) : links(std::move(links)) {}

  LogicalResult load() {
    for (const Link &link : links) {
      if (failed(load(link.writer)))
        return failure();
      for (const ChannelReader &reader : link.flow.readers)
        if (failed(load(reader.layer)))
          return failure();
    }
    return success();
  }

  /// Equalizes every link once; whether any scale mattered.
  bool sweep() {
    bool hasChanged = false;
    for (Link &link : links) {
      std::vector<float> written(link.scales.size(), 0.0f), read(link.scales.size(), 0.0f);
      raise(written, link.writer, [&](int64_t, int64_t output) { return output; });
      for (const ChannelReader &reader : link.flow.readers)
        raise(read, reader.layer, [&](int64_t input, int64_t) { return reader.channels[static_cast<size_t>(input)]; });
      std::vector<float> scales = quant::chooseCrossLayerScales(written, read, link.flow.fixed);
      divideOutputs(weights[link.writer.op], link.writer.axes, scales);
      for (const ChannelReader &reader : link.flow.readers)
        scaleInputs(weights[reader.layer.op], reader.layer.axes, valuesPerInput(reader, scales));
      for (auto [total, scale] : llvm::zip_equal(link.scales, scales)) {
        total *= scale;
        hasChanged |= std::fabs(scale - 1) > negligible;
      }
    }
    return hasChanged;
  }

  LogicalResult commit() {
    ConstantEdits edits;
    for (const Link &link : links) {
      divideChannels(edits, link.writer, link.scales);
      multiplyReaders(edits, link.flow, link.scales);
      for (const ChannelReader &reader : link.flow.readers)
        markStage(reader.layer.op, stage);
    }
    return edits.commit();
  }

private:
  LogicalResult load(const LinearLayer &layer) {
    Tensor &copy = weights[layer.op];
    if (copy)
      return success();
    llvm::FailureOr<Tensor> weight = ConstantEdits().current(*layer.weight);
    if (failed(weight))
      return failure();
    copy = Tensor::allocate(weight->elementType(), weight->shape());
    std::memcpy(copy.mutableRaw(), weight->raw(), static_cast<size_t>(weight->byteSize()));
    return success();
  }

  /// Raises the range of `channelOf(input, output)` to the magnitude of each weight.
  template <typename ChannelOf>
  void raise(std::vector<float> &ranges, const LinearLayer &layer, ChannelOf channelOf) {
    const Tensor &weight = weights[layer.op];
    quant::forEachWeight(weight.shape(), layer.axes, [&](int64_t offset, int64_t input, int64_t output) {
      float &range = ranges[static_cast<size_t>(channelOf(input, output))];
      range = std::max(range, std::fabs(weight.data<float>()[offset]));
    });
  }

  std::vector<Link> links;
  DenseMap<Operation *, Tensor> weights;
};

struct CrossLayerEqualization : impl::CrossLayerEqualizationPassBase<CrossLayerEqualization> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(checkIsFloatProgram(getOperation(), stage)))
      return signalPassFailure();
    std::vector<Link> links = findLinks();
    for (const Link &link : links)
      for (const ChannelReader &reader : link.flow.readers)
        if (failed(checkStage(reader.layer.op, stage)))
          return signalPassFailure();
    for (const Link &link : links)
      link.writer.op->emitRemark("node '") << nn::nodeName(link.writer.op) << "': " << link.scales.size()
                                           << " channels equalized with node '"
                                           << nn::nodeName(link.flow.readers.front().layer.op) << "'";
    numEqualized += links.size();
    Equalizer equalizer(std::move(links));
    if (failed(equalizer.load()))
      return signalPassFailure();
    for (int64_t i = 0; i < sweeps && equalizer.sweep(); ++i)
      ;
    if (failed(equalizer.commit()))
      signalPassFailure();
  }

private:
  std::vector<Link> findLinks() {
    FlowRules rules;
    rules.activations = rules.sums = true;
    std::vector<Link> links;
    getOperation().walk([&](Operation *op) {
      std::optional<LinearLayer> layer = matchLinearLayer(op);
      if (!layer)
        return;
      ChannelFlow flow = traceChannels(*layer, rules);
      if (!flow.isFree() || !canDivide(*layer)) {
        ++numSkipped;
        return;
      }
      std::vector<float> ones(static_cast<size_t>(layer->outputCount()), 1.0f);
      links.push_back({*layer, std::move(flow), std::move(ones)});
    });
    return links;
  }
};

} // namespace
} // namespace nibble
