//===- Layout.h - the order of scales in encoding files ---------------------===//
#ifndef NIBBLE_EXPORT_ENCODINGS_LAYOUT_H
#define NIBBLE_EXPORT_ENCODINGS_LAYOUT_H

#include "lib/Export/Encodings/Encodings.h"

namespace nibble::encodings {

/// The shape of the block scales of `entry`, which has a block encoding.
Shape blockShape(const TensorEncoding &entry);

/// For a block encoding, the positions in the natural order of scales of the scales in version 1.0.0's order:
/// output channels, and for each its blocks. The channel axis is the one that has no blocks. Errors:
/// Unsupported where the scales differ along more than two axes.
llvm::Expected<std::vector<int64_t>> channelMajorOrder(const TensorEncoding &entry);

/// The zero point of an unsigned grid of as many bits.
int64_t unsignedZeroPoint(const quant::Encoding &encoding, size_t index);

} // namespace nibble::encodings

#endif
