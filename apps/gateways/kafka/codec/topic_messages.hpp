#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/ids.hpp"

/// The messages that make, change and empty topics. How members map to the wire, and in which versions, says the table
/// in topic_tables.hpp; what holds for all messages says codec.hpp.
namespace troupe::kafka {

struct create_topics_request {
  struct creatable_replica_assignment {
    std::int32_t partition_index{0};
    std::vector<std::int32_t> broker_ids;
  };
  struct creatable_topic_config {
    std::string_view name;
    std::optional<std::string_view> value;
  };
  struct creatable_topic {
    std::string_view name;
    std::int32_t num_partitions{0};
    std::int16_t replication_factor{0};
    std::vector<creatable_replica_assignment> assignments;
    std::vector<creatable_topic_config> configs;
  };
  std::vector<creatable_topic> topics;
  std::int32_t timeout_ms{60'000};
  bool validate_only{false};
};

struct create_topics_response {
  struct creatable_topic_configs {
    std::string name;
    std::optional<std::string> value;
    bool read_only{false};
    std::int8_t config_source{-1};
    bool is_sensitive{false};
  };
  struct creatable_topic_result {
    std::string name;
    uuid topic_id;
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
    std::int16_t topic_config_error_code{0};
    std::int32_t num_partitions{-1};
    std::int16_t replication_factor{-1};
    std::optional<std::vector<creatable_topic_configs>> configs{std::in_place};
  };
  std::int32_t throttle_time_ms{0};
  std::vector<creatable_topic_result> topics;
};

struct delete_topics_request {
  struct delete_topic_state {
    std::optional<std::string_view> name;
    uuid topic_id;
  };
  std::vector<delete_topic_state> topics;     ///< version 6+
  std::vector<std::string_view> topic_names;  ///< before
  std::int32_t timeout_ms{0};
};

struct delete_topics_response {
  struct deletable_topic_result {
    std::optional<std::string> name;
    uuid topic_id;
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<deletable_topic_result> responses;
};

struct create_partitions_request {
  struct assignment {
    std::vector<std::int32_t> broker_ids;
  };
  struct topic {
    std::string_view name;
    std::int32_t count{0};
    std::optional<std::vector<assignment>> assignments;
  };
  std::vector<topic> topics;
  std::int32_t timeout_ms{0};
  bool validate_only{false};
};

struct create_partitions_response {
  struct topic_result {
    std::string name;
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<topic_result> results;
};

struct delete_records_request {
  struct partition {
    std::int32_t partition_index{0};
    std::int64_t offset{0};
  };
  struct topic {
    std::string_view name;
    std::vector<partition> partitions;
  };
  std::vector<topic> topics;
  std::int32_t timeout_ms{0};
};

struct delete_records_response {
  struct partition_result {
    std::int32_t partition_index{0};
    std::int64_t low_watermark{0};
    std::int16_t error_code{0};
  };
  struct topic_result {
    std::string name;
    std::vector<partition_result> partitions;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<topic_result> topics;
};

}  // namespace troupe::kafka
