#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"

/// The messages that read: Fetch, ListOffsets, OffsetForLeaderEpoch. How members map to the wire, and in which
/// versions, says the table in fetch_tables.hpp; what holds for all messages says codec.hpp.
namespace troupe::kafka {

/// Record bytes that a message counts but does not hold: the sender puts them in their place (a range of a file, a
/// mapped block), so that they are never copied. `handle` is the sender's own name for them.
struct outside_bytes {
  std::uint32_t size{0};
  std::uint32_t handle{0};
};

/// The records of a fetch response. On the wire never null: librdkafka takes a null for a broken answer.
struct fetched_records {
  /// Only in a decoded response: the bytes, within its frame. An encoder copies them.
  byte_view here;
  /// Only in a response to send.
  outside_bytes outside;
};

struct fetch_request {
  struct replica_identity {
    std::int32_t replica_id{-1};
    std::int64_t replica_epoch{-1};
    friend bool operator==(const replica_identity&, const replica_identity&) = default;
  };
  struct fetch_partition {
    std::int32_t partition{0};
    std::int32_t current_leader_epoch{-1};
    std::int64_t fetch_offset{0};
    std::int32_t last_fetched_epoch{-1};
    std::int64_t log_start_offset{-1};
    std::int32_t partition_max_bytes{0};
    uuid replica_directory_id;
    std::int64_t high_watermark{std::numeric_limits<std::int64_t>::max()};
  };
  struct fetch_topic {
    std::string_view topic;
    uuid topic_id;
    std::vector<fetch_partition> partitions;
  };
  struct forgotten_topic {
    std::string_view topic;
    uuid topic_id;
    std::vector<std::int32_t> partitions;
  };
  std::optional<std::string_view> cluster_id;
  std::int32_t replica_id{-1};
  replica_identity replica_state;
  std::int32_t max_wait_ms{0};
  std::int32_t min_bytes{0};
  std::int32_t max_bytes{std::numeric_limits<std::int32_t>::max()};
  std::int8_t isolation_level{0};
  std::int32_t session_id{0};
  std::int32_t session_epoch{-1};
  std::vector<fetch_topic> topics;
  std::vector<forgotten_topic> forgotten_topics_data;
  std::string_view rack_id;
};

struct fetch_response {
  struct epoch_end_offset {
    std::int32_t epoch{-1};
    std::int64_t end_offset{-1};
    friend bool operator==(const epoch_end_offset&, const epoch_end_offset&) = default;
  };
  struct leader_id_and_epoch {
    std::int32_t leader_id{-1};
    std::int32_t leader_epoch{-1};
    friend bool operator==(const leader_id_and_epoch&, const leader_id_and_epoch&) = default;
  };
  struct snapshot {
    std::int64_t end_offset{-1};
    std::int32_t epoch{-1};
    friend bool operator==(const snapshot&, const snapshot&) = default;
  };
  struct aborted_transaction {
    std::int64_t producer_id{0};
    std::int64_t first_offset{0};
  };
  struct partition_data {
    std::int32_t partition_index{0};
    std::int16_t error_code{0};
    std::int64_t high_watermark{0};
    std::int64_t last_stable_offset{-1};
    std::int64_t log_start_offset{-1};
    epoch_end_offset diverging_epoch;
    leader_id_and_epoch current_leader;
    snapshot snapshot_id;
    /// Null when reading uncommitted, else a list that may be empty.
    std::optional<std::vector<aborted_transaction>> aborted_transactions;
    std::int32_t preferred_read_replica{-1};
    fetched_records records;
  };
  struct fetchable_topic {
    std::string topic;
    uuid topic_id;
    std::vector<partition_data> partitions;
  };
  struct node_endpoint {
    std::int32_t node_id{0};
    std::string host;
    std::int32_t port{0};
    std::optional<std::string> rack;
  };
  std::int32_t throttle_time_ms{0};
  std::int16_t error_code{0};
  std::int32_t session_id{0};
  std::vector<fetchable_topic> responses;
  std::vector<node_endpoint> node_endpoints;
};

struct list_offsets_request {
  struct partition {
    std::int32_t partition_index{0};
    std::int32_t current_leader_epoch{-1};
    std::int64_t timestamp{0};
  };
  struct topic {
    std::string_view name;
    std::vector<partition> partitions;
  };
  std::int32_t replica_id{0};
  std::int8_t isolation_level{0};
  std::vector<topic> topics;
  std::int32_t timeout_ms{0};
};

struct list_offsets_response {
  struct partition {
    std::int32_t partition_index{0};
    std::int16_t error_code{0};
    std::int64_t timestamp{-1};
    std::int64_t offset{-1};
    std::int32_t leader_epoch{-1};
  };
  struct topic {
    std::string name;
    std::vector<partition> partitions;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<topic> topics;
};

struct offset_for_leader_epoch_request {
  struct offset_for_leader_partition {
    std::int32_t partition{0};
    std::int32_t current_leader_epoch{-1};
    std::int32_t leader_epoch{0};
  };
  struct offset_for_leader_topic {
    std::string_view topic;
    std::vector<offset_for_leader_partition> partitions;
  };
  std::int32_t replica_id{-2};
  std::vector<offset_for_leader_topic> topics;
};

struct offset_for_leader_epoch_response {
  struct epoch_end_offset {
    std::int16_t error_code{0};
    std::int32_t partition{0};
    std::int32_t leader_epoch{-1};
    std::int64_t end_offset{-1};
  };
  struct offset_for_leader_topic_result {
    std::string topic;
    std::vector<epoch_end_offset> partitions;
  };
  std::int32_t throttle_time_ms{0};
  std::vector<offset_for_leader_topic_result> topics;
};

}  // namespace troupe::kafka
