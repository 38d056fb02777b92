#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/base/instant.hpp"
#include "runtime/entities/messages.hpp"

namespace troupe::entities {

/// What a kind promises.
enum class keeping : std::uint8_t {
  durable,    ///< state is records of the shard's partition; a reply leaves when the watermark covers its record
  ephemeral,  ///< state lives with the activation: a crash loses it, a planned move need not
  soft,       ///< ephemeral, and may for a moment be served twice: serves as soon as it is assigned
};

struct shard_settings {
  std::size_t queued_max{1024};  ///< messages that wait to be handled
  std::size_t queued_bytes_max{std::size_t{4} << 20};
  std::size_t kept_bytes_max{std::size_t{1} << 20};  ///< replies kept for repeats of one sender; above, it is `busy`
  std::chrono::milliseconds metadata_wait{1000};     ///< for a message of a later epoch or life than we know
  std::chrono::milliseconds acknowledge_every{1000};
  std::uint64_t window{256};  ///< as the routers' (router_settings)
};

/// One shard on one node: decides which messages are handled, when, and which answers leave.
///
///   none --assigned--> assigned --active, loaded--> active --hand_over--> handing over --state written--> handed over
///     ^                   |                           |                        |                              |
///     +-------------------+---- another owner --------+------------------------+------------------------------+
///
///   assigned      messages queue, then busy (soft kinds: handles them already)
///   active        same epoch and a lease: handles; one message of an entity at a time, in order of arrival
///   handing over  takes none; those being handled finish, their replies leave, then the state is written
///   handed over   takes none; the controller knows that we stopped
///   none          answers `moved`
/// In every state: a lower epoch is answered `moved`, a higher one waits up to 1 s for metadata.
///
/// Repeats. A message is (sender, sequence). What was handled is kept with its reply, and a copy is answered from
/// there. It is forgotten only when a copy can do no harm: the sender says that it is settled (a copy below what its
/// sender has settled is refused), or the sender's life is over by metadata (then its messages are refused). Durable
/// kinds remember the same with each record of an entity. Since the next record overwrites it, a settled message is
/// forgotten only once a record of its own says so (`store_settled`). So a failover knows what a copy may be. Of an
/// ephemeral shard whose owner died nothing is known; but a copy from then carries an older epoch. A sender has at most
/// `window` unsettled messages, so what is kept is bounded by live nodes.
///
/// Without a lease nothing is handled and no reply leaves; what was handled is kept and its repeat is answered once the
/// lease is back. If it does not come back, metadata names another owner.
///
/// Pure: the shell performs effects in order; it calls `tick` at `wakes_at()`, at the latest when it could act again
/// after a pause. Effects of an ended activation may still be reported to us: tickets and tokens are never used twice.
class shard_owner {
public:
  enum class state : std::uint8_t { none, assigned, active, handing_over, handed_over };
  /// One message being handled.
  using ticket = std::uint64_t;
  /// One record on its way to the log.
  using token = std::uint64_t;

  struct send {
    node_id to;
    entities::answer answer;
  };
  /// Load the shard's state as of `epoch`, then `loaded`. Durable kinds: from the log once the watermark has reached
  /// the start of the epoch and everything that an earlier activation of ours may have appended.
  struct load {
    std::int32_t epoch;
  };
  /// Let the entity handle it, then `handled`.
  struct handle {
    ticket id;
    std::string key;
    sender_id sender;
    shared_bytes payload;
  };
  /// Durable kinds: append the entity's new state, with what to remember, as one record, then `appended`. In order.
  struct store {
    token id;
    std::string key;
    shared_bytes record;
    std::vector<remembered> with;
  };
  /// Durable kinds: append that the sender settled all below `settled` (key: the sender), then `appended`.
  struct store_settled {
    token id;
    sender_id sender;
    std::uint64_t settled;
  };
  /// Planned move: everything is handled; write down or send what the next owner needs (`memory()` too), then
  /// `state_written`.
  struct write_state {};
  /// Tell the controller that this owner has stopped. Repeated until metadata names another.
  struct acknowledge {
    std::int32_t epoch;
  };
  /// The activation is over: drop all state of the shard, finish nothing.
  struct drop {};
  using effect = std::variant<send, load, handle, store, store_settled, write_state, acknowledge, drop>;
  using effects = std::vector<effect>;

  shard_owner(node_id self, shard_id, keeping, shard_settings);

  // -- from the metadata image -------------------------------------------------------------------------------------

  /// A record about this shard: its owner, and whether that one may handle messages already (`active`). A record of a
  /// lower epoch than the known one: no effect.
  effects owner_changed(shard_owner_id, bool active, instant now);
  /// The node lives with this epoch: messages of its earlier lives are refused from now on, and those forgotten.
  effects life_began(sender_id, instant now);
  /// The node left the cluster.
  void life_ended(node_id);

  // -- leases and moves --------------------------------------------------------------------------------------------

  /// The node's lease now ends at `until`, by our clock.
  effects lease(instant until, instant now);
  /// The controller wants the shard elsewhere: stop. It may ask again. No effect unless we own it in this epoch.
  effects hand_over(std::int32_t epoch, instant now);

  // -- what happens ------------------------------------------------------------------------------------------------

  effects delivered(deliver, instant now);
  /// What `load` asked for, in any order. `settled`: of the records of `store_settled`; `handled`: of all entities.
  /// Kinds that are not durable: as handed over (`memory()`), or nothing.
  effects loaded(std::int32_t epoch, const shard_memory&, instant now);
  /// The entity has handled it. `record`: its new state, only for durable kinds, and only if it changed.
  effects handled(ticket, shared_bytes reply, std::optional<shared_bytes> record, instant now);
  /// The entity cannot handle it now: its sender hears why, and nothing of it is remembered.
  effects declined(ticket, errc why, instant now);
  effects appended(token, log_offset at);
  /// Everything below `watermark` is committed.
  effects committed(log_offset watermark, instant now);
  /// A record could not be appended: what the entities hold is ahead of the log. Everything is loaded again.
  effects store_failed(instant now);
  effects state_written(instant now);
  effects tick(instant now);

  // -- queries -----------------------------------------------------------------------------------------------------

  std::optional<instant> wakes_at() const;
  state now_in() const noexcept { return state_; }
  shard_owner_id owner() const noexcept { return owner_; }
  std::size_t queued() const noexcept { return queued_; }
  /// For the next owner's `loaded`.
  shard_memory memory() const;

private:
  enum class phase : std::uint8_t { queued, handling, storing, done };
  struct entry {
    std::string key;
    phase at{phase::queued};
    shared_bytes reply;
  };
  struct sender_state {
    std::uint64_t settled{1};    ///< all below is, says the sender
    std::uint64_t recorded{1};   ///< all below is, says a committed record; not durable: the same
    std::uint64_t recording{1};  ///< … says a record that may not be committed yet
    std::size_t kept_bytes{0};
    std::map<std::uint64_t, entry> entries;  ///< from `recorded` on
  };
  using message_ref = std::pair<sender_id, std::uint64_t>;
  struct early {
    instant until;
    deliver message;
  };
  struct queued_message {
    message_ref ref;
    shared_bytes payload;
  };
  struct running {
    message_ref ref;
    std::string key;
  };
  struct storing {
    token id;
    std::optional<log_offset> at;
    std::optional<message_ref> settles;  ///< of store_settled: up to where
  };
  static std::size_t bytes_of(const deliver& d) { return d.key.size() + d.payload.size(); }

  bool leased(instant now) const { return now < lease_until_; }
  bool serves() const;
  bool stopping() const { return state_ == state::handing_over || state_ == state::handed_over; }
  entry* find(const message_ref&);

  void take(deliver, instant patience, instant now, effects&);
  void wait_for_metadata(deliver, instant patience, effects&);
  void start_or_queue(const std::string& key, queued_message, effects&);
  void start(const std::string& key, queued_message, effects&);
  void start_next(const std::string& key, instant now, effects&);
  void serve_backlog(instant now, effects&);
  void retake_early(instant now, effects&);
  void release(const message_ref&, instant now, effects&);
  std::vector<remembered> to_remember(const std::string& key) const;
  void finish_hand_over(effects&);
  void say_released(instant now, effects&);
  void refuse_waiting(errc, effects&);
  void unqueue(const queued_message&, const std::string& key);
  void end_activation(std::optional<errc>, effects&);
  void forget(const message_ref&);
  void forget_below(const sender_id&, sender_state&, std::uint64_t);
  void keep_reply(sender_state&, entry&, shared_bytes);
  void settle(const sender_id&, sender_state&, std::uint64_t settled);
  void record_settled(const sender_id&, sender_state&, effects&);
  void refuse(const message_ref&, errc, effects&);
  void say_moved(const message_ref&, effects&);

  node_id self_;
  shard_id shard_;
  keeping keeping_;
  shard_settings settings_;

  state state_{state::none};
  shard_owner_id owner_;
  instant lease_until_{};
  bool loaded_{false};
  bool writing_{false};  ///< the state, for a planned move
  instant say_released_at_{};
  std::map<node_id, std::int64_t> lives_;

  std::deque<early> early_;                                     ///< for metadata that we do not have, by `until`
  std::deque<std::pair<std::string, queued_message>> backlog_;  ///< until we serve
  std::map<std::string, std::deque<queued_message>> busy_;  ///< entities that handle a message, and what waits for it
  std::size_t queued_{0}, queued_bytes_{0};                 ///< in these three
  std::map<ticket, running> running_;
  std::uint64_t last_ticket_{0};

  std::map<sender_id, sender_state> senders_;
  std::map<std::string, std::set<message_ref>> kept_of_;  ///< entries by key

  std::deque<storing> storing_;                                ///< not committed yet, in order
  std::deque<std::pair<token, message_ref>> until_committed_;  ///< replies that wait for a record
  token last_token_{0};
  std::deque<message_ref> withheld_;  ///< replies that had no lease to leave with
};

}  // namespace troupe::entities
