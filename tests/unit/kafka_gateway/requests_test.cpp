#include <algorithm>

#include "runtime/base/random.hpp"
#include "tests/unit/kafka_gateway/fixture.hpp"

namespace troupe::kafka {
namespace {

class Requests : public GatewayTest {};

std::vector<metadata_request::topic> named(std::initializer_list<std::string_view> names) {
  std::vector<metadata_request::topic> topics;
  for (const auto name : names) topics.push_back({{}, name});
  return topics;
}

decision done(std::shared_ptr<const topic> now) {
  return {now->name, std::nullopt, now};
}

// -- getting to know each other ----------------------------------------------------------------------------

TEST_F(Requests, ApiVersionsListsWhatIsServedInEveryVersion) {
  start();
  auto c = connect();
  for (std::int16_t version = 0; version <= 4; ++version) {
    const auto told = c.call<api_versions_response>(api_versions_request{"test", "1.0"}, version);
    EXPECT_EQ(told.error_code, 0);
    EXPECT_EQ(told.api_keys.size(), offered_apis().size());
  }
}

TEST_F(Requests, ApiVersionsOfAnUnknownVersionIsAnsweredInVersion0) {
  start();
  auto c = connect();
  // Header of version 9, then a body that nobody can read.
  const std::uint8_t bytes[] = {0, 0, 0, 14, 0, 18, 0, 9, 0, 0, 0, 5, 0, 0, 1, 2, 3, 4};
  c.send(std::as_bytes(std::span{bytes}));
  const auto told = c.hear<api_versions_response>(0, 5);
  EXPECT_EQ(told.error_code, code::unsupported_version);
  ASSERT_EQ(told.api_keys.size(), 1u);
  EXPECT_EQ(told.api_keys[0].api_key, 18);
  // The connection goes on with a version that both know.
  EXPECT_EQ(c.call<api_versions_response>(api_versions_request{}, 2).error_code, 0);
}

TEST_F(Requests, MetadataTellsAllTopicsWhenNoneIsNamed) {
  add_topic("orders", 2);
  add_topic("users");
  start();
  auto c = connect();
  metadata_request all;
  all.topics.reset();
  const auto told = c.call<metadata_response>(all, 12);
  ASSERT_EQ(told.brokers.size(), 1u);
  EXPECT_EQ(told.brokers[0].node_id, 7);
  EXPECT_EQ(told.brokers[0].host, "broker.example");
  EXPECT_EQ(told.brokers[0].port, 19092);
  EXPECT_EQ(told.cluster_id, "abcdefghijklmnopqrstuv");
  EXPECT_EQ(told.controller_id, 7);
  ASSERT_EQ(told.topics.size(), 2u);
  EXPECT_EQ(told.topics[0].name, "orders");
  EXPECT_EQ(told.topics[0].topic_id, image.topics.at("orders")->id);
  ASSERT_EQ(told.topics[0].partitions.size(), 2u);
  const auto& p = told.topics[0].partitions[1];
  EXPECT_EQ(p.partition_index, 1);
  EXPECT_EQ(p.leader_id, 7);
  EXPECT_EQ(p.leader_epoch, 3);
  EXPECT_EQ(p.replica_nodes, std::vector<std::int32_t>{7});
  EXPECT_EQ(p.isr_nodes, std::vector<std::int32_t>{7});
  EXPECT_TRUE(p.offline_replicas.empty());
  EXPECT_EQ(told.topics[0].topic_authorized_operations, metadata_response::not_asked);

  // In version 0 an empty list means the same; later it means none.
  metadata_request empty;
  EXPECT_EQ(c.call<metadata_response>(empty, 0).topics.size(), 2u);
  EXPECT_EQ(c.call<metadata_response>(empty, 1).topics.size(), 0u);
}

TEST_F(Requests, MetadataAnswersForWhatItDoesNotKnow) {
  add_topic("orders");
  start();
  auto c = connect();
  metadata_request some;
  some.allow_auto_topic_creation = false;
  some.include_topic_authorized_operations = true;
  some.topics = named({"nothing", "bad name", "orders", "nothing"});
  auto told = c.call<metadata_response>(some, 12);
  ASSERT_EQ(told.topics.size(), 3u) << "a name that comes twice is answered once";
  EXPECT_EQ(told.topics[0].error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(told.topics[0].name, "nothing");
  EXPECT_EQ(told.topics[1].error_code, code::invalid_topic_exception);
  EXPECT_EQ(told.topics[2].error_code, 0);
  EXPECT_EQ(told.topics[2].topic_authorized_operations, 3576);

  metadata_request by_id;
  uuid unknown;
  unknown.bytes.fill(0xEE);
  by_id.topics->push_back({image.topics.at("orders")->id, {}});
  by_id.topics->push_back({unknown, {}});
  told = c.call<metadata_response>(by_id, 12);
  ASSERT_EQ(told.topics.size(), 2u);
  EXPECT_EQ(told.topics[0].name, "orders");
  EXPECT_EQ(told.topics[1].error_code, code::unknown_topic_id);
  EXPECT_EQ(told.topics[1].topic_id, unknown);
}

TEST_F(Requests, AMissingTopicIsMadeAndToldAsItIsThen) {
  start();
  auto c = connect();
  metadata_request some;
  some.topics = named({"fresh", "clash", "no good!"});
  c.ask(some, 9);
  auto asked = controller.creates.take();
  ASSERT_EQ(asked.topics.size(), 2u) << "what can be no name is not even tried";
  EXPECT_EQ(asked.topics[0].name, "fresh");
  EXPECT_EQ(asked.topics[0].partitions, -1);
  EXPECT_EQ(asked.topics[0].replication, -1);
  asked.answer({done(make_topic("fresh", 4)), {"clash", error{errc::invalid_topic, "like another"}, {}}});
  const auto told = c.hear<metadata_response>(9);
  ASSERT_EQ(told.topics.size(), 3u);
  EXPECT_EQ(told.topics[0].error_code, 0);
  EXPECT_EQ(told.topics[0].partitions.size(), 4u);
  EXPECT_EQ(told.topics[1].error_code, code::invalid_topic_exception);
  EXPECT_EQ(told.topics[2].error_code, code::invalid_topic_exception);
}

TEST_F(Requests, NoTopicIsMadeWhereThatIsOff) {
  setup.auto_create_topics = false;
  start();
  auto c = connect();
  metadata_request some;
  some.topics = named({"fresh"});
  EXPECT_EQ(c.call<metadata_response>(some, 9).topics.at(0).error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(controller.creates.size(), 0u);
}

// -- writing -----------------------------------------------------------------------------------------------

TEST_F(Requests, ProduceHandsTheBytesToThePartitionAndTellsTheOffset) {
  add_topic("orders");
  start();
  auto c = connect();
  auto records = some_bytes(300);
  const auto before = records;
  c.ask(produce_of("orders", 0, records), 9);
  auto m = partition("orders").produces.take();
  EXPECT_TRUE(std::ranges::equal(m.records.bytes, before));
  EXPECT_EQ(m.acks, -1);
  EXPECT_TRUE(m.zstd_allowed);
  EXPECT_FALSE(m.transactional_id);
  // The partition may write into them.
  store_be<std::int64_t>(m.records.bytes.data(), 41);
  m.answer({.base = log_offset{41}, .append_time_ms = 5, .log_start = log_offset{2}});
  const auto told = c.hear<produce_response>(9);
  ASSERT_EQ(told.responses.size(), 1u);
  EXPECT_EQ(told.responses[0].name, "orders");
  const auto& p = told.responses[0].partition_responses.at(0);
  EXPECT_EQ(p.error_code, 0);
  EXPECT_EQ(p.base_offset, 41);
  EXPECT_EQ(p.log_append_time_ms, 5);
  EXPECT_EQ(p.log_start_offset, 2);
}

TEST_F(Requests, EveryPartitionOfAProduceRequestIsAnsweredInItsPlace) {
  add_topic("orders", 2);
  add_topic("__internal", 1, true);
  start();
  auto c = connect();
  auto records = some_bytes(10);
  produce_request r;
  r.acks = 1;
  r.topic_data.resize(3);
  r.topic_data[0] = {"orders", {}, {{1, records}, {9, records}, {0, std::nullopt}}};
  r.topic_data[1] = {"nothing", {}, {{0, records}}};
  r.topic_data[2] = {"__internal", {}, {{0, records}}};
  c.ask(r, 8);
  auto second = partition("orders", 1).produces.take();
  auto first = partition("orders", 0).produces.take();
  EXPECT_EQ(first.records.owner, nullptr) << "a null field stays one";
  produce::outcome refused;
  refused.refused = error{errc::invalid_record, "empty"};
  refused.records = {{0, "no record"}};
  first.answer(refused);
  second.answer({.base = log_offset{5}});
  const auto told = c.hear<produce_response>(8);
  ASSERT_EQ(told.responses.size(), 3u);
  const auto& orders = told.responses[0].partition_responses;
  ASSERT_EQ(orders.size(), 3u);
  EXPECT_EQ(orders[0].index, 1);
  EXPECT_EQ(orders[0].error_code, 0);
  EXPECT_EQ(orders[0].base_offset, 5);
  EXPECT_EQ(orders[1].index, 9);
  EXPECT_EQ(orders[1].error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(orders[1].base_offset, -1);
  EXPECT_EQ(orders[2].index, 0);
  EXPECT_EQ(orders[2].error_code, code::invalid_record);
  EXPECT_EQ(orders[2].error_message, "empty");
  ASSERT_EQ(orders[2].record_errors.size(), 1u);
  EXPECT_EQ(orders[2].record_errors[0].batch_index_error_message, "no record");
  EXPECT_EQ(told.responses[1].partition_responses.at(0).error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(told.responses[2].partition_responses.at(0).error_code, code::invalid_topic_exception);
  EXPECT_TRUE(until("troupe_kafka_errors_total{code=\"UNKNOWN_TOPIC_OR_PARTITION\"}", [](double n) { return n == 2; }));
}

TEST_F(Requests, OtherAcksThanThreeAreRefused) {
  add_topic("orders");
  start();
  auto c = connect();
  auto records = some_bytes(10);
  const auto told = c.call<produce_response>(produce_of("orders", 0, records, 2), 9);
  EXPECT_EQ(told.responses.at(0).partition_responses.at(0).error_code, code::invalid_required_acks);
}

TEST_F(Requests, APartitionThatDropsAMessageCountsAsGone) {
  add_topic("orders");
  start();
  auto c = connect();
  auto records = some_bytes(10);
  c.ask(produce_of("orders", 0, records), 9);
  { const auto dropped = partition("orders").produces.take(); }
  const auto told = c.hear<produce_response>(9);
  EXPECT_EQ(told.responses.at(0).partition_responses.at(0).error_code, code::not_leader_or_follower);
}

TEST_F(Requests, AProducerWithoutTransactionsGetsAFreshId) {
  start();
  auto c = connect();
  c.ask(init_producer_id_request{.producer_id = 12, .producer_epoch = 3}, 4);
  controller.ids.take().answer(producer_id{1000});
  auto told = c.hear<init_producer_id_response>(4);
  EXPECT_EQ(told.error_code, 0);
  EXPECT_EQ(told.producer_id, 1000);
  EXPECT_EQ(told.producer_epoch, 0);

  told = c.call<init_producer_id_response>(init_producer_id_request{.transactional_id = "t"}, 4);
  EXPECT_EQ(told.error_code, 53) << "final for Java and librdkafka alike";
  EXPECT_EQ(told.producer_id, -1);
}

// -- offsets -----------------------------------------------------------------------------------------------

TEST_F(Requests, ListOffsetsChecksWhatItIsAskedBeforeAsking) {
  add_topic("orders", 3);
  start();
  auto c = connect();
  list_offsets_request r;
  r.isolation_level = 1;
  r.topics.resize(1);
  r.topics[0] = {"orders", {{0, 4, 1234}, {1, -1, -1}, {1, -1, -2}, {2, -1, -3}, {8, -1, -1}}};
  c.ask(r, 6);
  auto m = partition("orders", 0).lists.take();
  EXPECT_EQ(m.timestamp, 1234);
  EXPECT_EQ(m.current, leader_epoch{4});
  EXPECT_TRUE(m.read_committed);
  m.answer({{}, 1235, log_offset{99}, leader_epoch{3}});
  const auto told = c.hear<list_offsets_response>(6);
  const auto& p = told.topics.at(0).partitions;
  ASSERT_EQ(p.size(), 5u);
  EXPECT_EQ(p[0].error_code, 0);
  EXPECT_EQ(p[0].offset, 99);
  EXPECT_EQ(p[0].timestamp, 1235);
  EXPECT_EQ(p[0].leader_epoch, 3);
  EXPECT_EQ(p[1].error_code, code::invalid_request);
  EXPECT_EQ(p[2].error_code, code::invalid_request);
  EXPECT_EQ(p[3].error_code, code::unsupported_version) << "the greatest timestamp came with version 7";
  EXPECT_EQ(p[4].error_code, code::unknown_topic_or_partition);
}

TEST_F(Requests, NoOffsetIsInAnyTier) {
  add_topic("orders");
  start();
  auto c = connect();
  list_offsets_request r;
  r.topics.resize(1);
  r.topics[0] = {"orders", {{0, -1, -5}}};
  const auto told = c.call<list_offsets_response>(r, 9);
  EXPECT_EQ(told.topics.at(0).partitions.at(0).error_code, 0);
  EXPECT_EQ(told.topics.at(0).partitions.at(0).offset, -1);
}

TEST_F(Requests, TheEndOfAnEpochIsThePartitionsToTell) {
  add_topic("orders");
  start();
  auto c = connect();
  offset_for_leader_epoch_request r;
  r.topics.resize(1);
  r.topics[0] = {"orders", {{0, 3, 2}, {1, 3, 2}}};
  c.ask(r, 2);
  auto m = partition("orders").epochs.take();
  EXPECT_EQ(m.current, leader_epoch{3});
  EXPECT_EQ(m.asked, leader_epoch{2});
  m.answer({{}, leader_epoch{1}, log_offset{77}});
  const auto told = c.hear<offset_for_leader_epoch_response>(2);
  const auto& p = told.topics.at(0).partitions;
  EXPECT_EQ(p.at(0).leader_epoch, 1);
  EXPECT_EQ(p.at(0).end_offset, 77);
  EXPECT_EQ(p.at(1).error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(p.at(1).end_offset, -1);
}

TEST_F(Requests, DeletedRecordsTellTheNewStart) {
  add_topic("orders");
  start();
  auto c = connect();
  delete_records_request r;
  r.timeout_ms = 1000;
  r.topics.resize(1);
  r.topics[0] = {"orders", {{0, 10}}};
  c.ask(r, 2);
  auto m = partition("orders").deletes.take();
  EXPECT_EQ(m.before, log_offset{10});
  m.answer({{}, log_offset{10}});
  EXPECT_EQ(c.hear<delete_records_response>(2).topics.at(0).partitions.at(0).low_watermark, 10);

  c.ask(r, 2);
  partition("orders").deletes.take().answer({error{errc::offset_out_of_range, "above"}, {}});
  const auto told = c.hear<delete_records_response>(2).topics.at(0).partitions.at(0);
  EXPECT_EQ(told.error_code, code::offset_out_of_range);
  EXPECT_EQ(told.low_watermark, -1);
}

// -- topics ------------------------------------------------------------------------------------------------

TEST_F(Requests, CreateTopicsTellsEachTopicHowItStands) {
  start();
  auto c = connect();
  create_topics_request r;
  r.topics.resize(3);
  r.topics[0] = {.name = "a", .num_partitions = 3, .replication_factor = 1, .configs = {{"retention.ms", "60000"}}};
  r.topics[1] = {.name = "b", .num_partitions = -1, .replication_factor = -1, .assignments = {{0, {7}}, {2, {7}}}};
  r.topics[2] = {.name = "c", .num_partitions = -1, .replication_factor = -1, .assignments = {{1, {7}}, {0, {7}}}};
  c.ask(r, 7);
  auto m = controller.creates.take();
  ASSERT_EQ(m.topics.size(), 2u) << "assignments with a hole are refused before";
  EXPECT_EQ(m.topics[0].partitions, 3);
  EXPECT_EQ(m.topics[0].overrides.at("retention.ms"), "60000");
  EXPECT_EQ(m.topics[1].name, "c");
  EXPECT_EQ(m.topics[1].assignments, (std::vector<std::vector<node_id>>{{node_id{7}}, {node_id{7}}}));
  EXPECT_FALSE(m.validate_only);
  auto a = std::make_shared<topic>(*make_topic("a", 3));
  a->overrides["retention.ms"] = "60000";
  m.answer({done(a), {"c", error{errc::topic_exists, "topic 'c' exists"}, {}}});
  const auto told = c.hear<create_topics_response>(7);
  ASSERT_EQ(told.topics.size(), 3u);
  EXPECT_EQ(told.topics[0].error_code, 0);
  EXPECT_EQ(told.topics[0].topic_id, a->id);
  EXPECT_EQ(told.topics[0].num_partitions, 3);
  EXPECT_EQ(told.topics[0].replication_factor, 1);
  ASSERT_TRUE(told.topics[0].configs);
  EXPECT_EQ(told.topics[0].configs->size(), topic_setting_list().size());
  const auto retention = std::ranges::find(*told.topics[0].configs, "retention.ms",
                                           &create_topics_response::creatable_topic_configs::name);
  ASSERT_NE(retention, told.topics[0].configs->end());
  EXPECT_EQ(retention->value, "60000");
  EXPECT_EQ(retention->config_source, 1);
  EXPECT_EQ(told.topics[1].error_code, code::invalid_replica_assignment);
  EXPECT_EQ(told.topics[2].error_code, code::topic_already_exists);
  EXPECT_EQ(told.topics[2].error_message, "topic 'c' exists");
}

TEST_F(Requests, TopicsAreDeletedByNameOrById) {
  add_topic("orders");
  start();
  auto c = connect();
  delete_topics_request by_name;
  by_name.topic_names = {"orders", "nothing"};
  c.ask(by_name, 5);
  auto m = controller.deletes.take();
  ASSERT_EQ(m.topics.size(), 2u);
  EXPECT_EQ(m.topics[0].name, "orders");
  m.answer({{"orders", {}, {}}, {"nothing", error{errc::unknown_topic, "there is none"}, {}}});
  auto told = c.hear<delete_topics_response>(5);
  EXPECT_EQ(told.responses.at(0).error_code, 0);
  EXPECT_EQ(told.responses.at(1).error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(told.responses.at(1).error_message, "there is none");

  delete_topics_request by_id;
  by_id.topics = {{{}, image.topics.at("orders")->id}};
  c.ask(by_id, 6);
  m = controller.deletes.take();
  EXPECT_EQ(m.topics.at(0).id, image.topics.at("orders")->id);
  m.answer({{"orders", {}, {}}});
  told = c.hear<delete_topics_response>(6);
  EXPECT_EQ(told.responses.at(0).name, "orders");
  EXPECT_EQ(told.responses.at(0).topic_id, image.topics.at("orders")->id);
}

TEST_F(Requests, PartitionsAreAddedByTheController) {
  start();
  auto c = connect();
  create_partitions_request r;
  r.topics = {{"a", 4, {}}, {"b", 2, std::vector<create_partitions_request::assignment>{{{7}}}}};
  r.validate_only = true;
  c.ask(r, 2);
  auto m = controller.growths.take();
  EXPECT_TRUE(m.validate_only);
  ASSERT_EQ(m.topics.size(), 2u);
  EXPECT_EQ(m.topics[0].count, 4);
  EXPECT_FALSE(m.topics[0].assignments);
  EXPECT_EQ(m.topics[1].assignments->at(0), std::vector{node_id{7}});
  m.answer({{"a", {}, {}}, {"b", error{errc::invalid_partitions, "has 2"}, {}}});
  const auto told = c.hear<create_partitions_response>(2);
  ASSERT_EQ(told.results.size(), 2u);
  EXPECT_EQ(told.results[0].name, "a");
  EXPECT_EQ(told.results[1].error_code, code::invalid_partitions);
}

TEST_F(Requests, AControllerThatIsGoneMakesTheClientLookForAnother) {
  start();
  auto c = connect();
  create_partitions_request r;
  r.topics = {{"a", 4, {}}};
  c.ask(r, 2);
  { const auto dropped = controller.growths.take(); }
  EXPECT_EQ(c.hear<create_partitions_response>(2).results.at(0).error_code, code::not_controller);
}

TEST_F(Requests, WhileThereIsNoControllerTheSameIsAskedAgain) {
  start();
  auto c = connect();
  create_partitions_request r;
  r.timeout_ms = 60'000;
  r.topics = {{"a", 4, {}}};
  c.ask(r, 2);
  const std::vector<decision> nobody{{"a", error{errc::not_leader, "no controller is known"}, {}}};
  for (int i = 0; i < 3; ++i) controller.growths.take().answer(nobody);
  auto m = controller.growths.take();
  EXPECT_EQ(m.topics.at(0).count, 4);
  m.answer({{"a", {}, {}}});
  EXPECT_EQ(c.hear<create_partitions_response>(2).results.at(0).error_code, 0);
}

TEST_F(Requests, WithoutAControllerForLongTheClientIsToldSo) {
  start();
  auto c = connect();
  create_partitions_request r;
  r.timeout_ms = 1000;
  r.topics = {{"a", 4, {}}};
  c.ask(r, 2);
  const auto asked = std::chrono::steady_clock::now();
  while (c.silent() && std::chrono::steady_clock::now() - asked < patience)
    if (controller.growths.size() > 0)
      controller.growths.take().answer({{"a", error{errc::not_leader, "no controller is known"}, {}}});
    else
      std::this_thread::sleep_for(1ms);
  EXPECT_EQ(c.hear<create_partitions_response>(2).results.at(0).error_code, code::not_controller);
}

TEST_F(Requests, ADecisionThatTakesTooLongIsTimedOut) {
  start();
  auto c = connect();
  create_partitions_request r;
  r.timeout_ms = 1000;
  r.topics = {{"a", 4, {}}};
  c.ask(r, 2);
  auto late = controller.growths.take();
  EXPECT_EQ(c.hear<create_partitions_response>(2).results.at(0).error_code, code::request_timed_out);
  late.answer({{"a", {}, {}}});  // nobody cares any more
  EXPECT_EQ(c.call<api_versions_response>(api_versions_request{}, 0).error_code, 0);
}

// -- settings ----------------------------------------------------------------------------------------------

TEST_F(Requests, ATopicsSettingsAreAllDescribedWithTheirSources) {
  auto t = std::make_shared<topic>(*make_topic("orders", 1));
  t->overrides["max.message.bytes"] = "2000";
  image.topics["orders"] = t;
  publish();
  setup.topic_defaults["retention.ms"] = "777000";
  start();
  auto c = connect();
  describe_configs_request r;
  r.include_synonyms = r.include_documentation = true;
  r.resources = {{2, "orders", {}}, {2, "nothing", {}}, {2, "orders", {}}, {16, "x", {}}};
  const auto told = c.call<describe_configs_response>(r, 4);
  ASSERT_EQ(told.results.size(), 4u);
  const auto& configs = told.results[0].configs;
  EXPECT_EQ(configs.size(), topic_setting_list().size());
  const auto named = [&](std::string_view name) {
    return *std::ranges::find(configs, name, &describe_configs_response::resource_result::name);
  };
  const auto size = named("max.message.bytes");
  EXPECT_EQ(size.value, "2000");
  EXPECT_EQ(size.config_source, 1);
  ASSERT_EQ(size.synonyms.size(), 2u);
  EXPECT_EQ(size.synonyms[0].source, 1);
  EXPECT_EQ(size.synonyms[1].source, 5);
  EXPECT_EQ(size.synonyms[1].value, "1048588");
  EXPECT_EQ(size.config_type, 3);
  EXPECT_FALSE(size.documentation->empty());
  const auto retention = named("retention.ms");
  EXPECT_EQ(retention.value, "777000");
  EXPECT_EQ(retention.config_source, 4);
  EXPECT_EQ(retention.synonyms.size(), 2u);
  EXPECT_EQ(told.results[1].error_code, code::unknown_topic_or_partition);
  EXPECT_EQ(told.results[2].error_code, code::invalid_request) << "each resource once";
  EXPECT_EQ(told.results[3].error_code, code::invalid_request);
}

TEST_F(Requests, OnlyTheKeysAskedForAreDescribed) {
  add_topic("orders");
  start();
  auto c = connect();
  describe_configs_request r;
  r.resources = {{2, "orders", std::vector<std::string_view>{"retention.ms", "no.such"}}};
  const auto told = c.call<describe_configs_response>(r, 1);
  ASSERT_EQ(told.results.at(0).configs.size(), 1u);
  EXPECT_TRUE(told.results[0].configs[0].synonyms.empty());

  r.resources[0].configuration_keys.emplace();
  const auto all = c.call<describe_configs_response>(r, 1);
  EXPECT_EQ(all.results.at(0).configs.size(), topic_setting_list().size()) << "no key means the same as no list";
}

TEST_F(Requests, ANodeDescribesItsOptionsAndKeepsThem) {
  setup.options = {{"log-level", "debug", "info", "how much is logged"}, {"io-threads", "0", "0", "threads"}};
  start();
  auto c = connect();
  describe_configs_request r;
  r.resources = {{4, "7", {}}, {4, "8", {}}, {4, "", {}}};
  const auto told = c.call<describe_configs_response>(r, 3);
  const auto& options = told.results.at(0).configs;
  ASSERT_EQ(options.size(), 2u);
  EXPECT_EQ(options[0].value, "debug");
  EXPECT_TRUE(options[0].read_only);
  EXPECT_EQ(options[0].config_source, 4);
  EXPECT_EQ(options[1].config_source, 5);
  EXPECT_EQ(told.results.at(1).error_code, code::invalid_request);
  EXPECT_EQ(told.results.at(2).error_code, 0);

  incremental_alter_configs_request change;
  change.resources = {{4, "7", {{"log-level", 0, "info"}}}};
  const auto refused = c.call<incremental_alter_configs_response>(change, 1);
  EXPECT_EQ(refused.responses.at(0).error_code, code::invalid_request);
}

TEST_F(Requests, SettingsAreChangedByTheController) {
  start();
  auto c = connect();
  incremental_alter_configs_request r;
  r.resources = {{2, "a", {{"retention.ms", 0, "5"}, {"max.message.bytes", 1, {}}}}, {2, "b", {{"x", 9, "y"}}}};
  c.ask(r, 1);
  auto m = controller.alters.take();
  ASSERT_EQ(m.topics.size(), 1u);
  EXPECT_FALSE(m.topics[0].replace_all);
  ASSERT_EQ(m.topics[0].changes.size(), 2u);
  EXPECT_EQ(m.topics[0].changes[0].op, setting_change::operation::set);
  EXPECT_EQ(m.topics[0].changes[0].value, "5");
  EXPECT_EQ(m.topics[0].changes[1].op, setting_change::operation::remove);
  m.answer({{"a", error{errc::invalid_config, "too short"}, {}}});
  const auto told = c.hear<incremental_alter_configs_response>(1);
  EXPECT_EQ(told.responses.at(0).error_code, code::invalid_config);
  EXPECT_EQ(told.responses.at(0).error_message, "too short");
  EXPECT_EQ(told.responses.at(1).error_code, code::invalid_request) << "there is no operation 9";

  kafka::alter_configs_request all;
  all.resources = {{2, "a", {{"retention.ms", "5"}}}};
  all.validate_only = true;
  c.ask(all, 2);
  m = controller.alters.take();
  EXPECT_TRUE(m.topics.at(0).replace_all);
  EXPECT_TRUE(m.validate_only);
  m.answer({{"a", {}, {}}});
  EXPECT_EQ(c.hear<alter_configs_response>(2).responses.at(0).error_code, 0);
}

}  // namespace
}  // namespace troupe::kafka
