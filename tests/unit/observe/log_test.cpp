#include "runtime/observe/log.hpp"

#include <gtest/gtest.h>

#include <regex>
#include <thread>
#include <vector>

namespace troupe::observe {
namespace {

/// What `write` puts on standard error, without the time stamps.
template <class Write>
std::string lines_of(Write write) {
  testing::internal::CaptureStderr();
  write();
  const std::regex stamp{R"(^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z )", std::regex::multiline};
  return std::regex_replace(testing::internal::GetCapturedStderr(), stamp, "");
}

std::string value_of(const std::string& value) {
  auto line = lines_of([&] { log(level::info, "r", "e", {{"k", value}}); });
  EXPECT_EQ(line.substr(0, 8), "I r e k=");
  EXPECT_EQ(line.back(), '\n');
  return line.substr(8, line.size() - 9);
}

TEST(Log, ALineIsAnEventWithFields) {
  EXPECT_EQ(lines_of([] {
              log(level::info, "partition", "isr_shrunk",
                  {{"entity", "partition/orders/3"}, {"epoch", leader_epoch{7}}, {"isr", "1,2"}, {"silent_ms", 10412}});
            }),
            "I partition isr_shrunk entity=partition/orders/3 epoch=7 isr=1,2 silent_ms=10412\n");
}

TEST(Log, EachLevelHasItsLetter) {
  set_up_log(level::trace);
  EXPECT_EQ(lines_of([] {
              for (auto l : {level::trace, level::debug, level::info, level::warn, level::error}) log(l, "a", "b");
            }),
            "T a b\nD a b\nI a b\nW a b\nE a b\n");
  set_up_log(level::info);
}

TEST(Log, BelowTheLevelNothingIsWritten) {
  set_up_log(level::warn);
  EXPECT_FALSE(logs(level::info));
  EXPECT_TRUE(logs(level::warn));
  EXPECT_EQ(lines_of([] { log(level::info, "a", "b"); }), "");
  set_up_log(level::info);
}

TEST(Log, PlainValuesStayAsTheyAre) {
  EXPECT_EQ(value_of("partition/orders/3"), "partition/orders/3");
  EXPECT_EQ(value_of("Größe→🎭"), "Größe→🎭");
}

TEST(Log, OtherValuesAreQuoted) {
  EXPECT_EQ(value_of(""), R"("")");
  EXPECT_EQ(value_of("two words"), R"("two words")");
  EXPECT_EQ(value_of("a=b"), R"("a=b")");
  EXPECT_EQ(value_of(R"(say "hi" \ bye)"), R"("say \"hi\" \\ bye")");
}

TEST(Log, NoValueBreaksOutOfItsLine) {
  EXPECT_EQ(value_of("x\nE store lost_everything"), R"("x\nE store lost_everything")");
  EXPECT_EQ(value_of("a\r\tb"), R"("a\r\tb")");
  EXPECT_EQ(value_of("\x1b[2J\x7f"), R"("\x1b[2J\x7f")");
  EXPECT_EQ(value_of(std::string{"\0", 1}), R"("\x00")");
}

TEST(Log, WhatIsNotUtf8OrFoolsTerminalsIsEscaped) {
  EXPECT_EQ(value_of("\xff"), R"("\xff")");
  EXPECT_EQ(value_of("\xc3"), R"("\xc3")");                          // cut off
  EXPECT_EQ(value_of("\xc0\xaf"), R"("\xc0\xaf")");                  // overlong
  EXPECT_EQ(value_of("\xed\xa0\x80"), R"("\xed\xa0\x80")");          // a surrogate
  EXPECT_EQ(value_of("\xc2\x9b"), R"("\xc2\x9b")");                  // CSI as one character
  EXPECT_EQ(value_of("\xe2\x80\xae"), R"("\xe2\x80\xae")");          // right-to-left override
  EXPECT_EQ(value_of("\xf4\x90\x80\x80"), R"("\xf4\x90\x80\x80")");  // above U+10FFFF
}

TEST(Log, LongValuesAreCut) {
  EXPECT_EQ(value_of(std::string(5000, 'x')), '"' + std::string(2048, 'x') + "\"…");
  std::string umlauts = "x";
  for (int i = 0; i < 2000; ++i) umlauts += "ä";
  const auto cut = value_of(umlauts);
  EXPECT_EQ(cut.find("\\x"), std::string::npos);  // not through a character
}

TEST(Log, ErrorsAreNamedWithTheirText) {
  EXPECT_EQ(lines_of([] {
              log(level::warn, "r", "e", {{"why", error{errc::busy, "later"}}});
            }),
            "W r e why=\"busy: later\"\n");
}

TEST(Log, LinesOfSeveralThreadsDoNotMix) {
  const auto text = lines_of([] {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([] {
        for (int i = 0; i < 200; ++i) log(level::info, "room", "event", {{"k", std::string(100, 'v')}});
      });
    for (auto& t : threads) t.join();
  });
  const std::string line = "I room event k=" + std::string(100, 'v') + "\n";
  ASSERT_EQ(text.size(), 800 * line.size());
  for (std::size_t i = 0; i < text.size(); i += line.size()) ASSERT_EQ(text.compare(i, line.size(), line), 0);
}

TEST(Log, LevelsHaveNames) {
  EXPECT_EQ(*parse_level("trace"), level::trace);
  EXPECT_EQ(*parse_level("error"), level::error);
  EXPECT_EQ(parse_level("loud").error().text, "\"loud\" is no log level; it is one of trace, debug, info, warn, error");
}

}  // namespace
}  // namespace troupe::observe
