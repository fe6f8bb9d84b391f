//===- FloatPrograms.h - programs before and after rewrites ------------------===//
#ifndef NIBBLE_TESTS_UNIT_PASSES_FLOATPROGRAMS_H
#define NIBBLE_TESTS_UNIT_PASSES_FLOATPROGRAMS_H

#include "lib/Dialect/NN/Constants.h"
#include "lib/Runtime/Float/Interpreter.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <gtest/gtest.h>
#include <random>

namespace nibble::test {

/// Token ids below 1024, masks of ones, unit normal floats: the same for every call with one seed.
inline std::vector<Tensor> makeInputs(mlir::func::FuncOp function, uint32_t seed = 7) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<Tensor> inputs;
  for (mlir::BlockArgument argument : function.getArguments()) {
    auto type = mlir::cast<mlir::RankedTensorType>(argument.getType());
    bool isMask = function.getArgAttrOfType<mlir::StringAttr>(argument.getArgNumber(), "nn.name") == "attention_mask";
    Tensor tensor = Tensor::allocate(*nn::toElementType(type.getElementType()), type.getShape());
    for (int64_t i = 0; i < tensor.elementCount(); ++i) {
      auto id = static_cast<int32_t>(isMask ? 1 : generator() % 1024);
      switch (tensor.elementType()) {
      case ElementType::I32: tensor.mutableData<int32_t>()[i] = id; break;
      case ElementType::I64: tensor.mutableData<int64_t>()[i] = id; break;
      default: tensor.mutableData<float>()[i] = normal(generator);
      }
    }
    inputs.push_back(tensor);
  }
  return inputs;
}

/// The outputs of `main` for `makeInputs`; none, and a failure, where it does not run.
inline std::vector<Tensor> run(mlir::ModuleOp module, uint32_t seed = 7, runtime::ExecutionObserver *observer = nullptr) {
  auto function = module.lookupSymbol<mlir::func::FuncOp>("main");
  auto program = runtime::Program::create(function, observer);
  if (!program) {
    ADD_FAILURE() << llvm::toString(program.takeError());
    return {};
  }
  auto outputs = (*program)->run(makeInputs(function, seed));
  if (!outputs) {
    ADD_FAILURE() << llvm::toString(outputs.takeError());
    return {};
  }
  return *outputs;
}

/// The largest difference over the range of the reference is at most 1e-5, per output; returns the largest.
inline float expectClose(llvm::ArrayRef<Tensor> reference, llvm::ArrayRef<Tensor> got) {
  float largest = 0;
  EXPECT_FALSE(reference.empty());
  EXPECT_EQ(reference.size(), got.size());
  for (size_t output = 0; output < std::min(reference.size(), got.size()); ++output) {
    EXPECT_EQ(reference[output].shape(), got[output].shape());
    if (reference[output].shape() != got[output].shape())
      continue;
    auto want = reference[output].values<float>(), have = got[output].values<float>();
    float range = 0, error = 0;
    bool isFinite = true;
    for (size_t i = 0; i < want.size(); ++i) {
      range = std::max(range, std::abs(want[i]));
      error = std::max(error, std::abs(want[i] - have[i]));
      isFinite &= std::isfinite(have[i]);
    }
    EXPECT_TRUE(isFinite) << "output " << output;
    EXPECT_LE(error, 1e-5f * range) << "output " << output << " of range " << range;
    largest = std::max(largest, range > 0 ? error / range : 0);
  }
  ::testing::Test::RecordProperty("relative_error", std::to_string(largest));
  return largest;
}

} // namespace nibble::test

#endif
