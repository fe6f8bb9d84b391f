#include "cli/driver/LayerRuns.h"

#include "calib/Observers/MomentCollector.h"
#include "lib/Dialect/NN/Quantizers.h"
#include "lib/Support/ErrorContext.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace nibble::driver {

/// A copy of `module` that can be executed, without fake_quants: all of them, or those that have no range yet.
static llvm::Expected<OwningOpRef<ModuleOp>> cloneExecutable(ModuleOp module, bool keepsCalibrated,
                                                             DenseMap<Operation *, Operation *> &operations) {
  IRMapping mapping;
  OwningOpRef<ModuleOp> clone(cast<ModuleOp>(module->clone(mapping)));
  module.walk([&](Operation *op) { operations[op] = mapping.lookup(op); });
  llvm::SmallVector<nn::FakeQuantOp> removed;
  llvm::Error error = llvm::Error::success();
  clone->walk([&](nn::FakeQuantOp op) {
    llvm::Expected<quant::Encoding> encoding = nn::readEncoding(nn::lookupQuantizer(op, op.getQuantizerAttr()));
    if (!encoding) {
      error = llvm::joinErrors(std::move(error), encoding.takeError());
      return;
    }
    if (!keepsCalibrated || !encoding->isCalibrated())
      removed.push_back(op);
  });
  if (error)
    return error;
  for (nn::FakeQuantOp op : removed) {
    op.getResult().replaceAllUsesWith(op.getInput());
    op.erase();
  }
  return clone;
}

static llvm::Expected<std::unique_ptr<runtime::Program>> makeProgram(ModuleOp module, runtime::ExecutionObserver &observer) {
  return runtime::Program::create(module.lookupSymbol<func::FuncOp>("main"), &observer);
}

llvm::Expected<std::vector<std::shared_ptr<const quant::LayerMoments>>>
LayerRuns::collectMoments(ModuleOp module, ArrayRef<Operation *> wanted, bool quantized, bool withDrift) {
  if (!floatModule) {
    llvm::Expected<OwningOpRef<ModuleOp>> clone = cloneExecutable(module, /*keepsCalibrated=*/false, floatOperations);
    if (!clone)
      return clone.takeError();
    floatModule = std::move(*clone);
  }
  OwningOpRef<ModuleOp> current;
  DenseMap<Operation *, Operation *> operations;
  if (quantized) {
    llvm::Expected<OwningOpRef<ModuleOp>> clone = cloneExecutable(module, /*keepsCalibrated=*/true, operations);
    if (!clone)
      return clone.takeError();
    current = std::move(*clone);
  }
  auto find = [&](DenseMap<Operation *, Operation *> &copies) {
    return llvm::map_to_vector(wanted, [&](Operation *op) { return copies.lookup(op); });
  };
  SmallVector<Operation *> floatLayers = find(floatOperations), layers = quantized ? find(operations) : floatLayers;
  calib::MomentCollector collector(layers, withDrift ? floatLayers : SmallVector<Operation *>(), samples->size());
  auto program = makeProgram(quantized ? *current : *floatModule, collector.observer());
  if (!program)
    return program.takeError();
  std::unique_ptr<runtime::Program> floatProgram;
  if (withDrift) {
    auto made = makeProgram(*floatModule, collector.floatObserver());
    if (!made)
      return made.takeError();
    floatProgram = std::move(*made);
  }
  progress.begin("observe layer inputs", samples->size(), "sample");
  for (int64_t i = 0; i < samples->size(); ++i) {
    llvm::Expected<std::vector<Tensor>> sample = samples->sample(i);
    if (!sample)
      return sample.takeError();
    for (runtime::Program *each : {program->get(), floatProgram.get()})
      if (each)
        if (llvm::Expected<std::vector<Tensor>> outputs = each->run(*sample); !outputs)
          return addContext(outputs.takeError(), "calibration sample '" + samples->sampleName(i) + "'");
    if (llvm::Error error = collector.addSample(samples->sampleName(i)))
      return error;
    progress.advance();
  }
  return collector.finish();
}

} // namespace nibble::driver
