#include "cli/driver/Tolerance.h"

#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Runtime/Float/Interpreter.h"

#include "llvm/ADT/DenseMap.h"
#include <cmath>

using namespace mlir;

namespace nibble::driver {
namespace {

enum class Direction { Up, Down, Random };

/// Moves every value that a quantizer inside the block rounds.
class ErrorInjector : public runtime::ExecutionObserver {
public:
  static llvm::Expected<ErrorInjector> create(nn::BlockOp block, const Target &target) {
    ErrorInjector injector;
    llvm::Error problem = llvm::Error::success();
    block.walk([&](nn::FakeQuantOp op) {
      Operation *producer = op.getInput().getDefiningOp();
      if (!producer || isa<nn::ConstantOp>(producer))
        return WalkResult::advance();
      llvm::Expected<quant::Encoding> encoding =
          nn::readEncoding(nn::lookupQuantizer(op, op.getQuantizerAttr()));
      if (!encoding) {
        problem = llvm::joinErrors(std::move(problem), encoding.takeError());
        return WalkResult::interrupt();
      }
      llvm::Expected<std::optional<EncodingClass>> weight = weightOf(producer);
      if (!weight) {
        problem = llvm::joinErrors(std::move(problem), weight.takeError());
        return WalkResult::interrupt();
      }
      ErrorBound bound = target.errorBound(producer->getName().stripDialect(), encoding->storage,
                                           *weight ? &**weight : nullptr);
      injector.steps[op.getResult()] = {bound.maximum * encoding->scales.front(), injector.steps.size()};
      injector.ownBounds[op.getResult()] = bound;
      return WalkResult::advance();
    });
    if (problem)
      return std::move(problem);
    return injector;
  }

  bool wants(Value value) override { return steps.contains(value); }
  void onValue(Value, const Tensor &) override {}
  Tensor replaceValue(Value value, const Tensor &tensor) override {
    auto step = steps.find(value);
    if (step == steps.end())
      return {};
    Tensor moved = Tensor::allocate(ElementType::F32, tensor.shape());
    const float *from = tensor.data<float>();
    float *to = moved.mutableData<float>();
    for (int64_t i = 0, count = tensor.elementCount(); i < count; ++i)
      to[i] = from[i] + static_cast<float>(step->second.size * factor(step->second.ordinal, i));
    return moved;
  }
  ErrorBound ownBound(Value value) const { return ownBounds.lookup(value); }

  Direction direction = Direction::Up;

private:
  struct Step {
    double size = 0;
    uint64_t ordinal = 0;
  };

  /// Uniform in [-1, 1] from a hash of the position (splitmix64), so that every run gives the same.
  double factor(uint64_t ordinal, int64_t index) const {
    if (direction != Direction::Random)
      return direction == Direction::Up ? 1 : -1;
    uint64_t x = (ordinal << 40) + static_cast<uint64_t>(index) + 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    x ^= x >> 31;
    return static_cast<double>(x >> 11) * 0x1.0p-52 - 1;
  }

  /// The encoding of a constant right operand, or of the table of a gather.
  static llvm::Expected<std::optional<EncodingClass>> weightOf(Operation *op) {
    if (op->getNumOperands() < 2)
      return std::nullopt;
    Value weight = op->getOperand(isa<nn::GatherOp>(op) ? 0 : 1);
    if (!weight.getDefiningOp<nn::DequantizeWeightOp>())
      return std::nullopt;
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(nn::quantizerOf(weight));
    if (!encoding)
      return encoding.takeError();
    EncodingClass result = EncodingClass::of(*encoding);
    result.isConstant = true;
    return result;
  }

  llvm::DenseMap<Value, Step> steps;
  llvm::DenseMap<Value, ErrorBound> ownBounds;
};

} // namespace

llvm::Expected<std::vector<ErrorBound>> measureTolerance(nn::BlockOp block, Operation *symbolScope,
                                                         const Target &target, llvm::ArrayRef<Tensor> inputs,
                                                         llvm::ArrayRef<Tensor> reference,
                                                         llvm::ArrayRef<double> outputScales) {
  llvm::Expected<ErrorInjector> injector = ErrorInjector::create(block, target);
  if (!injector)
    return injector.takeError();
  llvm::Expected<std::unique_ptr<runtime::Program>> program = runtime::Program::create(block, symbolScope, &*injector);
  if (!program)
    return program.takeError();
  Operation *yield = block.getBody().front().getTerminator();
  std::vector<ErrorBound> bounds;
  for (Value output : yield->getOperands())
    bounds.push_back(injector->ownBound(output));
  for (Direction direction : {Direction::Up, Direction::Down, Direction::Random}) {
    injector->direction = direction;
    llvm::Expected<std::vector<Tensor>> moved = (*program)->run(inputs);
    if (!moved)
      return moved.takeError();
    for (auto [bound, output, wanted, scale] : llvm::zip_equal(bounds, *moved, reference, outputScales)) {
      if (output.elementType() != ElementType::F32 || scale <= 0)
        continue;
      double largest = 0, sumOfSquares = 0;
      for (auto [a, b] : llvm::zip_equal(output.values<float>(), wanted.values<float>())) {
        double difference = std::abs(double(a) - b) / scale;
        largest = std::max(largest, difference);
        sumOfSquares += difference * difference;
      }
      double rootMeanSquare = std::sqrt(sumOfSquares / static_cast<double>(std::max<int64_t>(1, output.elementCount())));
      bound.maximum = std::max(bound.maximum, largest);
      bound.rootMeanSquare = std::max(bound.rootMeanSquare, rootMeanSquare);
    }
  }
  return bounds;
}

} // namespace nibble::driver
