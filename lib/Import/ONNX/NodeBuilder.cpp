#include "lib/Import/ONNX/NodeBuilder.h"
#include "lib/Dialect/NN/Names.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "lib/Import/ONNX/Limits.h"
#include "lib/Support/Error.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nibble::onnx_import {

NodeBuilder::NodeBuilder(OpBuilder &builder, ModuleOp module, const CheckedModel &model, const onnx::NodeProto &node,
                         SmallVector<Value> operands, SmallVector<bool> usedOutputs)
    : opBuilder(builder), moduleOp(module), model(model), proto(node), operands(std::move(operands)),
      usedOutputs(std::move(usedOutputs)), outputs(static_cast<size_t>(node.output_size())) {}

const onnx::AttributeProto *NodeBuilder::find(llvm::StringRef attribute) const {
  auto it = llvm::find_if(proto.attribute(), [&](const onnx::AttributeProto &a) { return a.name() == attribute; });
  return it == proto.attribute().end() ? nullptr : &*it;
}

int64_t NodeBuilder::integer(llvm::StringRef attribute, int64_t whenAbsent) const {
  const onnx::AttributeProto *found = find(attribute);
  return found ? found->i() : whenAbsent;
}

float NodeBuilder::number(llvm::StringRef attribute, float whenAbsent) const {
  const onnx::AttributeProto *found = find(attribute);
  return found ? found->f() : whenAbsent;
}

llvm::StringRef NodeBuilder::text(llvm::StringRef attribute, llvm::StringRef whenAbsent) const {
  const onnx::AttributeProto *found = find(attribute);
  return found ? llvm::StringRef(found->s()) : whenAbsent;
}

SmallVector<int64_t> NodeBuilder::integers(llvm::StringRef attribute) const {
  const onnx::AttributeProto *found = find(attribute);
  return found ? SmallVector<int64_t>(found->ints().begin(), found->ints().end()) : SmallVector<int64_t>();
}

SmallVector<float> NodeBuilder::numbers(llvm::StringRef attribute) const {
  const onnx::AttributeProto *found = find(attribute);
  return found ? SmallVector<float>(found->floats().begin(), found->floats().end()) : SmallVector<float>();
}

/// Unnamed nodes go by the tensor that they make.
static llvm::StringRef nameOf(const onnx::NodeProto &node) {
  if (!node.name().empty())
    return node.name();
  for (const std::string &output : node.output())
    if (!output.empty())
      return output;
  return node.op_type();
}

Location NodeBuilder::location() const {
  SmallVector<llvm::StringRef> tensors(proto.output().begin(), proto.output().end());
  return nn::makeLocation(opBuilder.getContext(), nameOf(proto), tensors);
}

Location NodeBuilder::location(llvm::StringRef suffix) const {
  std::string tensor = (proto.output_size() ? proto.output(0) : std::string()) + "/" + suffix.str();
  return nn::makeLocation(opBuilder.getContext(), (nameOf(proto) + "/" + suffix).str(), {llvm::StringRef(tensor)});
}

Location NodeBuilder::outputLocation(llvm::StringRef suffix, unsigned index) const {
  return nn::makeLocation(opBuilder.getContext(), (nameOf(proto) + "/" + suffix).str(),
                          {llvm::StringRef(proto.output(static_cast<int>(index)))});
}

Value NodeBuilder::scalarConstant(llvm::StringRef suffix, double value, Value like) {
  Type element = nn::elementTypeOf(like);
  auto type = RankedTensorType::get({}, element);
  return nn::ConstantOp::create(opBuilder, location(suffix), type,
                                DenseElementsAttr::get(type, opBuilder.getFloatAttr(element, value).getValue()));
}

llvm::Expected<Value> makeConstant(OpBuilder &builder, Location location, const CheckedTensor &tensor,
                                   llvm::StringRef what) {
  std::optional<ElementType> type = toElementType(tensor.dataType);
  // Booleans are looked at one by one: a byte other than 0 and 1 has no meaning.
  if (!tensor.mapped || tensor.byteSize <= nn::inlineLimitBytes || !type || *type == ElementType::Bool) {
    llvm::Expected<Tensor> values = readTensor(tensor, what);
    if (!values)
      return values.takeError();
    llvm::Expected<nn::ConstantOp> op = nn::createConstant(builder, location, *values);
    if (!op)
      return op.takeError();
    return Value(*op);
  }
  const MappedBytes &bytes = *tensor.mapped;
  MLIRContext *context = builder.getContext();
  context->getLoadedDialect<nn::NNDialect>()->getBlobStore().addFile(bytes.file->path(), bytes.file);
  auto resultType = RankedTensorType::get(tensor.shape, nn::toMLIRType(context, *type));
  auto blob = nn::BlobAttr::get(context, bytes.file->path(), bytes.offset, bytes.size);
  return Value(nn::ConstantOp::create(builder, location, resultType, blob));
}

Value NodeBuilder::constant(const Tensor &tensor) {
  llvm::Expected<nn::ConstantOp> op = nn::createConstant(opBuilder, location(), tensor);
  if (op)
    return *op;
  fail(op.takeError());
  return {};
}

Value NodeBuilder::constant(const onnx::AttributeProto &attribute) {
  llvm::Expected<Value> value = makeConstant(opBuilder, location(), model.tensor(attribute.t()),
                                             ("'" + model.path() + "': " + describe(proto)).str());
  if (value)
    return *value;
  fail(value.takeError());
  return {};
}

std::optional<Tensor> NodeBuilder::read(const onnx::AttributeProto &attribute) {
  llvm::Expected<Tensor> values =
      readTensor(model.tensor(attribute.t()), ("'" + model.path() + "': " + describe(proto)).str());
  if (values)
    return *values;
  fail(values.takeError());
  return std::nullopt;
}

void NodeBuilder::unsupported(const llvm::Twine &reason, llvm::StringRef remedy) {
  std::vector<std::string> notes;
  if (!remedy.empty())
    notes.push_back(remedy.str());
  fail(makeError(ErrorKind::Unsupported, "'" + model.path() + "': " + describe(proto) + ": " + reason,
                 std::move(notes)));
}

void NodeBuilder::invalid(const llvm::Twine &reason) {
  fail(makeError(ErrorKind::BadInput, "'" + model.path() + "': " + describe(proto) + ": " + reason));
}

void NodeBuilder::fail(llvm::Error error) {
  if (firstError)
    llvm::consumeError(std::move(error));
  else
    firstError.emplace(std::move(error));
}

llvm::Error NodeBuilder::takeError() { return firstError ? std::move(*firstError) : llvm::Error::success(); }

/// The operand whose length is the rank of the result, or null.
static Value rankOperand(Operation *op) {
  if (isa<nn::ConstantOfShapeOp>(op))
    return op->getOperand(0);
  if (isa<nn::ReshapeOp, nn::ExpandOp, nn::TileOp, nn::UnsqueezeOp>(op))
    return op->getOperand(1);
  return {};
}

void NodeBuilder::inferTypes(Operation *op) {
  // After an error operands may have no sound type; the result is not used then.
  if (failed())
    return;
  auto failRank = [&](int64_t rank) {
    fail(makeError(ErrorKind::Limit, "'" + model.path() + "': " + describe(proto) + ": a result of rank " +
                                         llvm::Twine(rank) + " is over the limit of " + llvm::Twine(limits::rank)));
  };
  // A list may be declared far longer than any file; its result must not be made first.
  if (Value list = rankOperand(op))
    if (llvm::ArrayRef<int64_t> length = shape(list); length.size() == 1 && length[0] > limits::rank)
      return failRank(length[0]);
  std::string reason;
  ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error && reason.empty())
      reason = diagnostic.str();
    return success();
  });
  SmallVector<RankedTensorType> types;
  if (mlir::failed(nn::inferResultTypes(op, types))) {
    // A list of sizes whose length is not known leaves the rank of the result open.
    bool isOpen = llvm::any_of(op->getOperands().drop_front(), [](Value value) {
      auto type = cast<RankedTensorType>(value.getType());
      return type.getRank() == 1 && type.isDynamicDim(0) && type.getElementType().isInteger(64);
    });
    isOpen ? unsupported(reason, "bind symbolic dimensions with --bind, or export with fixed shapes") : invalid(reason);
    return;
  }
  for (auto [result, type] : llvm::zip_equal(op->getResults(), types)) {
    if (type.getRank() > limits::rank)
      return failRank(type.getRank());
    result.setType(type);
  }
}

} // namespace nibble::onnx_import
