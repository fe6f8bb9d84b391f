#include "lib/Runtime/Float/Dnnl.h"

#include "llvm/Support/ErrorHandling.h"
#include <array>
#include <cstdlib>

namespace nibble::runtime {
namespace {

struct AlignedFree {
  void operator()(void *pointer) const { std::free(pointer); }
};
using AlignedBytes = std::unique_ptr<void, AlignedFree>;

AlignedBytes allocateAligned(size_t bytes) {
  AlignedBytes memory(std::aligned_alloc(64, (bytes + 127) / 64 * 64));
  if (!memory)
    llvm::report_bad_alloc_error("out of memory");
  return memory;
}

dnnl::stream &threadStream() {
  static thread_local dnnl::stream stream(dnnlEngine());
  return stream;
}

/// The slot of threadScratch that primitives use themselves.
constexpr unsigned primitiveSlot = 4;

void *scratch(unsigned slot, size_t bytes) {
  struct Buffer {
    AlignedBytes memory;
    size_t size = 0;
  };
  static thread_local std::array<Buffer, 5> buffers;
  Buffer &buffer = buffers[slot];
  if (buffer.size < bytes) {
    buffer.memory = allocateAligned(bytes);
    buffer.size = bytes;
  }
  return buffer.memory.get();
}

} // namespace

const dnnl::engine &dnnlEngine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::primitive_attr dnnlAttributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

void *threadScratch(unsigned slot, size_t bytes) { return scratch(slot, bytes); }

void DnnlPrimitive::run(const void *sourceData, const void *weightData, const void *biasData, void *targetData) const {
  auto wrap = [](const dnnl::memory::desc &description, const void *data) {
    return dnnl::memory(description, dnnlEngine(), const_cast<void *>(data));
  };
  dnnl::memory in = wrap(source, sourceData), weight = wrap(weights, weightData), out = wrap(target, targetData);
  dnnl::memory scratchMemory, biasMemory;
  std::array<dnnl_exec_arg_t, 5> arguments{{{DNNL_ARG_SRC, in.get()}, {DNNL_ARG_WEIGHTS, weight.get()},
                                            {DNNL_ARG_DST, out.get()}}};
  int count = 3;
  if (hasBias) {
    biasMemory = wrap(bias, biasData);
    arguments[static_cast<size_t>(count++)] = {DNNL_ARG_BIAS, biasMemory.get()};
  }
  if (scratchBytes) {
    dnnl::memory::desc bytes({static_cast<int64_t>(scratchBytes)}, dnnl::memory::data_type::u8,
                             dnnl::memory::format_tag::a);
    scratchMemory = wrap(bytes, scratch(primitiveSlot, scratchBytes));
    arguments[static_cast<size_t>(count++)] = {DNNL_ARG_SCRATCHPAD, scratchMemory.get()};
  }
  dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive.get(), threadStream().get(), count, arguments.data()),
                          "could not execute a primitive");
}

WeightPacker::WeightPacker(const dnnl::memory::desc &plain, const dnnl::memory::desc &packed)
    : plain(plain), packed(packed), reorder(dnnl::reorder::primitive_desc(dnnlEngine(), plain, dnnlEngine(), packed)) {}

PackedWeights WeightPacker::pack(const void *data) const {
  PackedWeights result{packed, std::shared_ptr<void>(allocateAligned(packed.get_size()))};
  dnnl::memory from(plain, dnnlEngine(), const_cast<void *>(data));
  dnnl::memory to(packed, dnnlEngine(), result.data.get());
  reorder.execute(threadStream(), from, to);
  return result;
}

void multiplyMatrices(bool transposeA, bool transposeB, int64_t rows, int64_t columns, int64_t inner, float alpha,
                      const float *a, int64_t leadingA, const float *b, int64_t leadingB, float beta, float *c,
                      int64_t leadingC) {
  dnnl_sgemm(transposeA ? 'T' : 'N', transposeB ? 'T' : 'N', rows, columns, inner, alpha, a, leadingA, b, leadingB,
             beta, c, leadingC);
}

} // namespace nibble::runtime
