#include "lib/Runtime/Integer/TileProgram.h"
#include "lib/Runtime/Float/Dnnl.h"
#include "lib/Runtime/Float/Simd.h"

#include "llvm/ADT/STLExtras.h"
#include <cstring>

namespace nibble::runtime {
namespace {

/// The slot of threadScratch for lanes.
constexpr unsigned laneSlot = 3;

/// Calls callback(T()) for the type in memory of elements of `type`, which are signed integers or Bool.
template <class Callback>
void dispatchStored(ElementType type, Callback callback) {
  switch (type) {
  case ElementType::Bool: return callback(uint8_t());
  case ElementType::I8: return callback(int8_t());
  case ElementType::I16: return callback(int16_t());
  case ElementType::I64: return callback(int64_t());
  default: return callback(int32_t());
  }
}

template <class From, class To>
void convertElements(const From *from, To *to, int64_t count) {
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i)
      to[i] = static_cast<To>(from[i]);
  });
}

/// A place in a broadcast tensor.
class BroadcastCursor {
public:
  BroadcastCursor(llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<int64_t> strides, int64_t element)
      : sizes(sizes), strides(strides), position(sizes.size()) {
    for (size_t dim = sizes.size(); dim-- > 0;) {
      position[dim] = element % sizes[dim];
      element /= sizes[dim];
      from += position[dim] * strides[dim];
    }
  }
  int64_t offset() const { return from; }
  int64_t leftInRow() const { return sizes.back() - position.back(); }
  /// Elements until dimension `dim` counts on; all of them where it has just done so.
  bool isAtStartBelow(size_t dim) const {
    return llvm::all_of(llvm::ArrayRef(position).drop_front(dim + 1), [](int64_t index) { return index == 0; });
  }
  int64_t leftIn(size_t dim) const { return sizes[dim] - position[dim]; }
  /// Goes `count` steps along `dim`, at most as many as are left, and to the start of what is below it.
  void advance(size_t dim, int64_t count) {
    for (size_t below = dim + 1; below < sizes.size(); ++below)
      position[below] = 0;
    position[dim] += count;
    from += count * strides[dim];
    while (position[dim] == sizes[dim]) {
      from -= sizes[dim] * strides[dim];
      position[dim] = 0;
      if (dim-- == 0)
        return;
      from += strides[dim];
      ++position[dim];
    }
  }

private:
  llvm::ArrayRef<int64_t> sizes, strides;
  llvm::SmallVector<int64_t, 6> position;
  int64_t from = 0;
};

/// The outermost dimension along which short blocks repeat, and their length; 0 where there is none.
std::pair<size_t, int64_t> findRepeatedBlock(llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<int64_t> strides) {
  constexpr int64_t longestBlock = 512;
  std::pair<size_t, int64_t> found(0, 0);
  int64_t block = 1;
  for (size_t dim = sizes.size(); dim-- > 0 && block <= longestBlock; block *= sizes[dim])
    if (strides[dim] == 0 && block > 1)
      found = {dim, block};
  return found;
}

/// Reads `count` elements from element `begin` of the broadcast tensor on.
template <class T, class L>
void gatherElements(llvm::ArrayRef<int64_t> sizes, llvm::ArrayRef<int64_t> strides, const T *data, int64_t begin,
                    int64_t count, L *lane) {
  BroadcastCursor cursor(sizes, strides, begin);
  auto [repeated, block] = findRepeatedBlock(sizes, strides);
  size_t last = sizes.size() - 1;
  bool isDense = strides.back() != 0;
  simd([=, &cursor]() NIBBLE_INLINE {
    int64_t blockStart = -1;
    for (int64_t at = 0; at < count;) {
      if (block && cursor.isAtStartBelow(repeated)) {
        // The block that has just been read follows as often as its dimension has places left.
        if (blockStart >= 0 && at == blockStart + block) {
          int64_t copies = std::min(cursor.leftIn(repeated), (count - at) / block);
          for (int64_t done = 0; done < copies; ++done)
            std::memcpy(lane + at + done * block, lane + blockStart, static_cast<size_t>(block) * sizeof(L));
          at += copies * block;
          blockStart = -1;
          if (copies) {
            cursor.advance(repeated, copies);
            continue;
          }
        } else if (cursor.leftIn(repeated) > 1) {
          blockStart = at;
        }
      }
      int64_t step = std::min(count - at, cursor.leftInRow());
      L *to = lane + at;
      const T *row = data + cursor.offset();
      if (isDense) {
        NIBBLE_INDEPENDENT
        for (int64_t i = 0; i < step; ++i)
          to[i] = static_cast<L>(row[i]);
      } else {
        std::fill_n(to, step, static_cast<L>(row[0]));
      }
      at += step;
      cursor.advance(last, step);
    }
  });
}

} // namespace

Lane TileProgram::newLane(bool isWide) {
  LaneInfo lane;
  lane.isWide = isWide;
  lanes.push_back(lane);
  return static_cast<Lane>(lanes.size()) - 1;
}

Lane TileProgram::addSource(Source source, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> resultShape) {
  size_t missing = resultShape.size() - shape.size();
  int64_t stride = 1;
  for (size_t dim = resultShape.size(); dim-- > 0;) {
    int64_t size = resultShape[dim];
    if (size == 1)
      continue;
    bool varies = dim >= missing && shape[dim - missing] != 1;
    bool extends = !source.sizes.empty() && (source.strides.back() != 0) == varies;
    if (extends) {
      source.sizes.back() *= size;
    } else {
      source.sizes.push_back(size);
      source.strides.push_back(varies ? stride : 0);
    }
    stride *= varies ? size : 1;
  }
  if (source.sizes.empty()) {
    source.sizes.push_back(1);
    source.strides.push_back(1);
  }
  std::reverse(source.sizes.begin(), source.sizes.end());
  std::reverse(source.strides.begin(), source.strides.end());
  for (const Source &other : sources)
    if (source.input >= 0 && other.input == source.input && other.sizes == source.sizes &&
        other.strides == source.strides)
      return other.lane;
  source.lane = newLane(source.type == ElementType::I64);
  sources.push_back(std::move(source));
  return sources.back().lane;
}

Lane TileProgram::addInput(unsigned index, ElementType type, llvm::ArrayRef<int64_t> shape,
                           llvm::ArrayRef<int64_t> resultShape) {
  Source source;
  source.input = static_cast<int>(index);
  source.type = type;
  return addSource(std::move(source), shape, resultShape);
}

Lane TileProgram::addConstant(const Tensor &tensor, llvm::ArrayRef<int64_t> shape,
                              llvm::ArrayRef<int64_t> resultShape) {
  Source source;
  source.constant = tensor;
  source.type = tensor.elementType();
  return addSource(std::move(source), shape, resultShape);
}

Lane TileProgram::addOperation(TileOperation operation) {
  operation.result = newLane(false);
  operations.push_back(std::move(operation));
  return operations.back().result;
}

void TileProgram::addOutput(Lane lane, ElementType type) { outputs.push_back({lane, type}); }

int64_t TileProgram::partialBytes() const {
  for (const Source &source : sources)
    if (source.input >= 0 && source.input == partialInput)
      return bitWidth(source.type) / 8;
  return 0;
}

/// Small integers times 128 are the knots of a table of words, which then is one of entries.
void TileProgram::joinTables() {
  constexpr int32_t reach = 32768 / 128;
  for (TileOperation &table : operations) {
    if (table.opcode != TileOpcode::TableWords)
      continue;
    auto scaling = llvm::find_if(operations, [&](const TileOperation &op) { return op.result == table.operands[0]; });
    bool isTimes128 = scaling != operations.end() && scaling->opcode == TileOpcode::Rescale &&
                      int64_t(scaling->multiplier) == int64_t(128) << scaling->shift && !scaling->inputZero &&
                      !scaling->outputZero && scaling->low == INT16_MIN && scaling->high == INT16_MAX;
    if (!isTimes128)
      continue;
    auto entries = std::make_shared<std::vector<int32_t>>();
    for (int32_t x = -reach; x <= reach; ++x)
      entries->push_back(readTableWords(*table.table, static_cast<int16_t>(std::min(x * 128, INT16_MAX))));
    table.opcode = TileOpcode::TableEntries;
    table.table = std::move(entries);
    table.inputZero = -reach;
    table.operands[0] = scaling->operands[0];
  }
}

void TileProgram::dropUnused() {
  std::vector<bool> isRead(lanes.size(), false);
  for (const Output &output : outputs)
    isRead[static_cast<size_t>(output.lane)] = true;
  std::vector<TileOperation> kept;
  for (TileOperation &operation : llvm::reverse(operations)) {
    if (!isRead[static_cast<size_t>(operation.result)])
      continue;
    for (Lane operand : operation.operands)
      if (operand >= 0)
        isRead[static_cast<size_t>(operand)] = true;
    kept.push_back(std::move(operation));
  }
  operations.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
  llvm::erase_if(sources, [&](const Source &source) {
    return !isRead[static_cast<size_t>(source.lane)] && (source.input < 0 || source.input != partialInput);
  });
}

void TileProgram::finish() {
  joinTables();
  dropUnused();
  // The last operation that reads a lane; outputs are read after all.
  int end = static_cast<int>(operations.size());
  std::vector<int> lastUse(lanes.size(), -1);
  std::vector<bool> isComputed(lanes.size(), false);
  for (auto [index, operation] : llvm::enumerate(operations)) {
    isComputed[static_cast<size_t>(operation.result)] = true;
    for (Lane operand : operation.operands)
      if (operand >= 0)
        lastUse[static_cast<size_t>(operand)] = static_cast<int>(index);
  }
  for (auto [index, output] : llvm::enumerate(outputs)) {
    size_t lane = static_cast<size_t>(output.lane);
    lastUse[lane] = end;
    bool isStoredAsIs = output.type == ElementType::I32 && !lanes[lane].isWide;
    if (isStoredAsIs && isComputed[lane] && lanes[lane].directOutput < 0)
      lanes[lane].directOutput = static_cast<int>(index);
  }
  llvm::SmallVector<std::pair<int64_t, int64_t>> freeParts; // offset, bytes
  auto allocate = [&](LaneInfo &lane) {
    int64_t bytes = bytesOf(lane);
    for (auto &part : freeParts)
      if (part.second == bytes) {
        lane.offset = part.first;
        freeParts.erase(&part);
        return;
      }
    lane.offset = scratchBytes;
    scratchBytes += bytes;
  };
  // Sources are filled before the first operation; scalars are filled once for all tiles and never freed.
  std::vector<bool> isKept(lanes.size(), false);
  for (const Source &source : sources) {
    LaneInfo &lane = lanes[static_cast<size_t>(source.lane)];
    bool isReadInPlace = source.isDense() && (source.type == ElementType::I32 || source.type == ElementType::I64);
    isKept[static_cast<size_t>(source.lane)] = source.isScalar();
    if (!isReadInPlace)
      allocate(lane);
  }
  for (auto [index, operation] : llvm::enumerate(operations)) {
    LaneInfo &result = lanes[static_cast<size_t>(operation.result)];
    if (result.directOutput < 0)
      allocate(result);
    llvm::SmallVector<Lane, 3> dead;
    for (Lane operand : operation.operands)
      if (operand >= 0 && lastUse[static_cast<size_t>(operand)] == static_cast<int>(index) &&
          !llvm::is_contained(dead, operand))
        dead.push_back(operand);
    for (Lane operand : dead) {
      const LaneInfo &lane = lanes[static_cast<size_t>(operand)];
      if (lane.offset >= 0 && !isKept[static_cast<size_t>(operand)])
        freeParts.push_back({lane.offset, bytesOf(lane)});
    }
  }
}

void TileProgram::run(int64_t begin, int64_t count, llvm::ArrayRef<const void *> inputs,
                      llvm::ArrayRef<void *> results) const {
  char *scratch = static_cast<char *>(threadScratch(laneSlot, static_cast<size_t>(scratchBytes)));
  llvm::SmallVector<void *, 32> pointers(lanes.size());
  for (size_t i = 0; i < lanes.size(); ++i)
    pointers[i] = lanes[i].offset >= 0 ? scratch + lanes[i].offset : nullptr;
  auto dataOf = [&](const Source &source) {
    return source.input >= 0 ? inputs[static_cast<size_t>(source.input)] : source.constant.raw();
  };
  auto fill = [&](const Source &source, int64_t from, int64_t size) {
    void *lane = pointers[static_cast<size_t>(source.lane)];
    dispatchStored(source.type, [&](auto tag) {
      using T = decltype(tag);
      using L = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
      const T *data = static_cast<const T *>(dataOf(source));
      if (source.isDense())
        convertElements(data + from, static_cast<L *>(lane), size);
      else if (source.isScalar())
        std::fill_n(static_cast<L *>(lane), size, static_cast<L>(data[0]));
      else
        gatherElements(source.sizes, source.strides, data, from, size, static_cast<L *>(lane));
    });
  };
  for (const Source &source : sources)
    if (source.isScalar())
      fill(source, 0, std::min(count, tileSize));
  for (int64_t at = 0; at < count; at += tileSize) {
    int64_t size = std::min(tileSize, count - at), first = begin + at;
    for (const Source &source : sources) {
      if (source.isScalar())
        continue;
      int64_t from = source.input >= 0 && source.input == partialInput ? at : first;
      const LaneInfo &lane = lanes[static_cast<size_t>(source.lane)];
      if (lane.offset >= 0)
        fill(source, from, size);
      else
        pointers[static_cast<size_t>(source.lane)] = const_cast<char *>(
            static_cast<const char *>(dataOf(source)) + from * (source.type == ElementType::I64 ? 8 : 4));
    }
    for (const TileOperation &operation : operations) {
      size_t result = static_cast<size_t>(operation.result);
      if (int output = lanes[result].directOutput; output >= 0)
        pointers[result] = static_cast<int32_t *>(results[static_cast<size_t>(output)]) + first;
      std::array<const void *, 3> operands{};
      for (size_t k = 0; k < 3; ++k)
        if (operation.operands[k] >= 0)
          operands[k] = pointers[static_cast<size_t>(operation.operands[k])];
      runTileOperation(operation, size, operands, pointers[result]);
    }
    for (auto [index, output] : llvm::enumerate(outputs)) {
      const LaneInfo &lane = lanes[static_cast<size_t>(output.lane)];
      if (lane.directOutput == static_cast<int>(index))
        continue;
      const void *from = pointers[static_cast<size_t>(output.lane)];
      void *to = results[index];
      dispatchStored(output.type, [&](auto tag) {
        using T = decltype(tag);
        if (lane.isWide)
          convertElements(static_cast<const int64_t *>(from), static_cast<T *>(to) + first, size);
        else
          convertElements(static_cast<const int32_t *>(from), static_cast<T *>(to) + first, size);
      });
    }
  }
}

} // namespace nibble::runtime
