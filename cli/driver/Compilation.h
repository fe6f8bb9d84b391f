//===- Compilation.h - the state of one compile ----------------------------===//
//
// The phases of `nibble compile`, in the order they run. Each phase is a method; what later phases
// need is a member.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_CLI_DRIVER_COMPILATION_H
#define NIBBLE_CLI_DRIVER_COMPILATION_H

#include "calib/Datasets/ShapeGroups.h"
#include "calib/Metrics/Evaluation.h"
#include "calib/Observers/StatisticsCollector.h"
#include "cli/driver/CompileOptions.h"
#include "cli/driver/Diagnostics.h"
#include "cli/driver/OutputFolder.h"
#include "lib/Export/Arm/ArmTool.h"
#include "lib/Export/TOSA/TosaFiles.h"
#include "lib/Export/Vendor/ContextIo.h"
#include "lib/Export/Vendor/HtpCheck.h"
#include "lib/Export/Vendor/OnnxRuntime.h"
#include "lib/Quant/Statistics.h"
#include "lib/Recipe/Recipe.h"
#include "lib/Report/Manifest.h"
#include "lib/Report/Report.h"
#include "lib/Support/Progress.h"
#include "lib/Target/Target.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <memory>
#include <optional>
#include <set>

namespace nibble::driver {

class LayerRuns;

class Compilation {
public:
  explicit Compilation(const CompileOptions &options);
  llvm::Error run();

private:
  llvm::Error resolve();
  llvm::Error checkOptions();
  llvm::Error readMetrics();
  llvm::Error readGates();
  llvm::Error import();
  llvm::Error normalize();
  llvm::Error openData();
  llvm::Error legalize();
  llvm::Error equalize();
  llvm::Error calibrate();
  llvm::Error widenActivations();
  llvm::Error quantize();
  llvm::Error lower();
  llvm::Error emit();
  llvm::Error emitBinary();
  /// Writes the TOSA files of `integerModule`, and the binary where the target has a compiler.
  llvm::Error emitIntegerProgram();
  llvm::Error compileForNpu(const arm::ArmTool &vela, llvm::ArrayRef<tosa_export::TosaFile> files);
  llvm::Error writeIntegerIo(llvm::StringRef modelPath, llvm::StringRef binaryPath, llvm::StringRef velaVersion);
  /// Compares the integer runtime with the TOSA reference model on a sample, block by block.
  llvm::Error checkIntegerProgram();
  llvm::Error evaluate();
  llvm::Error publish();
  /// The result of the run: gates, and what could not be written.
  llvm::Error judge();

  llvm::Error findOnnxRuntime();
  llvm::Error emitEncodings();
  llvm::Error checkMatMulNBits(llvm::ArrayRef<Tensor> sample);
  /// A sample of the deployed shape, from evaluation or else calibration data; empty where there is none.
  llvm::Expected<std::vector<Tensor>> firstSample();
  vendor::HtpSettings vendorSettings() const;
  llvm::Error checkBinary(const vendor::HtpSettings &settings);
  llvm::Error evaluateBinary(llvm::ArrayRef<std::vector<Tensor>> samples,
                             llvm::ArrayRef<std::vector<Tensor>> references);
  llvm::Error measureLayers();
  /// A sample with what the float model and the quantized program computed of it.
  struct EvaluatedSample {
    std::vector<Tensor> inputs, real, fakeQuant;
  };
  /// Compares the written files in ONNX Runtime with the quantized program.
  llvm::Error checkAgreement(llvm::ArrayRef<EvaluatedSample> evaluated);
  llvm::Error runScorer(llvm::ArrayRef<llvm::StringRef> arithmetics, int64_t samples);
  llvm::Error checkNumbers(llvm::ArrayRef<Tensor> outputs, int64_t sample);
  llvm::Error keepForScorer(llvm::StringRef arithmetic, int64_t index, llvm::ArrayRef<Tensor> outputs);
  std::string scorerFolder(llvm::StringRef arithmetic);
  void addFigures(const calib::Evaluation &evaluation, llvm::StringRef arithmetic);
  llvm::Error writeReportFiles();
  std::vector<std::string> outputNames();
  std::vector<std::string> inputNames();
  llvm::Expected<std::string> statisticsFingerprint();
  /// Whether ranges come from calibration samples that this run sees.
  bool observesSamples() const;
  llvm::Error checkShapesForEqualization();
  llvm::Expected<std::shared_ptr<calib::Dataset>> samplesForRounding();
  void reportRounding(const LayerRuns &runs);
  llvm::Error openEvaluation();
  llvm::Error holdSamplesOut();
  /// Runs the calibration samples of one shape through the legalized float program of that shape.
  llvm::Error observe(const calib::ShapeGroup &group, calib::StatisticsCollector &collector);
  llvm::Error checkUnseen(calib::Dataset &evaluation);
  llvm::Expected<std::shared_ptr<calib::Dataset>> openDataset(const std::vector<std::string> &arguments);
  void note(const llvm::Twine &text);
  /// A note that is in the report too.
  void noteAndReport(const std::string &text);
  mlir::func::FuncOp mainFunction(mlir::ModuleOp module);

  const CompileOptions &options;
  mlir::MLIRContext context;
  Progress progress;
  DiagnosticCollector diagnostics;
  std::unique_ptr<OutputFolder> output;
  /// The model file's name without folder and ending; output files are named after it.
  std::string stem;
  Recipe recipe;
  std::unique_ptr<Target> target;

  /// The program that stands for the user's model: normalized, not yet legalized. Its outputs are `fp32`.
  mlir::OwningOpRef<mlir::ModuleOp> reference;
  /// The program being compiled. Legalized float first, quantized after `quantize`.
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// The legalized float program, against which layers are compared.
  mlir::OwningOpRef<mlir::ModuleOp> legalized;

  /// The integer program; null where the target has none, or the recipe leaves values in float.
  mlir::OwningOpRef<mlir::ModuleOp> integerModule;

  std::vector<calib::InputSpec> inputs;
  /// Files with the model's external data.
  std::vector<std::string> externalFiles;
  /// Empty where there is none. Evaluation data has the deployed shape; it is a part of the calibration data where
  /// --eval is absent.
  std::shared_ptr<calib::Dataset> calibrationData, evaluationData;
  bool evaluationIsHeldOut = false;
  std::set<std::string> notesSaid;

  vendor::VendorLibraries libraries;
  bool hasOnnxRuntime = false;
  /// The vendor's binary, where one was made, or why it could not be.
  std::optional<vendor::HtpContext> htpContext;
  std::optional<IoDescription> ioDescription;
  std::vector<std::string> binaryProblem;
  /// Why ONNX Runtime was not found: message and notes.
  std::vector<std::string> runtimeProblem;

  std::vector<calib::Metric> metrics;
  std::vector<report::Gate> gates;
  report::Report report;
  report::RunRecord runRecord;
  quant::Statistics statistics;
};

} // namespace nibble::driver

#endif
