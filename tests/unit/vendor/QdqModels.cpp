#include "tests/unit/vendor/QdqModels.h"

#include <onnx/onnx_pb.h>

namespace nibble::test {

namespace {
/// Writes ModelProto by hand, so that the tests of this library need no exporter.
class ModelBuilder {
public:
  ModelBuilder() {
    model.set_ir_version(10);
    auto *opset = model.add_opset_import();
    opset->set_domain("");
    opset->set_version(21);
    model.mutable_graph()->set_name("test");
  }
  void io(bool input, const std::string &name, std::initializer_list<int64_t> shape) {
    auto *info = input ? model.mutable_graph()->add_input() : model.mutable_graph()->add_output();
    info->set_name(name);
    auto *type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::UINT8);
    for (int64_t dim : shape)
      type->mutable_shape()->add_dim()->set_dim_value(dim);
  }
  template <typename T>
  void constant(const std::string &name, int type, std::initializer_list<int64_t> shape, const std::vector<T> &values) {
    auto *tensor = model.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (int64_t dim : shape)
      tensor->add_dims(dim);
    tensor->set_raw_data(values.data(), values.size() * sizeof(T));
  }
  onnx::NodeProto &node(const std::string &type, const std::string &name, std::initializer_list<std::string> inputs,
                        const std::string &output) {
    auto *node = model.mutable_graph()->add_node();
    node->set_op_type(type);
    node->set_name(name);
    for (const std::string &input : inputs)
      node->add_input(input);
    node->add_output(output);
    return *node;
  }
  std::string serialize() const { return model.SerializeAsString(); }

private:
  onnx::ModelProto model;
};

onnx::AttributeProto &addAttribute(onnx::NodeProto &node, const std::string &name,
                                   onnx::AttributeProto::AttributeType type) {
  auto *attribute = node.add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return *attribute;
}
} // namespace

/// A repeatable sequence of small integers in [0, modulus).
static int pseudoRandom(int index, int modulus) {
  return static_cast<int>((static_cast<uint32_t>(index) * 2654435761u >> 8) % static_cast<uint32_t>(modulus));
}

std::string makeConvModel(const std::string &unaryOperator, bool misreadByHtp, float unaryScale) {
  using onnx::TensorProto;
  constexpr int outputs = 8, inputs = 4;
  std::vector<int8_t> weight(outputs * inputs * 9);
  for (size_t i = 0; i < weight.size(); ++i)
    weight[i] = static_cast<int8_t>(pseudoRandom(static_cast<int>(i), 255) - 127);
  std::vector<int32_t> bias(outputs);
  for (int i = 0; i < outputs; ++i)
    bias[static_cast<size_t>(i)] = i * 100 - 350;

  ModelBuilder builder;
  builder.io(true, "x", {1, 4, 8, 8});
  builder.io(false, unaryOperator.empty() ? "y" : "z", {1, 8, 8, 8});
  builder.constant<float>("xs", TensorProto::FLOAT, {}, {convInputScale});
  builder.constant<uint8_t>("xz", TensorProto::UINT8, {}, {convInputZeroPoint});
  builder.constant("w", TensorProto::INT8, {outputs, inputs, 3, 3}, weight);
  if (misreadByHtp) {
    builder.constant<float>("ws", TensorProto::FLOAT, {}, {0.01f});
    builder.constant<int8_t>("wz", TensorProto::INT8, {}, {0});
  } else {
    builder.constant("ws", TensorProto::FLOAT, {outputs}, std::vector<float>(outputs, 0.01f));
    builder.constant("wz", TensorProto::INT8, {outputs}, std::vector<int8_t>(outputs, 0));
  }
  builder.constant("b", TensorProto::INT32, {outputs}, bias);
  builder.constant("bs", TensorProto::FLOAT, {outputs}, std::vector<float>(outputs, convInputScale * 0.01f));
  builder.constant<float>("ys", TensorProto::FLOAT, {}, {convOutputScale});
  builder.constant<uint8_t>("yz", TensorProto::UINT8, {}, {convOutputZeroPoint});
  builder.node("DequantizeLinear", "x_dq", {"x", "xs", "xz"}, "x_real");
  onnx::NodeProto &dequantizeWeight = builder.node("DequantizeLinear", "w_dq", {"w", "ws", "wz"}, "w_real");
  if (!misreadByHtp)
    addAttribute(dequantizeWeight, "axis", onnx::AttributeProto::INT).set_i(0);
  addAttribute(builder.node("DequantizeLinear", "b_dq", {"b", "bs"}, "b_real"), "axis", onnx::AttributeProto::INT)
      .set_i(0);
  onnx::NodeProto &conv = builder.node("Conv", "conv_node", {"x_real", "w_real", "b_real"}, "y_real");
  auto &pads = addAttribute(conv, "pads", onnx::AttributeProto::INTS);
  for (int i = 0; i < 4; ++i)
    pads.add_ints(1);
  builder.node("QuantizeLinear", "y_q", {"y_real", "ys", "yz"}, "y");
  if (!unaryOperator.empty()) {
    builder.node("DequantizeLinear", "y_dq", {"y", "ys", "yz"}, "y_again");
    builder.node(unaryOperator, unaryOperator + "_node", {"y_again"}, "z_real");
    builder.constant<float>("zs", TensorProto::FLOAT, {}, {unaryScale});
    builder.node("QuantizeLinear", "z_q", {"z_real", "zs", "yz"}, "z");
  }
  return builder.serialize();
}

Tensor makeConvInput() {
  Tensor input = Tensor::allocate(ElementType::U8, {1, 4, 8, 8});
  for (int i = 0; i < 256; ++i)
    input.mutableData<uint8_t>()[i] = static_cast<uint8_t>(pseudoRandom(i + 1000, 256));
  return input;
}

std::optional<vendor::VendorLibraries> librariesOrNone(bool withQnn) {
  auto libraries = vendor::findVendorLibraries("");
  if (!libraries) {
    llvm::consumeError(libraries.takeError());
    return std::nullopt;
  }
  if (withQnn && libraries->qnnFolder.empty())
    return std::nullopt;
  return *libraries;
}

} // namespace nibble::test
