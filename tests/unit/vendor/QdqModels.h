//===- QdqModels.h - small quantized models, built in memory ----------------===//
#ifndef NIBBLE_TESTS_UNIT_VENDOR_QDQMODELS_H
#define NIBBLE_TESTS_UNIT_VENDOR_QDQMODELS_H

#include "lib/Export/Vendor/OnnxRuntime.h"
#include <optional>
#include <string>

namespace nibble::test {

/// A 3x3 convolution of uint8 [1,4,8,8] to uint8 [1,8,8,8], int8 weights per channel, int32 bias, in
/// QDQ form with integer input "x" and output "y". `unaryOperator`, if not empty, is applied to the
/// result by node "<operator>_node", with its own Q and DQ, and rounded to steps of `unaryScale`; the output is
/// then "z". With `misreadByHtp` the weights have one scale and the bias one per channel: the same function,
/// which the vendor's library accepts and computes wrongly.
constexpr float convInputScale = 0.02f, convOutputScale = 0.05f;
std::string makeConvModel(const std::string &unaryOperator = "", bool misreadByHtp = false,
                          float unaryScale = convOutputScale);
/// Zero points of makeConvModel.
constexpr int convInputZeroPoint = 128, convOutputZeroPoint = 120;

/// A deterministic input of makeConvModel.
Tensor makeConvInput();

/// The libraries, or nothing where they are not installed.
std::optional<vendor::VendorLibraries> librariesOrNone(bool withQnn);

} // namespace nibble::test

#endif
