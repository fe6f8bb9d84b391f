//===- Progress.h - what a long run is doing -------------------------------===//
#ifndef NIBBLE_SUPPORT_PROGRESS_H
#define NIBBLE_SUPPORT_PROGRESS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace nibble {

enum class ProgressMode { Auto, Plain, JSON, None };

/// The mode of `--progress auto|plain|json|none`, or nullopt.
std::optional<ProgressMode> parseProgressMode(llvm::StringRef word);

/// Shows the phase of a run, its count, rate and time left. Only a phase that has taken more than
/// two seconds is shown: on a terminal as one line that is rewritten, in a log as one line per ten
/// seconds, in JSON mode as one object per line at the same times. Thread safe.
class Progress {
public:
  struct Options {
    ProgressMode mode = ProgressMode::Auto;
    /// Seconds from any origin; the steady clock where empty. A given clock also stops the background
    /// thread from being made: `tick` is then called by hand.
    std::function<double()> clock;
    /// Whether `os` is a terminal; decides what Auto means.
    bool isTerminal = false;
  };
  Progress(Options options, llvm::raw_ostream &os);
  /// Progress on the standard error stream.
  explicit Progress(ProgressMode mode);
  ~Progress();
  Progress(const Progress &) = delete;
  Progress &operator=(const Progress &) = delete;

  /// Begins a phase of `total` steps (0 where unknown), each called `unit`, for example "sample".
  /// Ends the phase before it.
  void begin(llvm::StringRef phase, int64_t total, llvm::StringRef unit);
  void advance(int64_t steps = 1);
  void end();
  /// Says something beside the progress, in the form of the mode: a line "note: text", or an object with the
  /// key `kind`. `kind` is "note" or "warning"; None drops notes.
  void say(llvm::StringRef kind, llvm::StringRef text);
  /// Shows the current state if it is time to.
  void tick();

private:
  void show(double now, bool isLast);
  std::string describe(double now, bool isLast) const;
  /// Steps per second up to the last one: while a step lasts, the time left shrinks instead of growing.
  double rate() const;
  double secondsLeft(double now) const;

  Options options;
  llvm::raw_ostream &os;
  std::mutex mutex;
  std::condition_variable wake;
  std::thread ticker;
  bool stopping = false, active = false, shown = false;
  std::string phase, unit;
  int64_t total = 0, done = 0;
  double started = 0, lastAdvanced = 0, lastShown = 0;
};

} // namespace nibble

#endif
