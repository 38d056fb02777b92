#include <algorithm>

#include "runtime/store/lane.hpp"
#include "runtime/store/memory_disk.hpp"
#include "tests/unit/store/log_support.hpp"

/// Random histories of a chain on the twin of the disk, compared with plain vectors: whatever was appended, cut,
/// trimmed, restarted, marked, dropped, moved, sealed and crashed, the journal says what the vectors say.
namespace troupe::store {
namespace {

struct plain_log {
  struct item {
    batch what;
    std::string text;
  };
  log_offset start, end;
  std::vector<item> items;
  std::optional<mark> last_mark;
  std::vector<epoch_start> epochs;

  void cut(log_offset to) {
    while (!items.empty() && items.back().what.base + items.back().what.offsets > to) {
      end = items.back().what.base;
      items.pop_back();
    }
    end = std::max(start, std::min(end, std::max(to, start)));
    while (!epochs.empty() && epochs.back().start >= end) epochs.pop_back();
    if (last_mark && last_mark->at > end) last_mark.reset();
  }
  void trim(log_offset to) {
    to = std::min(to, end);
    if (to <= start) return;
    start = to;
    while (!items.empty() && items.front().what.base + items.front().what.offsets <= start) items.erase(items.begin());
    while (epochs.size() > 1 && epochs[1].start <= start) epochs.erase(epochs.begin());
  }
};

class world {
public:
  explicit world(std::uint64_t seed, durability level) : random{seed}, level_{level} {
    notice_ = [this](const notice& n) { story_ += n.event + " " + n.fields + "\n"; };
    start();
  }

  void start() {
    chain_.reset();
    auto rows = catalogue::open(std::make_unique<memory_table>(rows_), 1);
    ASSERT_TRUE(rows);
    catalogue_ = std::move(*rows);
    chain::settings s;
    s.level = level_;
    s.segment_bytes = 40'000;
    s.block_bytes = 8'000;
    s.live_share = 0.7;  // salvage often
    cache_ = std::make_unique<row_cache>(random.below(2) ? 2'000 : 1'000'000);
    chain_ = std::make_unique<chain>(s, chain::surroundings{disk, *catalogue_, *cache_, counters_, notice_});
    std::vector<log_id> ids;
    for (const auto& row : catalogue_->logs()) ids.push_back(row.info.id);
    auto recovered = chain_->recover(ids);
    ASSERT_TRUE(recovered) << recovered.error().text;
  }

  /// Writes everything queued; every answer must be good.
  void write(std::deque<work> queue) {
    while (!queue.empty()) {
      outcome out;
      // Often two blocks before they are synced.
      chain_->write_block(queue, false, wall_time{now_++ * std::chrono::milliseconds{1}});
      if (!queue.empty() && chain_->ready() && random.below(2)) continue;
      if (level_ == durability::group) chain_->sync();
      chain_->settle(out);
      for (const auto& l : out.logs) ASSERT_FALSE(l.refused) << l.refused->text;
      for (auto& [done, r] : out.answers) done(r);
    }
  }

  work control(work::kind what, log_id id, log_offset at) {
    work w;
    w.what = what;
    w.log = id;
    w.at = at;
    w.done = [](const result<void>& r) { EXPECT_TRUE(r) << r.error().text; };
    return w;
  }

  work some_batches(log_id id, plain_log& log) {
    work w;
    w.log = id;
    for (auto n = 1 + random.below(6); n > 0; --n) {
      if (random.below(5) == 0) ++epoch_;
      const auto offsets = static_cast<std::int32_t>(1 + random.below(4));
      auto b = make_batch(log.end.value(), offsets, 50 + random.below(1500), epoch_,
                          static_cast<std::int64_t>(random.below(1000)), std::to_string(random()));
      if (log.epochs.empty() || log.epochs.back().epoch < b.epoch) log.epochs.push_back({b.epoch, b.base});
      log.items.push_back({b, std::string{as_text(b.bytes)}});
      log.end = b.base + offsets;
      w.bytes += b.bytes.size();
      w.batches.push_back(std::move(b));
    }
    return w;
  }

  void one_step() {
    if (logs.size() < 3 || (logs.size() < 6 && random.below(60) == 0)) {
      auto made = catalogue_->create({identity(static_cast<int>(random.below(1'000'000)))}, level_);
      ASSERT_TRUE(made);
      chain_->add_log(made->at(0).info.id);
      logs.try_emplace(made->at(0).info.id);
      return;
    }
    std::deque<work> queue;
    for (auto n = 1 + random.below(4); n > 0; --n) {
      auto it = std::next(logs.begin(), static_cast<std::ptrdiff_t>(random.below(logs.size())));
      auto& [id, log] = *it;
      const auto length = static_cast<std::uint64_t>(log.end - log.start);
      const auto kind = random.below(100);
      if (kind < 60) {
        queue.push_back(some_batches(id, log));
      } else if (kind < 68) {
        const auto to = log.end + -static_cast<std::int64_t>(random.below(std::min<std::uint64_t>(length, 30) + 1));
        queue.push_back(control(work::kind::truncate, id, to));
        log.cut(to);
      } else if (kind < 90) {
        // Mostly nearly everything, so that segments die but for a little.
        const auto keep =
            random.below(3) ? random.below(std::min<std::uint64_t>(length, 20) + 1) : random.below(length + 1);
        const auto to = log.end + -static_cast<std::int64_t>(keep);
        queue.push_back(control(work::kind::trim, id, to));
        log.trim(to);
      } else if (kind < 92) {
        const log_offset at{static_cast<std::int64_t>(random.below(200))};
        queue.push_back(control(work::kind::restart, id, at));
        log = {at, at, {}, {}, {}};
      } else {
        auto w = control(work::kind::mark, id, log.end);
        w.state = shared_bytes::copy_of(as_bytes("state " + std::to_string(random())));
        log.last_mark = mark{log.end, w.state};
        queue.push_back(std::move(w));
      }
    }
    write(std::move(queue));
    if (random.below(200) == 0) {
      auto it = std::next(logs.begin(), static_cast<std::ptrdiff_t>(random.below(logs.size())));
      ASSERT_TRUE(catalogue_->drop({it->first}));
      chain_->drop_log(it->first);
      logs.erase(it);
    }
    while (random.below(4) != 0 && chain_->seal_next()) {
    }
    if (random.below(15) == 0) chain_->drop_dead();
    if (random.below(5) == 0) chain_->sync();
    if (random.below(6) == 0) {
      std::deque<work> copies;
      for (auto& w : chain_->salvage(6'000)) copies.push_back(std::move(w));
      moved += copies.size();
      write(std::move(copies));
    }
    if (random.below(60) == 0)
      chain_->roll(wall_time{now_ * std::chrono::milliseconds{1}}, std::chrono::milliseconds{0});
  }

  /// The process dies; with `power`, what was not synced goes.
  void crash(bool power) {
    ++crashes;
    if (power) disk.cut_power(random, 0.5);
    start();
  }

  void compare(const char* when) {
    for (const auto& [id, log] : logs) {
      auto state = chain_->state(id);
      ASSERT_TRUE(state) << when;
      EXPECT_EQ(state->start, log.start) << when << " log " << id.value();
      EXPECT_EQ(state->end, log.end) << when << " log " << id.value();
      EXPECT_EQ(state->epochs, log.epochs) << when;
      EXPECT_FALSE(state->damaged_from) << when << " log " << id.value() << " from " << state->damaged_from->value();
      ASSERT_EQ(state->last_mark.has_value(), log.last_mark.has_value()) << when;
      if (log.last_mark) {
        EXPECT_EQ(state->last_mark->at, log.last_mark->at) << when;
        EXPECT_EQ(as_text(state->last_mark->state), as_text(log.last_mark->state)) << when;
      }
      std::uint64_t bytes = 0;
      std::string expected, found;
      for (const auto& i : log.items) {
        bytes += i.text.size();
        expected += i.text;
      }
      EXPECT_EQ(state->bytes, bytes) << when;
      auto at = log.start;
      while (at < log.end) {
        auto piece = chain_->read_cold(id, at, {log.end, 1 + random.below(20'000), true});
        ASSERT_TRUE(piece) << when << ": " << piece.error().text;
        if (piece->slices.empty()) break;
        for (const auto& s : piece->slices) found += as_text(s.bytes);
        at = piece->next;
      }
      EXPECT_EQ(found == expected, true) << when << " log " << id.value();
      std::uint64_t in_extents = 0;
      for (const auto& e : chain_->extents(id)) in_extents += e.bytes;
      EXPECT_EQ(in_extents, bytes) << when;
      compare_times(id, log, when);
    }
  }

  void compare_times(log_id id, const plain_log& log, const char* when) {
    const auto wanted = static_cast<std::int64_t>(random.below(1000));
    const plain_log::item *first = nullptr, *latest = nullptr;
    for (const auto& i : log.items) {
      if (!first && i.what.timestamp_max >= wanted) first = &i;
      if (!latest || i.what.timestamp_max > latest->what.timestamp_max) latest = &i;
    }
    auto hit = chain_->find_time(id, wanted, log.start, log.end);
    ASSERT_TRUE(hit) << when;
    EXPECT_EQ(hit->has_value() ? (*hit)->base.value() : -1, first ? first->what.base.value() : -1) << when;
    auto best = chain_->latest_time(id, log.end);
    ASSERT_TRUE(best) << when;
    EXPECT_EQ(best->has_value() ? (*best)->base.value() : -1, latest ? latest->what.base.value() : -1) << when;
  }

  random_source random;
  memory_disk disk;
  std::map<log_id, plain_log> logs;
  std::size_t moved{0}, crashes{0};
  chain& journal() { return *chain_; }
  const std::string& story() const { return story_; }
  const shared_counters& counters() const { return counters_; }

private:
  durability level_;
  notice_sink notice_;
  std::string story_;
  std::shared_ptr<memory_table::contents> rows_ = std::make_shared<memory_table::contents>();
  std::unique_ptr<catalogue> catalogue_;
  std::unique_ptr<row_cache> cache_;
  shared_counters counters_;
  std::unique_ptr<chain> chain_;
  int epoch_{0};
  std::int64_t now_{1'000'000};
};

class LogModel : public testing::TestWithParam<int> {};

TEST_P(LogModel, RandomHistoriesReadLikePlainVectors) {
  const auto seed = static_cast<std::uint64_t>(GetParam());
  world w{seed, durability::group};
  for (int round = 0; round < 12 && !testing::Test::HasFailure(); ++round) {
    for (int i = 0; i < 60 && !testing::Test::HasFatalFailure(); ++i) w.one_step();
    w.compare("while running");
    w.crash(w.random.below(2) == 0);
    w.compare("after a crash");
  }
  EXPECT_FALSE(testing::Test::HasFailure()) << "seed " << seed << "\n" << w.story();
  EXPECT_GT(w.counters().batches_moved, 0u);
  EXPECT_GT(w.counters().segments_dropped, 0u);
}

/// `interval` promises the death of the process, and of a power cut only what was synced.
TEST_P(LogModel, IntervalLogsSurviveTheDeathOfTheProcess) {
  const auto seed = static_cast<std::uint64_t>(GetParam());
  world w{seed, durability::interval};
  for (int round = 0; round < 8 && !testing::Test::HasFailure(); ++round) {
    for (int i = 0; i < 60 && !testing::Test::HasFatalFailure(); ++i) w.one_step();
    if (w.random.below(2)) {
      w.journal().sync();
      w.crash(true);
    } else {
      w.crash(false);
    }
    w.compare("after a crash");
  }
  EXPECT_FALSE(testing::Test::HasFailure()) << "seed " << seed << "\n" << w.story();
}

INSTANTIATE_TEST_SUITE_P(Seeds, LogModel, testing::Range(1, 26));

}  // namespace
}  // namespace troupe::store
