//===- ConstantQuantizer.h - constants to stored integers --------------------===//
#ifndef NIBBLE_PASSES_QUANTIZE_CONSTANTQUANTIZER_H
#define NIBBLE_PASSES_QUANTIZE_CONSTANTQUANTIZER_H

#include "lib/Quant/LayerMoments.h"
#include "lib/Quant/Statistics.h"
#include "lib/Quant/WeightQuantizer.h"
#include "lib/Recipe/Recipe.h"
#include "passes/Calibrate/QuantizerUses.h"

namespace nibble {

/// A weight with scales, still float.
struct ChosenWeight {
  Tensor values;
  quant::Encoding encoding;
  /// In the order of the scales: what a bias or a multiplier needs them to be at least; empty where nothing does.
  std::vector<float> minimumScales;
  /// How the scales were found, for reports.
  std::string origin;
};

/// Chooses encodings for constants and replaces each by its integers and an nn.dequantize_weight. Methods fail with a
/// diagnostic at the constant's reader.
class ConstantQuantizer {
public:
  ConstantQuantizer(QuantizerUses &uses, const quant::Statistics &statistics) : uses(uses), statistics(statistics) {}

  llvm::LogicalResult quantizeConstant(QuantizerUse &use);
  llvm::LogicalResult quantizeBias(QuantizerUse &use);

  /// Scales for a weight. Errors count by the mean square of the inputs that they are multiplied with: those of
  /// `moments` where given, otherwise those of the statistics where they hold them.
  llvm::FailureOr<ChosenWeight> chooseWeight(QuantizerUse &use, const WeightSettings &settings,
                                             const quant::LayerMoments *moments = nullptr);
  /// Replaces the float constant behind every fake_quant of `use` by the integers of `values`.
  llvm::LogicalResult store(QuantizerUse &use, const Tensor &values, const quant::Encoding &encoding,
                            const std::string &origin);
  /// Adds `correction`, one value per output channel, to the bias of `op` if it has one to which that can be done
  /// (canCorrectBias).
  llvm::LogicalResult correctBias(mlir::Operation *op, llvm::ArrayRef<float> correction);
  /// Whether `op` has a constant bias, in float, that no other operation reads.
  static bool canCorrectBias(mlir::Operation *op);

  unsigned numStored = 0, numRaised = 0;

private:
  llvm::FailureOr<Tensor> readFloats(QuantizerUse &use);
  llvm::FailureOr<quant::Encoding> readOperand(mlir::Value value);
  void addImportance(mlir::OpOperand &reader, const Tensor &weight, const quant::LayerMoments *moments,
                     quant::WeightEncodingOptions &options);
  llvm::LogicalResult boundScales(mlir::Operation *op, ChosenWeight &weight);

  QuantizerUses &uses;
  const quant::Statistics &statistics;
};

} // namespace nibble

#endif
