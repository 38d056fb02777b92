#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "actors/controller/controller.hpp"
#include "actors/controller/draft.hpp"
#include "actors/controller/node_messages.hpp"
#include "actors/controller/shard_plan.hpp"

namespace troupe {

/// The controller of a cluster: who is alive, who leads what, who owns which shard, who holds a lease.
///
/// Is       active where the metadata quorum is led; everywhere else it does nothing.
/// Answers  registrations, heartbeats, ISR changes, log ends; topics, reassignments, drains, elections asked for.
/// Keeps    in memory only: when a node was heard and granted, who suspects whom, what waits. A new controller starts
///          with none of it and takes every node as heard and granted at its own election (R9).
/// Decides  on the image with what it is about to write already applied (a draft). One batch of records is on its way
///          at a time; what is asked meanwhile waits, and is judged by the image that the batch leaves behind. A
///          request is answered when its records are applied.
/// Bounds   `options`; beyond them requests are answered `busy` or `later`.
///
///     events --> memory, queue --> drive: draft --> propose ... applied --> proposal_ended --> answers, drive again
///
/// Every batch leaves an image that is in order (I11, I13), also if the controller changes after it: what belongs to
/// one decision and does not fit into one batch goes in an order that never elects or grants too early.
///
/// Pure and deterministic: the shell carries out the effects in their order, calls `tick` every 50 ms, and says
/// `applied` for every entry of the log that it applied.
class cluster_controller {
public:
  using ms = std::chrono::milliseconds;
  /// Chosen by the caller; comes back with the answer.
  using ticket = std::uint64_t;

  struct options {
    node_id self;
    /// Kinds whose shards have no log (§12); created when missing.
    struct shard_kind {
      std::string name;
      std::uint32_t shards{64};
    };
    std::vector<shard_kind> kinds;
    /// Topics whose partitions are the shards of durable entities (§12); created when missing. They grow to three
    /// replicas as soon as there are as many nodes.
    struct internal_topic {
      std::string name;
      std::int32_t partitions{16};
    };
    std::vector<internal_topic> internal_topics;
    ms silent_after{1500};   ///< without a heartbeat: the controller's own report
    ms suspicion_for{2000};  ///< so long a peer's report counts
    ms deaf_after{5000};     ///< an ACTIVE node unheard for so long is no longer expected to report others
    ms late_tick{500};       ///< time beyond it without a tick is our own silence, not the nodes'
    ms lease{3000};
    ms quorum_fresh{800};
    int lease_wait_percent{125};  ///< of the lease: after it no clock that drifts < 10 % still holds it
    ms balance_every{5 * 60'000};
    std::size_t balance_moves_max{50};
    int balance_over_percent{10};
    ms shard_settle{30'000};  ///< shards move to a node that joined once the nodes have stayed the same for so long
    std::size_t shard_moves_max{16};    ///< handed over at the same time
    ms handoff_wait{10'000};            ///< an owner that does not release a shard by then keeps it
    std::size_t reassignments_max{50};  ///< that drains and growth keep under way
    std::size_t batch_changes_max{1000};
    std::size_t requests_max{10'000};
  };

  // -- what may be asked ------------------------------------------------------------------------------------

  struct create_topics {
    std::vector<new_topic> topics;
    bool validate_only{false};
  };
  struct delete_topics {
    std::vector<controller::doomed> topics;
  };
  struct create_partitions {
    std::vector<controller::growth> topics;
    bool validate_only{false};
  };
  struct alter_configs {
    std::vector<controller::reconfiguration> topics;
    bool validate_only{false};
  };
  struct reserve_producer_ids {
    std::int64_t count{1000};
  };
  /// `target`: the nodes that are to hold the partition, preferred leader first; none: cancel what is under way.
  /// Errors per item: unknown_topic, invalid_partitions (no such partition), invalid_assignment (not distinct ACTIVE
  /// nodes, or empty), invalid_request (nothing to cancel; cancelling now would leave too few in sync).
  struct reassign {
    struct item {
      partition_ref where;
      std::optional<std::vector<node_id>> target;
    };
    std::vector<item> items;
  };
  /// Makes the first of the replicas that is ACTIVE and in sync the leader. Errors per item: unknown_topic,
  /// invalid_partitions, not_enough_replicas (nobody to elect).
  struct elect_preferred {
    std::vector<partition_ref> items;
  };
  /// A partition without a leader gets one that may lack records that were acknowledged, whatever the topic allows: the
  /// longest log that is known, else the first replica that serves. What it lacks is lost; the epoch is marked as
  /// unclean. Errors per item: unknown_topic, invalid_partitions, invalid_request (it has a leader),
  /// not_enough_replicas (no replica serves).
  struct elect_uncleanly {
    std::vector<partition_ref> items;
  };
  /// Takes a node out of the cluster: leaderships, shards and replicas move away, then it is removed. `undo`: it stays
  /// after all, and if it was drained, it is that no more. Errors: invalid_request (no such node, or nothing to undo),
  /// not_enough_replicas (no other node would be left).
  struct remove_node {
    node_id node;
    bool undo{false};
  };
  /// Leaderships, shards and the controller move away from the node, and nothing comes to it until that is undone.
  /// Errors: invalid_request (no such node, or it is leaving), not_enough_replicas (no other node would be left).
  struct drain_node {
    node_id node;
  };
  /// Who votes by name: `always` takes the place of one whom the controller chose, `never` is replaced. Errors:
  /// invalid_request (no such node, it is so already, cannot vote now, or all places are taken by name),
  /// not_enough_replicas (nobody can take its place, or too few of the voters that would be left live), busy (a new
  /// controller does not know yet who votes).
  struct set_voting {
    node_id node;
    voting how{voting::automatic};
  };
  /// 1, 3 or 5. Error: invalid_request (another number, or more vote by name).
  struct want_voter_count {
    std::int32_t count{3};
  };
  using request =
      std::variant<create_topics, delete_topics, create_partitions, alter_configs, reserve_producer_ids, reassign,
                   elect_preferred, remove_node, want_voter_count, drain_node, set_voting, elect_uncleanly>;
  /// What the outcome of a request is, by its kind: `decisions` for topics, `first` of the reserved ids, `items` for
  /// the rest (of one node, and want_voter_count: one).
  struct outcome {
    std::vector<decision> decisions;
    std::optional<producer_id> first;
    std::vector<result<void>> items;
    /// Set when nothing was decided, for every kind: not_leader (no controller here), busy; closed (it was on its way
    /// when this controller was deposed: it may have happened).
    std::optional<error> failed;
  };

  // -- effects ----------------------------------------------------------------------------------------------

  /// One entry of the quorum's log, of these records. Answered by `proposal_ended`.
  struct propose {
    std::uint64_t batch{0};
    std::vector<metadata_record> records;
  };
  struct answer {
    ticket to{0};
    std::variant<registration_answer, heartbeat_answer, alter_isr_answer, outcome> what;
  };
  struct voter {
    node_id node;
    uuid disk;
    friend auto operator<=>(const voter&, const voter&) = default;
  };
  /// Bring the quorum's voters to this set, one change at a time. Said again when it or the facts change.
  struct want_voters {
    std::vector<voter> voters;  ///< sorted
  };
  /// Have that voter lead the quorum: this node gives away what it has, or is to vote no more. Nothing is granted or
  /// proposed from now on, until `leads_on`.
  struct hand_over {
    node_id to;
  };
  /// Stop serving this shard, write what has to be written, then say `shard_released`.
  struct release_shard {
    life owner;
    std::string kind;
    std::uint32_t shard{0};
    std::int32_t epoch{0};
  };
  /// For the log and the metrics; nothing depends on it.
  struct noted {
    enum class event : std::uint8_t {
      registered,           ///< node
      fenced,               ///< node
      active,               ///< node
      draining,             ///< node
      removed,              ///< node
      no_leader,            ///< where: nobody may be elected
      possible_loss,        ///< node leads where, elected without knowing everything that was committed
      shard_move_given_up,  ///< node did not release its shard in time
      disk_full,            ///< node
      disk_has_room,        ///< node
    };
    event what{};
    node_id node{-1};
    std::optional<partition_ref> where;
  };
  using effect = std::variant<propose, answer, want_voters, hand_over, release_shard, noted>;
  using effects = std::vector<effect>;

  cluster_controller(options, controller topics);

  // -- the quorum -------------------------------------------------------------------------------------------

  /// This node leads the quorum. The core works once the image has applied `no_op`.
  effects elected(instant now, std::shared_ptr<const metadata_image>, meta_offset no_op);
  /// It leads no more. Everything that waits is answered.
  effects deposed();
  /// It gives the leadership away: from now on no grants and no proposals, until `elected` or `leads_on`.
  void handing_over();
  /// Nothing came of it: nobody was told to take over.
  void leads_on();
  /// The newest round of heartbeats of the quorum that a majority answered was sent then.
  void quorum_heard(instant sent);
  /// What the quorum's voters are now, caught up or not.
  effects voters_are(instant now, std::vector<voter>);
  /// The image has advanced. Call it before `proposal_ended` of a batch in it.
  effects applied(instant now, std::shared_ptr<const metadata_image>);
  enum class proposal_outcome : std::uint8_t {
    done,       ///< committed, and in the image given last
    not_taken,  ///< busy: nothing happened
    lost,       ///< leadership ended: it may or may not be committed
  };
  effects proposal_ended(instant now, std::uint64_t batch, proposal_outcome);

  // -- the nodes --------------------------------------------------------------------------------------------

  effects registered(instant now, ticket, const registration&);
  /// Answered at once.
  effects heard(instant now, ticket, const heartbeat&);
  /// This node's own link to that process: its host reset it / refused a new one. Both together are "gone". Told also
  /// while this controller does not work: it may be elected because of it.
  effects link_broken(instant now, life, bool reset, bool refused);
  effects said_farewell(instant now, const farewell&);
  effects isr_asked(instant now, ticket, const alter_isr&);
  effects log_ends_are(instant now, const log_ends&);
  effects released(instant now, const shard_released&);
  effects asked(instant now, ticket, request);
  effects tick(instant now);

  // -- queries ----------------------------------------------------------------------------------------------

  /// Elected, not deposed, and the no-op applied.
  bool works() const noexcept { return works_; }
  const std::shared_ptr<const metadata_image>& image() const noexcept { return image_; }
  /// When `node` was last given a lease, in any of its lives, by this controller.
  std::optional<instant> last_grant(node_id) const;

private:
  /// What only memory knows of a node's present life.
  struct watched {
    std::int64_t epoch{-1};
    instant heard;
    meta_offset applied{-1};  ///< what it said at last
    bool ready{false}, wants_to_stop{false}, farewell{false};
    bool disk_full{false};
    std::optional<wall_time> wall;      ///< when it was heard
    bool reset{false}, refused{false};  ///< our own link to it
    struct report {
      instant until;
      suspicion_cause why{};
    };
    std::map<node_id, report> suspected_by;
    std::map<node_id, instant> unreachable_for;  ///< whose fetches do not arrive; counts until then
  };
  struct waiting {
    ticket from{0};
    std::variant<registration, alter_isr, request> what;
  };
  using verdict = decltype(answer::what);
  /// What the asker hears once the batch is applied.
  using reply = std::function<verdict(const metadata_image&)>;
  struct batch {
    std::uint64_t number{0};
    std::vector<std::pair<waiting, reply>> replies;
    std::vector<noted> notes;
  };
  struct shard_id {
    std::string kind;
    std::uint32_t shard{0};
    friend auto operator<=>(const shard_id&, const shard_id&) = default;
  };
  struct shard_move {
    node_id to;
    life from;
    std::int32_t epoch{0};
    instant give_up, say_again;
  };
  struct known_end {
    std::int64_t node_epoch{-1};
    leader_epoch last_epoch{no_epoch};
    log_offset end;
  };

  // cluster_controller.cpp: life, queue, batches
  void start_if_applied();
  void excuse_silence(instant now);
  void drive(instant now, effects&);
  void serve_waiting(draft&, batch&, instant now);
  void conclude(batch&&, proposal_outcome, effects&);
  void enqueue(waiting, effects&);
  static verdict refusal(const waiting&, errc why);
  bool full(const draft& d) const { return d.size() >= options_.batch_changes_max; }

  // cluster_nodes.cpp: who is alive, who holds a lease
  void watch_all(instant at);
  bool may_grant(const node_info&, const heartbeat&, instant now) const;
  clock_verdict clocks(instant now) const;
  void note_full_disks(draft&, batch&, instant now);
  bool own_gone(const watched&) const;
  bool to_be_fenced(const metadata_image&, const node_info&, instant now) const;
  bool fence(draft&, batch&, const node_info&, const std::function<bool(const partition_ref&)>& forgets, instant now);
  void fence_silent(draft&, batch&, instant now);
  void activate_ready(draft&, batch&, instant now);
  std::optional<reply> judge(draft&, batch&, const registration&, instant now);
  void drain(draft&, batch&);
  void remove_empty(draft&, batch&, const std::set<node_id>& holding);
  bool unreachable(const metadata_image&, node_id) const;
  std::vector<voter> choose_voters() const;
  void say_voters(effects&);
  std::optional<node_id> successor() const;
  void step_aside(instant now, effects&);

  // cluster_partitions.cpp: leaders, ISRs, replica plans
  partition_plan::facts facts_of(const metadata_image&, const topic&) const;
  std::optional<reply> judge(draft&, const alter_isr&);
  void set(draft&, const partition_ref&, const topic&, partition_state, instant now);
  void keep_internal_topics(draft&, instant now);
  bool draining(const metadata_image&) const;
  std::optional<node_id> longest(const metadata_image&, const partition_ref&, const partition_state&,
                                 const partition_plan::facts&) const;
  void keep_partitions(draft&, batch&, instant now);
  void balance_leaders(draft&);

  // cluster_requests.cpp
  reply decide(draft&, batch&, request&);
  result<void> decide(draft&, const reassign::item&);
  result<void> decide(draft&, const partition_ref&);
  result<void> decide_uncleanly(draft&, batch&, const partition_ref&);
  result<void> decide(draft&, const remove_node&);
  result<void> decide(draft&, const drain_node&);
  result<void> decide(draft&, const set_voting&);
  result<void> may_go(const metadata_image&, node_id voter) const;

  // cluster_shards.cpp
  std::vector<node_info> place_for_shards(const metadata_image&) const;
  bool lease_over(const life&, instant now) const;
  bool knows(const life&, meta_offset) const;
  shard_state handed_on(const metadata_image&, const shard_state&, node_id to, instant now) const;
  void leave_shards(draft&, const node_info& loser, instant now);
  void keep_shards(draft&, batch&, instant now, effects&);
  void move_shards(draft&, batch&, instant now, effects&);

  static constexpr std::size_t internal_replicas = 3;
  static constexpr ms release_every{1000};
  static constexpr ms look_every{200};
  static constexpr ms hand_over_every{5000};  ///< whoever does not take over lets us work in between

  options options_;
  controller topics_;
  std::shared_ptr<const metadata_image> image_;

  bool elected_{false}, works_{false}, handing_over_{false};
  meta_offset no_op_{-1};
  instant now_, elected_at_, last_tick_;
  std::optional<instant> quorum_heard_;

  std::map<node_id, watched> nodes_;
  struct broken_link {
    instant at;
    bool reset{false}, refused{false};
  };
  std::map<life, broken_link> links_;  ///< broken lately; outlives being elected and deposed
  std::map<life, instant> granted_;    ///< of those whose lease may still run
  std::set<life> ended_;               ///< no such process any more, so no lease either
  std::set<node_id> fencing_;          ///< some of it is written, or about to be
  std::set<node_id> drained_;          ///< nothing left that another node could take
  std::deque<waiting> queue_;
  std::optional<batch> in_flight_;
  std::uint64_t batches_{0};
  bool look_again_{true};            ///< something has changed for partitions since all were looked at
  instant look_at_{instant::max()};  ///< something may have: look, but not at every heartbeat
  instant balance_at_;
  std::map<partition_ref, std::map<node_id, known_end>> log_ends_;
  std::set<partition_ref> leaderless_;  ///< said so

  std::map<shard_id, shard_move> moves_;
  std::map<shard_id, shard_released> released_;
  std::vector<life> shard_owners_;  ///< who could own shards when last looked
  instant next_moves_at_, drain_moves_at_;

  std::vector<voter> voters_;
  std::optional<std::vector<voter>> voters_said_;
  bool votes_on_{true};         ///< this node is to be a voter further on
  bool gave_away_{false};       ///< this node has nothing left that another could take
  instant hand_over_again_at_;  ///< not before
};

}  // namespace troupe
