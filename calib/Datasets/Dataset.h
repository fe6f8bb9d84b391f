//===- Dataset.h - calibration and evaluation inputs -----------------------===//
#ifndef NIBBLE_CALIB_DATASETS_DATASET_H
#define NIBBLE_CALIB_DATASETS_DATASET_H

#include "lib/Support/Tensor.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace nibble::calib {

/// Values of named dimensions.
using Dimensions = std::map<std::string, int64_t>;

/// One input that a model expects.
struct InputSpec {
  std::string name;
  ElementType elementType;
  /// The deployed shape; -1 where a symbolic dimension is not bound.
  Shape shape;
  /// Names of the dimensions that the model leaves open, bound or not; empty where it has a number.
  std::vector<std::string> symbols;
};

/// What the user asked for: a path (folder of .npz/.npy, one .npz, one .npy), `input=path`, or `random:N`.
///
/// - A .npz holds one sample, or arrays with one more, leading dimension that counts samples.
/// - A .npy fills one input: the one named in `input=FILE.npy` or by the file's stem inside a folder;
///   else, for a 2-D integer array, the only rank-2 integer input without a match; else the only input
///   without a match. Its rows are samples. Rows are grouped to the batch size where it is bound; a row of
///   tokens that is longer than a bound sequence length is cut into windows, without the remainder.
/// - Any other sample may have other values than the bound ones where the model leaves a dimension open; a name
///   has one value in all inputs of a sample.
/// - Several arguments that fill the same inputs follow one another; those that fill different inputs
///   are read side by side and must hold equally many samples.
/// - `random:N` makes N samples: normal floats, integers 0 and 1. Only for a first look.
struct DatasetOptions {
  std::vector<std::string> arguments;
  uint64_t seed = 0;
};

/// Samples, read one at a time. Inputs are matched by name, converted (int32 to int64, float64 to
/// float32, with a note) and completed to the shape of the sample (attention_mask, position_ids, past_*,
/// each said once).
class Dataset {
public:
  virtual ~Dataset() = default;
  /// Checks the first sample of every file against `inputs`; `note` receives one line per thing
  /// that was inferred or converted. Errors: IO, BadInput (lists expected name, dtype and shape
  /// beside what the file holds, and the nearest name; unbound dimensions give the complete `--bind`, with
  /// the values that most samples have).
  static llvm::Expected<std::unique_ptr<Dataset>> open(const DatasetOptions &options, std::vector<InputSpec> inputs,
                                                       llvm::function_ref<void(llvm::StringRef)> note);
  virtual int64_t size() const = 0;
  /// Inputs of sample `index`, in the order of the model's inputs.
  virtual llvm::Expected<std::vector<Tensor>> sample(int64_t index) = 0;
  /// The named dimensions whose value in sample `index` is not the bound one. Empty: it has the deployed shape.
  virtual Dimensions otherDimensions(int64_t index) const = 0;
  /// A name for messages: file name, and row for token files.
  virtual std::string sampleName(int64_t index) const = 0;
  /// digestOfSample of sample `index`, to find a sample that is in two sets.
  llvm::Expected<std::string> sampleDigest(int64_t index);
  virtual bool isRandom() const { return false; }
  /// Files that were read, for the manifest.
  virtual std::vector<std::string> files() const = 0;
};

/// Hex SHA-256 of the types, shapes and elements of a sample.
std::string digestOfSample(llvm::ArrayRef<Tensor> tensors);

} // namespace nibble::calib

#endif
