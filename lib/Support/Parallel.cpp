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

/// Threads wait for a batch of tiles; the calling thread takes part, so `count` threads in all.
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
    }
    wake.notify_all();
    for (std::thread &worker : workers)
      worker.join();
  }
  void run(int64_t count, llvm::function_ref<void(int64_t)> body) {
    std::lock_guard<std::mutex> oneBatchAtATime(batchMutex);
    {
      std::lock_guard<std::mutex> lock(mutex);
      current = body;
      end = count;
      next.store(0, std::memory_order_relaxed);
      running = workers.size();
      ++generation;
    }
    wake.notify_all();
    drain(body, count);
    std::unique_lock<std::mutex> lock(mutex);
    done.wait(lock, [this] { return running == 0; });
  }

private:
  void drain(llvm::function_ref<void(int64_t)> body, int64_t count) {
    insideTile = true;
    for (int64_t tile; (tile = next.fetch_add(1)) < count;)
      body(tile);
    insideTile = false;
  }
  void work() {
    makeThreadSerial();
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stopping || generation != seen; });
      if (stopping)
        return;
      seen = generation;
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
  size_t running = 0;
  uint64_t generation = 0;
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
