#include "actors/partition/replica.hpp"

#include <gtest/gtest.h>

#include "tests/unit/partition/batches.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using namespace testing_batches;
using role = partition_replica::role;

constexpr node_id one{1}, two{2}, three{3};
const store::log_identity seat{{}, partition_index{0}, 1};

/// The replica on node 2; node 1 leads in epoch 5 unless said otherwise. Its log holds [0, 6) of epoch 3 and [6, 10) of
/// epoch 4, its watermark is 4.
struct Replica : testing::Test {
  partition_restored found;
  topic_settings settings;
  assignment a;
  moment at{instant{} + 1h, wall_time{1'700'000'000'000ms}};
  decompressor unpacker;
  std::optional<partition_replica> replica_;
  std::optional<replica_fetch> asked;  ///< the latest
  std::vector<produce::outcome> answers;
  partition_replica::effects last;

  Replica() {
    settings.min_insync_replicas = 2;
    found.end = log_offset{10};
    found.epochs = {{leader_epoch{3}, log_offset{0}}, {leader_epoch{4}, log_offset{6}}};
    found.marked = log_offset{4};
    a.state = {{{one, 1}, {two, 1}, {three, 1}}, {one, two, three}, one, leader_epoch{5}, 7};
    a.node_epochs = {{one, 11}, {two, 12}, {three, 13}};
  }
  partition_replica& core() {
    if (!replica_) replica_.emplace(seat, node_life{two, 12}, settings, std::move(found));
    return *replica_;
  }
  void take(partition_replica::effects todo) {
    last = std::move(todo);
    for (auto& it : last) {
      if (auto* f = std::get_if<partition_replica::send_fetch>(&it)) asked = f->message;
      if (auto* t = std::get_if<partition_replica::tell>(&it))
        for (auto& p : t->clients.produced) p.to(std::move(p.outcome));
    }
  }
  template <class Effect>
  const Effect* did() const {
    for (const auto& it : last)
      if (const auto* found_one = std::get_if<Effect>(&it)) return found_one;
    return nullptr;
  }
  void metadata() { take(core().assigned(a, at)); }
  void metadata(node_id leader, int epoch) {
    a.state.leader = leader;
    a.state.epoch = leader_epoch{epoch};
    ++a.state.partition_epoch;
    metadata();
  }
  replica_answer answer(decltype(replica_answer::what) what) {
    return {seat, asked->epoch, asked->id, asked->offset, std::move(what)};
  }
  void answered(decltype(replica_answer::what) what, node_id from = one) {
    take(core().received({from, 11}, answer(std::move(what)), at));
  }
  static shared_bytes batch(std::int64_t base, int epoch, int records = 1, std::int64_t producer = -1) {
    test_batch b{.records = std::vector<test_record>(static_cast<std::size_t>(records)), .producer = producer};
    if (producer >= 0) b.producer_epoch = 0, b.sequence = 0;
    auto bytes = b.build();
    stamp_batch(bytes, log_offset{base}, leader_epoch{epoch});
    return shared_bytes::own(std::move(bytes));
  }
  static replica_answer::records records(std::int64_t watermark, std::vector<shared_bytes> runs = {},
                                         std::int64_t start = 0) {
    return {log_offset{watermark}, log_offset{start}, std::move(runs)};
  }
  void durable(std::int64_t end) { take(core().durable(log_offset{end}, at.now)); }
  void produce_one(std::int16_t acks = -1, std::int64_t producer = -1, std::int32_t sequence = 0) {
    test_batch b{.records = {{.timestamp = at.wall.time_since_epoch().count()}}, .producer = producer};
    if (producer >= 0) b.producer_epoch = 0, b.sequence = sequence;
    produce m;
    m.records = own(b);
    m.acks = acks;
    m.deadline = at.now + 30s;
    m.answer = [this](produce::outcome out) { answers.push_back(std::move(out)); };
    take(core().produced(std::move(m), at, false, unpacker));
  }
  /// What the producer is told at once; acks=1.
  errc told(std::int64_t producer, std::int32_t sequence) {
    answers.clear();
    produce_one(1, producer, sequence);
    return answers.empty() ? errc{} : answers[0].refused->code;
  }
  void fetched(node_id from, std::int64_t offset, int epoch, int last_epoch) {
    static std::uint64_t ids = 0;
    take(core().received(
        {from, from.value() + 10},
        replica_fetch{seat, leader_epoch{epoch}, ++ids, log_offset{offset}, leader_epoch{last_epoch}, log_offset{1000}},
        at.now));
  }
};

// -- follower ---------------------------------------------------------------------------------------------

TEST_F(Replica, SaysWhenItHasToDoWithTheOthersAgain) {
  core();
  EXPECT_FALSE(core().wakes_at());
  metadata();
  EXPECT_EQ(core().wakes_at(), at.now + following::answer_max);
  answered(records(10, {batch(10, 5)}));
  EXPECT_FALSE(core().wakes_at());  // the disk is waited for
  durable(11);
  at.now += 10ms;
  answered(replica_answer::refusal{errc::unknown_epoch});
  EXPECT_EQ(core().wakes_at(), at.now + following::backoff_min);
  at.now += following::backoff_min;
  const auto before = asked->id;
  take(core().tick(at.now));
  EXPECT_GT(asked->id, before);
}

TEST_F(Replica, SaysWhomItsFetchesDoNotReachUntilAnAnswerComes) {
  const auto silence = [&] {
    at.now += following::answer_max;
    take(core().tick(at.now));
    at.now += following::backoff_max;
    take(core().tick(at.now));
  };
  metadata();
  silence();
  EXPECT_FALSE(core().out_of_reach());  // one alone may have been lost
  silence();
  EXPECT_EQ(core().out_of_reach(), one);
  answered(replica_answer::refusal{errc::unknown_epoch});
  EXPECT_FALSE(core().out_of_reach());  // it is there
  at.now += following::backoff_max;
  take(core().tick(at.now));
  silence();
  silence();
  EXPECT_EQ(core().out_of_reach(), one);
  metadata(three, 6);
  EXPECT_FALSE(core().out_of_reach());
}

TEST_F(Replica, AsksForWhatFollowsItsLogOnceAllOfItIsDurable) {
  metadata();
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->offset, log_offset{10});
  EXPECT_EQ(asked->last_epoch, leader_epoch{4});
  EXPECT_EQ(asked->watermark, log_offset{4});
  EXPECT_EQ(core().current(), role::follower);
  answered(records(12, {batch(10, 5, 3)}));
  ASSERT_TRUE(did<partition_replica::append>());
  EXPECT_EQ(did<partition_replica::append>()->batches.at(0).offsets, 3);
  EXPECT_FALSE(did<partition_replica::send_fetch>());  // the next fetch would acknowledge
  EXPECT_EQ(core().partition().watermark(), log_offset{10});
  durable(13);
  ASSERT_TRUE(did<partition_replica::send_fetch>());
  EXPECT_EQ(asked->offset, log_offset{13});
  EXPECT_EQ(asked->last_epoch, leader_epoch{5});
  EXPECT_EQ(core().partition().watermark(), log_offset{12});
}

TEST_F(Replica, TakesOnlyTheAnswerToItsLatestFetchOfThisEpochFromThisLeader) {
  metadata();
  const auto late = answer(records(10, {batch(10, 5)}));
  auto other = late;
  other.epoch = leader_epoch{4};
  take(core().received({one, 11}, other, at));
  EXPECT_FALSE(did<partition_replica::append>());
  other = late;
  ++other.id;
  take(core().received({one, 11}, other, at));
  EXPECT_FALSE(did<partition_replica::append>());
  other = late;
  other.seat.added_at = 2;
  take(core().received({one, 11}, other, at));
  EXPECT_FALSE(did<partition_replica::append>());
  take(core().received({three, 13}, late, at));
  EXPECT_FALSE(did<partition_replica::append>());
  take(core().received({one, 11}, late, at));
  EXPECT_TRUE(did<partition_replica::append>());
  take(core().received({one, 11}, late, at));
  EXPECT_FALSE(did<partition_replica::append>());
}

TEST_F(Replica, RefusesBatchesThatAreNotWhole) {
  metadata();
  auto flipped = batch(10, 5);
  const_cast<std::byte*>(flipped.data())[40] ^= std::byte{1};
  const std::vector<shared_bytes> bad[] = {{flipped},
                                           {batch(11, 5)},
                                           {batch(10, 3)},  // below the last epoch
                                           {batch(10, 5), batch(12, 5)},
                                           {batch(10, 5).slice(0, 70)},
                                           {batch(10, 5).slice(0, 20)}};
  for (const auto& runs : bad) {
    answered(records(10, runs));
    EXPECT_FALSE(did<partition_replica::append>());
    EXPECT_EQ(core().partition().end(), log_offset{10});
    at.now += 2s;
    take(core().tick(at.now));
    ASSERT_TRUE(did<partition_replica::send_fetch>());  // asked again
  }
}

TEST_F(Replica, AsksAgainWithGrowingPausesWhenNothingComes) {
  metadata();
  at.now += 1499ms;
  take(core().tick(at.now));
  EXPECT_FALSE(did<partition_replica::send_fetch>());
  at.now += 1ms;
  take(core().tick(at.now));
  EXPECT_FALSE(did<partition_replica::send_fetch>());
  at.now += 50ms;
  take(core().tick(at.now));
  EXPECT_TRUE(did<partition_replica::send_fetch>());
  answered(replica_answer::refusal{errc::unknown_epoch});
  at.now += 99ms;
  take(core().tick(at.now));
  EXPECT_FALSE(did<partition_replica::send_fetch>());
  at.now += 1ms;
  take(core().tick(at.now));
  EXPECT_TRUE(did<partition_replica::send_fetch>());
}

TEST_F(Replica, CutsWhereTheLogsPartAndAsksOnceThatIsDurable) {
  metadata();
  answered(replica_answer::divergence{leader_epoch{4}, log_offset{8}});
  EXPECT_EQ(did<partition_replica::truncate>()->end, log_offset{8});
  EXPECT_FALSE(did<partition_replica::send_fetch>());
  EXPECT_EQ(core().partition().end(), log_offset{8});
  take(core().truncated(log_offset{8}, at.now));
  EXPECT_EQ(asked->offset, log_offset{8});
  // An epoch that only the leader has: down to the end of our own epoch below it.
  answered(replica_answer::divergence{leader_epoch{3}, log_offset{20}});
  EXPECT_EQ(did<partition_replica::truncate>()->end, log_offset{6});
  // The disk may have to take a whole batch.
  take(core().truncated(log_offset{5}, at.now));
  EXPECT_EQ(asked->offset, log_offset{5});
  EXPECT_EQ(asked->last_epoch, leader_epoch{3});
}

TEST_F(Replica, FailsRatherThanCutWhatWasCommitted) {
  metadata();
  answered(replica_answer::divergence{leader_epoch{3}, log_offset{3}});
  EXPECT_FALSE(did<partition_replica::truncate>());
  ASSERT_TRUE(did<partition_replica::become>());
  EXPECT_EQ(did<partition_replica::become>()->now, role::failed);
  metadata(two, 6);
  EXPECT_EQ(core().current(), role::failed);
}

TEST_F(Replica, CutsWhatWasCommittedAfterAnUncleanElection) {
  a.unclean = leader_epoch{5};
  metadata();
  answered(replica_answer::divergence{leader_epoch{3}, log_offset{3}});
  EXPECT_EQ(did<partition_replica::truncate>()->end, log_offset{3});
  EXPECT_EQ(core().partition().watermark(), log_offset{3});
}

TEST_F(Replica, StartsOverWhereTheLeadersLogStarts) {
  metadata();
  answered(replica_answer::restart{log_offset{101}});
  EXPECT_EQ(did<partition_replica::restart>()->start, log_offset{101});
  EXPECT_EQ(core().partition().watermark(), log_offset{101});
  take(core().truncated(log_offset{101}, at.now));
  EXPECT_EQ(asked->offset, log_offset{101});
  EXPECT_EQ(asked->last_epoch, no_epoch);
  // The leader's log starts within a batch: ours begins with the same one, and hides the same part of it.
  answered(records(105, {batch(100, 5, 4)}, 101));
  EXPECT_EQ(did<partition_replica::restart>()->start, log_offset{100});
  EXPECT_EQ(did<partition_replica::append>()->batches.at(0).base, log_offset{100});
  EXPECT_EQ(did<partition_replica::trim>()->start, log_offset{101});
  take(core().truncated(log_offset{100}, at.now));
  durable(104);
  EXPECT_EQ(asked->offset, log_offset{104});
  EXPECT_EQ(core().partition().start(), log_offset{101});
  EXPECT_EQ(core().partition().watermark(), log_offset{104});
}

TEST_F(Replica, DeletesWhatItsLeaderDeletedAndHasCommitted) {
  metadata();
  answered(records(8, {}, 6));
  EXPECT_EQ(did<partition_replica::trim>()->start, log_offset{6});
  EXPECT_EQ(core().partition().start(), log_offset{6});
}

TEST_F(Replica, ServesReadersUpToItsWatermarkAndTakesNoRecords) {
  metadata();
  fetch m;
  EXPECT_TRUE(core().partition().fetched(m).read);
  EXPECT_EQ(core().partition().fetched(m).end, log_offset{4});
  EXPECT_EQ(core().partition().offsets_listed({})->refused->code, errc::not_leader);
  produce_one();
  EXPECT_EQ(answers.at(0).refused->code, errc::not_leader);
}

TEST_F(Replica, KnowsNotAsAFollowerWhatIsBeyondItsEnd) {
  metadata();
  auto ask = [&](std::int64_t from, int read = -1) {
    fetch m;
    m.from = log_offset{from};
    m.last_fetched = leader_epoch{read};
    return core().partition().fetched(m).outcome;
  };
  // The reader had it from the leader. To the last two, this log would seem to be another one.
  EXPECT_EQ(ask(11).refused->code, errc::offset_not_available);
  EXPECT_EQ(ask(11, 5).refused->code, errc::offset_not_available);
  EXPECT_FALSE(ask(8, 5).diverging);
  EXPECT_FALSE(ask(8, 5).refused);
  EXPECT_TRUE(ask(4, 9).diverging);
}

TEST_F(Replica, GivesBackWhatTheDiskRefusedAndAsksForItLater) {
  metadata();
  answered(records(12, {batch(10, 5, 2)}));
  take(core().refused(log_offset{10}, {errc::storage_full, ""}, at.now));
  EXPECT_EQ(core().partition().end(), log_offset{10});
  EXPECT_EQ(core().partition().watermark(), log_offset{10});
  at.now += 1s;
  take(core().tick(at.now));
  EXPECT_EQ(asked->offset, log_offset{10});
}

// -- leader -----------------------------------------------------------------------------------------------

TEST_F(Replica, LeadsWithTheProducersThatItSawAsAFollower) {
  metadata();
  answered(records(10, {batch(10, 5, 1, 9)}));
  durable(11);
  metadata(two, 6);
  EXPECT_EQ(core().current(), role::leader);
  produce_one(-1, 9);  // sent to the old leader, sent again to us
  EXPECT_FALSE(did<partition_replica::append>());
  EXPECT_TRUE(answers.empty());
  fetched(one, 11, 6, 5);
  fetched(three, 11, 6, 5);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].base, log_offset{10});
}

TEST_F(Replica, ForgetsTheProducersOfWhatItCut) {
  metadata();
  answered(records(4, {batch(10, 5, 1, 9)}));
  durable(11);
  metadata(three, 6);
  answered(replica_answer::divergence{leader_epoch{4}, log_offset{10}}, three);
  EXPECT_EQ(did<partition_replica::truncate>()->end, log_offset{10});
  take(core().truncated(log_offset{10}, at.now));
  metadata(two, 7);
  produce_one(-1, 9);
  EXPECT_TRUE(did<partition_replica::append>());
}

TEST_F(Replica, TellsNoLatestOffsetBeforeWhatItTookOverIsCommitted) {  // F9
  metadata(two, 5);
  EXPECT_EQ(core().partition().offsets_listed({})->refused->code, errc::offset_not_available);
  fetch m;
  m.from = log_offset{8};
  EXPECT_FALSE(core().partition().fetched(m).outcome.refused);  // above the watermark: nothing, no error
  EXPECT_FALSE(core().partition().fetched(m).read);
  fetched(one, 10, 5, 4);
  fetched(three, 10, 5, 4);
  EXPECT_EQ(did<partition_replica::committed>()->watermark, log_offset{10});
  EXPECT_EQ(core().partition().offsets_listed({})->offset, log_offset{10});
}

TEST_F(Replica, DoesNotLeadBeforeItsDiskHasWhatItTookOver) {
  metadata();
  answered(records(4, {batch(10, 5, 2)}));
  metadata(two, 6);
  EXPECT_EQ(core().current(), role::none);
  take(core().refused(log_offset{10}, {errc::storage_full, ""}, at.now));
  EXPECT_EQ(core().current(), role::leader);
  EXPECT_EQ(core().leads()->epoch_start(), log_offset{10});
}

TEST_F(Replica, DoesNotLeadByMetadataFromBeforeItsRegistration) {
  a.node_epochs[two] = 10;
  metadata(two, 5);
  EXPECT_EQ(core().current(), role::none);
  a.node_epochs[two] = 12;
  metadata();  // the same partition, newer news of nodes
  EXPECT_EQ(core().current(), role::leader);
}

TEST_F(Replica, AnswersNoWriteWithoutALease) {
  metadata(two, 5);
  core().leased(at.now + 3s);
  produce_one();
  durable(11);
  at.now += 3s;
  produce_one();
  EXPECT_EQ(answers.at(0).refused->code, errc::not_leader);
  EXPECT_FALSE(did<partition_replica::append>());
  fetched(one, 11, 5, 5);
  fetched(three, 11, 5, 5);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[1].refused->code, errc::not_leader);  // committed, but somebody else may lead by now
}

// librdkafka answers out_of_order_sequence with a new epoch for all its partitions, and may store twice what timed out.
TEST_F(Replica, TakesNoBatchForAGapWhileItsProducerRepeatsWhatAFormerLeaderOrALapseRefused) {
  metadata(two, 5);
  EXPECT_EQ(told(9, 0), errc{});
  EXPECT_EQ(told(9, 2), errc::not_leader);  // the one before it came when another led
  at.now += 6s;
  EXPECT_EQ(told(9, 2), errc::out_of_order_sequence);
  core().leased(at.now);
  EXPECT_EQ(told(9, 1), errc::not_leader);
  core().leased(at.now + 3s);
  EXPECT_EQ(told(9, 2), errc::not_leader);
  EXPECT_EQ(told(9, 1), errc{});
  EXPECT_EQ(told(9, 2), errc{});
}

// A leader is cut off with the first batches of a producer, which sends the next one here. Were that stored, librdkafka
// would take the first ones for stored, too.
TEST_F(Replica, AProducerThatItDoesNotKnowBeginsAtItsBeginning) {
  metadata(two, 5);
  at.now += 200s;  // it may have sent its first ones to the former leader just now
  EXPECT_EQ(told(9, 1), errc::not_leader);
  at.now += 64s;
  EXPECT_EQ(told(9, 1), errc::not_leader);
  EXPECT_EQ(told(9, 0), errc{});
  EXPECT_EQ(told(9, 1), errc{});
  EXPECT_EQ(told(10, 7), errc::not_leader);
  at.now += 65s;
  EXPECT_EQ(told(10, 7), errc{});  // whatever it sent elsewhere has been answered; its state may have expired
  EXPECT_EQ(told(11, 7), errc::not_leader);
  at.now += 110s;
  EXPECT_EQ(told(12, 7), errc{});  // everyone has heard of this leader
}

TEST_F(Replica, ALeaderThatMissedAnotherOneLetsUnknownProducersWaitToo) {
  metadata(two, 5);
  at.now += 500s;
  metadata(two, 6);
  EXPECT_EQ(told(9, 1), errc{});
  metadata(two, 8);
  EXPECT_EQ(told(10, 1), errc::not_leader);
  at.now += 6s;
  EXPECT_EQ(told(10, 1), errc::not_leader);
  EXPECT_EQ(told(10, 0), errc{});
}

// Its first batch may have come before this node knew that it leads.
TEST_F(Replica, UnknownProducersWaitAtAReplicaThatIsAloneToo) {
  a.state.replicas = {{two, 1}};
  a.state.isr = {two};
  metadata(two, 5);
  EXPECT_EQ(told(9, 1), errc::not_leader);
  EXPECT_EQ(told(9, 0), errc{});
  EXPECT_EQ(told(9, 2), errc::out_of_order_sequence);  // nobody has led before: it is missing
}

struct UnknownProducers : testing::Test {
  unknown_producers all;
  instant now{1h};
  bool waits(std::int64_t who, std::int32_t sequence, bool refused = false) {
    return all.waits(producer_id{who}, sequence, refused, now);
  }
};

TEST_F(UnknownProducers, WaitAfterAChangeOfLeadersAndAfterARefusal) {
  EXPECT_FALSE(waits(1, 5));
  EXPECT_TRUE(waits(2, 5, true));
  now += 64s;
  EXPECT_TRUE(waits(2, 5));
  now += 1s;
  EXPECT_FALSE(waits(2, 5));
  all.leads_now(now);
  EXPECT_TRUE(waits(1, 5));
  now += unknown_producers::lately - 1s;
  EXPECT_TRUE(waits(3, 5));
  now += 1s;
  EXPECT_TRUE(waits(3, 5));  // not until its time is over
  EXPECT_FALSE(waits(4, 5));
}

// Five are under way when the time is over: the earliest is taken first.
TEST_F(UnknownProducers, SendNothingAheadOfTheEarliestThatCame) {
  all.leads_now(now);
  EXPECT_TRUE(waits(1, 7));
  EXPECT_TRUE(waits(1, 5));
  now += 64s;
  EXPECT_TRUE(waits(1, 5));
  now += 1s;
  EXPECT_TRUE(waits(1, 6));
  EXPECT_TRUE(waits(1, 7));
  EXPECT_FALSE(waits(1, 5));
}

TEST_F(UnknownProducers, BeginAnewAfterALongSilence) {
  all.leads_now(now);
  EXPECT_TRUE(waits(1, 7));
  now += 2 * unknown_producers::wait;
  EXPECT_TRUE(waits(1, 9));
  now += unknown_producers::wait;
  EXPECT_FALSE(waits(1, 9));
}

TEST_F(UnknownProducers, AreRememberedUpToABound) {
  all.leads_now(now);
  for (std::size_t n = 0; n < unknown_producers::remembered_max; ++n)
    EXPECT_TRUE(waits(static_cast<std::int64_t>(n), 5));
  EXPECT_TRUE(waits(1'000'000, 5));
  now += 65s;
  EXPECT_TRUE(waits(1'000'000, 5));  // was not remembered
  now += 65s;
  EXPECT_TRUE(waits(1'000'000, 5));  // is now, in the place of those that have given up
  now += 65s;
  EXPECT_FALSE(waits(1'000'000, 5));
}

TEST_F(Replica, FailsItsWaitingProducersWhenAnotherLeads) {
  metadata(two, 5);
  produce_one();
  durable(11);
  metadata(one, 6);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].refused->code, errc::not_leader);
  EXPECT_EQ(asked->offset, log_offset{11});
  EXPECT_EQ(asked->epoch, leader_epoch{6});
}

TEST_F(Replica, TellsItsProducersWhenTooFewAreLeftInSync) {
  metadata(two, 5);
  produce_one();
  a.state.isr = {two};
  metadata(two, 5);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].refused->code, errc::not_enough_replicas_after_append);
  produce_one();
  EXPECT_EQ(answers.at(1).refused->code, errc::not_enough_replicas);
}

TEST_F(Replica, AlonePartitionsCommitWhatIsDurable) {
  a.state.replicas = {{two, 1}};
  a.state.isr = {two};
  metadata(two, 5);
  EXPECT_EQ(core().partition().watermark(), log_offset{10});
  produce_one();
  durable(11);
  EXPECT_EQ(answers.at(0).base, log_offset{10});
  EXPECT_EQ(did<partition_replica::committed>()->watermark, log_offset{11});
}

// -- metadata ---------------------------------------------------------------------------------------------

TEST_F(Replica, KnowsWhenItsSeatIsGoneAndAnotherOneOnItsNodeIsNotIts) {  // F13
  metadata();
  a.state.replicas[1].added_at = 8;  // removed and added again, both seen at once
  metadata(one, 6);
  EXPECT_EQ(did<partition_replica::become>()->now, role::removed);
}

TEST_F(Replica, DoesNotBelieveThatItIsGoneBeforeTheMetadataSaysSo) {
  a.state.isr = {two, one};
  metadata(two, 5);
  fetched(one, 10, 5, 4);
  fetched(three, 10, 5, 4);
  ASSERT_TRUE(did<partition_replica::send_proposal>());
  const auto proposal = did<partition_replica::send_proposal>()->message;
  auto without_us = a.state;
  without_us.replicas = {{one, 1}, {three, 1}};
  ++without_us.partition_epoch;
  take(core().received(alter_isr_answer{{seat.topic, seat.partition},
                                        leader_epoch{5},
                                        proposal.partition_epoch,
                                        alter_isr_answer::outcome::accepted,
                                        without_us},
                       at));
  EXPECT_EQ(core().current(), role::leader);
  EXPECT_TRUE(core().leads()->proposing());
}

TEST_F(Replica, AdoptsAnAcceptedIsrBeforeTheMetadataComes) {
  a.state.isr = {two, one};
  metadata(two, 5);
  fetched(one, 10, 5, 4);
  fetched(three, 10, 5, 4);
  auto larger = a.state;
  larger.isr = {one, two, three};
  ++larger.partition_epoch;
  take(core().received(alter_isr_answer{{seat.topic, seat.partition},
                                        leader_epoch{5},
                                        a.state.partition_epoch,
                                        alter_isr_answer::outcome::accepted,
                                        larger},
                       at));
  EXPECT_EQ(core().leads()->isr(), (std::set{one, two, three}));
  metadata();  // late
  EXPECT_EQ(core().leads()->isr(), (std::set{one, two, three}));
}

TEST_F(Replica, WithDamageDropsItsLogFromThereAndNeitherLeadsNorAnswersUntilItIsInSync) {
  found.damaged_from = log_offset{8};
  metadata(two, 5);
  EXPECT_EQ(core().current(), role::damaged);
  fetched(one, 6, 5, 3);
  EXPECT_TRUE(last.empty());
  a.state.isr = {one, three};
  metadata(one, 6);
  EXPECT_EQ(did<partition_replica::truncate>()->end, log_offset{8});
  take(core().truncated(log_offset{8}, at.now));
  EXPECT_EQ(asked->offset, log_offset{8});
  answered(records(10, {batch(8, 4, 2)}));
  durable(10);
  EXPECT_EQ(core().current(), role::damaged);
  a.state.isr = {one, two, three};
  metadata(one, 6);
  EXPECT_EQ(core().current(), role::follower);
  metadata(two, 7);
  EXPECT_EQ(core().current(), role::leader);
}

// Found by a storm: the damage was found when the replica started, after its node had registered without it.
TEST_F(Replica, WithDamageThatNobodyKnowsOfItStaysOutThoughItStandsInTheIsr) {
  found.damaged_from = log_offset{8};
  metadata(one, 5);
  take(core().truncated(log_offset{8}, at.now));
  metadata(one, 6);
  EXPECT_EQ(core().current(), role::damaged);
  metadata(two, 7);
  EXPECT_EQ(core().current(), role::damaged);
  EXPECT_EQ(core().log_end().end, log_offset{8});
}

// The metadata may know of the damage before this life is registered in what the replica hears.
TEST_F(Replica, HearsThatItStandsOutsideFromMetadataThatIsNotNewer) {
  found.damaged_from = log_offset{8};
  a.node_epochs[two] = 11;
  a.state.isr = {one, three};
  metadata(one, 5);
  take(core().truncated(log_offset{8}, at.now));
  a.node_epochs[two] = 12;
  metadata();
  a.state.isr = {one, two, three};
  metadata(one, 5);
  EXPECT_EQ(core().current(), role::follower);
}

TEST_F(Replica, WithDamageLeadsWhatIsLeftWhenItIsElectedAsTheBestThereIs) {
  found.damaged_from = log_offset{8};
  a.state.isr = {};
  a.state.last_known_elr = {two};
  metadata(node_id{-1}, 5);
  EXPECT_EQ(core().log_end().end, log_offset{8});
  EXPECT_EQ(core().log_end().last_epoch, leader_epoch{4});
  a.state.isr = {two};
  a.state.unclean_epoch = leader_epoch{6};
  metadata(two, 6);
  EXPECT_EQ(did<partition_replica::truncate>()->end, log_offset{8});
  EXPECT_NE(core().current(), role::leader);
  take(core().truncated(log_offset{8}, at.now));
  EXPECT_EQ(core().current(), role::leader);
}

TEST_F(Replica, NeverComesBackFromAFailedDisk) {
  metadata(two, 5);
  produce_one();
  take(core().refused(log_offset{10}, {errc::storage_failed, "sync"}, at.now));
  EXPECT_EQ(answers.at(0).refused->code, errc::storage_failed);
  EXPECT_EQ(core().current(), role::failed);
  metadata(two, 6);
  EXPECT_EQ(core().current(), role::failed);
}

}  // namespace
}  // namespace troupe
