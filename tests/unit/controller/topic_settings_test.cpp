#include "actors/controller/topic_settings.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace troupe {
namespace {

using namespace std::chrono_literals;

TEST(TopicSettings, TheTableIsSortedAndEveryNameIsFound) {
  EXPECT_TRUE(std::ranges::is_sorted(topic_setting_list(), {}, &topic_setting::name));
  for (const auto& setting : topic_setting_list()) {
    EXPECT_EQ(find_topic_setting(setting.name), &setting);
    EXPECT_FALSE(setting.documentation.empty());
  }
  EXPECT_EQ(find_topic_setting("segment.bytes"), nullptr);
  EXPECT_EQ(find_topic_setting(""), nullptr);
}

TEST(TopicSettings, TheTablesDefaultsMeanTheStructsDefaults) {
  setting_map all;
  for (const auto& setting : topic_setting_list()) all.emplace(setting.name, setting.default_value);
  auto parsed = parse_topic_settings(all);
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  EXPECT_EQ(*parsed, topic_settings{});
  EXPECT_EQ(effective_settings({}, {}), topic_settings{});
}

TEST(TopicSettings, EveryValueArrives) {
  auto parsed = parse_topic_settings({{"cleanup.policy", "delete"},
                                      {"compression.type", "producer"},
                                      {"durability", "interval"},
                                      {"max.message.bytes", "2048"},
                                      {"message.timestamp.after.max.ms", "10"},
                                      {"message.timestamp.before.max.ms", "20"},
                                      {"message.timestamp.type", "LogAppendTime"},
                                      {"min.insync.replicas", "2"},
                                      {"retention.bytes", "4096"},
                                      {"retention.ms", "30"}});
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  EXPECT_EQ(parsed->durability, topic_settings::flush::interval);
  EXPECT_EQ(parsed->message_bytes_max, 2048);
  EXPECT_EQ(parsed->timestamp_after_max, 10ms);
  EXPECT_EQ(parsed->timestamp_before_max, 20ms);
  EXPECT_EQ(parsed->timestamps, topic_settings::timestamp_type::log_append_time);
  EXPECT_EQ(parsed->min_insync_replicas, 2);
  EXPECT_EQ(parsed->retention_bytes, 4096u);
  EXPECT_EQ(parsed->retention, 30ms);
}

TEST(TopicSettings, MinusOneMeansNoLimit) {
  auto parsed = parse_topic_settings({{"retention.ms", "-1"}, {"retention.bytes", "-1"}});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->retention, std::nullopt);
  EXPECT_EQ(parsed->retention_bytes, std::nullopt);
  EXPECT_EQ(parse_topic_settings({{"message.timestamp.before.max.ms", "9223372036854775807"}})->timestamp_before_max,
            std::nullopt);
}

TEST(TopicSettings, AWrongValueIsNamedWithWhatIsAllowed) {
  const std::pair<const char*, const char*> wrong[] = {
      {"retention.ms", "-2"},         {"retention.ms", "soon"},        {"retention.ms", ""},
      {"retention.ms", "1 "},         {"retention.ms", "1.5"},         {"retention.ms", "9223372036854775808"},
      {"retention.bytes", "-2"},      {"max.message.bytes", "-1"},     {"max.message.bytes", "104857601"},
      {"min.insync.replicas", "0"},   {"message.timestamp.type", "x"}, {"message.timestamp.after.max.ms", "-1"},
      {"compression.type", "gzip"},   {"durability", "none"},          {"cleanup.policy", ""},
      {"cleanup.policy", "compress"},
  };
  for (const auto& [name, value] : wrong) {
    auto parsed = parse_topic_settings({{name, value}});
    ASSERT_FALSE(parsed.ok()) << name << "=" << value;
    EXPECT_EQ(parsed.code(), errc::invalid_config);
    const auto& text = parsed.error().text;
    EXPECT_NE(text.find(name), std::string::npos) << text;
    EXPECT_NE(text.find("\"" + std::string{value} + "\""), std::string::npos) << text;
    EXPECT_NE(text.find("allowed"), std::string::npos) << text;
  }
}

TEST(TopicSettings, CompactionIsRefusedAsNotYetAvailable) {
  for (const auto* value : {"compact", "compact,delete", "delete,compact"}) {
    auto parsed = parse_topic_settings({{"cleanup.policy", value}});
    ASSERT_FALSE(parsed.ok());
    EXPECT_NE(parsed.error().text.find("compaction is not available yet"), std::string::npos) << parsed.error().text;
  }
}

TEST(TopicSettings, AnUnknownSettingIsRefusedWithTheListOfThoseThereAre) {
  auto parsed = parse_topic_settings({{"segment.bytes", "1"}});
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.code(), errc::invalid_config);
  EXPECT_NE(parsed.error().text.find("\"segment.bytes\""), std::string::npos);
  EXPECT_NE(parsed.error().text.find("retention.ms"), std::string::npos);
}

TEST(TopicSettings, AHugeValueIsNotRepeatedWhole) {
  auto parsed = parse_topic_settings({{"retention.ms", std::string(1 << 20, '9')}});
  ASSERT_FALSE(parsed.ok());
  EXPECT_LT(parsed.error().text.size(), 300u);
}

TEST(TopicSettings, TheTopicGoesBeforeTheNodeAndTheNodeBeforeTheTable) {
  const setting_map node{{"retention.ms", "5"}, {"retention.bytes", "6"}, {"durability", "interval"}};
  const setting_map topic{{"retention.ms", "7"}};
  const auto settings = effective_settings(node, topic);
  EXPECT_EQ(settings.retention, 7ms);
  EXPECT_EQ(settings.retention_bytes, 6u);
  EXPECT_EQ(settings.message_bytes_max, 1048588);
  // Fixed at creation: a topic that was made before the node's default changed stays as it is.
  EXPECT_EQ(settings.durability, topic_settings::flush::group);

  using origin = setting_value::origin;
  EXPECT_EQ(value_of(*find_topic_setting("retention.ms"), node, topic).from, origin::topic);
  EXPECT_EQ(value_of(*find_topic_setting("retention.bytes"), node, topic).from, origin::node);
  EXPECT_EQ(value_of(*find_topic_setting("durability"), node, topic).from, origin::table);
}

}  // namespace
}  // namespace troupe
