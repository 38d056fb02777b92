#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "actors/controller/image.hpp"
#include "runtime/entities/router.hpp"
#include "runtime/entities/shard_owner.hpp"

namespace troupe {

/// How the entities of one kind are kept, and in how many shards.
struct entity_kind {
  std::string name;
  entities::keeping how{entities::keeping::ephemeral};
  std::uint32_t shards{64};  ///< fixed once a cluster has the kind
  /// The topic of a durable kind: each of its partitions is a shard.
  std::string topic() const { return "__actors." + name; }
};

/// A part of a node's entities: asks entities wherever they are, and owns the shards that are here.
///
/// Is       one of `parts` on its node; shards are spread over them (`part_of`), so several work side by side.
/// Answers  `ask`: every accepted message ends once, with its reply or an error (runtime/entities/router.hpp).
/// Tells    who handles a message (`handle`), what is to be stored and loaded, and the controller what was given up.
/// Keeps    nothing: durable kinds are kept by their shard's partition, the others go with the process, but for planned
///          moves: the former owner sends what it had as soon as it sees who is next, and that one asks for it, too.
/// Fails    as its cores: without metadata, a lease or an answer there is an error after 30 s.
/// Bounds   those of its cores.
///
///     metadata, leases, messages, what was handled --> effects, to be performed in their order
///
/// Pure: the shell calls `tick` at `wakes_at()`. The simulator and the product run this very code.
class entity_host {
public:
  using shard_id = entities::shard_id;
  using ticket = entities::router::ticket;

  struct settings {
    entities::router_settings router;
    entities::shard_settings shard;
    /// For what the former owner of a shard had, which is asked again and again; then it is gone.
    std::chrono::milliseconds handover_wait{3000}, handover_again{200};
    /// So long a former owner keeps it for the next.
    std::chrono::milliseconds handover_kept{30'000};
    std::uint32_t part{0}, parts{1};
  };
  static std::uint32_t part_of(const shard_id&, std::uint32_t parts);

  // -- effects ---------------------------------------------------------------------------------------------------

  /// To a node, also to this one.
  struct send {
    node_id to;
    entities::message what;
    std::int32_t epoch{-1};  ///< of the owner that answers
  };
  /// What was asked with this ticket has ended.
  struct ended {
    ticket of;
    result<shared_bytes> outcome;
  };
  /// Let the entity handle it, then `handled`.
  struct handle {
    shard_id shard;
    std::int32_t epoch;
    entities::shard_owner::ticket id;
    std::string key;
    shared_bytes payload;
  };
  /// Durable kinds: append this to the shard's partition, then `appended`; or `store_failed`. In order.
  struct store {
    shard_id shard;
    std::int32_t epoch;
    entities::shard_owner::token id;
    /// An entity's new state with what to remember; or, of a sender, that it has settled all below.
    struct state {
      entities::entity_state entity;
      std::vector<entities::remembered> with;
    };
    struct settled {
      entities::sender_id sender;
      std::uint64_t below;
    };
    std::variant<state, settled> record;
  };
  /// Durable kinds: take the shard's entities from its log, then say `loaded`. As `shard_owner::load`.
  struct load {
    shard_id shard;
    std::int32_t epoch;
  };
  /// These are the shard's entities now.
  struct begin {
    shard_id shard;
    std::vector<entities::entity_state> entities;
    bool missed{false};  ///< there was a former owner that serves, and what it had did not come
  };
  /// Planned move: say `collected` with all its entities. Nothing is handled meanwhile.
  struct collect {
    shard_id shard;
    std::int32_t epoch;
  };
  /// The shard is not ours any more: drop its entities.
  struct drop {
    shard_id shard;
  };
  /// For the controller.
  struct released {
    shard_id shard;
    std::int32_t epoch;
  };
  using effect = std::variant<send, ended, handle, store, load, begin, collect, drop, released>;
  using effects = std::vector<effect>;

  /// The process is registered as `self`.
  entity_host(entities::sender_id self, std::vector<entity_kind>, settings, random_source);

  // -- from the node -----------------------------------------------------------------------------------------------

  /// The metadata says this now.
  effects follow(const metadata_image&, instant now);
  /// The node's lease ends at `until`.
  effects leased(instant until, instant now);
  effects link_lost(node_id, instant now);
  /// The controller wants the shard elsewhere.
  effects hand_over(const shard_id&, std::int32_t epoch, instant now);
  effects received(node_id from, const entities::message&, instant now);

  // -- from callers ------------------------------------------------------------------------------------------------

  /// As `router::send`. The name's shard is of this part. Further error not_leader: the metadata here does not have the
  /// kind yet.
  result<effects> ask(ticket, const entities::entity_name&, shared_bytes payload, instant now);
  /// The node stops: everything that was asked ends with `why`.
  effects stopped(const error& why);

  // -- what became of effects; of an activation that is over: no effect ---------------------------------------------

  effects handled(const shard_id&, entities::shard_owner::ticket, shared_bytes reply,
                  std::optional<shared_bytes> record, instant now);
  /// It cannot be handled now.
  effects declined(const shard_id&, entities::shard_owner::ticket, errc why, instant now);
  effects appended(const shard_id&, entities::shard_owner::token, log_offset at, instant now);
  effects store_failed(const shard_id&, instant now);
  effects loaded(const shard_id&, std::int32_t epoch, std::vector<entities::entity_state>,
                 const entities::shard_memory&, instant now);
  /// Durable kinds: the watermark of the shard's partition.
  effects committed(const shard_id&, log_offset watermark, instant now);
  effects collected(const shard_id&, std::int32_t epoch, std::vector<entities::entity_state>, instant now);
  effects tick(instant now);

  // -- queries ------------------------------------------------------------------------------------------------------

  std::optional<instant> wakes_at() const;
  /// How many shards a kind has in this cluster; 0: no such kind, or nothing is known of it yet.
  std::uint32_t shards_of(std::string_view kind) const;
  /// Null: not a shard of this part, or the metadata does not have it.
  const entities::shard_owner* owner_of(const shard_id&) const;
  /// The epoch whose state the shard waits for.
  std::optional<std::int32_t> loading(const shard_id&) const;
  /// It stopped in order in this epoch, and what it had is here for the next owner.
  bool gave_up(const shard_id&, std::int32_t epoch) const;
  /// Messages that were asked and have no end yet.
  std::size_t asked() const noexcept { return router_.messages(); }

private:
  struct seat {
    const entity_kind* kind;
    entities::shard_owner owner;
    entities::shard_owner_id known;
    bool active{false};
    node_id former{-1};                   ///< who owned it in the epoch before, if we saw that and it still serves
    std::optional<std::int32_t> loading;  ///< the epoch whose state is wanted
    instant load_until{instant::max()}, ask_at{instant::max()};
    entities::handover early;   ///< `had`: came before the metadata that gives us the shard
    entities::handover handed;  ///< `had`: what we had at the end of a planned move
    instant handed_until{instant::max()};
    instant due{instant::max()};  ///< as in `due_`
  };
  using seats = std::map<shard_id, seat>;

  void shard_is(const shard_id&, const entity_kind&, entities::shard_owner_id, bool active, bool former_serves,
                instant now);
  seats::iterator take_seat(const shard_id&, const entity_kind&, instant now);
  void take(entities::router::effects&&);
  void take(const shard_id&, seat&, entities::shard_owner::effects&&, instant now);
  void load_state(const shard_id&, seat&, std::int32_t epoch, instant now);
  void ask_former(const shard_id&, seat&, instant now);
  void begin_with(const shard_id&, seat&, std::shared_ptr<const entities::handover::contents>, instant now);
  void hear(node_id from, const entities::deliver&, instant now);
  void hear(node_id from, const entities::answer&, instant now);
  void hear(node_id from, const entities::handover_request&, instant now);
  void hear(node_id from, const entities::handover&, instant now);
  void set_due(const shard_id&, seat&);
  effects finish() { return std::exchange(out_, {}); }

  const entities::sender_id self_;
  const std::vector<entity_kind> kinds_;
  const settings settings_;
  entities::router router_;
  seats seats_;
  std::map<std::string, std::uint32_t, std::less<>> shards_;  ///< of the kinds that the metadata has
  std::set<std::pair<instant, shard_id>> due_;
  std::map<node_id, std::int64_t> lives_;
  instant lease_end_{};
  effects out_;
};

}  // namespace troupe
