#include "apps/gateways/kafka/codec/error_codes.hpp"

#include <array>
#include <utility>

// Two things decide here: what the error is, and what the clients do on a code. They know three answers: repeat (some
// codes after a look at the metadata), tell the user, give up for good. A code that a client does not expect from an
// API is worse than a vague one: Java's consumer, for one, throws an IllegalStateException.
namespace troupe::kafka {

namespace {

/// Try again, from APIs that each know another word for it. `or_elsewhere`: the receiver may be gone, so look it up.
std::int16_t repeat(api_key key, bool or_elsewhere) noexcept {
  switch (key) {
    case api_key::fetch:
    case api_key::list_offsets:
    case api_key::offset_for_leader_epoch:
    case api_key::delete_records:
      return code::not_leader_or_follower;
    case api_key::produce:
      // Unlike a time-out, both say that nothing was written.
      return or_elsewhere ? code::not_leader_or_follower : code::not_enough_replicas;
    case api_key::init_producer_id:
      return code::coordinator_load_in_progress;
    case api_key::metadata:
      return code::leader_not_available;
    default:
      return or_elsewhere ? code::not_controller : code::request_timed_out;
  }
}

bool asks_partitions(api_key key) noexcept {
  switch (key) {
    case api_key::produce:
    case api_key::fetch:
    case api_key::list_offsets:
    case api_key::offset_for_leader_epoch:
    case api_key::delete_records:
      return true;
    default:
      return false;
  }
}

/// Whether a wrong number of partitions means one that does not exist, not a number to create.
bool names_partitions(api_key key) noexcept {
  return key == api_key::elect_leaders || key == api_key::alter_partition_reassignments;
}

/// Whether the request names the leader epoch that the client believes in, and so expects to be told that it is wrong.
bool knows_epochs(api_key key, std::int16_t version) noexcept {
  return (key == api_key::fetch && version >= 9) || (key == api_key::list_offsets && version >= 4) ||
         key == api_key::offset_for_leader_epoch;
}

bool knows_topic_ids(api_key key, std::int16_t version) noexcept {
  return (key == api_key::metadata && version >= 10) || (key == api_key::delete_topics && version >= 6) ||
         ((key == api_key::fetch || key == api_key::produce) && version >= 13);
}

bool knows_storage_errors(api_key key, std::int16_t version) noexcept {
  return !(key == api_key::fetch && version < 6) && !(key == api_key::produce && version < 4);
}

}  // namespace

std::int16_t to_code(errc error, api_key key, std::int16_t version) noexcept {
  switch (error) {
    case errc::not_leader:
      // Of a partition, or of the cluster: the latter is the controller.
      return asks_partitions(key) ? code::not_leader_or_follower : repeat(key, true);
    case errc::fenced_epoch:
      return knows_epochs(key, version) ? code::fenced_leader_epoch : code::not_leader_or_follower;
    case errc::unknown_epoch:
      return knows_epochs(key, version) ? code::unknown_leader_epoch : code::not_leader_or_follower;
    case errc::not_enough_replicas:
      return key == api_key::elect_leaders ? code::preferred_leader_not_available : code::not_enough_replicas;
    case errc::not_enough_replicas_after_append:
      return code::not_enough_replicas_after_append;
    case errc::offset_not_available:
      return key == api_key::list_offsets && version < 5 ? code::leader_not_available : code::offset_not_available;

    case errc::unknown_topic:
      return code::unknown_topic_or_partition;
    case errc::unknown_topic_id:
      return knows_topic_ids(key, version) ? code::unknown_topic_id : code::unknown_topic_or_partition;
    case errc::topic_exists:
      return code::topic_already_exists;
    case errc::invalid_topic:
      return code::invalid_topic_exception;
    case errc::invalid_partitions:
      return names_partitions(key) ? code::unknown_topic_or_partition : code::invalid_partitions;
    case errc::invalid_replication:
      return code::invalid_replication_factor;
    case errc::invalid_assignment:
      return code::invalid_replica_assignment;
    case errc::invalid_config:
      return code::invalid_config;
    case errc::invalid_request:
    case errc::malformed:
      return code::invalid_request;
    case errc::policy_violation:
      return code::policy_violation;
    case errc::unsupported_version:
      return code::unsupported_version;

    case errc::corrupt_batch:
      return code::corrupt_message;
    case errc::invalid_record:
      return code::invalid_record;
    case errc::message_too_large:
      return code::message_too_large;
    case errc::invalid_timestamp:
      return code::invalid_timestamp;
    case errc::unsupported_compression:
      return code::unsupported_compression_type;
    case errc::invalid_required_acks:
      return code::invalid_required_acks;

    case errc::out_of_order_sequence:
      return code::out_of_order_sequence_number;
    case errc::invalid_producer_epoch:
      return code::invalid_producer_epoch;
    case errc::transactions_unavailable:
      // Ends the producer for good; most others, also UNSUPPORTED_VERSION, are tried again for ever by some client.
      return code::transactional_id_authorization_failed;

    case errc::offset_out_of_range:
      return code::offset_out_of_range;

    case errc::storage_full:
    case errc::storage_failed:
      return knows_storage_errors(key, version) ? code::kafka_storage_error : code::not_leader_or_follower;
    case errc::storage_damaged:
      // Reading again does not help: consumers show this one to their users.
      return key == api_key::fetch ? code::corrupt_message : code::kafka_storage_error;

    case errc::timed_out:
      return key == api_key::produce || key == api_key::delete_records ? code::request_timed_out : repeat(key, false);
    case errc::closed:
      return repeat(key, true);
    case errc::busy:
      return repeat(key, false);

    case errc::in_use:
    case errc::wrong_format:
    case errc::system:
    case errc::internal:
      return code::unknown_server_error;
  }
  return code::unknown_server_error;
}

std::string_view name_of_code(std::int16_t number) noexcept {
  static constexpr auto names = std::to_array<std::pair<std::int16_t, std::string_view>>({
      {code::unknown_server_error, "UNKNOWN_SERVER_ERROR"},
      {code::none, "NONE"},
      {code::offset_out_of_range, "OFFSET_OUT_OF_RANGE"},
      {code::corrupt_message, "CORRUPT_MESSAGE"},
      {code::unknown_topic_or_partition, "UNKNOWN_TOPIC_OR_PARTITION"},
      {code::leader_not_available, "LEADER_NOT_AVAILABLE"},
      {code::not_leader_or_follower, "NOT_LEADER_OR_FOLLOWER"},
      {code::request_timed_out, "REQUEST_TIMED_OUT"},
      {code::message_too_large, "MESSAGE_TOO_LARGE"},
      {code::coordinator_load_in_progress, "COORDINATOR_LOAD_IN_PROGRESS"},
      {code::invalid_topic_exception, "INVALID_TOPIC_EXCEPTION"},
      {code::not_enough_replicas, "NOT_ENOUGH_REPLICAS"},
      {code::not_enough_replicas_after_append, "NOT_ENOUGH_REPLICAS_AFTER_APPEND"},
      {code::invalid_required_acks, "INVALID_REQUIRED_ACKS"},
      {code::invalid_timestamp, "INVALID_TIMESTAMP"},
      {code::unsupported_version, "UNSUPPORTED_VERSION"},
      {code::topic_already_exists, "TOPIC_ALREADY_EXISTS"},
      {code::invalid_partitions, "INVALID_PARTITIONS"},
      {code::invalid_replication_factor, "INVALID_REPLICATION_FACTOR"},
      {code::invalid_replica_assignment, "INVALID_REPLICA_ASSIGNMENT"},
      {code::invalid_config, "INVALID_CONFIG"},
      {code::not_controller, "NOT_CONTROLLER"},
      {code::invalid_request, "INVALID_REQUEST"},
      {code::policy_violation, "POLICY_VIOLATION"},
      {code::out_of_order_sequence_number, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
      {code::invalid_producer_epoch, "INVALID_PRODUCER_EPOCH"},
      {code::transactional_id_authorization_failed, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
      {code::kafka_storage_error, "KAFKA_STORAGE_ERROR"},
      {code::fetch_session_id_not_found, "FETCH_SESSION_ID_NOT_FOUND"},
      {code::fenced_leader_epoch, "FENCED_LEADER_EPOCH"},
      {code::unknown_leader_epoch, "UNKNOWN_LEADER_EPOCH"},
      {code::unsupported_compression_type, "UNSUPPORTED_COMPRESSION_TYPE"},
      {code::offset_not_available, "OFFSET_NOT_AVAILABLE"},
      {code::preferred_leader_not_available, "PREFERRED_LEADER_NOT_AVAILABLE"},
      {code::eligible_leaders_not_available, "ELIGIBLE_LEADERS_NOT_AVAILABLE"},
      {code::election_not_needed, "ELECTION_NOT_NEEDED"},
      {code::no_reassignment_in_progress, "NO_REASSIGNMENT_IN_PROGRESS"},
      {code::invalid_record, "INVALID_RECORD"},
      {code::unknown_topic_id, "UNKNOWN_TOPIC_ID"},
      {code::mismatched_endpoint_type, "MISMATCHED_ENDPOINT_TYPE"},
      {code::unsupported_endpoint_type, "UNSUPPORTED_ENDPOINT_TYPE"},
  });
  for (auto& [value, name] : names)
    if (value == number) return name;
  return {};
}

}  // namespace troupe::kafka
