#include "calib/Metrics/EdgeErrors.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/ErrorContext.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::calib {
namespace {

/// Rounds the values of one edge, or of none.
class EdgeRounder : public runtime::ExecutionObserver {
public:
  explicit EdgeRounder(ArrayRef<Edge> edges) : edges(edges) {
    for (auto [index, edge] : llvm::enumerate(edges))
      for (Value value : edge.values)
        edgeOf.try_emplace(nn::resolveThroughBlocks(value), index);
  }

  bool wants(Value value) override { return edgeOf.contains(value); }
  void onValue(Value, const Tensor &) override {}
  Tensor replaceValue(Value value, const Tensor &tensor) override {
    auto found = edgeOf.find(value);
    if (!current || found == edgeOf.end() || found->second != *current)
      return {};
    Tensor rounded = Tensor::allocate(ElementType::F32, tensor.shape());
    quant::fakeQuantize(tensor, edges[*current].encoding, rounded);
    return rounded;
  }

  std::optional<size_t> current;

private:
  ArrayRef<Edge> edges;
  DenseMap<Value, size_t> edgeOf;
};

/// Squared error over squared reference, summed over float outputs.
double relativeError(ArrayRef<Tensor> reference, ArrayRef<Tensor> outputs) {
  double total = 0;
  for (auto [wanted, found] : llvm::zip_equal(reference, outputs)) {
    if (wanted.elementType() != ElementType::F32)
      continue;
    double noise = 0, signal = 0;
    for (auto [a, b] : llvm::zip_equal(wanted.values<float>(), found.values<float>())) {
      double difference = static_cast<double>(a) - static_cast<double>(b);
      noise += difference * difference;
      signal += static_cast<double>(a) * static_cast<double>(a);
    }
    total += signal > 0 ? noise / signal : 0;
  }
  return total;
}

} // namespace

llvm::Expected<std::vector<double>> measureEdges(func::FuncOp function, ArrayRef<Edge> edges, Dataset &dataset,
                                                 int64_t sampleCount, Progress *progress) {
  EdgeRounder rounder(edges);
  llvm::Expected<std::unique_ptr<runtime::Program>> program = runtime::Program::create(function, &rounder);
  if (!program)
    return program.takeError();
  int64_t count = std::min(sampleCount, dataset.size());
  std::vector<double> errors(edges.size(), 0.0);
  for (int64_t i = 0; i < count; ++i) {
    int64_t index = i * dataset.size() / count;
    llvm::Expected<std::vector<Tensor>> sample = dataset.sample(index);
    if (!sample)
      return sample.takeError();
    rounder.current.reset();
    llvm::Expected<std::vector<Tensor>> reference = (*program)->run(*sample);
    if (!reference)
      return addContext(reference.takeError(), "calibration sample '" + dataset.sampleName(index) + "'");
    for (size_t edge = 0; edge < edges.size(); ++edge) {
      rounder.current = edge;
      llvm::Expected<std::vector<Tensor>> outputs = (*program)->run(*sample);
      if (!outputs)
        return addContext(outputs.takeError(), "calibration sample '" + dataset.sampleName(index) + "'");
      errors[edge] += relativeError(*reference, *outputs) / static_cast<double>(count);
      if (progress)
        progress->advance();
    }
  }
  return errors;
}

} // namespace nibble::calib
