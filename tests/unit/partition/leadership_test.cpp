#include "actors/partition/leadership.hpp"

#include <gtest/gtest.h>

namespace troupe {
namespace {

using namespace std::chrono_literals;

constexpr node_id one{1}, two{2}, three{3};

/// Node 1 leads in epoch 5 with nodes 2 and 3, all in sync; min.insync 2; its log is [0, 10), of epochs 2, 4 and 5.
struct Leadership : testing::Test {
  epoch_table epochs{{{leader_epoch{2}, log_offset{0}}, {leader_epoch{4}, log_offset{6}}}};
  log_offset start{0}, end{10}, durable{10};
  instant now{instant{} + 1h};
  assignment a;
  std::optional<leadership> leader;
  std::uint64_t ids{0};

  Leadership() {
    a.state = {{{one, 1}, {two, 1}, {three, 1}}, {one, two, three}, one, leader_epoch{5}, 7};
    a.node_epochs = {{one, 11}, {two, 12}, {three, 13}};
  }
  leadership& core() {
    if (!leader)
      leader.emplace(store::log_identity{{}, partition_index{0}, 1}, node_life{one, 11}, a, 2, log_offset{0}, log(),
                     now);
    return *leader;
  }
  leadership::log_view log() const { return {start, end, durable, epochs}; }
  replica_fetch request(std::int64_t offset, int last = 4) {
    replica_fetch m;
    m.seat.added_at = 1;
    m.epoch = leader_epoch{5};
    m.id = ++ids;
    m.offset = log_offset{offset};
    m.last_epoch = leader_epoch{last};
    m.watermark = log_offset{1000};
    return m;
  }
  leadership::effects fetch_from(node_id n, std::int64_t offset, int last = 4) {
    return core().fetched({n, n.value() + 10}, request(offset, last), log(), now);
  }
  leadership::effects metadata(std::vector<node_id> isr) {
    a.state.isr = std::move(isr);
    ++a.state.partition_epoch;
    return core().assigned(a, log(), now);
  }
  template <class What>
  static const What* told(const leadership::effects& todo) {
    return todo.answers.size() == 1 ? std::get_if<What>(&todo.answers[0].message.what) : nullptr;
  }
};

TEST_F(Leadership, CommitsWhatEveryReplicaInSyncFetchedUpTo) {
  EXPECT_FALSE(fetch_from(two, 10).committed);
  EXPECT_TRUE(fetch_from(three, 8).committed);
  EXPECT_EQ(core().watermark(), log_offset{8});
  durable = log_offset{9};
  fetch_from(three, 10);
  EXPECT_EQ(core().watermark(), log_offset{9});  // its own disk counts as well
}

TEST_F(Leadership, CommitsNothingWithTooFewInSync) {
  core();
  EXPECT_FALSE(metadata({one}).committed);
  EXPECT_FALSE(core().enough_in_sync());
  a.state.replicas = {{one, 1}};
  EXPECT_TRUE(metadata({one}).committed);  // of one replica more is not asked
}

// The controller's answer to a proposal may be ahead of the metadata that raises min.insync.replicas.
TEST_F(Leadership, CommitsNothingWithoutThoseThatTheControllerMightElect) {
  core().configured_min_set(1);
  a.state.elr = {two, three};
  EXPECT_FALSE(metadata({one}).committed);
  a.state.elr = {};
  EXPECT_TRUE(metadata({one}).committed);
}

TEST_F(Leadership, DoesNotWaitForReplicasThatAreBeingAdded) {
  a.state.replicas = {{one, 1}, {two, 7}, {three, 7}};
  a.state.adding = {two, three};
  core();
  EXPECT_TRUE(metadata({one}).committed);
  a.state.adding.clear();
  metadata({one});
  EXPECT_FALSE(core().enough_in_sync());
}

TEST_F(Leadership, RefusesOtherEpochsAndSeats) {
  auto m = request(10);
  m.epoch = leader_epoch{4};
  EXPECT_EQ(told<replica_answer::refusal>(core().fetched({two, 12}, m, log(), now))->why, errc::fenced_epoch);
  m.epoch = leader_epoch{6};
  EXPECT_EQ(told<replica_answer::refusal>(core().fetched({two, 12}, m, log(), now))->why, errc::unknown_epoch);
  m = request(10);
  m.seat.added_at = 3;  // F13: another stay on the same node
  EXPECT_EQ(told<replica_answer::refusal>(core().fetched({two, 12}, m, log(), now))->why, errc::unknown_epoch);
  EXPECT_TRUE(core().fetched({two, 9}, request(10), log(), now).answers.empty());  // a former life
  fetch_from(three, 10);
  EXPECT_EQ(core().watermark(), log_offset{0});
}

TEST_F(Leadership, TellsWhereLogsPartAndCountsNothingOfIt) {
  // F8: an epoch that this leader has never heard of, between those it knows.
  auto todo = fetch_from(two, 9, 3);
  ASSERT_TRUE(told<replica_answer::divergence>(todo));
  EXPECT_EQ(told<replica_answer::divergence>(todo)->epoch, leader_epoch{2});
  EXPECT_EQ(told<replica_answer::divergence>(todo)->end, log_offset{6});
  // More of the same epoch than the leader has.
  todo = fetch_from(two, 7, 2);
  EXPECT_EQ(told<replica_answer::divergence>(todo)->end, log_offset{6});
  // No epoch in common.
  todo = fetch_from(two, 4, 1);
  EXPECT_EQ(told<replica_answer::divergence>(todo)->epoch, leader_epoch{1});
  EXPECT_EQ(told<replica_answer::divergence>(todo)->end, log_offset{0});
  fetch_from(three, 10);
  EXPECT_EQ(core().watermark(), log_offset{0});
  // An empty log parts from nothing.
  todo = fetch_from(two, 0, -1);
  ASSERT_TRUE(told<replica_answer::records>(todo));
  EXPECT_GT(todo.answers[0].bytes_max, 0u);
}

TEST_F(Leadership, SendsWhoIsBelowTheLogsStartThere) {
  start = log_offset{6};
  epochs.trimmed(start);
  EXPECT_EQ(told<replica_answer::restart>(fetch_from(two, 5, 2))->start, log_offset{6});
  EXPECT_EQ(told<replica_answer::restart>(fetch_from(two, 20, -1))->start, log_offset{6});
  // At the start, of an epoch that retention took with its records: nothing parts.
  EXPECT_TRUE(told<replica_answer::records>(fetch_from(two, 6, 2)));
}

TEST_F(Leadership, ParksAnUpToDateFetchUntilThereIsSomethingOrHalfASecondIsOver) {
  EXPECT_TRUE(fetch_from(two, 10).answers.empty());
  EXPECT_TRUE(core().tick(log(), now + 499ms).answers.empty());
  ASSERT_TRUE(told<replica_answer::records>(core().tick(log(), now + 500ms)));
  EXPECT_TRUE(fetch_from(two, 10).answers.empty());
  end = log_offset{12};
  EXPECT_TRUE(core().grown(log()).answers.empty());  // nothing is sent that the disk may still refuse
  durable = end;
  EXPECT_GT(core().grown(log()).answers.at(0).bytes_max, 0u);
  // A watermark that the follower does not know yet is something, too.
  auto m = request(12);
  m.watermark = log_offset{0};
  EXPECT_TRUE(core().fetched({two, 12}, m, log(), now).answers.empty());
  const auto todo = fetch_from(three, 12);
  EXPECT_TRUE(todo.committed);
  EXPECT_EQ(told<replica_answer::records>(todo)->watermark, log_offset{12});
}

TEST_F(Leadership, SaysWhenATickHasSomethingToDo) {
  EXPECT_EQ(core().wakes_at(), now + 10s);  // both may lag from now on
  now += 1s;
  fetch_from(two, 10);
  EXPECT_EQ(core().wakes_at(), now + 500ms);  // parked
  core().tick(log(), now + 500ms);
  EXPECT_EQ(core().wakes_at(), now + 9s);
  const auto late = now + 9s;
  EXPECT_TRUE(core().tick(log(), late).propose);  // without the third
  EXPECT_EQ(core().wakes_at(), late + 1s);        // and again, if that is lost
  metadata({one, two});
  EXPECT_EQ(core().wakes_at(), now + 10s);
  a.fenced = {three};
  core().nodes_changed(a);
  fetch_from(three, 10);
  core().tick(log(), now + 500ms);
  EXPECT_EQ(core().wakes_at(), now + 10s);
  a.fenced = {};
  core().nodes_changed(a);
  EXPECT_LE(core().wakes_at(), now);  // now it may join
  EXPECT_TRUE(core().tick(log(), now).propose);
}

TEST_F(Leadership, DropsWhoIsNotCaughtUpForTenSeconds) {
  fetch_from(two, 10);
  now += 9s;
  fetch_from(two, 10);
  EXPECT_FALSE(core().tick(log(), now).propose);
  const auto todo = core().tick(log(), now + 1s);
  ASSERT_TRUE(todo.propose);
  EXPECT_EQ(todo.propose->isr, (std::vector<node_life>{{one, 11}, {two, 12}}));
  EXPECT_EQ(todo.propose->partition_epoch, 7);
  EXPECT_EQ(core().maximal_isr(), (std::set{one, two, three}));
  EXPECT_EQ(core().watermark(), log_offset{0});  // proposed is not decided
  EXPECT_TRUE(metadata({one, two}).committed);
  EXPECT_EQ(core().watermark(), log_offset{10});
}

TEST_F(Leadership, KeepsWhoReachesTheEndOfItsLastFetchUnderSteadyLoad) {
  for (int i = 0; i < 30; ++i) {
    now += 500ms;
    for (const auto n : {two, three}) fetch_from(n, end.value() - 1 < 10 ? 9 : end.value() - 1);
    durable = end = end + 1;
    EXPECT_FALSE(core().tick(log(), now).propose) << i;
  }
}

TEST_F(Leadership, WaitsLessForAFollowerWithoutSpace) {
  a.full = {three};
  for (const auto n : {two, three}) fetch_from(n, end.value());
  durable = end = end + 1;
  fetch_from(two, end.value());
  now += 1900ms;
  EXPECT_FALSE(core().tick(log(), now).propose);
  now += 100ms;
  fetch_from(two, end.value());
  const auto todo = core().tick(log(), now);
  ASSERT_TRUE(todo.propose);
  EXPECT_EQ(todo.propose->isr, (std::vector<node_life>{{one, 11}, {two, 12}}));
}

TEST_F(Leadership, AddsWhoHasAllThatIsCommittedAndWasInTheLogWhenTheEpochBegan) {
  a.state.isr = {one, two};
  end = durable = log_offset{12};
  fetch_from(two, 8);
  EXPECT_EQ(core().watermark(), log_offset{8});
  EXPECT_FALSE(fetch_from(three, 11).propose);  // above the watermark, below the epoch's start
  const auto todo = fetch_from(three, 12);
  ASSERT_TRUE(todo.propose);
  EXPECT_EQ(todo.propose->isr, (std::vector<node_life>{{one, 11}, {two, 12}, {three, 13}}));
  fetch_from(two, 12);
  EXPECT_EQ(core().watermark(), log_offset{12});
  end = durable = log_offset{14};
  fetch_from(two, 14);
  EXPECT_EQ(core().watermark(), log_offset{12});  // whom it may be in sync with counts already
}

TEST_F(Leadership, AddsNobodyWhoIsFencedOrInAnotherLife) {
  a.state.isr = {one, two};
  a.fenced = {three};
  EXPECT_FALSE(fetch_from(three, 10).propose);
  a.fenced.clear();
  core().nodes_changed(a);
  EXPECT_TRUE(fetch_from(three, 10).propose);
  leader.reset();
  fetch_from(two, 0);
  a.node_epochs[three] = 14;  // F12: it restarted between its fetch and this
  core().nodes_changed(a);
  EXPECT_FALSE(core().tick(log(), now).propose);
  EXPECT_TRUE(core().fetched({three, 14}, request(10), log(), now).propose);
}

TEST_F(Leadership, AddsNobodyByWhatWasSeenInAnEarlierEpoch) {
  a.state.isr = {one, two};
  fetch_from(three, 8);
  a.state.epoch = leader_epoch{6};
  end = durable = log_offset{8};
  metadata({one, two});
  EXPECT_FALSE(core().tick(log(), now).propose);
  auto m = request(8);
  m.epoch = leader_epoch{6};
  EXPECT_TRUE(core().fetched({three, 13}, m, log(), now).propose);
}

struct Alter : Leadership {
  Alter() {
    a.state.isr = {one, two};
    fetch_from(two, 8);
    EXPECT_TRUE(fetch_from(three, 10).propose);
  }
  leadership::effects answered(alter_isr_answer::outcome what, std::int64_t partition_epoch = 7) {
    return core().altered({{}, leader_epoch{5}, partition_epoch, what, {}}, log(), now);
  }
};

TEST_F(Alter, KeepsTheMaximalIsrAndRepeatsWhateverTheOutcomeUntilTheMetadataKnows) {
  EXPECT_FALSE(answered(alter_isr_answer::outcome::stale).propose);
  EXPECT_TRUE(core().maximal_isr().contains(three));
  EXPECT_FALSE(core().tick(log(), now + 999ms).propose);
  const auto again = core().tick(log(), now + 1s);  // lost, or its answer was
  ASSERT_TRUE(again.propose);
  EXPECT_EQ(again.propose->isr.size(), 3u);
  EXPECT_EQ(again.propose->partition_epoch, 7);
  EXPECT_TRUE(core().maximal_isr().contains(three));
  metadata({one, two});  // something else came first
  EXPECT_FALSE(core().proposing());
  EXPECT_FALSE(core().maximal_isr().contains(three));
}

TEST_F(Alter, SettlesAnIneligibleReplicaBeforeItCountsNoLonger) {
  const auto todo = answered(alter_isr_answer::outcome::ineligible_replica);
  ASSERT_TRUE(todo.propose);
  EXPECT_EQ(todo.propose->isr, (std::vector<node_life>{{one, 11}, {two, 12}}));
  EXPECT_FALSE(answered(alter_isr_answer::outcome::ineligible_replica).propose);  // the answer came twice
  EXPECT_TRUE(core().maximal_isr().contains(three));
  metadata({one, two});
  EXPECT_FALSE(core().maximal_isr().contains(three));
}

TEST_F(Alter, IgnoresAnswersToEarlierProposals) {
  EXPECT_FALSE(answered(alter_isr_answer::outcome::ineligible_replica, 6).propose);
  EXPECT_TRUE(core().tick(log(), now + 1s).propose->isr.size() == 3);
}

}  // namespace
}  // namespace troupe
