#include "lib/Support/Progress.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/Process.h"
#include <algorithm>
#include <chrono>

namespace nibble {
namespace {

constexpr double secondsBeforeShown = 2, secondsBetweenLines = 10, secondsBetweenRedraws = 0.1;

double steadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string formatDuration(double seconds) {
  int64_t whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600)
    return llvm::formatv("{0}:{1,0+2}:{2,0+2}", whole / 3600, whole / 60 % 60, whole % 60).str();
  return llvm::formatv("{0}:{1,0+2}", whole / 60, whole % 60).str();
}

} // namespace

std::optional<ProgressMode> parseProgressMode(llvm::StringRef word) {
  return llvm::StringSwitch<std::optional<ProgressMode>>(word)
      .Case("auto", ProgressMode::Auto).Case("plain", ProgressMode::Plain)
      .Case("json", ProgressMode::JSON).Case("none", ProgressMode::None)
      .Default(std::nullopt);
}

Progress::Progress(Options given, llvm::raw_ostream &os) : options(std::move(given)), os(os) {
  if (options.mode == ProgressMode::Auto && !options.isTerminal)
    options.mode = ProgressMode::Plain;
  if (options.clock || options.mode == ProgressMode::None) {
    if (!options.clock)
      options.clock = steadySeconds;
    return;
  }
  options.clock = steadySeconds;
  // A phase may be one long call into a library, during which nobody calls `advance`.
  ticker = std::thread([this] {
    std::unique_lock<std::mutex> lock(mutex);
    while (!stopping) {
      wake.wait_for(lock, std::chrono::duration<double>(secondsBetweenRedraws));
      lock.unlock();
      tick();
      lock.lock();
    }
  });
}

Progress::Progress(ProgressMode mode)
    : Progress(Options{mode, {}, llvm::sys::Process::StandardErrIsDisplayed()}, llvm::errs()) {}

Progress::~Progress() {
  end();
  {
    std::lock_guard<std::mutex> lock(mutex);
    stopping = true;
  }
  wake.notify_all();
  if (ticker.joinable())
    ticker.join();
}

void Progress::begin(llvm::StringRef newPhase, int64_t newTotal, llvm::StringRef newUnit) {
  end();
  std::lock_guard<std::mutex> lock(mutex);
  phase = newPhase.str();
  unit = newUnit.str();
  total = newTotal;
  done = 0;
  started = lastAdvanced = options.clock();
  lastShown = -1e9;
  shown = false;
  active = true;
}

void Progress::advance(int64_t steps) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    done += steps;
    lastAdvanced = options.clock();
  }
  tick();
}

void Progress::end() {
  std::lock_guard<std::mutex> lock(mutex);
  if (active && shown)
    show(options.clock(), /*isLast=*/true);
  active = false;
}

void Progress::say(llvm::StringRef kind, llvm::StringRef text) {
  std::lock_guard<std::mutex> lock(mutex);
  if (options.mode == ProgressMode::None && kind == "note")
    return;
  if (options.mode == ProgressMode::JSON) {
    os << llvm::json::Value(llvm::json::Object{{kind, llvm::json::fixUTF8(text)}}) << '\n';
  } else {
    // The line that is being rewritten makes room, and is drawn again when it is next due.
    if (options.mode == ProgressMode::Auto && active && shown)
      os << "\r\x1b[K";
    os << kind << ": " << text << '\n';
  }
  os.flush();
}

void Progress::tick() {
  std::lock_guard<std::mutex> lock(mutex);
  if (!active || options.mode == ProgressMode::None)
    return;
  double now = options.clock();
  double interval = options.mode == ProgressMode::Auto ? secondsBetweenRedraws : secondsBetweenLines;
  if (now - started > secondsBeforeShown && now - lastShown >= interval)
    show(now, /*isLast=*/false);
}

void Progress::show(double now, bool isLast) {
  double elapsed = now - started;
  if (options.mode == ProgressMode::JSON) {
    llvm::json::Object line{{"phase", phase}, {"unit", unit}, {"done", done}, {"seconds", elapsed}, {"ended", isLast}};
    if (total > 0)
      line["total"] = total;
    if (rate() > 0) {
      line["rate"] = rate();
      if (total > done)
        line["seconds_left"] = secondsLeft(now);
    }
    os << llvm::json::Value(std::move(line)) << '\n';
  } else if (options.mode == ProgressMode::Auto) {
    os << "\r\x1b[K" << describe(now, isLast);
    if (isLast)
      os << '\n';
  } else {
    os << describe(now, isLast) << '\n';
  }
  os.flush();
  lastShown = now;
  shown = true;
}

double Progress::rate() const {
  double spent = lastAdvanced - started;
  return spent > 0 ? static_cast<double>(done) / spent : 0;
}

double Progress::secondsLeft(double now) const {
  return std::max(0.0, static_cast<double>(total - done) / rate() - (now - lastAdvanced));
}

std::string Progress::describe(double now, bool isLast) const {
  double elapsed = now - started;
  std::string text = phase;
  llvm::StringRef plural = llvm::StringRef(unit).ends_with("s") ? "es" : "s";
  if (total > 0)
    text += llvm::formatv(": {0}/{1} {2}{3}", done, total, unit, plural).str();
  else if (done > 0)
    text += llvm::formatv(": {0} {1}{2}", done, unit, plural).str();
  if (rate() > 0)
    text += llvm::formatv(", {0:f1}/s", rate()).str();
  if (isLast)
    return text + ", took " + formatDuration(elapsed);
  if (rate() > 0 && total > done)
    return text + ", " + formatDuration(secondsLeft(now)) + " left";
  return text + ", " + formatDuration(elapsed) + " so far";
}

} // namespace nibble
