//===- KernelTest.cpp - kernels against plain loops, and refused values -------===//
#include "tests/unit/runtime/RuntimeTest.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nibble;
using namespace nibble::runtime;
using nibble::test::RuntimeTest;

namespace {

class KernelTest : public RuntimeTest {};

struct ConvCase {
  int64_t batch, channels, height, width, outChannels, kernel, stride, dilation, group, padBegin, padEnd;
};

Tensor convolve(const ConvCase &c, const Tensor &x, const Tensor &w, const Tensor &b, int64_t outHeight,
                int64_t outWidth) {
  Tensor y = Tensor::allocate(ElementType::F32, {c.batch, c.outChannels, outHeight, outWidth});
  int64_t perGroup = c.channels / c.group, outPerGroup = c.outChannels / c.group, at = 0;
  for (int64_t n = 0; n < c.batch; ++n)
    for (int64_t o = 0; o < c.outChannels; ++o)
      for (int64_t i = 0; i < outHeight; ++i)
        for (int64_t j = 0; j < outWidth; ++j, ++at) {
          double sum = static_cast<double>(b.data<float>()[o]);
          for (int64_t k = 0; k < perGroup; ++k)
            for (int64_t u = 0; u < c.kernel; ++u)
              for (int64_t v = 0; v < c.kernel; ++v) {
                int64_t row = i * c.stride - c.padBegin + u * c.dilation,
                        column = j * c.stride - c.padBegin + v * c.dilation;
                if (row < 0 || row >= c.height || column < 0 || column >= c.width)
                  continue;
                int64_t channel = o / outPerGroup * perGroup + k;
                sum += double(x.data<float>()[((n * c.channels + channel) * c.height + row) * c.width + column]) *
                       double(w.data<float>()[((o * perGroup + k) * c.kernel + u) * c.kernel + v]);
              }
          y.mutableData<float>()[at] = static_cast<float>(sum);
        }
  return y;
}

TEST_F(KernelTest, ConvolutionAgreesWithLoops) {
  const ConvCase cases[] = {
      {1, 5, 7, 9, 6, 3, 1, 1, 1, 1, 1},   {2, 8, 40, 33, 20, 3, 1, 1, 1, 1, 1}, {1, 4, 64, 64, 8, 3, 2, 1, 1, 0, 1},
      {1, 6, 35, 35, 6, 3, 1, 1, 6, 1, 1}, {2, 8, 12, 12, 12, 3, 2, 2, 2, 2, 2}, {1, 3, 34, 34, 70, 5, 3, 1, 1, 2, 2},
      {2, 9, 6, 5, 17, 1, 1, 1, 1, 0, 0},  {1, 9, 6, 5, 17, 1, 2, 1, 1, 0, 0},   {1, 4, 37, 6, 4, 3, 1, 12, 1, 12, 12}};
  for (const ConvCase &c : cases)
    for (bool isConstant : {false, true}) {
      auto outSize = [&](int64_t in) {
        return (in + c.padBegin + c.padEnd - (c.kernel - 1) * c.dilation - 1) / c.stride + 1;
      };
      int64_t h = outSize(c.height), w = outSize(c.width);
      auto type = [](llvm::ArrayRef<int64_t> shape) {
        std::string text = "tensor<";
        for (int64_t dim : shape)
          text += std::to_string(dim) + "x";
        return text + "f32>";
      };
      std::string in = type({c.batch, c.channels, c.height, c.width}), out = type({c.batch, c.outChannels, h, w});
      std::string weights = type({c.outChannels, c.channels / c.group, c.kernel, c.kernel}),
                  bias = type({c.outChannels});
      auto pair = [](int64_t a) { return "array<i64: " + std::to_string(a) + ", " + std::to_string(a) + ">"; };
      std::string b = std::to_string(c.padBegin), e = std::to_string(c.padEnd);
      // Multiplying by a constant one keeps weights an operand that is known only at run time.
      std::string body = "%r = nn.conv %x, %w, %b {strides = " + pair(c.stride) + ", dilations = " + pair(c.dilation) +
                         ", pads = array<i64: " + b + ", " + b + ", " + e + ", " + e +
                         ">, group = " + std::to_string(c.group) + "} : (" + in + ", " + weights + ", " + bias +
                         ") -> " + out;
      Tensor x = noise({c.batch, c.channels, c.height, c.width}, 1);
      Tensor k = noise({c.outChannels, c.channels / c.group, c.kernel, c.kernel}, 2), bs = noise({c.outChannels}, 3);
      Tensor expected = convolve(c, x, k, bs, h, w);
      std::vector<Tensor> results;
      if (isConstant) {
        std::string values;
        for (float value : k.values<float>())
          values += (values.empty() ? "" : ", ") + std::to_string(value);
        Tensor rounded = Tensor::allocate(ElementType::F32, k.shape());
        for (int64_t i = 0; i < k.elementCount(); ++i)
          rounded.mutableData<float>()[i] = std::stof(std::to_string(k.data<float>()[i]));
        expected = convolve(c, x, rounded, bs, h, w);
        std::string count = std::to_string(k.elementCount());
        std::string shape;
        for (int64_t dim : k.shape())
          shape += (shape.empty() ? "" : ", ") + std::to_string(dim);
        std::string constant = "%f = nn.constant(dense<[" + values + "]> : tensor<" + count + "xf32>) : tensor<" +
                               count + "xf32>\n%s = nn.constant(dense<[" + shape +
                               "]> : tensor<4xi64>) : tensor<4xi64>\n" + "%w = nn.reshape %f, %s : (tensor<" + count +
                               "xf32>, tensor<4xi64>) -> " + weights + "\n";
        results = run(parseBody("%x: " + in + ", %b: " + bias, constant + body, out), {x, bs});
      } else {
        results = run(parseBody("%x: " + in + ", %w: " + weights + ", %b: " + bias, body, out), {x, k, bs});
      }
      ASSERT_EQ(results.size(), 1u);
      expectNear(results[0], expected, 2e-5f);
    }
}

TEST_F(KernelTest, RefusesValuesThatAnOperationDoesNotAllow) {
  EXPECT_EQ(faultOf(parseBody("%x: tensor<3xf32>, %i: tensor<1xi64>",
                              "%r = nn.gather %x, %i : (tensor<3xf32>, tensor<1xi64>) -> tensor<1xf32> loc(\"pick\")",
                              "tensor<1xf32>"),
                    {floats({3}, {1, 2, 3}), integers({1}, {3})}),
            "node 'pick': gather has index 3 into a dimension of 3");
  EXPECT_EQ(faultOf(parseBody("%x: tensor<2xi64>, %i: tensor<2xi64>",
                              "%r = nn.div %x, %i : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64> loc(\"cut\")",
                              "tensor<2xi64>"),
                    {integers({2}, {1, 2}), integers({2}, {1, 0})}),
            "node 'cut': nn.div of integers divides by zero");
  EXPECT_EQ(faultOf(parseBody("%x: tensor<4xf32>, %s: tensor<1xi64>, %e: tensor<1xi64>",
                              "%r = nn.slice %x, %s, %e {operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>} : "
                              "(tensor<4xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xf32> loc(\"part\")",
                              "tensor<3xf32>"),
                    {floats({4}, {1, 2, 3, 4}), integers({1}, {2}), integers({1}, {5})}),
            "node 'part': slice takes 3 elements from 2 of a dimension of 4");
}

TEST_F(KernelTest, IntegersWrapAndDivideWithoutTraps) {
  int64_t low = std::numeric_limits<int64_t>::min();
  std::vector<Tensor> results = run(parseBody("%x: tensor<2xi64>, %y: tensor<2xi64>",
                                              "%r = nn.div %x, %y : (tensor<2xi64>, tensor<2xi64>) -> tensor<2xi64>",
                                              "tensor<2xi64>"),
                                    {integers({2}, {low, -7}), integers({2}, {-1, 2})});
  EXPECT_EQ(results[0].values<int64_t>(), (llvm::ArrayRef<int64_t>{low, -3}));
}

TEST_F(KernelTest, SoftmaxKeepsMaskedRowsFinite) {
  float masked = -std::numeric_limits<float>::infinity();
  std::vector<Tensor> results = run(parseBody("%x: tensor<2x3xf32>",
                                              "%r = nn.softmax %x : (tensor<2x3xf32>) -> tensor<2x3xf32>",
                                              "tensor<2x3xf32>"),
                                    {floats({2, 3}, {0, masked, 0, -3.4e38f, -3.4e38f, 1})});
  expectNear(results[0], floats({2, 3}, {0.5f, 0, 0.5f, 0, 0, 1}), 1e-7f);
}

/// Attention of one query position over a list of keys, as the operator's formula says.
std::vector<float> attend(const float *query, const std::vector<const float *> &keys,
                          const std::vector<const float *> &values, int64_t size, float softcap) {
  std::vector<double> weights;
  double sum = 0;
  for (const float *key : keys) {
    double score = 0;
    for (int64_t i = 0; i < size; ++i)
      score += double(query[i]) * double(key[i]);
    score /= std::sqrt(static_cast<double>(size));
    if (softcap > 0)
      score = double(softcap) * std::tanh(score / double(softcap));
    weights.push_back(std::exp(score));
    sum += weights.back();
  }
  std::vector<float> result(static_cast<size_t>(size), 0.0f);
  for (size_t k = 0; k < keys.size(); ++k)
    for (size_t i = 0; i < result.size(); ++i)
      result[i] += static_cast<float>(weights[k] / sum) * values[k][i];
  return result;
}

TEST_F(KernelTest, GroupQueryAttentionReadsThePastAndTheWindow) {
  // 4 query heads of size 8 over 2 key heads, 3 new tokens behind a past of 5 in entry 0 and 4 in entry 1.
  auto function = parseBody(
      "%q: tensor<2x3x32xf32>, %k: tensor<2x3x16xf32>, %v: tensor<2x3x16xf32>, %pk: tensor<2x2x5x8xf32>, "
      "%pv: tensor<2x2x5x8xf32>, %l: tensor<2xi32>, %t: tensor<1xi32>",
      "%r, %ok, %ov = nn.group_query_attention %q, %k, %v, %pk, %pv, %l, %t {num_heads = 4 : i64, kv_num_heads = 2 : "
      "i64, "
      "local_window_size = 4 : i64, softcap = 2.0 : f32, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0>} "
      ": "
      "(tensor<2x3x32xf32>, tensor<2x3x16xf32>, tensor<2x3x16xf32>, tensor<2x2x5x8xf32>, tensor<2x2x5x8xf32>, "
      "tensor<2xi32>, tensor<1xi32>) -> (tensor<2x3x32xf32>, tensor<2x2x8x8xf32>, tensor<2x2x8x8xf32>)",
      "tensor<2x3x32xf32>");
  Tensor q = noise({2, 3, 32}, 1), k = noise({2, 3, 16}, 2), v = noise({2, 3, 16}, 3);
  Tensor pastKey = noise({2, 2, 5, 8}, 4), pastValue = noise({2, 2, 5, 8}, 5);
  Tensor expected = Tensor::allocate(ElementType::F32, {2, 3, 32});
  for (int64_t entry = 0; entry < 2; ++entry)
    for (int64_t head = 0; head < 4; ++head)
      for (int64_t i = 0; i < 3; ++i) {
        int64_t past = entry == 0 ? 5 : 4, kvHead = head / 2;
        std::vector<const float *> keys, values;
        for (int64_t p = std::max<int64_t>(0, past + i + 1 - 4); p <= past + i; ++p) {
          auto at = [&](const Tensor &old, const Tensor &fresh) {
            return p < past ? old.data<float>() + ((entry * 2 + kvHead) * 5 + p) * 8
                            : fresh.data<float>() + (entry * 3 + p - past) * 16 + kvHead * 8;
          };
          keys.push_back(at(pastKey, k));
          values.push_back(at(pastValue, v));
        }
        std::vector<float> row = attend(q.data<float>() + (entry * 3 + i) * 32 + head * 8, keys, values, 8, 2.0f);
        std::copy(row.begin(), row.end(), expected.mutableData<float>() + (entry * 3 + i) * 32 + head * 8);
      }
  std::vector<Tensor> results =
      run(function, {q, k, v, pastKey, pastValue, Tensor::fromValues<int32_t>({2}, {7, 6}),
                     Tensor::fromValues<int32_t>({1}, {8})});
  ASSERT_EQ(results.size(), 1u);
  expectNear(results[0], expected, 1e-5f);
}

TEST_F(KernelTest, QuantizesByOneScaleAsByEqualOnes) {
  Tensor x = noise({2, 5000}, 8);
  float *values = x.mutableData<float>();
  for (int64_t i = 0; i < x.elementCount(); ++i)
    values[i] *= i % 3 ? 300.0f : 1e5f;
  // Halves on both sides of zero, infinities, NaN and what no integer holds.
  const float special[] = {0.25f, -0.25f, 0.75f, -0.75f, INFINITY, -INFINITY, NAN, 3e38f, -3e38f, -0.0f};
  std::copy(std::begin(special), std::end(special), values + 4096);
  struct Case {
    const char *type;
    int zeroPoint;
  };
  for (const Case &c : {Case{"i8", 0}, Case{"i8", -128}, Case{"ui8", 255}, Case{"ui8", 3}, Case{"i16", -32768},
                        Case{"ui16", 65535}, Case{"ui16", 32769}}) {
    auto function = [&](const char *shape) {
      std::string scale = llvm::formatv("tensor<{0}f32>", shape), zero = llvm::formatv("tensor<{0}{1}>", shape, c.type);
      std::string stored = llvm::formatv("tensor<2x5000x{0}>", c.type);
      return parseBody("%x: tensor<2x5000xf32>",
                       llvm::formatv("%s = nn.constant(dense<0.5> : {0}) : {0}\n"
                                     "%z = nn.constant(dense<{3}> : {1}) : {1}\n"
                                     "%q = nn.quantize_linear %x, %s, %z {{axis = 0 : i64} : "
                                     "(tensor<2x5000xf32>, {0}, {1}) -> {2}\n"
                                     "%r = nn.dequantize_linear %q, %s, %z {{axis = 0 : i64} : "
                                     "({2}, {0}, {1}) -> tensor<2x5000xf32>",
                                     scale, zero, stored, c.zeroPoint)
                           .str(),
                       "tensor<2x5000xf32>");
    };
    std::vector<Tensor> one = run(function(""), x), equal = run(function("2x"), x);
    ASSERT_EQ(one.size(), 1u);
    ASSERT_EQ(equal.size(), 1u);
    EXPECT_EQ(one[0].values<float>(), equal[0].values<float>()) << c.type << " " << c.zeroPoint;
    EXPECT_EQ(one[0].values<float>()[4096 + 6], 0) << "NaN takes the zero point";
  }
}

TEST_F(KernelTest, EvaluatesSingleOperations) {
  auto function =
      parseBody("%x: tensor<2x3xf32>",
                "%a = nn.constant(dense<-1> : tensor<1xi64>) : tensor<1xi64>\n"
                "%r = nn.reduce_l2 %x, %a {keepdims = false} : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<2xf32>",
                "tensor<2xf32>");
  ASSERT_TRUE(function);
  Operation *op = function.getBody().front().getTerminator()->getOperand(0).getDefiningOp();
  auto results = evaluate(op, {floats({2, 3}, {3, 4, 0, 1, 2, 2}), integers({1}, {-1})});
  ASSERT_TRUE(static_cast<bool>(results));
  expectNear((*results)[0], floats({2}, {5, 3}), 1e-6f);
}

} // namespace
