#include "lib/Export/ONNX/Operators.h"
#include "lib/Dialect/NN/Constants.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Export/ONNX/ModelWriter.h"
#include "lib/Support/Error.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace nibble::onnx_export {

static constexpr const char *microsoftDomain = "com.microsoft";

static llvm::StringRef mnemonic(Operation *op) { return op->getName().stripDialect(); }

/// ONNX's operator type. Most are the mnemonic in CamelCase; the others are listed.
static std::string operatorType(Operation *op) {
  llvm::StringRef name = mnemonic(op);
  llvm::StringRef irregular = llvm::StringSwitch<llvm::StringRef>(name)
                                  .Case("matmul", "MatMul")
                                  .Case("prelu", "PRelu")
                                  .Case("is_nan", "IsNaN")
                                  .Case("gather_nd", "GatherND")
                                  .Case("scatter_nd", "ScatterND")
                                  .Case("rms_normalization", "SimplifiedLayerNormalization")
                                  .Default("");
  if (!irregular.empty())
    return irregular.str();
  return llvm::convertToCamelFromSnakeCase(name, /*capitalizeFirst=*/true);
}

/// Empty for ai.onnx. SimplifiedLayerNormalization is a contribution of ONNX Runtime that it registers
/// in the default domain; under com.microsoft it is unknown to it.
static llvm::StringRef domain(Operation *op) {
  return isa<nn::QuickGeluOp, nn::RotaryEmbeddingOp, nn::GroupQueryAttentionOp>(op) ? microsoftDomain : "";
}

static std::string attributeName(Operation *op, llvm::StringRef name) {
  if (name == "trans_a")
    return "transA";
  if (name == "trans_b")
    return "transB";
  if (name == "rotary_dim" && isa<nn::RotaryEmbeddingOp>(op))
    return "rotary_embedding_dim";
  return name.str();
}

static onnx::AttributeProto &newAttribute(onnx::NodeProto &node, llvm::StringRef name) {
  onnx::AttributeProto *attribute = node.add_attribute();
  attribute->set_name(name.str());
  return *attribute;
}

void addAttribute(onnx::NodeProto &node, llvm::StringRef name, int64_t value) {
  onnx::AttributeProto &attribute = newAttribute(node, name);
  attribute.set_type(onnx::AttributeProto::INT);
  attribute.set_i(value);
}

static void addAttribute(onnx::NodeProto &node, llvm::StringRef name, llvm::StringRef value) {
  onnx::AttributeProto &attribute = newAttribute(node, name);
  attribute.set_type(onnx::AttributeProto::STRING);
  attribute.set_s(value.str());
}

static llvm::Error unsupported(Operation *op, const llvm::Twine &reason) {
  return makeError(ErrorKind::Unsupported, "cannot export node '" + nn::nodeName(op) + "' (" +
                                               op->getName().getStringRef() + "): " + reason);
}

/// The ONNX attribute of the same meaning as `value`.
static llvm::Error convertAttribute(Operation *op, llvm::StringRef name, Attribute value, onnx::NodeProto &node) {
  // An enumeration is an IntegerAttr too.
  if (auto mode = dyn_cast<nn::PadModeAttr>(value)) {
    addAttribute(node, name, nn::stringifyPadMode(mode.getValue()));
  } else if (auto integer = dyn_cast<IntegerAttr>(value)) {
    bool isBool = integer.getType().isInteger(1);
    addAttribute(node, name, isBool ? int64_t(integer.getValue().getBoolValue()) : integer.getInt());
  } else if (auto number = dyn_cast<FloatAttr>(value)) {
    onnx::AttributeProto &attribute = newAttribute(node, name);
    attribute.set_type(onnx::AttributeProto::FLOAT);
    attribute.set_f(static_cast<float>(number.getValueAsDouble()));
  } else if (auto text = dyn_cast<StringAttr>(value)) {
    addAttribute(node, name, text.getValue());
  } else if (auto integers = dyn_cast<DenseI64ArrayAttr>(value)) {
    onnx::AttributeProto &attribute = newAttribute(node, name);
    attribute.set_type(onnx::AttributeProto::INTS);
    for (int64_t element : integers.asArrayRef())
      attribute.add_ints(element);
  } else if (auto type = dyn_cast<TypeAttr>(value)) {
    std::optional<ElementType> elementType = nn::toElementType(type.getValue());
    if (!elementType)
      return unsupported(op, "attribute '" + name + "' names a type that ONNX does not have");
    addAttribute(node, name, int64_t(toDataType(*elementType)));
  } else if (auto elements = dyn_cast<ElementsAttr>(value)) {
    llvm::Expected<Tensor> tensor = nn::readConstant(elements, cast<RankedTensorType>(elements.getType()));
    if (!tensor)
      return tensor.takeError();
    onnx::AttributeProto &attribute = newAttribute(node, name);
    attribute.set_type(onnx::AttributeProto::TENSOR);
    for (int64_t dimension : tensor->shape())
      attribute.mutable_t()->add_dims(dimension);
    attribute.mutable_t()->set_data_type(toDataType(tensor->elementType()));
    attribute.mutable_t()->set_raw_data(tensor->raw(), static_cast<size_t>(tensor->byteSize()));
  } else {
    return unsupported(op, "attribute '" + name + "' has no ONNX form");
  }
  return llvm::Error::success();
}

/// True for attributes that another attribute makes meaningless and that ONNX then refuses.
static bool isSuperseded(Operation *op, llvm::StringRef name) {
  if (name != "pads")
    return false;
  auto autoPad = op->getAttrOfType<StringAttr>("auto_pad");
  return autoPad && autoPad.getValue() != "NOTSET";
}

/// Operand names in ONNX's positions, with "" for absent optional ones.
static SmallVector<std::string> inputNames(Operation *op, llvm::function_ref<std::string(Value)> nameOf) {
  SmallVector<std::string> names;
  if (auto segments = op->getAttrOfType<DenseI32ArrayAttr>("operandSegmentSizes")) {
    unsigned next = 0;
    for (int32_t size : segments.asArrayRef()) {
      if (size == 0)
        names.emplace_back();
      for (int32_t i = 0; i < size; ++i)
        names.push_back(nameOf(op->getOperand(next++)));
    }
  } else {
    for (Value operand : op->getOperands())
      names.push_back(nameOf(operand));
  }
  // ONNX's second operand of Resize, the region of interest, belongs to a mode that nn does not have.
  if (isa<nn::ResizeOp>(op))
    names.insert(names.begin() + 1, std::string());
  while (!names.empty() && names.back().empty())
    names.pop_back();
  return names;
}

llvm::Error fillNode(Operation *op, llvm::function_ref<std::string(Value)> nameOf, onnx::NodeProto &node) {
  if (!isa_and_present<nn::NNDialect>(op->getDialect()) || op->getNumRegions() != 0)
    return unsupported(op, "it has no ONNX counterpart");
  node.set_op_type(operatorType(op));
  if (!domain(op).empty())
    node.set_domain(domain(op).str());
  for (std::string &name : inputNames(op, nameOf))
    node.add_input(std::move(name));
  for (NamedAttribute attribute : op->getAttrDictionary()) {
    llvm::StringRef name = attribute.getName();
    // A name with a dot belongs to another dialect's bookkeeping, not to the operation.
    if (name == "operandSegmentSizes" || name.contains('.') || isSuperseded(op, name))
      continue;
    if (llvm::Error error = convertAttribute(op, attributeName(op, name), attribute.getValue(), node))
      return error;
  }
  if (auto split = dyn_cast<nn::SplitOp>(op); split && !split.getSizes())
    addAttribute(node, "num_outputs", static_cast<int64_t>(op->getNumResults()));
  return llvm::Error::success();
}

} // namespace nibble::onnx_export
