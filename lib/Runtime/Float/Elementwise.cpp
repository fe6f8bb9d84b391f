//===- Elementwise.cpp - operators of one operand --------------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Broadcast.h"
#include "lib/Runtime/Float/Kernel.h"

namespace nibble::runtime {

#if defined(__x86_64__)
VectorUnit detectVectorUnit() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return VectorUnit::AVX512;
  return __builtin_cpu_supports("avx2") ? VectorUnit::AVX2 : VectorUnit::Baseline;
}
#endif

namespace {

/// A kernel that maps elements of type In to type Out. `map` is inlined into vector loops.
template <class In, class Out, class Map>
Kernel mapElements(Map map, int64_t tileSize = elementwiseTile) {
  Kernel kernel;
  if constexpr (sizeof(In) == sizeof(Out))
    kernel.overwritable = {0};
  kernel.run = [map, tileSize](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    const In *in = static_cast<const In *>(operands[0].raw());
    Out *out = static_cast<Out *>(results[0].mutableRaw());
    parallelRanges(results[0].elementCount(), tileSize, [&](int64_t begin, int64_t end) {
      simd([=]() NIBBLE_INLINE {
        NIBBLE_INDEPENDENT
        for (int64_t i = begin; i < end; ++i)
          out[i] = map(in[i]);
      });
    });
    return llvm::Error::success();
  };
  return kernel;
}

/// For float functions: f32 by `single`, f64 by `wide`.
template <class Single, class Wide>
llvm::Expected<Kernel> mapFloats(const NodeSpec &spec, Single single, Wide wide, int64_t tileSize = elementwiseTile) {
  if (spec.operands[0].type == ElementType::F32)
    return mapElements<float, float>(single, tileSize);
  if (spec.operands[0].type == ElementType::F64)
    return mapElements<double, double>(wide, tileSize);
  return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 and float64 have");
}

/// Smaller tiles for functions that take several nanoseconds per element.
constexpr int64_t transcendentalTile = 8192;

#define NIBBLE_MAP(expression) [=](auto x) NIBBLE_INLINE { return expression; }

template <class Map>
llvm::Expected<Kernel> mapNumbers(const NodeSpec &spec, Map map) {
  Kernel kernel;
  if (llvm::Error error = dispatchNumeric(spec, spec.operands[0].type, [&](auto tag) {
        using T = decltype(tag);
        kernel = mapElements<T, T>([map](T x) NIBBLE_INLINE { return static_cast<T>(map(x)); });
      }))
    return std::move(error);
  return kernel;
}

llvm::Expected<Kernel> makeAbs(const NodeSpec &spec) {
  return mapNumbers(spec, [](auto x) NIBBLE_INLINE {
    if constexpr (std::is_floating_point_v<decltype(x)>)
      return std::fabs(x);
    else
      return x < 0 ? decltype(x)(0u - static_cast<uint64_t>(x)) : x;
  });
}
llvm::Expected<Kernel> makeNeg(const NodeSpec &spec) {
  return mapNumbers(spec, [](auto x) NIBBLE_INLINE {
    if constexpr (std::is_floating_point_v<decltype(x)>)
      return -x;
    else
      return decltype(x)(0u - static_cast<uint64_t>(x));
  });
}
llvm::Expected<Kernel> makeSign(const NodeSpec &spec) {
  return mapNumbers(spec, [](auto x) NIBBLE_INLINE { return x > 0 ? decltype(x)(1) : x < 0 ? decltype(x)(-1) : x; });
}
llvm::Expected<Kernel> makeRelu(const NodeSpec &spec) {
  return mapNumbers(spec, [](auto x) NIBBLE_INLINE { return x < 0 ? decltype(x)(0) : x; });
}
llvm::Expected<Kernel> makeExp(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(fastExp(x)), NIBBLE_MAP(std::exp(x)), transcendentalTile);
}
llvm::Expected<Kernel> makeLog(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(std::log(x)), NIBBLE_MAP(std::log(x)), transcendentalTile);
}
llvm::Expected<Kernel> makeSqrt(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(std::sqrt(x)), NIBBLE_MAP(std::sqrt(x)));
}
llvm::Expected<Kernel> makeReciprocal(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(1.0f / x), NIBBLE_MAP(1.0 / x));
}
llvm::Expected<Kernel> makeSin(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(std::sin(x)), NIBBLE_MAP(std::sin(x)), transcendentalTile);
}
llvm::Expected<Kernel> makeCos(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(std::cos(x)), NIBBLE_MAP(std::cos(x)), transcendentalTile);
}
llvm::Expected<Kernel> makeTanh(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(fastTanh(x)), NIBBLE_MAP(std::tanh(x)), transcendentalTile);
}
llvm::Expected<Kernel> makeSigmoid(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(fastSigmoid(x)), NIBBLE_MAP(1.0 / (1.0 + std::exp(-x))), transcendentalTile);
}
llvm::Expected<Kernel> makeErf(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(fastErf(x)), NIBBLE_MAP(std::erf(x)), transcendentalTile);
}
llvm::Expected<Kernel> makeSoftplus(const NodeSpec &spec) {
  // log(1 + e^x) = max(x, 0) + log1p(e^-|x|), which neither overflows nor cancels.
  auto map = NIBBLE_MAP((x < 0 ? 0 : x) + std::log1p(std::exp(-std::fabs(x))));
  return mapFloats(spec, map, map, transcendentalTile);
}
llvm::Expected<Kernel> makeSoftsign(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(x / (1.0f + std::fabs(x))), NIBBLE_MAP(x / (1.0 + std::fabs(x))));
}
llvm::Expected<Kernel> makeHardSwish(const NodeSpec &spec) {
  auto map = [](auto x) NIBBLE_INLINE {
    using T = decltype(x);
    return x * std::max(T(0), std::min(T(1), x * T(1.0 / 6) + T(0.5)));
  };
  return mapFloats(spec, map, map);
}
llvm::Expected<Kernel> makeMish(const NodeSpec &spec) {
  auto map = NIBBLE_MAP(x * std::tanh((x < 0 ? 0 : x) + std::log1p(std::exp(-std::fabs(x)))));
  return mapFloats(spec, map, map, transcendentalTile);
}
llvm::Expected<Kernel> makeFloor(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(std::floor(x)), NIBBLE_MAP(std::floor(x)));
}
llvm::Expected<Kernel> makeCeil(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(std::ceil(x)), NIBBLE_MAP(std::ceil(x)));
}
llvm::Expected<Kernel> makeRound(const NodeSpec &spec) {
  return mapFloats(spec, NIBBLE_MAP(std::nearbyint(x)), NIBBLE_MAP(std::nearbyint(x)));
}
llvm::Expected<Kernel> makeIsNaN(const NodeSpec &spec) {
  if (spec.operands[0].type == ElementType::F32)
    return mapElements<float, uint8_t>(NIBBLE_MAP(static_cast<uint8_t>(x != x)));
  if (spec.operands[0].type == ElementType::F64)
    return mapElements<double, uint8_t>(NIBBLE_MAP(static_cast<uint8_t>(x != x)));
  return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 and float64 have");
}
llvm::Expected<Kernel> makeNot(const NodeSpec &spec) {
  return mapElements<uint8_t, uint8_t>(NIBBLE_MAP(static_cast<uint8_t>(x == 0)));
}
llvm::Expected<Kernel> makeIdentity(const NodeSpec &) {
  Kernel kernel;
  kernel.isView = true;
  return kernel;
}

llvm::Expected<Kernel> makeLeakyRelu(const NodeSpec &spec) {
  float alpha = llvm::cast<nn::LeakyReluOp>(spec.op).getAlpha().convertToFloat();
  return mapFloats(spec, NIBBLE_MAP(x < 0 ? alpha * x : x), NIBBLE_MAP(x < 0 ? static_cast<double>(alpha) * x : x));
}
llvm::Expected<Kernel> makeElu(const NodeSpec &spec) {
  float alpha = llvm::cast<nn::EluOp>(spec.op).getAlpha().convertToFloat();
  auto map = NIBBLE_MAP(x < 0 ? alpha * std::expm1(x) : x);
  return mapFloats(spec, map, map, transcendentalTile);
}
llvm::Expected<Kernel> makeQuickGelu(const NodeSpec &spec) {
  float alpha = llvm::cast<nn::QuickGeluOp>(spec.op).getAlpha().convertToFloat();
  return mapFloats(spec, NIBBLE_MAP(x * fastSigmoid(alpha * x)), NIBBLE_MAP(x / (1.0 + std::exp(-alpha * x))),
                   transcendentalTile);
}
llvm::Expected<Kernel> makeHardSigmoid(const NodeSpec &spec) {
  auto op = llvm::cast<nn::HardSigmoidOp>(spec.op);
  float alpha = op.getAlpha().convertToFloat(), beta = op.getBeta().convertToFloat();
  auto map = [=](auto x) NIBBLE_INLINE {
    using T = decltype(x);
    return std::max(T(0), std::min(T(1), static_cast<T>(alpha) * x + static_cast<T>(beta)));
  };
  return mapFloats(spec, map, map);
}
llvm::Expected<Kernel> makeGelu(const NodeSpec &spec) {
  llvm::StringRef approximate = llvm::cast<nn::GeluOp>(spec.op).getApproximate();
  if (approximate == "none")
    return mapFloats(spec, NIBBLE_MAP(0.5f * x * (1.0f + fastErf(x * 0.70710678f))),
                     NIBBLE_MAP(0.5 * x * (1.0 + std::erf(x * M_SQRT1_2))), transcendentalTile);
  if (approximate == "tanh")
    return mapFloats(spec, NIBBLE_MAP(0.5f * x * (1.0f + fastTanh(0.79788456f * (x + 0.044715f * x * x * x)))),
                     NIBBLE_MAP(0.5 * x * (1.0 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))),
                     transcendentalTile);
  return spec.unsupported("approximate is '" + approximate + "'; 'none' and 'tanh' are known");
}

} // namespace

void registerElementwiseKernels(KernelRegistry &registry) {
  registry["nn.abs"] = makeAbs;
  registry["nn.neg"] = makeNeg;
  registry["nn.sign"] = makeSign;
  registry["nn.relu"] = makeRelu;
  registry["nn.exp"] = makeExp;
  registry["nn.log"] = makeLog;
  registry["nn.sqrt"] = makeSqrt;
  registry["nn.reciprocal"] = makeReciprocal;
  registry["nn.sin"] = makeSin;
  registry["nn.cos"] = makeCos;
  registry["nn.tanh"] = makeTanh;
  registry["nn.sigmoid"] = makeSigmoid;
  registry["nn.erf"] = makeErf;
  registry["nn.softplus"] = makeSoftplus;
  registry["nn.softsign"] = makeSoftsign;
  registry["nn.hard_swish"] = makeHardSwish;
  registry["nn.mish"] = makeMish;
  registry["nn.floor"] = makeFloor;
  registry["nn.ceil"] = makeCeil;
  registry["nn.round"] = makeRound;
  registry["nn.is_nan"] = makeIsNaN;
  registry["nn.not"] = makeNot;
  registry["nn.identity"] = makeIdentity;
  registry["nn.leaky_relu"] = makeLeakyRelu;
  registry["nn.elu"] = makeElu;
  registry["nn.quick_gelu"] = makeQuickGelu;
  registry["nn.hard_sigmoid"] = makeHardSigmoid;
  registry["nn.gelu"] = makeGelu;
}

} // namespace nibble::runtime
