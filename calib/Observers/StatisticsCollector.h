//===- StatisticsCollector.h - statistics of a float run -------------------===//
#ifndef NIBBLE_CALIB_OBSERVERS_STATISTICSCOLLECTOR_H
#define NIBBLE_CALIB_OBSERVERS_STATISTICSCOLLECTOR_H

#include "calib/Datasets/Dataset.h"
#include "calib/Observers/TensorObserver.h"
#include "lib/Runtime/Float/Interpreter.h"
#include "lib/Support/Progress.h"
#include "llvm/ADT/DenseMap.h"

namespace nibble::calib {

/// Collects statistics of every float32 tensor that has an ONNX name, except constants. Several
/// programs, for samples of several shapes, may share one collector, one after the other.
class StatisticsCollector : public runtime::ExecutionObserver {
public:
  bool wants(mlir::Value value) override;
  void onValue(mlir::Value value, const Tensor &tensor) override;

  /// To be called before a program is made, when the one before it is gone.
  void beginProgram() { targets.clear(); }
  /// `sampleName` is what messages call the sample, `digest` the hex SHA-256 of its elements.
  void beginSample(llvm::StringRef sampleName, std::string digest);
  /// Errors: BadInput where a tensor of the sample held a NaN, or an input of the model an infinity.
  llvm::Error endSample();

  /// What was seen. `fingerprint` names the model, bindings and data that it belongs to.
  quant::Statistics finish(std::string fingerprint) const;

private:
  struct Record {
    TensorObserver observer;
    int64_t lastSample = -1;
    bool isInput = false;
  };
  std::map<std::string, Record> records;
  /// Where the values of the current program go; looked up, never iterated.
  llvm::DenseMap<mlir::Value, std::pair<const std::string *, Record *>> targets;
  int64_t currentSample = -1;
  std::string currentName, problem;
  std::vector<std::string> digests;
};

/// Runs every sample through `program`, which was made with `collector` as observer, and advances `progress`.
/// Errors: those of the dataset, the program and StatisticsCollector::endSample.
llvm::Error observeDataset(runtime::Program &program, Dataset &dataset, StatisticsCollector &collector,
                           Progress *progress = nullptr);

} // namespace nibble::calib

#endif
