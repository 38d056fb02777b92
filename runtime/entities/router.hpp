#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "runtime/base/instant.hpp"
#include "runtime/base/random.hpp"
#include "runtime/entities/messages.hpp"

namespace troupe::entities {

struct router_settings {
  std::chrono::milliseconds retry_min{20}, retry_max{2000};  ///< back-off, doubled each time, with jitter
  std::chrono::milliseconds answer_wait{1000};               ///< before it is sent again without an answer
  std::chrono::milliseconds give_up{30'000};
  std::size_t messages_max{65'536};              ///< accepted and without an end, over all shards
  std::size_t bytes_max{std::size_t{64} << 20};  ///< of their keys and payloads
  std::size_t payload_max{std::size_t{1} << 20};
  /// Sequences between the oldest without an end and the newest sent, for one shard; further ones wait here. Bounds
  /// what an owner has to remember of us.
  std::uint64_t window{256};
};

/// Sends messages to named entities wherever they are: name, shard, owner by the shard table of the metadata image, and
/// again until there is an answer.
///
///   sent --> waiting for an owner --table or hint--> sent to it --reply--> done
///               ^   (or for the window)                 |
///               +-- moved, refused, silence, node lost -+        each state, after 30 s: an error
///
/// Every accepted message ends exactly once: with its reply, or with an error, after which it may have been handled or
/// not. Repeats keep their sequence number, so the owner handles a message once.
/// Messages that are on their way together may be handled in any order: who needs one waits for the reply.
///
/// Pure: the shell carries `transmit` to the node (this one included), and calls `tick` at `wakes_at()`.
class router {
public:
  /// By the caller's choice, unique among its unanswered messages.
  using ticket = std::uint64_t;

  struct transmit {
    node_id to;
    deliver message;
  };
  struct ended {
    ticket of;
    result<shared_bytes> outcome;
  };
  using effect = std::variant<transmit, ended>;
  using effects = std::vector<effect>;

  router(sender_id self, router_settings, random_source);

  // -- from the metadata image -----------------------------------------------------------------------------------

  /// The kind has so many shards, as they are created: once, before anything is sent to it.
  void kind_known(const std::string& kind, std::uint32_t shards);
  /// A record about one shard. A lower epoch than the known one: no effect.
  effects owner_changed(const shard_id&, shard_owner_id, instant now);

  // -- what happens ----------------------------------------------------------------------------------------------

  /// Accepts a message, or says at once why not: invalid_request (no such kind, or no name),
  /// message_too_large, busy (a bound). Otherwise an `ended` follows, now or later: timed_out.
  result<effects> send(ticket, const entity_name&, shared_bytes payload, instant now);
  /// An answer to something that has ended already: no effect.
  effects answered(const answer&, instant now);
  /// The link to `node` is lost: what was sent there may not have arrived.
  effects node_lost(node_id, instant now);
  effects tick(instant now);
  /// The node stops: everything ends with `why`.
  effects stopped(const error& why);

  // -- queries ---------------------------------------------------------------------------------------------------

  /// Call `tick` then, or as soon as possible after; nothing to wait for: nothing.
  std::optional<instant> wakes_at() const;
  std::size_t messages() const noexcept { return messages_; }
  std::size_t bytes() const noexcept { return bytes_; }

private:
  using message_id = std::uint64_t;
  struct open_message {
    ticket of;
    shard_id shard;
    std::string key;
    shared_bytes payload;
    instant deadline, due;
    std::uint64_t sequence{0};  ///< 0: waits for the window
    unsigned tries{0};
    node_id sent_to{-1};
    std::size_t bytes() const noexcept { return key.size() + payload.size(); }
  };
  /// What goes to one shard.
  struct stream {
    shard_owner_id owner;
    std::uint64_t next{1};
    std::map<std::uint64_t, message_id> open;  ///< by sequence
    std::deque<message_id> waiting;
    std::uint64_t settled() const { return open.empty() ? next : open.begin()->first; }
  };

  void fill_window(stream&, instant now, effects&);
  void transmit_again(stream&, open_message&, message_id, instant now, effects&);
  void transmit_all(stream&, instant now, effects&);
  void back_off(open_message&, message_id, std::chrono::milliseconds at_least, instant now);
  void set_due(open_message&, message_id, instant);
  void end(message_id, result<shared_bytes>, instant now, effects&);
  std::pair<message_id, stream*> find(const shard_id&, sender_id, std::uint64_t sequence);

  sender_id self_;
  router_settings settings_;
  random_source random_;
  std::map<std::string, std::uint32_t, std::less<>> kinds_;
  std::map<shard_id, stream> streams_;
  std::map<message_id, open_message> open_;
  std::set<std::pair<instant, message_id>> due_;
  message_id last_id_{0};
  std::size_t messages_{0}, bytes_{0};
};

}  // namespace troupe::entities
