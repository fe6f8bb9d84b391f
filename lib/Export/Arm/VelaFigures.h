//===- VelaFigures.h - what Vela says of a compiled network ----------------===//
#ifndef NIBBLE_EXPORT_ARM_VELAFIGURES_H
#define NIBBLE_EXPORT_ARM_VELAFIGURES_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <cstdint>
#include <string>
#include <vector>

namespace nibble::arm {

/// One operator of the NPU. Operators that were fused into another one have no row.
struct VelaOperator {
  /// The tensor of the TOSA file that it makes.
  std::string tensor;
  /// The operation in the file, as Vela names it, and what it became.
  std::string original, operation;
  /// "NPU" or "CPU".
  std::string target;
  /// Cycles of Vela's model: of the operator, and what its arithmetic alone and its traffic alone take.
  uint64_t cycles = 0, npuCycles = 0, sramCycles = 0, dramCycles = 0;
  uint64_t multiplyAccumulates = 0;
};

/// Estimates of Vela's model of the NPU and its memories for one inference, not measurements.
struct VelaFigures {
  int64_t operatorsOnNpu = 0, operatorsOnCpu = 0;
  /// The sum over operators, and what arithmetic and traffic would take alone.
  uint64_t cycles = 0, npuCycles = 0, sramCycles = 0, dramCycles = 0, flashCycles = 0;
  double clockHertz = 0, inferenceSeconds = 0;
  /// Memory that the network needs.
  uint64_t sramBytes = 0, dramBytes = 0, flashBytes = 0;
  /// Traffic of one inference.
  uint64_t sramTrafficBytes = 0, dramTrafficBytes = 0, flashTrafficBytes = 0;
  /// Weights and biases as Vela counts them, 4-bit weights as a byte each, and as the NPU's own form.
  uint64_t originalWeightBytes = 0, encodedWeightBytes = 0;
  uint64_t multiplyAccumulates = 0;
  std::vector<VelaOperator> operators;
};

/// Reads `<name>_summary_<system>.csv`, `<name>_per-layer.csv` and what Vela prints.
/// Errors: Unsupported where a figure is missing, naming it: another version writes other columns.
llvm::Expected<VelaFigures> parseVelaFigures(llvm::StringRef summaryCsv, llvm::StringRef layersCsv,
                                             llvm::StringRef printed);

} // namespace nibble::arm

#endif
