//===- Kernels.h - the kernels of TOSA operations --------------------------===//
#ifndef NIBBLE_RUNTIME_INTEGER_KERNELS_H
#define NIBBLE_RUNTIME_INTEGER_KERNELS_H

#include "lib/Runtime/Float/Kernel.h"

namespace nibble::runtime {

void registerIntegerMovementKernels(KernelRegistry &registry);
void registerIntegerIndexingKernels(KernelRegistry &registry);
void registerIntegerReductionKernels(KernelRegistry &registry);
void registerIntegerPoolingKernels(KernelRegistry &registry);
void registerIntegerResizeKernels(KernelRegistry &registry);

/// A convolution of every channel on its own. With `checked`, sums that leave the accumulator are an error.
llvm::Expected<Kernel> makeDepthwise(const NodeSpec &spec, bool checked);

/// The largest elements along `axis`.
llvm::Expected<Kernel> makeMaximumAlong(const NodeSpec &spec, int64_t axis);

/// Wraps the kernel of an operation in a check of what TOSA leaves unpredictable.
Kernel checkOperation(const NodeSpec &spec, Kernel kernel);

} // namespace nibble::runtime

#endif
