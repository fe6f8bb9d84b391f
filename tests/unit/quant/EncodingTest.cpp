//===- EncodingTest.cpp - rounding against a naive version -------------------===//
#include "lib/Quant/Encoding.h"
#include "lib/Support/Error.h"
#include "tests/unit/quant/TestUtilities.h"

#include "gtest/gtest.h"
#include <cmath>
#include <limits>

using namespace nibble;
using namespace nibble::quant;

namespace {

/// Index into the scales of element `index`, from the definition of the granularities.
size_t scaleIndex(const Encoding &encoding, llvm::ArrayRef<int64_t> shape, int64_t index) {
  if (!encoding.axis)
    return 0;
  llvm::SmallVector<int64_t> position(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    position[i] = index % shape[i];
    index /= shape[i];
  }
  size_t axis = static_cast<size_t>(*encoding.axis);
  if (!encoding.blockSize)
    return static_cast<size_t>(position[axis]);
  int64_t flat = 0;
  for (size_t i = 0; i < shape.size(); ++i) {
    bool isAxis = i == axis;
    int64_t extent = isAxis ? (shape[i] + *encoding.blockSize - 1) / *encoding.blockSize : shape[i];
    flat = flat * extent + (isAxis ? position[i] / *encoding.blockSize : position[i]);
  }
  return static_cast<size_t>(flat);
}

/// One element by ONNX's formula: the quotient in float32, the rest in integers.
int64_t naiveQuantize(float value, float scale, int64_t zeroPoint, const Encoding &encoding) {
  float quotient = std::nearbyint(value / scale);
  if (quotient > 1e9f || quotient < -1e9f)
    return quotient > 0 ? encoding.quantMax : encoding.quantMin;
  return std::clamp<int64_t>(static_cast<int64_t>(quotient) + zeroPoint, encoding.quantMin, encoding.quantMax);
}

Encoding makeEncoding(ElementType storage, std::optional<int64_t> axis, std::optional<int64_t> blockSize,
                      llvm::ArrayRef<int64_t> shape) {
  Encoding encoding;
  encoding.storage = storage;
  encoding.symmetric = false;
  std::tie(encoding.quantMin, encoding.quantMax) = integerRange(storage);
  encoding.axis = axis;
  encoding.blockSize = blockSize;
  size_t count = 1;
  if (axis) {
    Shape blocks(shape);
    if (blockSize)
      blocks[static_cast<size_t>(*axis)] = (blocks[static_cast<size_t>(*axis)] + *blockSize - 1) / *blockSize;
    count = blockSize ? static_cast<size_t>(elementCount(blocks)) : static_cast<size_t>(shape[static_cast<size_t>(*axis)]);
  }
  double steps = static_cast<double>(encoding.quantMax - encoding.quantMin);
  for (size_t i = 0; i < count; ++i) {
    encoding.scales.push_back(static_cast<float>((6.0 + static_cast<double>(i % 5)) / steps));
    encoding.zeroPoints.push_back(
        static_cast<int32_t>((encoding.quantMin + encoding.quantMax + 1) / 2 + static_cast<int64_t>(i % 3)));
  }
  return encoding;
}

TEST(Encoding, MatchesTheNaiveVersionAtEveryGranularity) {
  llvm::SmallVector<int64_t> shape = {3, 10, 7};
  Tensor input = test::makeRandomTensor(shape, 1);
  for (ElementType storage :
       {ElementType::I4, ElementType::U4, ElementType::I8, ElementType::U8, ElementType::I16, ElementType::U16})
    for (std::optional<int64_t> axis : {std::optional<int64_t>(), std::optional<int64_t>(0), std::optional<int64_t>(1),
                                        std::optional<int64_t>(2)})
      for (std::optional<int64_t> blockSize : {std::optional<int64_t>(), std::optional<int64_t>(4)}) {
        if (blockSize && !axis)
          continue;
        SCOPED_TRACE(name(storage).str() + " axis " + std::to_string(axis.value_or(-1)) + " block " +
                     std::to_string(blockSize.value_or(0)));
        Encoding encoding = makeEncoding(storage, axis, blockSize, shape);
        llvm::Expected<Tensor> stored = quantize(input, encoding);
        ASSERT_TRUE(static_cast<bool>(stored)) << llvm::toString(stored.takeError());
        Tensor restored = dequantize(*stored, encoding);
        Tensor fake = Tensor::allocate(ElementType::F32, shape);
        fakeQuantize(input, encoding, fake);
        for (int64_t i = 0; i < input.elementCount(); ++i) {
          size_t k = scaleIndex(encoding, shape, i);
          int64_t wanted = naiveQuantize(input.data<float>()[i], encoding.scales[k], encoding.zeroPoints[k], encoding);
          ASSERT_EQ(stored->valueAsDouble(i), static_cast<double>(wanted)) << "element " << i;
          float real = static_cast<float>(wanted - encoding.zeroPoints[k]) * encoding.scales[k];
          ASSERT_EQ(restored.data<float>()[i], real) << "element " << i;
          ASSERT_EQ(fake.data<float>()[i], real) << "element " << i;
        }
      }
}

TEST(Encoding, RoundsHalfToEvenAndSaturates) {
  Encoding encoding = makeTensorEncoding(ElementType::I8, /*symmetric=*/true, -128, 0);
  ASSERT_EQ(encoding.scales[0], 1.0f);
  float infinity = std::numeric_limits<float>::infinity();
  Tensor input = Tensor::fromValues<float>({9}, {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 200, -200, infinity, -infinity});
  Tensor stored = llvm::cantFail(quantize(input, encoding));
  EXPECT_EQ(llvm::ArrayRef<int8_t>(stored.values<int8_t>()),
            llvm::ArrayRef<int8_t>({0, 2, 2, 0, -2, 127, -128, 127, -128}));
}

TEST(Encoding, FakeQuantizeWorksInPlaceAndKeepsNaN) {
  Tensor input = Tensor::fromValues<float>({3}, {std::nanf(""), 0.26f, 9.0f});
  Encoding encoding = makeTensorEncoding(ElementType::U8, /*symmetric=*/false, 0, 2.55f);
  fakeQuantize(input, encoding, input);
  EXPECT_TRUE(std::isnan(input.data<float>()[0]));
  EXPECT_NEAR(input.data<float>()[1], 0.26f, 1e-6);
  EXPECT_NEAR(input.data<float>()[2], 2.55f, 1e-6);
}

TEST(Encoding, NaNIsAnErrorThatNamesTheElement) {
  Tensor input = Tensor::fromValues<float>({3}, {0, 1, std::nanf("")});
  llvm::Expected<Tensor> stored = quantize(input, makeTensorEncoding(ElementType::I8, true, -1, 1));
  ASSERT_FALSE(static_cast<bool>(stored));
  EXPECT_EQ(llvm::toString(stored.takeError()), "element 2 is NaN, which no integer stands for");
}

TEST(Encoding, ScalesThatDoNotFitTheShapeAreAnError) {
  Encoding encoding = makeTensorEncoding(ElementType::I8, true, -1, 1);
  encoding.axis = 1;
  Tensor input = Tensor::fromValues<float>({1, 2}, {0, 1});
  EXPECT_EQ(llvm::toString(quantize(input, encoding).takeError()), "encoding has 1 scales, but the tensor takes 2");
  encoding.axis = 2;
  EXPECT_EQ(llvm::toString(quantize(input, encoding).takeError()),
            "encoding runs along axis 2, but the tensor has rank 2");
}

TEST(Encoding, FourBitValuesArePackedLowNibbleFirst) {
  Tensor input = Tensor::fromValues<float>({3}, {-8, 7, -1});
  Tensor stored = llvm::cantFail(quantize(input, makeTensorEncoding(ElementType::I4, true, -8, 7)));
  ASSERT_EQ(stored.byteSize(), 2);
  const auto *bytes = static_cast<const uint8_t *>(stored.raw());
  EXPECT_EQ(bytes[0], 0x78);
  EXPECT_EQ(bytes[1], 0x0f);
  EXPECT_EQ(unpackNibbles(stored), (std::vector<int8_t>{-8, 7, -1}));
}

TEST(Encoding, ThirtyTwoBitStorageKeepsLargeIntegers) {
  Encoding encoding = makeTensorEncoding(ElementType::I32, true, -1, 1);
  encoding.scales = {std::ldexp(1.0f, -20)};
  Tensor input = Tensor::fromValues<float>({2}, {1000.0f, -5e6f});
  Tensor stored = llvm::cantFail(quantize(input, encoding));
  EXPECT_EQ(stored.data<int32_t>()[0], 1000 << 20);
  EXPECT_EQ(stored.data<int32_t>()[1], std::numeric_limits<int32_t>::min());
}

TEST(Encoding, LPBQMultipliesChannelScaleAndBlockMultiplier) {
  // A [4, 2] matrix in blocks of 2 rows, channels along the columns.
  Encoding encoding = makeTensorEncoding(ElementType::I4, true, -8, 7);
  encoding.kind = EncodingKind::LPBQ;
  encoding.axis = 0;
  encoding.blockSize = 2;
  encoding.channelAxis = 1;
  encoding.scales = {0.5f, 0.25f};
  encoding.blockMultipliers = {1, 2, 16, 4};
  EXPECT_EQ(encoding.effectiveScales(), (std::vector<float>{0.5f, 0.5f, 8.0f, 1.0f}));
  Tensor input = Tensor::fromValues<float>({4, 2}, {1, 1, -2, 3, 16, 3, -100, -2});
  Tensor fake = Tensor::allocate(ElementType::F32, {4, 2});
  fakeQuantize(input, encoding, fake);
  EXPECT_EQ(fake.values<float>(), llvm::ArrayRef<float>({1, 1, -2, 3, 16, 3, -64, -2}));
  encoding.channelAxis = 0;
  EXPECT_EQ(llvm::toString(quantize(input, encoding).takeError()),
            "lpbq encoding needs its channels along the first or the last axis, and its blocks along another");
}

TEST(Encoding, TensorEncodingCoversTheRange) {
  for (ElementType storage : {ElementType::I8, ElementType::U8, ElementType::I16, ElementType::U16})
    for (bool symmetric : {false, true})
      for (auto [low, high] : {std::pair(-3.0f, 5.0f), std::pair(-5.0f, 3.0f), std::pair(1.0f, 2.0f),
                               std::pair(-2.0f, -1.0f), std::pair(0.0f, 0.0f), std::pair(-3e38f, 3e38f),
                               std::pair(-1e-44f, 1e-44f)}) {
        Encoding encoding = makeTensorEncoding(storage, symmetric, low, high);
        double scale = encoding.scales[0], zero = encoding.zeroPoints.empty() ? 0 : encoding.zeroPoints[0];
        ASSERT_TRUE(std::isnormal(encoding.scales[0]));
        // Half a step for the rounded zero point; the float32 scale itself is off by 2^-24 of the whole range.
        double slack = ((symmetric ? 0 : 0.5) + 0.01) * scale;
        EXPECT_LE(scale * (static_cast<double>(encoding.quantMin) - zero), std::min(0.0f, low) + slack);
        EXPECT_GE(scale * (static_cast<double>(encoding.quantMax) - zero), std::max(0.0f, high) - slack);
        if (symmetric)
          EXPECT_EQ(zero, encoding.quantMin == 0 ? (encoding.quantMax + 1) / 2 : 0);
      }
}

} // namespace
