#pragma once

#include <cstdint>
#include <functional>
#include <variant>

#include "actors/node/node_letter.hpp"
#include "actors/partition/partition.hpp"
#include "runtime/entities/messages.hpp"

/// Everything that travels between simulated processes, and between them and clients.
namespace troupe::sim {

// -- clients ----------------------------------------------------------------------------------------------

using request_id = std::uint64_t;
struct produce_request {
  request_id id{0};
  partition_ref where;
  std::vector<std::byte> batch;
  std::int16_t acks{-1};
};
struct produce_reply {
  request_id id{0};
  std::optional<errc> refused;
  log_offset base;
};
struct fetch_request {
  request_id id{0};
  partition_ref where;
  log_offset from;
  leader_epoch current{no_epoch};
  bool follower{false};  ///< any replica may answer
};
struct fetch_reply {
  request_id id{0};
  std::optional<errc> refused;
  log_offset watermark, start;
  std::vector<shared_bytes> runs;
};
/// "Where does the log end?": only the leader answers, and only what it may.
struct latest_request {
  request_id id{0};
  partition_ref where;
};
struct latest_reply {
  request_id id{0};
  std::optional<errc> refused;
  log_offset latest;
};
/// The leader as this node knows it.
struct where_request {
  request_id id{0};
  partition_ref where;
};
struct where_reply {
  request_id id{0};
  node_id leader{-1};
  leader_epoch epoch{no_epoch};
};

using letter_body =
    std::variant<raft_message, registration, registration_answer, heartbeat, heartbeat_answer, relayed, relayed_answer,
                 farewell, alter_isr, alter_isr_answer, log_ends, shard_released, release_order, controller_request,
                 controller_reply, entities::deliver, entities::answer, entities::handover_request, entities::handover,
                 membership::message, replica_fetch, replica_answer, produce_request, produce_reply, fetch_request,
                 fetch_reply, latest_request, latest_reply, where_request, where_reply>;

struct letter {
  std::uint64_t cluster{0};  ///< which cluster the sender belongs to; 0: none yet, or a client
  life from;                 ///< epoch -1: not registered yet; a client: its place
  letter_body body;
};

}  // namespace troupe::sim
