//===- JoinBiases.h - matrix products with their biases ----------------------===//
#ifndef NIBBLE_PASSES_ASSIGN_JOINBIASES_H
#define NIBBLE_PASSES_ASSIGN_JOINBIASES_H

#include "passes/Assign/RecipeResolver.h"

namespace nibble {

/// Makes a Gemm of the product of a matrix with constant weights and the addition of its bias, where the recipe
/// allows it: weights in integers with at most one scale per output channel, and no settings for the product
/// that the sum does not have. The Gemm has the node name of the product and the tensor name of the sum.
/// Each join is a remark. Returns their number.
unsigned joinBiases(ResolvedQuantizers &quantizers, const Recipe &recipe);

} // namespace nibble

#endif
