#pragma once

#include "apps/gateways/kafka/codec/topic_messages.hpp"
#include "apps/gateways/kafka/codec/walker.hpp"

// Fields in the order of the wire; walker.hpp explains the notation.

namespace troupe::kafka {

// -- CreateTopics ----------------------------------------------------------------------------------------------------

template <>
struct layout<create_topics_request> {
  using s = create_topics_request;
  static constexpr api_key key = api_key::create_topics;
  static constexpr std::tuple fields{
      field{"Topics", &s::topics},
      field{"TimeoutMs", &s::timeout_ms},
      field{"ValidateOnly", &s::validate_only},
  };
};

template <>
struct layout<create_topics_request::creatable_topic> {
  using s = create_topics_request::creatable_topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"NumPartitions", &s::num_partitions},
      field{"ReplicationFactor", &s::replication_factor},
      field{"Assignments", &s::assignments},
      field{"Configs", &s::configs},
  };
};

template <>
struct layout<create_topics_request::creatable_replica_assignment> {
  using s = create_topics_request::creatable_replica_assignment;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"BrokerIds", &s::broker_ids},
  };
};

template <>
struct layout<create_topics_request::creatable_topic_config> {
  using s = create_topics_request::creatable_topic_config;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Value", &s::value}.nullable(),
  };
};

template <>
struct layout<create_topics_response> {
  using s = create_topics_response;
  static constexpr api_key key = api_key::create_topics;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Topics", &s::topics},
  };
};

template <>
struct layout<create_topics_response::creatable_topic_result> {
  using s = create_topics_response::creatable_topic_result;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"TopicId", &s::topic_id}.since(7),
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
      field{"TopicConfigErrorCode", &s::topic_config_error_code}.since(5).tagged(0),
      field{"NumPartitions", &s::num_partitions}.since(5),
      field{"ReplicationFactor", &s::replication_factor}.since(5),
      field{"Configs", &s::configs}.since(5).nullable(),
  };
};

template <>
struct layout<create_topics_response::creatable_topic_configs> {
  using s = create_topics_response::creatable_topic_configs;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Value", &s::value}.nullable(),
      field{"ReadOnly", &s::read_only},
      field{"ConfigSource", &s::config_source},
      field{"IsSensitive", &s::is_sensitive},
  };
};

// -- DeleteTopics ----------------------------------------------------------------------------------------------------

template <>
struct layout<delete_topics_request> {
  using s = delete_topics_request;
  static constexpr api_key key = api_key::delete_topics;
  static constexpr std::tuple fields{
      field{"Topics", &s::topics}.since(6),
      field{"TopicNames", &s::topic_names}.until(5),
      field{"TimeoutMs", &s::timeout_ms},
  };
};

template <>
struct layout<delete_topics_request::delete_topic_state> {
  using s = delete_topics_request::delete_topic_state;
  static constexpr std::tuple fields{
      field{"Name", &s::name}.nullable(),
      field{"TopicId", &s::topic_id},
  };
};

template <>
struct layout<delete_topics_response> {
  using s = delete_topics_response;
  static constexpr api_key key = api_key::delete_topics;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Responses", &s::responses},
  };
};

template <>
struct layout<delete_topics_response::deletable_topic_result> {
  using s = delete_topics_response::deletable_topic_result;
  static constexpr std::tuple fields{
      field{"Name", &s::name}.nullable(6),
      field{"TopicId", &s::topic_id}.since(6),
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.since(5).nullable(),
  };
};

// -- CreatePartitions ------------------------------------------------------------------------------------------------

template <>
struct layout<create_partitions_request> {
  using s = create_partitions_request;
  static constexpr api_key key = api_key::create_partitions;
  static constexpr std::tuple fields{
      field{"Topics", &s::topics},
      field{"TimeoutMs", &s::timeout_ms},
      field{"ValidateOnly", &s::validate_only},
  };
};

template <>
struct layout<create_partitions_request::topic> {
  using s = create_partitions_request::topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Count", &s::count},
      field{"Assignments", &s::assignments}.nullable(),
  };
};

template <>
struct layout<create_partitions_request::assignment> {
  using s = create_partitions_request::assignment;
  static constexpr std::tuple fields{
      field{"BrokerIds", &s::broker_ids},
  };
};

template <>
struct layout<create_partitions_response> {
  using s = create_partitions_response;
  static constexpr api_key key = api_key::create_partitions;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Results", &s::results},
  };
};

template <>
struct layout<create_partitions_response::topic_result> {
  using s = create_partitions_response::topic_result;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
  };
};

// -- DeleteRecords ---------------------------------------------------------------------------------------------------

template <>
struct layout<delete_records_request> {
  using s = delete_records_request;
  static constexpr api_key key = api_key::delete_records;
  static constexpr std::tuple fields{
      field{"Topics", &s::topics},
      field{"TimeoutMs", &s::timeout_ms},
  };
};

template <>
struct layout<delete_records_request::topic> {
  using s = delete_records_request::topic;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<delete_records_request::partition> {
  using s = delete_records_request::partition;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"Offset", &s::offset},
  };
};

template <>
struct layout<delete_records_response> {
  using s = delete_records_response;
  static constexpr api_key key = api_key::delete_records;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"Topics", &s::topics},
  };
};

template <>
struct layout<delete_records_response::topic_result> {
  using s = delete_records_response::topic_result;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"Partitions", &s::partitions},
  };
};

template <>
struct layout<delete_records_response::partition_result> {
  using s = delete_records_response::partition_result;
  static constexpr std::tuple fields{
      field{"PartitionIndex", &s::partition_index},
      field{"LowWatermark", &s::low_watermark},
      field{"ErrorCode", &s::error_code},
  };
};

}  // namespace troupe::kafka
