//===- Recipe.h - how a model is to be quantized ---------------------------===//
#ifndef NIBBLE_RECIPE_RECIPE_H
#define NIBBLE_RECIPE_RECIPE_H

#include "lib/Support/Tensor.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <string>
#include <vector>

namespace nibble {

/// Where a statement stands, for diagnostics: file, line and column from 1.
struct SourcePosition {
  std::string file;
  unsigned line = 0, column = 0;
};

/// "file:line:column", or an empty string for a position that was never set.
std::string toString(const SourcePosition &position);

/// Settings for weights. Unset fields leave what an earlier rule said.
struct WeightSettings {
  /// 2, 3, 4, 8, 16; 0 leaves the weight in float.
  std::optional<unsigned> bits;
  std::optional<bool> symmetric;
  enum class Granularity { Tensor, Channel, Group, LPBQ };
  std::optional<Granularity> granularity;
  std::optional<int64_t> groupSize;
  /// "min-max", "mse" or "output-error": the second refined by the error of the layer's output.
  std::optional<std::string> scaleSearch;
  /// "nearest", "gptq", "sign-round" or "ada-round".
  std::optional<std::string> rounding;
  /// gptq: inputs with the largest moments first; FOEM's first-order term, 0 to 1.
  std::optional<bool> activationOrder;
  std::optional<double> firstOrder;
  /// Of sign-round and ada-round.
  std::optional<int64_t> iterations;
  /// Sweeps of coordinate descent after the rounding; 0 leaves it out. Whether scales are refitted in each.
  std::optional<int64_t> coordinateDescent;
  std::optional<bool> refitScales;
  /// How much of what earlier layers did to the inputs a layer makes up for, 0 to 1; needs layer-inputs: quantized.
  std::optional<double> driftCorrection;
  /// Whether biases take up the mean error of their layer's outputs.
  std::optional<bool> biasCorrection;

  /// Whether a stage looks at what layers read during calibration.
  bool readsLayerInputs() const;

  bool operator==(const WeightSettings &) const = default;
};

/// Settings for activations.
struct ActivationSettings {
  /// 8, 16; 0 leaves the edge in float.
  std::optional<unsigned> bits;
  std::optional<bool> symmetric;
  /// "min-max", "moving-average", "percentile", "mse" or "entropy".
  std::optional<std::string> observer;
  /// For the percentile observer: the share of values kept, in percent (99.99).
  std::optional<double> percentile;
  /// Share of the range added at each end, for values that calibration did not meet; 0 to 1.
  std::optional<double> headroom;
  /// Share of the range, divided by the number of samples, added at each end that reaches the extreme seen; 0 to 1.
  std::optional<double> sampleHeadroom;

  bool operator==(const ActivationSettings &) const = default;
};

/// Matches nodes or tensors; all given fields must match. Patterns are extended regular expressions for the
/// whole name; `operatorType` is ONNX's name ("MatMul"). With a tensor pattern the settings go to that tensor,
/// otherwise to the weights and results of the nodes.
struct Override {
  std::optional<std::string> nodePattern, operatorType, tensorPattern;
  /// "table": operators that look up rows of a constant table (embeddings). "output": operators whose result
  /// is a graph output, up to operators that only move data. "phase": sine, cosine, the elementwise operators
  /// between graph inputs and their argument, and these inputs.
  std::optional<std::string> role;
  WeightSettings weights;
  ActivationSettings activations;
  /// True where an override that matches nothing is no mistake.
  bool isOptional = false;
  SourcePosition position;
};

/// A recipe as resolved: defaults, then overrides in order; two overrides that set the same field of
/// the same tensor to different values are an error, as is one that matches nothing.
struct Recipe {
  std::string name, description;
  WeightSettings weights;
  ActivationSettings activations;
  std::vector<Override> overrides;
  /// Rewrites that leave the float function as it is, in the order in which they run: "fold-norm-scales",
  /// "smoothquant", "awq", "cross-layer", "rotate".
  std::vector<std::string> equalize;
  /// What layers are rounded against: their inputs in the "float" program, all at once, or in the program as
  /// "quantized" so far, block by block.
  std::optional<std::string> layerInputs;
  /// The share of 8-bit activations, 0 to 1, that get 16 bits: those whose rounding costs the output most.
  std::optional<double> widen;
  /// The files that it was read from: its own, then those of the recipes that it is based on.
  std::vector<std::string> files;

  bool isWeightOnly() const { return activations.bits.value_or(0) == 0; }
  /// Whether a rewrite chooses by what calibration shows of the values.
  bool equalizesByStatistics() const;
  /// Whether weights are rounded against what layers read during calibration.
  bool readsLayerInputs() const;

  /// Where `weights` and `activations` are stated.
  SourcePosition weightsPosition, activationsPosition;

  /// Whether `nameOrPath` names a file of the user.
  static bool isPath(llvm::StringRef nameOrPath);
  /// `nameOrPath` is a name in configs/recipes or a path that ends in .yaml. Errors: Usage (unknown
  /// name, nearest ones), BadInput (file:line:column: what is wrong, a suggestion for unknown keys).
  static llvm::Expected<Recipe> load(llvm::StringRef nameOrPath);
  /// The recipe in `text`; `file` is the name used in errors. Errors: as load.
  static llvm::Expected<Recipe> parse(llvm::StringRef text, llvm::StringRef file);
  /// Names in configs/recipes, sorted; empty where there is no configuration folder.
  static std::vector<std::string> listNames();
  /// Canonical YAML of the recipe as resolved, for the manifest.
  std::string toYAML() const;
};

/// "weights at FILE:LINE:COLUMN, activations at FILE:LINE:COLUMN", for diagnostics.
std::string describePlaces(const Recipe &recipe);

} // namespace nibble

#endif
