#pragma once

#include <string>
#include <variant>

#include "actors/controller/cluster_controller.hpp"
#include "actors/controller/node_messages.hpp"
#include "actors/partition/replication.hpp"
#include "runtime/entities/messages.hpp"
#include "runtime/membership/failure_detector.hpp"
#include "runtime/raft/messages.hpp"

/// What the nodes of a cluster say to each other. Any of it may be lost, late or repeated.
namespace troupe {

/// A heartbeat that a peer passes on to whom it takes for the controller …
struct relayed {
  heartbeat message;
};
/// … and the answer on its way back.
struct relayed_answer {
  node_id asker;
  heartbeat_answer message;
};
/// The controller wants a shard back.
struct release_order {
  std::string kind;
  std::uint32_t shard{0};
  std::int32_t epoch{0};
};
/// Something asked for at a node that is not the controller.
struct controller_request {
  std::uint64_t id{0};  ///< the asking node's; comes back
  cluster_controller::request what;
};
struct controller_reply {
  std::uint64_t id{0};
  /// The image that the answer is from: who asked and waits for it sees what was done.
  meta_offset applied{-1};
  cluster_controller::outcome what;
};

using node_message =
    std::variant<raft_message, registration, registration_answer, heartbeat, heartbeat_answer, relayed, relayed_answer,
                 farewell, alter_isr, alter_isr_answer, log_ends, shard_released, release_order, controller_request,
                 controller_reply, membership::message, replica_fetch, replica_answer, entities::message>;

struct node_letter {
  /// Of the sender; empty: its disk was never in a cluster. What comes from another cluster is for nobody here.
  std::string cluster_id;
  life from;  ///< epoch -1: not registered
  node_message body;
};

}  // namespace troupe
