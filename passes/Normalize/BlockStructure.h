//===- BlockStructure.h - what makes two blocks the same -------------------===//
#ifndef NIBBLE_PASSES_NORMALIZE_BLOCKSTRUCTURE_H
#define NIBBLE_PASSES_NORMALIZE_BLOCKSTRUCTURE_H

#include "mlir/IR/Block.h"
#include <string>

namespace nibble {

/// The first 16 hex digits of a SHA-256 over operators, types, attributes and the flow of values in the
/// body of an nn.block. Integer constants count, as they are shapes, axes and bounds of slices; float
/// constants count by their type only, and names not at all.
std::string hashBlockStructure(mlir::Block &body);

} // namespace nibble

#endif
