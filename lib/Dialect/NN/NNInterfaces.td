//===- NNInterfaces.td ---------------------------------------------*- tablegen -*-===//
#ifndef NIBBLE_DIALECT_NN_NNINTERFACES_TD
#define NIBBLE_DIALECT_NN_NNINTERFACES_TD

include "mlir/IR/OpBase.td"

def NN_ShapeInference : OpInterface<"ShapeInference"> {
  let cppNamespace = "::nibble::nn";
  let description = [{
    Computes result types from operand types, attributes and the values of constant operands. All
    operands are ranked. An operator whose operands have static shapes has static results, unless
    the shape of its result depends on data that is not constant: that dimension is then dynamic.
    Call it through `inferResultTypes` (ShapeInference.h), which checks what all operators need.
  }];
  let methods = [InterfaceMethod<
    "Appends one ranked type per result, or emits an error and fails.",
    "::llvm::LogicalResult", "inferShapes",
    (ins "::llvm::SmallVectorImpl<::mlir::RankedTensorType> &":$resultTypes)>];
  let verify = [{ return ::nibble::nn::verifyResultTypes($_op); }];
}

#endif
