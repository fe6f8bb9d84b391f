#include "calib/Observers/MomentCollector.h"
#include "calib/Observers/InputPatches.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>

using namespace mlir;

namespace nibble::calib {

/// The tensor's ONNX name, also of the rounded form of it.
static std::string describe(Value value) {
  if (auto fakeQuant = value.getDefiningOp<nn::FakeQuantOp>())
    return describe(fakeQuant.getInput());
  return nn::tensorName(value);
}

MomentCollector::MomentCollector(ArrayRef<Operation *> layers, ArrayRef<Operation *> floatLayers, int64_t sampleCount)
    : sampleCount(sampleCount) {
  for (auto [index, op] : llvm::enumerate(layers)) {
    Value value = nn::resolveThroughBlocks(op->getOperand(0)), floatValue;
    if (!floatLayers.empty())
      floatValue = nn::resolveThroughBlocks(floatLayers[index]->getOperand(0));
    nn::InputPatches patches = nn::getLayer(op)->patches;
    auto found = llvm::find_if(inputs, [&](const Input &input) { return input.value == value && input.patches == patches; });
    inputOfLayer.push_back(static_cast<size_t>(found - inputs.begin()));
    if (found != inputs.end())
      continue;
    inputs.push_back({value, floatValue, patches,
                      std::make_unique<quant::MomentSums>(patches.groups, patches.columns, !floatLayers.empty())});
    recorder.want(value);
    if (floatValue)
      floatRecorder.want(floatValue);
  }
}

static llvm::Error checkFinite(const Tensor &tensor, llvm::StringRef sampleName, Value value) {
  for (auto [index, element] : llvm::enumerate(tensor.values<float>()))
    if (!std::isfinite(element))
      return makeError(ErrorKind::BadInput, "calibration sample '" + sampleName + "': tensor '" + describe(value) + "' has " +
                                                (std::isnan(element) ? "a NaN" : "an infinity") + " at element " +
                                                llvm::Twine(index));
  return llvm::Error::success();
}

llvm::Error MomentCollector::addSample(llvm::StringRef sampleName) {
  for (Input &input : inputs) {
    Tensor values = recorder.get(input.value), floats;
    assert(values && "a layer's input is computed in every run");
    if (llvm::Error error = checkFinite(values, sampleName, input.value))
      return error;
    if (input.floatValue) {
      floats = floatRecorder.get(input.floatValue);
      if (llvm::Error error = checkFinite(floats, sampleName, input.floatValue))
        return error;
    }
    int64_t total = countPatches(input.patches, values.shape());
    int64_t wanted = std::max<int64_t>(32768, 8 * input.patches.columns);
    int64_t share = std::max<int64_t>(1, (wanted + sampleCount - 1) / sampleCount);
    int64_t stride = std::max<int64_t>(1, total / share), first = numAdded % stride;
    for (int64_t group = 0; group < input.patches.groups; ++group) {
      std::vector<float> patches = extractPatches(input.patches, values, group, first, stride), floatPatches;
      if (floats)
        floatPatches = extractPatches(input.patches, floats, group, first, stride);
      input.sums->add(group, static_cast<int64_t>(patches.size()) / input.patches.columns, patches.data(),
                      floats ? floatPatches.data() : nullptr);
    }
  }
  ++numAdded;
  return llvm::Error::success();
}

std::vector<std::shared_ptr<const quant::LayerMoments>> MomentCollector::finish() {
  std::vector<std::shared_ptr<const quant::LayerMoments>> shared, result;
  for (Input &input : inputs)
    shared.push_back(std::make_shared<const quant::LayerMoments>(input.sums->finish()));
  for (size_t index : inputOfLayer)
    result.push_back(shared[index]);
  return result;
}

} // namespace nibble::calib
