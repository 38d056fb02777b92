#include "runtime/ring/ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <numeric>
#include <set>

namespace troupe {
namespace {

using owner_list = std::vector<node_id>;
using replica_lists = std::vector<std::vector<node_id>>;

std::vector<ring_node> nodes_up_to(int n) {
  std::vector<ring_node> out;
  for (int i = 1; i <= n; ++i) out.push_back({node_id{i}});
  return out;
}

owner_list fresh(int shards) {
  return owner_list(static_cast<std::size_t>(shards), ring::nobody);
}

std::map<node_id, int> loads(const owner_list& owners) {
  std::map<node_id, int> out;
  for (auto o : owners) ++out[o];
  return out;
}

int moved(const owner_list& from, const owner_list& to) {
  int out = 0;
  for (std::size_t s = 0; s < from.size(); ++s) out += from[s] != to[s];
  return out;
}

int copied(const replica_lists& from, const replica_lists& to) {
  int out = 0;
  for (std::size_t s = 0; s < from.size(); ++s)
    for (auto node : to[s]) out += std::ranges::find(from[s], node) == from[s].end();
  return out;
}

void expect_even(const owner_list& owners, int nodes, const std::string& what) {
  const auto shards = static_cast<int>(owners.size());
  auto load = loads(owners);
  for (int i = 1; i <= nodes; ++i) {
    EXPECT_LE(load[node_id{i}], (shards * 115 + nodes * 100 - 1) / (nodes * 100)) << what << ", node " << i;
    EXPECT_GE(load[node_id{i}], shards * 100 / (nodes * 115)) << what << ", node " << i;
  }
}

TEST(Ring, GivesTheSameAnswerOnEveryMachine) {
  // A controller of another version, or on another kind of machine, must not move everything.
  const auto owners = ring{nodes_up_to(5)}.owners("channel", fresh(16));
  std::vector<int> ids;
  for (auto o : owners) ids.push_back(o.value());
  EXPECT_EQ(ids, (std::vector<int>{2, 1, 4, 3, 2, 5, 4, 5, 4, 3, 1, 3, 3, 4, 2, 2}));
}

TEST(Ring, TheOrderOfTheNodesDoesNotMatter) {
  auto nodes = nodes_up_to(9);
  const auto forward = ring{nodes}.owners("channel", fresh(64));
  std::reverse(nodes.begin(), nodes.end());
  EXPECT_EQ(ring{nodes}.owners("channel", fresh(64)), forward);
}

TEST(Ring, WithoutNodesEveryShardIsNobodys) {
  EXPECT_EQ((ring{{}}.owners("channel", fresh(3))), fresh(3));
  EXPECT_EQ((ring{{{node_id{1}, 0}}}.owners("channel", fresh(3))), fresh(3));
  const replica_lists none(2);
  EXPECT_EQ((ring{{}}.replicas("orders", none, 3)), none);
}

TEST(Ring, WhatIsPlacedStaysWhenNothingChanges) {
  for (int n = 1; n <= 100; ++n) {
    auto nodes = nodes_up_to(n);
    for (auto& node : nodes) node.rack = std::to_string(node.id.value() % 4);
    const ring r{nodes};
    const auto owners = r.owners("channel", fresh(64));
    EXPECT_EQ(r.owners("channel", owners), owners) << n;
    const auto lists = r.replicas("orders", replica_lists(64), 3);
    EXPECT_EQ(r.replicas("orders", lists, 3), lists) << n;
  }
}

TEST(Ring, LoadStaysWithinItsBoundsFrom2To100Nodes) {
  for (int shards : {64, 1000})
    for (int n = 2; n <= 100; ++n)
      expect_even(ring{nodes_up_to(n)}.owners("channel", fresh(shards)), n, std::to_string(n) + " nodes");
}

TEST(Ring, LoadStaysWithinItsBoundsThroughJoinsAndLeaves) {
  auto owners = ring{nodes_up_to(1)}.owners("channel", fresh(64));
  for (int n = 2; n <= 30; ++n) {
    owners = ring{nodes_up_to(n)}.owners("channel", owners);
    expect_even(owners, n, "joined: " + std::to_string(n));
  }
  for (int n = 29; n >= 1; --n) {
    owners = ring{nodes_up_to(n)}.owners("channel", owners);
    expect_even(owners, n, "left: " + std::to_string(n));
  }
}

TEST(Ring, AJoinMovesAboutOneOfNAndALeaveLittleMoreThanWhatWasThere) {
  for (int n = 2; n <= 100; ++n) {
    const ring few{nodes_up_to(n)}, more{nodes_up_to(n + 1)};
    const auto before = few.owners("channel", fresh(1000));
    const auto joined = more.owners("channel", before);
    const auto share = 1000.0 / (n + 1);
    EXPECT_LE(moved(before, joined), 1.5 * share + 15) << n;
    const auto there = loads(joined)[node_id{n + 1}];
    EXPECT_GE(moved(before, joined), there) << n;

    const auto left = few.owners("channel", joined);
    EXPECT_LE(moved(joined, left), there + 0.5 * share + 10) << n;
  }
}

TEST(Ring, WeightIsAShare) {
  std::vector<ring_node> nodes{{node_id{1}, 1}, {node_id{2}, 2}, {node_id{3}, 5}};
  auto load = loads(ring{nodes}.owners("channel", fresh(800)));
  EXPECT_LE(load[node_id{1}], 115);
  EXPECT_GE(load[node_id{1}], 86);
  EXPECT_LE(load[node_id{2}], 230);
  EXPECT_GE(load[node_id{2}], 173);
  EXPECT_LE(load[node_id{3}], 575);
  EXPECT_GE(load[node_id{3}], 434);
}

TEST(Ring, KindsAreSpreadIndependently) {
  const ring r{nodes_up_to(10)};
  const auto same = 64 - moved(r.owners("channel", fresh(64)), r.owners("user", fresh(64)));
  EXPECT_LT(same, 20);  // a tenth would be chance
}

TEST(Ring, OnlyOwnersOutOfTheRingLoseAllTheirShards) {
  const auto nodes = nodes_up_to(4);
  const auto before = ring{nodes}.owners("channel", fresh(64));
  const ring without_two{{nodes[0], nodes[2], nodes[3]}};
  const auto after = without_two.owners("channel", before);
  for (std::size_t s = 0; s < 64; ++s) {
    EXPECT_NE(after[s], node_id{2});
    EXPECT_TRUE(before[s] == node_id{2} || after[s] == before[s]) << s;
  }
}

TEST(RingReplicas, AreDistinctNodesAndTheOwnersAreThoseOfOwners) {
  const ring r{nodes_up_to(5)};
  const auto lists = r.replicas("orders", replica_lists(40), 3);
  const auto owners = r.owners("orders", fresh(40));
  for (std::size_t s = 0; s < lists.size(); ++s) {
    EXPECT_EQ((std::set<node_id>{lists[s].begin(), lists[s].end()}.size()), 3u);
    EXPECT_EQ(lists[s].front(), owners[s]);
  }
}

TEST(RingReplicas, EachPlaceIsSpreadWithinTheBounds) {
  for (int n : {3, 5, 12, 50}) {
    const auto lists = ring{nodes_up_to(n)}.replicas("orders", replica_lists(240), 3);
    for (std::size_t k = 0; k < 3; ++k) {
      owner_list place;
      for (const auto& list : lists) place.push_back(list[k]);
      auto load = loads(place);
      for (int i = 1; i <= n; ++i) {
        const auto most = (240 * 115 + n * 100 - 1) / (n * 100);
        // The last places have few nodes to choose from.
        EXPECT_LE(load[node_id{i}], most + (k == 0 ? 0 : most / 4)) << n << " nodes, place " << k;
      }
    }
  }
}

TEST(RingReplicas, FewerNodesThanCopiesGiveWhatThereIs) {
  for (const auto& list : ring{nodes_up_to(2)}.replicas("orders", replica_lists(8), 3)) EXPECT_EQ(list.size(), 2u);
}

TEST(RingReplicas, NoRackHasTwoCopiesWhileAnotherHasNone) {
  std::vector<ring_node> nodes;
  for (int i = 0; i < 7; ++i) nodes.push_back({node_id{i + 1}, 1, i == 0 ? "a" : i < 3 ? "b" : "c"});
  const auto lists = ring{nodes}.replicas("orders", replica_lists(60), 3);
  for (const auto& list : lists) {
    std::set<std::string> racks;
    for (auto node : list) racks.insert(nodes[static_cast<std::size_t>(node.value() - 1)].rack);
    EXPECT_EQ(racks.size(), 3u);
  }
  // A fourth copy has to share a rack, a fifth too, and none of the two is a's: it has one node only.
  for (const auto& list : ring{nodes}.replicas("orders", replica_lists(60), 5)) {
    std::map<std::string, int> racks;
    for (auto node : list) ++racks[nodes[static_cast<std::size_t>(node.value() - 1)].rack];
    EXPECT_EQ(racks["a"], 1);
    EXPECT_EQ(racks["b"], 2);
    EXPECT_EQ(racks["c"], 2);
  }
}

TEST(RingReplicas, AJoinCopiesAboutOneOfNAndALeaveOnlyWhatWasThere) {
  for (int n : {4, 6, 10, 30}) {
    const ring few{nodes_up_to(n)}, more{nodes_up_to(n + 1)};
    const auto before = few.replicas("orders", replica_lists(300), 3);
    const auto joined = more.replicas("orders", before, 3);
    const auto share = 900.0 / (n + 1);
    EXPECT_LE(copied(before, joined), 2 * share) << n;
    EXPECT_GE(copied(before, joined), share / 1.5) << n;
    EXPECT_LE(copied(joined, few.replicas("orders", joined, 3)), 2 * share) << n;
  }
}

TEST(RingReplicas, AShardKeepsTheDataItHasWhenItsOwnerLeaves) {
  const auto nodes = nodes_up_to(6);
  const auto before = ring{nodes}.replicas("orders", replica_lists(60), 3);
  const auto after = ring{{nodes.begin() + 1, nodes.end()}}.replicas("orders", before, 3);
  for (std::size_t s = 0; s < before.size(); ++s) {
    int kept = 0;
    for (auto node : after[s]) kept += std::ranges::find(before[s], node) != before[s].end();
    EXPECT_GE(kept, 2) << s;
  }
}

/// The table of runtime/ring/README.md.
TEST(Ring, PrintsItsFigures) {
  std::printf("%6s %6s | %5s %5s %5s | %8s %8s | %8s %8s\n", "shards", "nodes", "min", "mean", "max", "join", "share",
              "leave", "owned");
  for (int shards : {64, 1000})
    for (int n : {2, 3, 5, 10, 20, 50, 100}) {
      const ring few{nodes_up_to(n)}, more{nodes_up_to(n + 1)};
      const auto owners = few.owners("channel", fresh(shards));
      auto load = loads(owners);
      int least = shards, most = 0;
      for (int i = 1; i <= n; ++i) {
        least = std::min(least, load[node_id{i}]);
        most = std::max(most, load[node_id{i}]);
      }
      const auto joined = more.owners("channel", owners);
      const auto left = few.owners("channel", joined);
      std::printf("%6d %6d | %5d %5.1f %5d | %8d %8.1f | %8d %8d\n", shards, n, least, 1.0 * shards / n, most,
                  moved(owners, joined), 1.0 * shards / (n + 1), moved(joined, left), loads(joined)[node_id{n + 1}]);
    }
}

}  // namespace
}  // namespace troupe
