#pragma once

#include "apps/gateways/kafka/codec/placement_messages.hpp"
#include "apps/gateways/kafka/codec/walker.hpp"

// Fields in the order of the wire; walker.hpp explains the notation.

namespace troupe::kafka {

// -- DescribeLogDirs --------------------------------------------------------------------------------------------------

template <>
struct layout<describe_log_dirs_request> {
  using s = describe_log_dirs_request;
  static constexpr api_key key = api_key::describe_log_dirs;
  static constexpr std::tuple fields{
      field{"Topics", &s::topics}.nullable(),
  };
};

template <>
struct layout<describe_log_dirs_request::describable_log_dir_topic> {
  using s = describe_log_dirs_request::describable_log_dir_topic;
  static constexpr std::tuple fields{
      field{"Topic", &s::topic},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<describe_log_dirs_response> {
  using s = describe_log_dirs_response;
  static constexpr api_key key = api_key::describe_log_dirs;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"ErrorCode", &s::error_code}.since(3),
      field{"Results", &s::results},
  };
};

template <>
struct layout<describe_log_dirs_response::log_dir> {
  using s = describe_log_dirs_response::log_dir;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"LogDir", &s::name},
      field{"Topics", &s::topics},
      field{"TotalBytes", &s::total_bytes}.since(4),
      field{"UsableBytes", &s::usable_bytes}.since(4),
      field{"IsCordoned", &s::is_cordoned}.since(5),
  };
};

template <>
struct layout<describe_log_dirs_response::topic> {
  using s = describe_log_dirs_response::topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<describe_log_dirs_response::partition> {
  using s = describe_log_dirs_response::partition;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"PartitionSize", &s::partition_size},
      field{"OffsetLag", &s::offset_lag},
      field{"IsFutureKey", &s::is_future_key},
  };
};

// -- ElectLeaders -----------------------------------------------------------------------------------------------------

template <>
struct layout<elect_leaders_request> {
  using s = elect_leaders_request;
  static constexpr api_key key = api_key::elect_leaders;
  static constexpr std::tuple fields{
      field{"ElectionType", &s::election_type}.since(1),
      field{"TopicPartitions", &s::topic_partitions}.nullable(),
      field{"TimeoutMs", &s::timeout_ms},
  };
};

template <>
struct layout<elect_leaders_request::topic> {
  using s = elect_leaders_request::topic;
  static constexpr std::tuple fields{
      field{"Topic", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<elect_leaders_response> {
  using s = elect_leaders_response;
  static constexpr api_key key = api_key::elect_leaders;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"ErrorCode", &s::error_code}.since(1),
      field{"ReplicaElectionResults", &s::replica_election_results},
  };
};

template <>
struct layout<elect_leaders_response::replica_election_result> {
  using s = elect_leaders_response::replica_election_result;
  static constexpr std::tuple fields{
      field{"Topic", &s::topic},
      field{"PartitionResult", &s::partition_results},
  };
};

template <>
struct layout<elect_leaders_response::partition_result> {
  using s = elect_leaders_response::partition_result;
  static constexpr std::tuple fields{
      field{"PartitionId", &s::partition_id},
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
  };
};

// -- AlterPartitionReassignments --------------------------------------------------------------------------------------

template <>
struct layout<alter_partition_reassignments_request> {
  using s = alter_partition_reassignments_request;
  static constexpr api_key key = api_key::alter_partition_reassignments;
  static constexpr std::tuple fields{
      field{"TimeoutMs", &s::timeout_ms},
      field{"AllowReplicationFactorChange", &s::allow_replication_factor_change}.since(1),
      field{"Topics", &s::topics},
  };
};

template <>
struct layout<alter_partition_reassignments_request::reassignable_topic> {
  using s = alter_partition_reassignments_request::reassignable_topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<alter_partition_reassignments_request::reassignable_partition> {
  using s = alter_partition_reassignments_request::reassignable_partition;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"Replicas", &s::replicas}.nullable(),
  };
};

template <>
struct layout<alter_partition_reassignments_response> {
  using s = alter_partition_reassignments_response;
  static constexpr api_key key = api_key::alter_partition_reassignments;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"AllowReplicationFactorChange", &s::allow_replication_factor_change}.since(1),
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
      field{"Responses", &s::responses},
  };
};

template <>
struct layout<alter_partition_reassignments_response::reassignable_topic> {
  using s = alter_partition_reassignments_response::reassignable_topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<alter_partition_reassignments_response::reassignable_partition> {
  using s = alter_partition_reassignments_response::reassignable_partition;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
  };
};

// -- ListPartitionReassignments ---------------------------------------------------------------------------------------

template <>
struct layout<list_partition_reassignments_request> {
  using s = list_partition_reassignments_request;
  static constexpr api_key key = api_key::list_partition_reassignments;
  static constexpr std::tuple fields{
      field{"TimeoutMs", &s::timeout_ms},
      field{"Topics", &s::topics}.nullable(),
  };
};

template <>
struct layout<list_partition_reassignments_request::topic> {
  using s = list_partition_reassignments_request::topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"PartitionIndexes", &s::partition_indexes},
  };
};

template <>
struct layout<list_partition_reassignments_response> {
  using s = list_partition_reassignments_response;
  static constexpr api_key key = api_key::list_partition_reassignments;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
      field{"Topics", &s::topics},
  };
};

template <>
struct layout<list_partition_reassignments_response::ongoing_topic_reassignment> {
  using s = list_partition_reassignments_response::ongoing_topic_reassignment;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<list_partition_reassignments_response::ongoing_partition_reassignment> {
  using s = list_partition_reassignments_response::ongoing_partition_reassignment;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"Replicas", &s::replicas},
      field{"AddingReplicas", &s::adding_replicas},
      field{"RemovingReplicas", &s::removing_replicas},
  };
};

}  // namespace troupe::kafka
