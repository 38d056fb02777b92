#include "actors/controller/node_agent.hpp"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/controller/cluster_fixture.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using stage = node_agent::stage;
using verdict = registration_answer::verdict;

class NodeAgent : public ::testing::Test {
protected:
  instant now{instant{} + 1h};
  node_agent agent{{.self = {"", node_id{2}, test::disk_of(2), 7}}, random_source{1}, now};
  metadata_image image = test::cluster_of(5);

  template <class T>
  static std::vector<T> of(const node_agent::effects& all) {
    std::vector<T> out;
    for (const auto& e : all)
      if (const auto* x = std::get_if<T>(&e)) out.push_back(*x);
    return out;
  }
  /// Registered under epoch 20; the image does not know yet.
  void accept() {
    agent.recovered(now, true, {});
    agent.received(now, registration_answer{verdict::accepted, 7, 20, "c"});
  }
  void learn() {
    auto& me = image.nodes[node_id{2}];
    me.node_epoch = 20;
    me.disk = test::disk_of(2);
    me.start = 7;
    image.applied = meta_offset{20};
    agent.applied(now, image);
  }
  void serve() {
    accept();
    learn();
  }
  heartbeat_answer grant(instant sent) const { return {{node_id{2}, 20}, sent, true, node_state::active, false, true}; }
};

TEST_F(NodeAgent, RegistersOnceItsDiskIsRecoveredAndRepeatsUntilItIsAnswered) {
  EXPECT_TRUE(agent.tick(now + 1s).empty());
  const partition_ref bad{test::id_of(1), partition_index{3}};
  auto said = of<node_agent::send_registration>(agent.recovered(now, false, {bad}));
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].to, std::nullopt);
  EXPECT_EQ(said[0].message.start, 7u);
  EXPECT_FALSE(said[0].message.clean);
  EXPECT_EQ(said[0].message.damaged, std::vector{bad});
  agent.controller_is(now, node_id{4});
  EXPECT_TRUE(agent.tick(now + 499ms).empty());
  said = of<node_agent::send_registration>(agent.tick(now + 500ms));
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].to, node_id{4});
  agent.received(now, registration_answer{verdict::later, 7});
  EXPECT_EQ(agent.at(), stage::registering);
  agent.received(now, registration_answer{verdict::accepted, 6, 11, "c"});  // of a former life
  EXPECT_EQ(agent.at(), stage::registering);
  const auto accepted =
      of<node_agent::accepted>(agent.received(now, registration_answer{verdict::accepted, 7, 20, "c"}));
  ASSERT_EQ(accepted.size(), 1u);
  EXPECT_EQ(accepted[0].as, (life{node_id{2}, 20}));
  EXPECT_EQ(accepted[0].cluster_id, "c");
}

TEST_F(NodeAgent, AsksAtOnceWhomItIsReferredToButOnlyOnceATry) {
  agent.recovered(now, true, {});
  const registration_answer elsewhere{verdict::later, 7, -1, {}, node_id{3}};
  const auto said = of<node_agent::send_registration>(agent.received(now, elsewhere));
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].to, node_id{3});
  EXPECT_TRUE(agent.received(now, elsewhere).empty());
  agent.tick(now + 500ms);
  EXPECT_EQ(of<node_agent::send_registration>(agent.received(now + 500ms, elsewhere)).size(), 1u);
}

TEST_F(NodeAgent, WhoIsToldLaterAsksAgainSoonAndThenLessOften) {
  agent.recovered(now, true, {});
  std::vector<std::chrono::milliseconds> waits;
  for (auto last = now, at = now; waits.size() < 8; at += 10ms)
    if (!of<node_agent::send_registration>(agent.tick(at)).empty() || at == now) {
      if (at != now) waits.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(at - last));
      last = at;
      agent.received(at, registration_answer{verdict::later, 7});
    }
  EXPECT_EQ(waits, (std::vector{10ms, 20ms, 40ms, 80ms, 160ms, 320ms, 500ms, 500ms}));
}

TEST_F(NodeAgent, LearnsFromTheMetadataThatItIsRegisteredWhenTheAnswerIsLost) {
  agent.recovered(now, true, {});
  learn();
  EXPECT_EQ(agent.at(), stage::serving);
  EXPECT_EQ(agent.self(), (life{node_id{2}, 20}));
}

TEST_F(NodeAgent, IsReadyOnlyWhenTheMetadataCoversItsRegistration) {
  accept();
  agent.applied(now, image);
  EXPECT_EQ(agent.at(), stage::catching_up);
  auto beat = of<node_agent::send_heartbeat>(agent.tick(now + 500ms));
  ASSERT_EQ(beat.size(), 1u);
  EXPECT_FALSE(beat[0].message.ready);
  EXPECT_EQ(beat[0].message.applied, image.applied);
  learn();
  EXPECT_EQ(agent.at(), stage::serving);
  agent.received(now + 600ms, grant(now + 500ms));
  beat = of<node_agent::send_heartbeat>(agent.tick(now + 1s));
  ASSERT_EQ(beat.size(), 1u);
  EXPECT_TRUE(beat[0].message.ready);
  EXPECT_EQ(beat[0].message.applied, meta_offset{20});
  EXPECT_EQ(beat[0].message.sent, now + 1s);
}

// Clients are told of it from then on, and its doors open with its lease.
TEST_F(NodeAgent, AsksForItsLeaseAtOnceWhenTheMetadataHasItServe) {
  accept();
  image.nodes[node_id{2}].state = node_state::fenced;
  learn();
  auto refused = grant(now);
  refused.granted = false;
  agent.received(now, refused);
  EXPECT_TRUE(agent.tick(now + 20ms).empty());
  image.nodes[node_id{2}].state = node_state::active;
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.applied(now + 20ms, image)).size(), 1u);
  agent.received(now + 21ms, grant(now + 20ms));
  EXPECT_TRUE(agent.has_lease(now + 21ms));
  EXPECT_TRUE(agent.applied(now + 22ms, image).empty());

  // Fenced because it was silent, and taken back under its lease: the next heartbeat is in time.
  image.nodes[node_id{2}].state = node_state::fenced;
  agent.applied(now + 30ms, image);
  image.nodes[node_id{2}].state = node_state::active;
  EXPECT_TRUE(agent.applied(now + 40ms, image).empty());
}

TEST_F(NodeAgent, ALeaseCountsFromTheSendingOfItsHeartbeat) {
  serve();
  EXPECT_FALSE(agent.has_lease(now));
  EXPECT_EQ(agent.without_lease_since(now + 4s), now);
  agent.received(now + 2s, grant(now + 500ms));
  EXPECT_EQ(agent.lease_end(), now + 3500ms);
  EXPECT_TRUE(agent.has_lease(now + 3499ms));
  EXPECT_FALSE(agent.has_lease(now + 3500ms));
  agent.received(now + 2s, grant(now));  // an older one, late
  EXPECT_EQ(agent.lease_end(), now + 3500ms);
  EXPECT_EQ(agent.without_lease_since(now + 3s), std::nullopt);
  EXPECT_EQ(agent.without_lease_since(now + 9s), now + 3500ms);
}

TEST_F(NodeAgent, NamesItselfOnlyAsLongAsItCannotBeFenced) {
  serve();
  agent.received(now + 2s, grant(now + 500ms));
  EXPECT_EQ(agent.leads_until(), now + 500ms + cluster_controller::options{}.silent_after);
  EXPECT_LT(agent.leads_until(), agent.lease_end());
}

TEST_F(NodeAgent, NamesOthersAsLongAsItsMetadataIsNoOlderThanALease) {
  serve();
  agent.received(now + 1s, grant(now + 500ms));
  EXPECT_EQ(agent.knows_leaders_until(), now + 3500ms);
  // The controller is ahead, and the answers come by way of others: the lease goes on, what it knows gets old.
  auto ahead = grant(now + 1500ms);
  ahead.applied = meta_offset{21};
  agent.received(now + 2s, ahead);
  auto further = grant(now + 2s);
  further.applied = meta_offset{22};
  agent.received(now + 2s, further);
  EXPECT_EQ(agent.lease_end(), now + 5s);
  EXPECT_EQ(agent.knows_leaders_until(), now + 3500ms);
  image.applied = meta_offset{21};
  agent.applied(now + 2s, image);
  EXPECT_EQ(agent.knows_leaders_until(), now + 4500ms) << "though it never gets as far as the newest answer";
  agent.stop(now + 2s);
  auto leave = grant(now + 2s);
  leave.may_stop = true;
  agent.received(now + 2s, leave);
  EXPECT_EQ(agent.knows_leaders_until(), now + 2s) << "its lease is over";
}

TEST_F(NodeAgent, AsksAgainSoonWhenItIsGivenNoLease) {
  serve();
  agent.tick(now + 500ms);
  auto none = grant(now + 500ms);
  none.granted = false;
  agent.received(now + 510ms, none);
  EXPECT_TRUE(agent.tick(now + 609ms).empty());
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.tick(now + 610ms)).size(), 1u);
  agent.received(now + 620ms, grant(now + 610ms));
  EXPECT_TRUE(agent.tick(now + 1109ms).empty());
}

TEST_F(NodeAgent, NoLeaseComesOfAnAnswerToSomebodyElseOrFromTheFuture) {
  serve();
  auto a = grant(now + 1s);
  agent.received(now, a);  // sent later than now
  a = grant(now - 1s);
  agent.received(now, a);  // before this process began
  a = grant(now);
  a.to = {node_id{3}, 20};
  agent.received(now, a);
  a = grant(now);
  a.to.epoch = 19;
  agent.received(now, a);
  a = grant(now);
  a.granted = false;
  agent.received(now, a);
  EXPECT_FALSE(agent.has_lease(now));
}

TEST_F(NodeAgent, ANewerLifeOfTheNodeEndsThisOne) {
  serve();
  agent.received(now, grant(now));
  auto a = grant(now);
  a.to.epoch = 21;
  const auto ended = of<node_agent::end_process>(agent.received(now, a));
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].why->code, errc::fenced_epoch);
  EXPECT_FALSE(agent.has_lease(now));
  EXPECT_TRUE(agent.tick(now + 1s).empty());
}

TEST_F(NodeAgent, WhatTheClusterRefusesForGoodEndsTheProcess) {
  for (const auto what : {verdict::wrong_cluster, verdict::superseded, verdict::invalid}) {
    node_agent other{{.self = {"x", node_id{2}, test::disk_of(2), 7}}, random_source{1}, now};
    other.recovered(now, true, {});
    const auto ended = of<node_agent::end_process>(other.received(now, registration_answer{what, 7}));
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_TRUE(ended[0].why.has_value());
    EXPECT_EQ(other.at(), stage::stopped);
  }
}

TEST_F(NodeAgent, WithoutAnswersHeartbeatsGoThroughThreePeersAsWell) {
  serve();
  agent.controller_is(now, node_id{1});
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.tick(now + 500ms)).size(), 1u);
  // That there is no controller is no answer.
  agent.received(now + 500ms, {{node_id{2}, 20}, now + 500ms, false, node_state::fenced, false, false});
  const auto sent = of<node_agent::send_heartbeat>(agent.tick(now + 1s));
  ASSERT_EQ(sent.size(), 4u);
  std::set<node_id> relays;
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(sent[i].via);
    relays.insert(*sent[i].via);
    EXPECT_EQ(sent[i].message.sent, now + 1s);
  }
  EXPECT_EQ(relays, (std::set{node_id{3}, node_id{4}, node_id{5}}));  // neither itself nor the controller
  EXPECT_FALSE(sent[3].via);
  agent.received(now + 1s, grant(now + 1s));  // through a relay: the same lease
  EXPECT_EQ(agent.lease_end(), now + 4s);
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.tick(now + 1500ms)).size(), 1u);
}

// Found by a storm: a node that was removed while it was cut off went on asking the former controller, which answered.
TEST_F(NodeAgent, AnAnswerOfAnybodyButTheControllerIsNone) {
  serve();
  agent.controller_is(now, node_id{1});
  agent.tick(now + 500ms);
  agent.received(now + 600ms, heartbeat_answer{{node_id{2}, 20}, now + 500ms});
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.tick(now + 1s)).size(), 4u);
}

TEST_F(NodeAgent, ANewControllerAndANewSuspicionAreToldAtOnce) {
  serve();
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.controller_is(now, node_id{1})).size(), 1u);
  EXPECT_TRUE(agent.controller_is(now, node_id{1}).empty());
  const node_agent::suspicion s{{node_id{3}, 3}, suspicion_cause::gone, now - 200ms};
  const auto sent = of<node_agent::send_heartbeat>(agent.suspects(now, {s}, true));
  ASSERT_EQ(sent.size(), 1u);
  ASSERT_EQ(sent[0].message.suspicions.size(), 1u);
  EXPECT_EQ(sent[0].message.suspicions[0].subject, (life{node_id{3}, 3}));
  EXPECT_EQ(sent[0].message.suspicions[0].age, 200ms);
  EXPECT_TRUE(agent.suspects(now, {}, false).empty());
  agent.cannot_reach({{node_id{4}, 4}});
  const auto next = of<node_agent::send_heartbeat>(agent.tick(now + 500ms));
  ASSERT_EQ(next.size(), 1u);
  EXPECT_TRUE(next[0].message.suspicions.empty());
  EXPECT_EQ(next[0].message.unreachable, (std::vector{life{node_id{4}, 4}}));
}

TEST_F(NodeAgent, TakesNoAnswerThatWasMeantForItsFormerDisk) {
  agent.recovered(now, true, {});
  registration_answer answer{verdict::accepted, 7, 20, "c", node_id{-1}, test::disk_of(3)};
  EXPECT_TRUE(agent.received(now, answer).empty());  // that disk had as many starts
  EXPECT_EQ(agent.at(), stage::registering);
  answer.disk = test::disk_of(2);
  agent.received(now, answer);
  EXPECT_EQ(agent.at(), stage::catching_up);
}

TEST_F(NodeAgent, SaysAtOnceThatItsDiskIsFullAndThatItIsNotAnyMore) {
  serve();
  EXPECT_TRUE(agent.disk_is(now, false).empty());
  for (const bool full : {true, false}) {
    const auto sent = of<node_agent::send_heartbeat>(agent.disk_is(now, full));
    ASSERT_EQ(sent.size(), 1u);
    EXPECT_EQ(sent[0].message.disk_full, full);
    EXPECT_TRUE(agent.disk_is(now, full).empty());
  }
}

TEST_F(NodeAgent, SaysWhatItsWallClockSaysAndGoesByWhatTheClusterSays) {
  const wall_time right{1'700'000'000'000ms}, wrong = right - std::chrono::days{3650};
  serve();
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.tick(now + 500ms)).at(0).message.wall, std::nullopt);
  agent.wall_read(now + 900ms, wrong);
  EXPECT_EQ(of<node_agent::send_heartbeat>(agent.tick(now + 1s)).at(0).message.wall, wrong + 100ms);
  EXPECT_EQ(agent.wall()->line().at(now + 1s, wrong + 100ms).wall, wrong + 100ms);
  auto answer = grant(now + 1s);
  answer.clocks = {clock_verdict::kind::agreed, right};
  agent.received(now + 1s, answer);
  EXPECT_EQ(agent.wall()->line().at(now + 2s, wrong + 1100ms).wall, right + 1s);
}

TEST_F(NodeAgent, StopsInOrder) {
  serve();
  agent.received(now, grant(now));
  const auto sent = of<node_agent::send_heartbeat>(agent.stop(now));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].message.wants_to_stop);
  EXPECT_TRUE(agent.has_lease(now));  // it serves until it may stop
  auto a = grant(now + 100ms);
  EXPECT_TRUE(agent.received(now + 200ms, a).empty());
  a.may_stop = true;
  const auto mark = of<node_agent::write_mark>(agent.received(now + 200ms, a));
  ASSERT_EQ(mark.size(), 1u);
  EXPECT_EQ(mark[0].node_epoch, 20);
  EXPECT_FALSE(agent.has_lease(now + 200ms));
  agent.received(now + 300ms, grant(now + 200ms));  // too late: it has stopped serving
  EXPECT_FALSE(agent.has_lease(now + 300ms));
  const auto last = agent.marked(now + 400ms);
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(std::get<node_agent::send_farewell>(last[0]).message.from, (life{node_id{2}, 20}));
  EXPECT_FALSE(std::get<node_agent::end_process>(last[1]).why);
  EXPECT_TRUE(agent.marked(now).empty());
}

TEST_F(NodeAgent, StopsAnywayWhenNobodyLetsItGoAndAtOnceBeforeItIsRegistered) {
  serve();
  agent.received(now + 1ms, grant(now));
  agent.stop(now + 1ms);
  EXPECT_TRUE(of<node_agent::write_mark>(agent.tick(now + 2s)).empty());
  agent.received(now + 29s, grant(now + 28s));
  EXPECT_TRUE(of<node_agent::write_mark>(agent.tick(now + 30s)).empty());
  EXPECT_EQ(of<node_agent::write_mark>(agent.tick(now + 30s + 1ms)).size(), 1u);

  node_agent other{{.self = {"", node_id{2}, test::disk_of(2), 7}}, random_source{1}, now};
  const auto mark = of<node_agent::write_mark>(other.stop(now));
  ASSERT_EQ(mark.size(), 1u);
  EXPECT_EQ(mark[0].node_epoch, -1);
  EXPECT_TRUE(of<node_agent::send_farewell>(other.marked(now)).empty());
}

TEST_F(NodeAgent, WhoHoldsNoLeaseHasNothingToHandOver) {
  serve();
  agent.received(now + 1ms, grant(now));
  agent.stop(now + 1s);
  EXPECT_TRUE(of<node_agent::write_mark>(agent.tick(now + 2999ms)).empty());
  EXPECT_EQ(of<node_agent::write_mark>(agent.tick(now + 3s)).size(), 1u);
}

TEST_F(NodeAgent, ANodeThatIsRemovedStops) {
  serve();
  auto a = grant(now);
  a.granted = false;
  a.state = node_state::removed;
  EXPECT_EQ(of<node_agent::write_mark>(agent.received(now, a)).size(), 1u);
}

}  // namespace
}  // namespace troupe
