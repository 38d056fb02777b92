#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "runtime/entities/router.hpp"
#include "runtime/entities/shard_owner.hpp"
#include "tests/simulation/entity_record.hpp"
#include "tests/simulation/letter.hpp"

namespace troupe::sim {

class process;

/// A kind of entity that simulated clusters have.
struct entity_kind {
  std::string name;
  entities::keeping keeping;
  std::uint32_t shards;
  /// The topic of a durable kind: each of its partitions is a shard.
  std::string topic() const { return "__actors." + name; }
};
const std::vector<entity_kind>& entity_kinds();

/// The part of a process that entities live in: its router, and an owner of every shard. Durable shards keep their
/// state in the partitions of `__actors.<kind>`; the others in memory, handed over by letter when they move in order.
class entity_host {
public:
  /// The process is registered as `self`.
  entity_host(process& home, life self);

  void metadata_changed();
  void leased(instant until);
  void tick();
  void link_lost(node_id);
  /// A replica of a shard's partition leads now, or its watermark rose.
  void partition_moved(const partition_ref&);

  /// Asks an entity from here. It ends once, by the observer's `call_ended`; false: refused at once.
  bool call(operation, const entities::entity_name&);

  void received(const entities::deliver&);
  void received(const entities::answer&);
  void received(const release_order&);
  void received(node_id from, const shard_handover_request&);
  void received(const shard_handover&);

  // -- for checkers -----------------------------------------------------------------------------------------
  const entities::shard_owner* owner_of(const entities::shard_id&) const;
  /// It is active here, and its state is loaded.
  bool serves(const entities::shard_id&) const;
  /// What the entities of a shard did, as its present activation knows.
  const std::map<std::string, std::vector<operation>>& state_of(const entities::shard_id&) const;
  /// Calls without an end, and when they were made by this node's clock.
  const std::map<operation, instant>& calls() const { return calls_; }

private:
  using id = entities::shard_id;
  using core = entities::shard_owner;
  struct seat {
    const entity_kind* kind;
    std::unique_ptr<core> owner;
    entities::shard_owner_id known;
    bool active{false};
    std::optional<node_id> former;        ///< who owned it in the epoch before, if we saw that
    std::optional<std::int32_t> loading;  ///< the epoch whose state is wanted
    std::map<std::string, std::vector<operation>> state;
    std::optional<shard_handover> handed;  ///< what we had at the end of a planned move
  };

  void shard_is(const id&, const entity_kind&, entities::shard_owner_id, bool active);
  void perform(const id&, core::effects&&);
  void perform(entities::router::effects&&);
  void load(const id&, std::int32_t epoch);
  void load_from_log(const id&);
  void append(const id&, core::token, entity_record);
  std::optional<partition_ref> partition_of(const id&) const;

  process& home_;
  const entities::sender_id self_;
  entities::router router_;
  std::map<id, seat> seats_;
  std::map<node_id, std::int64_t> lives_;
  std::map<operation, instant> calls_;
  instant lease_end_{};
};

}  // namespace troupe::sim
