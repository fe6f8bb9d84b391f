// Schemas of the operators of ONNX Runtime that the Builder knows, in the form of ONNX's own, so that
// one Checker serves both. Inputs and attributes as in ONNX Runtime's contrib operator documentation.
#include "lib/Import/ONNX/Checker.h"

#include <mutex>
#include <onnx/defs/schema.h>

using onnx::AttributeProto;
using onnx::OpSchema;

namespace nibble::onnx_import {
namespace {

struct Parameter {
  const char *name, *type;
  bool optional = false;
};
struct AttributeRule {
  const char *name;
  AttributeProto::AttributeType type;
  bool required = false;
};

constexpr auto I = AttributeProto::INT;
constexpr auto F = AttributeProto::FLOAT;

/// Type variables: T float types, M int32, N integers of any width, B bytes, Z zero points,
/// Q stored tables.
void add(const char *domain, const char *name, std::initializer_list<Parameter> inputs,
         std::initializer_list<Parameter> outputs, std::initializer_list<AttributeRule> attributes) {
  OpSchema schema(name, __FILE__, __LINE__);
  schema.SetDomain(domain).SinceVersion(1);
  std::set<std::string> used;
  int index = 0;
  for (const Parameter &input : inputs) {
    schema.Input(index++, input.name, "", input.type, input.optional ? OpSchema::Optional : OpSchema::Single);
    used.insert(input.type);
  }
  index = 0;
  for (const Parameter &output : outputs) {
    schema.Output(index++, output.name, "", output.type, output.optional ? OpSchema::Optional : OpSchema::Single);
    used.insert(output.type);
  }
  for (const AttributeRule &attribute : attributes)
    schema.Attr(attribute.name, "", attribute.type, attribute.required);
  const std::vector<std::string> floats = {"tensor(float)", "tensor(float16)", "tensor(bfloat16)", "tensor(double)"};
  const std::map<std::string, std::vector<std::string>> types = {
      {"T", floats},
      {"M", {"tensor(int32)"}},
      {"N", {"tensor(int32)", "tensor(int64)"}},
      {"P", {"tensor(int64)"}},
      {"B", {"tensor(uint8)"}},
      {"S", {"tensor(float)"}},
      {"Q", {"tensor(int4)", "tensor(uint4)", "tensor(uint8)"}},
      {"Z", {"tensor(uint8)", "tensor(float)", "tensor(float16)", "tensor(bfloat16)"}}};
  for (const std::string &variable : used)
    schema.TypeConstraint(variable, types.at(variable), "");
  onnx::RegisterSchema(std::move(schema));
}

void addAll() {
  const char *ms = "com.microsoft";
  onnx::OpSchemaRegistry::DomainToVersionRange::Instance().AddDomainToVersion(ms, 1, 1);
  add("", "SimplifiedLayerNormalization", {{"X", "T"}, {"scale", "T"}}, {{"Y", "T"}, {"inv_std_var", "S", true}},
      {{"axis", I}, {"epsilon", F}, {"stash_type", I}});
  add(ms, "SkipLayerNormalization",
      {{"input", "T"}, {"skip", "T"}, {"gamma", "T"}, {"beta", "T", true}, {"bias", "T", true}},
      {{"output", "T"}, {"mean", "S", true}, {"inv_std_var", "S", true}, {"input_skip_bias_sum", "T", true}},
      {{"epsilon", F}});
  add(ms, "SkipSimplifiedLayerNormalization", {{"input", "T"}, {"skip", "T"}, {"gamma", "T"}, {"bias", "T", true}},
      {{"output", "T"}, {"mean", "S", true}, {"inv_std_var", "S", true}, {"input_skip_bias_sum", "T", true}},
      {{"epsilon", F}});
  add(ms, "GroupQueryAttention",
      {{"query", "T"},
       {"key", "T", true},
       {"value", "T", true},
       {"past_key", "T", true},
       {"past_value", "T", true},
       {"seqlens_k", "M"},
       {"total_sequence_length", "M"},
       {"cos_cache", "T", true},
       {"sin_cache", "T", true},
       {"position_ids", "P", true},
       {"attention_bias", "T", true},
       {"head_sink", "T", true},
       {"k_scale", "S", true},
       {"v_scale", "S", true}},
      {{"output", "T"}, {"present_key", "T", true}, {"present_value", "T", true}, {"output_qk", "T", true}},
      {{"num_heads", I, true},
       {"kv_num_heads", I, true},
       {"scale", F},
       {"do_rotary", I},
       {"rotary_interleaved", I},
       {"local_window_size", I},
       {"softcap", F},
       {"smooth_softmax", I},
       {"qk_output", I},
       {"k_quant_type", AttributeProto::STRING},
       {"v_quant_type", AttributeProto::STRING},
       {"kv_cache_bit_width", I}});
  add(ms, "RotaryEmbedding", {{"input", "T"}, {"position_ids", "P"}, {"cos_cache", "T"}, {"sin_cache", "T"}},
      {{"output", "T"}},
      {{"interleaved", I},
       {"num_heads", I},
       {"rotary_embedding_dim", I},
       {"is_packed_batching", I},
       {"scale", F}});
  add(ms, "MatMulNBits",
      {{"A", "T"},
       {"B", "B"},
       {"scales", "T"},
       {"zero_points", "Z", true},
       {"g_idx", "M", true},
       {"bias", "T", true}},
      {{"Y", "T"}},
      {{"K", I, true},
       {"N", I, true},
       {"bits", I},
       {"block_size", I, true},
       {"accuracy_level", I},
       {"weight_prepacked", I}});
  add(ms, "GatherBlockQuantized",
      {{"data", "Q"}, {"indices", "N"}, {"scales", "T"}, {"zero_points", "Q", true}}, {{"output", "T"}},
      {{"gather_axis", I}, {"quantize_axis", I}, {"block_size", I}, {"bits", I}});
  add(ms, "QuickGelu", {{"X", "T"}}, {{"Y", "T"}}, {{"alpha", F}});
  add(ms, "Gelu", {{"X", "T"}}, {{"Y", "T"}}, {});
  add(ms, "FastGelu", {{"X", "T"}, {"bias", "T", true}}, {{"Y", "T"}}, {});
  add(ms, "BiasGelu", {{"A", "T"}, {"B", "T"}}, {{"C", "T"}}, {});
  add(ms, "FusedMatMul", {{"A", "T"}, {"B", "T"}}, {{"Y", "T"}},
      {{"transA", I}, {"transB", I}, {"alpha", F}, {"transBatchA", I}, {"transBatchB", I}});
  // The quantization operators that ONNX Runtime wrote before ONNX had 4- and 16-bit types.
  for (const char *name : {"QuantizeLinear", "DequantizeLinear"}) {
    OpSchema schema(name, __FILE__, __LINE__);
    schema.SetDomain(ms).SinceVersion(1);
    bool quantizes = name[0] == 'Q';
    schema.Input(0, "x", "", quantizes ? "F" : "Q").Input(1, "scale", "", "F");
    schema.Input(2, "zero_point", "", "Q", OpSchema::Optional).Output(0, "y", "", quantizes ? "Q" : "F");
    schema.Attr("axis", "", I, false);
    schema.TypeConstraint("F", {"tensor(float)"}, "");
    schema.TypeConstraint("Q",
                          {"tensor(int4)", "tensor(uint4)", "tensor(int8)", "tensor(uint8)", "tensor(int16)",
                           "tensor(uint16)", "tensor(int32)"},
                          "");
    onnx::RegisterSchema(std::move(schema));
  }
}

} // namespace

void registerRuntimeSchemas() {
  static std::once_flag once;
  std::call_once(once, addAll);
}

} // namespace nibble::onnx_import
