#include "apps/gateways/rest/cluster_json.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "apps/gateways/rest/operations.hpp"

namespace troupe::rest {
namespace {

using json = nlohmann::json;

/// Nodes 1 to 3, of which 3 is leaving; `orders` with three partitions.
metadata_image three_nodes() {
  metadata_image image;
  image.cluster_id = "abc";
  for (const int n : {1, 2, 3}) {
    node_info node;
    node.id = node_id{n};
    node.node_epoch = n;
    node.kafka = {"10.0.0.1", static_cast<std::uint16_t>(9090 + n)};
    node.peer = {"::1", static_cast<std::uint16_t>(7400 + n)};
    image.nodes[node.id] = node;
  }
  image.nodes[node_id{2}].rack = "west";
  image.nodes[node_id{3}].leaving = true;
  image.nodes[node_id{3}].state = node_state::draining;
  auto orders = std::make_shared<topic>();
  orders->id.bytes[0] = 1;
  orders->name = "orders";
  orders->partitions.resize(3);
  auto &whole = orders->partitions[0], &moving = orders->partitions[1], &dead = orders->partitions[2];
  whole.replicas = {{node_id{1}}, {node_id{2}}};
  whole.isr = {node_id{1}, node_id{2}};
  whole.leader = node_id{1};
  moving.replicas = {{node_id{2}}, {node_id{1}}, {node_id{3}}};
  moving.isr = {node_id{3}};
  moving.adding = {node_id{2}, node_id{1}};
  moving.removing = {node_id{3}};
  moving.leader = node_id{3};
  moving.epoch = leader_epoch{4};
  dead.replicas = {{node_id{1}}, {node_id{2}}};
  dead.elr = {node_id{2}};
  image.partition_count = 3;
  image.names[orders->id] = orders->name;
  image.topics[orders->name] = orders;
  return image;
}

node_description at_node_two() {
  node_description self;
  self.self = {node_id{2}, 2};
  self.term = 9;
  self.controller = node_id{1};
  self.voters = {node_id{1}, node_id{3}};
  self.learners = {node_id{2}};
  self.leased = true;
  return self;
}

TEST(ClusterJson, ShowsNodesQuorumAndPartitionsInTrouble) {
  const auto got = json::parse(cluster_json(three_nodes(), at_node_two()));
  EXPECT_EQ(got["cluster"], "abc");
  EXPECT_EQ(got["node"], (json{{"id", 2}, {"epoch", 2}, {"lease", true}}));
  EXPECT_EQ(got["controller"], 1);
  EXPECT_EQ(got["quorum"], (json{{"term", 9}, {"voters", {1, 3}}, {"learners", {2}}, {"voters_wanted", 3}}));
  ASSERT_EQ(got["nodes"].size(), 3u);
  EXPECT_EQ(got["nodes"][1], (json{{"id", 2},
                                   {"state", "active"},
                                   {"leaving", false},
                                   {"disk_full", false},
                                   {"drain", "none"},
                                   {"epoch", 2},
                                   {"rack", "west"},
                                   {"kafka", "10.0.0.1:9092"},
                                   {"cluster", "[::1]:7402"},
                                   {"quorum", "learner"},
                                   {"votes", "automatic"},
                                   {"leaderships", 0},
                                   {"replicas", 3},
                                   {"shards", 0}}));
  EXPECT_EQ(got["nodes"][2]["state"], "draining");
  EXPECT_EQ(got["topics"], 1);
  EXPECT_EQ(got["partitions"]["count"], 3);
  // Replicas that are being added are not missed.
  EXPECT_EQ(got["partitions"]["under_replicated_names"], json({"orders/2"}));
  EXPECT_EQ(got["partitions"]["leaderless_names"], json({"orders/2"}));
}

TEST(ClusterJson, ANodeThatWaitsForItsClusterKnowsLittle) {
  node_description self;
  self.self.node = node_id{7};
  const auto got = json::parse(cluster_json({}, self));
  EXPECT_TRUE(got["cluster"].is_null());
  EXPECT_TRUE(got["controller"].is_null());
  EXPECT_EQ(got["node"]["epoch"], -1);
  EXPECT_TRUE(got["nodes"].empty());
}

TEST(ClusterJson, NamesOfPartitionsAreBoundedTheirCountIsNot) {
  auto image = three_nodes();
  auto many = std::make_shared<topic>(*image.topics.at("orders"));
  many->partitions.assign(names_max + 5, many->partitions[2]);
  image.topics["orders"] = many;
  const auto got = json::parse(cluster_json(image, at_node_two()))["partitions"];
  EXPECT_EQ(got["leaderless"], names_max + 5);
  EXPECT_EQ(got["leaderless_names"].size(), names_max);
}

TEST(ClusterJson, ALeavingNodeShowsWhatItStillHas) {
  const auto image = three_nodes();
  const auto got = json::parse(node_json(image, at_node_two(), node_id{3}).value());
  EXPECT_EQ(got["leaving"], true);
  EXPECT_EQ(
      got["left_to_do"],
      (json{{"leads", {"orders/1"}}, {"holds", {"orders/1"}}, {"shards", 0}, {"controls", false}, {"votes", true}}));
  EXPECT_FALSE(json::parse(node_json(image, at_node_two(), node_id{1}).value()).contains("left_to_do"));
  EXPECT_FALSE(node_json(image, at_node_two(), node_id{4}));
}

TEST(ClusterJson, ADrainedNodeShowsWhatItStillLeadsAndWhenThatIsDone) {
  auto image = three_nodes();
  image.nodes[node_id{1}].orders = {true, voting::always};
  auto self = at_node_two();
  auto got = json::parse(node_json(image, self, node_id{1}).value());
  EXPECT_EQ(got["drain"], "under way");
  EXPECT_EQ(got["votes"], "always");
  EXPECT_EQ(got["left_to_do"], (json{{"leads", {"orders/0"}}, {"shards", 0}, {"controls", true}}));

  auto moved = std::make_shared<topic>(*image.topics.at("orders"));
  moved->partitions[0].leader = node_id{2};
  image.topics["orders"] = moved;
  got = json::parse(node_json(image, self, node_id{1}).value());
  EXPECT_EQ(got["drain"], "under way");  // it still leads the quorum
  self.controller = node_id{2};
  got = json::parse(node_json(image, self, node_id{1}).value());
  EXPECT_EQ(got["drain"], "done");
  EXPECT_EQ(got["replicas"], 3);  // they stay
}

TEST(ClusterJson, ATopicShowsEachPartition) {
  const auto got = json::parse(topic_json(three_nodes(), "orders").value());
  EXPECT_EQ(got["under_replicated"], 1);
  EXPECT_EQ(got["partitions"][1], (json{{"partition", 1},
                                        {"leader", 3},
                                        {"epoch", 4},
                                        {"replicas", {2, 1, 3}},
                                        {"isr", {3}},
                                        {"elr", json::array()},
                                        {"adding", {2, 1}},
                                        {"removing", {3}}}));
  EXPECT_TRUE(got["partitions"][2]["leader"].is_null());
  EXPECT_FALSE(topic_json(three_nodes(), "others"));
}

TEST(ClusterJson, BodiesBecomeRequests) {
  const partition_ref where{{}, partition_index{2}};
  EXPECT_EQ(std::get<cluster_controller::want_voter_count>(*cluster_request(R"({"voters":5})")).count, 5);
  const auto remove = std::get<cluster_controller::remove_node>(*node_request(node_id{3}, R"({"action":"remove"})"));
  EXPECT_EQ(remove.node, node_id{3});
  EXPECT_FALSE(remove.undo);
  EXPECT_TRUE(std::get<cluster_controller::remove_node>(*node_request(node_id{3}, R"({"action":"undo"})")).undo);
  const auto move = std::get<cluster_controller::reassign>(*partition_request(where, R"({"replicas":[3,1]})"));
  EXPECT_EQ(move.items.at(0).where, where);
  EXPECT_EQ(move.items.at(0).target, (std::vector{node_id{3}, node_id{1}}));
  EXPECT_FALSE(std::get<cluster_controller::reassign>(*partition_request(where, R"({"cancel":true})"))
                   .items.at(0)
                   .target.has_value());
  EXPECT_EQ(
      std::get<cluster_controller::elect_preferred>(*partition_request(where, R"({"elect":"preferred"})")).items.at(0),
      where);
  EXPECT_EQ(
      std::get<cluster_controller::elect_uncleanly>(*partition_request(where, R"({"elect":"unclean"})")).items.at(0),
      where);
}

TEST(ClusterJson, OtherBodiesAreRefusedWithWhatTheyHaveToBe) {
  for (const auto* body :
       {"", "nonsense", "[]", "{}", "3", R"({"voters":2})", R"({"voters":"3"})", R"({"voters":-1})",
        R"({"voters":3.0})", R"({"voters":4294967299})", R"({"voters":3,"more":1})", R"({"votes":3})"}) {
    const auto got = cluster_request(body);
    ASSERT_FALSE(got) << body;
    EXPECT_EQ(got.error().text, R"(the body has to be {"voters": 1, 3 or 5})");
  }
  for (const auto* body : {R"({"replicas":[]})", R"({"replicas":[1,"2"]})", R"({"replicas":[-1]})", R"({"replicas":1})",
                           R"({"cancel":false})", R"({"elect":"any"})", R"({"elect":true})"})
    EXPECT_FALSE(partition_request({}, body)) << body;
  EXPECT_FALSE(partition_request({}, std::string(60'000, '[')));
}

TEST(ClusterJson, ActionsOnANodeBecomeRequests) {
  using controls = cluster_controller;
  const auto asked = [](const char* action) {
    return *node_request(node_id{3}, std::string{R"({"action":")"} + action + "\"}");
  };
  EXPECT_EQ(std::get<controls::drain_node>(asked("drain")).node, node_id{3});
  for (const auto& [action, how] :
       {std::pair{"add_voter", voting::always}, {"remove_voter", voting::never}, {"auto_voter", voting::automatic}}) {
    const auto request = std::get<controls::set_voting>(asked(action));
    EXPECT_EQ(request.node, node_id{3});
    EXPECT_EQ(request.how, how);
  }
}

TEST(ClusterJson, ActionsThatDoNotExistSayWhichDo) {
  for (const auto* body : {R"({"action":"stop"})", R"({"action":7})", R"({"action":"drain","now":true})", "drain"})
    EXPECT_NE(node_request(node_id{1}, body).error().text.find("\"remove_voter\""), std::string::npos);
}

TEST(Operations, RefusalsSayWhetherToTryAgain) {
  EXPECT_EQ(refusal({errc::not_enough_replicas, "x"}).status, 409u);
  EXPECT_EQ(refusal({errc::invalid_assignment, "x"}).status, 409u);
  EXPECT_EQ(refusal({errc::unknown_topic, "x"}).status, 404u);
  for (const auto code : {errc::not_leader, errc::busy, errc::closed}) {
    const auto got = refusal({code, "x"});
    EXPECT_EQ(got.status, 503u);
    EXPECT_EQ(got.headers.at(0).first, "Retry-After");
  }
  EXPECT_EQ(refusal({errc::internal, "x"}).status, 500u);
}

}  // namespace
}  // namespace troupe::rest
