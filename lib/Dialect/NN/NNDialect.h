//===- NNDialect.h - the dialect of imported models ------------------------===//
#ifndef NIBBLE_DIALECT_NN_NNDIALECT_H
#define NIBBLE_DIALECT_NN_NNDIALECT_H

#include "lib/Dialect/NN/ShapeInference.h"
#include "lib/Support/BlobStore.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "lib/Dialect/NN/NNDialect.h.inc"
#include "lib/Dialect/NN/NNEnums.h.inc"
#include "lib/Dialect/NN/NNInterfaces.h.inc"

#define GET_ATTRDEF_CLASSES
#include "lib/Dialect/NN/NNAttributes.h.inc"

#define GET_OP_CLASSES
#include "lib/Dialect/NN/NNOps.h.inc"

#endif
