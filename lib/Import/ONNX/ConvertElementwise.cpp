// Conversions of elementwise operators.
#include "lib/Import/ONNX/NodeBuilder.h"

#include "lib/Dialect/NN/ShapeInference.h"

using namespace mlir;

namespace nibble::onnx_import {
namespace {

template <typename OpT> void unary(NodeBuilder &b) { b.setOutput(0, b.make<OpT>(b.operand(0))); }
template <typename OpT> void binary(NodeBuilder &b) { b.setOutput(0, b.make<OpT>(b.operand(0), b.operand(1))); }
template <typename OpT> void variadic(NodeBuilder &b) { b.setOutput(0, b.make<OpT>(b.allOperands())); }

/// LeakyRelu, Elu.
template <typename OpT, int DefaultPercent> void withAlpha(NodeBuilder &b) {
  b.setOutput(0, b.make<OpT>(b.operand(0), b.builder().getF32FloatAttr(b.number("alpha", DefaultPercent / 100.0f))));
}

void hardSigmoid(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::HardSigmoidOp>(b.operand(0), b.builder().getF32FloatAttr(b.number("alpha", 0.2f)),
                                           b.builder().getF32FloatAttr(b.number("beta", 0.5f))));
}

void gelu(NodeBuilder &b) {
  llvm::StringRef approximate = b.text("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    b.invalid("attribute 'approximate' must be 'none' or 'tanh', but is '" + approximate + "'");
  b.setOutput(0, b.make<nn::GeluOp>(b.operand(0), b.builder().getStringAttr(approximate)));
}

void mod(NodeBuilder &b) {
  bool isFloat = isa<FloatType>(nn::elementTypeOf(b.operand(0)));
  if (isFloat && !b.flag("fmod"))
    b.invalid("attribute 'fmod' must be 1 for float inputs");
  b.setOutput(0, b.make<nn::ModOp>(b.operand(0), b.operand(1), b.builder().getBoolAttr(b.flag("fmod"))));
}

void clip(NodeBuilder &b) { b.setOutput(0, b.make<nn::ClipOp>(b.operand(0), b.operand(1), b.operand(2))); }

void where(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::WhereOp>(b.operand(0), b.operand(1), b.operand(2)));
}

void cast(NodeBuilder &b) {
  auto dataType = static_cast<int32_t>(b.integer("to", 0));
  std::optional<ElementType> to = toElementType(dataType);
  if (!to || *to == ElementType::F16 || *to == ElementType::BF16)
    return b.unsupported("casts to " + dataTypeName(dataType) + " are not supported",
                         "export the model in float32");
  b.setOutput(0, b.make<nn::CastOp>(b.operand(0), TypeAttr::get(nn::toMLIRType(b.context(), *to))));
}

void castLike(NodeBuilder &b) {
  b.setOutput(0, b.make<nn::CastOp>(b.operand(0), TypeAttr::get(nn::elementTypeOf(b.operand(1)))));
}

/// The value stays, under the name of the input.
void removed(NodeBuilder &b) { b.setOutput(0, b.operand(0)); }

void dropout(NodeBuilder &b) {
  if (b.isUsed(1))
    return b.unsupported("the mask output is used", "export the model for inference");
  if (Value training = b.operand(2)) {
    std::optional<SmallVector<int64_t>> value = nn::readConstantIntegers(training);
    if (!value || value->size() != 1 || value->front() != 0)
      return b.unsupported("training_mode is not constant false", "export the model for inference");
  }
  removed(b);
}

/// Sum and Mean of any number of tensors as a chain of additions.
void sum(NodeBuilder &b) {
  bool isMean = b.node().op_type() == "Mean";
  Value total = b.operand(0);
  unsigned count = b.allOperands().size();
  for (unsigned i = 1; i < count; ++i) {
    bool isLast = i + 1 == count && !isMean;
    total = isLast ? b.make<nn::AddOp>(total, b.operand(i)).getResult()
                   : b.makeStep<nn::AddOp>("sum" + std::to_string(i), total, b.operand(i)).getResult();
  }
  if (isMean)
    total = b.make<nn::DivOp>(total, b.scalarConstant("count", count, total));
  b.setOutput(0, total);
}

} // namespace

void addElementwiseConversions(ConversionTable &table) {
  table["Abs"] = unary<nn::AbsOp>;
  table["Neg"] = unary<nn::NegOp>;
  table["Exp"] = unary<nn::ExpOp>;
  table["Log"] = unary<nn::LogOp>;
  table["Sqrt"] = unary<nn::SqrtOp>;
  table["Reciprocal"] = unary<nn::ReciprocalOp>;
  table["Sin"] = unary<nn::SinOp>;
  table["Cos"] = unary<nn::CosOp>;
  table["Tanh"] = unary<nn::TanhOp>;
  table["Sigmoid"] = unary<nn::SigmoidOp>;
  table["Erf"] = unary<nn::ErfOp>;
  table["Relu"] = unary<nn::ReluOp>;
  table["Softplus"] = unary<nn::SoftplusOp>;
  table["Softsign"] = unary<nn::SoftsignOp>;
  table["HardSwish"] = unary<nn::HardSwishOp>;
  table["Mish"] = unary<nn::MishOp>;
  table["Floor"] = unary<nn::FloorOp>;
  table["Ceil"] = unary<nn::CeilOp>;
  table["Round"] = unary<nn::RoundOp>;
  table["Sign"] = unary<nn::SignOp>;
  table["Not"] = unary<nn::NotOp>;
  table["IsNaN"] = unary<nn::IsNaNOp>;
  table["LeakyRelu"] = withAlpha<nn::LeakyReluOp, 1>;
  table["Elu"] = withAlpha<nn::EluOp, 100>;
  table["HardSigmoid"] = hardSigmoid;
  table["Gelu"] = gelu;
  table["PRelu"] = binary<nn::PReluOp>;
  table["Add"] = binary<nn::AddOp>;
  table["Sub"] = binary<nn::SubOp>;
  table["Mul"] = binary<nn::MulOp>;
  table["Div"] = binary<nn::DivOp>;
  table["Pow"] = binary<nn::PowOp>;
  table["Mod"] = mod;
  table["Max"] = variadic<nn::MaxOp>;
  table["Min"] = variadic<nn::MinOp>;
  table["Sum"] = sum;
  table["Mean"] = sum;
  table["Equal"] = binary<nn::EqualOp>;
  table["Less"] = binary<nn::LessOp>;
  table["LessOrEqual"] = binary<nn::LessOrEqualOp>;
  table["Greater"] = binary<nn::GreaterOp>;
  table["GreaterOrEqual"] = binary<nn::GreaterOrEqualOp>;
  table["And"] = binary<nn::AndOp>;
  table["Or"] = binary<nn::OrOp>;
  table["Xor"] = binary<nn::XorOp>;
  table["Clip"] = clip;
  table["Where"] = where;
  table["Cast"] = cast;
  table["CastLike"] = castLike;
  table["Identity"] = removed;
  table["Dropout"] = dropout;
}

} // namespace nibble::onnx_import
