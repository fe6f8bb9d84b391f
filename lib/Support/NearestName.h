//===- NearestName.h - what a mistyped name was meant to be -----------------===//
#ifndef NIBBLE_SUPPORT_NEARESTNAME_H
#define NIBBLE_SUPPORT_NEARESTNAME_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace nibble {

/// The candidate that `word` was most likely meant to be; empty where none is near.
std::string nearestName(llvm::StringRef word, llvm::ArrayRef<std::string> candidates);

} // namespace nibble

#endif
