#include "runtime/transport/introduction.hpp"

#include <gtest/gtest.h>

namespace troupe {
namespace {

using transport_wire::batch_kind;

introduction node(std::int32_t id, std::string cluster, std::int32_t expected = -1) {
  return {.cluster_id = std::move(cluster),
          .node = node_id{id},
          .expected = node_id{expected},
          .incarnation = 1000u + static_cast<unsigned>(id),
          .reach = {"10.0.0.1", 9300},
          .granted = {1, 2},
          .frame_bytes_max = 3};
}

TEST(Introduction, ComesBackAsItWas) {
  const auto said = node(3, "abc", 4);
  const auto parsed = transport_wire::parse_batch(write_introduction(batch_kind::hello, said));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->kind, batch_kind::hello);
  EXPECT_EQ(*parse_introduction(parsed->body), said);
  for (std::size_t cut = 0; cut < parsed->body.size(); ++cut)
    EXPECT_FALSE(parse_introduction(parsed->body.view().first(cut)));

  const link_farewell bye{link_farewell::why::cluster, node_id{7}, "another one"};
  EXPECT_EQ(*parse_farewell(transport_wire::parse_batch(write_farewell(bye))->body), bye);
}

TEST(Introduction, NodesOfOneClusterOrOfNoneYetSuitEachOther) {
  EXPECT_FALSE(judge(node(1, "a"), node(2, "a")));
  EXPECT_FALSE(judge(node(1, ""), node(2, "a")));
  EXPECT_FALSE(judge(node(1, "a"), node(2, "")));
  EXPECT_FALSE(judge(node(1, "a"), node(2, "a", 1)));
  EXPECT_FALSE(judge(node(1, "a", 2), node(2, "a")));
}

TEST(Introduction, EverythingElseIsRefusedInWords) {
  const auto other_cluster = judge(node(1, "mine"), node(2, "yours"));
  ASSERT_TRUE(other_cluster);
  EXPECT_EQ(other_cluster->reason, link_farewell::why::cluster);
  EXPECT_EQ(other_cluster->text, "node 2 belongs to cluster yours, node 1 to cluster mine");
  EXPECT_FALSE(other_cluster->passes());

  EXPECT_EQ(judge(node(1, "a"), node(2, "a", 3))->reason, link_farewell::why::wrong_node);
  EXPECT_EQ(judge(node(1, "a", 3), node(2, "a"))->reason, link_farewell::why::wrong_node);
  EXPECT_EQ(judge(node(1, "a"), node(1, "a"))->reason, link_farewell::why::self);
  auto twin = node(1, "a");
  twin.incarnation = 5;
  EXPECT_EQ(judge(node(1, "a"), twin)->reason, link_farewell::why::same_id);
  auto later = node(2, "a");
  later.protocol = 2;
  EXPECT_EQ(judge(node(1, "a"), later)->reason, link_farewell::why::protocol);
}

}  // namespace
}  // namespace troupe
