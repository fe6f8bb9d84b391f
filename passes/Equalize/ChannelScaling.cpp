#include "passes/Equalize/ChannelScaling.h"
#include "lib/Dialect/NN/NNDialect.h"

using namespace mlir;

namespace nibble {

static void divide(ConstantEdits &edits, OpOperand &constant, const ChannelMap &map, llvm::ArrayRef<float> scales) {
  edits.add(constant, [map, values = scales.vec()](Tensor &tensor) { divideByScales(tensor, map, values); });
}

bool canDivide(const LinearLayer &layer) { return !layer.bias || isFloatConstant(layer.bias->get()); }

void divideChannels(ConstantEdits &edits, const LinearLayer &layer, llvm::ArrayRef<float> scales) {
  edits.add(*layer.weight, [axes = layer.axes, values = scales.vec()](Tensor &weight) {
    divideOutputs(weight, axes, values);
  });
  if (!layer.bias)
    return;
  auto channels = static_cast<int64_t>(scales.size());
  // Gemm's third operand broadcasts to its result, the bias of convolutions is a vector.
  bool isGemm = isa<nn::GemmOp>(layer.op);
  divide(edits, *layer.bias, isGemm ? ChannelMap::along(1, 2, channels) : ChannelMap::count(channels), scales);
}

void divideChannels(ConstantEdits &edits, const NormLayer &norm, llvm::ArrayRef<float> scales) {
  for (OpOperand *parameter : {norm.scale, norm.bias})
    if (parameter)
      divide(edits, *parameter, ChannelMap::count(nn::shapeOf(parameter->get())), scales);
}

void multiplyReaders(ConstantEdits &edits, const ChannelFlow &flow, llvm::ArrayRef<float> scales) {
  for (const ChannelSum &sum : flow.sums)
    divide(edits, *sum.constant, sum.map, scales);
  for (const ChannelReader &reader : flow.readers)
    edits.add(*reader.layer.weight,
              [axes = reader.layer.axes, factors = valuesPerInput(reader, scales)](Tensor &weight) {
                scaleInputs(weight, axes, factors);
              });
}

std::vector<float> valuesPerInput(const ChannelReader &reader, llvm::ArrayRef<float> values) {
  std::vector<float> result;
  for (int32_t channel : reader.channels)
    result.push_back(values[static_cast<size_t>(channel)]);
  return result;
}

} // namespace nibble
