#include "lib/Support/Parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

// Libraries that were built with OpenMP must not start threads of their own inside a tile. The
// symbol is weak because a build without such a library has no OpenMP runtime to tell.
extern "C" void omp_set_num_threads(int) __attribute__((weak));

namespace nibble {
namespace {

thread_local bool insideTile = false;

void makeThreadSerial() {
  if (omp_set_num_threads)
    omp_set_num_threads(1);
}

/// Tells the processor that the thread waits for another.
void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Threads wait for a batch of tiles; the calling thread takes part, so `count` threads in all. A batch
/// of a model's operation takes microseconds, so threads first wait awake for a short while; and the
/// caller waits only for threads that have begun, so that a busy machine does not delay it.
class Pool {
public:
  explicit Pool(unsigned count) {
    for (unsigned i = 1; i < count; ++i)
      workers.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
      ++generation;
    }
    wake.notify_all();
    for (std::thread &worker : workers)
      worker.join();
  }
  void run(int64_t count, llvm::function_ref<void(int64_t)> body) {
    std::lock_guard<std::mutex> oneBatchAtATime(batchMutex);
    bool someSleep;
    {
      std::lock_guard<std::mutex> lock(mutex);
      current = body;
      end = count;
      next.store(0, std::memory_order_relaxed);
      isOpen = true;
      ++generation;
      someSleep = sleeping > 0;
    }
    if (someSleep)
      wake.notify_all();
    drain(body, count);
    for (int spin = 0; spin < spinLimit && running.load(std::memory_order_relaxed) != 0; ++spin)
      relax();
    std::unique_lock<std::mutex> lock(mutex);
    isOpen = false;
    done.wait(lock, [this] { return running == 0; });
  }

private:
  /// About 50 microseconds.
  static constexpr int spinLimit = 1000;

  void drain(llvm::function_ref<void(int64_t)> body, int64_t count) {
    insideTile = true;
    for (int64_t tile; (tile = next.fetch_add(1)) < count;)
      body(tile);
    insideTile = false;
  }
  void work() {
    makeThreadSerial();
    uint64_t seen = 0;
    while (true) {
      for (int spin = 0; spin < spinLimit && generation.load(std::memory_order_relaxed) == seen; ++spin)
        relax();
      std::unique_lock<std::mutex> lock(mutex);
      ++sleeping;
      wake.wait(lock, [&] { return generation != seen; });
      --sleeping;
      if (stopping)
        return;
      seen = generation;
      if (!isOpen)
        continue;
      ++running;
      llvm::function_ref<void(int64_t)> body = current;
      int64_t count = end;
      lock.unlock();
      drain(body, count);
      lock.lock();
      if (--running == 0)
        done.notify_one();
    }
  }

  std::vector<std::thread> workers;
  std::mutex batchMutex, mutex;
  std::condition_variable wake, done;
  llvm::function_ref<void(int64_t)> current;
  std::atomic<int64_t> next{0};
  int64_t end = 0;
  /// Threads in the batch beside the caller, and threads that wait for one.
  std::atomic<size_t> running{0};
  size_t sleeping = 0;
  std::atomic<uint64_t> generation{0};
  /// Whether a thread may still join the batch.
  bool isOpen = false;
  bool stopping = false;
};

unsigned threadCount = 0;

Pool &getPool() {
  static Pool pool(getThreadCount());
  return pool;
}

} // namespace

void setThreadCount(unsigned count) { threadCount = std::max(1u, count); }

unsigned getThreadCount() {
  return threadCount ? threadCount : std::max(1u, std::thread::hardware_concurrency());
}

void parallelFor(int64_t count, llvm::function_ref<void(int64_t)> body) {
  if (count <= 0)
    return;
  if (count == 1 || insideTile || getThreadCount() == 1) {
    static thread_local bool serial = (makeThreadSerial(), true);
    (void)serial;
    for (int64_t tile = 0; tile < count; ++tile)
      body(tile);
    return;
  }
  makeThreadSerial();
  getPool().run(count, body);
}

} // namespace nibble
