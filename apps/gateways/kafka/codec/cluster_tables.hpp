#pragma once

#include "apps/gateways/kafka/codec/cluster_messages.hpp"
#include "apps/gateways/kafka/codec/walker.hpp"

// Fields in the order of the wire; walker.hpp explains the notation.

namespace troupe::kafka {

// -- ApiVersions -----------------------------------------------------------------------------------------------------

template <>
struct layout<api_versions_request> {
  using s = api_versions_request;
  static constexpr api_key key = api_key::api_versions;
  static constexpr std::tuple fields{
      field{"ClientSoftwareName", &s::client_software_name}.since(3),
      field{"ClientSoftwareVersion", &s::client_software_version}.since(3),
  };
};

template <>
struct layout<api_versions_response> {
  using s = api_versions_response;
  static constexpr api_key key = api_key::api_versions;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"ApiKeys", &s::api_keys},
      field{"ThrottleTimeMs", &s::throttle_time_ms}.since(1),
      field{"SupportedFeatures", &s::supported_features}.since(3).tagged(0),
      field{"FinalizedFeaturesEpoch", &s::finalized_features_epoch}.since(3).tagged(1),
      field{"FinalizedFeatures", &s::finalized_features}.since(3).tagged(2),
      field{"ZkMigrationReady", &s::zk_migration_ready}.since(3).tagged(3),
  };
};

template <>
struct layout<api_versions_response::api_version> {
  using s = api_versions_response::api_version;
  static constexpr std::tuple fields{
      field{"ApiKey", &s::api_key},
      field{"MinVersion", &s::min_version},
      field{"MaxVersion", &s::max_version},
  };
};

template <>
struct layout<api_versions_response::supported_feature_key> {
  using s = api_versions_response::supported_feature_key;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"MinVersion", &s::min_version},
      field{"MaxVersion", &s::max_version},
  };
};

template <>
struct layout<api_versions_response::finalized_feature_key> {
  using s = api_versions_response::finalized_feature_key;
  static constexpr std::tuple fields{
      field{"Name", &s::name},
      field{"MaxVersionLevel", &s::max_version_level},
      field{"MinVersionLevel", &s::min_version_level},
  };
};

// -- Metadata --------------------------------------------------------------------------------------------------------

template <>
struct layout<metadata_request> {
  using s = metadata_request;
  static constexpr api_key key = api_key::metadata;
  static constexpr std::tuple fields{
      field{"Topics", &s::topics}.nullable(1),
      field{"AllowAutoTopicCreation", &s::allow_auto_topic_creation}.since(4),
      field{"IncludeClusterAuthorizedOperations", &s::include_cluster_authorized_operations}.since(8).until(10),
      field{"IncludeTopicAuthorizedOperations", &s::include_topic_authorized_operations}.since(8),
  };
};

template <>
struct layout<metadata_request::topic> {
  using s = metadata_request::topic;
  static constexpr std::tuple fields{
      field{"TopicId", &s::topic_id}.since(10),
      field{"Name", &s::name}.nullable(10),
  };
};

template <>
struct layout<metadata_response> {
  using s = metadata_response;
  static constexpr api_key key = api_key::metadata;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms}.since(3),
      field{"Brokers", &s::brokers},
      field{"ClusterId", &s::cluster_id}.since(2).nullable(),
      field{"ControllerId", &s::controller_id}.since(1),
      field{"Topics", &s::topics},
      field{"ClusterAuthorizedOperations", &s::cluster_authorized_operations}.since(8).until(10),
      field{"ErrorCode", &s::error_code}.since(13),
  };
};

template <>
struct layout<metadata_response::broker> {
  using s = metadata_response::broker;
  static constexpr std::tuple fields{
      field{"NodeId", &s::node_id},
      field{"Host", &s::host},
      field{"Port", &s::port},
      field{"Rack", &s::rack}.since(1).nullable(),
  };
};

template <>
struct layout<metadata_response::topic> {
  using s = metadata_response::topic;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"Name", &s::name}.nullable(12),
      field{"TopicId", &s::topic_id}.since(10),
      field{"IsInternal", &s::is_internal}.since(1),
      field{"Partitions", &s::partitions},
      field{"TopicAuthorizedOperations", &s::topic_authorized_operations}.since(8),
  };
};

template <>
struct layout<metadata_response::partition> {
  using s = metadata_response::partition;
  static constexpr std::tuple fields{
      field{"ErrorCode", &s::error_code},
      field{"PartitionIndex", &s::partition_index},
      field{"LeaderId", &s::leader_id},
      field{"LeaderEpoch", &s::leader_epoch}.since(7),
      field{"ReplicaNodes", &s::replica_nodes},
      field{"IsrNodes", &s::isr_nodes},
      field{"OfflineReplicas", &s::offline_replicas}.since(5),
  };
};

// -- DescribeCluster --------------------------------------------------------------------------------------------------

template <>
struct layout<describe_cluster_request> {
  using s = describe_cluster_request;
  static constexpr api_key key = api_key::describe_cluster;
  static constexpr std::tuple fields{
      field{"IncludeClusterAuthorizedOperations", &s::include_cluster_authorized_operations},
      field{"EndpointType", &s::endpoint_type}.since(1),
      field{"IncludeFencedBrokers", &s::include_fenced_brokers}.since(2),
  };
};

template <>
struct layout<describe_cluster_response> {
  using s = describe_cluster_response;
  static constexpr api_key key = api_key::describe_cluster;
  static constexpr std::tuple fields{
      field{"ThrottleTimeMs", &s::throttle_time_ms},
      field{"ErrorCode", &s::error_code},
      field{"ErrorMessage", &s::error_message}.nullable(),
      field{"EndpointType", &s::endpoint_type}.since(1),
      field{"ClusterId", &s::cluster_id},
      field{"ControllerId", &s::controller_id},
      field{"Brokers", &s::brokers},
      field{"ClusterAuthorizedOperations", &s::cluster_authorized_operations},
  };
};

template <>
struct layout<describe_cluster_response::broker> {
  using s = describe_cluster_response::broker;
  static constexpr std::tuple fields{
      field{"BrokerId", &s::broker_id},
      field{"Host", &s::host},
      field{"Port", &s::port},
      field{"Rack", &s::rack}.nullable(),
      field{"IsFenced", &s::is_fenced}.since(2),
  };
};

}  // namespace troupe::kafka
