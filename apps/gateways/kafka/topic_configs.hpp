#pragma once

#include <vector>

#include "actors/controller/topic_settings.hpp"
#include "apps/gateways/kafka/codec/config_messages.hpp"

namespace troupe::kafka {

/// Where a value comes from, in the protocol's numbers.
enum class config_source : std::int8_t { topic = 1, static_node = 4, default_value = 5 };

/// Every setting of a topic with the value in force, its source, and (synonyms) what would be in force without it.
std::vector<describe_configs_response::resource_result> describe_topic(const setting_map& overrides,
                                                                       const setting_map& defaults);

}  // namespace troupe::kafka
