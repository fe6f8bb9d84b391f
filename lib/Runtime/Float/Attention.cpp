//===- Attention.cpp - RotaryEmbedding and GroupQueryAttention --------------===//
//
// As the com.microsoft operators define them. The mask of GroupQueryAttention comes
// from the number of valid keys of each batch entry, so keys beyond it are never read.
//
//===----------------------------------------------------------------------===//
#include "lib/Dialect/NN/NNDialect.h"
#include "lib/LinearAlgebra/MatrixProduct.h"
#include "lib/Runtime/Float/Dnnl.h"
#include "lib/Runtime/Float/Kernel.h"
#include "lib/Runtime/Float/Sums.h"

#include <cstring>

namespace nibble::runtime {
namespace {

/// Rotates the first `2 * half` values of a head by the angles of one position; the rest stay.
void rotateHead(const float *in, float *out, int64_t headSize, int64_t half, const float *cosines, const float *sines,
                bool interleaved) {
  for (int64_t i = 0; i < half; ++i) {
    int64_t first = interleaved ? 2 * i : i, second = interleaved ? 2 * i + 1 : i + half;
    float real = in[first], imaginary = in[second];
    out[first] = real * cosines[i] - imaginary * sines[i];
    out[second] = real * sines[i] + imaginary * cosines[i];
  }
  if (in != out)
    std::copy(in + 2 * half, in + headSize, out + 2 * half);
}

llvm::Error checkPosition(int64_t position, int64_t count) {
  if (position >= 0 && position < count)
    return llvm::Error::success();
  return makeError(ErrorKind::BadInput, "position " + llvm::Twine(position) + " is outside the rotary cache of " +
                                            llvm::Twine(count) + " positions");
}

llvm::Expected<Kernel> makeRotaryEmbedding(const NodeSpec &spec) {
  auto op = llvm::cast<nn::RotaryEmbeddingOp>(spec.op);
  const Shape &in = spec.operands[0].shape, &cache = spec.operands[2].shape;
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 has");
  bool isSplit = in.size() == 4, interleaved = op.getInterleaved();
  int64_t half = cache[1], rotaryDim = static_cast<int64_t>(op.getRotaryDim());
  int64_t numHeads = static_cast<int64_t>(op.getNumHeads());
  // Without num_heads the cache tells the size of a head.
  int64_t headSize = isSplit ? in[3] : numHeads > 0 ? in[2] / numHeads : 2 * half;
  if (headSize <= 0 || (!isSplit && in[2] % headSize != 0) || 2 * half > headSize ||
      (rotaryDim > 0 && rotaryDim != 2 * half))
    return spec.unsupported("heads of " + llvm::Twine(headSize) + " do not fit caches of " + llvm::Twine(half) +
                            " angles and rotary_dim " + llvm::Twine(rotaryDim));
  int64_t batch = in[0], heads = isSplit ? in[1] : in[2] / headSize, length = isSplit ? in[2] : in[1];
  bool hasOnePosition = spec.operands[1].elementCount() == 1;
  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    llvm::SmallVector<int64_t> positions = operands[1].valuesAsInt64();
    if (hasOnePosition) {
      // One number is the position of the first element of every sequence.
      int64_t first = positions[0];
      positions.clear();
      for (int64_t i = 0; i < batch * length; ++i)
        positions.push_back(first + i % length);
    }
    for (int64_t position : positions)
      if (llvm::Error error = checkPosition(position, cache[0]))
        return error;
    const float *x = operands[0].data<float>(), *cosines = operands[2].data<float>();
    const float *sines = operands[3].data<float>();
    float *y = results[0].mutableData<float>();
    parallelRanges(batch * length, std::max<int64_t>(1, 8192 / (heads * headSize)), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t head = 0; head < heads; ++head) {
          int64_t at = isSplit ? ((row / length * heads + head) * length + row % length) * headSize
                               : (row * heads + head) * headSize;
          int64_t position = positions[static_cast<size_t>(row)];
          rotateHead(x + at, y + at, headSize, half, cosines + position * half, sines + position * half, interleaved);
        }
    });
    return llvm::Error::success();
  };
  return kernel;
}

struct GroupQueryShape {
  int64_t batch, length, heads, kvHeads, headSize, pastCapacity, presentCapacity;
  bool isPacked, hasPast, doRotary, interleaved;
  float scale, softcap;
  int64_t window;
};

llvm::Expected<Kernel> makeGroupQueryAttention(const NodeSpec &spec) {
  auto op = llvm::cast<nn::GroupQueryAttentionOp>(spec.op);
  if (spec.operands[0].type != ElementType::F32)
    return spec.unsupported("element type " + name(spec.operands[0].type) + " has no kernel; float32 has");
  GroupQueryShape s;
  s.heads = static_cast<int64_t>(op.getNumHeads()), s.kvHeads = static_cast<int64_t>(op.getKvNumHeads());
  s.isPacked = !spec.has(1), s.hasPast = spec.has(3);
  s.doRotary = op.getDoRotary(), s.interleaved = op.getRotaryInterleaved();
  const Shape &query = spec.operands[0].shape, &present = spec.results[1].shape;
  s.batch = query[0], s.length = query[1];
  int64_t hidden = query[2], queryHeads = s.isPacked ? s.heads + 2 * s.kvHeads : s.heads;
  if (s.heads <= 0 || s.kvHeads <= 0 || s.heads % s.kvHeads != 0 || hidden % queryHeads != 0)
    return spec.unsupported(llvm::Twine(s.heads) + " heads over " + llvm::Twine(s.kvHeads) +
                            " key heads do not fit a hidden size of " + llvm::Twine(hidden));
  s.headSize = hidden / queryHeads;
  s.pastCapacity = s.hasPast ? spec.operands[3].shape[2] : 0;
  s.presentCapacity = present[2];
  s.scale = op.getScale().convertToFloat();
  if (s.scale == 0)
    s.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(s.headSize)));
  s.softcap = op.getSoftcap().convertToFloat();
  s.window = static_cast<int64_t>(op.getLocalWindowSize());
  if (s.doRotary && !(spec.has(7) && spec.has(8)))
    return spec.unsupported("do_rotary needs cos_cache and sin_cache");
  int64_t half = s.doRotary ? spec.operands[7].shape[1] : 0, cacheLength = s.doRotary ? spec.operands[7].shape[0] : 0;
  if (2 * half > s.headSize)
    return spec.unsupported("caches of " + llvm::Twine(half) + " angles do not fit heads of " +
                            llvm::Twine(s.headSize));

  Kernel kernel;
  kernel.run = [=](llvm::ArrayRef<Tensor> operands, llvm::MutableArrayRef<Tensor> results) -> llvm::Error {
    llvm::SmallVector<int64_t> lastKeys = operands[5].valuesAsInt64();
    int64_t total = operands[6].valuesAsInt64()[0];
    // A prompt has as many new tokens as keys in all; entries shorter than the longest are padded at the
    // end. Otherwise every entry has `length` new keys behind its own past.
    bool isPrompt = s.length == total;
    llvm::SmallVector<int64_t> pastLengths;
    for (int64_t last : lastKeys) {
      int64_t past = isPrompt ? 0 : last + 1 - s.length;
      if (last < 0 || last >= s.presentCapacity || past < 0 || past > s.pastCapacity ||
          past + s.length > s.presentCapacity)
        return makeError(ErrorKind::BadInput, "seqlens_k has " + llvm::Twine(last) + " for " + llvm::Twine(s.length) +
                                                  " new tokens and room for " + llvm::Twine(s.presentCapacity) +
                                                  " keys");
      if (s.doRotary)
        if (llvm::Error error = checkPosition(past + s.length - 1, cacheLength))
          return error;
      pastLengths.push_back(past);
    }
    const float *query = operands[0].data<float>();
    const float *key = s.isPacked ? query : operands[1].data<float>();
    const float *value = s.isPacked ? query : operands[2].data<float>();
    const float *cosines = s.doRotary ? operands[7].data<float>() : nullptr;
    const float *sines = s.doRotary ? operands[8].data<float>() : nullptr;
    int64_t queryRow = s.isPacked ? (s.heads + 2 * s.kvHeads) * s.headSize : s.heads * s.headSize;
    int64_t keyRow = s.isPacked ? queryRow : s.kvHeads * s.headSize;
    int64_t keyStart = s.isPacked ? s.heads * s.headSize : 0;
    int64_t valueStart = s.isPacked ? (s.heads + s.kvHeads) * s.headSize : 0;
    int64_t capacityBytes = s.headSize * static_cast<int64_t>(sizeof(float));

    // The caches: the past of every head, then the new rows.
    parallelFor(s.batch * s.kvHeads, [&](int64_t index) {
      int64_t entry = index / s.kvHeads, head = index % s.kvHeads, past = pastLengths[static_cast<size_t>(entry)];
      for (bool isKey : {true, false}) {
        float *present = results[isKey ? 1 : 2].mutableData<float>() + index * s.presentCapacity * s.headSize;
        if (past > 0)
          std::memcpy(present, operands[isKey ? 3 : 4].data<float>() + index * s.pastCapacity * s.headSize,
                      static_cast<size_t>(past * capacityBytes));
        for (int64_t i = 0; i < s.length; ++i) {
          const float *row = (isKey ? key : value) + (entry * s.length + i) * keyRow + (isKey ? keyStart : valueStart) +
                             head * s.headSize;
          float *to = present + (past + i) * s.headSize;
          if (isKey && s.doRotary)
            rotateHead(row, to, s.headSize, half, cosines + (past + i) * half, sines + (past + i) * half,
                       s.interleaved);
          else
            std::copy_n(row, s.headSize, to);
        }
        // Slots beyond the last token are defined, so that results do not depend on old memory.
        std::fill(present + (past + s.length) * s.headSize, present + s.presentCapacity * s.headSize, 0.0f);
      }
    });

    constexpr int64_t rowTile = 64;
    int64_t rowTiles = (s.length + rowTile - 1) / rowTile;
    parallelFor(s.batch * s.heads * rowTiles, [&](int64_t index) {
      int64_t tile = index % rowTiles, head = index / rowTiles % s.heads, entry = index / rowTiles / s.heads;
      int64_t past = pastLengths[static_cast<size_t>(entry)], begin = tile * rowTile;
      int64_t rows = std::min(rowTile, s.length - begin), keys = past + begin + rows;
      int64_t cacheAt = (entry * s.kvHeads + head / (s.heads / s.kvHeads)) * s.presentCapacity * s.headSize;
      const float *keyCache = results[1].data<float>() + cacheAt, *valueCache = results[2].data<float>() + cacheAt;
      auto *rotated = static_cast<float *>(threadScratch(0, static_cast<size_t>(rows * capacityBytes)));
      auto *scores = static_cast<float *>(threadScratch(1, static_cast<size_t>(rows * keys) * sizeof(float)));
      for (int64_t i = 0; i < rows; ++i) {
        const float *row = query + (entry * s.length + begin + i) * queryRow + head * s.headSize;
        int64_t position = past + begin + i;
        if (s.doRotary)
          rotateHead(row, rotated + i * s.headSize, s.headSize, half, cosines + position * half,
                     sines + position * half, s.interleaved);
        else
          std::copy_n(row, s.headSize, rotated + i * s.headSize);
      }
      multiplyMatrices(false, true, rows, keys, s.headSize, s.scale, rotated, s.headSize, keyCache, s.headSize, 0,
                       scores, keys);
      for (int64_t i = 0; i < rows; ++i) {
        float *row = scores + i * keys;
        int64_t end = past + begin + i + 1, start = s.window > 0 ? std::max<int64_t>(0, end - s.window) : 0;
        simd([=]() NIBBLE_INLINE {
          if (s.softcap > 0)
            for (int64_t k = start; k < end; ++k)
              row[k] = s.softcap * fastTanh(row[k] / s.softcap);
          softmaxRow(row + start, row + start, end - start);
        });
        std::fill(row, row + start, 0.0f);
        std::fill(row + end, row + keys, 0.0f);
      }
      multiplyMatrices(false, false, rows, s.headSize, keys, 1, scores, keys, valueCache, s.headSize, 0,
                       results[0].mutableData<float>() + ((entry * s.length + begin) * s.heads + head) * s.headSize,
                       s.heads * s.headSize);
    });
    return llvm::Error::success();
  };
  return kernel;
}

} // namespace

void registerAttentionKernels(KernelRegistry &registry) {
  registry["nn.rotary_embedding"] = makeRotaryEmbedding;
  registry["nn.group_query_attention"] = makeGroupQueryAttention;
}

} // namespace nibble::runtime
