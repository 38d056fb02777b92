#include "tests/unit/controller/cluster_fixture.hpp"

/// What an operator wants of a node that stays: drained, voter by name.
namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::cluster;
using test::ids;
using drain_node = cluster_controller::drain_node;
using remove_node = cluster_controller::remove_node;
using set_voting = cluster_controller::set_voting;
using voter = cluster_controller::voter;

result<void> ask(cluster& c, cluster_controller::request r) {
  return c.ask(std::move(r)).items.at(0);
}
voter v(const cluster& c, int id) {
  return {node_id{id}, c.nodes.at(id).disk};
}
std::vector<voter> voters(const cluster& c, std::initializer_list<int> list) {
  std::vector<voter> out;
  for (int id : list) out.push_back(v(c, id));
  return out;
}
/// The quorum does what it was asked for.
void follow(cluster& c) {
  if (c.voters) c.take(c.core.voters_are(c.now, *c.voters));
}

// -- drained ----------------------------------------------------------------------------------------------

TEST(Drained, LeadsNothingKeepsItsReplicasAndStaysInSync) {
  cluster c;
  c.join_all(3);
  c.create("orders", {{2, 1, 3}, {2, 3, 1}, {1, 2, 3}});
  EXPECT_TRUE(ask(c, drain_node{node_id{2}}).ok());
  c.run(1s);
  EXPECT_EQ(c.node(2).state, node_state::active);
  EXPECT_EQ(c.partition("orders", 0).leader, node_id{1});
  EXPECT_EQ(c.partition("orders", 1).leader, node_id{3});
  for (std::size_t i : {0u, 1u, 2u}) {
    EXPECT_TRUE(c.partition("orders", i).in_sync(node_id{2}));
    EXPECT_FALSE(c.partition("orders", i).reassigning());
  }
  EXPECT_TRUE(c.beat(2).granted);
  EXPECT_TRUE(ask(c, drain_node{node_id{2}}).ok());  // once more
  EXPECT_EQ(c.broken, "");
}

TEST(Drained, OutlivesARestartAndAnotherControllerUntilItIsUndone) {
  cluster c;
  c.join_all(3);
  c.create("orders", {{2, 1, 3}}, {{"min.insync.replicas", "2"}});
  EXPECT_TRUE(ask(c, drain_node{node_id{2}}).ok());
  c.kill(2);
  EXPECT_EQ(c.partition("orders").isr, ids({1, 3}));
  c.change_controller(3);
  c.join(2);
  EXPECT_EQ(c.set_isr("orders", {1, 2, 3}), alter_isr_answer::outcome::accepted);  // it follows, as before
  c.run(6min);
  EXPECT_TRUE(c.node(2).orders.drained);
  EXPECT_EQ(c.partition("orders").leader, node_id{1});

  const auto restored = metadata_image::restore(c.image->applied, c.image->snapshot());
  EXPECT_TRUE(restored.node(node_id{2})->orders.drained);
  EXPECT_EQ(restored.hash(), c.image->hash());

  EXPECT_TRUE(ask(c, remove_node{node_id{2}, true}).ok());
  EXPECT_FALSE(c.node(2).orders.drained);
  EXPECT_EQ(c.node(2).state, node_state::active);
  c.run(31s);
  EXPECT_EQ(c.partition("orders").leader, node_id{2});  // the preferred one again
  EXPECT_EQ(ask(c, remove_node{node_id{2}, true}).code(), errc::invalid_request);
  EXPECT_EQ(c.broken, "");
}

TEST(Drained, GetsNoFurtherReplicasAndLeadsOnlyIfNobodyElseCan) {
  cluster c;
  c.join_all(3);
  c.create("orders", {{1, 2}});
  c.create("single", {{2}});
  EXPECT_TRUE(ask(c, drain_node{node_id{2}}).ok());
  c.run(1s);
  EXPECT_EQ(c.partition("single").leader, node_id{2});  // the only replica
  EXPECT_TRUE(c.reassign("orders", {{1, 2}}).ok());
  EXPECT_TRUE(c.reassign("single", {{3, 1}}).ok());  // which an operator may move away
  EXPECT_EQ(c.set_isr("single", {1, 2, 3}), alter_isr_answer::outcome::accepted);
  c.run(1s);
  EXPECT_NE(c.partition("single").leader, node_id{2});
  EXPECT_EQ(c.reassign("single", {{2, 3}}).code(), errc::invalid_assignment);

  const auto o = c.ask(cluster_controller::create_topics{{new_topic{.name = "more", .partitions = 6}}});
  ASSERT_FALSE(o.decisions.at(0).refused);
  for (const auto& p : c.image->find("more")->partitions) EXPECT_FALSE(p.has_replica(node_id{2}));
  const auto named = c.ask(cluster_controller::create_topics{{new_topic{.name = "named", .assignments = {ids({2})}}}});
  EXPECT_EQ(named.decisions.at(0).refused->code, errc::invalid_assignment);

  c.kill(1);
  EXPECT_EQ(c.partition("orders").leader, node_id{2});
  c.join(1);
  EXPECT_EQ(c.set_isr("orders", {1, 2}), alter_isr_answer::outcome::accepted);
  c.run(1s);
  EXPECT_EQ(c.partition("orders").leader, node_id{1});
  EXPECT_EQ(c.broken, "");
}

TEST(Drained, GivesItsShardsAwayInOrder) {
  cluster c{{.self = node_id{1}, .kinds = {{"session", 8}}}};
  c.join_all(3);
  c.run(5s);
  const auto owned = [&](int id) {
    return std::ranges::count_if(c.image->shards.at("session"), [&](const auto& s) { return s.owner == node_id{id}; });
  };
  c.run(1min);
  const auto release_all = [&] {
    for (auto& r : std::exchange(c.releases, {})) c.take(c.core.released(c.now, {r.owner, r.kind, r.shard, r.epoch}));
  };
  for (int i = 0; i < 5; ++i, c.run(1s)) release_all();
  c.run(1min);
  for (int i = 0; i < 5; ++i, c.run(1s)) release_all();
  ASSERT_GT(owned(2), 0);
  EXPECT_TRUE(ask(c, drain_node{node_id{2}}).ok());
  EXPECT_GT(owned(2), 0);  // it is asked first
  EXPECT_FALSE(c.releases.empty());
  for (int i = 0; i < 5; ++i, c.run(1s)) release_all();
  EXPECT_EQ(owned(2), 0);
  c.run(1min);
  EXPECT_EQ(owned(2), 0);
  EXPECT_EQ(c.broken, "");
}

TEST(Drained, WhoCannotBeOrNeedNotBeIsTold) {
  cluster c;
  c.join_all(2);
  c.create("orders", {{1, 2}});
  EXPECT_EQ(ask(c, drain_node{node_id{9}}).code(), errc::invalid_request);
  EXPECT_TRUE(ask(c, drain_node{node_id{2}}).ok());
  EXPECT_EQ(ask(c, drain_node{node_id{1}}).code(), errc::not_enough_replicas);
  EXPECT_EQ(ask(c, remove_node{node_id{1}}).code(), errc::not_enough_replicas);
  EXPECT_TRUE(ask(c, remove_node{node_id{2}}).ok());  // drained first, taken out then
  EXPECT_EQ(ask(c, drain_node{node_id{2}}).code(), errc::invalid_request);
  EXPECT_TRUE(ask(c, remove_node{node_id{2}, true}).ok());
  EXPECT_FALSE(c.node(2).orders.drained);
  EXPECT_FALSE(c.node(2).leaving);
}

TEST(Drained, TheControllerGivesThatAwayLast) {
  cluster c;
  c.join_all(3);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  c.create("orders", {{1, 2, 3}});
  c.commits = false;
  c.take(c.core.asked(c.now, c.next_ticket(), drain_node{node_id{1}}));
  EXPECT_TRUE(c.handed_to.empty());
  c.commits = true;
  c.commit();
  c.run(500ms);
  EXPECT_EQ(c.partition("orders").leader, node_id{2});
  ASSERT_FALSE(c.handed_to.empty());
  EXPECT_FALSE(c.beat(2).granted);  // the next one may grant already
  EXPECT_EQ(c.ask(cluster_controller::reserve_producer_ids{}).first, std::nullopt);

  // Nobody took over: it works on, and tries again later.
  const auto tries = c.handed_to.size();
  c.core.leads_on();
  EXPECT_TRUE(c.beat(2).granted);
  c.run(3s);
  EXPECT_EQ(c.handed_to.size(), tries);
  c.run(3s);
  EXPECT_EQ(c.handed_to.size(), tries + 1);
}

TEST(Drained, AControllerThatStopsMayOnlyOnceSomebodyElseLeads) {
  cluster c;
  c.join_all(3);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  c.nodes[1].stopping = true;
  c.beat(1);
  c.run(300ms);
  EXPECT_FALSE(c.handed_to.empty());
  EXPECT_FALSE(c.beat(1).may_stop);
  c.core.leads_on();  // nobody took over
  EXPECT_TRUE(c.beat(1).may_stop);
  c.change_controller(c.handed_to.front().value());
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  c.run(300ms);
  EXPECT_TRUE(c.beat(1).may_stop);

  // All stop: the last ones wait for nobody.
  cluster last;
  last.join_all(3);
  last.take(last.core.voters_are(last.now, voters(last, {1, 2, 3})));
  for (int id : {1, 2, 3}) last.nodes[id].stopping = true;
  for (int id : {2, 3, 1}) last.beat(id);
  last.run(300ms);
  EXPECT_TRUE(last.handed_to.empty());
  EXPECT_TRUE(last.beat(1).may_stop);
}

// -- voters by name ---------------------------------------------------------------------------------------

TEST(VotersByName, ComeInThePlaceOfOneThatTheControllerChose) {
  cluster c;
  c.join_all(4);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  EXPECT_TRUE(ask(c, set_voting{node_id{4}, voting::always}).ok());
  EXPECT_EQ(c.voters, voters(c, {1, 2, 4}));
  follow(c);
  EXPECT_EQ(ask(c, set_voting{node_id{4}, voting::always}).code(), errc::invalid_request);
  c.kill(4);
  c.run(10s);
  EXPECT_EQ(c.voters, voters(c, {1, 2, 4}));  // kept, though it is away
  c.join(4);

  EXPECT_TRUE(ask(c, set_voting{node_id{4}, voting::automatic}).ok());
  EXPECT_EQ(c.voters, voters(c, {1, 2, 4}));  // nothing speaks against it
  EXPECT_EQ(c.broken, "");
}

TEST(VotersByName, AreRefusedWhereTheyCannotVote) {
  cluster c;
  c.join_all(4);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  const auto add = [&](int id) { return ask(c, set_voting{node_id{id}, voting::always}); };
  EXPECT_EQ(add(9).code(), errc::invalid_request);
  c.kill(4);
  EXPECT_EQ(add(4).code(), errc::invalid_request);
  c.join(4);
  EXPECT_TRUE(ask(c, remove_node{node_id{4}}).ok());
  EXPECT_EQ(add(4).code(), errc::invalid_request);
  EXPECT_TRUE(c.node(4).state == node_state::removed || ask(c, remove_node{node_id{4}, true}).ok());
  c.join(4);
  for (int id : {1, 2, 3}) EXPECT_TRUE(add(id).ok());
  EXPECT_NE(add(4).error().text.find("1, 2, 3"), std::string::npos);
  EXPECT_EQ(ask(c, cluster_controller::want_voter_count{1}).code(), errc::invalid_request);
  EXPECT_TRUE(ask(c, cluster_controller::want_voter_count{5}).ok());
  EXPECT_TRUE(add(4).ok());
}

TEST(VotersByName, WhoIsKeptOutIsReplacedAndNotTakenInAgain) {
  cluster c;
  c.join_all(4);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  const auto out = [&](int id) { return ask(c, set_voting{node_id{id}, voting::never}); };
  EXPECT_TRUE(out(2).ok());
  EXPECT_EQ(c.voters, voters(c, {1, 3, 4}));
  follow(c);
  EXPECT_EQ(out(2).code(), errc::invalid_request);
  EXPECT_EQ(out(3).code(), errc::not_enough_replicas);  // nobody would come for it
  c.join(5);
  EXPECT_TRUE(ask(c, cluster_controller::want_voter_count{5}).ok());
  c.run(1s);
  EXPECT_EQ(c.voters, voters(c, {1, 3, 4}));  // four could be had: no odd number
  c.join(6);
  EXPECT_EQ(c.voters, voters(c, {1, 3, 4, 5, 6}));
  follow(c);
  c.kill(2);
  c.join(2);
  c.change_controller(3);
  c.take(c.core.voters_are(c.now, voters(c, {1, 3, 4, 5, 6})));
  c.run(5s);
  EXPECT_EQ(c.voters, voters(c, {1, 3, 4, 5, 6}));
}

TEST(VotersByName, NobodyGoesWhileTooFewOfTheOthersLive) {
  cluster c;
  c.join_all(6);
  EXPECT_TRUE(ask(c, cluster_controller::want_voter_count{5}).ok());
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3, 4, 5})));
  c.kill(3);
  c.kill(4);
  EXPECT_TRUE(ask(c, set_voting{node_id{5}, voting::never}).ok());  // with the sixth, three of five
  c.voters.reset();
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3, 4, 6})));
  EXPECT_EQ(ask(c, set_voting{node_id{2}, voting::never}).code(), errc::not_enough_replicas);
  EXPECT_EQ(ask(c, set_voting{node_id{3}, voting::never}).code(), errc::not_enough_replicas);
}

TEST(VotersByName, AControllerThatIsToVoteNoMoreHandsOverFirst) {
  cluster c;
  c.join_all(4);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  EXPECT_TRUE(ask(c, set_voting{node_id{1}, voting::never}).ok());
  EXPECT_EQ(c.voters, voters(c, {1, 2, 3, 4}));  // who comes comes first
  ASSERT_FALSE(c.handed_to.empty());
  c.change_controller(c.handed_to.front().value());
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3, 4})));
  EXPECT_EQ(c.voters, voters(c, {2, 3, 4}));
}

TEST(VotersByName, TheOnlyVoterHandsOverToTheOneThatReplacesIt) {
  cluster c;
  c.join_all(2);
  c.take(c.core.voters_are(c.now, voters(c, {1})));
  EXPECT_TRUE(ask(c, set_voting{node_id{1}, voting::never}).ok());
  EXPECT_EQ(c.voters, voters(c, {2}));
  EXPECT_TRUE(c.handed_to.empty());
  c.take(c.core.voters_are(c.now, voters(c, {1, 2})));
  EXPECT_EQ(c.voters, voters(c, {1, 2}));  // not without us before it leads
  EXPECT_EQ(c.handed_to, ids({2}));
}

TEST(VotersByName, TheLastThatMayVoteStays) {
  cluster c;
  c.join_all(2);
  c.take(c.core.voters_are(c.now, voters(c, {1})));
  EXPECT_TRUE(ask(c, set_voting{node_id{2}, voting::never}).ok());
  EXPECT_EQ(ask(c, remove_node{node_id{1}}).code(), errc::not_enough_replicas);
  EXPECT_EQ(ask(c, set_voting{node_id{1}, voting::never}).code(), errc::not_enough_replicas);
  // Also where it could not be known before: a wish of a node that does not vote yet.
  c.join(3);
  EXPECT_TRUE(ask(c, set_voting{node_id{3}, voting::never}).ok());
  c.run(1s);
  EXPECT_FALSE(c.voters.has_value());
}

// Two that both are to go would hand over to each other for as long as the others have not come.
TEST(VotersByName, NobodyHandsOverToOneThatGoesAsWell) {
  cluster c;
  c.join_all(5);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  for (int id : {4, 5}) EXPECT_TRUE(ask(c, set_voting{node_id{id}, voting::always}).ok());
  EXPECT_TRUE(c.handed_to.empty());
  EXPECT_TRUE(ask(c, set_voting{node_id{2}, voting::always}).ok());
  EXPECT_EQ(c.handed_to, ids({2}));
}

TEST(VotersByName, ANodeThatWasRemovedIsWantedForNothing) {
  cluster c;
  c.join_all(4);
  c.take(c.core.voters_are(c.now, voters(c, {1, 2, 3})));
  EXPECT_TRUE(ask(c, set_voting{node_id{4}, voting::never}).ok());
  EXPECT_TRUE(ask(c, drain_node{node_id{4}}).ok());
  EXPECT_TRUE(ask(c, remove_node{node_id{4}}).ok());
  c.run(1s);
  ASSERT_EQ(c.node(4).state, node_state::removed);
  c.join(4);
  EXPECT_EQ(c.node(4).orders, node_orders{});
}

}  // namespace
}  // namespace troupe
