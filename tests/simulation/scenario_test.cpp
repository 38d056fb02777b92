#include "tests/simulation/scenario.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

namespace troupe::sim {
namespace {

/// With TROUPE_REWRITE=1 what happens is written down as what is expected; read the difference before keeping it.
bool rewriting() {
  const auto* wanted = std::getenv("TROUPE_REWRITE");
  return wanted && std::string_view{wanted} == "1";
}

std::string title_of(const std::string& file) {
  auto name = std::filesystem::path{file}.stem().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

class Scenario : public testing::TestWithParam<std::string> {};

TEST_P(Scenario, IsPlayedAsItIsTold) {
  const auto text = read_text(GetParam());
  ASSERT_TRUE(text.ok()) << text.error().text;
  const auto told = scenario::parse(GetParam(), *text);
  ASSERT_TRUE(told.ok()) << told.error().text;
  const auto out = told->play();
  if (rewriting() && out.text != *text) {
    const auto written = write_text(GetParam(), out.text);
    EXPECT_TRUE(written.ok()) << written.error().text;
  }
  EXPECT_TRUE(rewriting() ? out.violations.empty() : out.ok()) << complaint(*told, out);
}

TEST_P(Scenario, KeepsItsPromiseWithOtherSeedsToo) {
  const auto told = scenario::parse(GetParam(), *read_text(GetParam()));
  ASSERT_TRUE(told.ok()) << told.error().text;
  for (std::uint64_t seed = 101; seed <= 103; ++seed) {
    const auto out = told->play({.seed = seed});
    EXPECT_TRUE(rewriting() || out.ok()) << "with seed " << seed << "\n" << complaint(*told, out);
  }
}

TEST_P(Scenario, BeginsWithThePromiseThatItShows) {
  EXPECT_TRUE(read_text(GetParam())->starts_with("# ")) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(Told, Scenario, testing::ValuesIn(scenarios_at(TROUPE_SCENARIOS)),
                         [](const auto& file) { return title_of(file.param); });

constexpr std::string_view short_story =
    "# Two of three are enough.\n"
    "cluster nodes=3 seed=5\n"
    "topic orders 1,2,3 min.insync.replicas=2\n"
    "\n"
    "kill 3\n"
    "produce orders/0 2\n"
    "    stored [0, 3)\n"
    "    by magic\n";

TEST(ScenarioText, TheSameTextPlaysTheSameHistory) {
  const auto told = scenario::parse("story", short_story);
  ASSERT_TRUE(told.ok()) << told.error().text;
  const auto once = told->play(), again = told->play();
  EXPECT_EQ(once.fingerprint, again.fingerprint);
  EXPECT_EQ(once.text, again.text);
}

TEST(ScenarioText, WhatHappensOtherwiseIsShownBesideWhatWasExpected) {
  const auto told = scenario::parse("story", short_story);
  ASSERT_TRUE(told.ok()) << told.error().text;
  const auto out = told->play();
  EXPECT_FALSE(out.ok());
  ASSERT_EQ(out.differences.size(), 2u);
  EXPECT_EQ(out.differences[1].line, 6u);
  const auto text = complaint(*told, out);
  EXPECT_NE(text.find("story:6: produce orders/0 2\n  expected  stored [0, 3)\n  expected  by magic\n"
                      "  actual    stored [0, 2)\n"),
            std::string::npos)
      << text;
}

TEST(ScenarioText, RewrittenItAgreesWithItself) {
  const auto first = scenario::parse("story", short_story)->play();
  const auto again = scenario::parse("story", first.text);
  ASSERT_TRUE(again.ok()) << again.error().text;
  const auto out = again->play();
  EXPECT_TRUE(out.ok()) << complaint(*again, out);
  EXPECT_EQ(out.text, first.text);
  EXPECT_TRUE(first.text.starts_with("# Two of three are enough.\ncluster nodes=3 seed=5\n    nodes 1,2,3 active;"));
}

std::string refusal_of(std::string text) {
  const auto told = scenario::parse("bad.txt", "cluster nodes=3\n" + text);
  return told ? "none" : told.error().text;
}

TEST(ScenarioText, WhatCannotBeReadIsRefusedWithFileAndLine) {
  EXPECT_EQ(scenario::parse("bad.txt", "").error().text, "bad.txt:0: a scenario begins with 'cluster'");
  EXPECT_EQ(scenario::parse("bad.txt", "# why\nkill 1\n").error().text, "bad.txt:2: 'cluster' expected before 'kill'");
  EXPECT_EQ(scenario::parse("bad.txt", "cluster nodes=0\n").error().text, "bad.txt:1: from 1 to 9 nodes");
  EXPECT_EQ(refusal_of("\nexplode 1\n"), "bad.txt:3: there is no command 'explode'");
  EXPECT_EQ(refusal_of("kill\n"), "bad.txt:2: a node expected");
  EXPECT_EQ(refusal_of("kill 4\n"), "bad.txt:2: there is no node 4");
  EXPECT_EQ(refusal_of("kill one\n"), "bad.txt:2: 'one' names no node");
  EXPECT_EQ(refusal_of("kill 1 2\n"), "bad.txt:2: '2' is too much");
  EXPECT_EQ(refusal_of("tick 10\n"), "bad.txt:2: '10' is no duration (300ms, 11s, 2min, 1h, 10y)");
  EXPECT_EQ(refusal_of("cut 1 2\n"), "bad.txt:2: '->' expected before '2'");
  EXPECT_EQ(refusal_of("isr orders\n"), "bad.txt:2: 'orders' is no partition (orders/0)");
  EXPECT_EQ(refusal_of("wait isr orders/0 = 1,2\n"), "bad.txt:2: 'within' expected");
  EXPECT_EQ(refusal_of("wait mood = good within 1s\n"), "bad.txt:2: there is no query 'mood'");
  EXPECT_EQ(refusal_of("lose hope\n"), "bad.txt:2: there is no letter 'hope'");
  EXPECT_EQ(refusal_of("    stray\nkill 1\n    x\n\n    stray\n"),
            "bad.txt:6: expected output stands directly below its command");
  EXPECT_EQ(refusal_of("kill 1\n  x\n"),
            "bad.txt:3: a command begins in the first column, and output is indented by four spaces");
  EXPECT_EQ(refusal_of("drift 1 fast\n"), "bad.txt:2: 'fast' is no percentage (9%)");
  EXPECT_EQ(refusal_of("slow disk 1 4s..1s\n"), "bad.txt:2: '4s..1s' ends before it begins");
  EXPECT_EQ(refusal_of("produce orders/0 0\n"), "bad.txt:2: at least one record");
}

}  // namespace
}  // namespace troupe::sim
