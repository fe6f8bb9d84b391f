//===- Program.cpp - the rules of integer programs -------------------------===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Runtime/Float/StepProgram.h"
#include "lib/Runtime/Integer/Elementwise.h"
#include "lib/Runtime/Integer/Interpreter.h"
#include "lib/Runtime/Integer/Kernels.h"
#include "lib/Runtime/Integer/Matrix.h"

#include "mlir/Dialect/Tosa/IR/TosaOps.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

const KernelRegistry &getRegistry() {
  static const KernelRegistry registry = [] {
    KernelRegistry kernels;
    registerIntegerMovementKernels(kernels);
    registerIntegerIndexingKernels(kernels);
    registerIntegerReductionKernels(kernels);
    registerIntegerPoolingKernels(kernels);
    registerIntegerResizeKernels(kernels);
    return kernels;
  }();
  return registry;
}

/// Elements of i48 with their sign; nn::readConstant reads all other types.
Tensor readWide(ElementsAttr elements) {
  Tensor tensor = Tensor::allocate(ElementType::I64, elements.getShapedType().getShape());
  int64_t *out = tensor.mutableData<int64_t>();
  for (const APInt &element : elements.getValues<APInt>())
    *out++ = element.getSExtValue();
  return tensor;
}

class IntegerRules : public ProgramRules {
public:
  explicit IntegerRules(IntegerOptions options) : options(options) {}

  llvm::Expected<Tensor> readConstant(Operation *op) const override {
    if (auto constant = dyn_cast<nn::ConstantOp>(op))
      return nn::readConstant(constant.getResult());
    if (auto constant = dyn_cast<tosa::ConstOp>(op)) {
      auto type = cast<RankedTensorType>(constant.getType());
      auto elements = dyn_cast<ElementsAttr>(constant.getValuesAttr());
      if (elements && type.getElementType().isInteger(48))
        return readWide(elements);
      return nn::readConstant(constant.getValuesAttr(), type);
    }
    if (auto constant = dyn_cast<tosa::ConstShapeOp>(op)) {
      llvm::SmallVector<int64_t> values;
      for (const APInt &value : constant.getValues().getValues<APInt>())
        values.push_back(value.getSExtValue());
      return Tensor::fromValues<int64_t>({static_cast<int64_t>(values.size())}, values);
    }
    return Tensor();
  }

  StepPlan planSteps(Block &block, llvm::function_ref<bool(Value)> isObserved) const override {
    // A check reads the operands of its operation, so that every operation is a step.
    StepPlan plan;
    if (options.checked)
      return plan;
    planMaxima(block, isObserved, plan);
    planMoments(block, isObserved, plan);
    planElementwise(block, isObserved, plan);
    return plan;
  }

  llvm::Expected<Kernel> makeKernel(const NodeSpec &spec) const override {
    llvm::Expected<Kernel> kernel = makeUnchecked(spec);
    if (!kernel || !options.checked)
      return kernel;
    return checkOperation(spec, std::move(*kernel));
  }

private:
  llvm::Expected<Kernel> makeUnchecked(const NodeSpec &spec) const {
    if (isElementwise(spec.op))
      return makeElementwise(spec);
    if (isMatrixOperation(spec.op))
      return makeMatrixKernel(spec, options.checked);
    if (isa<tosa::DepthwiseConv2DOp>(spec.op))
      return makeDepthwise(spec, options.checked);
    auto factory = getRegistry().find(spec.op->getName().getStringRef());
    if (factory == getRegistry().end())
      return spec.unsupported("the operation has no kernel");
    return factory->second(spec);
  }

  IntegerOptions options;
};

} // namespace

llvm::Expected<std::unique_ptr<Program>> createIntegerProgram(func::FuncOp function, ExecutionObserver *observer,
                                                              IntegerOptions options) {
  return createProgram(function, observer, IntegerRules(options));
}

llvm::Expected<std::unique_ptr<Program>> createIntegerProgram(nn::BlockOp block, ExecutionObserver *observer,
                                                              IntegerOptions options) {
  return createProgram(block.getBody().front(), block, observer, IntegerRules(options));
}

} // namespace nibble::runtime
