//===- RotateResidual.cpp - rotations that weights absorb ----------------------===//
//
// QuaRot (Ashkboos et al. 2024) and SpinQuant (Liu et al. 2024): a rotation R1 of the residual stream is undone by
// R1^T in front of every layer that reads it, and RMSNorm without a scale commutes with it; a rotation R2 of the values
// of each attention head is undone in the output projection, as attention adds values up and does not mix their channels.
// Both are folded into weights. Outliers of single channels are spread over all of them.
//
//===----------------------------------------------------------------------===//
#include "lib/Quant/Rotation.h"
#include "passes/Equalize/ChannelFlow.h"
#include "passes/Equalize/ConstantEdits.h"
#include "passes/Equalize/ResidualStream.h"
#include "passes/Equalize/Stages.h"
#include "passes/Passes.h"

#include "lib/Dialect/NN/Names.h"

using namespace mlir;

namespace nibble {

#define GEN_PASS_DEF_ROTATERESIDUALPASS
#include "passes/Passes.h.inc"

namespace {

using RotationPointer = std::shared_ptr<const quant::Rotation>;

constexpr EqualizationStage stage = EqualizationStage::RotateResidual;

/// Rotates runs along the last axis; a constant with one entry for all channels gets one per channel first.
void rotateLastAxis(Tensor &constant, int64_t channels, llvm::ArrayRef<int64_t> starts, const quant::Rotation &rotation) {
  Shape shape(constant.shape());
  if (shape.empty())
    shape.push_back(1);
  if (shape.back() == 1 && channels != 1) {
    shape.back() = channels;
    Tensor expanded = Tensor::allocate(ElementType::F32, shape);
    for (int64_t i = 0; i < expanded.elementCount(); ++i)
      expanded.mutableData<float>()[i] = constant.data<float>()[i / channels];
    constant = expanded;
  }
  quant::rotateRuns(constant, static_cast<int64_t>(shape.size()) - 1, starts, rotation);
}

/// The values of attention heads: which runs of a layer's outputs and of its readers' inputs are one head each.
struct ValueHeads {
  LinearLayer writer;
  ChannelFlow flow;
  int64_t size = 0;
  SmallVector<int64_t> writerStarts;
  /// Per reader.
  SmallVector<SmallVector<int64_t>> readerStarts;

  /// The heads of what `layer` makes, where it makes the values of attention.
  static std::optional<ValueHeads> match(const LinearLayer &layer) {
    FlowRules rules;
    rules.attention = rules.sums = true;
    ValueHeads heads{layer, traceChannels(layer, rules), 0, {}, {}};
    if (layer.axes.groups != 1 || heads.flow.readers.empty() || heads.flow.products.empty() || !heads.findSize() ||
        !heads.sumsHaveAllChannels() || !heads.findStarts())
      return std::nullopt;
    return heads;
  }

private:
  /// The channels of a head are the columns of the right operand of every product.
  bool findSize() {
    for (const ChannelProduct &product : flow.products) {
      int64_t columns = product.map.shape.back();
      if (!product.isRight || columns < 2 || (size && columns != size) || !isMadeOfHeads(product.map.channels, columns))
        return false;
      size = columns;
    }
    return true;
  }

  /// Whether channels come in runs of `length` that begin at multiples of it.
  static bool isMadeOfHeads(llvm::ArrayRef<int32_t> channels, int64_t length) {
    if (channels.size() % static_cast<size_t>(length) != 0)
      return false;
    for (size_t i = 0; i < channels.size(); ++i)
      if (channels[i] % length != static_cast<int64_t>(i) % length ||
          channels[i] / length != channels[i - i % static_cast<size_t>(length)] / length)
        return false;
    return true;
  }

  /// A constant on the way can be rotated where it lists the channels in order along its last axis.
  bool sumsHaveAllChannels() const {
    if (writer.bias && !isFloatConstant(writer.bias->get()))
      return false;
    return llvm::all_of(flow.sums, [&](const ChannelSum &sum) {
      return elementCount(sum.map.shape) == writer.outputCount() && sum.map.shape.back() == writer.outputCount() &&
             llvm::is_sorted(sum.map.channels);
    });
  }

  bool findStarts() {
    llvm::BitVector isRead(static_cast<unsigned>(writer.outputCount()));
    for (const ChannelReader &reader : flow.readers) {
      if (reader.layer.axes.groups != 1 || !isMadeOfHeads(reader.channels, size))
        return false;
      SmallVector<int64_t> &starts = readerStarts.emplace_back();
      for (size_t i = 0; i < reader.channels.size(); i += static_cast<size_t>(size)) {
        auto first = static_cast<unsigned>(reader.channels[i]);
        if (flow.fixed.find_first_in(first, first + static_cast<unsigned>(size)) != -1)
          continue;
        starts.push_back(static_cast<int64_t>(i));
        isRead.set(first);
      }
    }
    for (unsigned first : isRead.set_bits())
      writerStarts.push_back(first);
    return !writerStarts.empty();
  }
};

struct RotateResidual : impl::RotateResidualPassBase<RotateResidual> {
  using Base::Base;

  void runOnOperation() override {
    if (failed(checkIsFloatProgram(getOperation(), stage)))
      return signalPassFailure();
    rotationCount = 0;
    ConstantEdits edits;
    if ((residual && failed(rotateStreams(edits))) || (values && failed(rotateValues(edits))) || failed(edits.commit()))
      signalPassFailure();
  }

private:
  LogicalResult rotateStreams(ConstantEdits &edits) {
    SmallVector<nn::RMSNormalizationOp> norms;
    getOperation().walk([&](nn::RMSNormalizationOp norm) { norms.push_back(norm); });
    DenseSet<Operation *> seen;
    for (nn::RMSNormalizationOp norm : norms) {
      if (seen.contains(norm))
        continue;
      ResidualStream stream = traceResidualStream(norm, seen);
      if (stream.obstacle) {
        ++numRefused;
        stream.obstacle->emitRemark("node '") << nn::nodeName(stream.obstacle) << "' (" << stream.obstacle->getName()
                                              << "): the residual stream of " << stream.channels
                                              << " channels is not rotated: " << stream.reason;
        continue;
      }
      if (failed(rotateStream(edits, stream)))
        return failure();
      ++numStreams;
      norm->emitRemark("node '") << nn::nodeName(norm) << "': residual stream of " << stream.channels
                                 << " channels rotated: " << stream.normCount << " norms, " << stream.writers.size()
                                 << " layers that write it, " << stream.readers.size() << " that read it";
    }
    return success();
  }

  LogicalResult rotateStream(ConstantEdits &edits, const ResidualStream &stream) {
    RotationPointer rotation = makeRotation(stream.channels);
    for (OpOperand *use : stream.constants)
      edits.add(*use, [rotation](Tensor &constant) { rotateLastAxis(constant, rotation->size(), 0, *rotation); });
    for (const LinearLayer &layer : stream.writers)
      edits.add(*layer.weight, [rotation, axis = layer.axes.output](Tensor &weight) {
        quant::rotateRuns(weight, axis, 0, *rotation);
      });
    for (const LinearLayer &layer : stream.readers) {
      if (failed(checkStage(layer.op, stage)))
        return failure();
      edits.add(*layer.weight, [rotation, axis = layer.axes.input](Tensor &weight) {
        quant::rotateRuns(weight, axis, 0, *rotation);
      });
      markStage(layer.op, stage);
    }
    return success();
  }

  LogicalResult rotateValues(ConstantEdits &edits) {
    SmallVector<LinearLayer> layers;
    getOperation().walk([&](Operation *op) {
      if (std::optional<LinearLayer> layer = matchLinearLayer(op))
        layers.push_back(*layer);
    });
    for (const LinearLayer &layer : layers) {
      std::optional<ValueHeads> heads = ValueHeads::match(layer);
      if (!heads)
        continue;
      RotationPointer rotation = makeRotation(heads->size);
      int64_t channels = layer.outputCount();
      edits.add(*layer.weight, [rotation, axis = layer.axes.output, starts = heads->writerStarts](Tensor &weight) {
        quant::rotateRuns(weight, axis, starts, *rotation);
      });
      SmallVector<OpOperand *> constants;
      if (layer.bias)
        constants.push_back(layer.bias);
      for (const ChannelSum &sum : heads->flow.sums)
        constants.push_back(sum.constant);
      for (OpOperand *use : constants)
        edits.add(*use, [rotation, channels, starts = heads->writerStarts](Tensor &constant) {
          rotateLastAxis(constant, channels, starts, *rotation);
        });
      for (auto [reader, starts] : llvm::zip_equal(heads->flow.readers, heads->readerStarts)) {
        if (failed(checkStage(reader.layer.op, stage)))
          return failure();
        edits.add(*reader.layer.weight, [rotation, axis = reader.layer.axes.input, starts = starts](Tensor &weight) {
          quant::rotateRuns(weight, axis, starts, *rotation);
        });
        markStage(reader.layer.op, stage);
      }
      ++numValues;
      layer.op->emitRemark("node '") << nn::nodeName(layer.op) << "': values of " << heads->writerStarts.size()
                                     << " attention heads rotated, " << heads->size << " channels each";
    }
    return success();
  }

  RotationPointer makeRotation(int64_t size) {
    // Seeds far apart, so that the rotations of one run share nothing with those of a run with the next seed.
    uint64_t mixed = seed + 0x9E3779B97F4A7C15 * rotationCount++;
    return std::make_shared<const quant::Rotation>(size, matrix, mixed);
  }

  uint64_t rotationCount = 0;
};

} // namespace
} // namespace nibble
