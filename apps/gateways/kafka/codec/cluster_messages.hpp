#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/ids.hpp"

/// The messages by which a client gets to know a cluster: ApiVersions, Metadata, DescribeCluster. How members map to
/// the wire, and in which versions, says the table in cluster_tables.hpp; what holds for all messages says codec.hpp.
namespace troupe::kafka {

struct api_versions_request {
  std::string_view client_software_name;
  std::string_view client_software_version;
};

struct api_versions_response {
  struct api_version {
    std::int16_t api_key{0};
    std::int16_t min_version{0};
    std::int16_t max_version{0};
  };
  struct supported_feature_key {
    std::string name;
    std::int16_t min_version{0};
    std::int16_t max_version{0};
  };
  struct finalized_feature_key {
    std::string name;
    std::int16_t max_version_level{0};
    std::int16_t min_version_level{0};
  };
  std::int16_t error_code{0};
  std::vector<api_version> api_keys;
  std::int32_t throttle_time_ms{0};
  std::vector<supported_feature_key> supported_features;
  std::int64_t finalized_features_epoch{-1};
  std::vector<finalized_feature_key> finalized_features;
  bool zk_migration_ready{false};
};

struct metadata_request {
  struct topic {
    uuid topic_id;
    std::optional<std::string_view> name;
  };
  /// Version 0: empty means all topics. Later: null means all, empty means none.
  std::optional<std::vector<topic>> topics{std::in_place};
  bool allow_auto_topic_creation{true};
  bool include_cluster_authorized_operations{false};
  bool include_topic_authorized_operations{false};
};

struct metadata_response {
  static constexpr std::int32_t not_asked = std::numeric_limits<std::int32_t>::min();
  struct broker {
    std::int32_t node_id{0};
    std::string host;
    std::int32_t port{0};
    std::optional<std::string> rack;
  };
  struct partition {
    std::int16_t error_code{0};
    std::int32_t partition_index{0};
    std::int32_t leader_id{0};
    std::int32_t leader_epoch{-1};
    std::vector<std::int32_t> replica_nodes;
    std::vector<std::int32_t> isr_nodes;
    std::vector<std::int32_t> offline_replicas;
  };
  struct topic {
    std::int16_t error_code{0};
    std::optional<std::string> name;
    uuid topic_id;
    bool is_internal{false};
    std::vector<partition> partitions;
    std::int32_t topic_authorized_operations{not_asked};
  };
  std::int32_t throttle_time_ms{0};
  std::vector<broker> brokers;
  std::optional<std::string> cluster_id;
  std::int32_t controller_id{-1};
  std::vector<topic> topics;
  std::int32_t cluster_authorized_operations{not_asked};
  std::int16_t error_code{0};
};

struct describe_cluster_request {
  bool include_cluster_authorized_operations{false};
  /// 1 brokers, 2 controllers.
  std::int8_t endpoint_type{1};
  bool include_fenced_brokers{false};
};

struct describe_cluster_response {
  struct broker {
    std::int32_t broker_id{0};
    std::string host;
    std::int32_t port{0};
    std::optional<std::string> rack;
    bool is_fenced{false};
  };
  std::int32_t throttle_time_ms{0};
  std::int16_t error_code{0};
  std::optional<std::string> error_message;
  std::int8_t endpoint_type{1};
  std::string cluster_id;
  std::int32_t controller_id{-1};
  std::vector<broker> brokers;
  std::int32_t cluster_authorized_operations{metadata_response::not_asked};
};

}  // namespace troupe::kafka
