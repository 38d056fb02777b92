#include <gtest/gtest.h>

#include "tests/unit/controller/cluster_fixture.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::cluster;
using test::ids;
using test::seats_of;
using isr_outcome = alter_isr_answer::outcome;
using event = cluster_controller::noted::event;

const setting_map two_in_sync{{"min.insync.replicas", "2"}};

class Partitions : public ::testing::Test {
protected:
  cluster c;
  void SetUp() override { c.join_all(3); }
  void TearDown() override { EXPECT_EQ(c.broken, ""); }
  const partition_state& p(std::size_t index = 0) const { return c.partition("t", index); }
  void one(std::vector<int> seats, const setting_map& overrides = two_in_sync) {
    c.create("t", {std::move(seats)}, overrides);
  }
};

// -- elections --------------------------------------------------------------------------------------------

TEST_F(Partitions, TheNextOfTheIsrInReplicaOrderLeads) {
  one({3, 2, 1});
  EXPECT_EQ(c.set_isr("t", {1, 2, 3}), isr_outcome::accepted);
  const auto epoch = p().epoch.value();
  c.kill(3);
  EXPECT_EQ(p().leader, node_id{2});
  EXPECT_EQ(p().epoch.value(), epoch + 1);
  EXPECT_EQ(p().isr, ids({2, 1}));
  EXPECT_TRUE(p().elr.empty());
}

TEST_F(Partitions, BelowMinInsyncWhoLeavesTheIsrJoinsTheElrAndMayLead) {
  one({3, 2, 1});
  EXPECT_EQ(c.set_isr("t", {3, 2}), isr_outcome::accepted);
  EXPECT_TRUE(p().elr.empty());
  EXPECT_EQ(c.set_isr("t", {3}), isr_outcome::accepted);
  EXPECT_EQ(p().elr, ids({2}));
  c.kill(3);
  EXPECT_EQ(p().leader, node_id{2});
  EXPECT_EQ(p().isr, ids({2}));
  EXPECT_EQ(p().elr, ids({3}));
  // 1 catches up: two are in sync, and 3 is no longer needed.
  EXPECT_EQ(c.set_isr("t", {1, 2}), isr_outcome::accepted);
  EXPECT_TRUE(p().elr.empty());
}

TEST_F(Partitions, NobodyElseIsElectedAndTheLastOneComesBack) {
  one({3, 2, 1});
  EXPECT_EQ(c.set_isr("t", {3, 2}), isr_outcome::accepted);
  c.kill(2);
  c.kill(3);
  EXPECT_EQ(p().leader, node_id{-1});
  EXPECT_TRUE(p().isr.empty());
  EXPECT_EQ(p().elr, ids({2, 3}));
  EXPECT_EQ(std::ranges::count(c.notes, event::no_leader, &cluster_controller::noted::what), 1);
  c.join(2);
  EXPECT_EQ(p().leader, node_id{2});
  EXPECT_EQ(p().isr, ids({2}));
  EXPECT_EQ(p().elr, ids({3}));
  EXPECT_EQ(p().unclean_epoch, no_epoch);
}

TEST_F(Partitions, WhenAllForgotTheLongestLogLeadsOnceEveryOneHasSaidWhereItEnds) {
  one({3, 2, 1});
  EXPECT_EQ(c.set_isr("t", {3, 2}), isr_outcome::accepted);
  c.kill(2);
  c.kill(3);
  c.join(2, false);
  c.join(3, false);
  EXPECT_EQ(p().leader, node_id{-1});
  EXPECT_TRUE(p().elr.empty());
  EXPECT_EQ(p().last_known_elr, ids({2, 3}));
  const auto say = [&](int id, int epoch, int end) {
    c.take(c.core.log_ends_are(c.now, {c.life_of(id), {{c.where("t"), leader_epoch{epoch}, log_offset{end}}}}));
  };
  say(1, 9, 999);  // never had all of it
  say(2, 1, 80);
  EXPECT_EQ(p().leader, node_id{-1});
  say(3, 2, 70);  // shorter, but of a later epoch
  EXPECT_EQ(p().leader, node_id{3});
  EXPECT_EQ(p().isr, ids({3}));
  EXPECT_EQ(p().unclean_epoch, p().epoch);
  EXPECT_EQ(c.noted(event::possible_loss, 3), 1u);
}

TEST_F(Partitions, ATopicMayPreferALeaderWithLossToNone) {
  one({3, 2}, {{"unclean.leader.election.enable", "true"}});
  EXPECT_EQ(c.set_isr("t", {3}), isr_outcome::accepted);
  c.kill(3);
  EXPECT_EQ(p().leader, node_id{2});
  EXPECT_EQ(p().isr, ids({2}));
  EXPECT_EQ(p().unclean_epoch, p().epoch);
  EXPECT_EQ(c.noted(event::possible_loss, 2), 1u);
  EXPECT_TRUE(p().elr.empty());
}

TEST_F(Partitions, ALowerMinInsyncEmptiesTheElr) {
  one({3, 2, 1});
  EXPECT_EQ(c.set_isr("t", {3, 2}), isr_outcome::accepted);
  EXPECT_EQ(c.set_isr("t", {3}), isr_outcome::accepted);
  EXPECT_EQ(p().elr, ids({2}));
  setting_change one_is_enough{.name = "min.insync.replicas", .value = "1"};
  c.ask(cluster_controller::alter_configs{{{"t", {one_is_enough}}}});
  EXPECT_TRUE(p().elr.empty());
  c.kill(3);
  EXPECT_EQ(p().leader, node_id{-1});  // what 3 took alone, 2 does not have
}

TEST_F(Partitions, ALeaderThatTwoFollowersDoNotReachLosesItsLeadershipsButNotItsState) {
  c.create("t", {{3, 2, 1}, {3, 1, 2}}, two_in_sync);
  c.nodes[2].unreachable = {c.life_of(3)};
  c.run(1s);
  EXPECT_EQ(p().leader, node_id{3});
  c.nodes[1].unreachable = {c.life_of(3)};
  c.run(1s);
  EXPECT_EQ(p(0).leader, node_id{2});
  EXPECT_EQ(p(1).leader, node_id{1});
  EXPECT_EQ(p(0).isr, ids({3, 2, 1}));
  EXPECT_EQ(c.node(3).state, node_state::active);
}

// R11
TEST_F(Partitions, ANodeWhoseDiskIsFullLeadsOnlyWhatNobodyElseCan) {
  c.create("t", {{3, 2, 1}, {3, 1, 2}}, two_in_sync);
  c.create("alone", {{3}});
  c.nodes[3].disk_full = true;
  c.run(1s);
  EXPECT_TRUE(c.node(3).disk_full);
  EXPECT_EQ(p(0).leader, node_id{2});
  EXPECT_EQ(p(1).leader, node_id{1});
  EXPECT_EQ(c.partition("alone").leader, node_id{3});  // the only replica
  EXPECT_EQ(p(0).isr, ids({3, 2, 1}));
  EXPECT_EQ(c.node(3).state, node_state::active);
  c.kill(2);
  EXPECT_EQ(p(0).leader, node_id{1});
  c.nodes[1].disk_full = true;
  c.run(1s);
  EXPECT_EQ(p(0).leader, node_id{1});  // the other one is no better
  EXPECT_EQ(p(1).leader, node_id{1});
}

TEST_F(Partitions, ANodeWithSpaceAgainGetsItsLeadershipsBackAfterAWhile) {
  c.create("t", {{3, 2, 1}, {3, 1, 2}, {2, 1, 3}, {1, 2, 3}}, two_in_sync);
  c.nodes[3].disk_full = true;
  c.run(1s);
  const auto said = c.node(3).since;
  EXPECT_EQ(p(0).leader, node_id{2});
  c.nodes[3].disk_full = false;
  c.run(1s);
  EXPECT_FALSE(c.node(3).disk_full);
  EXPECT_EQ(c.node(3).since, said);  // neither another life nor another state
  EXPECT_EQ(p(0).leader, node_id{2});
  c.run(40s);
  EXPECT_EQ(p(0).leader, node_id{3});
}

TEST_F(Partitions, ANewControllerKnowsWhoseDiskIsFullAndANewLifeSaysItAnew) {
  one({3, 2, 1});
  c.nodes[3].disk_full = true;
  c.run(1s);
  EXPECT_EQ(p().leader, node_id{2});
  const auto before = c.batches;
  c.take(c.core.elected(c.now, c.image, c.image->applied));
  c.run(100ms);
  EXPECT_EQ(c.batches, before);
  EXPECT_TRUE(c.node(3).disk_full);
  c.nodes[3].disk_full = false;
  c.start(3);
  EXPECT_FALSE(c.node(3).disk_full);
}

// -- ISR changes ------------------------------------------------------------------------------------------

TEST_F(Partitions, AnIsrChangeNeedsTheLeaderAndAllEpochs) {
  one({3, 2, 1});
  const auto good = c.proposal("t", {3, 2});
  auto bad = good;
  bad.leader = c.life_of(2);
  EXPECT_EQ(c.say(bad).what, isr_outcome::stale);
  bad = good;
  --bad.leader.epoch;
  EXPECT_EQ(c.say(bad).what, isr_outcome::stale);
  for (int by : {-1, 1}) {
    bad = good;
    bad.epoch = leader_epoch{good.epoch.value() + by};
    EXPECT_EQ(c.say(bad).what, isr_outcome::stale);
    bad = good;
    bad.partition_epoch += by;
    EXPECT_EQ(c.say(bad).what, isr_outcome::stale);
  }
  bad = good;
  bad.isr = {c.life_of(2)};
  EXPECT_EQ(c.say(bad).what, isr_outcome::invalid);  // without the leader
  bad.isr = {c.life_of(3), c.life_of(3)};
  EXPECT_EQ(c.say(bad).what, isr_outcome::invalid);
  bad.where.index = partition_index{-1};
  EXPECT_EQ(c.say(bad).what, isr_outcome::invalid);
  bad.where.index = partition_index{7};
  EXPECT_EQ(c.say(bad).what, isr_outcome::invalid);
  EXPECT_EQ(p().isr, ids({3, 2, 1}));

  const auto taken = c.say(good);
  EXPECT_EQ(taken.what, isr_outcome::accepted);
  EXPECT_EQ(taken.state, p());
  EXPECT_EQ(taken.partition_epoch, good.partition_epoch);
  EXPECT_EQ(p().isr, ids({3, 2}));
  EXPECT_EQ(p().epoch, good.epoch);
  EXPECT_EQ(c.say(good).what, isr_outcome::stale);  // a repeat
}

TEST_F(Partitions, TheSameIsrIsAChangeToo) {
  one({3, 2, 1});
  const auto before = p().partition_epoch;
  EXPECT_EQ(c.set_isr("t", {3, 2, 1}), isr_outcome::accepted);
  EXPECT_EQ(p().partition_epoch, before + 1);
}

TEST_F(Partitions, OnlyReplicasOfThisLifeThatServeJoinTheIsr) {
  c.join(4);
  one({3, 2, 1});
  EXPECT_EQ(c.set_isr("t", {3, 1}), isr_outcome::accepted);
  EXPECT_EQ(c.set_isr("t", {3, 4}), isr_outcome::invalid);
  auto former = c.proposal("t", {3, 2});
  c.join(2);
  former.partition_epoch = p().partition_epoch;
  EXPECT_EQ(c.say(former).what, isr_outcome::ineligible_replica);
  c.nodes[2].stopping = true;
  c.beat(2);
  EXPECT_EQ(c.set_isr("t", {3, 1, 2}), isr_outcome::ineligible_replica);  // it drains
  c.nodes[2].stopping = false;
  c.kill(2);
  EXPECT_EQ(c.set_isr("t", {3, 1, 2}), isr_outcome::ineligible_replica);  // it is fenced
}

TEST_F(Partitions, WhatIsAskedDuringABatchIsJudgedByWhatItLeavesBehind) {
  one({3, 2, 1});
  c.commits = false;
  const auto first = c.next_ticket(), second = c.next_ticket();
  c.take(c.core.isr_asked(c.now, first, c.proposal("t", {3, 2})));
  c.take(c.core.isr_asked(c.now, second, c.proposal("t", {3, 1})));
  EXPECT_FALSE(c.answers.contains(first));  // decided, but not committed
  EXPECT_EQ(c.image->find("t")->partitions[0].isr, ids({3, 2, 1}));
  c.commits = true;
  c.commit();
  EXPECT_EQ(c.answer_to<alter_isr_answer>(first).what, isr_outcome::accepted);
  EXPECT_EQ(c.answer_to<alter_isr_answer>(second).what, isr_outcome::stale);
}

TEST_F(Partitions, WhatIsNotCommittedIsNotAnsweredAsDone) {
  one({3, 2, 1});
  for (const auto how : {cluster_controller::proposal_outcome::not_taken, cluster_controller::proposal_outcome::lost}) {
    c.commits = false;
    const auto t = c.next_ticket();
    c.take(c.core.isr_asked(c.now, t, c.proposal("t", {3, 2})));
    const auto batch = std::exchange(c.pending, {})->batch;
    c.take(c.core.proposal_ended(c.now, batch, how));
    EXPECT_EQ(c.answer_to<alter_isr_answer>(t).what, isr_outcome::later);
    EXPECT_FALSE(c.pending);
  }
  const auto t = c.next_ticket(), u = c.next_ticket();
  c.take(c.core.isr_asked(c.now, t, c.proposal("t", {3, 2})));
  c.take(c.core.asked(c.now, u, cluster_controller::want_voter_count{5}));
  c.pending.reset();
  c.take(c.core.deposed());
  EXPECT_EQ(c.answer_to<alter_isr_answer>(t).what, isr_outcome::later);
  EXPECT_EQ(c.answer_to<cluster_controller::outcome>(u).failed->code, errc::not_leader);
  EXPECT_EQ(c.ask(cluster_controller::want_voter_count{5}).failed->code, errc::not_leader);
}

// -- reassignment -----------------------------------------------------------------------------------------

TEST_F(Partitions, AReassignmentAddsThenWaitsForTheIsrThenRemoves) {
  c.join(4);
  one({3, 2, 1});
  const auto before = p();
  EXPECT_TRUE(c.reassign("t", {{4, 1, 2}}).ok());
  EXPECT_EQ(seats_of(p()), ids({4, 1, 2, 3}));
  EXPECT_EQ(p().adding, ids({4}));
  EXPECT_EQ(p().removing, ids({3}));
  EXPECT_EQ(p().replicas[0].added_at, p().partition_epoch);
  EXPECT_EQ(p().replicas[3].added_at, 0);
  EXPECT_EQ(p().leader, node_id{3});
  EXPECT_EQ(p().epoch, before.epoch);  // nobody was removed yet

  EXPECT_EQ(c.set_isr("t", {1, 3}), isr_outcome::accepted);
  EXPECT_TRUE(p().reassigning());
  const auto waiting = p();
  EXPECT_EQ(c.set_isr("t", {1, 3, 4}), isr_outcome::accepted);
  EXPECT_FALSE(p().reassigning());
  EXPECT_EQ(seats_of(p()), ids({4, 1, 2}));
  EXPECT_EQ(p().isr, ids({4, 1}));
  EXPECT_EQ(p().leader, node_id{4});
  EXPECT_EQ(p().epoch.value(), waiting.epoch.value() + 1);
}

TEST_F(Partitions, AReassignmentThatWouldLeaveTooFewInSyncWaits) {
  c.join_all(5);
  one({3, 2, 1});
  EXPECT_TRUE(c.reassign("t", {{4, 1, 2}}).ok());
  EXPECT_EQ(c.set_isr("t", {3, 4}), isr_outcome::accepted);  // 4 is in, but without 3 it would be alone
  EXPECT_TRUE(p().reassigning());
  EXPECT_EQ(c.set_isr("t", {3, 4, 1}), isr_outcome::accepted);
  EXPECT_FALSE(p().reassigning());
}

TEST_F(Partitions, ARemovalWithoutANewLeaderRaisesTheLeaderEpochToo) {
  one({3, 2, 1});
  const auto before = p();
  EXPECT_TRUE(c.reassign("t", {{3, 2}}).ok());
  EXPECT_EQ(seats_of(p()), ids({3, 2}));
  EXPECT_EQ(p().leader, node_id{3});
  EXPECT_EQ(p().epoch.value(), before.epoch.value() + 1);
}

TEST_F(Partitions, GrowingDoesNotStopTheProducers) {
  one({3});
  EXPECT_TRUE(c.reassign("t", {{3, 2, 1}}).ok());
  EXPECT_EQ(min_in_sync(2, p()), 1);
  EXPECT_EQ(c.set_isr("t", {3, 2}), isr_outcome::accepted);
  EXPECT_EQ(min_in_sync(2, p()), 1);
  EXPECT_EQ(c.set_isr("t", {3, 2, 1}), isr_outcome::accepted);
  EXPECT_EQ(min_in_sync(2, p()), 2);
}

TEST_F(Partitions, CancellingGoesBackUnlessTooFewWouldBeInSync) {
  c.join_all(5);
  one({3, 2, 1});
  EXPECT_EQ(c.reassign("t", std::nullopt).code(), errc::invalid_request);  // nothing to cancel
  EXPECT_TRUE(c.reassign("t", {{4, 5, 1}}).ok());
  EXPECT_EQ(c.set_isr("t", {3, 4}), isr_outcome::accepted);
  EXPECT_EQ(c.reassign("t", std::nullopt).code(), errc::invalid_request);
  EXPECT_TRUE(p().reassigning());
  EXPECT_EQ(c.set_isr("t", {3, 4, 2}), isr_outcome::accepted);
  const auto before = p();
  EXPECT_TRUE(c.reassign("t", std::nullopt).ok());
  EXPECT_FALSE(p().reassigning());
  auto seats = seats_of(p());
  std::ranges::sort(seats);
  EXPECT_EQ(seats, ids({1, 2, 3}));
  EXPECT_EQ(p().isr.size(), 2u);
  EXPECT_EQ(p().epoch.value(), before.epoch.value() + 1);
}

TEST_F(Partitions, ANewTargetReplacesTheOldAndARemovedReplicaComesBackInAnotherSeat) {
  c.join_all(5);
  one({3, 2, 1});
  EXPECT_TRUE(c.reassign("t", {{4, 2, 1}}).ok());
  EXPECT_TRUE(c.reassign("t", {{5, 2, 1}}).ok());
  EXPECT_EQ(seats_of(p()), ids({5, 2, 1, 3}));
  EXPECT_EQ(p().adding, ids({5}));
  EXPECT_TRUE(c.reassign("t", {{4, 2, 1}}).ok());
  EXPECT_EQ(p().replicas[0].added_at, p().partition_epoch);
  EXPECT_TRUE(c.reassign("t", {{3, 2, 1}}).ok());  // as it was
  EXPECT_FALSE(p().reassigning());
  EXPECT_EQ(seats_of(p()), ids({3, 2, 1}));
}

TEST_F(Partitions, ReassignmentsThatMakeNoSenseAreRefused) {
  one({3, 2, 1});
  EXPECT_EQ(c.reassign("t", {{}}).code(), errc::invalid_assignment);
  EXPECT_EQ(c.reassign("t", {{1, 1}}).code(), errc::invalid_assignment);
  EXPECT_EQ(c.reassign("t", {{1, 9}}).code(), errc::invalid_assignment);
  EXPECT_EQ(c.reassign("t", {{1}}, 5).code(), errc::invalid_partitions);
  cluster_controller::reassign::item unknown{{test::id_of(77), partition_index{0}}, ids({1})};
  EXPECT_EQ(c.ask(cluster_controller::reassign{{unknown}}).items.at(0).code(), errc::unknown_topic);
  c.join(4);
  c.nodes[2].up = true;
  c.kill(4);
  EXPECT_EQ(c.reassign("t", {{4, 1}}).code(), errc::invalid_assignment);  // it cannot copy now
  c.kill(1);
  EXPECT_TRUE(c.reassign("t", {{1, 2, 3}}).ok());  // it has its copy
}

// -- preferred leaders, defaults --------------------------------------------------------------------------

TEST_F(Partitions, PreferredLeadersComeBackWhenANodeLeadsTooMuch) {
  c.create("t", {{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}}, two_in_sync);
  c.kill(3);
  c.join(3);
  for (int i : {4, 5}) EXPECT_EQ(c.set_isr("t", {1, 2, 3}, i), isr_outcome::accepted);
  EXPECT_EQ(p(4).leader, node_id{1});
  EXPECT_EQ(p(5).leader, node_id{2});
  c.run(5min);
  EXPECT_EQ(p(4).leader, node_id{3});
  EXPECT_EQ(p(5).leader, node_id{3});
}

TEST_F(Partitions, ThePreferredLeaderMayBeAskedFor) {
  one({3, 2, 1});
  c.kill(3);
  const auto elect = [&] { return c.ask(cluster_controller::elect_preferred{{c.where("t")}}).items.at(0); };
  EXPECT_TRUE(elect().ok());
  EXPECT_EQ(p().leader, node_id{2});
  c.join(3);
  EXPECT_EQ(c.set_isr("t", {1, 2, 3}), isr_outcome::accepted);
  EXPECT_TRUE(elect().ok());
  EXPECT_EQ(p().leader, node_id{3});
  EXPECT_EQ(c.ask(cluster_controller::elect_preferred{{{c.where("t").topic, partition_index{3}}}}).items.at(0).code(),
            errc::invalid_partitions);
}

TEST_F(Partitions, WhoeverServesLeadsWhenTheOperatorSaysSo) {
  one({3, 2, 1});
  const auto elect = [&] { return c.ask(cluster_controller::elect_uncleanly{{c.where("t")}}).items.at(0); };
  EXPECT_EQ(elect().code(), errc::invalid_request);  // it has a leader
  EXPECT_EQ(c.set_isr("t", {3}), isr_outcome::accepted);
  EXPECT_EQ(c.set_isr("t", {3, 2}), isr_outcome::accepted);
  EXPECT_EQ(c.set_isr("t", {3, 2, 1}), isr_outcome::accepted);
  EXPECT_EQ(c.set_isr("t", {3, 2}), isr_outcome::accepted);  // node 1 is behind
  c.kill(2);
  c.kill(3);
  ASSERT_EQ(p().leader, node_id{-1});
  EXPECT_EQ(c.ask(cluster_controller::elect_preferred{{c.where("t")}}).items.at(0).code(), errc::not_enough_replicas);
  EXPECT_TRUE(elect().ok());
  EXPECT_EQ(p().leader, node_id{1});
  EXPECT_EQ(p().isr, ids({1}));
  EXPECT_EQ(p().unclean_epoch, p().epoch);
  EXPECT_EQ(c.ask(cluster_controller::elect_uncleanly{{{c.where("t").topic, partition_index{3}}}}).items.at(0).code(),
            errc::invalid_partitions);
}

TEST(PartitionDefaults, FollowTheSizeOfTheCluster) {
  cluster c;
  const std::vector<std::pair<std::size_t, std::int32_t>> expected{{1, 1}, {2, 1}, {3, 2}, {3, 2}};
  for (int nodes = 1; nodes <= 4; ++nodes) {
    c.join(nodes);
    const auto name = "t" + std::to_string(nodes);
    c.ask(cluster_controller::create_topics{{{.name = name}}});
    const auto t = c.image->find(name);
    ASSERT_NE(t, nullptr);
    const auto [replicas, min] = expected[static_cast<std::size_t>(nodes - 1)];
    EXPECT_EQ(t->partitions[0].replicas.size(), replicas) << nodes;
    EXPECT_EQ(min_in_sync(t->settings.min_insync_replicas, t->partitions[0]), min) << nodes;
  }
}

TEST(PartitionDefaults, InternalTopicsGrowToThreeReplicasByThemselves) {
  cluster c;
  c.join(1);
  auto with = std::make_shared<metadata_image>(*c.image);
  partition_state alone{{{node_id{1}, 0}}, ids({1}), node_id{1}, leader_epoch{0}, 0};
  const std::vector<metadata_record> made{
      topic_created{test::id_of(500), "__groups", true, {alone, alone}, {{"min.insync.replicas", "2"}}}};
  with->apply(meta_offset{with->applied.value() + 1}, made);
  c.image = with;
  c.take(c.core.applied(c.now, c.image));
  c.join(2);
  EXPECT_FALSE(c.partition("__groups").reassigning());
  c.join(3);
  EXPECT_EQ(seats_of(c.partition("__groups", 1)).size(), 3u);
  EXPECT_EQ(c.set_isr("__groups", {1, 2, 3}, 1), isr_outcome::accepted);
  EXPECT_FALSE(c.partition("__groups", 1).reassigning());
  EXPECT_EQ(c.partition("__groups", 1).isr.size(), 3u);
  EXPECT_EQ(c.broken, "");
}

TEST(PartitionBatches, AFencingThatDoesNotFitIntoOneBatchGoesOnInTheNext) {
  cluster c{{.self = node_id{1}, .batch_changes_max = 10}};
  c.join_all(3);
  c.create("t", std::vector<std::vector<int>>(35, {3, 2, 1}), two_in_sync);
  c.batches = 0;
  c.kill(3);
  EXPECT_GE(c.batches, 4u);
  EXPECT_EQ(c.node(3).state, node_state::fenced);
  for (const auto& p : c.image->find("t")->partitions) EXPECT_EQ(p.leader, node_id{2});
  c.batches = 0;
  c.start(2);
  EXPECT_GE(c.batches, 4u);
  EXPECT_EQ(c.node(2).state, node_state::fenced);
  EXPECT_EQ(c.broken, "");
}

}  // namespace
}  // namespace troupe
