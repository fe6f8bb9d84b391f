#include "lib/Runtime/Float/Dnnl.h"

#include "llvm/Support/ErrorHandling.h"
#include <array>
#include <atomic>
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

class DnnlPrimitive::Arguments {
public:
  explicit Arguments(const DnnlPrimitive &primitive) {
    add(DNNL_ARG_SRC, primitive.source);
    add(DNNL_ARG_WEIGHTS, primitive.weights);
    add(DNNL_ARG_DST, primitive.target);
    if (primitive.hasBias)
      add(DNNL_ARG_BIAS, primitive.bias);
    if (primitive.scratchBytes)
      add(DNNL_ARG_SCRATCHPAD, {{static_cast<int64_t>(primitive.scratchBytes)}, dnnl::memory::data_type::u8,
                                dnnl::memory::format_tag::a});
  }
  /// `data` in the order of the constructor.
  void set(llvm::ArrayRef<const void *> data) {
    for (auto [memory, pointer] : llvm::zip(memories, data))
      dnnl::error::wrap_c_api(dnnl_memory_set_data_handle(memory.get(), const_cast<void *>(pointer)),
                              "could not set the data of a memory object");
  }
  llvm::ArrayRef<dnnl_exec_arg_t> get() const { return list; }

private:
  void add(int kind, const dnnl::memory::desc &description) {
    memories.emplace_back(description, dnnlEngine(), nullptr);
    list.push_back({kind, memories.back().get()});
  }
  llvm::SmallVector<dnnl::memory, 5> memories;
  llvm::SmallVector<dnnl_exec_arg_t, 5> list;
};

std::shared_ptr<std::array<std::unique_ptr<DnnlPrimitive::Arguments>, 32>> DnnlPrimitive::makeThreadArguments() {
  return std::make_shared<std::array<std::unique_ptr<Arguments>, 32>>();
}

void DnnlPrimitive::run(const void *sourceData, const void *weightData, const void *biasData, void *targetData) const {
  static std::atomic<size_t> threads{0};
  static thread_local const size_t thread = threads++;
  std::unique_ptr<Arguments> own;
  std::unique_ptr<Arguments> &mine = thread < arguments->size() ? (*arguments)[thread] : own;
  if (!mine)
    mine = std::make_unique<Arguments>(*this);
  llvm::SmallVector<const void *, 5> data = {sourceData, weightData, targetData};
  if (hasBias)
    data.push_back(biasData);
  if (scratchBytes)
    data.push_back(scratch(primitiveSlot, scratchBytes));
  mine->set(data);
  llvm::ArrayRef<dnnl_exec_arg_t> list = mine->get();
  dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive.get(), threadStream().get(), static_cast<int>(list.size()), list.data()),
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

} // namespace nibble::runtime
