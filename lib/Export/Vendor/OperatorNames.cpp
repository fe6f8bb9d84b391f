#include "lib/Export/Vendor/OperatorNames.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"

namespace nibble::vendor {

std::string operationName(llvm::StringRef operatorType) {
  // Names that do not follow from the spelling, or stand for an operation under another name.
  llvm::StringRef special = llvm::StringSwitch<llvm::StringRef>(operatorType)
                                .Case("MatMul", "matmul")
                                .Case("PRelu", "prelu")
                                .Case("RMSNormalization", "rms_normalization")
                                .Case("SimplifiedLayerNormalization", "rms_normalization")
                                .Case("TopK", "top_k")
                                .Case("GatherND", "gather_nd")
                                .Case("ScatterND", "scatter_nd")
                                .Case("LRN", "lrn")
                                .Default("");
  if (!special.empty())
    return special.str();
  std::string result;
  for (size_t i = 0; i < operatorType.size(); ++i) {
    if (i && llvm::isUpper(operatorType[i]) && !llvm::isUpper(operatorType[i - 1]))
      result += '_';
    result += llvm::toLower(operatorType[i]);
  }
  return result;
}

} // namespace nibble::vendor
