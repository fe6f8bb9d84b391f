#include "lib/Dialect/NN/NNDialect.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nibble::nn;

#include "lib/Dialect/NN/NNDialect.cpp.inc"
#include "lib/Dialect/NN/NNEnums.cpp.inc"
#include "lib/Dialect/NN/NNInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "lib/Dialect/NN/NNAttributes.cpp.inc"

void NNDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "lib/Dialect/NN/NNAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "lib/Dialect/NN/NNOps.cpp.inc"
      >();
}
