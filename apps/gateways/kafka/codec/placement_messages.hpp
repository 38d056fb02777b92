#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The messages about where replicas are: DescribeLogDirs, ElectLeaders, AlterPartitionReassignments,
/// ListPartitionReassignments. How members map to the wire, and in which versions, says the table in
/// placement_tables.hpp; what holds for all messages says codec.hpp.
namespace troupe::kafka {

struct describe_log_dirs_request {
  struct describable_log_dir_topic {
    std::string_view topic;
    std::vector<std::int32_t> partitions;
  };
  /// Null means all.
  std::optional<std::vector<describable_log_dir_topic>> topics{std::in_place};
};

struct describe_log_dirs_response {
  struct partition {
    std::int32_t partition_index{0};
    std::int64_t partition_size{0};
    std::int64_t offset_lag{0};
    bool is_future_key{false};
  };
  struct topic {
    std::string name;
    std::vector<partition> partitions;
  };
  struct log_dir {
    std::int16_t error_code{0};
    std::string name;
    std::vector<topic> topics;
    std::int64_t total_bytes{-1};
    std::int64_t usable_bytes{-1};
    bool is_cordoned{false};
  };
  std::int32_t throttle_time_ms{0};
  std::int16_t error_code{0};
  std::vector<log_dir> results;
};

struct elect_leaders_request {
  struct topic {
    std::string_view name;
    std::vector<std::int32_t> partitions;
  };
  std::int8_t election_type{0};
  /// Null means all.
  std::optional<std::vector<topic>> topic_partitions{std::in_place};
  std::int32_t timeout_ms{60'000};
};

struct elect_leaders_response {
  struct partition_result {
    std::int32_t partition_id{0};
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
  };
  struct replica_election_result {
    std::string topic;
    std::vector<partition_result> partition_results;
  };
  std::int32_t throttle_time_ms{0};
  std::int16_t error_code{0};
  std::vector<replica_election_result> replica_election_results;
};

struct alter_partition_reassignments_request {
  struct reassignable_partition {
    std::int32_t partition_index{0};
    /// Null cancels what is under way.
    std::optional<std::vector<std::int32_t>> replicas;
  };
  struct reassignable_topic {
    std::string_view name;
    std::vector<reassignable_partition> partitions;
  };
  std::int32_t timeout_ms{60'000};
  bool allow_replication_factor_change{true};
  std::vector<reassignable_topic> topics;
};

struct alter_partition_reassignments_response {
  struct reassignable_partition {
    std::int32_t partition_index{0};
    std::int16_t error_code{0};
    std::optional<std::string> error_message;
  };
  struct reassignable_topic {
    std::string name;
    std::vector<reassignable_partition> partitions;
  };
  std::int32_t throttle_time_ms{0};
  bool allow_replication_factor_change{true};
  std::int16_t error_code{0};
  std::optional<std::string> error_message;
  std::vector<reassignable_topic> responses;
};

struct list_partition_reassignments_request {
  struct topic {
    std::string_view name;
    std::vector<std::int32_t> partition_indexes;
  };
  std::int32_t timeout_ms{60'000};
  /// Null means all.
  std::optional<std::vector<topic>> topics;
};

struct list_partition_reassignments_response {
  struct ongoing_partition_reassignment {
    std::int32_t partition_index{0};
    std::vector<std::int32_t> replicas;
    std::vector<std::int32_t> adding_replicas;
    std::vector<std::int32_t> removing_replicas;
  };
  struct ongoing_topic_reassignment {
    std::string name;
    std::vector<ongoing_partition_reassignment> partitions;
  };
  std::int32_t throttle_time_ms{0};
  std::int16_t error_code{0};
  std::optional<std::string> error_message;
  std::vector<ongoing_topic_reassignment> topics;
};

}  // namespace troupe::kafka
