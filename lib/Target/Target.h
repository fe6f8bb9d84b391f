//===- Target.h - what a target can execute, as data -----------------------===//
#ifndef NIBBLE_TARGET_TARGET_H
#define NIBBLE_TARGET_TARGET_H

#include "lib/Quant/Encoding.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nibble {

/// The encoding of one operand or result in a query, without its scales.
struct EncodingClass {
  /// Empty for a float edge.
  std::optional<ElementType> storage;
  bool symmetric = false;
  using Granularity = quant::Granularity;
  Granularity granularity = Granularity::Tensor;
  int64_t blockSize = 0;
  bool isConstant = false;

  /// The class of an encoding; whether it is a constant's is left to say.
  static EncodingClass of(const quant::Encoding &encoding);
};

/// One question to `Target::legality`.
struct LegalityQuery {
  /// nn operation name without the dialect, for example "matmul".
  std::string operation;
  std::vector<EncodingClass> operands;
  EncodingClass result;
  llvm::SmallVector<llvm::SmallVector<int64_t, 6>> operandShapes;
};

struct Legality {
  enum class Kind { Native, Rewrite, Unsound, Unsupported } kind = Kind::Native;
  /// Rewrite: names of passes/Legalize patterns that would make it native. Others: empty.
  std::vector<std::string> rewrites;
  /// Unsound: what was measured. Unsupported: why.
  std::string reason;
  /// Where the statement in the target's file comes from.
  std::string evidence;
};

/// Bound on how far the target's own arithmetic may lie from the reference, in output quanta.
struct ErrorBound {
  double maximum = 1, rootMeanSquare = 1;
  std::string evidence;
};

/// A target read from configs/targets/NAME.yaml. Passes ask it; none tests its name.
class Target {
public:
  virtual ~Target() = default;
  /// Finds NAME.yaml among the installed configurations. Errors: Usage (unknown name, with the
  /// nearest ones), BadInput (malformed file, with line and column).
  static llvm::Expected<std::unique_ptr<Target>> load(llvm::StringRef name);
  static std::vector<std::string> listNames();

  std::string name, description;
  /// Which back end emits for it: "onnx" (QDQ file only, everything legal), "qnn-htp", "tosa" (a TOSA file), or "vela"
  /// (a TOSA file, compiled by Vela).
  std::string backend;
  /// Free-form values of the back end, for example soc_model, architecture, estimator_soc_model.
  std::map<std::string, std::string> backendOptions;
  /// True where activations may stay float (weight-only recipes are legal).
  bool hasFloatArithmetic = false;
  /// Whether 16-bit activations must have a symmetric encoding.
  bool symmetricInt16 = false;
  /// The integers of int4 weights, both included.
  int64_t int4Minimum = -8, int4Maximum = 7;
  /// Signed activations are stored as unsigned integers shifted by half the range.
  bool unsignedActivations = true;
  /// Names of passes/Legalize patterns that this target always wants, in order.
  std::vector<std::string> legalizations;
  /// The files that it was read from.
  std::vector<std::string> files;

  /// Whether its programs are integer programs, which a TOSA file holds.
  bool runsIntegerPrograms() const { return backend == "tosa" || backend == "vela"; }

  virtual Legality legality(const LegalityQuery &query) const = 0;
  /// The bound measured for an operation with this result storage type. `weight` is the encoding of a
  /// constant right operand or table, if the operation has one: some widths are less exact than others.
  virtual ErrorBound errorBound(llvm::StringRef operation, ElementType resultStorage,
                                const EncodingClass *weight = nullptr) const = 0;
};

} // namespace nibble

#endif
