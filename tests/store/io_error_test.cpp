#include <gtest/gtest.h>

#include <cerrno>

#include "runtime/store/table.hpp"
#include "tests/store/faulty_disk.hpp"
#include "tests/store/one_log.hpp"
#include "tests/support/scratch.hpp"

// The disk refuses: a failed write or sync is never tried again (R10), a full disk is no failure (R11).

namespace troupe::test {
namespace {

using store::durability;
using store::log_store;
using store::table;
using operation = faulty_disk::operation;

constexpr int slots = 3;
constexpr std::size_t batch_bytes_max = 40'000;

store::options small_store() {
  return {.lanes = 1,
          .segment_bytes = 1 << 20,
          .block_bytes = 64 << 10,
          .interval = std::chrono::milliseconds{2},
          .reserve_bytes = 1 << 20,
          .reader_threads = 1};
}

std::unique_ptr<log_store> open_store(const std::filesystem::path& directory, const store::notice_sink& hear = {}) {
  auto opened = log_store::open(directory, small_store(), hear);
  EXPECT_TRUE(opened.ok()) << opened.error().text;
  return opened ? std::move(*opened) : nullptr;
}

/// Nothing: it worked.
template <class T>
std::optional<errc> failure_of(const result<T>& r) {
  return r ? std::nullopt : std::optional{r.code()};
}

class IoError : public ::testing::Test {
protected:
  scratch_directory dir;
  faulty_disk& disk{faulty_disk::instance()};
  void SetUp() override { disk.watch(dir.path()); }
  void TearDown() override { disk.release(); }
};

struct failure {
  durability level;
  operation on;
  std::uint64_t nth;
  int error;  // 0: a short write
};

TEST_F(IoError, AFailedWriteOrSyncEndsTheStoreAndIsNeverTriedAgain) {
  for (const auto& f : {failure{durability::group, operation::write, 1, EIO},
                        {durability::group, operation::write, 23, EIO},
                        {durability::group, operation::write, 40, 0},
                        {durability::group, operation::sync, 1, EIO},
                        {durability::group, operation::sync, 17, EIO},
                        {durability::interval, operation::write, 31, EIO},
                        {durability::interval, operation::write, 10, 0},
                        {durability::interval, operation::sync, 3, EIO}}) {
    const auto story = std::string{f.level == durability::group ? "group" : "interval"} +
                       (f.on == operation::write ? " write " : " sync ") + std::to_string(f.nth) + " error " +
                       std::to_string(f.error);
    const auto where = dir.path() / story;
    std::filesystem::create_directory(where);
    contents start;
    std::vector<step> steps;
    step_counts acknowledged;
    std::mutex mutex;
    std::string said;
    {
      auto store = open_store(where, [&](const store::notice& n) {
        const std::lock_guard lock{mutex};
        if (n.severity == store::notice::level::error) said += n.event + " " + n.fields;
      });
      for (int i = 0; i < slots; ++i) {
        start[i] = {.generation = 1, .exists = true};
        ASSERT_TRUE(store->create({identity_of(i, 1)}, f.level).ok());
      }
      // Once only: whoever tried again would succeed, and be found out.
      disk.add_fault({.on = f.on, .path_part = "/data.mdb", .nth = f.nth, .times = 1, .error = f.error});
      player plays{*store, slots, [&](int) { return f.level; }, batch_bytes_max};
      history story_of{start, {.seed = f.nth, .batch_bytes_max = batch_bytes_max, .kept_from = 0}};
      do {
        steps.push_back(story_of.next());
      } while (plays.play(steps.back(), 4) && steps.size() < 2000);
      plays.settle();
      ASSERT_TRUE(plays.refusal()) << story;
      EXPECT_EQ(plays.refusal()->code, errc::storage_failed) << story << ": " << plays.refusal()->text;
      {
        const std::lock_guard lock{mutex};
        EXPECT_NE(said.find("storage_failed"), std::string::npos) << said;
        EXPECT_NE(said.find("data.mdb"), std::string::npos) << said;
      }
      acknowledged = plays.acknowledged();
      EXPECT_TRUE(store->stats().failed) << story;
      EXPECT_EQ(disk.struck(), 1u) << story;
      // Nothing is taken any more.
      const auto synced = store->stats().syncs;
      one_log late{*store, 0, f.level, 1000};
      EXPECT_EQ(failure_of(late.append()), errc::storage_failed) << story;
      EXPECT_EQ(failure_of(store->create({identity_of(9, 1)}, f.level)), errc::storage_failed) << story;
      EXPECT_EQ(store->stats().syncs, synced) << story;
    }
    disk.clear_faults();
    auto store = open_store(where);
    std::vector<std::string> trouble;
    const auto found = read_contents(*store, slots, trouble);
    if (trouble.empty()) trouble = compare(start, steps, acknowledged, found, {0, 1, 2});
    for (const auto& line : trouble) ADD_FAILURE() << story << ": " << line;
    store.reset();
    disk.watch(dir.path());  // counts anew
  }
}

TEST_F(IoError, AFailedWriteOfTheCatalogueEndsTheStore) {
  for (const auto on : {operation::write, operation::sync}) {
    const auto where = dir.path() / (on == operation::write ? "write" : "sync");
    std::filesystem::create_directory(where);
    {
      auto store = open_store(where);
      ASSERT_TRUE(store->create({identity_of(0, 1)}, durability::group).ok());
      disk.add_fault({.on = on, .path_part = "/catalogue/", .error = EIO});
      EXPECT_EQ(failure_of(store->create({identity_of(1, 1)}, durability::group)), errc::storage_failed);
      EXPECT_EQ(failure_of(store->create({identity_of(2, 1)}, durability::group)), errc::storage_failed);
      disk.clear_faults();
      EXPECT_EQ(failure_of(store->create({identity_of(2, 1)}, durability::group)), errc::storage_failed);
      EXPECT_TRUE(store->stats().failed);
    }
    auto store = open_store(where);
    const auto logs = store->logs();
    EXPECT_TRUE(std::any_of(logs.begin(), logs.end(), [](const auto& x) { return x.identity == identity_of(0, 1); }));
    EXPECT_FALSE(std::any_of(logs.begin(), logs.end(), [](const auto& x) { return x.identity == identity_of(2, 1); }));
  }
}

TEST_F(IoError, AFullDiskRefusesAppendsUntilThereIsSpaceAgain) {
  for (const auto level : {durability::group, durability::interval}) {
    for (const std::uint64_t nth : {1, 2, 3, 7}) {
      const auto where = dir.path() / (std::to_string(static_cast<int>(level)) + "-" + std::to_string(nth));
      std::filesystem::create_directory(where);
      {
        auto store = open_store(where);
        one_log log{*store, 0, level, 30'000};
        for (int i = 0; i < 5; ++i) ASSERT_TRUE(log.append().ok());
        disk.add_fault({.path_part = "/seg-", .nth = nth, .times = 40, .error = ENOSPC});
        result<void> how;
        for (int i = 0; i < 10 && how; ++i) how = log.append();
        ASSERT_FALSE(how.ok());
        EXPECT_EQ(how.code(), errc::storage_full) << how.error().text;
        EXPECT_EQ(log.trouble(), std::nullopt);
        disk.clear_faults();
        // It looks for space now and then by itself; a producer tries again.
        how = log.append_until(std::chrono::seconds{20});
        ASSERT_TRUE(how.ok()) << how.error().text;
        for (int i = 0; i < 60; ++i) ASSERT_TRUE(log.append().ok());
        EXPECT_EQ(log.trouble(), std::nullopt);
        EXPECT_FALSE(store->stats().failed);
      }
      auto store = open_store(where);
      one_log log{*store, 0, level, 30'000};
      EXPECT_EQ(log.trouble(), std::nullopt);
      EXPECT_GE(log.end().value(), 660);
    }
  }
}

// -- table ----------------------------------------------------------------------------------------------

std::vector<std::byte> bytes(std::string_view text) {
  const auto view = as_bytes(text);
  return {view.begin(), view.end()};
}

std::string value_of(const table& t, std::string_view key) {
  auto found = t.get(as_bytes(key));
  if (!found) return "error";
  return *found ? std::string{as_text(**found)} : "";
}

TEST_F(IoError, ATableThatCouldNotWriteIsWholeAfterwards) {
  for (const auto on : {operation::write, operation::sync}) {
    for (std::uint64_t nth = 1; nth <= (on == operation::write ? 4 : 1); ++nth) {
      const auto where = dir.path() / (std::to_string(static_cast<int>(on)) + std::to_string(nth));
      const auto story = where.filename().string();
      bool failed = false;
      {
        auto t = table::open(where, 1 << 24);
        ASSERT_TRUE(t.ok()) << t.error().text;
        ASSERT_TRUE((*t)->commit({{bytes("a"), bytes("1")}, {bytes("b"), bytes("1")}}).ok());
        ASSERT_TRUE((*t)->commit({{bytes("a"), bytes("2")}, {bytes("b"), bytes("2")}}).ok());
        disk.add_fault({.on = on, .path_part = "data.mdb", .nth = nth, .error = EIO});
        auto how = (*t)->commit({{bytes("a"), bytes("3")}, {bytes("b"), bytes("3")}});
        if (!how) {
          failed = true;
          EXPECT_EQ(how.code(), errc::storage_failed) << how.error().text;
          disk.clear_faults();
          EXPECT_EQ(failure_of((*t)->commit({{bytes("a"), bytes("4")}})), errc::storage_failed) << story;
          EXPECT_EQ(failure_of((*t)->get(as_bytes("a"))), errc::storage_failed) << story;
        }
        disk.clear_faults();
      }
      auto t = table::open(where, 1 << 24);
      ASSERT_TRUE(t.ok()) << story << ": " << t.error().text;
      const auto a = value_of(**t, "a");
      EXPECT_EQ(value_of(**t, "b"), a) << story;
      EXPECT_TRUE(a == "3" || (failed && a == "2")) << story << ": " << a;
      EXPECT_TRUE((*t)->commit({{bytes("a"), bytes("5")}}).ok()) << story;
    }
  }
}

TEST_F(IoError, ATableOnAFullDiskIsUnchangedAndGoesOn) {
  auto t = table::open(dir.path() / "t", 1 << 24);
  ASSERT_TRUE(t.ok()) << t.error().text;
  ASSERT_TRUE((*t)->commit({{bytes("a"), bytes("1")}}).ok());
  disk.add_fault({.path_part = "data.mdb", .nth = 1, .error = ENOSPC});
  EXPECT_EQ(failure_of((*t)->commit({{bytes("a"), bytes("2")}, {bytes("b"), bytes("2")}})), errc::storage_full);
  EXPECT_EQ(value_of(**t, "a"), "1");
  EXPECT_EQ(value_of(**t, "b"), "");
  EXPECT_TRUE((*t)->commit({{bytes("a"), bytes("3")}}).ok());
  EXPECT_EQ(value_of(**t, "a"), "3");
}

TEST_F(IoError, PowerCutsLeaveATableBeforeOrAfterACommit) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    random_source chance{seed};
    const auto live = dir.path() / ("live" + std::to_string(seed));
    scratch_directory image;
    const auto left = image.path() / "left";
    std::filesystem::create_directory(live);
    disk.watch(live);
    disk.plan_cut({.at_call = 1 + chance.below(120),
                   .survival = 0.45 * static_cast<double>(seed % 3),
                   .torn = seed % 2 == 0,
                   .image = left,
                   .seed = seed});
    int done = 0, promised = -1;
    {
      auto t = table::open(live / "t", 1 << 24);
      ASSERT_TRUE(t.ok()) << t.error().text;
      if (!disk.was_cut()) promised = 0;
      for (done = 1; done <= 30; ++done) {
        std::vector<table::change> changes;
        for (int k = 0; k < 20; ++k)
          changes.push_back(
              {bytes("row" + std::to_string(k)), bytes(std::to_string(done) + std::string(chance.below(900), '.'))});
        ASSERT_TRUE((*t)->commit(changes).ok());
        if (disk.was_cut()) break;
        promised = done;
      }
      disk.cut_now();
    }
    disk.release();
    if (promised < 0 && !std::filesystem::exists(left / "t" / "data.mdb")) continue;  // cut while it was made
    auto t = table::open(left / "t", 1 << 24);
    ASSERT_TRUE(t.ok()) << "seed " << seed << ": " << t.error().text;
    std::set<int> seen;
    ASSERT_TRUE((*t)->scan({}, {},
                           [&](byte_view, byte_view value) {
                             seen.insert(std::stoi(std::string{as_text(value)}));
                             return true;
                           })
                    .ok());
    EXPECT_LE(seen.size(), 1u) << "seed " << seed;
    const int at = seen.empty() ? 0 : *seen.begin();
    EXPECT_TRUE(at >= promised && at <= done) << "seed " << seed << ": " << at << " after " << promised;
  }
}

}  // namespace
}  // namespace troupe::test
