//===- Parallel.h - threads that only pick tiles ---------------------------===//
//
// Work is cut into tiles whose shape depends on the problem alone. Each tile is
// computed by one thread; the number of threads decides only who computes it, so
// results are the same bytes at any thread count.
//
//===----------------------------------------------------------------------===//
#ifndef NIBBLE_SUPPORT_PARALLEL_H
#define NIBBLE_SUPPORT_PARALLEL_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include <cstdint>

namespace nibble {

/// Sets the number of threads that parallelFor uses, at least 1. Call before the first parallelFor.
void setThreadCount(unsigned count);
unsigned getThreadCount();

/// Calls `body(tile)` once for every tile in [0, count), from several threads, and waits. Calls
/// from inside a body run serially on the calling thread. `body` must not throw.
void parallelFor(int64_t count, llvm::function_ref<void(int64_t tile)> body);

} // namespace nibble

#endif
