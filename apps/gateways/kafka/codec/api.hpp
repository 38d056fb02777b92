#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "apps/gateways/kafka/codec/cluster_messages.hpp"

/// Which requests there are, and which of them we answer.
namespace troupe::kafka {

enum class api_key : std::int16_t {
  produce = 0,
  fetch = 1,
  list_offsets = 2,
  metadata = 3,
  api_versions = 18,
  create_topics = 19,
  delete_topics = 20,
  delete_records = 21,
  init_producer_id = 22,
  offset_for_leader_epoch = 23,
  describe_configs = 32,
  alter_configs = 33,
  describe_log_dirs = 35,
  create_partitions = 37,
  elect_leaders = 43,
  incremental_alter_configs = 44,
  alter_partition_reassignments = 45,
  list_partition_reassignments = 46,
  describe_cluster = 60,
};

/// An inclusive range of versions.
struct version_range {
  std::int16_t first{0};
  std::int16_t last{0};
  constexpr bool has(std::int16_t version) const noexcept { return first <= version && version <= last; }
};

/// What holds for a request and its response as a whole.
struct api_info {
  api_key key;
  std::string_view name;
  /// The versions whose layout we know; more than we offer.
  version_range versions;
  /// From here on lengths are varints, and every struct and header ends with a section of tagged fields.
  std::int16_t flexible_from;
  constexpr bool flexible(std::int16_t version) const noexcept { return version >= flexible_from; }
};

inline constexpr std::array known_apis{
    api_info{api_key::produce, "Produce", {3, 13}, 9},
    api_info{api_key::fetch, "Fetch", {4, 18}, 12},
    api_info{api_key::list_offsets, "ListOffsets", {1, 11}, 6},
    api_info{api_key::metadata, "Metadata", {0, 13}, 9},
    api_info{api_key::api_versions, "ApiVersions", {0, 4}, 3},
    api_info{api_key::create_topics, "CreateTopics", {2, 7}, 5},
    api_info{api_key::delete_topics, "DeleteTopics", {1, 6}, 4},
    api_info{api_key::delete_records, "DeleteRecords", {0, 2}, 2},
    api_info{api_key::init_producer_id, "InitProducerId", {0, 6}, 2},
    api_info{api_key::offset_for_leader_epoch, "OffsetForLeaderEpoch", {2, 4}, 4},
    api_info{api_key::describe_configs, "DescribeConfigs", {1, 4}, 4},
    api_info{api_key::alter_configs, "AlterConfigs", {0, 2}, 2},
    api_info{api_key::describe_log_dirs, "DescribeLogDirs", {0, 5}, 2},
    api_info{api_key::create_partitions, "CreatePartitions", {0, 3}, 2},
    api_info{api_key::elect_leaders, "ElectLeaders", {0, 2}, 2},
    api_info{api_key::incremental_alter_configs, "IncrementalAlterConfigs", {0, 1}, 1},
    api_info{api_key::alter_partition_reassignments, "AlterPartitionReassignments", {0, 1}, 0},
    api_info{api_key::list_partition_reassignments, "ListPartitionReassignments", {0, 0}, 0},
    api_info{api_key::describe_cluster, "DescribeCluster", {0, 2}, 0},
};

/// Null for a key that we do not know.
constexpr const api_info* find_api(api_key key) noexcept {
  for (auto& api : known_apis)
    if (api.key == key) return &api;
  return nullptr;
}
/// The protocol's name of an API ("Produce"); "unknown" for a key that we do not know.
constexpr std::string_view name_of(api_key key) noexcept {
  const auto* api = find_api(key);
  return api ? api->name : "unknown";
}

/// An API as the server announces and serves it.
struct offered_api {
  api_key key;
  /// What an ApiVersions answer says.
  version_range announced;
  /// The first version that is answered. Above `announced.first` only for Produce: librdkafka before 2.11.1 compresses
  /// only for servers that announce version 0, which no client in use sends any more.
  std::int16_t served_from;
};

/// All that we offer, by rising key.
std::span<const offered_api> offered_apis() noexcept;

/// Whether requests of this kind and version are answered. If not, the connection is closed, except that an ApiVersions
/// of any version gets an answer: see `refuse_api_versions`.
bool served(api_key key, std::int16_t version) noexcept;

/// The answer to an ApiVersions request.
api_versions_response announce_apis();
/// The answer to an ApiVersions request of a version that we do not know: to be encoded as version 0, whatever the
/// request said, so that any client can read it. The request's body must not be parsed.
api_versions_response refuse_api_versions();

}  // namespace troupe::kafka
