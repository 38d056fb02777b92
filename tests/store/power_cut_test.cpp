#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/store/faulty_disk.hpp"
#include "tests/store/workload.hpp"
#include "tests/support/scratch.hpp"

// Power cuts at random moments of random histories: appends to several logs beside truncations, trims, marks, drops,
// rolling and cleaning with segments of 1 MiB. What the cut leaves is opened and compared with the history.

namespace troupe::test {
namespace {

using store::durability;
using store::log_store;

constexpr int slots = 6;
constexpr std::size_t batch_bytes_max = 60'000;
#ifdef __SANITIZE_THREAD__
constexpr int seeds = 10;  // each is twenty times as slow
#else
constexpr int seeds = 40;
#endif

store::options small_store(unsigned lanes) {
  return {.lanes = lanes,
          .segment_bytes = 1 << 20,
          .block_bytes = 128 << 10,
          .interval = std::chrono::milliseconds{2},
          .reserve_bytes = 1 << 20,
          .hot_bytes = 2 << 20,
          .reader_threads = 1};
}

/// The notices of a store, for the story of a failure.
struct notices {
  std::mutex mutex;
  std::string text;
  store::notice_sink sink() {
    return [this](const store::notice& n) {
      const std::lock_guard lock{mutex};
      text += "    " + n.event + " " + n.fields + "\n";
    };
  }
};

struct cut_options {
  std::uint64_t seed;
  durability level;
  double survival;
  bool torn;
};

class PowerCut : public ::testing::Test {
protected:
  /// Cuts once in the life of the store and once more while it recovers; what both leave must be right.
  void run(const cut_options& options) {
    scratch_directory dir;
    random_source chance{options.seed};
    const unsigned lanes = chance.chance(0.7) ? 1 : 2;
    auto& disk = faulty_disk::instance();
    const auto live = dir.path() / "live", left = dir.path() / "left", left_twice = dir.path() / "left-twice";
    std::filesystem::create_directory(live);
    const auto story = "seed " + std::to_string(options.seed) +
                       (options.level == durability::group ? " group" : " interval") + " survival " +
                       std::to_string(options.survival) + (options.torn ? " torn" : "") + " lanes " +
                       std::to_string(lanes);

    contents start;
    std::vector<store::log_identity> made;
    for (int i = 0; i < slots; ++i) {
      start[i] = {.generation = 1, .exists = true};
      made.push_back(identity_of(i, 1));
    }
    std::vector<step> steps;
    step_counts promised;
    notices before, after;
    disk.watch(live);
    {
      auto opened = log_store::open(live, small_store(lanes), before.sink());
      ASSERT_TRUE(opened.ok()) << story << ": " << opened.error().text;
      auto& store = **opened;
      ASSERT_TRUE(store.create(made, options.level).ok());
      player plays{store, slots, [&](int) { return options.level; }, batch_bytes_max};
      step_counts synced;  // interval: what the last sync covered
      if (options.level == durability::interval)
        disk.on_sync([&](const std::string& path) {
          if (path.find("/interval/") != std::string::npos && !disk.dirty("/interval/seg-"))
            synced = plays.acknowledged();
        });
      const auto length = 60 + chance.below(200);
      disk.plan_cut({.at_call = 1 + chance.below(2 * length),
                     .survival = options.survival,
                     .torn = options.torn,
                     .image = left,
                     .seed = chance(),
                     .at_cut = [&] {
                       promised = options.level == durability::group ? plays.acknowledged() : synced;
                       plays.stop();
                     }});
      history story_of{start, {.seed = chance(), .batch_bytes_max = batch_bytes_max}};
      const auto outstanding = 1 + chance.below(24);
      do {
        steps.push_back(story_of.next());
      } while (plays.play(steps.back(), outstanding) && steps.size() < length);
      EXPECT_FALSE(plays.refusal()) << story << ": " << plays.refusal()->text;
      disk.cut_now();
      disk.on_sync(nullptr);
    }
    disk.release();

    // Dropping and creating go by the catalogue, not by the lane.
    std::vector<int> one_order;
    if (lanes == 1)
      for (int i = 2; i < slots; ++i) one_order.push_back(i);
    contents recovered, again;
    disk.watch(left);
    disk.plan_cut({.at_call = 1 + chance.below(30),
                   .survival = options.survival,
                   .torn = options.torn,
                   .image = left_twice,
                   .seed = chance()});
    check(left, lanes, start, steps, promised, one_order, story, before, recovered);
    disk.release();
    if (HasFailure()) return;
    // Whatever the first recovery left behind, the second must come to the same.
    check(left_twice, lanes, start, steps, promised, one_order, story + ", cut again in recovery", before, again);
    EXPECT_EQ(again, recovered) << story;
  }

  void check(const std::filesystem::path& image, unsigned lanes, const contents& start, const std::vector<step>& steps,
             const step_counts& promised, const std::vector<int>& one_order, const std::string& story, notices& before,
             contents& found) {
    notices after;
    auto opened = log_store::open(image, small_store(lanes), after.sink());
    faulty_disk::instance().cut_now();
    if (!opened) keep(image);
    ASSERT_TRUE(opened.ok()) << story << ": " << opened.error().text;
    std::vector<std::string> trouble;
    found = read_contents(**opened, slots, trouble);
    if (trouble.empty()) trouble = compare(start, steps, promised, found, one_order);
    for (const auto& line : trouble) ADD_FAILURE() << story << ": " << line;
    if (!trouble.empty()) {
      ADD_FAILURE() << "notices before the cut:\n" << before.text << "and after:\n" << after.text;
      keep(image);
      return;
    }
    // It must also go on: a few more steps from here, closed and opened in order.
    std::vector<step> more;
    {
      player plays{**opened, slots, [&](int) { return level_; }, batch_bytes_max};
      history goes_on{found, {.seed = 77, .batch_bytes_max = batch_bytes_max}};
      for (int i = 0; i < 8; ++i) {
        more.push_back(goes_on.next());
        ASSERT_TRUE(plays.play(more.back(), 8)) << story;
      }
      ASSERT_TRUE(plays.settle()) << story;
    }
  }

  /// For looking at it by hand: TROUPE_KEEP_IMAGES=<directory>.
  static void keep(const std::filesystem::path& image) {
    if (const char* where = std::getenv("TROUPE_KEEP_IMAGES"))
      std::filesystem::copy(image, where, std::filesystem::copy_options::recursive);
  }

  void run_many(durability level, std::uint64_t first_seed, int each) {
    level_ = level;
    if (const char* only = std::getenv("TROUPE_SEED")) {
      first_seed = std::strtoull(only, nullptr, 10);
      each = 1;
    }
    for (int i = 0; i < each && !HasFailure(); ++i)
      for (const double survival : {0.0, 0.5, 0.9}) {
        run({first_seed + static_cast<std::uint64_t>(i), level, survival, i % 3 == 2});
        if (HasFailure()) break;
      }
  }

  durability level_{durability::group};
};

TEST_F(PowerCut, NothingAcknowledgedUnderGroupIsLost) {
  run_many(durability::group, 1000, seeds);
}

TEST_F(PowerCut, IntervalKeepsAConsistentPrefixWithAllThatWasSynced) {
  run_many(durability::interval, 2000, seeds);
}

}  // namespace
}  // namespace troupe::test
