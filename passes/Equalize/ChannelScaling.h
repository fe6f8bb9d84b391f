//===- ChannelScaling.h - dividing channels in one place and multiplying in another ---===//
#ifndef NIBBLE_PASSES_EQUALIZE_CHANNELSCALING_H
#define NIBBLE_PASSES_EQUALIZE_CHANNELSCALING_H

#include "passes/Equalize/ChannelFlow.h"
#include "passes/Equalize/ConstantEdits.h"

namespace nibble {

/// Whether the channels that `layer` makes can be divided: its bias is absent or constant.
bool canDivide(const LinearLayer &layer);

/// Divides the channels that a layer or norm makes, in its own constants, by `scales`.
void divideChannels(ConstantEdits &edits, const LinearLayer &layer, llvm::ArrayRef<float> scales);
void divideChannels(ConstantEdits &edits, const NormLayer &norm, llvm::ArrayRef<float> scales);

/// The other half: divides constants that are added on the way and multiplies the weights of all readers.
void multiplyReaders(ConstantEdits &edits, const ChannelFlow &flow, llvm::ArrayRef<float> scales);

/// The values of `reader`'s channels, per input.
std::vector<float> valuesPerInput(const ChannelReader &reader, llvm::ArrayRef<float> values);

} // namespace nibble

#endif
