#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/result.hpp"

namespace troupe {

/// What a topic's configuration says, parsed: what a partition works by. Names, defaults and texts are in the table of
/// `topic_setting_list()`; this struct's defaults are the ones a topic without overrides has.
struct topic_settings {
  enum class cleanup : std::uint8_t { remove };
  enum class timestamp_type : std::uint8_t { create_time, log_append_time };
  enum class flush : std::uint8_t { group, interval };

  std::optional<std::chrono::milliseconds> retention{std::chrono::days{14}};  ///< none: kept for ever (-1)
  std::optional<std::uint64_t> retention_bytes;                               ///< per partition; none: no limit (-1)
  std::int32_t message_bytes_max{1048588};                                    ///< largest batch
  timestamp_type timestamps{timestamp_type::create_time};
  std::optional<std::chrono::milliseconds> timestamp_before_max;  ///< none: any age
  std::chrono::milliseconds timestamp_after_max{std::chrono::hours{1}};
  std::int32_t min_insync_replicas{1};
  flush durability{flush::group};
  bool unclean_election{false};  ///< a leader with loss rather than none

  friend bool operator==(const topic_settings&, const topic_settings&) = default;
};

/// One line of the configuration table, in Kafka's terms.
struct topic_setting {
  enum class kind : std::uint8_t { boolean = 1, string = 2, int32 = 3, int64 = 5, list = 7 };
  std::string_view name;
  kind type;
  std::string_view default_value;
  std::string_view documentation;
  bool fixed_at_creation{false};
};

/// Every setting a topic has, sorted by name. Each of them does something; what Kafka has beyond them is refused.
std::span<const topic_setting> topic_setting_list();
/// nullptr: there is no such setting.
const topic_setting* find_topic_setting(std::string_view name);

/// Overrides by name, as a client gave them.
using setting_map = std::map<std::string, std::string, std::less<>>;

/// Checks and parses. Error invalid_config: names the setting, what was given and what is allowed.
result<topic_settings> parse_topic_settings(const setting_map& overrides);

/// The value of one setting: the topic's override, else the node's default, else the table's. A setting that is fixed
/// at creation never follows the node's default, which may have changed since.
struct setting_value {
  enum class origin : std::uint8_t { topic, node, table };
  std::string_view value;  ///< lives as long as the maps
  origin from;
};
setting_value value_of(const topic_setting&, const setting_map& defaults, const setting_map& overrides);
/// All of them together: what a topic works by. Both maps have been checked before.
topic_settings effective_settings(const setting_map& defaults, const setting_map& overrides);

}  // namespace troupe
