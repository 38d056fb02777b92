#include "actors/controller/controller.hpp"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/controller/fixtures.hpp"

namespace troupe {
namespace {

class Controller : public ::testing::Test {
protected:
  metadata_image image = test::cluster_of(3);
  controller core{{.partitions = 2, .replication = 1, .partitions_max = 100}, test::counted_ids()};

  void create(const std::string& name, std::int32_t partitions = 1, setting_map overrides = {}) {
    auto plan =
        core.create_topics(image, {{.name = name, .partitions = partitions, .overrides = std::move(overrides)}}, false);
    ASSERT_FALSE(plan.decisions[0].refused) << plan.decisions[0].refused->text;
    test::apply_all(image, plan.records);
  }
  /// The code with which one new topic is refused.
  std::optional<errc> refusal(const new_topic& t) {
    auto plan = core.create_topics(image, {t}, false);
    EXPECT_EQ(plan.decisions.size(), 1u);
    const auto& refused = plan.decisions[0].refused;
    if (!refused) return std::nullopt;
    EXPECT_TRUE(plan.records.empty());
    EXPECT_FALSE(refused->text.empty());
    return refused->code;
  }
  std::optional<errc> refusal(const std::string& name, setting_change change) {
    auto plan = core.alter_configs(image, {{name, {std::move(change)}}}, false);
    if (!plan.decisions[0].refused) {
      test::apply_all(image, plan.records);
      return std::nullopt;
    }
    return plan.decisions[0].refused->code;
  }
};

using op = setting_change::operation;

// -- names ------------------------------------------------------------------------------------------------

TEST(TopicName, HasOnlySafeCharactersAndABoundedLength) {
  for (const auto* good : {"a", "A.b_c-9", "...", "__consumer_offsets"})
    EXPECT_TRUE(check_topic_name(good).ok()) << good;
  EXPECT_TRUE(check_topic_name(std::string(249, 'x')).ok());
  for (const auto* bad : {"", ".", "..", "a b", "a/b", "ä", "a\n", "a,b"}) {
    auto checked = check_topic_name(bad);
    ASSERT_FALSE(checked.ok()) << bad;
    EXPECT_EQ(checked.code(), errc::invalid_topic);
  }
  EXPECT_FALSE(check_topic_name(std::string(250, 'x')).ok());
  EXPECT_FALSE(check_topic_name(std::string_view{"a\0b", 3}).ok());
}

// -- create -----------------------------------------------------------------------------------------------

TEST_F(Controller, CountsOfMinusOneAreTheNodesDefaults) {
  create("orders", -1);
  EXPECT_EQ(image.find("orders")->partitions.size(), 2u);
  EXPECT_EQ(image.find("orders")->partitions[0].replicas.size(), 1u);
}

TEST_F(Controller, SpreadsLeadersInTurnAndNeverPutsTwoReplicasOnANode) {
  auto plan = core.create_topics(
      image, {{.name = "a", .partitions = 4, .replication = 3}, {.name = "b", .partitions = 5, .replication = 2}},
      false);
  test::apply_all(image, plan.records);
  std::map<node_id, int> leaders;
  for (const auto* name : {"a", "b"})
    for (const auto& p : image.find(name)->partitions) {
      ++leaders[p.leader];
      std::set<node_id> nodes;
      for (const auto& r : p.replicas) nodes.insert(r.node);
      EXPECT_EQ(nodes.size(), p.replicas.size());
      EXPECT_EQ(p.leader, p.replicas.front().node);
      EXPECT_EQ(p.isr.size(), p.replicas.size());
    }
  EXPECT_EQ(leaders, (std::map<node_id, int>{{node_id{1}, 3}, {node_id{2}, 3}, {node_id{3}, 3}}));
}

TEST_F(Controller, RefusesWhatCannotBeCreated) {
  create("taken");
  create("a.b");
  EXPECT_EQ(refusal({.name = "taken"}), errc::topic_exists);
  EXPECT_EQ(refusal({.name = "no good"}), errc::invalid_topic);
  EXPECT_EQ(refusal({.name = "a_b"}), errc::invalid_topic);
  EXPECT_EQ(refusal({.name = "x", .partitions = 0}), errc::invalid_partitions);
  EXPECT_EQ(refusal({.name = "x", .partitions = -2}), errc::invalid_partitions);
  EXPECT_EQ(refusal({.name = "x", .partitions = 2'147'483'647}), errc::invalid_partitions);
  EXPECT_EQ(refusal({.name = "x", .replication = 0}), errc::invalid_replication);
  EXPECT_EQ(refusal({.name = "x", .replication = 4}), errc::invalid_replication);
  EXPECT_EQ(refusal({.name = "x", .overrides = {{"retention.ms", "x"}}}), errc::invalid_config);
  EXPECT_EQ(refusal({.name = "x", .overrides = {{"what", "1"}}}), errc::invalid_config);
  EXPECT_EQ(refusal({.name = "x"}), std::nullopt);
}

TEST_F(Controller, TheBoundOnPartitionsCountsAllTopicsAlsoThoseOfTheSameRequest) {
  create("a", 60);
  EXPECT_EQ(refusal({.name = "x", .partitions = 41}), errc::invalid_partitions);
  EXPECT_EQ(refusal({.name = "x", .partitions = 40}), std::nullopt);
  auto plan = core.create_topics(image, {{.name = "b", .partitions = 30}, {.name = "c", .partitions = 30}}, false);
  EXPECT_FALSE(plan.decisions[0].refused);
  EXPECT_EQ(plan.decisions[1].refused->code, errc::invalid_partitions);
  test::apply_all(image, core.delete_topics(image, {{"a", {}}}).records);
  EXPECT_EQ(refusal({.name = "x", .partitions = 100}), std::nullopt);
}

TEST_F(Controller, TakesAssignmentsOrCountsButNotBoth) {
  const node_id n1{1}, n2{2}, n3{3}, nobody{9};
  EXPECT_EQ(refusal({.name = "x", .partitions = 1, .assignments = {{n1}}}), errc::invalid_request);
  EXPECT_EQ(refusal({.name = "x", .replication = 1, .assignments = {{n1}}}), errc::invalid_request);
  EXPECT_EQ(refusal({.name = "x", .assignments = {{n1}, {}}}), errc::invalid_assignment);
  EXPECT_EQ(refusal({.name = "x", .assignments = {{}}}), errc::invalid_assignment);
  EXPECT_EQ(refusal({.name = "x", .assignments = {{n1, n2}, {n1}}}), errc::invalid_assignment);
  EXPECT_EQ(refusal({.name = "x", .assignments = {{n1, n1}}}), errc::invalid_assignment);
  EXPECT_EQ(refusal({.name = "x", .assignments = {{nobody}}}), errc::invalid_assignment);
  auto plan = core.create_topics(image, {{.name = "x", .assignments = {{n3, n1}, {n2, n3}}}}, false);
  test::apply_all(image, plan.records);
  EXPECT_EQ(image.find("x")->partitions[0].leader, n3);
  EXPECT_EQ(image.find("x")->partitions[1].replicas, (std::vector<replica>{{n2, 0}, {n3, 0}}));
}

TEST_F(Controller, ANameTwiceInARequestIsRefusedBothTimesAndTheRestGoesOn) {
  auto plan = core.create_topics(image, {{.name = "a"}, {.name = "b"}, {.name = "a"}}, false);
  EXPECT_EQ(plan.decisions[0].refused->code, errc::invalid_request);
  EXPECT_FALSE(plan.decisions[1].refused);
  EXPECT_EQ(plan.decisions[2].refused->code, errc::invalid_request);
  EXPECT_EQ(plan.records.size(), 1u);
}

TEST_F(Controller, NamesOfOneRequestMayNotCollideEither) {
  auto plan = core.create_topics(image, {{.name = "a.b"}, {.name = "a_b"}}, false);
  EXPECT_FALSE(plan.decisions[0].refused);
  EXPECT_EQ(plan.decisions[1].refused->code, errc::invalid_topic);
}

TEST_F(Controller, ValidatingTellsWhatWouldBeAndWritesNothing) {
  auto plan = core.create_topics(image, {{.name = "a", .partitions = 3, .overrides = {{"retention.ms", "5"}}}}, true);
  EXPECT_TRUE(plan.records.empty());
  ASSERT_NE(plan.decisions[0].now, nullptr);
  EXPECT_EQ(plan.decisions[0].now->partitions.size(), 3u);
  EXPECT_EQ(plan.decisions[0].now->overrides, (setting_map{{"retention.ms", "5"}}));
  EXPECT_EQ(core.create_topics(image, {{.name = "a", .partitions = 0}}, true).decisions[0].refused->code,
            errc::invalid_partitions);
}

TEST(ControllerDefaults, WhatIsFixedAtCreationIsPinnedFromTheNodesDefaults) {
  auto image = test::cluster_of(1);
  controller core{{.topic_overrides = {{"durability", "interval"}, {"retention.ms", "5"}}}, test::counted_ids()};
  test::apply_all(
      image,
      core.create_topics(image, {{.name = "a"}, {.name = "b", .overrides = {{"durability", "group"}}}}, false).records);
  EXPECT_EQ(image.find("a")->overrides, (setting_map{{"durability", "interval"}}));
  EXPECT_EQ(image.find("a")->settings.durability, topic_settings::flush::interval);
  EXPECT_EQ(image.find("b")->settings.durability, topic_settings::flush::group);
}

// -- delete -----------------------------------------------------------------------------------------------

TEST_F(Controller, DeletesByNameOrById) {
  create("a");
  create("b");
  const auto id = image.find("b")->id;
  auto plan = core.delete_topics(image, {{"a", {}}, {"", id}});
  EXPECT_FALSE(plan.decisions[0].refused);
  EXPECT_FALSE(plan.decisions[1].refused);
  EXPECT_EQ(plan.decisions[1].name, "b");
  test::apply_all(image, plan.records);
  EXPECT_TRUE(image.topics.empty());
  EXPECT_EQ(image.partition_count, 0u);
}

TEST_F(Controller, RefusesToDeleteWhatIsNotThereOrNotClear) {
  create("a");
  const auto id = image.find("a")->id;
  const auto code = [&](std::vector<controller::doomed> items) {
    auto plan = core.delete_topics(image, items);
    return plan.decisions.back().refused.value_or(error{}).code;
  };
  EXPECT_EQ(code({{"x", {}}}), errc::unknown_topic);
  EXPECT_EQ(code({{"", test::id_of(77)}}), errc::unknown_topic_id);
  EXPECT_EQ(code({{"", {}}}), errc::invalid_request);
  EXPECT_EQ(code({{"a", id}}), errc::invalid_request);
  EXPECT_EQ(code({{"a", {}}, {"", id}}), errc::invalid_request);
  test::apply_all(
      image,
      {topic_created{test::id_of(50), "__inner", true, {{{{node_id{1}, 0}}, {node_id{1}}, node_id{1}, {}, 0}}, {}}});
  EXPECT_EQ(code({{"__inner", {}}}), errc::invalid_topic);
}

// -- grow -------------------------------------------------------------------------------------------------

TEST_F(Controller, GrowsATopicAndRefusesToShrinkIt) {
  create("a", 2);
  const auto code = [&](controller::growth g) {
    return core.create_partitions(image, {std::move(g)}, false)
        .decisions[0]
        .refused.value_or(error{errc::internal, ""})
        .code;
  };
  EXPECT_EQ(code({"x", 3, {}}), errc::unknown_topic);
  for (int count : {2, 1, 0, -1, -2'147'483'647}) EXPECT_EQ(code({"a", count, {}}), errc::invalid_partitions);
  EXPECT_EQ(code({"a", 101, {}}), errc::invalid_partitions);
  EXPECT_EQ(code({"a", 2'147'483'647, {}}), errc::invalid_partitions);
  EXPECT_EQ(code({"a", 4, {{{node_id{1}}}}}), errc::invalid_assignment);
  EXPECT_EQ(code({"a", 3, {{{node_id{1}, node_id{2}}}}}), errc::invalid_assignment);

  auto plan = core.create_partitions(image, {{"a", 4, {{{node_id{3}}, {node_id{2}}}}}}, false);
  ASSERT_FALSE(plan.decisions[0].refused);
  test::apply_all(image, plan.records);
  ASSERT_EQ(image.find("a")->partitions.size(), 4u);
  EXPECT_EQ(image.find("a")->partitions[2].leader, node_id{3});

  auto twice = core.create_partitions(image, {{"a", 5, {}}, {"a", 6, {}}}, false);
  EXPECT_EQ(twice.decisions[0].refused->code, errc::invalid_request);
  EXPECT_TRUE(twice.records.empty());

  auto tried = core.create_partitions(image, {{"a", 6, {}}}, true);
  EXPECT_EQ(tried.decisions[0].now->partitions.size(), 6u);
  EXPECT_TRUE(tried.records.empty());
}

// -- configure --------------------------------------------------------------------------------------------

TEST_F(Controller, SetsAndRemovesOverridesOneByOne) {
  create("a", 1, {{"retention.ms", "5"}});
  EXPECT_EQ(refusal("a", {.name = "max.message.bytes", .value = "100"}), std::nullopt);
  EXPECT_EQ(image.find("a")->overrides, (setting_map{{"max.message.bytes", "100"}, {"retention.ms", "5"}}));
  EXPECT_EQ(image.find("a")->settings.message_bytes_max, 100);
  EXPECT_EQ(refusal("a", {.name = "retention.ms", .op = op::remove, .value = {}}), std::nullopt);
  EXPECT_EQ(image.find("a")->overrides, (setting_map{{"max.message.bytes", "100"}}));
}

TEST_F(Controller, ReplacingAllTakesBackWhatIsNotNamedExceptWhatIsFixed) {
  create("a", 1, {{"retention.ms", "5"}, {"durability", "interval"}});
  auto plan = core.alter_configs(image, {{"a", {{.name = "retention.bytes", .value = "9"}}, true}}, false);
  test::apply_all(image, plan.records);
  EXPECT_EQ(image.find("a")->overrides, (setting_map{{"durability", "interval"}, {"retention.bytes", "9"}}));
}

TEST_F(Controller, DurabilityOfAnExistingTopicStaysAsItIs) {
  create("a");
  EXPECT_EQ(refusal("a", {.name = "durability", .value = "interval"}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "durability", .value = "group"}), std::nullopt);  // as it is: nothing to refuse
  create("b", 1, {{"durability", "interval"}});
  EXPECT_EQ(refusal("b", {.name = "durability", .op = op::remove, .value = {}}), errc::invalid_config);
}

TEST_F(Controller, OnlyListsAreAppendedToAndSubtractedFrom) {
  create("a");
  EXPECT_EQ(refusal("a", {.name = "retention.ms", .op = op::append, .value = "5"}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "retention.ms", .op = op::subtract, .value = "5"}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "cleanup.policy", .op = op::append, .value = "delete"}), std::nullopt);
  EXPECT_EQ(image.find("a")->overrides.at("cleanup.policy"), "delete");
  EXPECT_EQ(refusal("a", {.name = "cleanup.policy", .op = op::append, .value = "compact"}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "cleanup.policy", .op = op::subtract, .value = "delete"}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "cleanup.policy", .op = op::subtract, .value = "compact"}), std::nullopt);
}

TEST_F(Controller, RefusesConfigurationsThatMakeNoSense) {
  create("a");
  EXPECT_EQ(refusal("x", {.name = "retention.ms", .value = "5"}), errc::unknown_topic);
  EXPECT_EQ(refusal("a", {.name = "what", .value = "5"}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "what", .op = op::remove, .value = {}}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "retention.ms", .value = "x"}), errc::invalid_config);
  EXPECT_EQ(refusal("a", {.name = "retention.ms", .value = {}}), errc::invalid_request);
  auto twice = core.alter_configs(
      image, {{"a", {{.name = "retention.ms", .value = "1"}, {.name = "retention.ms", .value = "2"}}}}, false);
  EXPECT_EQ(twice.decisions[0].refused->code, errc::invalid_request);
  auto topic_twice = core.alter_configs(image, {{"a", {}}, {"a", {}}}, false);
  EXPECT_EQ(topic_twice.decisions[1].refused->code, errc::invalid_request);
}

TEST_F(Controller, AConfigurationIsAllOrNothingPerTopic) {
  create("a");
  create("b");
  auto plan =
      core.alter_configs(image,
                         {{"a", {{.name = "retention.ms", .value = "1"}, {.name = "retention.bytes", .value = "x"}}},
                          {"b", {{.name = "retention.ms", .value = "2"}}}},
                         false);
  EXPECT_TRUE(plan.decisions[0].refused);
  EXPECT_FALSE(plan.decisions[1].refused);
  EXPECT_EQ(plan.records.size(), 1u);
}

TEST_F(Controller, WhatChangesNothingIsDoneWithoutARecord) {
  create("a", 1, {{"retention.ms", "5"}});
  auto plan = core.alter_configs(image, {{"a", {{.name = "retention.ms", .value = "5"}}}}, false);
  EXPECT_FALSE(plan.decisions[0].refused);
  EXPECT_TRUE(plan.records.empty());
}

// -- producer ids -----------------------------------------------------------------------------------------

TEST_F(Controller, BlocksOfProducerIdsNeverOverlap) {
  auto first = core.reserve_producer_ids(image, 1000);
  test::apply_all(image, first.records);
  auto second = core.reserve_producer_ids(image, 1000);
  EXPECT_EQ(first.first, producer_id{0});
  EXPECT_EQ(second.first, producer_id{1000});
}

}  // namespace
}  // namespace troupe
