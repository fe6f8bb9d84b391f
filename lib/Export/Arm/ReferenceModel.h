//===- ReferenceModel.h - TOSA files run by Arm's reference model ----------===//
#ifndef NIBBLE_EXPORT_ARM_REFERENCEMODEL_H
#define NIBBLE_EXPORT_ARM_REFERENCEMODEL_H

#include "lib/Export/Arm/ArmTool.h"
#include "lib/Support/Tensor.h"

namespace nibble::arm {

/// Runs a TOSA file on `inputs`, in the order of the file, and returns its outputs. i48 is an I64 tensor, i1 Bool.
/// The program runs in a folder of its own under the system's temporary one, on one thread; about 0.25 G
/// multiply-accumulates and 40 M other operations take a second.
/// Errors: BadInput (not a TOSA file, or the number of inputs differs), IO, Limit (time), Unsupported: the model refuses
/// the file, or a value leaves the range that the specification allows, or it warns of anything but versions. It may
/// end well and yet warn that it could not read a constant, so every other line that it writes is a failure.
llvm::Expected<std::vector<Tensor>> runReferenceModel(const ArmTool &tool, llvm::StringRef tosaPath,
                                                      llvm::ArrayRef<Tensor> inputs, unsigned timeLimitSeconds = 3600);

} // namespace nibble::arm

#endif
