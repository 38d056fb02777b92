#include <gtest/gtest.h>

#include "tests/unit/controller/cluster_fixture.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::cluster;
using event = cluster_controller::noted::event;

class Shards : public ::testing::Test {
protected:
  cluster c{{.self = node_id{1}, .kinds = {{"session", 12}}}};
  void SetUp() override { c.join_all(3); }
  const std::vector<shard_state>& shards() const { return c.image->shards.at("session"); }
  std::map<int, int> load() const {
    std::map<int, int> out;
    for (const auto& s : shards()) ++out[s.owner.value()];
    return out;
  }
  std::uint32_t one_of(int id) const {
    for (std::uint32_t i = 0; i < shards().size(); ++i)
      if (shards()[i].owner == node_id{id}) return i;
    ADD_FAILURE() << "node " << id << " owns nothing";
    return 0;
  }
  /// Every owner does what it is asked, at once.
  void release_all() {
    for (auto asked = std::exchange(c.releases, {}); !asked.empty(); asked = std::exchange(c.releases, {}))
      for (const auto& r : asked) c.take(c.core.released(c.now, {r.owner, r.kind, r.shard, r.epoch}));
  }
  void settle() {
    for (int i = 0; i < 5; ++i) {
      c.run(31s);
      release_all();
    }
  }
};

TEST_F(Shards, TheFirstNodeOwnsAllAndThoseThatJoinGetTheirPart) {
  EXPECT_EQ(load(), (std::map<int, int>{{1, 12}}));
  for (const auto& s : shards()) EXPECT_TRUE(s.active);  // nobody owned them before
  settle();
  // The ring's bounds: within 15 % of four.
  EXPECT_EQ(load().size(), 3u);
  for (const auto& [id, n] : load()) EXPECT_TRUE(n >= 3 && n <= 5) << "node " << id << " owns " << n;
  for (const auto& s : shards()) EXPECT_TRUE(s.active);
}

TEST_F(Shards, AMoveWaitsUntilTheOldOwnerHasStopped) {
  c.run(31s);
  ASSERT_FALSE(c.releases.empty());
  const auto asked = c.releases.front();
  EXPECT_EQ(asked.owner, c.life_of(1));
  const auto before = shards()[asked.shard];
  EXPECT_EQ(before.owner, node_id{1});
  c.take(c.core.released(c.now, {c.life_of(1), "session", asked.shard, asked.epoch - 1}));  // of an earlier epoch
  EXPECT_EQ(shards()[asked.shard], before);
  c.take(c.core.released(c.now, {c.life_of(1), "session", asked.shard, asked.epoch}));
  EXPECT_NE(shards()[asked.shard].owner, node_id{1});
  EXPECT_EQ(shards()[asked.shard].epoch, before.epoch + 1);
  EXPECT_TRUE(shards()[asked.shard].active);
  EXPECT_EQ(c.node(1).last_taken, shards()[asked.shard].since);
}

TEST_F(Shards, AnOwnerThatDoesNotLetGoKeepsTheShard) {
  const auto before = shards();
  c.run(45s);
  EXPECT_GT(c.noted(event::shard_move_given_up, 1), 0u);
  EXPECT_EQ(shards(), before);
}

TEST_F(Shards, AReleaseThatAFormerControllerAskedForIsFinished) {
  const auto s = shards()[0];
  c.change_controller(2, {.kinds = {{"session", 12}}});
  c.take(c.core.released(c.now, {c.life_of(1), "session", 0, s.epoch}));
  EXPECT_EQ(shards()[0].epoch, s.epoch + 1);
  EXPECT_TRUE(shards()[0].active);
}

TEST_F(Shards, ALostOwnersShardsAreAssignedAtFencingAndActiveAfterItsLease) {
  settle();
  c.beat(3);
  const auto granted = c.now;
  const auto mine = one_of(3);
  const auto before = shards()[mine];
  c.kill(3);
  ASSERT_EQ(c.node(3).state, node_state::fenced);
  EXPECT_NE(shards()[mine].owner, node_id{3});
  EXPECT_EQ(shards()[mine].epoch, before.epoch + 1);
  EXPECT_FALSE(shards()[mine].active);
  EXPECT_EQ(shards()[mine].former, c.life_of(3));
  EXPECT_EQ(load().size(), 2u);
  c.run(granted + 3650ms - c.now);
  EXPECT_FALSE(shards()[mine].active);
  c.run(100ms);
  EXPECT_TRUE(shards()[mine].active);  // 1.25 x 3 s after the last grant
  EXPECT_EQ(shards()[mine].epoch, before.epoch + 1);
}

TEST_F(Shards, ANewControllerWaitsFromItsOwnElection) {
  settle();
  c.beat(3);
  const auto mine = one_of(3);
  c.kill(3);
  c.change_controller(2, {.kinds = {{"session", 12}}});
  const auto elected = c.now;
  c.run(3700ms);
  EXPECT_FALSE(shards()[mine].active);
  c.run(elected + 3750ms - c.now);
  EXPECT_TRUE(shards()[mine].active);
}

TEST_F(Shards, AnOwnerProvedGoneByTwoIsNotWaitedFor) {
  settle();
  const auto mine = one_of(3);
  c.nodes[3].up = false;
  c.take(c.core.link_broken(c.now, c.life_of(3), true, true));
  c.nodes[2].suspicions = {{c.life_of(3), suspicion_cause::gone, 0ms}};
  c.beat(2);
  EXPECT_NE(shards()[mine].owner, node_id{3});
  EXPECT_TRUE(shards()[mine].active);
}

TEST_F(Shards, GoneForTheControllerOnlyFencesWithAnySuspicionButTheLeaseIsWaitedFor) {
  settle();
  const auto mine = one_of(3);
  c.nodes[3].up = false;
  c.beat(3);
  c.take(c.core.link_broken(c.now, c.life_of(3), true, true));
  c.nodes[2].suspicions = {{c.life_of(3), suspicion_cause::silent, 0ms}};
  c.beat(2);
  EXPECT_EQ(c.node(3).state, node_state::fenced);
  EXPECT_FALSE(shards()[mine].active);
}

TEST_F(Shards, ANodeThatSaidFarewellOrStartsAnewIsNotWaitedFor) {
  settle();
  const auto mine = one_of(3);
  c.nodes[3].up = false;
  c.take(c.core.said_farewell(c.now, {c.life_of(3)}));
  EXPECT_TRUE(shards()[mine].active);
  const auto other = one_of(2);
  c.start(2);
  EXPECT_NE(shards()[other].owner, node_id{2});
  EXPECT_TRUE(shards()[other].active);
}

TEST_F(Shards, ADrainingNodesShardsMoveBeforeItMayStop) {
  settle();
  c.nodes[3].stopping = true;
  c.beat(3);
  c.run(500ms);
  EXPECT_FALSE(c.beat(3).may_stop);
  for (int i = 0; i < 3; ++i) {
    release_all();
    c.run(500ms);
  }
  EXPECT_EQ(load().count(3), 0u);
  EXPECT_TRUE(c.beat(3).may_stop);
}

TEST_F(Shards, NobodyOwnsThemWhileNobodyServes) {
  c.kill(2);
  c.kill(3);
  c.take(c.core.said_farewell(c.now, {c.life_of(1)}));
  EXPECT_EQ(load(), (std::map<int, int>{{-1, 12}}));
  c.join(2);
  EXPECT_EQ(load(), (std::map<int, int>{{2, 12}}));
}

TEST(ShardPlan, GoesByWeightAndStaysWhereItIs) {
  std::vector<node_info> nodes;
  for (int id = 1; id <= 3; ++id) {
    nodes.push_back({node_id{id}});
    nodes.back().weight = static_cast<std::uint16_t>(id == 3 ? 2 : 1);
  }
  const auto first = place_shards("k", std::vector<node_id>(64, node_id{-1}), nodes);
  std::map<int, int> load;
  for (auto n : first) ++load[n.value()];
  EXPECT_LE(load[1], 19);  // 1.15 x 16
  EXPECT_LE(load[2], 19);
  EXPECT_LE(load[3], 37);
  EXPECT_EQ(place_shards("k", first, nodes), first);
}

TEST_F(Shards, AreActiveOnceTheFormerOwnerSaysThatItKnows) {
  settle();
  const auto shard = one_of(2);
  const auto former = c.life_of(2);
  c.kill(2);  // it only stood still
  ASSERT_FALSE(shards()[shard].active);
  auto late = heartbeat{former, c.nodes[2].applied, c.now};
  late.ready = true;
  EXPECT_FALSE(c.say(late).granted);  // of before: it would go on with the shard
  EXPECT_FALSE(shards()[shard].active);
  c.nodes[2].up = true;
  c.run(1s);  // granted again and again, but it serves the shard no more
  EXPECT_EQ(c.life_of(2), former);
  EXPECT_TRUE(shards()[shard].active);
}

struct InternalTopics : ::testing::Test {
  cluster c{{.self = node_id{1}, .internal_topics = {{"__actors.user", 2}}}};
  void SetUp() override {
    c.join_all(3);
    for (int i = 0; i < 2; ++i) c.set_isr("__actors.user", {1, 2, 3}, i);
    c.run(1s);
  }
  const partition_state& shard() const { return c.partition("__actors.user", 0); }
};

TEST_F(InternalTopics, ComeByThemselvesAndGrowWithTheCluster) {
  const auto t = c.image->find("__actors.user");
  ASSERT_TRUE(t);
  EXPECT_TRUE(t->internal);
  EXPECT_EQ(t->partitions.size(), 2u);
  EXPECT_EQ(t->settings.min_insync_replicas, 2);
  for (const auto& p : t->partitions) {
    EXPECT_EQ(p.replicas.size(), 3u);
    EXPECT_EQ(p.isr.size(), 3u);
    EXPECT_EQ(p.former, life{});
  }
  EXPECT_EQ(c.broken, "");
}

TEST_F(InternalTopics, ANewLeaderWaitsForTheLeaseOfTheFormerOne) {
  const auto former = shard().leader.value();
  const auto epoch = shard().epoch;
  c.kill(former);
  EXPECT_EQ(shard().epoch.value(), epoch.value() + 1);
  EXPECT_EQ(shard().former, c.life_of(former));
  // It was granted half a second before it fell silent at the earliest, and two seconds have passed since.
  c.run(1200ms);
  EXPECT_EQ(shard().former, c.life_of(former));
  c.run(1s);
  EXPECT_EQ(shard().former, life{});
  EXPECT_EQ(shard().epoch.value(), epoch.value() + 1);  // the same leader, who now may act
  EXPECT_EQ(c.broken, "");
}

TEST_F(InternalTopics, ALeaderThatGaveItsPlaceAwayIsWaitedForUntilItKnows) {
  const auto former = shard().leader.value();
  const auto other = former == 1 ? 2 : 1;
  const auto third = 6 - former - other;
  const auto before = c.now;
  ASSERT_TRUE(c.reassign("__actors.user", {{other, former, third}}));
  c.ask(cluster_controller::elect_preferred{{c.where("__actors.user")}});
  ASSERT_EQ(shard().leader, node_id{other});
  EXPECT_EQ(shard().former, c.life_of(former));
  c.beat(former);
  EXPECT_EQ(shard().former, life{});
  EXPECT_EQ(c.now, before);
}

TEST_F(InternalTopics, NobodyWaitsForALifeThatIsOver) {
  const auto former = shard().leader.value();
  c.nodes[former].up = false;
  c.start(former);  // its disk's lock was free
  EXPECT_NE(shard().leader, node_id{former});
  EXPECT_EQ(shard().former, life{});
}

TEST_F(InternalTopics, WhoLedWithoutActingIsNobodyToWaitFor) {
  const auto first = shard().leader.value();
  const auto former = c.life_of(first);
  c.kill(first);
  const auto second = shard().leader.value();
  c.kill(second);
  EXPECT_EQ(shard().former, former.node == shard().former.node ? former : life{});
}

}  // namespace
}  // namespace troupe
