#include "passes/Legalize/Legalizations.h"

namespace nibble {

static constexpr Legalization legalizations[] = {
    {"erf-gelu-to-gelu", "x * 0.5 * (1 + erf(x / sqrt(2))) with float32 values and scalar constants",
     "bounded: 4 units in the last place", "creates no value", "", populateErfGeluPatterns},
    {"tanh-gelu-to-gelu", "0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ^ 3))) with scalar constants",
     "bounded: 8 units in the last place", "creates no value", "", populateTanhGeluPatterns},
    {"group-norm-to-instance-norm", "an input of rank 3 or more and constant scale and bias",
     "bounded: 4 units in the last place of the result",
     "the normalized value by calibration; reshapes inherit", "group_normalization", populateGroupNormPatterns},
    {"finite-masks", "constants below -10000 that reach a softmax by sums, products, choices and data movement",
     "bounded: a masked probability is at most exp(mask value + score range) instead of 0",
     "creates no value; the mask's range is [mask value, 0]", "", populateFiniteMaskPatterns},
    {"remove-nan-guards", "where(is_nan(p), c, p) of a softmax p whose scores have no infinite constant",
     "exact for finite inputs", "creates no value", "", populateNaNGuardPatterns},
    {"decompose-rotary-embedding", "constant caches",
     "bounded: 2 units in the last place", "products by calibration; data movement inherits", "rotary_embedding",
     populateRotaryEmbeddingPatterns},
    {"decompose-group-query-attention",
     "constant caches where do_rotary is true, static shapes, a cache that grows by the new rows (total length = past "
     "+ sequence), and no local window beside a past",
     "bounded: as finite-masks", "scores, probabilities and products by calibration; data movement inherits",
     "group_query_attention", populateGroupQueryAttentionPatterns},
    {"einsum-to-matmul", "two operands, no repeated index inside one, and every index of an operand in the other one "
     "or in the result",
     "exact up to the order of sums", "data movement inherits", "einsum", populateEinsumPatterns},
    {"limit-rank", "a transpose of rank above 5 whose axes that stay together leave at most 5",
     "exact", "inherits", "", populateLimitRankPatterns},
    {"pad-into-conv", "a constant pad with zeros of spatial axes only, used by one convolution", "exact",
     "creates no value", "", populatePadIntoConvPatterns},
    {"matmul-operand-order", "a product whose right operand is a softmax or its transpose", "exact",
     "data movement inherits", "", populateOperandOrderPatterns},
    {"narrow-attention-operands", "a product of two 16-bit activations; applied where quantizers are placed",
     "lossy: 8-bit keys and values", "inherits", "", nullptr},
    {"widen-operators",
     "an operator that the target computes soundly only at 16 bits; applied where quantizers are placed",
     "bounded: half a step of 16 bits before the step of 8 bits", "from the statistics of the same tensors", "", nullptr},
    {"integer-norm-parameters",
     "a norm of 16-bit activations with constant scale and bias; applied where quantizers are placed",
     "lossy: a 16-bit scale, 8-bit where the target has no other, and a 32-bit bias", "the constants themselves", "", nullptr},
    {"convert-activation-width", "an edge between 8-bit and 16-bit quantizers; applied where quantizers are placed",
     "lossy: the narrower encoding", "inherits", "", nullptr},
};

llvm::ArrayRef<Legalization> getLegalizations() { return legalizations; }

} // namespace nibble
