//===- Main.cpp - runs passes on textual IR --------------------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "passes/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tosa/IR/TosaOps.h"
#include "mlir/Dialect/Tosa/Transforms/Passes.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<nibble::nn::NNDialect, mlir::func::FuncDialect, mlir::tosa::TosaDialect>();
  nibble::registerNibblePasses();
  nibble::registerNibblePipelines();
  mlir::registerTransformsPasses();
  mlir::tosa::registerTosaAttachTargetPass();
  mlir::tosa::registerTosaValidationPass();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "Nibble's pass driver\n", registry));
}
