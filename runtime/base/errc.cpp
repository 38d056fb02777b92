#include "runtime/base/errc.hpp"

namespace troupe {

std::string_view to_string(errc code) noexcept {
  switch (code) {
#define TROUPE_CASE(name) \
  case errc::name:        \
    return #name
    TROUPE_CASE(not_leader);
    TROUPE_CASE(fenced_epoch);
    TROUPE_CASE(unknown_epoch);
    TROUPE_CASE(not_enough_replicas);
    TROUPE_CASE(not_enough_replicas_after_append);
    TROUPE_CASE(offset_not_available);
    TROUPE_CASE(unknown_topic);
    TROUPE_CASE(unknown_topic_id);
    TROUPE_CASE(topic_exists);
    TROUPE_CASE(invalid_topic);
    TROUPE_CASE(invalid_partitions);
    TROUPE_CASE(invalid_replication);
    TROUPE_CASE(invalid_assignment);
    TROUPE_CASE(invalid_config);
    TROUPE_CASE(invalid_request);
    TROUPE_CASE(policy_violation);
    TROUPE_CASE(unsupported_version);
    TROUPE_CASE(corrupt_batch);
    TROUPE_CASE(invalid_record);
    TROUPE_CASE(message_too_large);
    TROUPE_CASE(invalid_timestamp);
    TROUPE_CASE(unsupported_compression);
    TROUPE_CASE(invalid_required_acks);
    TROUPE_CASE(out_of_order_sequence);
    TROUPE_CASE(invalid_producer_epoch);
    TROUPE_CASE(transactions_unavailable);
    TROUPE_CASE(offset_out_of_range);
    TROUPE_CASE(storage_full);
    TROUPE_CASE(storage_failed);
    TROUPE_CASE(storage_damaged);
    TROUPE_CASE(in_use);
    TROUPE_CASE(wrong_format);
    TROUPE_CASE(malformed);
    TROUPE_CASE(timed_out);
    TROUPE_CASE(closed);
    TROUPE_CASE(busy);
    TROUPE_CASE(system);
    TROUPE_CASE(internal);
#undef TROUPE_CASE
  }
  return "unknown";
}

}  // namespace troupe
