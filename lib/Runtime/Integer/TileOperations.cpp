//===- TileOperations.cpp - loops of elementwise operations ----------------===//
//
// Integer semantics of TOSA 1.0. Sums and products that leave 32 bits are unpredictable
// there; here they wrap.
//
//===----------------------------------------------------------------------===//
#include "lib/Runtime/Float/Simd.h"
#include "lib/Runtime/Integer/TileProgram.h"

#include <bit>
#include <cstring>

namespace nibble::runtime {
namespace {

/// The low `width` bits of `value` with the sign that they have.
NIBBLE_INLINE inline int32_t signExtend(uint32_t value, int width) {
  return static_cast<int32_t>(value << (32 - width)) >> (32 - width);
}

NIBBLE_INLINE inline int32_t wrapAdd(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}
NIBBLE_INLINE inline int32_t wrapSubtract(int32_t a, int32_t b) {
  return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
}

/// What rounding adds before the shift.
NIBBLE_INLINE inline int64_t roundingOf(int64_t value, int64_t shift, bool doubleRound) {
  int64_t round = int64_t(1) << (shift - 1);
  if (!doubleRound)
    return round;
  int64_t first = value >= 0 ? int64_t(1) << 30 : -(int64_t(1) << 30);
  return shift > 31 ? round + first : round;
}

/// The value of a table of 512 entries at a 16-bit integer.
NIBBLE_INLINE inline int32_t readWords(const int32_t *table, int32_t x) {
  int32_t entry = table[(x + 32768) >> 7], base = static_cast<int16_t>(entry), step = entry >> 16;
  return base * 128 + step * (x & 127);
}

template <class Function>
NIBBLE_INLINE inline void map1(int64_t count, const void *a, void *result, Function function) {
  const int32_t *x = static_cast<const int32_t *>(a);
  int32_t *out = static_cast<int32_t *>(result);
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i)
      out[i] = function(x[i]);
  });
}

template <class Function>
NIBBLE_INLINE inline void map2(int64_t count, const void *a, const void *b, void *result, Function function) {
  const int32_t *x = static_cast<const int32_t *>(a), *y = static_cast<const int32_t *>(b);
  int32_t *out = static_cast<int32_t *>(result);
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i)
      out[i] = function(x[i], y[i]);
  });
}

/// Neighbours in the halves of 64 bits: products of 32-bit integers fill 64 bits, and machines form them from every
/// other element of a vector, so that halves spare the moves between vectors of 32 and of 64 bits.
struct Pair {
  int64_t first, second;
};
NIBBLE_INLINE inline Pair loadPair(const int32_t *from) {
  int64_t both;
  std::memcpy(&both, from, sizeof both);
  Pair pair{static_cast<int32_t>(both), both >> 32};
  if constexpr (std::endian::native == std::endian::big)
    std::swap(pair.first, pair.second);
  return pair;
}
NIBBLE_INLINE inline void storePair(int32_t *to, Pair pair) {
  if constexpr (std::endian::native == std::endian::big)
    std::swap(pair.first, pair.second);
  uint64_t both = static_cast<uint32_t>(pair.first) | static_cast<uint64_t>(pair.second) << 32;
  std::memcpy(to, &both, sizeof both);
}

/// out[i] = the low 32 bits of function(i, ...operands[i]), which is computed in 64.
template <class Function, class... Operands>
NIBBLE_INLINE inline void mapPairs(int64_t count, int32_t *out, Function function, const Operands *...operands) {
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count / 2; ++i)
      storePair(out + 2 * i, {function(loadPair(operands + 2 * i).first...), function(loadPair(operands + 2 * i).second...)});
    if (count % 2)
      out[count - 1] = static_cast<int32_t>(function(int64_t(operands[count - 1])...));
  });
}

/// Zero point and range of results that rescaling left in `out`.
void finishRescale(const TileOperation &op, int64_t count, int32_t *out) {
  int32_t zero = op.outputZero, low = op.low, high = op.high;
  if (zero || low != INT32_MIN || high != INT32_MAX)
    map1(count, out, out, [=](int32_t x) NIBBLE_INLINE { return std::clamp(wrapAdd(x, zero), low, high); });
}

/// `x` less the input's zero point, computed in `out` where that is not 0.
const int32_t *removeZero(const TileOperation &op, int64_t count, const void *x, int32_t *out) {
  int32_t zero = op.inputZero;
  if (!zero)
    return static_cast<const int32_t *>(x);
  map1(count, x, out, [=](int32_t value) NIBBLE_INLINE { return wrapSubtract(value, zero); });
  return out;
}

/// One multiplier for all elements. A value that the operation allows gives a 32-bit result.
void rescale(const TileOperation &op, int64_t count, const void *a, void *result) {
  int32_t *out = static_cast<int32_t *>(result);
  const int32_t *x = removeZero(op, count, a, out);
  int64_t multiplier = op.multiplier, shift = op.shift, round = int64_t(1) << (shift - 1);
  if (op.doubleRound && shift > 31)
    mapPairs(count, out, [=](int64_t value) NIBBLE_INLINE {
      return (value * multiplier + roundingOf(value, shift, true)) >> shift;
    }, x);
  else
    mapPairs(count, out, [=](int64_t value) NIBBLE_INLINE { return (value * multiplier + round) >> shift; }, x);
  finishRescale(op, count, out);
}

/// A multiplier and a shift for every element.
void rescaleEach(const TileOperation &op, int64_t count, const std::array<const void *, 3> &operands, void *result) {
  int32_t *out = static_cast<int32_t *>(result);
  const int32_t *x = removeZero(op, count, operands[0], out);
  const int32_t *multipliers = static_cast<const int32_t *>(operands[1]);
  const int32_t *shifts = static_cast<const int32_t *>(operands[2]);
  auto loop = [=](auto isDouble) NIBBLE_INLINE {
    mapPairs(count, out, [=](int64_t value, int64_t multiplier, int64_t shift) NIBBLE_INLINE {
      return (value * multiplier + roundingOf(value, shift, isDouble())) >> shift;
    }, x, multipliers, shifts);
  };
  if (op.doubleRound)
    loop(std::true_type());
  else
    loop(std::false_type());
  finishRescale(op, count, out);
}

void rescaleWideEach(const TileOperation &op, int64_t count, const std::array<const void *, 3> &operands,
                     void *result) {
  const int64_t *x = static_cast<const int64_t *>(operands[0]);
  const int32_t *multipliers = static_cast<const int32_t *>(operands[1]);
  const int32_t *shifts = static_cast<const int32_t *>(operands[2]);
  int32_t *out = static_cast<int32_t *>(result);
  int64_t zero = op.inputZero, outputZero = op.outputZero, low = op.low, high = op.high;
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i) {
      int64_t shift = shifts[i], round = int64_t(1) << (shift - 1);
      int64_t scaled = ((x[i] - zero) * multipliers[i] + round) >> shift;
      out[i] = static_cast<int32_t>(std::clamp(scaled + outputZero, low, high));
    }
  });
}

void rescaleWide(const TileOperation &op, int64_t count, const void *a, void *result) {
  const int64_t *x = static_cast<const int64_t *>(a);
  int32_t *out = static_cast<int32_t *>(result);
  int64_t zero = op.inputZero, outputZero = op.outputZero, low = op.low, high = op.high;
  int64_t multiplier = op.multiplier, shift = op.shift, round = int64_t(1) << (shift - 1);
  simd([=]() NIBBLE_INLINE {
    NIBBLE_INDEPENDENT
    for (int64_t i = 0; i < count; ++i) {
      int64_t scaled = ((x[i] - zero) * multiplier + round) >> shift;
      out[i] = static_cast<int32_t>(std::clamp(scaled + outputZero, low, high));
    }
  });
}

} // namespace

int32_t readTableWords(const std::vector<int32_t> &table, int16_t x) { return readWords(table.data(), x); }

void runTileOperation(const TileOperation &op, int64_t count, const std::array<const void *, 3> &operands,
                      void *result) {
  const void *a = operands[0], *b = operands[1];
  int width = op.width;
  uint32_t mask = width == 32 ? ~0u : (1u << width) - 1;
  switch (op.opcode) {
  case TileOpcode::Add:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return wrapAdd(x, y); });
  case TileOpcode::Subtract:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return wrapSubtract(x, y); });
  case TileOpcode::Multiply:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE {
      return static_cast<int32_t>(static_cast<uint32_t>(x) * static_cast<uint32_t>(y));
    });
  case TileOpcode::MultiplyShift: {
    int64_t round = int64_t(1) << (op.shift - 1);
    return mapPairs(count, static_cast<int32_t *>(result), [round, shift = op.shift](int64_t x, int64_t y) NIBBLE_INLINE {
      return (x * y + round) >> shift;
    }, static_cast<const int32_t *>(a), static_cast<const int32_t *>(b));
  }
  case TileOpcode::ArithmeticRight:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return x >> (y & 31); });
  case TileOpcode::ArithmeticRightRound:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE {
      int32_t last = y > 0 ? x >> ((y - 1) & 31) & 1 : 0;
      return (x >> (y & 31)) + last;
    });
  case TileOpcode::LogicalLeft:
    return map2(count, a, b, result, [width](int32_t x, int32_t y) NIBBLE_INLINE {
      return signExtend(static_cast<uint32_t>(x) << (y & 31), width);
    });
  case TileOpcode::LogicalRight:
    return map2(count, a, b, result, [width, mask](int32_t x, int32_t y) NIBBLE_INLINE {
      return signExtend((static_cast<uint32_t>(x) & mask) >> (y & 31), width);
    });
  case TileOpcode::And:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return x & y; });
  case TileOpcode::Or:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return x | y; });
  case TileOpcode::Xor:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return x ^ y; });
  case TileOpcode::Not:
    return map1(count, a, result, [](int32_t x) NIBBLE_INLINE { return ~x; });
  case TileOpcode::LogicalNot:
    return map1(count, a, result, [](int32_t x) NIBBLE_INLINE { return int32_t(x == 0); });
  case TileOpcode::Divide:
    // What the operation does not allow gives 0 instead of a trap.
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE {
      return y == 0 ? 0 : static_cast<int32_t>(int64_t(x) / y);
    });
  case TileOpcode::Maximum:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return std::max(x, y); });
  case TileOpcode::Minimum:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return std::min(x, y); });
  case TileOpcode::Absolute:
    return map1(count, a, result, [](int32_t x) NIBBLE_INLINE {
      return x == INT32_MIN ? INT32_MAX : x < 0 ? -x : x;
    });
  case TileOpcode::CountLeadingZeros:
    return map1(count, a, result, [](int32_t x) NIBBLE_INLINE {
      return x == 0 ? 32 : __builtin_clz(static_cast<uint32_t>(x));
    });
  case TileOpcode::Negate:
    return map1(count, a, result, [zero = int64_t(op.outputZero) + op.inputZero, low = int64_t(op.low),
                                   high = int64_t(op.high)](int32_t x) NIBBLE_INLINE {
      return static_cast<int32_t>(std::clamp(zero - x, low, high));
    });
  case TileOpcode::Clamp:
    return map1(count, a, result, [low = op.low, high = op.high](int32_t x) NIBBLE_INLINE {
      return std::min(std::max(x, low), high);
    });
  case TileOpcode::Select: {
    const int32_t *condition = static_cast<const int32_t *>(a), *x = static_cast<const int32_t *>(b);
    const int32_t *y = static_cast<const int32_t *>(operands[2]);
    int32_t *out = static_cast<int32_t *>(result);
    return simd([=]() NIBBLE_INLINE {
      NIBBLE_INDEPENDENT
      for (int64_t i = 0; i < count; ++i) {
        int32_t first = x[i], second = y[i];
        out[i] = condition[i] ? first : second;
      }
    });
  }
  case TileOpcode::Equal:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return int32_t(x == y); });
  case TileOpcode::Greater:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return int32_t(x > y); });
  case TileOpcode::GreaterEqual:
    return map2(count, a, b, result, [](int32_t x, int32_t y) NIBBLE_INLINE { return int32_t(x >= y); });
  case TileOpcode::Rescale:
    return rescale(op, count, a, result);
  case TileOpcode::RescaleEach:
    return rescaleEach(op, count, operands, result);
  case TileOpcode::RescaleByPower:
    return map1(count, a, result, [zero = op.inputZero, outputZero = op.outputZero, low = op.low, high = op.high,
                                   shift = op.shift](int32_t x) NIBBLE_INLINE {
      // floor((x + 2^(shift - 1)) / 2^shift) without a sum that could leave 32 bits.
      int32_t rounded = ((wrapSubtract(x, zero) >> (shift - 1)) + 1) >> 1;
      return std::clamp(wrapAdd(rounded, outputZero), low, high);
    });
  case TileOpcode::RescaleByOne:
    return map1(count, a, result, [offset = op.outputZero - op.inputZero, low = op.low,
                                   high = op.high](int32_t x) NIBBLE_INLINE {
      return std::clamp(wrapAdd(x, offset), low, high);
    });
  case TileOpcode::RescaleWide:
    return rescaleWide(op, count, a, result);
  case TileOpcode::RescaleWideEach:
    return rescaleWideEach(op, count, operands, result);
  case TileOpcode::TableEntries:
    return map1(count, a, result, [table = op.table->data(), first = op.inputZero,
                                   last = static_cast<int32_t>(op.table->size()) - 1](int32_t x) NIBBLE_INLINE {
      return table[std::clamp(wrapSubtract(x, first), 0, last)];
    });
  case TileOpcode::TableWords:
    return map1(count, a, result, [table = op.table->data()](int32_t x) NIBBLE_INLINE { return readWords(table, x); });
  case TileOpcode::Wrap:
    return map1(count, a, result, [width](int32_t x) NIBBLE_INLINE {
      return signExtend(static_cast<uint32_t>(x), width);
    });
  case TileOpcode::ToBool:
    return map1(count, a, result, [](int32_t x) NIBBLE_INLINE { return int32_t(x != 0); });
  }
}

} // namespace nibble::runtime
