#pragma once

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/controller/cluster_controller.hpp"
#include "actors/entity/entity.hpp"
#include "actors/node/cluster_directory.hpp"
#include "runtime/observe/metrics.hpp"
#include "runtime/store/log.hpp"
#include "runtime/transport/transport.hpp"

namespace troupe {

// -- messages; `answer` runs on an actor thread and must not block ----------------------------------------------

using decisions_reply = std::function<void(std::vector<decision>)>;
struct create_topics_request {
  std::vector<new_topic> topics;
  bool validate_only{false};
  decisions_reply answer;
};
struct delete_topics_request {
  std::vector<controller::doomed> topics;
  decisions_reply answer;
};
struct create_partitions_request {
  std::vector<controller::growth> topics;
  bool validate_only{false};
  decisions_reply answer;
};
struct alter_configs_request {
  std::vector<controller::reconfiguration> topics;
  bool validate_only{false};
  decisions_reply answer;
};
/// A producer id that nobody ever had.
struct producer_id_request {
  std::function<void(result<producer_id>)> answer;
};
/// Anything else that the controller may be asked.
struct operator_request {
  cluster_controller::request what;
  std::function<void(cluster_controller::outcome)> answer;
};
/// What only the node's own part in the quorum knows.
struct node_description {
  node_life self;  ///< epoch -1: it has not been registered in this life
  std::string cluster_id;
  std::int64_t term{0};
  std::optional<node_id> controller;  ///< who leads the quorum, as far as this node knows
  std::vector<node_id> voters, learners;
  bool leased{false};
};
struct describe_node_request {
  std::function<void(node_description)> answer;
};
/// Leave in order. `drained` runs when nobody needs this node any more: close the doors, then call what it was given.
/// Then the replicas end (they write their marks), `answer` runs and the actor ends. Until then, requests are answered
/// with `closed`.
struct stop_request {
  std::function<void(std::function<void()> go_on)> drained;
  std::function<void()> answer;
};

// -- starting one --------------------------------------------------------------------------------------------

struct node_setup {
  /// As it is to be registered: node, disk, endpoints, rack, weight. `cluster_id`: the only cluster that will do, or
  /// empty.
  registration self;
  /// A disk that has no cluster yet founds one; otherwise it waits until somebody takes it in.
  bool founder{true};
  /// Where the other nodes are reached; without it this node stays alone.
  std::optional<transport_options> peers;
  /// Whom to ask to be taken in.
  std::vector<net::address> seeds;
  controller_defaults defaults;
  std::filesystem::path metadata_directory;
  std::shared_ptr<store::log_store> store;
  std::shared_ptr<cluster_directory> directory;
  /// The kinds of entities that there are, the same on every node.
  std::vector<entity_type> entities;
  /// Its entities are handled side by side in so many parts.
  std::uint32_t entity_parts{1};
  observe::metrics* metrics{nullptr};  ///< outlives the actor system
  /// How often a partition looks for what its retention lets go.
  std::chrono::milliseconds retention_interval{std::chrono::minutes{1}};
  /// Called once: the node serves, the view is published and its replicas have started; or why not. After an error
  /// every request is refused with it; stop_request works as ever.
  std::function<void(result<void>)> ready;
  /// The node may not go on: storage_failed, storage_damaged, or it was refused by the cluster. Called at most once.
  std::function<void(const error&)> failed;
  /// An operator has taken the node out of the cluster, and nobody needs it any more: ask it to stop. Called at most
  /// once; may be empty.
  std::function<void()> removed;
};

/// Starts a node's part in the cluster (actors/node/node_core.hpp), with the replicas that it has. It runs on a thread
/// of its own, so that its heartbeats leave in time whatever else the node does.
caf::actor spawn_node(caf::actor_system&, node_setup);

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::create_topics_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delete_topics_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::create_partitions_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::alter_configs_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::producer_id_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::operator_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::describe_node_request)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stop_request)
