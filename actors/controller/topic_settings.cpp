#include "actors/controller/topic_settings.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

/// One table: name, type, default, text. One parser per name, since each knows its own range.
namespace troupe {

namespace {

using kind = topic_setting::kind;

constexpr auto any_age = std::numeric_limits<std::int64_t>::max();
// A produce request may have this many bytes; a larger batch could never arrive.
constexpr std::int64_t message_bytes_limit = 100 << 20;

constexpr topic_setting table[] = {
    {"cleanup.policy", kind::list, "delete",
     "What happens to old records: \"delete\" drops them after retention.ms or beyond retention.bytes."},
    {"compression.type", kind::string, "producer",
     "\"producer\": batches are stored and served as the producer compressed them."},
    {"durability", kind::string, "group",
     "When a record counts as stored. \"group\": after the sync of its group commit. \"interval\": once the operating "
     "system has it; a power cut may take what was written since the last periodic sync. Fixed when the topic is "
     "created.",
     true},
    {"max.message.bytes", kind::int32, "1048588", "The largest record batch, in bytes, as the producer sends it."},
    {"message.timestamp.after.max.ms", kind::int64, "3600000",
     "How far a record's timestamp may lie after the node's clock. Not checked with LogAppendTime."},
    {"message.timestamp.before.max.ms", kind::int64, "9223372036854775807",
     "How far a record's timestamp may lie before the node's clock. Not checked with LogAppendTime."},
    {"message.timestamp.type", kind::string, "CreateTime",
     "\"CreateTime\": a record has the timestamp that its producer gave. \"LogAppendTime\": the moment it was "
     "appended."},
    {"min.insync.replicas", kind::int32, "1",
     "A produce request with acks=all is refused while fewer replicas are in sync."},
    {"retention.bytes", kind::int64, "-1",
     "Old segments of a partition go when it holds more than this many bytes. -1: no limit."},
    {"retention.ms", kind::int64, "1209600000",
     "Records go, a segment at a time, when they are older than this. -1: they are kept for ever."},
    {"unclean.leader.election.enable", kind::boolean, "false",
     "\"true\": when no replica is left that holds every acknowledged record, one that may lack some is elected at "
     "once "
     "and they are lost. \"false\": the partition waits."},
};

error wrong(std::string_view name, std::string_view value, std::string_view allowed) {
  // A value comes from outside and may be long: its beginning says enough.
  constexpr std::size_t shown_max = 100;
  std::string text{name};
  text += " is \"";
  text += value.substr(0, shown_max);
  text += value.size() > shown_max ? "…\", allowed: " : "\", allowed: ";
  text += allowed;
  return {errc::invalid_config, std::move(text)};
}

struct range {
  std::int64_t least, most;
};

result<std::int64_t> number(std::string_view name, std::string_view value, range allowed) {
  std::int64_t n = 0;
  const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (ec != std::errc{} || end != value.data() + value.size() || n < allowed.least || n > allowed.most)
    return wrong(name, value,
                 "a whole number from " + std::to_string(allowed.least) + " to " + std::to_string(allowed.most));
  return n;
}

// Numbers below: -1 stands for "no limit".
template <class T>
std::optional<T> unless_unlimited(std::int64_t n) {
  return n < 0 ? std::nullopt : std::optional<T>{T(n)};
}

result<void> take(topic_settings& to, std::string_view name, std::string_view value) {
  const auto in = [&](range allowed) { return number(name, value, allowed); };
  constexpr range positive_or_unlimited{-1, any_age};

  if (name == "cleanup.policy") {
    if (value == "compact" || value == "compact,delete" || value == "delete,compact")
      return {errc::invalid_config,
              "cleanup.policy is \"" + std::string{value} + "\": compaction is not available yet, allowed: delete"};
    if (value != "delete") return wrong(name, value, "delete");
  } else if (name == "compression.type") {
    if (value != "producer") return wrong(name, value, "producer (batches are never compressed anew)");
  } else if (name == "durability") {
    if (value == "group")
      to.durability = topic_settings::flush::group;
    else if (value == "interval")
      to.durability = topic_settings::flush::interval;
    else
      return wrong(name, value, "group, interval");
  } else if (name == "max.message.bytes") {
    auto n = in({0, message_bytes_limit});
    if (!n) return n.error();
    to.message_bytes_max = static_cast<std::int32_t>(*n);
  } else if (name == "message.timestamp.after.max.ms") {
    auto n = in({0, any_age});
    if (!n) return n.error();
    to.timestamp_after_max = std::chrono::milliseconds{*n};
  } else if (name == "message.timestamp.before.max.ms") {
    auto n = in({0, any_age});
    if (!n) return n.error();
    to.timestamp_before_max = *n == any_age ? std::nullopt : std::optional{std::chrono::milliseconds{*n}};
  } else if (name == "message.timestamp.type") {
    if (value == "CreateTime")
      to.timestamps = topic_settings::timestamp_type::create_time;
    else if (value == "LogAppendTime")
      to.timestamps = topic_settings::timestamp_type::log_append_time;
    else
      return wrong(name, value, "CreateTime, LogAppendTime");
  } else if (name == "min.insync.replicas") {
    auto n = in({1, std::numeric_limits<std::int16_t>::max()});
    if (!n) return n.error();
    to.min_insync_replicas = static_cast<std::int32_t>(*n);
  } else if (name == "retention.bytes") {
    auto n = in(positive_or_unlimited);
    if (!n) return n.error();
    to.retention_bytes = unless_unlimited<std::uint64_t>(*n);
  } else if (name == "retention.ms") {
    auto n = in(positive_or_unlimited);
    if (!n) return n.error();
    to.retention = unless_unlimited<std::chrono::milliseconds>(*n);
  } else if (name == "unclean.leader.election.enable") {
    if (value != "true" && value != "false") return wrong(name, value, "true, false");
    to.unclean_election = value == "true";
  } else {
    std::string known;
    for (const auto& setting : table) known.append(known.empty() ? "" : ", ").append(setting.name);
    return {errc::invalid_config,
            "there is no topic setting \"" + std::string{name.substr(0, 100)} + "\"; there are: " + known};
  }
  return {};
}

}  // namespace

std::span<const topic_setting> topic_setting_list() {
  return table;
}

const topic_setting* find_topic_setting(std::string_view name) {
  const auto* at = std::ranges::lower_bound(table, name, {}, &topic_setting::name);
  return at != std::end(table) && at->name == name ? at : nullptr;
}

result<topic_settings> parse_topic_settings(const setting_map& overrides) {
  topic_settings settings;
  for (const auto& [name, value] : overrides)
    if (auto taken = take(settings, name, value); !taken) return taken.error();
  return settings;
}

setting_value value_of(const topic_setting& setting, const setting_map& defaults, const setting_map& overrides) {
  if (const auto at = overrides.find(setting.name); at != overrides.end())
    return {at->second, setting_value::origin::topic};
  if (const auto at = defaults.find(setting.name); at != defaults.end() && !setting.fixed_at_creation)
    return {at->second, setting_value::origin::node};
  return {setting.default_value, setting_value::origin::table};
}

topic_settings effective_settings(const setting_map& defaults, const setting_map& overrides) {
  topic_settings settings;
  for (const auto& setting : table) {
    const auto taken = take(settings, setting.name, value_of(setting, defaults, overrides).value);
    TROUPE_CHECK(taken.ok());
  }
  return settings;
}

}  // namespace troupe
