#include <gtest/gtest.h>

#include "tests/unit/controller/cluster_history.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using test::cluster;
using test::history;

TEST(ClusterHistory, ImagesStayInOrderAndElectionsLoseNothing) {
  std::size_t batches = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    history h{seed};
    for (int step = 0; step < 120; ++step) {
      h.step();
      ASSERT_EQ(h.c.broken, "") << "seed " << seed << ", step " << step;
      ASSERT_EQ(h.model.wrong, "") << "seed " << seed << ", step " << step;
    }
    h.heal();
    ASSERT_EQ(h.c.broken + h.model.wrong, "") << "seed " << seed << ", healing";
    for (const auto& [name, t] : h.c.image->topics)
      for (const auto& p : t->partitions) EXPECT_GE(p.leader.value(), 0) << name << ", seed " << seed;
    for (const auto& s : h.c.image->shards.at("session")) EXPECT_TRUE(s.active && h.c.image->node(s.owner)->serves());
    batches += h.c.batches;
  }
  EXPECT_GT(batches, 10'000u);
}

TEST(ClusterHistory, ASnapshotAndAReplayGiveTheSameImage) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    history h{seed}, again{seed};
    for (int step = 0; step < 60; ++step) {
      h.step();
      again.step();
      ASSERT_EQ(h.c.image->hash(), again.c.image->hash()) << "seed " << seed << ", step " << step;
      if (step % 10 != 0) continue;
      const auto snapshot = decode_all_metadata_records(encode_all(h.c.image->snapshot())).value();
      const auto restored = metadata_image::restore(h.c.image->applied, snapshot);
      test::expect_same(*h.c.image, restored);
      ASSERT_FALSE(HasFailure()) << "seed " << seed << ", step " << step;
    }
  }
}

TEST(ImageHash, TellsImagesApart) {
  cluster c{{.self = node_id{1}, .kinds = {{"session", 4}}}};
  c.join_all(3);
  c.create("t", {{1, 2, 3}});
  std::set<std::uint64_t> seen{c.image->hash()};
  const auto differs = [&](auto change) {
    auto other = *c.image;
    change(other);
    EXPECT_TRUE(seen.insert(other.hash()).second);
  };
  differs([](metadata_image& i) { i.pass(meta_offset{1000}); });
  differs([](metadata_image& i) { i.nodes[node_id{2}].state = node_state::draining; });
  differs([](metadata_image& i) { i.nodes[node_id{2}].last_taken = meta_offset{1}; });
  differs([](metadata_image& i) { i.nodes[node_id{2}].weight = 9; });
  differs([](metadata_image& i) { i.nodes[node_id{2}].orders.drained = true; });
  differs([](metadata_image& i) { i.nodes[node_id{2}].orders.votes = voting::always; });
  differs([](metadata_image& i) { i.nodes[node_id{2}].orders.votes = voting::never; });
  differs([](metadata_image& i) { i.shards["session"][1].active = false; });
  differs([](metadata_image& i) { i.voter_count = 5; });
  differs([](metadata_image& i) { i.next_producer_id = 5; });
  const auto partition = [&](auto change) {
    differs([&](metadata_image& i) {
      auto t = std::make_shared<topic>(*i.find("t"));
      change(t->partitions[0]);
      i.topics["t"] = t;
    });
  };
  partition([](partition_state& p) { p.isr.pop_back(); });
  partition([](partition_state& p) { p.elr.push_back(node_id{3}); });
  partition([](partition_state& p) { p.last_known_elr.push_back(node_id{3}); });
  partition([](partition_state& p) { p.adding.push_back(node_id{3}); });
  partition([](partition_state& p) { p.unclean_epoch = leader_epoch{0}; });
  partition([](partition_state& p) { p.replicas[1].added_at = 8; });
}

}  // namespace
}  // namespace troupe
