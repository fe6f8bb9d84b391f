#include "lib/Export/ONNX/TensorNames.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Support/Digest.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::onnx_export {

Value skipFakeQuants(Value value) {
  while (auto quantize = value.getDefiningOp<nn::FakeQuantOp>())
    value = quantize.getInput();
  return value;
}

std::string TensorNames::makeUnique(llvm::StringRef wanted) {
  std::string name = wanted.str();
  for (unsigned number = 1; !used.insert(name).second; ++number)
    name = (wanted + "_" + llvm::Twine(number)).str();
  return name;
}

/// Weights differ and can be gigabytes; what models repeat is masks and tables.
constexpr int64_t largestComparedBytes = 16 << 20;

Attribute TensorNames::findSameContent(nn::ConstantOp constant) {
  auto blob = dyn_cast<nn::BlobAttr>(constant.getValue());
  bool isStored = llvm::any_of(constant->getUsers(), [](Operation *user) { return isa<nn::DequantizeWeightOp>(user); });
  if (!blob || isStored)
    return constant.getValue();
  llvm::Expected<Tensor> tensor = nn::readConstant(constant.getResult());
  if (!tensor) {
    // Whoever writes the constant meets the error too, and reports it.
    llvm::consumeError(tensor.takeError());
    return blob;
  }
  if (tensor->byteSize() > largestComparedBytes)
    return blob;
  std::string digest = sha256({static_cast<const char *>(tensor->raw()), static_cast<size_t>(tensor->byteSize())});
  return blobsByContent.try_emplace(digest, blob).first->second;
}

void TensorNames::nameResults(Operation *op, Form form) {
  if (auto constant = dyn_cast<nn::ConstantOp>(op)) {
    auto [entry, isNew] = constantNames.try_emplace({findSameContent(constant), constant.getType()});
    if (isNew) {
      std::string wanted = nn::tensorName(constant.getResult());
      entry->second = makeUnique(wanted.empty() ? "constant" : wanted);
    }
    names[constant.getResult()] = entry->second;
    return;
  }
  if (auto quantize = dyn_cast<nn::FakeQuantOp>(op)) {
    if (!names.contains(quantize.getResult()))
      names[quantize.getResult()] =
          form == Form::Float ? of(quantize.getInput()) : makeUnique(of(quantize.getInput()) + "/dq");
    return;
  }
  if (auto dequantize = dyn_cast<nn::DequantizeWeightOp>(op)) {
    // The reals have the name of the tensor that was quantized; the integers may have one of their own.
    const std::string &stored = of(dequantize.getInput());
    std::string tensor = nn::tensorName(dequantize.getResult());
    bool hasOwnName = !tensor.empty() && tensor != stored;
    if (form == Form::Quantized) {
      names[dequantize.getResult()] = makeUnique(hasOwnName ? tensor : stored + "/dq");
      return;
    }
    // The float form does not hold the integers, so their name is free; one tensor of integers read through
    // two quantizers is two tensors of reals.
    std::string &real = realNames[{stored, dequantize.getQuantizer().str()}];
    if (real.empty())
      real = hasOwnName                                 ? makeUnique(tensor)
             : quantizedConstants.insert(stored).second ? stored
                                                        : makeUnique(stored);
    names[dequantize.getResult()] = real;
    return;
  }
  for (OpResult result : op->getResults()) {
    if (names.contains(result))
      continue;
    std::string wanted = nn::tensorName(result);
    if (wanted.empty())
      wanted = nn::nodeName(op) + "/output";
    else if (reservedOutputs.contains(wanted))
      wanted += "/float";
    names[result] = makeUnique(wanted);
  }
}

TensorNames::TensorNames(func::FuncOp function, Form form) {
  for (BlockArgument argument : function.getArguments()) {
    std::string wanted = nn::tensorName(argument);
    names[argument] = makeUnique(wanted.empty() ? "input" : wanted);
  }
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [index, value] : llvm::enumerate(terminator->getOperands())) {
    auto attribute = function.getResultAttrOfType<StringAttr>(index, nn::nameAttribute);
    std::string wanted = attribute ? attribute.str() : nn::tensorName(value);
    outputNames.push_back(makeUnique(wanted.empty() ? "output" : wanted));
    reservedOutputs.insert(outputNames.back());
    Value owner = form == Form::Float ? skipFakeQuants(value) : value;
    Operation *producer = owner.getDefiningOp();
    bool owns = producer && !isa<nn::ConstantOp, nn::DequantizeWeightOp>(producer) && !names.contains(owner);
    owners.push_back(owns);
    if (owns)
      names[owner] = outputNames.back();
  }
  for (Operation &op : function.getBody().front().without_terminator())
    nameResults(&op, form);
}

} // namespace nibble::onnx_export
