#include "actors/controller/replica_plan.hpp"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/controller/cluster_fixture.hpp"

namespace troupe {
namespace {

using test::ids;

metadata_image with_nodes(const std::vector<std::pair<std::string, int>>& racks_and_weights) {
  metadata_image image;
  int id = 0;
  for (const auto& [rack, weight] : racks_and_weights) {
    node_info node{node_id{++id}, id, {}, rack};
    node.weight = static_cast<std::uint16_t>(weight);
    image.nodes[node.id] = node;
  }
  return image;
}

TEST(ReplicaPlan, SpreadsOverRacksAndNeverUsesANodeTwice) {
  const auto image = with_nodes({{"a", 1}, {"a", 1}, {"a", 1}, {"b", 1}, {"c", 1}, {"c", 1}});
  for (const auto& nodes : replica_plan{image}.fresh(60, 3)) {
    std::set<std::string> racks;
    for (auto n : nodes) racks.insert(image.node(n)->rack);
    EXPECT_EQ(racks.size(), 3u);
  }
  for (const auto& nodes : replica_plan{image}.fresh(60, 5))
    EXPECT_EQ((std::set<node_id>{nodes.begin(), nodes.end()}).size(), 5u);
}

TEST(ReplicaPlan, LoadsLeadersAndReplicasEvenlyByWeight) {
  const auto image = with_nodes({{"", 1}, {"", 1}, {"", 2}});
  std::map<node_id, int> firsts;
  for (const auto& nodes : replica_plan{image}.fresh(40, 1)) ++firsts[nodes[0]];
  EXPECT_EQ(firsts, (std::map<node_id, int>{{node_id{1}, 10}, {node_id{2}, 10}, {node_id{3}, 20}}));

  const auto even = with_nodes({{"", 1}, {"", 1}, {"", 1}, {"", 1}, {"", 1}});
  std::map<node_id, int> leads, holds;
  for (const auto& nodes : replica_plan{even}.fresh(50, 3)) {
    ++leads[nodes[0]];
    for (auto n : nodes) ++holds[n];
  }
  for (int id = 1; id <= 5; ++id) {
    EXPECT_EQ(leads[node_id{id}], 10);
    EXPECT_NEAR(holds[node_id{id}], 30, 1);
  }
}

TEST(ReplicaPlan, TheSameImageGivesTheSamePlanAndCountsWhatIsThere) {
  auto image = with_nodes({{"", 1}, {"", 1}});
  EXPECT_EQ(replica_plan{image}.fresh(7, 2), replica_plan{image}.fresh(7, 2));
  auto t = std::make_shared<topic>();
  t->partitions.resize(3);
  for (auto& p : t->partitions) p.replicas = {{node_id{1}, 0}};
  image.topics["t"] = t;
  replica_plan plan{image};
  EXPECT_EQ(plan.fresh(3, 1), (std::vector<std::vector<node_id>>(3, ids({2}))));
}

TEST(ReplicaPlan, UsesOnlyNodesThatServeAndStay) {
  auto image = with_nodes({{"", 1}, {"", 1}, {"", 1}, {"", 0}, {"", 1}});
  image.nodes[node_id{1}].state = node_state::fenced;
  image.nodes[node_id{2}].leaving = true;
  replica_plan plan{image};
  EXPECT_EQ(plan.nodes(), 2u);
  EXPECT_EQ(plan.usual_replication(), 2);
  for (const auto& nodes : plan.fresh(4, 2))
    for (auto n : nodes) EXPECT_TRUE(n == node_id{3} || n == node_id{5});
}

TEST(ReplicaPlan, AFullDiskGetsReplicasOnlyWhenThereIsNoOther) {
  auto image = with_nodes({{"a", 1}, {"b", 1}, {"b", 1}});
  image.nodes[node_id{1}].disk_full = true;
  replica_plan plan{image};
  for (const auto& nodes : plan.fresh(4, 2)) EXPECT_EQ(std::ranges::count(nodes, node_id{1}), 0);
  for (const auto& nodes : plan.fresh(4, 3)) EXPECT_EQ(nodes.back(), node_id{1});
}

TEST(ReplicaPlan, WhoStaysKeepsItsPlaceWhenAnotherGoes) {
  const auto image = with_nodes({{"a", 1}, {"b", 1}, {"c", 1}, {"a", 1}, {"b", 1}});
  partition_state p;
  for (int id : {3, 2, 1}) p.replicas.push_back({node_id{id}, 0});
  replica_plan plan{image};
  EXPECT_EQ(plan.again(p, node_id{2}, 3), ids({3, 1, 5}));  // the other one in rack b
  EXPECT_EQ(plan.again(p, node_id{-1}, 3), ids({3, 2, 1}));
  EXPECT_EQ(plan.again(p, node_id{3}, 9).size(), 4u);  // as many as there are
}

}  // namespace
}  // namespace troupe
