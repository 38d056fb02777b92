#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/errc.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"

/// Named virtual actors: who is asked, and what goes between the node that asks and the node that owns.
namespace troupe::entities {

/// `kind/key`. A kind has no slash in it; a key may hold any bytes.
struct entity_name {
  std::string kind, key;
  friend auto operator<=>(const entity_name&, const entity_name&) = default;

  std::string text() const { return kind + '/' + key; }
  /// Error invalid_request: no slash, an empty kind or key, or more than `size_max` bytes.
  static result<entity_name> parse(std::string_view);
  static constexpr std::size_t size_max = 512;
};

/// The unit in which the entities of a kind are placed.
struct shard_id {
  std::string kind;
  std::uint32_t index{0};
  friend auto operator<=>(const shard_id&, const shard_id&) = default;
};

/// hash64(`kind/key`) mod `shards`, which is fixed when the kind is created.
shard_id shard_of(const entity_name&, std::uint32_t shards);

/// Who owns a shard: the leader of its partition and its leader epoch, or the assigned node and the assignment's epoch.
/// Epochs of a shard only rise.
struct shard_owner_id {
  node_id node{-1};  ///< -1: nobody
  std::int32_t epoch{-1};
  friend bool operator==(const shard_owner_id&, const shard_owner_id&) = default;
};

/// One life of a node's router. Within it and for one shard, messages have the sequence numbers 1, 2, 3, …
struct sender_id {
  node_id node{-1};
  std::int64_t node_epoch{-1};
  friend auto operator<=>(const sender_id&, const sender_id&) = default;
};

/// Router to owner. A repeat is the same but for `epoch` and `settled`.
struct deliver {
  shard_id shard;
  std::int32_t epoch{-1};  ///< of the owner that is meant
  sender_id sender;
  std::uint64_t sequence{0};
  /// The sender has an end (answer or error) for every sequence below, and will not send one of them again. What lets
  /// the owner forget, and refuse a late copy of what it has forgotten.
  std::uint64_t settled{1};
  std::string key;
  shared_bytes payload;
};

// -- owner to router: each says which message it answers ------------------------------------------------------------

struct reply {
  shard_id shard;
  sender_id sender;
  std::uint64_t sequence{0};
  shared_bytes payload;
};
/// Not handled, and not by this owner in this epoch: look elsewhere.
struct moved {
  shard_id shard;
  sender_id sender;
  std::uint64_t sequence{0};
  shard_owner_id owner;  ///< as far as the answering node knows
};
/// Not handled, try again later: busy (a bound), not_leader (no lease, or the shard is being handed over),
/// unknown_epoch (metadata did not come), fenced_epoch (a late copy, or a sender whose life is over).
struct refused {
  shard_id shard;
  sender_id sender;
  std::uint64_t sequence{0};
  errc why{errc::busy};
};
using answer = std::variant<reply, moved, refused>;

// -- between owners: what a shard without a log takes along when it moves in order ----------------------------------

/// A message that was handled. Durable kinds store it with the entity, so that repeats are known after a failover.
struct remembered {
  sender_id sender;
  std::uint64_t sequence{0};
  shared_bytes reply;
  bool settled{false};  ///< this one and all before: no reply is needed any more
};
/// What an owner has to know of repeats.
struct shard_memory {
  std::vector<std::pair<sender_id, std::uint64_t>> settled;  ///< all below is
  std::vector<std::pair<std::string, remembered>> handled;   ///< by key
};
struct entity_state {
  std::string key;
  shared_bytes bytes;  ///< as the kind writes it
};

/// The new owner asks the former one for what it had at the end of its epoch.
struct handover_request {
  shard_id shard;
  std::int32_t epoch{-1};  ///< of the former owner
};
struct handover {
  shard_id shard;
  std::int32_t epoch{-1};
  /// Nothing: it did not stop in order, or too long ago; what it had is gone.
  struct contents {
    std::vector<entity_state> entities;
    shard_memory memory;
  };
  std::shared_ptr<const contents> had;
};

using message = std::variant<deliver, answer, handover_request, handover>;
/// The shard that it is about.
const shard_id& shard_in(const message&);
/// Of payloads and states in it.
std::size_t payload_bytes(const message&);

}  // namespace troupe::entities
