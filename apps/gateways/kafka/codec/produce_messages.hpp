#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"

/// The messages that write: Produce and InitProducerId. How members map to the wire, and in which versions, says the
/// table in produce_tables.hpp; what holds for all messages says codec.hpp.
namespace troupe::kafka {

struct produce_request {
  struct produce_partition {
    std::int32_t index{0};
    /// Within the frame, and writable: whoever takes the batch over stamps it in place.
    std::optional<byte_span> records;
  };
  struct produce_topic {
    std::string_view name;
    uuid topic_id;
    std::vector<produce_partition> partition_data;
  };
  std::optional<std::string_view> transactional_id;
  std::int16_t acks{0};
  std::int32_t timeout_ms{0};
  std::vector<produce_topic> topic_data;
};

struct produce_response {
  struct batch_index_and_error_message {
    std::int32_t batch_index{0};
    std::optional<std::string> batch_index_error_message;
  };
  struct leader_id_and_epoch {
    std::int32_t leader_id{-1};
    std::int32_t leader_epoch{-1};
    friend bool operator==(const leader_id_and_epoch&, const leader_id_and_epoch&) = default;
  };
  struct partition {
    std::int32_t index{0};
    std::int16_t error_code{0};
    std::int64_t base_offset{0};
    std::int64_t log_append_time_ms{-1};
    std::int64_t log_start_offset{-1};
    std::vector<batch_index_and_error_message> record_errors;
    std::optional<std::string> error_message;
    leader_id_and_epoch current_leader;
  };
  struct topic {
    std::string name;
    uuid topic_id;
    std::vector<partition> partition_responses;
  };
  struct node_endpoint {
    std::int32_t node_id{0};
    std::string host;
    std::int32_t port{0};
    std::optional<std::string> rack;
  };
  std::vector<topic> responses;
  std::int32_t throttle_time_ms{0};
  std::vector<node_endpoint> node_endpoints;
};

struct init_producer_id_request {
  std::optional<std::string_view> transactional_id;
  std::int32_t transaction_timeout_ms{0};
  std::int64_t producer_id{-1};
  std::int16_t producer_epoch{-1};
  bool enable_2pc{false};
  bool keep_prepared_txn{false};
};

struct init_producer_id_response {
  std::int32_t throttle_time_ms{0};
  std::int16_t error_code{0};
  std::int64_t producer_id{-1};
  std::int16_t producer_epoch{0};
  std::int64_t ongoing_txn_producer_id{-1};
  std::int16_t ongoing_txn_producer_epoch{-1};
};

}  // namespace troupe::kafka
