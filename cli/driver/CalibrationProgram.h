//===- CalibrationProgram.h - the float program at another shape -----------===//
#ifndef NIBBLE_CLI_DRIVER_CALIBRATIONPROGRAM_H
#define NIBBLE_CLI_DRIVER_CALIBRATIONPROGRAM_H

#include "cli/driver/Diagnostics.h"
#include "lib/Target/Target.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <map>
#include <memory>

namespace nibble::driver {

/// The model at dimensions that calibration samples have and that are not deployed, normalized and legalized as the
/// deployed one. It has a context of its own, with which all that it holds is freed.
class CalibrationProgram {
public:
  /// Errors: those of the importer and of the passes.
  static llvm::Expected<std::unique_ptr<CalibrationProgram>>
  create(llvm::StringRef modelPath, const std::map<std::string, int64_t> &bindings, const Target &target);

  mlir::ModuleOp module() { return *program; }

private:
  CalibrationProgram();

  mlir::MLIRContext context;
  DiagnosticCollector diagnostics;
  mlir::OwningOpRef<mlir::ModuleOp> program;
};

} // namespace nibble::driver

#endif
