//===- RuntimeTest.h - nn text to results ----------------------------------===//
#ifndef NIBBLE_TESTS_UNIT_RUNTIME_RUNTIMETEST_H
#define NIBBLE_TESTS_UNIT_RUNTIME_RUNTIMETEST_H

#include "lib/Runtime/Float/Interpreter.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"
#include <cmath>
#include <random>

namespace nibble::test {

class RuntimeTest : public ::testing::Test {
protected:
  RuntimeTest() { context.loadDialect<nn::NNDialect, mlir::func::FuncDialect>(); }

  /// Parses a module with a function @main, which stays alive with the test.
  mlir::func::FuncOp parse(llvm::StringRef text) {
    modules.push_back(mlir::parseSourceString<mlir::ModuleOp>(text, &context));
    EXPECT_TRUE(modules.back());
    if (!modules.back())
      return nullptr;
    return modules.back()->lookupSymbol<mlir::func::FuncOp>("main");
  }
  /// A function of `arguments` with the operations `body`, which defines %r of type `result`.
  mlir::func::FuncOp parseBody(llvm::StringRef arguments, llvm::StringRef body, llvm::StringRef result) {
    return parse(
        ("func.func @main(" + arguments + ") -> " + result + " {\n" + body + "\n return %r : " + result + "\n}").str());
  }
  std::vector<Tensor> run(mlir::func::FuncOp function, llvm::ArrayRef<Tensor> inputs,
                          runtime::ExecutionObserver *observer = nullptr) {
    auto program = runtime::Program::create(function, observer);
    if (!program) {
      ADD_FAILURE() << llvm::toString(program.takeError());
      return {};
    }
    auto results = (*program)->run(inputs);
    if (!results) {
      ADD_FAILURE() << llvm::toString(results.takeError());
      return {};
    }
    return *results;
  }
  std::string faultOf(mlir::func::FuncOp function, llvm::ArrayRef<Tensor> inputs) {
    auto program = runtime::Program::create(function);
    if (!program)
      return llvm::toString(program.takeError());
    auto results = (*program)->run(inputs);
    return results ? "none" : llvm::toString(results.takeError());
  }
  static Tensor floats(llvm::ArrayRef<int64_t> shape, std::vector<float> values) {
    return Tensor::fromValues<float>(shape, values);
  }
  static Tensor integers(llvm::ArrayRef<int64_t> shape, std::vector<int64_t> values) {
    return Tensor::fromValues<int64_t>(shape, values);
  }
  static Tensor noise(llvm::ArrayRef<int64_t> shape, unsigned seed) {
    Tensor tensor = Tensor::allocate(ElementType::F32, shape);
    std::mt19937 generator(seed);
    for (int64_t i = 0; i < tensor.elementCount(); ++i)
      tensor.mutableData<float>()[i] = static_cast<float>(generator()) / 4294967296.0f * 2 - 1;
    return tensor;
  }
  static void expectNear(const Tensor &actual, const Tensor &expected, float tolerance) {
    ASSERT_EQ(actual.shape(), expected.shape());
    for (int64_t i = 0; i < actual.elementCount(); ++i)
      ASSERT_NEAR(actual.data<float>()[i], expected.data<float>()[i], tolerance) << "element " << i;
  }

  mlir::MLIRContext context;
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> modules;
};

} // namespace nibble::test

#endif
