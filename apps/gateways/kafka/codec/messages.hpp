#pragma once

#include "apps/gateways/kafka/codec/cluster_messages.hpp"
#include "apps/gateways/kafka/codec/config_messages.hpp"
#include "apps/gateways/kafka/codec/fetch_messages.hpp"
#include "apps/gateways/kafka/codec/placement_messages.hpp"
#include "apps/gateways/kafka/codec/produce_messages.hpp"
#include "apps/gateways/kafka/codec/topic_messages.hpp"

namespace troupe::kafka {

template <class... Messages>
struct message_list {};

/// Every message that the codec knows, for what must treat them all alike.
using all_requests =
    message_list<produce_request, fetch_request, list_offsets_request, metadata_request, api_versions_request,
                 create_topics_request, delete_topics_request, delete_records_request, init_producer_id_request,
                 offset_for_leader_epoch_request, describe_configs_request, alter_configs_request,
                 create_partitions_request, incremental_alter_configs_request, describe_cluster_request,
                 describe_log_dirs_request, elect_leaders_request, alter_partition_reassignments_request,
                 list_partition_reassignments_request>;
using all_responses =
    message_list<produce_response, fetch_response, list_offsets_response, metadata_response, api_versions_response,
                 create_topics_response, delete_topics_response, delete_records_response, init_producer_id_response,
                 offset_for_leader_epoch_response, describe_configs_response, alter_configs_response,
                 create_partitions_response, incremental_alter_configs_response, describe_cluster_response,
                 describe_log_dirs_response, elect_leaders_response, alter_partition_reassignments_response,
                 list_partition_reassignments_response>;

}  // namespace troupe::kafka
