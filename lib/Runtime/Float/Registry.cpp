//===- Registry.cpp - from operations to kernels, and single evaluations ---===//
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Runtime/Float/Kernel.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::runtime {
namespace {

const KernelRegistry &getRegistry() {
  static const KernelRegistry registry = [] {
    KernelRegistry kernels;
    registerElementwiseKernels(kernels);
    registerBinaryKernels(kernels);
    registerCastKernels(kernels);
    registerMovementKernels(kernels);
    registerIndexingKernels(kernels);
    registerGeneratorKernels(kernels);
    registerResizeKernels(kernels);
    registerMatmulKernels(kernels);
    registerEinsumKernels(kernels);
    registerConvolutionKernels(kernels);
    registerPoolingKernels(kernels);
    registerReductionKernels(kernels);
    registerNormalizationKernels(kernels);
    registerAttentionKernels(kernels);
    registerQuantizationKernels(kernels);
    return kernels;
  }();
  return registry;
}

llvm::Expected<ValueSpec> describeType(Operation *op, Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  std::string typeText;
  llvm::raw_string_ostream(typeText) << type;
  if (!tensor || !tensor.hasStaticShape())
    return makeError(ErrorKind::Unsupported, "node '" + nn::nodeName(op) + "' (" + op->getName().getStringRef() +
                                                 ") cannot run: wanted a static shape, found " + typeText);
  std::optional<ElementType> elementType = storageType(tensor.getElementType());
  if (!elementType)
    return makeError(ErrorKind::Unsupported, "node '" + nn::nodeName(op) + "' (" + op->getName().getStringRef() +
                                                 ") cannot run: no storage for elements of " + typeText);
  return ValueSpec{*elementType, Shape(tensor.getShape()), {}};
}

} // namespace

llvm::Error NodeSpec::unsupported(const llvm::Twine &reason) const {
  return makeError(ErrorKind::Unsupported,
                   "node '" + nn::nodeName(op) + "' (" + op->getName().getStringRef() + ") cannot run: " + reason);
}

std::optional<ElementType> storageType(Type type) {
  return type.isInteger(48) ? ElementType::I64 : nn::toElementType(type);
}

llvm::SmallVector<unsigned> operandPositions(Operation *op) {
  llvm::SmallVector<unsigned> positions;
  std::optional<Attribute> segments = op->getInherentAttr("operandSegmentSizes");
  if (!segments || !*segments) {
    for (unsigned i = 0; i < op->getNumOperands(); ++i)
      positions.push_back(i);
    return positions;
  }
  for (auto [position, size] : llvm::enumerate(cast<DenseI32ArrayAttr>(*segments).asArrayRef()))
    if (size)
      positions.push_back(static_cast<unsigned>(position));
  return positions;
}

llvm::Expected<NodeSpec> describeNode(Operation *op, Operation *symbolScope, llvm::ArrayRef<Tensor> constants) {
  NodeSpec spec;
  spec.op = op;
  spec.symbolScope = symbolScope;
  for (auto [index, position] : llvm::enumerate(operandPositions(op))) {
    Type type = op->getOperand(static_cast<unsigned>(index)).getType();
    const Tensor &constant = constants[index];
    llvm::Expected<ValueSpec> value = constant && !isa<RankedTensorType>(type)
                                          ? ValueSpec{constant.elementType(), Shape(constant.shape()), {}}
                                          : describeType(op, type);
    if (!value)
      return value.takeError();
    spec.operands.resize(std::max<size_t>(spec.operands.size(), position + 1));
    OperandSpec &operand = spec.operands[position];
    static_cast<ValueSpec &>(operand) = *value;
    operand.present = true;
    operand.constant = constant;
  }
  for (Type type : op->getResultTypes()) {
    llvm::Expected<ValueSpec> value = describeType(op, type);
    if (!value)
      return value.takeError();
    spec.results.push_back(*value);
  }
  return spec;
}

llvm::Expected<Kernel> makeKernel(const NodeSpec &spec) {
  auto factory = getRegistry().find(spec.op->getName().getStringRef());
  if (factory == getRegistry().end())
    return spec.unsupported("the operation has no kernel");
  return factory->second(spec);
}

llvm::Expected<llvm::SmallVector<Tensor>> evaluate(Operation *op, llvm::ArrayRef<Tensor> operands) {
  // The actual operands, without the empty tensors of absent ones.
  llvm::SmallVector<Tensor> actual;
  llvm::copy_if(operands, std::back_inserter(actual), [](const Tensor &tensor) { return static_cast<bool>(tensor); });
  if (actual.size() != op->getNumOperands())
    return makeError(ErrorKind::Internal, "node '" + nn::nodeName(op) + "' has " + llvm::Twine(op->getNumOperands()) +
                                              " operands, but " + llvm::Twine(actual.size()) + " are given");
  llvm::Expected<NodeSpec> spec = describeNode(op, op, actual);
  if (!spec)
    return spec.takeError();
  llvm::Expected<Kernel> kernel = makeKernel(*spec);
  if (!kernel)
    return kernel.takeError();
  if (kernel->isView)
    return llvm::SmallVector<Tensor>{actual[0].reshaped(spec->results[0].shape)};
  llvm::SmallVector<Tensor> placed(spec->operands.size()), results;
  for (auto [index, position] : llvm::enumerate(operandPositions(op)))
    placed[position] = actual[index];
  for (const ValueSpec &result : spec->results)
    results.push_back(Tensor::allocate(result.type, result.shape));
  if (llvm::Error error = kernel->run(placed, results))
    return std::move(error);
  return results;
}

} // namespace nibble::runtime
