// What is shown, and when, with a clock that the test moves.
#include "lib/Support/Json.h"
#include "lib/Support/Progress.h"
#include "tests/unit/TestFiles.h"
#include "llvm/ADT/StringExtras.h"

using namespace nibble;
using namespace nibble::test;

namespace {

struct Recorder {
  double now = 0;
  std::string text;
  llvm::raw_string_ostream os{text};
  Progress progress;
  Recorder(ProgressMode mode, bool isTerminal)
      : progress(Progress::Options{mode, [this] { return now; }, isTerminal}, os) {}
  void steps(int count, double secondsEach) {
    for (int i = 0; i < count; ++i) {
      now += secondsEach;
      progress.advance();
    }
  }
  size_t lines() const { return llvm::count(text, '\n'); }
};

TEST(Progress, ShortPhasesAreSilent) {
  for (ProgressMode mode : {ProgressMode::Auto, ProgressMode::Plain, ProgressMode::JSON}) {
    Recorder recorder(mode, true);
    recorder.progress.begin("calibrate", 10, "sample");
    recorder.steps(10, 0.15);
    recorder.progress.end();
    EXPECT_EQ(recorder.text, "");
  }
}

TEST(Progress, LogsGetALinePerTenSeconds) {
  Recorder recorder(ProgressMode::Auto, /*isTerminal=*/false);
  recorder.progress.begin("calibrate", 40, "sample");
  recorder.steps(30, 1);
  // After 3, 13 and 23 seconds.
  EXPECT_EQ(recorder.lines(), 3u) << recorder.text;
  EXPECT_NE(recorder.text.find("calibrate: 3/40 samples, 1.0/s, 0:37 left\n"), std::string::npos) << recorder.text;
  recorder.steps(10, 1);
  recorder.progress.end();
  EXPECT_NE(recorder.text.find("calibrate: 40/40 samples, 1.0/s, took 0:40\n"), std::string::npos) << recorder.text;
}

TEST(Progress, TerminalsGetOneLineThatIsRewritten) {
  Recorder recorder(ProgressMode::Auto, /*isTerminal=*/true);
  recorder.progress.begin("emulate", 0, "sample");
  recorder.now = 65;
  recorder.progress.tick();
  EXPECT_EQ(recorder.text, "\r\x1b[Kemulate, 1:05 so far");
  recorder.progress.begin("verify", 1, "file");
  EXPECT_EQ(recorder.lines(), 1u);
}

TEST(Progress, JsonLinesCanBeParsed) {
  Recorder recorder(ProgressMode::JSON, true);
  recorder.progress.begin("calibrate", 8, "sample");
  recorder.steps(4, 1);
  recorder.progress.end();
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(recorder.text).split(lines, '\n', -1, false);
  ASSERT_EQ(lines.size(), 2u) << recorder.text;
  llvm::Expected<llvm::json::Value> first = parseJson(lines[0], "line");
  ASSERT_TRUE(static_cast<bool>(first));
  EXPECT_EQ(first->getAsObject()->getInteger("done"), 3);
  EXPECT_EQ(first->getAsObject()->getNumber("seconds_left"), 5);
}

TEST(Progress, TimeLeftShrinksWhileAStepLasts) {
  Recorder recorder(ProgressMode::JSON, false);
  recorder.progress.begin("score", 3, "run");
  recorder.steps(1, 20);
  recorder.now += 15;
  recorder.progress.tick();
  EXPECT_NE(recorder.text.find("\"seconds_left\":40"), std::string::npos) << recorder.text;
  EXPECT_NE(recorder.text.find("\"seconds_left\":25"), std::string::npos) << recorder.text;
}

TEST(Progress, NotesHaveTheFormOfTheMode) {
  Recorder json(ProgressMode::JSON, false);
  json.progress.say("note", "said \"once\"");
  json.progress.say("warning", "broken \xff");
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(json.text).split(lines, '\n', -1, false);
  ASSERT_EQ(lines.size(), 2u) << json.text;
  llvm::Expected<llvm::json::Value> first = parseJson(lines[0], "line"), second = parseJson(lines[1], "line");
  ASSERT_TRUE(static_cast<bool>(first) && static_cast<bool>(second));
  EXPECT_EQ(first->getAsObject()->getString("note"), "said \"once\"");

  Recorder plain(ProgressMode::Plain, false);
  plain.progress.say("note", "text");
  EXPECT_EQ(plain.text, "note: text\n");

  Recorder terminal(ProgressMode::Auto, true);
  terminal.progress.begin("calibrate", 8, "sample");
  terminal.steps(1, 3);
  size_t drawn = terminal.text.size();
  terminal.progress.say("note", "text");
  EXPECT_EQ(terminal.text.substr(drawn), "\r\x1b[Knote: text\n");

  Recorder none(ProgressMode::None, false);
  none.progress.say("note", "text");
  none.progress.say("warning", "text");
  EXPECT_EQ(none.text, "warning: text\n");
}

TEST(Progress, NoneShowsNothing) {
  Recorder recorder(ProgressMode::None, true);
  recorder.progress.begin("calibrate", 8, "sample");
  recorder.steps(8, 100);
  recorder.progress.end();
  EXPECT_EQ(recorder.text, "");
}

TEST(Progress, ModesHaveNames) {
  EXPECT_EQ(parseProgressMode("json"), ProgressMode::JSON);
  EXPECT_EQ(parseProgressMode("fancy"), std::nullopt);
}

} // namespace
