#include "tests/simulation/storm.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "tests/simulation/rule_names.hpp"

namespace troupe::sim {
namespace {

std::uint64_t seeds_wanted() {
  const auto* given = std::getenv("TROUPE_SIM_SEEDS");
  return given ? std::strtoull(given, nullptr, 10) : 2000;
}

std::string text_of(std::uint64_t seed, const storm_result& r) {
  auto text = "seed " + std::to_string(seed) + " (" + r.shape + ")\n";
  for (const auto& line : r.story) text += line + "\n";
  for (const auto& v : r.violations) text += "=> " + v + "\n";
  return text;
}

TEST(Storm, WhateverHappensTheInvariantsHoldAndPeaceBringsServiceBack) {
  const auto seeds = seeds_wanted();
  std::atomic<std::uint64_t> next{1}, acknowledged{0}, read{0};
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
    threads.emplace_back([&] {
      for (auto seed = next++; seed <= seeds; seed = next++) {
        const auto r = run_storm({.seed = seed});
        acknowledged += r.acknowledged;
        read += r.read;
        const std::scoped_lock lock{mutex};
        EXPECT_TRUE(r.violations.empty()) << text_of(seed, r);
      }
    });
  for (auto& t : threads) t.join();
  // A storm in which nobody gets anything done proves nothing.
  EXPECT_GT(acknowledged, seeds * 200);
  EXPECT_GT(read, seeds * 1000);
}

TEST(Storm, ASeedReplaysIdentically) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const auto once = run_storm({.seed = seed}), again = run_storm({.seed = seed});
    EXPECT_EQ(once.fingerprint, again.fingerprint) << "seed " << seed;
    EXPECT_EQ(once.events, again.events) << "seed " << seed;
  }
  EXPECT_NE(run_storm({.seed = 1}).fingerprint, run_storm({.seed = 2}).fingerprint);
}

TEST(Rules, HaveDistinctNamesThatAreFoundAgain) {
  for (int i = 0; i < static_cast<int>(rule::count); ++i) {
    const auto r = static_cast<rule>(i);
    EXPECT_EQ(rule_named(to_string(r)), r);
  }
  EXPECT_FALSE(rule_named("none"));
}

}  // namespace
}  // namespace troupe::sim
