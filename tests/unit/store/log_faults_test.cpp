#include "runtime/store/chain.hpp"
#include "runtime/store/memory_disk.hpp"
#include "tests/unit/store/log_support.hpp"

/// What a chain does when the disk misbehaves, on the twin.
namespace troupe::store {
namespace {

struct bench {
  explicit bench(durability of = durability::group, std::uint64_t bytes = 30'000) : level{of}, segment_bytes{bytes} {
    notice_to = [this](const notice& n) { said += n.event + " " + n.fields + "\n"; };
    start();
    logs = create(3);
  }
  void start() {
    c.reset();
    cache = std::make_unique<row_cache>(1 << 20);
    rows = std::move(*catalogue::open(std::make_unique<memory_table>(contents), 1));
    chain::settings s;
    s.level = level;
    s.segment_bytes = segment_bytes;
    s.block_bytes = 4'000;
    c = std::make_unique<chain>(s, chain::surroundings{disk, *rows, *cache, counters, notice_to});
    std::vector<log_id> ids;
    for (const auto& row : rows->logs()) ids.push_back(row.info.id);
    auto recovered = c->recover(ids);
    ASSERT_TRUE(recovered) << recovered.error().text;
  }
  std::vector<log_id> create(int count) {
    std::vector<log_id> ids;
    for (int i = 0; i < count; ++i) {
      ids.push_back(rows->create({identity(i)}, level)->at(0).info.id);
      c->add_log(ids.back());
    }
    return ids;
  }
  outcome append(log_id id, std::vector<batch> batches, bool full = false) {
    work w;
    w.log = id;
    w.batches = std::move(batches);
    return write(std::move(w), full);
  }
  outcome write(work w, bool full = false) {
    std::deque<work> queue;
    queue.push_back(std::move(w));
    outcome all;
    while (!queue.empty()) {
      c->write_block(queue, full, wall_time{});
      if (level == durability::group) c->sync();
      c->settle(all);
    }
    return all;
  }
  /// A log's batches one by one: those that read right; nothing wrong is ever read.
  std::size_t readable(log_id id, const std::vector<batch>& expected) {
    std::size_t good = 0;
    for (const auto& b : expected) {
      auto piece = c->read_cold(id, b.base, {b.base + b.offsets, 1 << 20, true});
      if (!piece && piece.code() == errc::offset_out_of_range) continue;  // below the start
      if (!piece) {
        EXPECT_EQ(piece.code(), errc::storage_damaged) << piece.error().text;
        EXPECT_NE(piece.error().text.find("log " + std::to_string(id.value())), std::string::npos);
        continue;
      }
      if (piece->slices.empty()) continue;  // beyond the end
      EXPECT_EQ(as_text(piece->slices.at(0).bytes), as_text(b.bytes));
      ++good;
    }
    return good;
  }
  segment_name segment(std::size_t n) { return rows->segments().at(n).name; }

  durability level;
  std::uint64_t segment_bytes;
  memory_disk disk;
  std::shared_ptr<memory_table::contents> contents = std::make_shared<memory_table::contents>();
  std::unique_ptr<catalogue> rows;
  std::unique_ptr<row_cache> cache;
  shared_counters counters;
  std::string said;
  notice_sink notice_to;
  std::unique_ptr<chain> c;
  std::vector<log_id> logs;
};

TEST(LogFaults, FullDiskRefusesAndGoesOnWhereTheLogEnds) {
  bench b;
  b.append(b.logs[0], make_batches(0, 3));
  b.disk.fail_next_append(errc::storage_full);
  auto told = b.append(b.logs[0], make_batches(3, 2));
  ASSERT_EQ(told.logs.size(), 1u);
  EXPECT_EQ(told.logs[0].end, log_offset{3});
  EXPECT_EQ(told.logs[0].refused->code, errc::storage_full);
  // What was queued behind it is dropped without a word: it does not follow.
  EXPECT_TRUE(b.append(b.logs[0], make_batches(5, 1)).logs.empty());
  EXPECT_EQ(b.append(b.logs[0], make_batches(3, 1)).logs.at(0).end, log_offset{4});
  b.start();
  EXPECT_EQ(b.c->state(b.logs[0])->end, log_offset{4});
  EXPECT_FALSE(b.counters.failed);
}

TEST(LogFaults, WhatAFullDiskTookOfABlockIsWrittenOverAndNeverFound) {
  for (const double written : {0.0, 0.2, 0.6, 1.0}) {
    for (const bool again : {false, true}) {
      bench b;
      b.append(b.logs[0], make_batches(0, 3));
      b.disk.fail_next_append(errc::storage_full, written);
      EXPECT_EQ(b.append(b.logs[0], make_batches(3, 9, 2000)).logs.at(0).refused->code, errc::storage_full);
      if (again) {
        EXPECT_EQ(b.append(b.logs[0], make_batches(3, 1)).logs.at(0).end, log_offset{4});
      }
      b.start();
      EXPECT_EQ(b.c->state(b.logs[0])->end, log_offset{again ? 4 : 3}) << written;
      EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from) << written;
    }
  }
}

TEST(LogFaults, ABlockThatFailedInTheMiddleIsForgotten) {
  for (const double written : {0.0, 0.2, 0.6, 1.0}) {
    bench b;
    b.append(b.logs[0], make_batches(0, 3));
    b.disk.fail_next_append(errc::storage_failed, written);
    EXPECT_EQ(b.append(b.logs[0], make_batches(3, 1, 3500)).logs.at(0).refused->code, errc::storage_failed);
    b.counters.failed = false;
    b.start();
    const auto state = b.c->state(b.logs[0]);
    EXPECT_EQ(state->end, log_offset{written < 1 ? 3 : 4}) << written;
    EXPECT_FALSE(state->damaged_from) << written;
    EXPECT_EQ(b.readable(b.logs[0], make_batches(0, 3)), 3u);
  }
}

TEST(LogFaults, BelowTheReserveBatchesAreRefusedButTrimsGoOn) {
  bench b;
  b.append(b.logs[0], make_batches(0, 3));
  auto told = b.append(b.logs[0], make_batches(3, 1), true);
  EXPECT_EQ(told.logs.at(0).refused->code, errc::storage_full);
  work w;
  w.what = work::kind::trim;
  w.log = b.logs[0];
  w.at = log_offset{2};
  bool answered = false;
  w.done = [&](const result<void>& r) { answered = r.ok(); };
  auto out = b.write(std::move(w), true);
  for (auto& [done, r] : out.answers) done(r);
  EXPECT_TRUE(answered);
  EXPECT_EQ(b.c->state(b.logs[0])->start, log_offset{2});
}

TEST(LogFaults, NoSpaceForANewSegmentIsRefusedUntilThereIs) {
  bench b;
  std::vector<batch> all = make_batches(0, 40, 1000);
  b.append(b.logs[0], all);
  b.disk.set_capacity(0);
  while (b.c->state(b.logs[0])->end < log_offset{40}) FAIL() << "appended before";
  EXPECT_EQ(b.append(b.logs[0], make_batches(40, 1, 1000)).logs.at(0).refused->code, errc::storage_full);
  b.disk.set_capacity(UINT64_MAX);
  EXPECT_FALSE(b.append(b.logs[0], make_batches(40, 1, 1000)).logs.at(0).refused);
  b.start();
  EXPECT_EQ(b.c->state(b.logs[0])->end, log_offset{41});
  EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from);
}

TEST(LogFaults, AFailedWriteOrSyncIsTheEndOfAllWriting) {
  for (const bool sync : {false, true}) {
    bench b;
    b.append(b.logs[0], make_batches(0, 3));
    if (sync)
      b.disk.fail_next_sync();
    else
      b.disk.fail_next_append(errc::storage_failed);
    EXPECT_EQ(b.append(b.logs[0], make_batches(3, 1)).logs.at(0).refused->code, errc::storage_failed);
    EXPECT_EQ(b.append(b.logs[1], make_batches(0, 1)).logs.at(0).refused->code, errc::storage_failed);
    EXPECT_TRUE(b.counters.failed);
    EXPECT_NE(b.said.find("storage_failed"), std::string::npos);
    EXPECT_EQ(b.readable(b.logs[0], make_batches(0, 3)), 3u);  // reading goes on
  }
}

TEST(LogFaults, TornTailIsForgottenWithoutCallingItDamage) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    bench b;
    b.append(b.logs[0], make_batches(0, 3));
    b.disk.fail_next_sync();  // written, not synced, never acknowledged
    b.append(b.logs[0], make_batches(3, 3, 9000));
    random_source random{seed};
    b.disk.cut_power(random, 0.2 * static_cast<double>(random.below(6)));
    b.counters.failed = false;
    b.start();
    const auto state = b.c->state(b.logs[0]);
    EXPECT_LE(state->end, log_offset{6}) << "seed " << seed;
    EXPECT_GE(state->end, log_offset{3}) << "seed " << seed;
    EXPECT_FALSE(state->damaged_from) << "seed " << seed;
    EXPECT_EQ(b.readable(b.logs[0], make_batches(0, 3)), 3u) << "seed " << seed;
  }
}

TEST(LogFaults, AnUnfinishedCheckpointDoesNotReplaceWhatItWasMadeOf) {
  std::size_t in_part = 0;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    bench b;
    b.logs = b.create(12);
    for (auto id : b.logs) {
      b.append(id, make_batches(0, 2));
      work w;  // a state of 1000 bytes each, so that the checkpoint takes several blocks
      w.what = work::kind::mark;
      w.log = id;
      w.at = log_offset{2};
      w.state = shared_bytes::own(std::vector<std::byte>(1000));
      b.write(std::move(w));
      w = {};
      w.what = work::kind::trim;
      w.log = id;
      w.at = log_offset{2};
      b.write(std::move(w));
    }
    b.c->roll(wall_time{}, std::chrono::milliseconds{0});
    const auto whole = b.rows->segments().size();
    b.disk.fail_next_sync();  // that of the next checkpoint
    b.append(b.logs[0], make_batches(2, 1));
    random_source random{seed};
    b.disk.cut_power(random, 0.7);
    b.counters.failed = false;
    b.start();
    in_part += b.rows->segments().size() > whole;
    b.c->drop_dead();
    b.start();  // dies again, before anything is sealed
    for (auto id : b.logs) {
      const auto state = b.c->state(id);
      EXPECT_EQ(state->start, log_offset{2}) << "seed " << seed;
      EXPECT_EQ(state->end, log_offset{2}) << "seed " << seed;
      EXPECT_FALSE(state->damaged_from) << "seed " << seed;
      EXPECT_TRUE(state->last_mark) << "seed " << seed;
    }
  }
  EXPECT_GT(in_part, 3u);
}

TEST(LogFaults, IntervalLogsKeepAPrefixAfterAPowerCut) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    bench b{durability::interval};
    random_source random{seed};
    const auto all = make_batches(0, 60, 700);
    std::int64_t synced = 0;
    for (int i = 0; i < 60; ++i) {
      b.append(b.logs[0], {all[static_cast<std::size_t>(i)]});
      if (random.below(12) == 0 && b.c->sync()) synced = i + 1;
    }
    b.disk.cut_power(random, 0.3 * static_cast<double>(random.below(4)));
    b.start();
    const auto state = b.c->state(b.logs[0]);
    EXPECT_GE(state->end, log_offset{synced}) << "seed " << seed;
    EXPECT_FALSE(state->damaged_from) << "seed " << seed << "\n" << b.said;
    EXPECT_EQ(b.readable(b.logs[0], all), static_cast<std::size_t>(state->end.value())) << "seed " << seed;
  }
}

TEST(LogFaults, AFlippedBitInASyncedBlockDamagesOnlyItsLogAndSaysWhere) {
  bench b;
  const auto mine = make_batches(0, 3, 800), others = make_batches(0, 3, 800, 0, "other");
  b.append(b.logs[0], mine);
  b.append(b.logs[1], others);
  b.append(b.logs[0], make_batches(3, 1));
  // The first block: header, directory, then the first batch.
  const auto name = b.segment(0);
  std::uint64_t at = 0;
  auto scan = scan_segment(**b.disk.open(name), b.rows->segments().at(0).id);
  at = scan->blocks.at(0).position + scan->blocks.at(0).entries.at(1).position + 400;
  ASSERT_TRUE(b.disk.flip_bit(name, at, 3));
  b.start();
  EXPECT_EQ(b.c->state(b.logs[0])->damaged_from, log_offset{1});
  EXPECT_EQ(b.c->state(b.logs[0])->end, log_offset{4});
  EXPECT_FALSE(b.c->state(b.logs[1])->damaged_from);
  EXPECT_EQ(b.readable(b.logs[0], mine), 2u);
  EXPECT_EQ(b.readable(b.logs[1], others), 3u);
  const auto id = std::to_string(b.logs[0].value());
  EXPECT_NE(b.said.find("block_damaged file=lane-0/group/seg-0000000000000001 position="), std::string::npos) << b.said;
  EXPECT_NE(b.said.find("log=" + id + " base=1 end=2"), std::string::npos) << b.said;
}

TEST(LogFaults, ALostBlockPutsAllLogsOfTheChainInDoubtAndReadingGoesOnBehindIt) {
  bench b;
  const auto first = make_batches(0, 2), second = make_batches(2, 2), third = make_batches(4, 2);
  b.append(b.logs[0], first);
  b.append(b.logs[0], second);
  b.append(b.logs[0], third);
  b.append(b.logs[1], make_batches(0, 1));
  auto scan = scan_segment(**b.disk.open(b.segment(0)), b.rows->segments().at(0).id);
  ASSERT_TRUE(b.disk.flip_bit(b.segment(0), scan->blocks.at(1).position + 70, 1));  // its directory
  b.start();
  EXPECT_EQ(b.c->state(b.logs[0])->damaged_from, log_offset{2});
  EXPECT_EQ(b.c->state(b.logs[1])->damaged_from, log_offset{0});
  EXPECT_EQ(b.readable(b.logs[0], first), 2u);
  EXPECT_EQ(b.readable(b.logs[0], second), 0u);
  EXPECT_EQ(b.readable(b.logs[0], third), 2u);
  EXPECT_NE(b.said.find("broken_header_at="), std::string::npos) << b.said;
  // Cutting at the damage repairs the log.
  work w;
  w.what = work::kind::truncate;
  w.log = b.logs[0];
  w.at = log_offset{2};
  b.write(std::move(w));
  EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from);
  b.append(b.logs[0], second);
  b.start();
  EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from);
  EXPECT_EQ(b.readable(b.logs[0], second), 2u);
}

work cancelling(work::kind what, log_id id, std::int64_t at) {
  work w;
  w.what = what;
  w.log = id;
  w.at = log_offset{at};
  return w;
}

/// Destroys the directories of blocks of the first segment, from the one at `first` on.
void destroy(bench& b, std::size_t first, std::size_t count) {
  const auto scan = scan_segment(**b.disk.open(b.segment(0)), b.rows->segments().at(0).id);
  for (auto i = first; i < first + count; ++i)
    ASSERT_TRUE(b.disk.flip_bit(b.segment(0), scan->blocks.at(i).position + 70, 1));
}

TEST(LogFaults, WhatALostBlockCancelledIsRepeatedByTheNext) {
  for (const auto what : {work::kind::truncate, work::kind::trim, work::kind::restart}) {
    for (const std::size_t lost : {1u, 2u}) {
      bench b{durability::group, 1 << 20};
      const auto before = make_batches(0, 6);
      b.append(b.logs[0], before);
      b.append(b.logs[1], make_batches(0, 3));
      b.write(cancelling(what, b.logs[0], 4));
      if (lost == 2) b.append(b.logs[1], make_batches(3, 1));
      b.append(b.logs[2], make_batches(0, 1));
      destroy(b, 2, lost);
      b.start();
      const auto state = b.c->state(b.logs[0]);
      EXPECT_EQ(state->start, log_offset{what == work::kind::truncate ? 0 : 4});
      EXPECT_EQ(state->end, log_offset{what == work::kind::trim ? 6 : 4});
      EXPECT_EQ(state->damaged_from, state->end) << b.said;  // what else was in it nobody knows
      EXPECT_EQ(b.readable(b.logs[0], before), what == work::kind::truncate ? 4u : what == work::kind::trim ? 2u : 0u);
      EXPECT_EQ(b.readable(b.logs[1], make_batches(0, 3)), 3u);
      EXPECT_EQ(b.said.find("cuts=lost"), std::string::npos) << b.said;
    }
  }
}

TEST(LogFaults, NothingOlderIsReadWhenATruncationIsLostForGood) {
  bench b{durability::group, 1 << 20};
  const auto stale = make_batches(0, 6), fresh = make_batches(3, 3, 100, 0, "fresh"), others = make_batches(0, 3);
  b.append(b.logs[0], stale);
  b.append(b.logs[1], others);
  b.write(cancelling(work::kind::truncate, b.logs[0], 3));
  b.append(b.logs[0], fresh);
  for (int i = 0; i < 2; ++i) b.append(b.logs[2], make_batches(i, 1));
  destroy(b, 2, 3);  // it, and all that repeats it
  b.start();
  for (int life = 0; life < 4; ++life) {
    // Readable without the doubt: `stale` from 3 on, where `fresh` was.
    EXPECT_EQ(b.readable(b.logs[0], stale), 0u) << life;
    EXPECT_EQ(b.readable(b.logs[1], others), 0u) << life;
    EXPECT_EQ(b.readable(b.logs[2], make_batches(1, 1)), 1u) << life;
    EXPECT_EQ(b.c->state(b.logs[0])->damaged_from, log_offset{0}) << life;
    EXPECT_EQ(b.c->state(b.logs[1])->damaged_from, log_offset{0}) << life;
    EXPECT_NE(b.said.find("cuts=lost"), std::string::npos) << b.said;
    if (life == 1) b.append(b.logs[2], make_batches(2, 1));  // a new segment, whose checkpoint knows no more
    if (life > 0)
      while (b.c->seal_next()) {
      }
    b.c->drop_dead();
    b.start();
  }
  b.write(cancelling(work::kind::restart, b.logs[0], 3));
  b.append(b.logs[0], fresh);
  b.start();
  EXPECT_EQ(b.readable(b.logs[0], fresh), 3u);
  EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from);
  EXPECT_TRUE(b.c->state(b.logs[1])->damaged_from);
}

TEST(LogFaults, TheLastBlockOfAnEndedSegmentIsNoTornTail) {
  for (const bool cuts : {false, true}) {
    bench b;
    b.append(b.logs[0], make_batches(0, 6));
    if (cuts)
      b.write(cancelling(work::kind::truncate, b.logs[0], 3));
    else
      b.append(b.logs[1], make_batches(0, 1));
    b.c->roll(wall_time{}, std::chrono::milliseconds{0});
    b.append(b.logs[0], make_batches(cuts ? 3 : 6, 1, 100, 0, "fresh"));
    destroy(b, 1, 1);
    b.start();
    EXPECT_NE(b.said.find("state=lost"), std::string::npos) << b.said;
    EXPECT_EQ(b.readable(b.logs[0], make_batches(0, 3)), cuts ? 0u : 3u);
    EXPECT_EQ(b.readable(b.logs[0], make_batches(cuts ? 3 : 6, 1, 100, 0, "fresh")), 1u);
  }
}

TEST(LogFaults, AMissingSegmentThatCutNothingCastsNoDoubtOnOlderOnes) {
  for (const bool cuts : {false, true}) {
    bench b;
    const auto all = make_batches(0, 80, 1000);
    for (std::size_t i = 0; i < 40; ++i) b.append(b.logs[0], {all[i]});
    if (cuts) b.write(cancelling(work::kind::truncate, b.logs[1], 0));
    for (std::size_t i = 40; i < 80; ++i) b.append(b.logs[0], {all[i]});
    while (b.c->seal_next()) {
    }
    std::size_t missing = 1;
    if (cuts)
      while (b.rows->segments().at(missing).cuts == 0) ++missing;
    b.disk.lose(b.segment(missing));
    b.start();
    EXPECT_EQ(b.readable(b.logs[0], {all.begin(), all.begin() + 3}), cuts ? 0u : 3u);
    EXPECT_EQ(b.readable(b.logs[0], {all.end() - 3, all.end()}), 3u);
  }
}

/// Any bit of any file, with the segments sealed or not: what is read is right, and what cannot be read is named.
TEST(LogFaults, NoFlippedBitEverYieldsWrongBytes) {
  std::size_t named = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    bench b;
    random_source random{seed};
    std::vector<std::vector<batch>> all(3);
    for (std::size_t i = 0; i < 60; ++i) {
      const auto l = random.below(3);
      auto batches = make_batches(static_cast<std::int64_t>(all[l].size()), static_cast<int>(1 + random.below(3)), 900);
      all[l].insert(all[l].end(), batches.begin(), batches.end());
      b.append(b.logs[l], batches);
    }
    while (random.below(3) && b.c->seal_next()) {
    }
    const auto segments = b.rows->segments();
    const auto victim = segments.at(random.below(segments.size()));
    if (victim.sealed && random.below(2))
      b.disk.flip_index_bit(victim.name, random.below(4000), static_cast<unsigned>(random.below(8)));
    else
      b.disk.flip_bit(victim.name, random.below(b.disk.bytes_of(victim.name)), static_cast<unsigned>(random.below(8)));
    b.said.clear();
    b.start();
    for (int again = 0; again < 2; ++again) {  // also from the index that is written after the damage
      std::size_t lost = 0;
      for (std::size_t l = 0; l < 3; ++l) lost += all[l].size() - b.readable(b.logs[l], all[l]);
      // At most the batches of one block, or an unacknowledged-looking last block.
      EXPECT_LE(lost, 3u) << "seed " << seed << "\n" << b.said;
      if (lost) {
        EXPECT_TRUE(b.said.find("damaged") != std::string::npos || b.said.find("torn=1") != std::string::npos)
            << "seed " << seed << "\n"
            << b.said;
        ++named;
      }
      while (b.c->seal_next()) {
      }
      b.start();
    }
  }
  EXPECT_GT(named, 10u);
}

TEST(LogFaults, AMissingSegmentIsDamageNotAnEmptyLog) {
  bench b;
  const auto all = make_batches(0, 80, 1000);
  for (const auto& one : all) b.append(b.logs[0], {one});
  while (b.c->seal_next()) {
  }
  ASSERT_GE(b.rows->segments().size(), 3u);
  b.disk.lose(b.segment(1));
  b.start();
  const auto state = b.c->state(b.logs[0]);
  EXPECT_EQ(state->end, log_offset{80});
  ASSERT_TRUE(state->damaged_from);
  EXPECT_GT(b.readable(b.logs[0], all), 0u);
  EXPECT_NE(b.said.find("segment_missing"), std::string::npos);
}

TEST(LogFaults, ADamagedIndexIsRebuiltFromTheBlocks) {
  bench b;
  const auto all = make_batches(0, 80, 1000);
  for (const auto& one : all) b.append(b.logs[0], {one});
  while (b.c->seal_next()) {
  }
  b.disk.flip_index_bit(b.segment(0), 20, 1);   // its header: noticed at the start
  b.disk.flip_index_bit(b.segment(1), 300, 1);  // its rows: noticed when they are needed
  b.start();
  EXPECT_EQ(b.readable(b.logs[0], all), 80u);
  EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from);
  EXPECT_NE(b.said.find("index_rebuilt"), std::string::npos);
}

TEST(LogFaults, ALogThatWasFilledAgainBehindACutFileIsWholeAtEveryLaterStart) {
  bench b;
  const auto all = make_batches(0, 80, 1000);
  for (const auto& one : all) b.append(b.logs[0], {one});
  while (b.c->seal_next()) {
  }
  ASSERT_TRUE(b.disk.cut(b.segment(0), b.disk.bytes_of(b.segment(0)) / 2));
  b.start();
  const auto damaged = b.c->state(b.logs[0])->damaged_from;
  ASSERT_TRUE(damaged);
  EXPECT_NE(b.said.find("file_cut"), std::string::npos);

  work cut;
  cut.what = work::kind::truncate;
  cut.log = b.logs[0];
  cut.at = *damaged;
  cut.done = [](const auto&) {};
  b.write(std::move(cut));
  for (const auto& one : all)
    if (one.base >= *damaged) b.append(b.logs[0], {one});
  EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from);
  while (b.c->seal_next()) {
  }
  b.start();
  EXPECT_FALSE(b.c->state(b.logs[0])->damaged_from);
  EXPECT_EQ(b.readable(b.logs[0], all), 80u);
}

}  // namespace
}  // namespace troupe::store
