#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/store/lane.hpp"
#include "runtime/store/lmdb_device.hpp"
#include "tests/store/faulty_disk.hpp"
#include "tests/store/workload.hpp"
#include "tests/support/scratch.hpp"

// Power cuts at random moments of random histories: appends to several logs beside truncations, trims, marks, drops,
// rolling and cleaning with segments of 1 MiB. What the cut leaves is opened and compared with the history.
//
// And cuts at chosen moments: a lane without threads, with none, one or two blocks that are written and not synced.

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

/// Steps given to a lane, and what it acknowledges.
class stepped_lane {
public:
  stepped_lane(const std::filesystem::path& directory, store::notice_sink hear)
      : hear_{std::move(hear)}, device_{store::make_lmdb_device(directory)} {
    std::filesystem::create_directory(directory / "catalogue");
    auto rows = store::table::open(directory / "catalogue", 1 << 24);
    if (!rows) throw std::runtime_error{rows.error().text};
    auto known = store::catalogue::open(std::move(*rows), 1);
    if (!known) throw std::runtime_error{known.error().text};
    catalogue_ = std::move(*known);
    const auto settings = small_store(1);
    space_ = std::make_unique<store::space_watch>(*device_, settings.reserve_bytes, hear_);
    lane_ = std::make_unique<store::lane>(0, settings, settings.hot_bytes,
                                          store::chain::surroundings{*device_, *catalogue_, cache_, counters_, hear_},
                                          *space_);
    if (auto ready = lane_->group().recover({}); !ready) throw std::runtime_error{ready.error().text};
    for (int slot = 0; slot < slots; ++slot) {
      auto made = catalogue_->create({identity_of(slot, 1)}, durability::group);
      if (!made) throw std::runtime_error{made.error().text};
      ids_[slot] = made->front().info.id;
      lane_->group().add_log(ids_[slot]);
      lane_->listen(ids_[slot], std::make_shared<ear>(*this, slot));
    }
  }

  void push(const step& s) {
    const auto count = ++played_[s.slot];
    store::work w;
    w.log = ids_.at(s.slot);
    w.at = log_offset{s.at};
    w.done = [this, slot = s.slot, count](const result<void>& how) {
      EXPECT_TRUE(how.ok()) << how.error().text;
      acknowledge(slot, count);
    };
    switch (s.what) {
      case step::kind::append:
        w.done = nullptr;
        for (const auto& b : s.batches) w.batches.push_back(make_batch(s.slot, 1, b, batch_bytes_max));
        ends_[s.slot][w.batches.back().base + w.batches.back().offsets] = count;
        break;
      case step::kind::truncate:
        w.what = store::work::kind::truncate;
        break;
      case step::kind::trim:
        w.what = store::work::kind::trim;
        break;
      case step::kind::restart:
        w.what = store::work::kind::restart;
        break;
      case step::kind::mark:
        w.what = store::work::kind::mark;
        w.state = shared_bytes::copy_of(as_bytes(s.state));
        break;
      default:
        ADD_FAILURE() << "a step that is not for a lane";
    }
    ASSERT_TRUE(lane_->push(durability::group, w));
  }
  void write() { lane_->write_round(instant{}, wall_time{}); }
  void sync() { lane_->sync_round(instant{}); }
  std::size_t unsettled() const { return lane_->group().unsettled(); }
  const step_counts& acknowledged() const { return acknowledged_; }

private:
  struct ear final : store::log_listener {
    ear(stepped_lane& to, int of) : all{to}, slot{of} {}
    void durable(log_offset end) override {
      if (auto it = all.ends_[slot].find(end); it != all.ends_[slot].end()) all.acknowledge(slot, it->second);
    }
    void refused(log_offset, const error& why) override { ADD_FAILURE() << why.text; }
    stepped_lane& all;
    int slot;
  };
  void acknowledge(int slot, std::uint64_t count) {
    acknowledged_[slot] = std::max(acknowledged_[slot], count);  // of a block, its appends are told first
  }

  const store::notice_sink hear_;
  const std::unique_ptr<store::segment_device> device_;
  std::unique_ptr<store::catalogue> catalogue_;
  store::row_cache cache_{1 << 20};
  store::shared_counters counters_;
  std::unique_ptr<store::space_watch> space_;
  std::unique_ptr<store::lane> lane_;
  std::map<int, log_id> ids_;
  std::map<int, std::map<log_offset, std::uint64_t>> ends_;
  step_counts played_, acknowledged_;
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

  /// Cuts when so many blocks are written and not synced.
  void run_stepped(std::uint64_t seed, std::size_t unsettled, double survival, bool torn) {
    scratch_directory dir;
    random_source chance{seed};
    auto& disk = faulty_disk::instance();
    const auto live = dir.path() / "live", left = dir.path() / "left";
    std::filesystem::create_directory(live);
    const auto story = "seed " + std::to_string(seed) + " unsettled " + std::to_string(unsettled) + " survival " +
                       std::to_string(survival) + (torn ? " torn" : "");
    contents start, recovered;
    std::vector<int> one_order;
    for (int i = 0; i < slots; ++i) {
      start[i] = {.generation = 1, .exists = true};
      one_order.push_back(i);
    }
    std::vector<step> steps;
    step_counts promised;
    notices before;
    disk.watch(live);
    {
      stepped_lane lane{live, before.sink()};
      history story_of{start, {.seed = chance(), .batch_bytes_max = batch_bytes_max, .kept_from = 0}};
      const auto length = 20 + chance.below(120);
      while (steps.size() < length || lane.unsettled() != unsettled) {
        if (auto s = story_of.next(); s.what != step::kind::clean) {
          lane.push(s);
          steps.push_back(std::move(s));
        }
        if (chance.chance(0.5)) lane.write();
        if (chance.chance(unsettled == 2 ? 0.2 : 0.4)) lane.sync();
        if (HasFailure()) break;
      }
      disk.plan_cut({.survival = survival, .torn = torn, .image = left, .seed = chance()});
      disk.cut_now();
      promised = lane.acknowledged();
    }
    disk.release();
    check(left, 1, start, steps, promised, one_order, story, before, recovered);
    disk.release();
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

TEST_F(PowerCut, WhatWasToldSurvivesWithAnyNumberOfBlocksUnderWay) {
  for (std::uint64_t seed = 3000; seed < 3000 + seeds && !HasFailure(); ++seed)
    for (std::size_t unsettled = 0; unsettled <= store::chain::unsettled_max && !HasFailure(); ++unsettled)
      run_stepped(seed, unsettled, 0.45 * static_cast<double>(seed % 3), seed % 2 == 0);
}

TEST_F(PowerCut, IntervalKeepsAConsistentPrefixWithAllThatWasSynced) {
  run_many(durability::interval, 2000, seeds);
}

}  // namespace
}  // namespace troupe::test
