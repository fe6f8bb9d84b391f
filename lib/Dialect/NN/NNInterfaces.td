//===- NNInterfaces.td ---------------------------------------------*- tablegen -*-===//
#ifndef NIBBLE_DIALECT_NN_NNINTERFACES_TD
#define NIBBLE_DIALECT_NN_NNINTERFACES_TD

include "mlir/IR/OpBase.td"

def NN_ShapeInference : OpInterface<"ShapeInference"> {
  let cppNamespace = "::nibble::nn";
  let description = [{
    Computes result types from operand types and from the values of constant operands. An operator
    whose operands have static shapes has static results, unless its result's shape depends on data
    that is not constant; that is a failure with a diagnostic.
  }];
  let methods = [InterfaceMethod<
    "Appends one ranked type per result, or emits an error and fails.",
    "::llvm::LogicalResult", "inferShapes",
    (ins "::llvm::SmallVectorImpl<::mlir::RankedTensorType> &":$resultTypes), "",
    /*defaultImplementation=*/[{
      return $_op->emitOpError("has no shape inference");
    }]>];
}

#endif
