//===- EdgeRecorder.h - the values between blocks --------------------------===//
#ifndef NIBBLE_CLI_DRIVER_EDGERECORDER_H
#define NIBBLE_CLI_DRIVER_EDGERECORDER_H

#include "lib/Dialect/NN/Blocks.h"
#include "lib/Runtime/Float/Interpreter.h"

#include "llvm/ADT/DenseMap.h"

namespace nibble::driver {

/// Keeps what a run of a program computes on the edges between its blocks.
class EdgeRecorder : public runtime::ExecutionObserver {
public:
  explicit EdgeRecorder(mlir::func::FuncOp function) {
    function.walk([&](nn::BlockOp block) {
      for (mlir::Value value : block->getOperands())
        edges.insert({nn::resolveThroughBlocks(value), Tensor()});
      for (mlir::Value value : block->getResults())
        edges.insert({nn::resolveThroughBlocks(value), Tensor()});
    });
  }
  bool wants(mlir::Value value) override { return edges.contains(value); }
  void onValue(mlir::Value value, const Tensor &tensor) override { edges[value] = tensor; }
  Tensor find(mlir::Value value) const { return edges.lookup(nn::resolveThroughBlocks(value)); }
  std::vector<Tensor> find(mlir::ValueRange values) const {
    std::vector<Tensor> tensors;
    for (mlir::Value value : values)
      tensors.push_back(find(value));
    return tensors;
  }

private:
  llvm::DenseMap<mlir::Value, Tensor> edges;
};

} // namespace nibble::driver

#endif
