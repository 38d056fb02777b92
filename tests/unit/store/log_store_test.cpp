#include "tests/unit/store/log_support.hpp"

namespace troupe::store {
namespace {

TEST(LogStore, WhatWasAppendedIsReadBackAtOnceAndAfterARestart) {
  store_fixture f;
  f.open();
  const auto id = f.make(0), other = f.make(1);
  const auto batches = make_batches(0, 50);
  f.append(id, batches);
  f.append(other, {make_batch(0, 5)});
  EXPECT_EQ(*read_text(*f.store, id, 0), text_of(batches));
  EXPECT_GT(f.store->stats().hot_reads, 0u);
  EXPECT_EQ(f.state(id).end, log_offset{50});

  f.open();
  EXPECT_EQ(*read_text(*f.store, id, 0), text_of(batches));
  EXPECT_EQ(*read_text(*f.store, other, 3), text_of({make_batch(0, 5)}));  // the batch that holds 3
  EXPECT_GT(f.store->stats().cold_reads, 0u);
  EXPECT_EQ(f.store->create({identity(0)}, durability::group)->at(0), id);
  EXPECT_EQ(f.said("segment_recovered"), "");  // an orderly stop leaves nothing to scan
  EXPECT_EQ(f.said("log_damaged"), "");
}

TEST(LogStore, ReadsRespectTheirLimits) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  f.append(id, make_batches(0, 10, 1000));
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 2500, true})->next, log_offset{2});
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 10, true})->next, log_offset{1});
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 10, false})->next, log_offset{0});
  EXPECT_EQ(read_now(*f.store, id, 3, {log_offset{5}, 1 << 20, true})->bytes, 2000u);
  EXPECT_TRUE(read_now(*f.store, id, 10, {log_offset{20}, 1 << 20, true})->slices.empty());
  EXPECT_EQ(read_now(*f.store, id, 0, {log_offset{10}, 1 << 20, true})->slices.size(), 1u);  // neighbours are merged
  ASSERT_TRUE(f.trim(id, 4));
  EXPECT_EQ(read_now(*f.store, id, 3, {log_offset{10}, 1 << 20, true}).code(), errc::offset_out_of_range);
}

/// A copy of the directory of a running store is what `kill -9` leaves behind.
struct killed : store_fixture {
  void kill() {
    const auto copy = directory.path().string() + ".copy";
    std::filesystem::copy(directory.path(), copy, std::filesystem::copy_options::recursive);
    store.reset();
    std::filesystem::remove_all(directory.path());
    std::filesystem::rename(copy, directory.path());
  }
  std::filesystem::path newest_data() {
    std::filesystem::path newest;
    for (const auto& e : std::filesystem::recursive_directory_iterator{directory.path()})
      if (e.path().filename() == "data.mdb" && e.path().string().find("seg-") != std::string::npos)
        newest = std::max(newest, e.path());
    return newest;
  }
};

TEST(LogStore, NothingAcknowledgedIsLostWhenTheProcessDies) {
  killed f;
  f.open();
  const auto id = f.make(0);
  std::vector<batch> all;
  for (int life = 0; life < 5; ++life) {
    for (int i = 0; i < 8; ++i) {
      auto more = make_batches(static_cast<std::int64_t>(all.size()), 3, 20'000);
      f.append(id, more);
      all.insert(all.end(), more.begin(), more.end());
    }
    f.kill();
    f.open();
    ASSERT_EQ(f.state(id).end, log_offset{static_cast<std::int64_t>(all.size())}) << "life " << life;
    EXPECT_FALSE(f.state(id).damaged_from);
    ASSERT_EQ(*read_text(*f.store, id, 0), text_of(all));
  }
  EXPECT_NE(f.said("segment_recovered"), "");
  EXPECT_EQ(f.said("block_damaged"), "");
}

TEST(LogStore, BlocksThatLmdbsTreeDoesNotReachAreFoundByTheScan) {
  killed f;
  f.open();
  const auto id = f.make(0);
  const auto all = make_batches(0, 20, 5'000);
  for (const auto& b : all) f.append(id, {b});
  f.kill();
  // Both meta pages gone is worse than any power cut: LMDB itself could not open this file any more.
  {
    std::fstream file{f.newest_data(), std::ios::in | std::ios::out | std::ios::binary};
    file.write(std::string(2 * 4096, '\0').data(), 2 * 4096);
  }
  f.open();
  EXPECT_EQ(*read_text(*f.store, id, 0), text_of(all));
  f.append(id, {make_batch(20)});
  f.open();
  EXPECT_EQ(f.state(id).end, log_offset{21});
}

TEST(LogStore, DamageIsNamedWithFilePositionLogAndOffsets) {
  killed f;
  f.open();
  const auto id = f.make(0), other = f.make(1);
  const auto all = make_batches(0, 10, 5'000);
  for (const auto& b : all) f.append(id, {b});
  f.append(other, {make_batch(0)});
  f.kill();
  const auto path = f.newest_data();
  {
    std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
    std::string bytes{std::istreambuf_iterator<char>{file}, {}};
    const auto at = bytes.find("batch 4+1");
    ASSERT_NE(at, std::string::npos);
    file.seekp(static_cast<std::streamoff>(at + 100));
    file.put('!');
  }
  f.open();
  const auto said = f.said("block_damaged");
  EXPECT_NE(said.find("file=" + path.string()), std::string::npos) << said;
  EXPECT_NE(said.find("log=" + std::to_string(id.value()) + " base=4 end=5"), std::string::npos) << said;
  EXPECT_EQ(f.state(id).damaged_from, log_offset{4});
  EXPECT_FALSE(f.state(other).damaged_from);
  EXPECT_EQ(*read_text(*f.store, id, 0, 4), text_of({all.begin(), all.begin() + 4}));
  EXPECT_EQ(*read_text(*f.store, id, 5), text_of({all.begin() + 5, all.end()}));
  const auto bad = read_now(*f.store, id, 4, {log_offset{10}, 1 << 20, true});
  EXPECT_EQ(bad.code(), errc::storage_damaged);
  EXPECT_NE(bad.error().text.find("offsets 4 to 5"), std::string::npos) << bad.error().text;
  f.open();  // the damage is remembered
  EXPECT_EQ(f.state(id).damaged_from, log_offset{4});
}

TEST(LogStore, SegmentsRollAndTrimmedOnesAreDeleted) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  const auto all = make_batches(0, 60, 100'000);
  for (std::size_t i = 0; i < all.size(); i += 5)
    f.append(id, {all.begin() + static_cast<std::ptrdiff_t>(i), all.begin() + static_cast<std::ptrdiff_t>(i) + 5});
  EXPECT_GE(f.store->stats().segments, 4u);
  f.open();  // seals
  const auto extents = f.store->extents(id);
  ASSERT_GE(extents.size(), 4u);
  EXPECT_EQ(extents.front().base, log_offset{0});
  EXPECT_EQ(extents.back().end, log_offset{60});
  EXPECT_EQ(extents.front().timestamp_max, 1000 + extents.front().end.value() - 1);
  ASSERT_TRUE(f.trim(id, 50));
  const auto before = f.store->stats().segments;
  f.open();  // closing cleans
  EXPECT_LT(f.store->stats().segments, before);
  EXPECT_EQ(f.state(id).start, log_offset{50});
  EXPECT_EQ(*read_text(*f.store, id, 50), text_of({all.begin() + 50, all.end()}));
}

TEST(LogStore, ALogTrimmedToItsEndKeepsItsEnd) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  f.append(id, make_batches(0, 10));
  ASSERT_TRUE(f.trim(id, 99));
  f.open();
  EXPECT_EQ(f.state(id).start, log_offset{10});
  EXPECT_EQ(f.state(id).end, log_offset{10});
  EXPECT_EQ(f.state(id).bytes, 0u);
  f.append(id, make_batches(10, 1));
  EXPECT_EQ(f.state(id).end, log_offset{11});
}

TEST(LogStore, TruncateGoesToABatchBoundaryAndDropsEpochsAndMarks) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  f.append(id, {make_batch(0, 10, 100, 1), make_batch(10, 10, 100, 2), make_batch(20, 10, 100, 3)});
  ASSERT_TRUE(f.put_mark(id, 30, "all"));
  EXPECT_EQ(as_text(f.state(id).last_mark->state), "all");
  ASSERT_TRUE(f.truncate(id, 15));
  EXPECT_EQ(f.state(id).end, log_offset{10});
  EXPECT_EQ(f.state(id).epochs, (std::vector<epoch_start>{{leader_epoch{1}, log_offset{0}}}));
  EXPECT_FALSE(f.state(id).last_mark);
  f.append(id, {make_batch(10, 1, 100, 7)});
  f.open();
  EXPECT_EQ(f.state(id).end, log_offset{11});
  EXPECT_EQ(f.state(id).epochs.back(), (epoch_start{leader_epoch{7}, log_offset{10}}));
  EXPECT_EQ(f.put_mark(id, 12, "beyond").code(), errc::invalid_request);
}

TEST(LogStore, RestartDropsEverythingAndGoesOnElsewhere) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  f.append(id, make_batches(0, 10));
  ASSERT_TRUE(f.restart(id, 500));
  f.append(id, make_batches(500, 2));
  EXPECT_EQ(read_now(*f.store, id, 3, {log_offset{600}, 1000, true}).code(), errc::offset_out_of_range);
  ASSERT_TRUE(f.restart(id, 5));
  f.open();
  EXPECT_EQ(f.state(id).start, log_offset{5});
  EXPECT_EQ(f.state(id).end, log_offset{5});
}

TEST(LogStore, DroppedLogsAreGoneAndTheirIdsAreNotUsedAgain) {
  store_fixture f;
  f.open();
  const auto id = f.make(0), kept = f.make(1);
  f.append(id, make_batches(0, 10));
  f.append(kept, make_batches(0, 10));
  ASSERT_TRUE(f.store->drop({id, log_id{999}}));
  EXPECT_EQ(f.store->state(id).code(), errc::closed);
  EXPECT_EQ(f.trim(id, 1).code(), errc::closed);
  f.open();
  EXPECT_EQ(f.store->logs().size(), 1u);
  const auto again = f.make(0);
  EXPECT_NE(again, id);
  EXPECT_EQ(f.state(again).end, log_offset{0});
  EXPECT_EQ(f.state(kept).end, log_offset{10});
}

TEST(LogStore, IntervalLogsLiveBesideGroupLogs) {
  store_fixture f;
  f.open();
  const auto safe = f.make(0), fast = f.make(1, durability::interval);
  f.append(safe, make_batches(0, 10));
  f.append(fast, make_batches(0, 10, 100, 0, "fast"));
  f.open();
  EXPECT_EQ(*read_text(*f.store, safe, 0), text_of(make_batches(0, 10)));
  EXPECT_EQ(*read_text(*f.store, fast, 0), text_of(make_batches(0, 10, 100, 0, "fast")));
  EXPECT_EQ(f.store->logs().at(1).level, durability::interval);
}

TEST(LogStore, FindsBatchesByTime) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  f.append(id, {make_batch(0, 2, 100, 0, 50), make_batch(2, 2, 100, 0, 40), make_batch(4, 2, 100, 0, 70),
                make_batch(6, 2, 100, 0, 70)});
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ((*f.store->find_time(id, 45, log_offset{0}, log_offset{8}))->base, log_offset{0});
    EXPECT_EQ((*f.store->find_time(id, 45, log_offset{2}, log_offset{8}))->base, log_offset{4});
    EXPECT_FALSE(*f.store->find_time(id, 71, log_offset{0}, log_offset{8}));
    EXPECT_FALSE(*f.store->find_time(id, 60, log_offset{0}, log_offset{5}));  // not wholly below the end
    EXPECT_EQ((*f.store->latest_time(id, log_offset{8}))->base, log_offset{4});
    f.open();
  }
}

TEST(LogStore, AfterCloseEverythingIsAnsweredAndNothingWritten) {
  store_fixture f;
  f.open();
  const auto id = f.make(0);
  f.append(id, make_batches(0, 3));
  f.store->close();
  f.store->close();
  f.store->append(id, make_batches(3, 1));
  EXPECT_EQ(f.trim(id, 1).code(), errc::closed);
  bool ran = false;
  f.store->run_blocking([&] { ran = true; });
  EXPECT_TRUE(ran);
  f.store->clean();
  f.open();
  EXPECT_EQ(f.state(id).end, log_offset{3});
}

TEST(LogStore, ImpossibleOptionsAreRefused) {
  test::scratch_directory directory;
  options o;
  o.segment_bytes = 1000;
  EXPECT_EQ(log_store::open(directory.path(), o, {}).code(), errc::invalid_config);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace troupe::store
