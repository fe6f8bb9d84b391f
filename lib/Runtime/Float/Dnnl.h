//===- Dnnl.h - oneDNN inside a tile ---------------------------------------===//
//
// oneDNN is called from inside parallelFor tiles, one thread per call. Primitives use
// scratch memory of the calling thread, so one primitive may run in several tiles.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_RUNTIME_FLOAT_DNNL_H
#define NIBBLE_RUNTIME_FLOAT_DNNL_H

#include "lib/Support/Error.h"
#include <array>
#include <dnnl.hpp>
#include <memory>

namespace nibble::runtime {

const dnnl::engine &dnnlEngine();
/// Attributes that every primitive is made with.
dnnl::primitive_attr dnnlAttributes();
/// Uninitialized memory of the calling thread, valid until the next call with the same `slot` (0..3).
void *threadScratch(unsigned slot, size_t bytes);

/// One primitive with the types of its arguments.
struct DnnlPrimitive {
  dnnl::primitive primitive;
  size_t scratchBytes = 0;
  dnnl::memory::desc source, weights, bias, target;
  bool hasBias = false;
  /// What one thread passes to the primitive. Objects of oneDNN for it cost as much to make as a small product.
  class Arguments;
  /// By thread; those of threads beyond the last are made for every run.
  std::shared_ptr<std::array<std::unique_ptr<Arguments>, 32>> arguments;

  template <class Description>
  static DnnlPrimitive make(const Description &description, bool hasBias);
  static std::shared_ptr<std::array<std::unique_ptr<Arguments>, 32>> makeThreadArguments();
  /// Runs on the calling thread. Throws dnnl::error.
  void run(const void *sourceData, const void *weightData, const void *biasData, void *targetData) const;
};

/// Bytes in a layout that oneDNN chose.
struct PackedWeights {
  dnnl::memory::desc description;
  std::shared_ptr<void> data;
};
/// Reorders bytes in one layout into another one.
class WeightPacker {
public:
  WeightPacker() = default;
  /// Throws dnnl::error.
  WeightPacker(const dnnl::memory::desc &plain, const dnnl::memory::desc &packed);
  /// On the calling thread. Throws dnnl::error.
  PackedWeights pack(const void *data) const;

private:
  dnnl::memory::desc plain, packed;
  dnnl::reorder reorder;
};
/// The same for bytes that are packed once.
inline PackedWeights packWeights(const dnnl::memory::desc &plain, const void *data, const dnnl::memory::desc &packed) {
  return WeightPacker(plain, packed).pack(data);
}

/// Calls `body`, which may throw dnnl::error, and turns that into an Internal error about `what`.
template <class Body>
llvm::Error catchDnnl(const llvm::Twine &what, Body &&body) {
  try {
    body();
    return llvm::Error::success();
  } catch (const dnnl::error &error) {
    return makeError(ErrorKind::Internal, "oneDNN fails in " + what + ": " + error.what());
  }
}

template <class Description>
DnnlPrimitive DnnlPrimitive::make(const Description &description, bool hasBias) {
  DnnlPrimitive result;
  result.scratchBytes = description.scratchpad_desc().get_size();
  result.source = description.src_desc();
  result.weights = description.weights_desc();
  result.target = description.dst_desc();
  result.hasBias = hasBias;
  if (hasBias)
    result.bias = description.query_md(dnnl::query::weights_md, 1);
  result.primitive = dnnl::primitive(description.get());
  result.arguments = makeThreadArguments();
  return result;
}

} // namespace nibble::runtime

#endif
