#include "actors/partition/partition_core.hpp"

#include <gtest/gtest.h>

#include "runtime/base/random.hpp"
#include "tests/unit/partition/batches.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using namespace testing_batches;

constexpr wall_time wall_start{1'700'000'000'000ms};

struct PartitionCore : testing::Test {
  topic_settings settings;
  leader_epoch epoch{5};
  partition_restored restored;
  replica_set replicas;
  moment at{instant{} + 1h, wall_start};
  decompressor unpacker;
  std::optional<partition_core> core_;

  std::vector<std::pair<int, produce::outcome>> answers;
  std::vector<store::batch> appended;
  std::vector<fetch> woken;
  int produces{0};

  partition_core& core() {
    if (!core_) core_.emplace(epoch, settings, std::move(restored), replicas);
    return *core_;
  }
  void perform(partition_core::effects todo) {
    for (auto& b : todo.append) appended.push_back(std::move(b));
    for (auto& it : todo.produced) it.to(it.outcome);
    for (auto& it : todo.fetched) it.to(it.outcome);
    for (auto& it : todo.woken) woken.push_back(std::move(it));
  }
  /// Returns the number under which the answer will be found.
  int send(produce m, bool crowded = false) {
    const int number = produces++;
    m.answer = [this, number](produce::outcome out) { answers.emplace_back(number, std::move(out)); };
    if (m.deadline == instant{}) m.deadline = at.now + 30s;
    perform(core().produced(std::move(m), at, crowded, unpacker));
    return number;
  }
  int send(const buffer& batch, std::int16_t acks = -1) {
    produce m;
    m.records = own(batch);
    m.acks = acks;
    return send(std::move(m));
  }
  int send_records(int count, std::int16_t acks = -1) {
    return send(test_batch{.records = std::vector<test_record>(static_cast<std::size_t>(count),
                                                               {.timestamp = wall_start.time_since_epoch().count()})},
                acks);
  }
  void durable(std::int64_t end) { perform(core().durable(log_offset{end})); }
  void refused(std::int64_t end, errc why = errc::storage_full) {
    perform(core().refused(log_offset{end}, {why, "test"}));
  }
  const produce::outcome* answer(int number) const {
    for (const auto& [n, out] : answers)
      if (n == number) return &out;
    return nullptr;
  }
  errc refusal(int number) const {
    const auto* out = answer(number);
    return out == nullptr ? errc::internal : out->refused ? out->refused->code : errc{};
  }
};

TEST_F(PartitionCore, GivesOutConsecutiveOffsetsAndStampsThem) {
  restored.end = log_offset{100};
  restored.epochs = {{leader_epoch{3}, log_offset{0}}};
  send_records(3);
  send_records(2);
  ASSERT_EQ(appended.size(), 2u);
  EXPECT_EQ(appended[0].base, log_offset{100});
  EXPECT_EQ(appended[1].base, log_offset{103});
  EXPECT_EQ(appended[1].offsets, 2);
  EXPECT_EQ(appended[1].epoch, epoch);
  EXPECT_EQ(appended[1].timestamp_max, wall_start.time_since_epoch().count());
  EXPECT_EQ(appended[1].checked_from, 21);
  const batch_header header{appended[1].bytes};
  EXPECT_EQ(header.base(), log_offset{103});
  EXPECT_EQ(header.epoch(), epoch);
  EXPECT_EQ(appended[1].crc, crc32c(appended[1].bytes.view().subspan(21)));
  EXPECT_EQ(core().end(), log_offset{105});
  EXPECT_EQ(core().epochs().entries(),
            (std::vector<store::epoch_start>{{leader_epoch{3}, log_offset{0}}, {epoch, log_offset{100}}}));
}

TEST_F(PartitionCore, AnswersWhatIsDurableAndNothingEarlier) {
  const int none = send_records(1, 0), one = send_records(1, 1), all = send_records(1, -1), more = send_records(5, 1);
  EXPECT_NE(answer(none), nullptr);
  EXPECT_EQ(answer(one), nullptr);
  durable(2);
  ASSERT_NE(answer(one), nullptr);
  EXPECT_EQ(answer(one)->base, log_offset{1});
  EXPECT_EQ(answer(one)->epoch, epoch);
  EXPECT_EQ(answer(one)->append_time_ms, -1);
  EXPECT_EQ(answer(one)->log_start, log_offset{0});
  EXPECT_EQ(answer(all), nullptr);
  durable(7);  // not all of `more`
  EXPECT_NE(answer(all), nullptr);
  EXPECT_EQ(answer(more), nullptr);
  durable(8);
  EXPECT_NE(answer(more), nullptr);
  EXPECT_EQ(answers.size(), 4u);
  EXPECT_FALSE(core().waiting());
}

TEST_F(PartitionCore, WithMoreReplicasWaitsForTheWatermarkThatSomeoneElseCounts) {
  replicas = {3, 2};
  settings.min_insync_replicas = 2;
  const int one = send_records(1, 1), all = send_records(1, -1);
  durable(2);
  EXPECT_NE(answer(one), nullptr);
  EXPECT_EQ(answer(all), nullptr);
  EXPECT_EQ(core().watermark(), log_offset{0});
  perform(core().committed(log_offset{2}));
  EXPECT_NE(answer(all), nullptr);
}

TEST_F(PartitionCore, AsksForNoMoreReplicasInSyncThanThereAre) {
  settings.min_insync_replicas = 2;
  EXPECT_EQ(refusal(send_records(1)), errc::internal);  // taken: waits
  core_.reset();
  replicas = {3, 1};
  EXPECT_EQ(refusal(send_records(1)), errc::not_enough_replicas);
  EXPECT_EQ(refusal(send_records(1, 0)), errc{});
  core_.reset();
  replicas = {3, 1, 2};  // it grows from one to three
  EXPECT_EQ(refusal(send_records(1)), errc::internal);
}

TEST_F(PartitionCore, RefusesWhatItMustNotAppend) {
  settings.message_bytes_max = 200;
  EXPECT_EQ(refusal(send(test_batch{}, 2)), errc::invalid_required_acks);
  EXPECT_EQ(refusal(send(test_batch{}, -2)), errc::invalid_required_acks);
  EXPECT_EQ(refusal(send(buffer{})), errc::invalid_record);
  EXPECT_EQ(refusal(send(test_batch{.flags = 1 << 5})), errc::invalid_record);
  EXPECT_EQ(refusal(send(test_batch{.producer = 1, .producer_epoch = 0, .sequence = 0, .flags = 1 << 4})),
            errc::transactions_unavailable);
  EXPECT_EQ(refusal(send(test_batch{.records = std::vector<test_record>(50)})), errc::message_too_large);
  produce m;
  m.records = own(test_batch{});
  m.transactional_id = true;
  EXPECT_EQ(refusal(send(std::move(m))), errc::transactions_unavailable);
  produce n;
  n.records = own(test_batch{.codec = compression::zstd});
  n.zstd_allowed = false;
  EXPECT_EQ(refusal(send(std::move(n))), errc::unsupported_compression);
  produce o;
  o.records = own(test_batch{});
  EXPECT_EQ(refusal(send(std::move(o), true)), errc::busy);
  EXPECT_TRUE(appended.empty());
  EXPECT_EQ(core().end(), log_offset{0});
}

TEST_F(PartitionCore, RefusesTimesFarFromNowWithTheRecordsNamed) {
  settings.timestamp_before_max = 24h;
  const auto now = wall_start.time_since_epoch().count();
  const int n = send(
      test_batch{.records = {{.timestamp = now}, {.timestamp = now + 3'600'001}, {.timestamp = now - 86'400'001}}});
  EXPECT_EQ(refusal(n), errc::invalid_timestamp);
  EXPECT_EQ(answer(n)->records.size(), 2u);
  settings.timestamp_before_max = std::chrono::milliseconds{std::numeric_limits<std::int64_t>::max()};
  settings.timestamp_after_max = *settings.timestamp_before_max;
  core().reconfigured(settings);
  send(test_batch{.records = {{.timestamp = 0}, {.timestamp = std::numeric_limits<std::int64_t>::max() - 5}}}, 1);
  EXPECT_EQ(appended.size(), 1u);
}

TEST_F(PartitionCore, TakesAnyTimeWhileTheClockIsNotSure) {
  settings.timestamp_before_max = 24h;
  at.sure = false;
  const auto now = wall_start.time_since_epoch().count();
  for (const auto time : {now + 86'400'000ll * 3650, now - 86'400'000ll * 3650})
    EXPECT_EQ(refusal(send(test_batch{.records = {{.timestamp = time}}}, 0)), errc{});
  EXPECT_EQ(appended.size(), 2u);
  at.sure = true;
  EXPECT_EQ(refusal(send(test_batch{.records = {{.timestamp = now + 86'400'000}}}, 0)), errc::invalid_timestamp);
}

TEST_F(PartitionCore, StampsByAppendTimeWhereTheTopicSaysSo) {
  settings.timestamps = topic_settings::timestamp_type::log_append_time;
  const int n = send(test_batch{.records = {{.timestamp = 5}}, .producer = 1, .producer_epoch = 0, .sequence = 0});
  const auto now = wall_start.time_since_epoch().count();
  ASSERT_EQ(appended.size(), 1u);
  EXPECT_EQ(appended[0].timestamp_max, now);
  EXPECT_EQ(appended[0].crc, crc32c(appended[0].bytes.view().subspan(21)));
  durable(1);
  EXPECT_EQ(answer(n)->append_time_ms, now);
  at.wall += 5s;  // the repeat is told the time of the original
  const int again = send(test_batch{.records = {{.timestamp = 5}}, .producer = 1, .producer_epoch = 0, .sequence = 0});
  ASSERT_NE(answer(again), nullptr);
  EXPECT_EQ(answer(again)->append_time_ms, now);
  EXPECT_EQ(answer(again)->base, log_offset{0});
}

TEST_F(PartitionCore, ConfirmsADuplicateNoEarlierThanItsOriginal) {
  const test_batch b{.producer = 9, .producer_epoch = 0, .sequence = 0};
  const test_batch next{.producer = 9, .producer_epoch = 0, .sequence = 1};
  const int original = send(b);
  const int follower = send(next, 1);
  const int duplicate = send(b), unsafe = send(b, 1), careless = send(b, 0);
  EXPECT_EQ(appended.size(), 2u);
  EXPECT_NE(answer(careless), nullptr);
  EXPECT_EQ(answer(duplicate), nullptr);
  EXPECT_EQ(answer(unsafe), nullptr);
  durable(1);
  for (const int n : {original, duplicate, unsafe}) {
    ASSERT_NE(answer(n), nullptr) << n;
    EXPECT_EQ(answer(n)->base, log_offset{0});
    EXPECT_FALSE(answer(n)->refused);
  }
  EXPECT_EQ(answer(follower), nullptr);
  EXPECT_EQ(refusal(send(test_batch{.producer = 9, .producer_epoch = 0, .sequence = 5})), errc::out_of_order_sequence);
}

TEST_F(PartitionCore, TakesBackWhatTheDiskRefusedAndGoesOnFromThere) {
  const test_batch first{.producer = 9, .producer_epoch = 0, .sequence = 0};
  const test_batch second{.producer = 9, .producer_epoch = 0, .sequence = 1};
  const int a = send(first), b = send(second), c = send(second), d = send_records(4, 1);
  durable(1);
  refused(1);
  EXPECT_EQ(refusal(a), errc{});
  for (const int n : {b, c, d}) EXPECT_EQ(refusal(n), errc::storage_full) << n;
  EXPECT_EQ(answer(b)->base, log_offset{-1});
  EXPECT_EQ(core().end(), log_offset{1});
  const int again = send(second);
  EXPECT_EQ(appended.back().base, log_offset{1});
  durable(2);
  EXPECT_EQ(answer(again)->base, log_offset{1});
}

TEST_F(PartitionCore, WhatWasSentBehindABatchThatCameTooEarlyForTheNewLeaderIsNoGap) {
  const test_batch first{.producer = 9, .producer_epoch = 0, .sequence = 0};
  const test_batch second{.producer = 9, .producer_epoch = 0, .sequence = 1};
  const test_batch third{.producer = 9, .producer_epoch = 0, .sequence = 2};
  send(first);
  durable(1);
  perform(core().followed(leader_epoch{4}, {errc::not_leader, "another leads"}));
  EXPECT_EQ(refusal(send(second)), errc::not_leader);
  perform(core().led(leader_epoch{5}, {}));
  EXPECT_EQ(refusal(send(third)), errc::not_leader);
  send(second);
  durable(2);
  const int in_order = send(third);
  durable(3);
  EXPECT_EQ(answer(in_order)->base, log_offset{2});
}

TEST_F(PartitionCore, WhatWasSentBehindABatchRefusedForTooFewReplicasOrForACrowdedDiskIsNoGap) {
  const test_batch first{.producer = 9, .producer_epoch = 0, .sequence = 0};
  const test_batch second{.producer = 9, .producer_epoch = 0, .sequence = 1};
  const test_batch third{.producer = 9, .producer_epoch = 0, .sequence = 2};
  settings.min_insync_replicas = 2;
  send(first, 1);
  durable(1);
  perform(core().replicas_changed({3, 1, 0}));
  EXPECT_EQ(refusal(send(second)), errc::not_enough_replicas);
  perform(core().replicas_changed({3, 3, 0}));
  EXPECT_EQ(refusal(send(third)), errc::not_enough_replicas);
  at.now += 10s;
  produce m;
  m.records = own(second);
  m.acks = -1;
  EXPECT_EQ(refusal(send(std::move(m), true)), errc::busy);
  EXPECT_EQ(refusal(send(third)), errc::busy);
  at.now += 10s;
  EXPECT_EQ(refusal(send(third)), errc::out_of_order_sequence);
}

TEST_F(PartitionCore, WhatWasSentBehindARefusedBatchIsNoGap) {
  const test_batch first{.producer = 9, .producer_epoch = 0, .sequence = 0};
  const test_batch second{.producer = 9, .producer_epoch = 0, .sequence = 1};
  const test_batch third{.producer = 9, .producer_epoch = 0, .sequence = 2};
  send(first);
  durable(1);
  send(second);
  refused(1);
  EXPECT_EQ(refusal(send(third)), errc::storage_full);
  send(second);
  durable(2);
  const int in_order = send(third);
  durable(3);
  EXPECT_EQ(answer(in_order)->base, log_offset{2});
  // Later a gap is a gap.
  at.now += 10s;
  EXPECT_EQ(refusal(send(test_batch{.producer = 9, .producer_epoch = 0, .sequence = 7})), errc::out_of_order_sequence);
}

TEST_F(PartitionCore, ForgetsTheStartOfItsEpochWithTheBatchThatWasRefused) {
  restored.end = log_offset{10};
  restored.epochs = {{leader_epoch{2}, log_offset{0}}};
  send_records(1);
  EXPECT_EQ(core().epochs().entries().size(), 2u);
  refused(10);
  EXPECT_EQ(core().epochs().entries().size(), 1u);
  send_records(1);
  EXPECT_EQ(core().epochs().entries().back(), (store::epoch_start{epoch, log_offset{10}}));
}

TEST_F(PartitionCore, AppendsNothingAfterAFailedSync) {
  const int n = send_records(1);
  refused(0, errc::storage_failed);
  EXPECT_EQ(refusal(n), errc::storage_failed);
  EXPECT_EQ(refusal(send_records(1)), errc::storage_failed);
  EXPECT_EQ(appended.size(), 1u);
}

TEST_F(PartitionCore, TellsCallersWhenTheirTimeIsUp) {
  produce m;
  m.records = own(test_batch{});
  m.deadline = at.now + 2s;
  const int n = send(std::move(m));
  const int patient = send_records(1), unhurried = send_records(1, 1);
  EXPECT_TRUE(core().waiting());
  perform(core().tick(at.now + 1s));
  EXPECT_EQ(answer(n), nullptr);
  perform(core().tick(at.now + 2s));
  EXPECT_EQ(refusal(n), errc::timed_out);
  durable(3);
  EXPECT_EQ(refusal(patient), errc{});
  EXPECT_EQ(refusal(unhurried), errc{});
  EXPECT_EQ(answers.size(), 3u);  // nobody was answered twice
}

TEST_F(PartitionCore, AdmitsReadersByEpochAndRange) {
  restored.start = log_offset{10};
  restored.end = log_offset{20};
  restored.epochs = {{leader_epoch{2}, log_offset{5}}, {leader_epoch{4}, log_offset{15}}};
  send_records(5);
  auto ask = [&](std::int64_t from, int current = -1, int last = -1) {
    fetch m;
    m.from = log_offset{from};
    m.current = leader_epoch{current};
    m.last_fetched = leader_epoch{last};
    return core().fetched(m);
  };
  EXPECT_EQ(ask(9).outcome.refused->code, errc::offset_out_of_range);
  EXPECT_EQ(ask(26).outcome.refused->code, errc::offset_out_of_range);
  EXPECT_EQ(ask(15, 4).outcome.refused->code, errc::fenced_epoch);
  EXPECT_EQ(ask(15, 6).outcome.refused->code, errc::unknown_epoch);
  const auto good = ask(10, 5);
  EXPECT_TRUE(good.read);
  EXPECT_EQ(good.end, log_offset{20});
  EXPECT_EQ(good.outcome.high_watermark, log_offset{20});
  EXPECT_EQ(good.outcome.last_stable, log_offset{20});
  EXPECT_EQ(good.outcome.log_start, log_offset{10});
  // At and beyond the watermark, up to the end: nothing, no error.
  for (std::int64_t from = 20; from <= 25; ++from) {
    EXPECT_FALSE(ask(from).read);
    EXPECT_FALSE(ask(from).outcome.refused);
  }
  // Divergence: the reader's last epoch ends before its offset, or is not in the log.
  EXPECT_FALSE(ask(15, -1, 2).outcome.diverging);
  EXPECT_EQ(ask(16, -1, 2).outcome.diverging->end, log_offset{15});
  EXPECT_EQ(ask(16, -1, 3).outcome.diverging->epoch, leader_epoch{2});
  EXPECT_FALSE(ask(17, -1, 4).outcome.diverging);
  EXPECT_EQ(ask(21, -1, 4).outcome.diverging->end, log_offset{20});
  EXPECT_FALSE(ask(21, -1, 5).outcome.diverging);
}

TEST_F(PartitionCore, WakesWatchersOnceWhenTheWatermarkMoves) {
  fetch m;
  m.watch_until = at.now + 500ms;
  m.answer = [](auto) {};
  perform(core().watch(m, log_offset{0}).value());
  EXPECT_TRUE(woken.empty());
  EXPECT_TRUE(core().waiting());
  send_records(2);
  EXPECT_TRUE(woken.empty());
  durable(2);
  EXPECT_EQ(woken.size(), 1u);
  send_records(1);
  durable(3);
  EXPECT_EQ(woken.size(), 1u);
  // What came between the first answer and the watch is new as well.
  perform(core().watch(m, log_offset{2}).value());
  EXPECT_EQ(woken.size(), 2u);
  // And a watch ends with its time.
  perform(core().watch(m, log_offset{3}).value());
  perform(core().tick(at.now + 500ms));
  send_records(1);
  durable(4);
  EXPECT_EQ(woken.size(), 2u);
}

TEST_F(PartitionCore, HasABoundForWatchers) {
  fetch m;
  m.watch_until = at.now + 1s;
  for (std::size_t i = 0; i < partition_core::watchers_max; ++i) ASSERT_TRUE(core().watch(m, log_offset{0}));
  EXPECT_FALSE(core().watchable());
  EXPECT_EQ(core().watch(m, log_offset{0}).code(), errc::busy);
}

TEST_F(PartitionCore, ForgetsWatchersThatWaitNoLonger) {
  auto over = std::make_shared<std::atomic<bool>>(false);
  fetch m;
  m.watch_until = at.now + 1s;
  m.over = over;
  m.answer = [](auto) {};
  for (std::size_t i = 0; i < partition_core::watchers_max; ++i) ASSERT_TRUE(core().watch(m, log_offset{0}));
  EXPECT_FALSE(core().watchable());
  *over = true;
  EXPECT_TRUE(core().watchable());
  EXPECT_FALSE(core().waiting());
  // Nor are they woken by what comes.
  *over = false;
  perform(core().watch(m, log_offset{0}).value());
  *over = true;
  send_records(1);
  durable(1);
  EXPECT_TRUE(woken.empty());
}

TEST_F(PartitionCore, AnswersEveryoneWhenItEnds) {
  const int n = send_records(1), m = send_records(1, 1);
  int ended = 0;
  fetch f;
  f.watch_until = at.now + 1s;
  f.answer = [&](fetch::outcome out) { ended += out.refused && out.refused->code == errc::unknown_topic; };
  perform(core().watch(f, log_offset{0}).value());
  perform(core().ended({errc::unknown_topic, ""}));
  EXPECT_EQ(refusal(n), errc::unknown_topic);
  EXPECT_EQ(refusal(m), errc::unknown_topic);
  EXPECT_EQ(ended, 1);
  EXPECT_FALSE(core().waiting());
  EXPECT_EQ(refusal(send_records(1)), errc::unknown_topic);
}

TEST_F(PartitionCore, ListsSpecialOffsets) {
  restored.start = log_offset{10};
  restored.end = log_offset{20};
  restored.epochs = {{leader_epoch{2}, log_offset{5}}, {leader_epoch{4}, log_offset{15}}};
  send_records(5);
  auto ask = [&](std::int64_t timestamp, int current = -1) {
    list_offsets m;
    m.timestamp = timestamp;
    m.current = leader_epoch{current};
    return core().offsets_listed(m);
  };
  EXPECT_EQ(ask(list_offsets::latest)->offset, log_offset{20});
  EXPECT_EQ(ask(list_offsets::latest)->epoch, epoch);
  EXPECT_EQ(ask(list_offsets::latest)->timestamp, -1);
  EXPECT_EQ(ask(list_offsets::earliest)->offset, log_offset{10});
  EXPECT_EQ(ask(list_offsets::earliest)->epoch, leader_epoch{2});
  EXPECT_EQ(ask(list_offsets::earliest_local)->offset, log_offset{10});
  EXPECT_FALSE(ask(list_offsets::max_timestamp));  // has to be searched
  EXPECT_FALSE(ask(0));
  EXPECT_EQ(ask(-5)->refused->code, errc::invalid_request);
  EXPECT_EQ(ask(list_offsets::latest, 4)->refused->code, errc::fenced_epoch);
  core_.reset();
  restored = {};
  for (std::int64_t t : {list_offsets::max_timestamp, std::int64_t{0}}) {
    EXPECT_FALSE(ask(t)->refused);
    EXPECT_EQ(ask(t)->offset, log_offset{-1});
    EXPECT_EQ(ask(t)->timestamp, -1);
  }
}

TEST_F(PartitionCore, KnowsWhereEpochsEnd) {
  restored.end = log_offset{20};
  restored.epochs = {{leader_epoch{2}, log_offset{5}}, {leader_epoch{4}, log_offset{15}}};
  auto ask = [&](int asked, int current = -1) {
    const auto out = core().epoch_ended({leader_epoch{current}, leader_epoch{asked}, {}});
    EXPECT_FALSE(out.refused);
    return std::pair{out.epoch.value(), out.end.value()};
  };
  EXPECT_EQ(ask(1), (std::pair{-1, std::int64_t{-1}}));
  EXPECT_EQ(ask(2), (std::pair{2, std::int64_t{15}}));
  EXPECT_EQ(ask(3), (std::pair{2, std::int64_t{15}}));
  EXPECT_EQ(ask(4), (std::pair{4, std::int64_t{20}}));
  EXPECT_EQ(ask(5), (std::pair{5, std::int64_t{20}}));
  EXPECT_EQ(ask(6), (std::pair{-1, std::int64_t{-1}}));
  send_records(3);
  EXPECT_EQ(ask(4), (std::pair{4, std::int64_t{20}}));
  EXPECT_EQ(ask(5), (std::pair{5, std::int64_t{23}}));
  EXPECT_EQ(core().epoch_ended({leader_epoch{3}, leader_epoch{2}, {}}).refused->code, errc::fenced_epoch);
  EXPECT_EQ(core().epoch_ended({leader_epoch{9}, leader_epoch{2}, {}}).refused->code, errc::unknown_epoch);
}

TEST_F(PartitionCore, DeletesRecordsUpToTheWatermark) {
  restored.end = log_offset{20};
  restored.epochs = {{leader_epoch{2}, log_offset{0}}, {leader_epoch{4}, log_offset{10}}};
  send_records(5);
  EXPECT_EQ(core().records_deleted(log_offset{21}).code(), errc::offset_out_of_range);
  EXPECT_EQ(core().records_deleted(log_offset{-2}).code(), errc::offset_out_of_range);
  EXPECT_EQ(core().records_deleted(log_offset{5}).value(), log_offset{5});
  EXPECT_EQ(core().records_deleted(log_offset{3}).value(), std::nullopt);
  EXPECT_EQ(core().start(), log_offset{5});
  EXPECT_EQ(core().epochs().entries().size(), 3u);
  EXPECT_EQ(core().records_deleted(log_offset{-1}).value(), log_offset{20});
  EXPECT_EQ(core().start(), log_offset{20});
  EXPECT_EQ(core().epochs().entries().front().epoch, epoch);
  fetch m;
  m.from = log_offset{20};
  EXPECT_FALSE(core().fetched(m).outcome.refused);
}

struct Retention : PartitionCore {
  std::vector<store::extent> extents;
  std::int64_t now_ms() const { return at.wall.time_since_epoch().count(); }
  void add(std::int64_t timestamp, std::uint64_t bytes = 100) {
    const auto base = extents.empty() ? log_offset{0} : extents.back().end;
    extents.push_back({base, base + 10, bytes, timestamp});
    restored.end = base + 10;
  }
  std::optional<log_offset> look(std::chrono::milliseconds later = 10s) {
    core();
    at.now += later;
    at.wall += later;
    return core().retained(extents, at);
  }
};

TEST_F(Retention, DropsWhatIsOlderThanTheTopicKeeps) {
  settings.retention = 24h;
  const auto day = 86'400'000;
  add(now_ms() - 3 * day);
  add(now_ms() - 2 * day);
  add(now_ms() - day / 2);
  add(now_ms() - 2 * day);  // behind a younger one: stays
  EXPECT_EQ(look(), log_offset{20});
  EXPECT_EQ(core().start(), log_offset{20});
  EXPECT_EQ(look(), std::nullopt);
  EXPECT_EQ(look(24h), log_offset{40});
}

TEST_F(Retention, KeepsForEverWhereTheTopicSaysSo) {
  settings.retention.reset();
  add(1);
  EXPECT_TRUE(core().retains_all());
  EXPECT_EQ(look(), std::nullopt);
}

TEST_F(Retention, NeverTrustsAStampFromTheFuture) {
  settings.retention = 1h;
  add(now_ms() + 86'400'000);
  add(0);
  EXPECT_EQ(look(), std::nullopt);
}

TEST_F(Retention, LetsRecordsWithoutTimeGoWithWhatFollows) {
  settings.retention = 1h;
  add(-1);
  EXPECT_EQ(look(), std::nullopt);
  core_.reset();
  restored = {};
  add(0);
  add(-1);
  EXPECT_EQ(look(), log_offset{20});
}

TEST_F(Retention, DropsNothingForItsAgeWhileTheClockIsNotSure) {
  settings.retention = 24h;
  add(now_ms() - 2 * 86'400'000);
  at.sure = false;
  EXPECT_EQ(look(), std::nullopt);
  settings.retention_bytes = 0;
  core().reconfigured(settings);
  EXPECT_EQ(look(), log_offset{10});  // for its size it does
  settings.retention_bytes.reset();
  core_.reset();
  restored = {};
  restored.end = log_offset{10};
  EXPECT_EQ(look(), std::nullopt);
  at.sure = true;
  EXPECT_EQ(look(), log_offset{10});
}

TEST_F(Retention, ForgetsNoProducerWhileTheClockIsNotSure) {
  settings.retention = 24h;
  send(test_batch{.producer = 9, .producer_epoch = 0, .sequence = 0});
  at.sure = false;
  EXPECT_EQ(look(std::chrono::days{3650}), std::nullopt);
  EXPECT_EQ(core().known_producers().size(), 1u);
  at.sure = true;
  look();
  EXPECT_EQ(core().known_producers().size(), 0u);
}

TEST_F(Retention, KeepsAtLeastTheBytesTheTopicAllows) {
  settings.retention.reset();
  settings.retention_bytes = 250;
  for (int i = 0; i < 5; ++i) add(now_ms(), 100);
  EXPECT_EQ(look(), log_offset{20});
  extents.erase(extents.begin(), extents.begin() + 2);
  EXPECT_EQ(look(), std::nullopt);
  settings.retention_bytes = 0;
  core().reconfigured(settings);
  EXPECT_EQ(look(), log_offset{50});
}

TEST_F(Retention, KeepsWhatIsNotCommitted) {
  settings.retention_bytes = 0;
  add(now_ms());
  core();
  send_records(10);
  extents.push_back({log_offset{10}, log_offset{20}, 100, now_ms()});
  EXPECT_EQ(look(), log_offset{10});
}

TEST_F(PartitionCore, MarksItsProducersAtTheWatermark) {
  EXPECT_FALSE(core().mark(true));  // nothing to say
  send(test_batch{.producer = 9, .producer_epoch = 0, .sequence = 0});
  EXPECT_FALSE(core().mark(true));
  send(test_batch{.producer = 9, .producer_epoch = 0, .sequence = 1});
  durable(1);
  const auto mark = core().mark(false);
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->at, log_offset{1});
  EXPECT_FALSE(core().mark(true));
  const auto known = partition_core::producers_of(*mark);
  ASSERT_TRUE(known);
  ASSERT_EQ(known->recall(producer_id{9}).size(), 1u);  // the second batch is not committed
  auto moved = *mark;
  moved.at = log_offset{7};
  EXPECT_EQ(partition_core::producers_of(moved).code(), errc::malformed);
  moved.state = moved.state.slice(0, 5);
  EXPECT_EQ(partition_core::producers_of(moved).code(), errc::malformed);
}

TEST_F(PartitionCore, PutsALargeMarkOffUntilItIsWorthIt) {
  for (int i = 0; i < 1000; ++i) send(test_batch{.producer = i, .producer_epoch = 0, .sequence = 0});
  durable(1000);
  ASSERT_TRUE(core().mark(false));
  send_records(1);
  durable(1001);
  int looks = 1;
  while (!core().mark(false)) ++looks;
  EXPECT_GT(looks, 5);
  EXPECT_LT(looks, 20);
  send_records(1);
  durable(1002);
  EXPECT_TRUE(core().mark(true));
}

TEST_F(PartitionCore, WithDamageServesWhatLiesBelowItAndTakesNothing) {
  restored.end = log_offset{20};
  restored.damaged_from = log_offset{12};
  EXPECT_EQ(core().watermark(), log_offset{12});
  EXPECT_EQ(refusal(send_records(1)), errc::storage_damaged);
  fetch m;
  m.from = log_offset{0};
  EXPECT_EQ(core().fetched(m).end, log_offset{12});
  m.from = log_offset{15};  // a consumer from before waits; it must not start over
  EXPECT_FALSE(core().fetched(m).outcome.refused);
  EXPECT_FALSE(core().fetched(m).read);
  durable(20);
  EXPECT_EQ(core().watermark(), log_offset{12});
}

/// A partition against a plain list of records: what was acknowledged is there, once, at its offset.
class PartitionHistory : public testing::TestWithParam<int> {};

TEST_P(PartitionHistory, HoldsWhatWasAcknowledgedOnceAndWhereItWasSaid) {
  random_source random{static_cast<std::uint64_t>(GetParam())};
  decompressor unpacker;
  moment at{instant{} + 1h, wall_start};
  topic_settings settings;
  std::optional<partition_core> core;
  core.emplace(leader_epoch{1}, settings, partition_restored{});

  // The disk: what was appended and not refused. Values are numbers of batches.
  struct stored {
    store::batch batch;
    int number;
  };
  std::vector<stored> disk;
  log_offset durable{0};
  // Idempotent producers with up to five batches in flight; they repeat until they are told.
  struct sent {
    int number;
    std::int32_t sequence, count;
    std::optional<log_offset> acknowledged{};
    bool waits{false};
  };
  struct client {
    std::vector<sent> batches;
    std::int32_t next{0};
  };
  std::vector<client> clients(3);
  int numbers = 0, epochs = 1, acknowledged = 0;

  auto perform = [&](partition_core::effects todo, int number = -1) {
    for (auto& b : todo.append) {
      ASSERT_EQ(b.base, disk.empty() ? log_offset{0} : disk.back().batch.base + disk.back().batch.offsets);
      disk.push_back({std::move(b), number});
    }
    for (auto& it : todo.produced) it.to(std::move(it.outcome));
  };
  auto send = [&](std::size_t who, std::size_t which) {
    auto& b = clients[who].batches[which];
    b.waits = true;
    produce m;
    m.records = own(test_batch{.records = std::vector<test_record>(static_cast<std::size_t>(b.count), {.timestamp = 1}),
                               .producer = static_cast<std::int64_t>(who),
                               .producer_epoch = 0,
                               .sequence = b.sequence});
    m.acks = random.chance(0.5) ? -1 : 1;
    m.deadline = at.now + std::chrono::milliseconds{random.below(3000)};
    m.answer = [&clients, &acknowledged, who, which](produce::outcome out) {
      auto& it = clients[who].batches[which];
      it.waits = false;
      if (out.refused) return;
      EXPECT_EQ(it.acknowledged.value_or(out.base), out.base);  // the same place each time
      it.acknowledged = out.base;
      ++acknowledged;
    };
    perform(core->produced(std::move(m), at, false, unpacker), b.number);
  };

  for (int step = 0; step < 600; ++step) {
    at.now += 10ms;
    const auto who = random.below(clients.size());
    auto& c = clients[who];
    std::size_t open = 0;
    for (const auto& b : c.batches) open += !b.acknowledged;
    if (open < 5 && random.chance(0.5)) {
      const auto count = 1 + static_cast<std::int32_t>(random.below(3));
      c.batches.push_back({numbers++, c.next, count});
      c.next += count;
      send(who, c.batches.size() - 1);
    } else if (open > 0) {  // all that is not acknowledged, again and in order, as clients do
      for (std::size_t i = 0; i < c.batches.size(); ++i)
        if (!c.batches[i].acknowledged && !c.batches[i].waits) send(who, i);
    }
    if (random.chance(0.2)) perform(core->tick(at.now));
    if (random.chance(0.3)) {
      for (const auto& it : disk) {
        const auto end = it.batch.base + it.batch.offsets;
        if (end > durable && random.chance(0.8)) durable = end;
      }
      perform(core->durable(durable));
    }
    if (random.chance(0.05)) {
      std::erase_if(disk, [&](const auto& it) { return it.batch.base >= durable; });
      perform(core->refused(durable, {errc::storage_full, ""}));
    }
    if (random.chance(0.02)) {  // kill -9: what was not durable may be lost, and nobody hears an answer
      while (!disk.empty() && disk.back().batch.base >= durable && random.chance(0.5)) disk.pop_back();
      partition_restored restored;
      restored.end = disk.empty() ? log_offset{0} : disk.back().batch.base + disk.back().batch.offsets;
      restored.epochs = core->epochs().entries();
      std::erase_if(restored.epochs, [&](const auto& e) { return e.start >= restored.end; });
      for (const auto& it : disk) {
        const batch_header header{it.batch.bytes};
        restored.producers.appended(*sequence_range::of(header), {header.base(), header.end(), 1}, header.end(),
                                    at.wall);
      }
      durable = restored.end;
      core.emplace(leader_epoch{++epochs}, settings, std::move(restored));
      for (auto& any : clients)
        for (auto& b : any.batches) b.waits = false;
    }
    for (const auto& any : clients)
      for (const auto& b : any.batches)
        if (b.acknowledged) {
          const auto place =
              std::find_if(disk.begin(), disk.end(), [&](const auto& it) { return it.number == b.number; });
          ASSERT_NE(place, disk.end()) << "lost: batch " << b.number << ", step " << step << ", seed " << GetParam();
          ASSERT_EQ(place->batch.base, *b.acknowledged);
          ASSERT_LE(place->batch.base + place->batch.offsets, durable);
        }
    for (std::size_t i = 1; i < disk.size(); ++i)
      for (std::size_t j = 0; j < i; ++j)
        ASSERT_NE(disk[i].number, disk[j].number) << "twice: batch " << disk[i].number << ", seed " << GetParam();
  }
  EXPECT_GT(acknowledged, 20);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PartitionHistory, testing::Range(1, 31));

}  // namespace
}  // namespace troupe
