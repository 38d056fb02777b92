#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"

/// What the metadata quorum stores and says. Plain values: whoever encodes them for disk or wire needs no more than
/// this file.
namespace troupe {

/// Rises with each election; at most one leader per term. 0: before the first.
using raft_term = strong<struct raft_term_tag, std::int64_t>;

/// Place in the quorum's log; the first entry is 1, 0 is the place before it.
class raft_index {
public:
  using rep = std::int64_t;
  constexpr raft_index() = default;
  constexpr explicit raft_index(std::int64_t value) noexcept : value_{value} {}
  constexpr std::int64_t value() const noexcept { return value_; }
  friend constexpr auto operator<=>(raft_index, raft_index) = default;
  friend constexpr raft_index operator+(raft_index i, std::int64_t n) { return raft_index{i.value_ + n}; }
  friend constexpr raft_index operator-(raft_index i, std::int64_t n) { return raft_index{i.value_ - n}; }
  friend constexpr std::int64_t operator-(raft_index a, raft_index b) { return a.value_ - b.value_; }

private:
  std::int64_t value_{0};
};

/// Who takes part: a node together with its disk. A node that lost its disk has forgotten what it promised, so it is
/// somebody else (R6).
struct raft_peer {
  node_id node;
  uuid disk;
  friend auto operator<=>(const raft_peer&, const raft_peer&) = default;
};

struct raft_member {
  raft_peer peer;
  bool voter{false};  ///< otherwise a learner: it gets the log and counts for nothing
  friend auto operator<=>(const raft_member&, const raft_member&) = default;
};
/// Sorted by node; a node is in it at most once.
using raft_members = std::vector<raft_member>;

/// Whoever proposes. `id` is never used by anyone else; 0: nobody, its commands are never taken for repeats.
/// `born` is an index that was committed when the client chose its id: a client forgotten by the quorum (R8 needs
/// bounded memory) is told from a new one by it.
struct raft_client {
  std::uint64_t id{0};
  raft_index born;
  friend auto operator<=>(const raft_client&, const raft_client&) = default;
};

struct raft_entry {
  enum class kind_t : std::uint8_t { command, no_op, members };

  raft_term term;
  raft_index index;
  kind_t kind{kind_t::no_op};
  raft_client client;         ///< of a command
  std::uint64_t sequence{0};  ///< the client's first command is 1
  raft_members members;       ///< of `members`: the whole new set, in force from being in the log
  shared_bytes payload;       ///< of a command
};

/// What a voter must never forget.
struct raft_hard_state {
  raft_term term;
  std::optional<raft_peer> voted_for;  ///< in `term`
  uuid disk;                           ///< whose promises these are
  friend bool operator==(const raft_hard_state&, const raft_hard_state&) = default;
};

/// What is remembered of a client: its last applied command and that command's place.
struct raft_session {
  raft_client client;
  std::uint64_t sequence{0};
  raft_index used;
  friend auto operator<=>(const raft_session&, const raft_session&) = default;
};
struct raft_sessions {
  std::vector<raft_session> known;  ///< sorted by client
  raft_index forgotten;             ///< the greatest `used` of any session that was dropped for room
  friend bool operator==(const raft_sessions&, const raft_sessions&) = default;
};

/// Everything up to and including `index`, applied.
struct raft_snapshot {
  raft_index index;
  raft_term term;
  raft_members members;
  raft_sessions sessions;
  shared_bytes image;  ///< the owner's; the quorum never looks inside
};

/// What a node finds on its disk. A new disk has nothing. The first voter of a new cluster starts from a snapshot at
/// index 0 whose members are itself, so that everyone after it learns the members from the log.
struct raft_stored {
  std::optional<raft_hard_state> hard;
  std::shared_ptr<const raft_snapshot> snapshot;
  std::vector<raft_entry> entries;  ///< without gaps
};

/// How a request ended.
enum class raft_outcome : std::uint8_t {
  done,           ///< committed, applied, by this request
  repeated,       ///< this command of this client was applied before; not again
  out_of_order,   ///< an earlier command of the client is missing: not applied; send from the missing one
  expired,        ///< the client was forgotten: not applied; what of its earlier commands was applied, it must find out
  not_leader,     ///< nothing happened; `leader` may know more
  busy,           ///< nothing happened; try again later
  invalid,        ///< nothing happened and trying again does not help
  not_caught_up,  ///< nothing happened: the learner is still too far behind
  lost,           ///< this node stopped leading: it may or may not be committed
};

// -- messages ---------------------------------------------------------------------------------------------
// Any of them may come late, twice, out of order or never. The link adds and checks cluster and node epoch.

/// "Would you vote for me in `raft_message::term`?" Nothing changes by it, so a node cut off does not disturb (R5).
struct raft_pre_vote {
  raft_index last_index;  ///< of the sender's durable log
  raft_term last_term;
};
struct raft_pre_vote_reply {
  bool granted{false};  ///< then the message's term is the one asked for, else the sender's
};

struct raft_vote {
  raft_index last_index;
  raft_term last_term;
  bool handed_over{false};  ///< the leader itself asked for this election: nobody has to wait for its silence
};
struct raft_vote_reply {
  bool granted{false};
};

/// Entries that follow `previous`; without any it is a heartbeat.
struct raft_append {
  raft_index previous;
  raft_term previous_term;
  raft_index commit;
  std::uint64_t round{0};  ///< the leader's newest heartbeat round when this left
  std::vector<raft_entry> entries;
};
struct raft_append_reply {
  bool accepted{false};    ///< the log has `previous`, or the snapshot is complete
  std::uint64_t round{0};  ///< of the message answered
  raft_index match;        ///< up to here the sender's disk holds what the leader has
  raft_index previous;     ///< refused: of the message answered
  raft_index hint;         ///< refused: the greatest place up to which both might agree …
  raft_term hint_term;     ///< … and the sender's term there
};

/// One piece of a snapshot's image. The pieces come in order, each after the answer to the one before.
struct raft_install {
  raft_index index;
  raft_term snapshot_term;
  std::uint64_t round{0};
  std::uint64_t offset{0}, size{0};  ///< of the piece in the image; of the image
  shared_bytes piece;
  raft_members members;    ///< with the piece at offset 0, otherwise empty
  raft_sessions sessions;  ///< likewise
};
/// Answers every piece but the last; that one is answered by a `raft_append_reply` once the snapshot is durable.
struct raft_install_reply {
  raft_index index;
  std::uint64_t round{0};
  std::uint64_t received{0};  ///< so many bytes of the image in a row
};

/// From a leader to a voter that has all of its log: "campaign now".
struct raft_hand_over {};

struct raft_message {
  raft_peer from, to;
  raft_term term;
  std::variant<raft_pre_vote, raft_pre_vote_reply, raft_vote, raft_vote_reply, raft_append, raft_append_reply,
               raft_install, raft_install_reply, raft_hand_over>
      body;
};

}  // namespace troupe
