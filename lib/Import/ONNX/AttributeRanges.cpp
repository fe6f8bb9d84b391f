// Ranges of integer attributes. Shape arithmetic divides by strides and group counts and indexes by axes, so
// values are bounded before any of it runs.
#include "lib/Import/ONNX/Checker.h"
#include "lib/Import/ONNX/Limits.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

namespace nibble::onnx_import {

namespace {
struct Range {
  int64_t low = INT64_MIN, high = INT64_MAX;
};
} // namespace

/// Sizes fit 31 bits, so that products of two stay inside 64.
static Range rangeOf(llvm::StringRef attribute) {
  const Range positive{1, INT32_MAX}, notNegative{0, INT32_MAX}, boolean{0, 1};
  const Range axis{-limits::rank, limits::rank - 1};
  return llvm::StringSwitch<Range>(attribute)
      .Cases({"strides", "dilations", "kernel_shape", "group", "blocksize", "num_groups", "num_outputs"}, positive)
      .Cases({"num_heads", "kv_num_heads", "rotary_embedding_dim", "block_size", "K", "N"}, notNegative)
      .Cases({"output_padding", "output_shape", "split", "batch_dims"}, notNegative)
      .Cases({"pads"}, {-INT32_MAX, INT32_MAX})
      .Cases({"axis", "axes"}, axis)
      .Cases({"keepdims", "transA", "transB", "transBatchA", "transBatchB", "ceil_mode"}, boolean)
      .Cases({"count_include_pad", "select_last_index", "noop_with_empty_axes", "largest", "sorted"}, boolean)
      .Cases({"exclusive", "reverse", "upper", "allowzero", "antialias", "exclude_outside", "fmod"}, boolean)
      .Cases({"interleaved", "rotary_interleaved", "do_rotary", "training_mode", "storage_order"}, boolean)
      .Cases({"bits"}, {1, 8})
      .Cases({"perm"}, {0, limits::rank - 1})
      .Default({});
}

std::string checkAttributeRanges(const onnx::NodeProto &node) {
  if (!node.domain().empty() && node.domain() != "com.microsoft")
    return {};
  for (const onnx::AttributeProto &attribute : node.attribute()) {
    Range range = rangeOf(attribute.name());
    auto isOutside = [&](int64_t value) { return value < range.low || value > range.high; };
    llvm::SmallVector<int64_t> values(attribute.ints().begin(), attribute.ints().end());
    if (attribute.type() == onnx::AttributeProto::INT)
      values.push_back(attribute.i());
    auto bad = llvm::find_if(values, isOutside);
    if (bad != values.end())
      return "attribute '" + attribute.name() + "' must be in [" + std::to_string(range.low) + ", " +
             std::to_string(range.high) + "], but is " + std::to_string(*bad);
    if (attribute.name() == "perm") {
      llvm::sort(values);
      for (auto [index, value] : llvm::enumerate(values))
        if (value != static_cast<int64_t>(index))
          return "attribute 'perm' is not a permutation of 0 to " + std::to_string(values.size() - 1);
    }
    if (attribute.name() == "axes") {
      llvm::sort(values);
      if (std::adjacent_find(values.begin(), values.end()) != values.end())
        return "attribute 'axes' names an axis twice";
    }
  }
  return {};
}

} // namespace nibble::onnx_import
