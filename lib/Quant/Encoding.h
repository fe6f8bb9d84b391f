//===- Encoding.h - how reals are stored as integers -----------------------===//
//
// real = scale * (q - zero_point); q = clamp(round_half_even(real / scale) + zero_point), as ONNX
// QuantizeLinear and DequantizeLinear. See docs/spec/numerics.md.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_QUANT_ENCODING_H
#define NIBBLE_QUANT_ENCODING_H

#include "lib/Support/Tensor.h"
#include "llvm/Support/Error.h"
#include <optional>
#include <vector>

namespace nibble::quant {

enum class EncodingKind : uint8_t { Uniform, LPBQ, Palette };
/// What has a scale of its own: the tensor, an index of an axis, a block along an axis, or a block in two levels.
enum class Granularity { Tensor, Axis, Block, LPBQ };

/// The value-level form of an `nn.quantizer`: per tensor (no axis), per index of `axis` (no blockSize),
/// or per block of `blockSize` along `axis`; block scales have the tensor's shape with dimension `axis`
/// divided by blockSize, rounded up, row-major.
struct Encoding {
  EncodingKind kind = EncodingKind::Uniform;
  ElementType storage = ElementType::I8;
  bool symmetric = true;
  /// The integers used, both included; inside the range of `storage`.
  int64_t quantMin = -128, quantMax = 127;
  std::optional<int64_t> axis, blockSize;
  /// LPBQ only: the axis that `scales` runs along, the first or the last of the tensor; block scale =
  /// scales[channel] * multiplier.
  std::optional<int64_t> channelAxis;
  std::vector<float> scales;
  /// Empty means all zero; otherwise as long as `scales`.
  std::vector<int32_t> zeroPoints;
  /// LPBQ only: 1..16, one per block, in the shape of block scales.
  std::vector<uint8_t> blockMultipliers;

  bool isCalibrated() const { return !scales.empty(); }
  Granularity granularity() const;
  /// The scale of every block (LPBQ: the products), row-major; for other encodings `scales`.
  std::vector<float> effectiveScales() const;
};

/// The full integer range of a storage type.
std::pair<int64_t, int64_t> integerRange(ElementType storage);

/// Bits that the integers of `encoding` take where they are stored without gaps: fewer than those of the storage type
/// where few of its values are used.
unsigned usedBits(const Encoding &encoding);

/// `scale` as float, moved into the positive normal numbers.
float makeScale(double scale);

/// An encoding of all integers of `storage` that has no scales yet.
Encoding makeUncalibrated(ElementType storage, bool symmetric);
/// One scale and zero point for a tensor, with all integers of `storage`.
Encoding makeTensorEncoding(ElementType storage, float scale, int64_t zeroPoint);

/// An encoding whose grid covers [min, max], widened to contain 0, to within half a step at each end.
/// Symmetric: zero point 0 for signed storage and the middle for unsigned. The scale is never 0,
/// denormal or infinite; the range [0, 0] is taken as [0, 1].
Encoding makeTensorEncoding(ElementType storage, bool symmetric, float min, float max);

/// Errors: BadInput where the axis, or the number of scales, does not fit a tensor of this shape.
llvm::Error checkShape(const Encoding &encoding, llvm::ArrayRef<int64_t> shape);

/// 4-bit values, one per byte, to packed storage and back; `storage` is I4 or U4.
Tensor packNibbles(llvm::ArrayRef<int8_t> values, ElementType storage, llvm::ArrayRef<int64_t> shape);
std::vector<int8_t> unpackNibbles(const Tensor &packed);

/// Rounds float `input` to stored integers (4-bit types packed). Errors: BadInput (NaN, located by index;
/// scales that do not fit the shape), Unsupported (storage type).
llvm::Expected<Tensor> quantize(const Tensor &input, const Encoding &encoding);
/// Stored integers to float32. The encoding fits the shape (checkShape).
Tensor dequantize(const Tensor &stored, const Encoding &encoding);
/// dequantize(quantize(input)) in one sweep, threaded and vectorised; `output` may be `input`. NaN
/// stays NaN. The encoding fits the shape (checkShape).
void fakeQuantize(const Tensor &input, const Encoding &encoding, Tensor &output);

} // namespace nibble::quant

#endif
