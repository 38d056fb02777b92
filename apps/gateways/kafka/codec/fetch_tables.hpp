#pragma once

#include "apps/gateways/kafka/codec/fetch_messages.hpp"
#include "apps/gateways/kafka/codec/walker.hpp"

// Fields in the order of the wire; walker.hpp explains the notation.

namespace troupe::kafka {

// -- Fetch -----------------------------------------------------------------------------------------------------------

template <>
struct layout<fetch_request> {
  using s = fetch_request;
  static constexpr api_key key = api_key::fetch;
  static constexpr std::tuple fields{
      field{"ClusterId", &s::cluster_id}.since(12).nullable().tagged(0),
      field{"ReplicaId", &s::replica_id}.until(14),
      field{"ReplicaState", &s::replica_state}.since(15).tagged(1),
      field{"MaxWaitMs", &s::max_wait_ms},
      field{"MinBytes", &s::min_bytes},
      field{"MaxBytes", &s::max_bytes},
      field{"IsolationLevel", &s::isolation_level},
      field{"SessionId", &s::session_id}.since(7),
      field{"SessionEpoch", &s::session_epoch}.since(7),
      field{"Topics", &s::topics},
      field{"ForgottenTopicsData", &s::forgotten_topics_data}.since(7),
      field{"RackId", &s::rack_id}.since(11),
  };
};

template <>
struct layout<fetch_request::replica_identity> {
  using s = fetch_request::replica_identity;
  static constexpr std::tuple fields{
      field{"ReplicaId", &s::replica_id},
      field{"ReplicaEpoch", &s::replica_epoch},
  };
};

template <>
struct layout<fetch_request::fetch_topic> {
  using s = fetch_request::fetch_topic;
  static constexpr std::tuple fields{
      field{"Topic", &s::topic}.until(12),
      field{"TopicId", &s::topic_id}.since(13),
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<fetch_request::fetch_partition> {
  using s = fetch_request::fetch_partition;
  static constexpr std::tuple fields{
      field{"Partition", &s::partition},
      field{"CurrentLeaderEpoch", &s::current_leader_epoch}.since(9),
      field{"FetchOffset", &s::fetch_offset},
      field{"LastFetchedEpoch", &s::last_fetched_epoch}.since(12),
      field{"LogStartOffset", &s::log_start_offset}.since(5),
      field{"PartitionMaxBytes", &s::partition_max_bytes},
      field{"ReplicaDirectoryId", &s::replica_directory_id}.since(17).tagged(0),
      field{"HighWatermark", &s::high_watermark}.since(18).tagged(1),
  };
};

template <>
struct layout<fetch_request::forgotten_topic> {
  using s = fetch_request::forgotten_topic;
  static constexpr std::tuple fields{
      field{"Topic", &s::topic}.until(12),
      field{"TopicId", &s::topic_id}.since(13),
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<fetch_response> {
  using s = fetch_response;
  static constexpr api_key key = api_key::fetch;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"ErrorCode", &s::error_code}.since(7),
      field{"SessionId", &s::session_id}.since(7),
      field{"Responses", &s::responses},
      field{"NodeEndpoints", &s::node_endpoints}.since(16).tagged(0),
  };
};

template <>
struct layout<fetch_response::fetchable_topic> {
  using s = fetch_response::fetchable_topic;
  static constexpr std::tuple fields{
      field{"Topic", &s::topic}.until(12),
      field{"TopicId", &s::topic_id}.since(13),
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<fetch_response::partition_data> {
  using s = fetch_response::partition_data;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"ErrorCode", &s::error_code},
      field{"HighWatermark", &s::high_watermark},
      field{"LastStableOffset", &s::last_stable_offset},
      field{"LogStartOffset", &s::log_start_offset}.since(5),
      field{"DivergingEpoch", &s::diverging_epoch}.since(12).tagged(0),
      field{"CurrentLeader", &s::current_leader}.since(12).tagged(1),
      field{"SnapshotId", &s::snapshot_id}.since(12).tagged(2),
      field{"AbortedTransactions", &s::aborted_transactions}.nullable(),
      field{"PreferredReadReplica", &s::preferred_read_replica}.since(11),
      field{"Records", &s::records},
  };
};

template <>
struct layout<fetch_response::epoch_end_offset> {
  using s = fetch_response::epoch_end_offset;
  static constexpr std::tuple fields{
      field{"Epoch", &s::epoch},
      field{"EndOffset", &s::end_offset},
  };
};

template <>
struct layout<fetch_response::leader_id_and_epoch> {
  using s = fetch_response::leader_id_and_epoch;
  static constexpr std::tuple fields{
      field{"LeaderId", &s::leader_id},
      field{"LeaderEpoch", &s::leader_epoch},
  };
};

template <>
struct layout<fetch_response::snapshot> {
  using s = fetch_response::snapshot;
  static constexpr std::tuple fields{
      field{"EndOffset", &s::end_offset},
      field{"Epoch", &s::epoch},
  };
};

template <>
struct layout<fetch_response::aborted_transaction> {
  using s = fetch_response::aborted_transaction;
  static constexpr std::tuple fields{
      field{"ProducerId", &s::producer_id},
      field{"FirstOffset", &s::first_offset},
  };
};

template <>
struct layout<fetch_response::node_endpoint> {
  using s = fetch_response::node_endpoint;
  static constexpr std::tuple fields{
      field{"NodeId", &s::node_id},
      field{"Host", &s::host},
      field{"Port", &s::port},
      field{"Rack", &s::rack}.nullable(),
  };
};

// -- ListOffsets -----------------------------------------------------------------------------------------------------

template <>
struct layout<list_offsets_request> {
  using s = list_offsets_request;
  static constexpr api_key key = api_key::list_offsets;
  static constexpr std::tuple fields{
      field{"ReplicaId", &s::replica_id},
      field{"IsolationLevel", &s::isolation_level}.since(2),
      field{"Topics", &s::topics},
      field{"TimeoutMs", &s::timeout_ms}.since(10),
  };
};

template <>
struct layout<list_offsets_request::topic> {
  using s = list_offsets_request::topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<list_offsets_request::partition> {
  using s = list_offsets_request::partition;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"CurrentLeaderEpoch", &s::current_leader_epoch}.since(4),
      field{"Timestamp", &s::timestamp},
  };
};

template <>
struct layout<list_offsets_response> {
  using s = list_offsets_response;
  static constexpr api_key key = api_key::list_offsets;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms}.since(2),
      field{"Topics", &s::topics},
  };
};

template <>
struct layout<list_offsets_response::topic> {
  using s = list_offsets_response::topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<list_offsets_response::partition> {
  using s = list_offsets_response::partition;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"ErrorCode", &s::error_code},
      field{"Timestamp", &s::timestamp},
      field{"Offset", &s::offset},
      field{"LeaderEpoch", &s::leader_epoch}.since(4),
  };
};

// -- OffsetForLeaderEpoch --------------------------------------------------------------------------------------------

template <>
struct layout<offset_for_leader_epoch_request> {
  using s = offset_for_leader_epoch_request;
  static constexpr api_key key = api_key::offset_for_leader_epoch;
  static constexpr std::tuple fields{
      field{"ReplicaId", &s::replica_id}.since(3),
      field{"Topics", &s::topics},
  };
};

template <>
struct layout<offset_for_leader_epoch_request::offset_for_leader_topic> {
  using s = offset_for_leader_epoch_request::offset_for_leader_topic;
  static constexpr std::tuple fields{
      field{"Topic", &s::topic},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<offset_for_leader_epoch_request::offset_for_leader_partition> {
  using s = offset_for_leader_epoch_request::offset_for_leader_partition;
  static constexpr std::tuple fields{
      field{"Partition", &s::partition},
      field{"CurrentLeaderEpoch", &s::current_leader_epoch},
      field{"LeaderEpoch", &s::leader_epoch},
  };
};

template <>
struct layout<offset_for_leader_epoch_response> {
  using s = offset_for_leader_epoch_response;
  static constexpr api_key key = api_key::offset_for_leader_epoch;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Topics", &s::topics},
  };
};

template <>
struct layout<offset_for_leader_epoch_response::offset_for_leader_topic_result> {
  using s = offset_for_leader_epoch_response::offset_for_leader_topic_result;
  static constexpr std::tuple fields{
      field{"Topic", &s::topic},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<offset_for_leader_epoch_response::epoch_end_offset> {
  using s = offset_for_leader_epoch_response::epoch_end_offset;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"Partition", &s::partition},
      field{"LeaderEpoch", &s::leader_epoch},
      field{"EndOffset", &s::end_offset},
  };
};

}  // namespace troupe::kafka
