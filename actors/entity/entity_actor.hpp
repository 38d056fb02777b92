#pragma once

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "actors/entity/entity.hpp"
#include "runtime/observe/metrics.hpp"

namespace troupe {

// -- messages to a part of a node's entities ------------------------------------------------------------------------

/// From another node, or from this one.
struct entity_mail {
  node_id from;
  entities::message what;
};
/// Ask an entity, wherever it is. `answer` runs once, on an actor's thread, and must not block; errors as of
/// entity_host::ask, and closed when the node stops.
struct ask_entity {
  entities::entity_name whom;
  shared_bytes payload;
  std::function<void(result<shared_bytes>)> answer;
};
/// The metadata says this now.
struct entities_told {
  std::shared_ptr<const metadata_image> image;
  std::shared_ptr<const void> news;  ///< let go when it has been taken in
};
struct entities_leased {
  instant until;
};
struct entities_link_lost {
  node_id peer;
};
/// The controller wants the shard elsewhere.
struct release_shard {
  entities::shard_id shard;
  std::int32_t epoch{0};
};
/// What was asked ends with `closed`, and the actor ends.
struct stop_entities {};

struct entity_setup {
  entities::sender_id self;
  std::vector<entity_type> types;
  std::uint32_t part{0}, parts{1};
  /// What its entities may take, with their keys; beyond, messages to new ones are refused as `busy`.
  std::size_t bytes_max{std::size_t{256} << 20};
  /// Both may be called from any thread and do not block.
  std::function<void(node_id to, entities::message)> send;
  std::function<void(const entities::shard_id&, std::int32_t epoch)> released;
  observe::metrics* metrics{nullptr};  ///< outlives the actor system
};

/// Starts one part of a node's entities (entity_host.hpp).
caf::actor spawn_entities(caf::actor_system&, entity_setup);

}  // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::entity_mail)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ask_entity)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::entities_told)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::entities_leased)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::entities_link_lost)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::release_shard)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stop_entities)
