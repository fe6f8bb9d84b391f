//===- Convolution.cpp - Conv and ConvTranspose ----------------------------===//
//
// A convolution is cut into tiles of one image, a range of output rows and a range
// of output channels. The input is brought into oneDNN's layout once; every tile
// computes in that layout in scratch memory and writes its channels as planes.
// Convolutions of 1x1 are matrix products of planes and need no other layout.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/Dialect/NN/ShapeInference.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Runtime/Float/BlockTranspose.h"
#include "lib/Runtime/Float/Dnnl.h"
#include "lib/Runtime/Float/Kernel.h"

#include <map>
#include <tuple>

namespace nibble::runtime {
namespace {

using dnnl::memory;

/// A 2-D convolution; 1-D ones have height 1.
struct ConvolutionShape {
  int64_t batch, channels, height, width, outChannels, outHeight, outWidth, kernelHeight, kernelWidth, group;
  int64_t strideHeight = 1, strideWidth = 1, dilationHeight = 1, dilationWidth = 1;
  /// The padding at the end follows from the sizes.
  int64_t padTop = 0, padLeft = 0;
};

memory::desc plainDesc(memory::dims dims, memory::format_tag tag) { return {dims, memory::data_type::f32, tag}; }

/// Convolution with interleaved channels.
class InterleavedConvolution {
public:
  /// Throws dnnl::error. `weights` is [outChannels, channels / group, kernelHeight, kernelWidth]; where it
  /// is null, run() gets the weights.
  InterleavedConvolution(const ConvolutionShape &s, const float *weights, bool hasBias) : s(s), hasBias(hasBias) {
    // Slices of rows keep the kernels' inner loops long, slices of channels re-read the input.
    rowTile = s.outHeight >= 32 ? (s.outHeight + 3) / 4 : s.outHeight;
    int64_t rowTiles = (s.outHeight + rowTile - 1) / rowTile;
    // Weights of convolutions over few pixels are larger than their inputs: all images share one pass.
    // That takes images that follow each other without a gap, so a slice must reach all their rows.
    imageTile = s.outHeight * s.outWidth <= 64 && makeSlice(0).inRows == s.height ? s.batch : 1;
    int64_t wanted = std::max<int64_t>(1, 4 / (s.batch / imageTile * rowTiles));
    channelTile = s.outChannels;
    if (s.group == 1)
      channelTile = std::max<int64_t>(16, ((s.outChannels + wanted - 1) / wanted + 15) / 16 * 16);
    for (int64_t channel = 0; channel < s.outChannels; channel += channelTile) {
      int64_t count = std::min(channelTile, s.outChannels - channel);
      memory::desc weightLayout;
      for (int64_t row = 0; row < s.outHeight; row += rowTile) {
        Slice slice = makeSlice(row);
        auto [at, isNew] = primitives.try_emplace({slice.rows, slice.inRows, slice.padTop, slice.padBottom, count});
        if (isNew)
          at->second = makePrimitive(slice, count, weightLayout);
        if (row == 0)
          weightLayout = at->second.weights;
      }
      weightLayouts.push_back(weightLayout);
    }
    if (weights)
      packed = pack(weights);
  }

  void run(const float *source, const float *weights, const float *bias, float *target) const {
    std::vector<PackedWeights> packedNow;
    if (packed.empty())
      packedNow = pack(weights);
    const std::vector<PackedWeights> &layers = packed.empty() ? packedNow : packed;
    int64_t plane = s.height * s.width, outPlane = s.outHeight * s.outWidth;
    auto *interleaved = static_cast<float *>(
        threadScratch(0, static_cast<size_t>(s.batch * s.channels * plane) * sizeof(float)));
    parallelRanges(
        s.batch * plane, std::max<int64_t>(16, 16384 / s.channels / 16 * 16), [&](int64_t begin, int64_t end) {
          while (begin < end) {
            int64_t image = begin / plane, pixel = begin % plane, count = std::min(end - begin, plane - pixel);
            const float *planes = source + image * s.channels * plane + pixel;
            simd([=, channels = s.channels]() NIBBLE_INLINE {
              transposeFloats(planes, plane, interleaved + begin * channels, channels, count, channels);
            });
            begin += count;
          }
        });
    int64_t rowTiles = (s.outHeight + rowTile - 1) / rowTile;
    int64_t channelTiles = (s.outChannels + channelTile - 1) / channelTile;
    parallelFor(s.batch / imageTile * rowTiles * channelTiles, [&](int64_t tile) {
      int64_t row = tile % rowTiles * rowTile, layer = tile / rowTiles % channelTiles;
      int64_t image = tile / rowTiles / channelTiles * imageTile, channel = layer * channelTile;
      int64_t count = std::min(channelTile, s.outChannels - channel);
      Slice slice = makeSlice(row);
      const DnnlPrimitive &primitive =
          primitives.at({slice.rows, slice.inRows, slice.padTop, slice.padBottom, count});
      int64_t pixels = slice.rows * s.outWidth;
      auto *scratch =
          static_cast<float *>(threadScratch(1, static_cast<size_t>(imageTile * pixels * count) * sizeof(float)));
      primitive.run(interleaved + (image * plane + slice.inRow * s.width) * s.channels,
                    layers[static_cast<size_t>(layer)].data.get(), hasBias ? bias + channel : nullptr, scratch);
      for (int64_t i = 0; i < imageTile; ++i) {
        const float *computed = scratch + i * pixels * count;
        float *planes = target + ((image + i) * s.outChannels + channel) * outPlane + row * s.outWidth;
        simd([=]() NIBBLE_INLINE { transposeFloats(computed, count, planes, outPlane, count, pixels); });
      }
    });
  }

private:
  /// Output rows and the input rows under them.
  struct Slice {
    int64_t rows, inRow, inRows, padTop, padBottom;
  };
  Slice makeSlice(int64_t row) const {
    Slice slice;
    slice.rows = std::min(rowTile, s.outHeight - row);
    int64_t first = row * s.strideHeight - s.padTop;
    int64_t last = (row + slice.rows - 1) * s.strideHeight - s.padTop + (s.kernelHeight - 1) * s.dilationHeight;
    slice.inRow = std::clamp<int64_t>(first, 0, s.height - 1);
    slice.inRows = std::clamp<int64_t>(last, 0, s.height - 1) - slice.inRow + 1;
    slice.padTop = slice.inRow - first;
    slice.padBottom = last - (slice.inRow + slice.inRows - 1);
    return slice;
  }
  DnnlPrimitive makePrimitive(const Slice &slice, int64_t count, const memory::desc &weightLayout) const {
    memory::dims weightDims = s.group == 1 ? memory::dims{count, s.channels, s.kernelHeight, s.kernelWidth}
                                           : memory::dims{s.group, count / s.group, s.channels / s.group,
                                                          s.kernelHeight, s.kernelWidth};
    memory::desc weight = plainDesc(weightDims, memory::format_tag::any);
    if (!weightLayout.is_zero())
      weight = weightLayout;
    memory::desc source = plainDesc({imageTile, s.channels, slice.inRows, s.width}, memory::format_tag::nhwc);
    memory::desc target = plainDesc({imageTile, count, slice.rows, s.outWidth}, memory::format_tag::nhwc);
    memory::dims strides{s.strideHeight, s.strideWidth};
    memory::dims dilations{s.dilationHeight - 1, s.dilationWidth - 1};
    memory::dims begins{slice.padTop, s.padLeft}, ends{slice.padBottom, endPadding()};
    using dnnl::convolution_forward;
    constexpr auto kind = dnnl::prop_kind::forward_inference;
    constexpr auto algorithm = dnnl::algorithm::convolution_direct;
    convolution_forward::desc description =
        hasBias ? convolution_forward::desc(kind, algorithm, source, weight, plainDesc({count}, memory::format_tag::a),
                                            target, strides, dilations, begins, ends)
                : convolution_forward::desc(kind, algorithm, source, weight, target, strides, dilations, begins, ends);
    return DnnlPrimitive::make(convolution_forward::primitive_desc(description, dnnlAttributes(), dnnlEngine()),
                               hasBias);
  }
  /// The padding on the right that outputs reach; input columns that none reaches need no padding.
  int64_t endPadding() const {
    return std::max<int64_t>(
        0, (s.outWidth - 1) * s.strideWidth + (s.kernelWidth - 1) * s.dilationWidth + 1 - s.width - s.padLeft);
  }
  std::vector<PackedWeights> pack(const float *weights) const {
    std::vector<PackedWeights> result;
    int64_t perChannel = s.channels / s.group * s.kernelHeight * s.kernelWidth;
    for (size_t i = 0; i < weightLayouts.size(); ++i) {
      const memory::desc &layout = weightLayouts[i];
      memory::desc plain =
          plainDesc(layout.dims(), s.group == 1 ? memory::format_tag::oihw : memory::format_tag::goihw);
      result.push_back(packWeights(plain, weights + static_cast<int64_t>(i) * channelTile * perChannel, layout));
    }
    return result;
  }

  ConvolutionShape s;
  bool hasBias;
  /// Output rows, output channels and images of a tile.
  int64_t rowTile, channelTile, imageTile;
  std::map<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>, DnnlPrimitive> primitives;
  std::vector<memory::desc> weightLayouts;
  std::vector<PackedWeights> packed;
};

/// planes[outChannels, pixels] = weights[outChannels, channels] * planes[channels, pixels] + bias.
void runPointwise(const ConvolutionShape &s, const float *source, const float *weights, const float *bias,
                  float *target) {
  int64_t pixels = s.height * s.width;
  int64_t channelTiles = std::max<int64_t>(1, std::min((s.outChannels + 31) / 32, (4 + s.batch - 1) / s.batch));
  int64_t channelTile = (s.outChannels + channelTiles - 1) / channelTiles;
  parallelFor(s.batch * channelTiles, [&](int64_t tile) {
    int64_t image = tile / channelTiles, channel = tile % channelTiles * channelTile;
    int64_t count = std::min(channelTile, s.outChannels - channel);
    if (count <= 0)
      return;
    float *out = target + (image * s.outChannels + channel) * pixels;
    if (bias)
      for (int64_t c = 0; c < count; ++c)
        std::fill_n(out + c * pixels, pixels, bias[channel + c]);
    multiplyMatrices(false, false, count, pixels, s.channels, 1, weights + channel * s.channels, s.channels,
                     source + image * s.channels * pixels, pixels, bias ? 1.0f : 0.0f, out, pixels);
  });
}

/// Any number of spatial dimensions, by oneDNN's own choice of layout, one call for each image.
class GeneralConvolution {
public:
  GeneralConvolution(const Shape &source, const Shape &weights, const Shape &target, llvm::ArrayRef<int64_t> strides,
                     llvm::ArrayRef<int64_t> dilations, llvm::ArrayRef<int64_t> begins, llvm::ArrayRef<int64_t> ends,
                     int64_t group, bool hasBias, bool isTransposed)
      : batch(source[0]), sourceSize(elementCount(source) / std::max<int64_t>(source[0], 1)),
        targetSize(elementCount(target) / std::max<int64_t>(target[0], 1)) {
    auto dims = [](llvm::ArrayRef<int64_t> values) { return memory::dims(values.begin(), values.end()); };
    memory::dims sourceDims = dims(source), targetDims = dims(target), weightDims = dims(weights);
    sourceDims[0] = targetDims[0] = 1;
    memory::dims weightStrides = dims(rowMajorStrides(weights));
    if (isTransposed) {
      // ONNX stores [inputs, outputs / group, ...]; oneDNN names outputs first.
      if (group == 1) {
        std::swap(weightDims[0], weightDims[1]);
        std::swap(weightStrides[0], weightStrides[1]);
      } else {
        weightDims[0] /= group;
        weightDims.insert(weightDims.begin(), group);
        weightStrides.insert(weightStrides.begin(), weightStrides[0] * weightDims[1]);
        std::swap(weightDims[1], weightDims[2]);
        std::swap(weightStrides[1], weightStrides[2]);
      }
    } else if (group != 1) {
      weightDims[0] /= group;
      weightDims.insert(weightDims.begin(), group);
      weightStrides.insert(weightStrides.begin(), weightStrides[0] * weightDims[1]);
    }
    plainWeights = memory::desc(weightDims, memory::data_type::f32, weightStrides);
    memory::desc weight(weightDims, memory::data_type::f32, memory::format_tag::any);
    plainSource = memory::desc(sourceDims, memory::data_type::f32, denseStrides(sourceDims));
    plainTarget = memory::desc(targetDims, memory::data_type::f32, denseStrides(targetDims));
    memory::desc bias = plainDesc({target[1]}, memory::format_tag::a);
    memory::dims dilated;
    for (int64_t dilation : dilations)
      dilated.push_back(dilation - 1);
    constexpr auto kind = dnnl::prop_kind::forward_inference;
    if (isTransposed) {
      using dnnl::deconvolution_forward;
      constexpr auto algorithm = dnnl::algorithm::deconvolution_direct;
      deconvolution_forward::desc description =
          hasBias ? deconvolution_forward::desc(kind, algorithm, plainSource, weight, bias, plainTarget, dims(strides),
                                                dilated, dims(begins), dims(ends))
                  : deconvolution_forward::desc(kind, algorithm, plainSource, weight, plainTarget, dims(strides),
                                                dilated, dims(begins), dims(ends));
      primitive = DnnlPrimitive::make(
          deconvolution_forward::primitive_desc(description, dnnlAttributes(), dnnlEngine()), hasBias);
    } else {
      using dnnl::convolution_forward;
      constexpr auto algorithm = dnnl::algorithm::convolution_direct;
      convolution_forward::desc description =
          hasBias ? convolution_forward::desc(kind, algorithm, plainSource, weight, bias, plainTarget, dims(strides),
                                              dilated, dims(begins), dims(ends))
                  : convolution_forward::desc(kind, algorithm, plainSource, weight, plainTarget, dims(strides),
                                              dilated, dims(begins), dims(ends));
      primitive = DnnlPrimitive::make(
          convolution_forward::primitive_desc(description, dnnlAttributes(), dnnlEngine()), hasBias);
    }
  }

  void packConstant(const float *weights) { packed = packWeights(plainWeights, weights, primitive.weights); }

  void run(const float *source, const float *weights, const float *bias, float *target) const {
    PackedWeights now = packed.data ? packed : packWeights(plainWeights, weights, primitive.weights);
    parallelFor(batch, [&](int64_t image) {
      primitive.run(source + image * sourceSize, now.data.get(), bias, target + image * targetSize);
    });
  }

private:
  static memory::dims denseStrides(const memory::dims &dims) {
    Shape strides = rowMajorStrides(Shape(dims.begin(), dims.end()));
    return memory::dims(strides.begin(), strides.end());
  }
  int64_t batch, sourceSize, targetSize;
  memory::desc plainSource, plainTarget, plainWeights;
  DnnlPrimitive primitive;
  PackedWeights packed;
};

Shape orOnes(llvm::ArrayRef<int64_t> values, size_t count) {
  return values.empty() ? Shape(count, 1) : Shape(values.begin(), values.end());
}
Shape orZeros(llvm::ArrayRef<int64_t> values, size_t count) {
  return values.empty() ? Shape(count, 0) : Shape(values.begin(), values.end());
}
/// Begins and ends of pads in ONNX's order.
std::pair<Shape, Shape> splitPads(llvm::ArrayRef<int64_t> pads) {
  size_t half = pads.size() / 2;
  return {Shape(pads.take_front(half)), Shape(pads.drop_front(half))};
}

template <class Convolution>
Kernel runConvolution(std::shared_ptr<Convolution> convolution, bool hasBias) {
  Kernel kernel;
  kernel.run = [convolution, hasBias](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
    return catchDnnl("conv", [&] {
      convolution->run(operands[0].data<float>(), operands[1].data<float>(),
                       hasBias ? operands[2].data<float>() : nullptr, results[0].mutableData<float>());
    });
  };
  return kernel;
}

llvm::Expected<Kernel> makeConv(const NodeSpec &spec) {
  auto op = llvm::cast<nn::ConvOp>(spec.op);
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 has");
  const Shape &in = spec.operands[0].shape, &weight = spec.operands[1].shape, &out = spec.results[0].shape;
  size_t spatial = in.size() - 2;
  if (spatial < 1 || spatial > 3 || spec.results[0].elementCount() == 0 || spec.operands[0].elementCount() == 0)
    return spec.unsupported("a convolution of rank " + llvm::Twine(in.size()) +
                            " has no kernel; ranks 3 to 5 without empty dimensions have");
  Shape strides = orOnes(op.getStrides(), spatial), dilations = orOnes(op.getDilations(), spatial);
  llvm::ArrayRef<int64_t> inDims = llvm::ArrayRef(in).drop_front(2), kernelDims = llvm::ArrayRef(weight).drop_front(2);
  auto [begins, ends] = splitPads(
      nn::resolveAutoPad(op.getAutoPad(), orZeros(op.getPads(), 2 * spatial), inDims, kernelDims, strides, dilations));
  bool hasBias = spec.has(2);
  int64_t group = static_cast<int64_t>(op.getGroup());
  const Tensor &constant = spec.operands[1].constant;
  if (spatial == 3) {
    std::shared_ptr<GeneralConvolution> general;
    if (llvm::Error error = catchDnnl("conv", [&] {
          general = std::make_shared<GeneralConvolution>(in, weight, out, strides, dilations, begins, ends, group,
                                                         hasBias, false);
          if (constant)
            general->packConstant(constant.data<float>());
        }))
      return std::move(error);
    return runConvolution(general, hasBias);
  }
  ConvolutionShape s;
  s.batch = in[0], s.channels = in[1], s.outChannels = out[1], s.group = group;
  s.height = spatial == 2 ? in[2] : 1, s.width = in.back();
  s.outHeight = spatial == 2 ? out[2] : 1, s.outWidth = out.back();
  s.kernelHeight = spatial == 2 ? weight[2] : 1, s.kernelWidth = weight.back();
  s.strideWidth = strides.back(), s.dilationWidth = dilations.back();
  s.padLeft = begins.back();
  if (spatial == 2)
    s.strideHeight = strides[0], s.dilationHeight = dilations[0], s.padTop = begins[0];
  bool isPointwise = s.kernelHeight == 1 && s.kernelWidth == 1 && s.strideHeight == 1 && s.strideWidth == 1 &&
                     group == 1 && s.outHeight == s.height && s.outWidth == s.width && s.padTop == 0 && s.padLeft == 0;
  if (isPointwise) {
    Kernel kernel;
    kernel.run = [s, hasBias](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) {
      runPointwise(s, operands[0].data<float>(), operands[1].data<float>(),
                   hasBias ? operands[2].data<float>() : nullptr, results[0].mutableData<float>());
      return llvm::Error::success();
    };
    return kernel;
  }
  std::shared_ptr<InterleavedConvolution> convolution;
  if (llvm::Error error = catchDnnl("conv", [&] {
        convolution = std::make_shared<InterleavedConvolution>(s, constant ? constant.data<float>() : nullptr, hasBias);
      }))
    return std::move(error);
  return runConvolution(convolution, hasBias);
}

llvm::Expected<Kernel> makeConvTranspose(const NodeSpec &spec) {
  auto op = llvm::cast<nn::ConvTransposeOp>(spec.op);
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 has");
  const Shape &in = spec.operands[0].shape, &weight = spec.operands[1].shape, &out = spec.results[0].shape;
  size_t spatial = in.size() - 2;
  if (spatial < 1 || spatial > 3 || spec.results[0].elementCount() == 0 || spec.operands[0].elementCount() == 0)
    return spec.unsupported("a transposed convolution of rank " + llvm::Twine(in.size()) +
                            " has no kernel; ranks 3 to 5 without empty dimensions have");
  Shape strides = orOnes(op.getStrides(), spatial), dilations = orOnes(op.getDilations(), spatial);
  Shape outputPadding = orZeros(op.getOutputPadding(), spatial);
  llvm::ArrayRef<int64_t> outputShape;
  if (std::optional<llvm::ArrayRef<int64_t>> given = op.getOutputShape())
    outputShape = *given;
  auto [begins, ends] = splitPads(nn::resolveTransposedPads(
      op.getAutoPad(), orZeros(op.getPads(), 2 * spatial), llvm::ArrayRef(in).drop_front(2),
      llvm::ArrayRef(weight).drop_front(2), strides, dilations, outputPadding, outputShape));
  // What oneDNN cuts off at the end follows from the result's size; output_padding makes it less.
  for (size_t i = 0; i < spatial; ++i)
    ends[i] = (in[i + 2] - 1) * strides[i] + (weight[i + 2] - 1) * dilations[i] + 1 - out[i + 2] - begins[i];
  bool hasBias = spec.has(2);
  std::shared_ptr<GeneralConvolution> general;
  if (llvm::Error error = catchDnnl("conv_transpose", [&] {
        general = std::make_shared<GeneralConvolution>(in, weight, out, strides, dilations, begins, ends,
                                                       static_cast<int64_t>(op.getGroup()), hasBias, true);
        if (const Tensor &constant = spec.operands[1].constant)
          general->packConstant(constant.data<float>());
      }))
    return std::move(error);
  return runConvolution(general, hasBias);
}

} // namespace

void registerConvolutionKernels(KernelRegistry &registry) {
  registry["nn.conv"] = makeConv;
  registry["nn.conv_transpose"] = makeConvTranspose;
}

} // namespace nibble::runtime
