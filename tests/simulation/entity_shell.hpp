#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "actors/entity/entity_host.hpp"
#include "tests/simulation/entity_record.hpp"
#include "tests/simulation/letter.hpp"

namespace troupe::sim {

class process;

/// The kinds of entities that simulated clusters have.
const std::vector<entity_kind>& entity_kinds();
const entity_kind& kind_of(const entities::shard_id&);

/// The shell of a process's entity host. What an entity handles is remembered as its state; durable shards keep that in
/// the partitions of `__actors.<kind>`.
class entity_shell {
public:
  /// The process is registered as `self`.
  entity_shell(process& home, life self);

  void metadata_changed();
  void leased(instant until);
  void tick();
  void link_lost(node_id);
  /// A replica of a shard's partition leads now, or its watermark rose.
  void partition_moved(const partition_ref&);

  /// Asks an entity from here. It ends once, by the observer's `call_ended`; false: refused at once.
  bool call(operation, const entities::entity_name&);

  void received(node_id from, const entities::message&);
  void received(const release_order&);

  // -- for checkers -----------------------------------------------------------------------------------------
  const entity_host& host() const { return host_; }
  /// It is active here, and its state is loaded.
  bool serves(const entities::shard_id&) const;
  /// What the entities of a shard did, as its present activation knows.
  const std::map<std::string, std::vector<operation>>& state_of(const entities::shard_id&) const;
  /// Calls without an end, and when they were made by this node's clock.
  const std::map<operation, instant>& calls() const { return calls_; }

private:
  using id = entities::shard_id;
  using shard_state = std::map<std::string, std::vector<operation>>;

  void perform(entity_host::effects&&);
  void on(entity_host::send&);
  void on(const entity_host::ended&);
  void on(const entity_host::handle&);
  void on(entity_host::store&);
  void on(const entity_host::load&);
  void on(const entity_host::begin&);
  void on(const entity_host::collect&);
  void on(const entity_host::drop&);
  void on(const entity_host::released&);
  void load_from_log(const id&);
  void append(const id&, std::int32_t epoch, entities::shard_owner::token, entity_record);
  std::optional<partition_ref> partition_of(const id&) const;

  process& home_;
  entity_host host_;
  std::map<id, shard_state> states_;
  std::map<operation, instant> calls_;
};

}  // namespace troupe::sim
