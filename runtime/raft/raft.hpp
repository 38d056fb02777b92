#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "runtime/base/instant.hpp"
#include "runtime/base/random.hpp"
#include "runtime/base/result.hpp"
#include "runtime/raft/log.hpp"
#include "runtime/raft/messages.hpp"
#include "runtime/raft/sessions.hpp"

namespace troupe {

/// Every time and bound of the quorum. All nodes of a cluster use the same times.
struct raft_options {
  using ms = std::chrono::milliseconds;
  ms heartbeat{150};
  ms election_min{1000}, election_max{1600};  ///< a random time between them without a leader: campaign
  ms gone_min{20}, gone_max{150};             ///< the same when the leader's process is known to be gone
  /// The same when a campaign has failed: time for the others to answer, who sync their votes. Twice as long with each
  /// further one, up to `election_min`, `election_max`.
  ms again_min{50}, again_max{250};
  ms step_down_after{1500};  ///< a leader that hears no majority for so long leads no more
  ms quiet{1000};            ///< no vote for so long after hearing a leader, or after the start

  std::size_t command_bytes_max{1 << 20};
  std::size_t append_bytes_max{256 << 10};  ///< of one message; a single larger entry goes alone
  std::size_t append_entries_max{1024};
  std::size_t in_flight_bytes_max{4 << 20};     ///< sent to one follower and not yet answered
  std::size_t uncommitted_bytes_max{16 << 20};  ///< beyond it proposals are refused as busy
  std::size_t uncommitted_max{10'000};          ///< entries, likewise
  std::size_t piece_bytes{64 << 10};            ///< of a snapshot on its way
  std::size_t image_bytes_max{256 << 20};       ///< no larger snapshot is taken in
  std::size_t reads_max{10'000};                ///< waiting; beyond it busy
  std::size_t clients_max{1024};                ///< remembered; the longest unused is forgotten
  std::int64_t keep_behind{10'000};             ///< entries kept below a snapshot, for followers a little behind
  std::int64_t learner_lag_max{100};            ///< a learner this close to the log's end may become a voter
};

/// The consensus core of the metadata quorum: who leads, and which commands are decided, in one order for everyone.
///
/// Is       one member's part of Raft with pre-vote, learners, one-at-a-time membership changes, snapshots, hand-over.
/// Pure     time comes in as an argument; what to do goes out as effects, to be performed in their order. The core
///          itself holds back every message that depends on a write until that write is `written`.
/// Keeps    term, vote, log and snapshot, by its writes. On restart it is built from `raft_stored`.
/// Fails    A failed write: the node leads no more and says nothing ever again. A broken promise of another node
///          (an append that contradicts a committed entry): effect `stop`.
/// Bounds   `raft_options`.
///
/// The owner calls `tick` every 50 ms, performs effects, and calls `compacted` from time to time (`log_bytes`,
/// `snapshot_index`), or the log in memory and on disk grows.
class raft {
public:
  // -- effects ----------------------------------------------------------------------------------------------

  /// Make durable, in the order of the fields, and then say `written(number)`. Writes are performed in the order of
  /// their numbers; after a crash a prefix of them is there. A write is atomic, except that of one with a snapshot
  /// the snapshot alone may be there.
  struct write {
    std::uint64_t number{0};
    std::shared_ptr<const raft_snapshot> snapshot;  ///< replaces the one before
    std::optional<raft_hard_state> hard;
    std::optional<raft_index> cut_from;     ///< remove this entry and all after it
    std::optional<raft_index> drop_before;  ///< remove all entries below
    std::vector<raft_entry> entries;        ///< append
  };
  struct send {
    raft_message message;
  };
  /// Decided. Every entry passes here once, without gaps, from the one after the snapshot on.
  struct commit {
    struct entry {
      raft_entry what;
      /// Of a command: `done` (apply it), `repeated`, `out_of_order`, `expired` (do not); of anything else `done`.
      raft_outcome outcome{raft_outcome::done};
    };
    std::vector<entry> entries;
  };
  /// Replace the image; what `commit` brings next follows it.
  struct install {
    std::shared_ptr<const raft_snapshot> snapshot;
  };
  /// Answer to `propose`, exactly one each. Comes after the `commit` of its entry.
  struct proposed {
    raft_client client;
    std::uint64_t sequence{0};
    raft_outcome outcome{};
    raft_index index;               ///< done: its place; repeated: a place at or after which it is applied
    std::optional<node_id> leader;  ///< not_leader: who might be
  };
  /// Answer to `read`, exactly one each. `done`: what is applied now, up to `index`, includes everything that was
  /// answered to anybody before the read was asked for.
  struct read_ready {
    std::uint64_t token{0};
    raft_outcome outcome{};
    raft_index index;
    std::optional<node_id> leader;
  };
  /// Answer to `change`, exactly one each.
  struct changed {
    std::uint64_t token{0};
    raft_outcome outcome{};
    std::optional<node_id> leader;
  };
  /// This node leads `term`, and everything decided in earlier terms is applied (its no-op at `index` too).
  struct leading {
    raft_term term;
    raft_index index;
  };
  /// After `leading`: no more.
  struct stepped_down {
    raft_term term;
  };
  /// Stop the process: going on would spread a contradiction. Nothing comes after it.
  struct stop {
    std::string why;
  };
  using effect = std::variant<write, send, commit, install, proposed, read_ready, changed, leading, stepped_down, stop>;
  using effects = std::vector<effect>;

  // -- life -------------------------------------------------------------------------------------------------

  /// Whether what lies on a disk can be started from: entries without gaps that reach down to the snapshot, terms that
  /// do not fall, promises made by this disk. Errors: storage_damaged; wrong_format (another disk's promises).
  static result<void> sound(const raft_peer& self, const raft_stored&);
  /// `stored` is sound. The image is that of its snapshot, or empty; nothing above it is applied until it is known to
  /// be committed. Ask for nothing before the first `tick`.
  raft(raft_peer self, raft_options, raft_stored, random_source, instant now);

  // -- events -----------------------------------------------------------------------------------------------

  effects tick(instant now);
  effects step(instant now, const raft_message&);
  /// All writes up to `number` are durable.
  effects written(instant now, std::uint64_t number);
  /// A write failed: what is on disk is unknown. This object never acts again.
  effects disk_failed();
  /// The process `id` is known to be dead (§5.4: its kernel reset the link and refuses a new one). If it led, this
  /// node campaigns soon and may vote at once.
  effects peer_gone(instant now, node_id id);

  /// Outcomes: done, repeated, out_of_order, expired, not_leader, busy, invalid (too large), lost.
  effects propose(instant now, raft_client, std::uint64_t sequence, shared_bytes payload);
  /// A linear read: answered after a majority has confirmed that this node still leads. `token` comes back.
  /// Outcomes: done, not_leader, busy, lost (never answered from: ask the new leader).
  effects read(instant now, std::uint64_t token);

  enum class part : std::uint8_t { none, learner, voter };
  /// Gives `peer` a part in the quorum: one peer at a time, a voter only from a learner that has caught up.
  /// The node of a lost disk leaves (`none`) before its new disk comes in.
  /// Outcomes: done (also when it has that part already), not_leader, busy (another change is under way, this
  /// term's no-op is not committed, or no majority of the voters as they would be has answered lately), not_caught_up,
  /// invalid (not a learner; the node is in with another disk; the last voter), lost.
  effects change(instant now, std::uint64_t token, raft_peer peer, part);
  /// Lets the voter `to` take over as soon as it has the whole log. From now on `majority_contact` is empty and
  /// proposals are busy, so nobody grants in this term once `to` was told. If it does not take over within an election
  /// timeout, this node goes on leading (not told yet) or steps down (told). Nothing happens unless this node leads
  /// with its no-op committed and `to` is another voter.
  effects hand_over(instant now, node_id to);

  /// Everything but the image of a snapshot of what is applied. Ask when all effects so far are performed.
  raft_snapshot head() const;
  /// The owner took a snapshot: `head()` and the image of that moment. It is written, and only then the log below it
  /// shrinks to `keep_behind` entries. An older one than the present one is ignored.
  effects compacted(std::shared_ptr<const raft_snapshot>);

  // -- queries ----------------------------------------------------------------------------------------------

  enum class role_t : std::uint8_t { follower, pre_candidate, candidate, leader };
  role_t role() const noexcept { return role_; }
  raft_term term() const noexcept { return hard_.term; }
  std::optional<node_id> leader() const noexcept;
  /// Leads, and its no-op is committed.
  bool leads() const noexcept;
  /// When the newest heartbeat round was sent that a majority of the voters has answered (R9). Empty if this node does
  /// not lead, has no such round yet, or hands over. Leases may be granted while it is younger than 0.8 s.
  std::optional<instant> majority_contact(instant now) const;
  /// In force: the newest set in the log, committed or not.
  const raft_members& members() const noexcept;
  raft_index committed() const noexcept { return commit_; }
  raft_index last() const noexcept;
  /// Of entries above the snapshot: what the next snapshot would save.
  std::size_t log_bytes() const noexcept;
  raft_index snapshot_index() const noexcept;
  /// A disk failed, or `stop` was said.
  bool stopped() const noexcept { return stopped_; }

private:
  /// What the leader knows of one follower.
  struct progress {
    raft_index next{1};                             ///< the entry to send next
    raft_index match;                               ///< durable there up to here
    bool probing{true};                             ///< `next` is a guess; one append at a time until it is confirmed
    bool probe_sent{false};                         ///< since the last heartbeat
    raft_index probe_end;                           ///< the entry after those of the probe
    std::uint64_t round{0};                         ///< the newest one answered
    std::optional<instant> contact;                 ///< when that was sent
    std::shared_ptr<const raft_snapshot> snapshot;  ///< it gets this one
    std::uint64_t received{0};                      ///< bytes of its image
    std::uint64_t piece_round{0};                   ///< when the last piece left
  };
  struct pending_write {
    std::uint64_t number{0};
    raft_place claim;                       ///< durable once it is written
    std::optional<raft_index> drop_before;  ///< what may go then
  };
  struct held_message {
    std::uint64_t number{0};
    raft_message message;
  };
  struct waiting_proposal {
    raft_index index;
    raft_client client;
    std::uint64_t sequence{0};
  };
  struct waiting_read {
    std::uint64_t token{0};
    raft_index index;
    std::uint64_t round{0};  ///< this one or a later one must be answered
  };
  struct waiting_change {
    raft_index index;
    std::uint64_t token{0};
  };
  struct incoming_snapshot {
    raft_snapshot head;
    std::uint64_t size{0};
    std::vector<std::byte> bytes;
  };
  using peers = std::set<raft_peer>;

  // raft.cpp: life, disk, what all roles share
  effects finish();
  void stop_with(std::string why);
  void say(raft_peer to, decltype(raft_message::body), std::optional<raft_term> = {});
  void append(raft_entry);
  void cut_from(raft_index);
  void unclaim_from(raft_index);
  void persist_term(raft_term, std::optional<raft_peer> voted_for);
  raft_place claimed() const;
  void advance_commit(raft_index);
  bool is_self(const raft_peer&) const;
  bool voter(const raft_peer&) const;
  std::size_t voters() const;
  bool majority(const peers&) const;

  // election.cpp
  void set_deadline(instant now);
  void follow(instant now, raft_term, std::optional<raft_peer> leader);
  void campaign(instant now, bool handed_over);
  void ask_for_votes(instant now, bool handed_over);
  bool quiet(instant now) const;
  bool own_vote_durable() const;
  void count_own_vote(instant now);
  void count_votes(instant now);
  void lead(instant now);
  void stop_leading();
  void heard(instant now, const raft_message&, const raft_pre_vote&);
  void heard(instant now, const raft_message&, const raft_pre_vote_reply&);
  void heard(instant now, const raft_message&, const raft_vote&);
  void heard(instant now, const raft_message&, const raft_vote_reply&);
  void heard(instant now, const raft_message&, const raft_hand_over&);

  // leading.cpp
  progress* find(const raft_peer&);
  void start_round(instant now);
  void send_entries(const raft_peer&, progress&, bool heartbeat);
  void send_piece(const raft_peer&, progress&, bool heartbeat);
  void answered(progress&, std::uint64_t round);
  raft_index agreed_below(raft_index hint, raft_term hint_term) const;
  void count_matches(instant now);
  void lead_tick(instant now);
  void try_hand_over();
  std::optional<instant> contact(instant now) const;
  std::uint64_t answered_round() const;
  void heard(instant now, const raft_message&, const raft_append_reply&);
  void heard(instant now, const raft_message&, const raft_install_reply&);

  // following.cpp
  bool leader_speaks(instant now, const raft_message&);
  void reply_match(const raft_peer& to, std::uint64_t round);
  void heard(instant now, const raft_message&, const raft_append&);
  void heard(instant now, const raft_message&, const raft_install&);
  void take_in(incoming_snapshot);

  // requests.cpp
  void serve_reads(instant now);
  bool change_under_way() const;
  bool reachable(instant now, const raft_members&);
  void fail_waiting();

  raft_peer self_;
  raft_options options_;
  random_source random_;
  raft_log log_;
  raft_session_table sessions_;
  raft_hard_state hard_;
  raft_index commit_;
  bool stopped_{false};

  // what is on its way to the disk, and what waits for it
  write next_;                         ///< of the event being handled
  std::uint64_t issued_{0}, done_{0};  ///< numbers of writes
  std::uint64_t hard_number_{0};       ///< the newest write with term or vote
  raft_place durable_;
  std::deque<pending_write> pending_;
  std::deque<held_message> held_;
  std::vector<raft_message> outbox_;
  effects out_;

  // follower, candidate
  role_t role_{role_t::follower};
  std::optional<raft_peer> leader_;
  instant started_;
  std::optional<instant> heard_at_;  ///< from a leader
  bool leader_gone_{false};
  instant deadline_;  ///< campaign then
  int campaigns_{0};  ///< since a leader was heard, or another candidate voted for
  peers granted_;
  raft_index verified_;  ///< the log agrees with that of the term's leader up to here
  raft_index reported_;  ///< match last told to it
  std::uint64_t heard_round_{0};
  std::optional<incoming_snapshot> incoming_;

  // leader
  std::map<raft_peer, progress> progress_;
  raft_index no_op_;
  bool announced_{false};  ///< `leading` was said
  instant led_since_, next_round_;
  std::uint64_t round_{0};
  std::deque<std::pair<std::uint64_t, instant>> rounds_;  ///< sent, and may still be answered
  std::size_t uncommitted_bytes_{0};
  std::deque<waiting_proposal> proposals_;
  std::deque<waiting_read> reads_;
  std::optional<waiting_change> change_;
  std::optional<node_id> successor_;
  bool successor_told_{false};
  instant handing_since_;
};

}  // namespace troupe
