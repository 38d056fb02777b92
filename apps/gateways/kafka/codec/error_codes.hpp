#pragma once

#include <cstdint>
#include <string_view>

#include "apps/gateways/kafka/codec/api.hpp"
#include "runtime/base/errc.hpp"

/// The numbers by which the Kafka protocol names what went wrong. Nobody else knows them.
namespace troupe::kafka {

namespace code {
inline constexpr std::int16_t unknown_server_error = -1;
inline constexpr std::int16_t none = 0;
inline constexpr std::int16_t offset_out_of_range = 1;
inline constexpr std::int16_t corrupt_message = 2;
inline constexpr std::int16_t unknown_topic_or_partition = 3;
inline constexpr std::int16_t leader_not_available = 5;
inline constexpr std::int16_t not_leader_or_follower = 6;
inline constexpr std::int16_t request_timed_out = 7;
inline constexpr std::int16_t message_too_large = 10;
inline constexpr std::int16_t coordinator_load_in_progress = 14;
inline constexpr std::int16_t invalid_topic_exception = 17;
inline constexpr std::int16_t not_enough_replicas = 19;
inline constexpr std::int16_t not_enough_replicas_after_append = 20;
inline constexpr std::int16_t invalid_required_acks = 21;
inline constexpr std::int16_t invalid_timestamp = 32;
inline constexpr std::int16_t unsupported_version = 35;
inline constexpr std::int16_t topic_already_exists = 36;
inline constexpr std::int16_t invalid_partitions = 37;
inline constexpr std::int16_t invalid_replication_factor = 38;
inline constexpr std::int16_t invalid_replica_assignment = 39;
inline constexpr std::int16_t invalid_config = 40;
inline constexpr std::int16_t not_controller = 41;
inline constexpr std::int16_t invalid_request = 42;
inline constexpr std::int16_t policy_violation = 44;
inline constexpr std::int16_t out_of_order_sequence_number = 45;
inline constexpr std::int16_t invalid_producer_epoch = 47;
inline constexpr std::int16_t transactional_id_authorization_failed = 53;
inline constexpr std::int16_t kafka_storage_error = 56;
inline constexpr std::int16_t fetch_session_id_not_found = 70;
inline constexpr std::int16_t fenced_leader_epoch = 74;
inline constexpr std::int16_t unknown_leader_epoch = 75;
inline constexpr std::int16_t unsupported_compression_type = 76;
inline constexpr std::int16_t offset_not_available = 78;
inline constexpr std::int16_t preferred_leader_not_available = 80;
inline constexpr std::int16_t eligible_leaders_not_available = 83;
inline constexpr std::int16_t election_not_needed = 84;
inline constexpr std::int16_t no_reassignment_in_progress = 85;
inline constexpr std::int16_t invalid_record = 87;
inline constexpr std::int16_t unknown_topic_id = 100;
inline constexpr std::int16_t mismatched_endpoint_type = 114;
inline constexpr std::int16_t unsupported_endpoint_type = 115;
}  // namespace code

/// What a client of this API and version is told. Where a version does not know the fitting code, an older one that
/// makes the client do the right thing.
std::int16_t to_code(errc error, api_key key, std::int16_t version) noexcept;

/// The protocol's name of a code ("NOT_LEADER_OR_FOLLOWER"), for logs and metrics; empty for one that we never send.
std::string_view name_of_code(std::int16_t code) noexcept;

}  // namespace troupe::kafka
