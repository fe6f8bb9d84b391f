#include "calib/Observers/StatisticsCollector.h"
#include "lib/Dialect/NN/Blocks.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Support/ErrorContext.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nibble::calib {

/// The axis that weights are multiplied along where `use` reads its value, or -1. Looks through the
/// borders of blocks, inside which a value has the same name.
static int64_t channelAxis(OpOperand &use);

static int64_t channelAxis(Value value) {
  for (OpOperand &use : value.getUses())
    if (int64_t axis = channelAxis(use); axis >= 0)
      return axis;
  return -1;
}

static int64_t channelAxis(OpOperand &use) {
  Operation *user = use.getOwner();
  unsigned operand = use.getOperandNumber();
  int64_t rank = cast<RankedTensorType>(use.get().getType()).getRank();
  return llvm::TypeSwitch<Operation *, int64_t>(user)
      .Case<nn::ConvOp, nn::ConvTransposeOp>([&](auto) { return operand == 0 ? int64_t(1) : -1; })
      .Case<nn::MatMulOp>([&](auto) { return operand == 0 ? rank - 1 : -1; })
      .Case<nn::GemmOp>([&](nn::GemmOp gemm) { return operand != 0 ? int64_t(-1) : gemm.getTransA() ? 0 : 1; })
      .Case<nn::FakeQuantOp>([&](nn::FakeQuantOp op) { return channelAxis(op.getResult()); })
      .Case<nn::BlockOp>([&](nn::BlockOp block) { return channelAxis(block.getBody().getArgument(operand)); })
      .Case<nn::YieldOp>([&](nn::YieldOp yield) { return channelAxis(yield->getParentOp()->getResult(operand)); })
      .Default([](Operation *) { return int64_t(-1); });
}

/// The axis of the outputs of a product with a constant, or of such a product with its bias; -1 for other values. What
/// rounding such a value costs when its channels are scaled is a question for the axis that they are made along.
static int64_t outputAxis(Operation *maker) {
  if (!maker)
    return -1;
  auto isConstant = [](Value value) {
    return isa_and_nonnull<nn::ConstantOp, nn::DequantizeWeightOp>(nn::resolveThroughBlocks(value).getDefiningOp());
  };
  return llvm::TypeSwitch<Operation *, int64_t>(maker)
      .Case<nn::ConvOp, nn::ConvTransposeOp>([](auto) { return int64_t(1); })
      .Case<nn::MatMulOp, nn::GemmOp>([&](auto) {
        int64_t rank = cast<RankedTensorType>(maker->getResult(0).getType()).getRank();
        return isConstant(maker->getOperand(1)) ? rank - 1 : int64_t(-1);
      })
      .Case<nn::AddOp>([&](nn::AddOp sum) {
        Value other = isConstant(sum.getRhs()) ? sum.getLhs() : isConstant(sum.getLhs()) ? sum.getRhs() : Value();
        Operation *product = other ? other.getDefiningOp() : nullptr;
        bool isBiased = product && !isa<nn::AddOp>(product) && other.getType() == sum.getType();
        return isBiased ? outputAxis(product) : int64_t(-1);
      })
      .Default([](Operation *) { return int64_t(-1); });
}

bool StatisticsCollector::wants(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  // A value that leaves a block was shown inside it.
  Operation *maker = value.getDefiningOp();
  if (!type || !type.getElementType().isF32() ||
      isa_and_nonnull<nn::ConstantOp, nn::DequantizeWeightOp, nn::FakeQuantOp, nn::BlockOp>(maker))
    return false;
  std::string name = nn::tensorName(value);
  if (name.empty())
    return false;
  auto [entry, isNew] = records.try_emplace(name);
  Record &record = entry->second;
  if (isNew) {
    record.isInput = isa<BlockArgument>(value);
    int64_t axis = channelAxis(value);
    if (axis < 0)
      axis = outputAxis(maker);
    if (axis >= 0)
      record.observer.collectChannels(axis);
  }
  targets[value] = {&entry->first, &record};
  return true;
}

void StatisticsCollector::beginSample(llvm::StringRef sampleName, std::string digest) {
  digests.push_back(std::move(digest));
  ++currentSample;
  currentName = sampleName.str();
  problem.clear();
}

void StatisticsCollector::onValue(Value value, const Tensor &tensor) {
  auto found = targets.find(value);
  if (found == targets.end())
    return;
  auto [name, record] = found->second;
  // Two values may carry one tensor's name, for example around an identity; it counts once per sample.
  if (record->lastSample == currentSample)
    return;
  record->lastSample = currentSample;
  TensorObserver::Outcome outcome = record->observer.add(tensor);
  if (!problem.empty())
    return;
  if (outcome.firstNaN >= 0)
    problem = "tensor '" + *name + "' has a NaN at element " + std::to_string(outcome.firstNaN);
  else if (record->isInput && outcome.positiveInfinities + outcome.negativeInfinities > 0)
    problem = "input '" + *name + "' holds an infinity";
}

llvm::Error StatisticsCollector::endSample() {
  if (problem.empty())
    return llvm::Error::success();
  return makeError(ErrorKind::BadInput, "calibration sample '" + currentName + "': " + problem);
}

quant::Statistics StatisticsCollector::finish(std::string fingerprint) const {
  quant::Statistics statistics;
  statistics.fingerprint = std::move(fingerprint);
  statistics.sampleDigests = digests;
  for (const auto &[name, record] : records)
    if (record.lastSample >= 0)
      statistics.tensors.emplace(name, record.observer.finish());
  return statistics;
}

llvm::Error observeDataset(runtime::Program &program, Dataset &dataset, StatisticsCollector &collector,
                           Progress *progress) {
  for (int64_t i = 0; i < dataset.size(); ++i) {
    llvm::Expected<std::vector<Tensor>> sample = dataset.sample(i);
    if (!sample)
      return sample.takeError();
    collector.beginSample(dataset.sampleName(i), digestOfSample(*sample));
    llvm::Expected<std::vector<Tensor>> outputs = program.run(*sample);
    if (!outputs)
      return addContext(outputs.takeError(), "calibration sample '" + dataset.sampleName(i) + "'");
    if (llvm::Error error = collector.endSample())
      return error;
    if (progress)
      progress->advance();
  }
  return llvm::Error::success();
}

} // namespace nibble::calib
