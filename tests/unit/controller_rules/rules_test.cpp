#include <gtest/gtest.h>

#include "runtime/base/rules.hpp"
#include "tests/unit/controller/cluster_history.hpp"

/// Each rule of the controller, removed: the wrong thing that it forbids happens, and nothing else breaks. The tests of
/// the rules in force stand in tests/unit/controller.
namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::cluster;
using test::ids;

class without {
public:
  explicit without(rule r) { removed_rule = r; }
  ~without() { removed_rule = rule::count; }
  without(const without&) = delete;
};

const setting_map two_in_sync{{"min.insync.replicas", "2"}};

// -- rules of partitions: random histories notice ---------------------------------------------------------

class PartitionRule : public ::testing::TestWithParam<rule> {};

TEST_P(PartitionRule, IsMissedByARandomHistory) {
  const without gone{GetParam()};
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    test::history h{seed};
    for (int step = 0; step < 120; ++step) {
      h.step();
      if (!h.c.broken.empty() || !h.model.wrong.empty()) return;
    }
  }
  FAIL() << "nothing went wrong";
}

INSTANTIATE_TEST_SUITE_P(All, PartitionRule,
                         ::testing::Values(rule::clean_election, rule::elr_cleared, rule::removal_bumps_leader_epoch,
                                           rule::reassign_keeps_min_isr, rule::isr_adds_unfenced, rule::register_fences,
                                           rule::unclean_leaves_elr),
                         [](const auto& row) { return "Rule" + std::to_string(static_cast<int>(row.param)); });

// -- the others: one story each ---------------------------------------------------------------------------

TEST(RemovedRule, ALateIsrChangeUndoesWhatCameBetween) {
  const without gone{rule::partition_epoch_checked};
  cluster c;
  c.join_all(3);
  c.create("t", {{1, 2, 3}}, two_in_sync);
  const auto late = c.proposal("t", {1, 2, 3});
  EXPECT_EQ(c.set_isr("t", {1, 2}), alter_isr_answer::outcome::accepted);
  EXPECT_EQ(c.say(late).what, alter_isr_answer::outcome::accepted);
  EXPECT_EQ(c.partition("t").isr, ids({1, 2, 3}));
}

TEST(RemovedRule, AnIsrTakesInALifeThatHasFetchedNothing) {
  const without gone{rule::isr_adds_this_life};
  cluster c;
  c.join_all(3);
  c.create("t", {{1, 2, 3}}, two_in_sync);
  auto former = c.proposal("t", {1, 2, 3});
  c.join(3);
  former.partition_epoch = c.partition("t").partition_epoch;
  EXPECT_EQ(c.say(former).what, alter_isr_answer::outcome::accepted);
}

TEST(RemovedRule, AReplicaGoesBeforeItsSuccessorHasAnything) {
  const without gone{rule::reassign_waits_for_isr};
  cluster c;
  c.join_all(4);
  c.create("t", {{1, 2, 3}}, two_in_sync);
  EXPECT_TRUE(c.reassign("t", {{1, 2, 4}}).ok());
  EXPECT_FALSE(c.partition("t").has_replica(node_id{3}));
  EXPECT_EQ(c.partition("t").isr, ids({1, 2}));
}

TEST(RemovedRule, ALeaderThatCanOnlyRefuseGoesOnLeading) {
  const without gone{rule::full_disk_leads_last};
  cluster c;
  c.join_all(3);
  c.create("t", {{1, 2, 3}}, two_in_sync);
  c.nodes[1].disk_full = true;
  c.run(1s);
  EXPECT_TRUE(c.node(1).disk_full);
  EXPECT_EQ(c.partition("t").leader, node_id{1});
}

TEST(RemovedRule, ADamagedReplicaStaysElectable) {
  const without gone{rule::damaged_never_leads};
  cluster c;
  c.join_all(3);
  c.create("t", {{2, 3}}, two_in_sync);
  c.kill(2);
  c.start(2, true, {c.where("t")});
  EXPECT_EQ(c.partition("t").elr, ids({2}));
}

TEST(RemovedRule, AFormerLifesHeartbeatsCount) {
  const without gone{rule::epoch_fences_former_life};
  cluster c;
  c.join_all(2);
  const auto former = c.life_of(2);
  c.start(2);
  c.say(heartbeat{former, c.image->applied, c.now, true});
  EXPECT_EQ(c.node(2).state, node_state::active);
}

TEST(RemovedRule, ANodeThatIsNotReadyBecomesActive) {
  const without gone{rule::ready_before_active};
  cluster c;
  c.join(1);
  c.start(2);
  c.beat(2, false);
  EXPECT_EQ(c.node(2).state, node_state::active);
}

TEST(RemovedRule, TheControllerAloneFences) {
  const without gone{rule::two_reports};
  cluster c;
  c.join_all(3);
  c.nodes[3].up = false;
  c.run(2s);
  EXPECT_EQ(c.node(3).state, node_state::fenced);
}

TEST(RemovedRule, PeersAloneFence) {
  const without gone{rule::own_report_always};
  cluster c;
  c.join_all(4);
  c.beat(4, false);  // or it would be active again at once, and so on
  for (int id : {2, 3}) c.nodes[id].suspicions = {{c.life_of(4), suspicion_cause::silent, 0ms}};
  c.beat(2);
  c.beat(3);
  EXPECT_EQ(c.node(4).state, node_state::fenced);
}

TEST(RemovedRule, AResetAloneIsGone) {
  const without gone{rule::gone_needs_reset_and_refusal};
  cluster c;
  c.join_all(3);
  c.nodes[2].suspicions = {{c.life_of(3), suspicion_cause::silent, 0ms}};
  c.beat(2);
  c.take(c.core.link_broken(c.now, c.life_of(3), true, false));
  EXPECT_EQ(c.node(3).state, node_state::fenced);
}

TEST(RemovedRule, OneNodesWordEndsALease) {
  const without gone{rule::gone_needs_both};
  cluster c{{.self = node_id{1}, .kinds = {{"session", 3}}}};
  c.join_all(2);
  c.change_controller(2, {.kinds = {{"session", 3}}});
  c.beat(1);
  c.take(c.core.link_broken(c.now, c.life_of(1), true, true));
  const auto& s = c.image->shards.at("session")[0];
  EXPECT_EQ(s.owner, node_id{2});
  EXPECT_TRUE(s.active);
}

TEST(RemovedRule, AControllerWorksBeforeItsNoOpIsApplied) {
  const without gone{rule::controller_waits_for_no_op};
  cluster c;
  c.join_all(2);
  c.core = cluster_controller{{.self = node_id{2}}, controller{{}, test::counted_ids()}};
  c.take(c.core.elected(c.now, c.image, meta_offset{c.image->applied.value() + 5}));
  EXPECT_TRUE(c.core.works());
  EXPECT_TRUE(c.beat(1).granted);
}

}  // namespace
}  // namespace troupe
