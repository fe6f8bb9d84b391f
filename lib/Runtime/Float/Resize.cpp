//===- Resize.cpp - interpolation along every axis in turn -----------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Simd.h"

#include "llvm/ADT/STLExtras.h"

namespace nibble::runtime {
namespace {

enum class Mode { Nearest, Linear, Cubic };
enum class Coordinates { HalfPixel, HalfPixelSymmetric, PytorchHalfPixel, AlignCorners, Asymmetric };
enum class Rounding { PreferFloor, PreferCeil, Floor, Ceil };

struct ResizeOptions {
  Mode mode;
  Coordinates coordinates;
  Rounding rounding;
  float cubic;
  bool antialias;
};

/// The input positions and weights of one output position.
struct Taps {
  llvm::SmallVector<int64_t, 4> indices;
  llvm::SmallVector<float, 4> weights;
};

/// Where output position `i` lies in the input, after ONNX Resize's coordinate_transformation_mode.
double inputCoordinate(int64_t i, int64_t inSize, int64_t outSize, double scale, Coordinates coordinates) {
  double at = static_cast<double>(i);
  switch (coordinates) {
  case Coordinates::HalfPixel: return (at + 0.5) / scale - 0.5;
  case Coordinates::HalfPixelSymmetric: {
    double adjustment = static_cast<double>(outSize) / (scale * static_cast<double>(inSize));
    double center = static_cast<double>(inSize) / 2;
    return center * (1 - adjustment) + (at + 0.5) / scale - 0.5;
  }
  case Coordinates::PytorchHalfPixel: return outSize > 1 ? (at + 0.5) / scale - 0.5 : 0;
  case Coordinates::AlignCorners:
    return outSize > 1 ? at * static_cast<double>(inSize - 1) / static_cast<double>(outSize - 1) : 0;
  case Coordinates::Asymmetric: return at / scale;
  }
  return 0;
}

/// Keys' cubic convolution kernel with parameter a.
double cubicWeight(double distance, double a) {
  double x = std::fabs(distance);
  if (x <= 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

Taps findTaps(int64_t i, int64_t inSize, int64_t outSize, double scale, const ResizeOptions &options) {
  double at = inputCoordinate(i, inSize, outSize, scale, options.coordinates);
  auto clampIndex = [&](double index) {
    return static_cast<int64_t>(std::clamp(index, 0.0, static_cast<double>(inSize - 1)));
  };
  Taps taps;
  if (options.mode == Mode::Nearest) {
    double nearest = 0;
    switch (options.rounding) {
    case Rounding::PreferFloor: nearest = std::ceil(at - 0.5); break;
    case Rounding::PreferCeil: nearest = std::floor(at + 0.5); break;
    case Rounding::Floor: nearest = std::floor(at); break;
    case Rounding::Ceil: nearest = std::ceil(at); break;
    }
    taps.indices.push_back(clampIndex(nearest));
    taps.weights.push_back(1);
    return taps;
  }
  double support = options.mode == Mode::Linear ? 1 : 2;
  // Antialiasing stretches the kernel over all inputs that a smaller output stands for.
  double stretch = options.antialias && scale < 1 ? scale : 1;
  double reach = support / stretch;
  llvm::SmallVector<double, 4> weights;
  double sum = 0;
  for (double index = std::floor(at - reach) + 1; index < at + reach + 1e-9; ++index) {
    double distance = (at - index) * stretch;
    double weight = options.mode == Mode::Linear ? std::max(0.0, 1 - std::fabs(distance))
                                                 : cubicWeight(distance, static_cast<double>(options.cubic));
    if (weight == 0)
      continue;
    // Positions outside repeat the edge, also under an antialiased kernel.
    taps.indices.push_back(clampIndex(index));
    weights.push_back(weight);
    sum += weight;
  }
  for (double weight : weights)
    taps.weights.push_back(static_cast<float>(weight / sum));
  return taps;
}

template <class T>
void resizeAxis(const T *source, T *target, int64_t outer, int64_t inSize, int64_t outSize, int64_t inner,
                llvm::ArrayRef<Taps> taps) {
  bool isNearest = llvm::all_of(taps, [](const Taps &tap) { return tap.indices.size() == 1; });
  if (isNearest && inner == 1) {
    llvm::SmallVector<int64_t> table;
    for (const Taps &tap : taps)
      table.push_back(tap.indices[0]);
    parallelRanges(outer, 16384 / std::max<int64_t>(outSize, 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t i = 0; i < outSize; ++i)
          target[row * outSize + i] = source[row * inSize + table[static_cast<size_t>(i)]];
    });
    return;
  }
  parallelRanges(outer * outSize, 16384 / std::max<int64_t>(inner, 1), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Taps &tap = taps[static_cast<size_t>(row % outSize)];
      const T *from = source + row / outSize * inSize * inner;
      T *to = target + row * inner;
      if (tap.indices.size() == 1) {
        std::copy_n(from + tap.indices[0] * inner, inner, to);
        continue;
      }
      for (int64_t i = 0; i < inner; ++i) {
        float sum = 0;
        for (size_t k = 0; k < tap.indices.size(); ++k)
          sum += tap.weights[k] * static_cast<float>(from[tap.indices[k] * inner + i]);
        to[i] = static_cast<T>(sum);
      }
    }
  });
}

std::optional<Mode> parseMode(llvm::StringRef name) {
  if (name == "nearest")
    return Mode::Nearest;
  if (name == "linear")
    return Mode::Linear;
  if (name == "cubic")
    return Mode::Cubic;
  return std::nullopt;
}
std::optional<Coordinates> parseCoordinates(llvm::StringRef name) {
  if (name == "half_pixel")
    return Coordinates::HalfPixel;
  if (name == "half_pixel_symmetric")
    return Coordinates::HalfPixelSymmetric;
  if (name == "pytorch_half_pixel")
    return Coordinates::PytorchHalfPixel;
  if (name == "align_corners")
    return Coordinates::AlignCorners;
  if (name == "asymmetric")
    return Coordinates::Asymmetric;
  return std::nullopt;
}
std::optional<Rounding> parseRounding(llvm::StringRef name) {
  if (name == "round_prefer_floor")
    return Rounding::PreferFloor;
  if (name == "round_prefer_ceil")
    return Rounding::PreferCeil;
  if (name == "floor")
    return Rounding::Floor;
  if (name == "ceil")
    return Rounding::Ceil;
  return std::nullopt;
}

llvm::Expected<Kernel> makeResize(const NodeSpec &spec) {
  auto op = llvm::cast<nn::ResizeOp>(spec.op);
  std::optional<Mode> mode = parseMode(op.getMode());
  std::optional<Coordinates> coordinates = parseCoordinates(op.getCoordinateTransformationMode());
  std::optional<Rounding> rounding = parseRounding(op.getNearestMode());
  if (!mode || !coordinates || !rounding)
    return spec.unsupported("mode '" + op.getMode() + "' with coordinate_transformation_mode '" +
                            op.getCoordinateTransformationMode() + "' and nearest_mode '" + op.getNearestMode() +
                            "' is not known");
  ResizeOptions options{*mode, *coordinates, *rounding, op.getCubicCoeffA().convertToFloat(), op.getAntialias()};
  Shape in = spec.operands[0].shape, out = spec.results[0].shape;
  llvm::SmallVector<int64_t> axes;
  if (std::optional<llvm::ArrayRef<int64_t>> given = op.getAxes())
    for (int64_t axis : *given)
      axes.push_back(normalizeAxis(axis, static_cast<int64_t>(in.size())));
  else
    for (size_t i = 0; i < in.size(); ++i)
      axes.push_back(static_cast<int64_t>(i));
  ElementType type = spec.results[0].type;
  bool isMovement = *mode == Mode::Nearest;
  if (!isMovement && type != ElementType::F32 && type != ElementType::U8 && type != ElementType::I8)
    return spec.unsupported("element type " + name(type) + " is not interpolated; float32, int8 and uint8 are");
  if (elementCount(out) > 0 && elementCount(in) == 0)
    return spec.unsupported("an empty input cannot be resized to elements");
  bool hasScales = spec.has(1);
  Kernel kernel;
  auto make = [&](auto tag) {
    using T = decltype(tag);
    kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
      Shape shape = in;
      Tensor current = operands[0];
      for (size_t k = 0; k < axes.size(); ++k) {
        size_t axis = static_cast<size_t>(axes[k]);
        int64_t inSize = in[axis], outSize = out[axis];
        double scale = hasScales ? operands[1].valueAsDouble(static_cast<int64_t>(k))
                                 : static_cast<double>(outSize) / static_cast<double>(inSize);
        if (inSize == outSize && scale == 1)
          continue;
        if (!(scale > 0))
          return makeError(ErrorKind::BadInput, "resize has scale " + std::to_string(scale));
        llvm::SmallVector<Taps> taps;
        for (int64_t i = 0; i < outSize; ++i)
          taps.push_back(findTaps(i, inSize, outSize, scale, options));
        shape[axis] = outSize;
        Tensor next = llvm::ArrayRef<int64_t>(shape) == llvm::ArrayRef<int64_t>(out)
                          ? results[0]
                          : Tensor::allocate(results[0].elementType(), shape);
        // Two axes of the same final shape must not read and write one tensor.
        if (next.raw() == current.raw())
          next = Tensor::allocate(results[0].elementType(), shape);
        resizeAxis(static_cast<const T *>(current.raw()), static_cast<T *>(next.mutableRaw()),
                   dimensionProduct(shape, 0, axes[k]), inSize, outSize,
                   dimensionProduct(shape, axes[k] + 1, static_cast<int64_t>(shape.size())), taps);
        current = next;
      }
      if (current.raw() != results[0].raw())
        std::copy_n(static_cast<const T *>(current.raw()), elementCount(out),
                    static_cast<T *>(results[0].mutableRaw()));
      return llvm::Error::success();
    };
  };
  llvm::Error error =
      isMovement ? dispatchBytes(spec, type, make) : dispatchNumeric(spec, type, make);
  if (error)
    return std::move(error);
  return kernel;
}

} // namespace

void registerResizeKernels(KernelRegistry &registry) { registry["nn.resize"] = makeResize; }

} // namespace nibble::runtime
