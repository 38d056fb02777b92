#pragma once

#include <deque>
#include <optional>
#include <variant>
#include <vector>

#include "actors/partition/following.hpp"
#include "actors/partition/leadership.hpp"
#include "actors/partition/partition_core.hpp"
#include "actors/partition/replication.hpp"

namespace troupe {

/// One replica of a partition on this node: what the metadata makes of it, and everything that follows.
///
/// Pure: events go in with the time, effects come out and are performed in their order. One object per (topic id,
/// partition, added_at) and process; it lives as long as its log.
///
///     none      no leader is known, or its own log is not settled yet: serves reads below its watermark
///     leader    takes records, counts the followers
///     follower  asks the leader
///     damaged   found damage when it started, and its registration named it: leads never and answers no fetch until it
///               has stood outside the ISR and is back in it
///     failed    its log lacks the right to go on (a cut below its watermark, a failed disk); until the process ends
///     removed   the metadata has no such seat any more: drop the log, and never open this seat again
class partition_replica {
public:
  enum class role : std::uint8_t { none, leader, follower, damaged, failed, removed };

  // -- effects --------------------------------------------------------------------------------------------

  /// Append to the log. Its listener's `durable` and `refused` come back as events.
  struct append {
    std::vector<store::batch> batches;
  };
  /// Cut the log; when that is durable call `truncated` with where it ends now: lower than `end` if that lay within a
  /// batch. A full disk may refuse it: try again until it is done.
  struct truncate {
    log_offset end;
  };
  /// Drop the log's content and go on at `start`; when that is durable call `truncated(start)`. As for a full disk: as
  /// above.
  struct restart {
    log_offset start;
  };
  /// Records below `start` may go. No event comes back.
  struct trim {
    log_offset start;
  };
  struct send_fetch {
    node_id to;
    replica_fetch message;
  };
  /// With `read`, first fill the message's records with the log's batches from `read->from` on, below `read->end`: all
  /// of it is durable. If the read fails send nothing: the follower asks again.
  struct send_answer {
    struct reading {
      log_offset from, end;
      std::uint64_t bytes_max;  ///< but at least one batch
    };
    node_life to;
    replica_answer message;
    std::optional<reading> read;
  };
  struct send_proposal {
    alter_isr message;
  };
  /// `partition().watermark()` is this now.
  struct committed {
    log_offset watermark;
  };
  /// What the clients of this partition are told; `append` in there is always empty.
  struct tell {
    partition_core::effects clients;
  };
  struct become {
    role now;
    leader_epoch epoch;
    std::optional<error> why;  ///< failed, damaged
  };
  using effect =
      std::variant<append, truncate, restart, trim, send_fetch, send_answer, send_proposal, committed, tell, become>;
  using effects = std::vector<effect>;

  /// The log as it was found; with no role, until the first `assigned`.
  partition_replica(store::log_identity seat, node_life self, topic_settings, partition_restored);

  // -- events ---------------------------------------------------------------------------------------------

  /// The metadata says this now. Older and repeated news is ignored. Leads only if `node_epochs` has this very life:
  /// metadata from before its registration speaks of a former one.
  effects assigned(const assignment&, moment);
  effects reconfigured(topic_settings, instant now);
  /// This node holds its lease until then; never: `instant::max()`, which is where it begins.
  void leased(instant until) noexcept { lease_end_ = until; }

  /// As `partition_core::produced`. Further errors: not_leader (also: the lease has run out); later
  /// not_enough_replicas_after_append, not_leader: it may have been stored.
  effects produced(produce&&, moment, bool crowded, decompressor&);
  effects received(node_life from, const replica_fetch&, instant now);
  effects received(node_life from, const replica_answer&, moment);
  effects received(const alter_isr_answer&, moment);

  effects durable(log_offset end, instant now);
  effects refused(log_offset end, const error& why, instant now);
  effects truncated(log_offset end, instant now);
  /// At `wakes_at`, and every second while clients wait.
  effects tick(instant now);
  /// When this replica has to do with the others of its partition again, if nothing happens before. Clients that wait
  /// are not considered.
  std::optional<instant> wakes_at() const;
  /// The node stops, or the topic goes.
  effects ended(const error& why, instant now);

  // -- queries --------------------------------------------------------------------------------------------

  /// For reads, retention and marks, which are the same in every role. Writes go through the replica.
  partition_core& partition() noexcept { return core_; }
  const partition_core& partition() const noexcept { return core_; }
  role current() const noexcept { return role_; }
  const store::log_identity& seat() const noexcept { return seat_; }
  /// Where its log ends, on disk and without what is damaged: for `log_ends`.
  log_ends::log_end log_end() const;
  /// While it leads.
  const leadership* leads() const noexcept { return leads_ ? &*leads_ : nullptr; }
  /// The leader that this follower's fetches do not reach; the node tells the controller (§5.5).
  std::optional<node_id> out_of_reach() const noexcept { return follows_.out_of_reach(); }

private:
  bool seated(const partition_state&) const;
  void take_role(bool newer, effects&, instant now);
  void look_at_damage(bool newer, effects&);
  bool leased_at(instant) const noexcept;
  bool settled() const;
  void lead_if_settled(effects&, instant now);
  void lead(effects&, instant now);
  void lead_on(effects&, instant now);
  void follow(effects&, instant now);
  void rest(effects&, instant now);
  void step_down(const error& why, effects&, instant now);
  void fail(error why, effects&, instant now);
  void turn(role, effects&, std::optional<error> why = {});
  void perform(leadership::effects&&, effects&, instant now);
  void perform(following::effect&&, effects&, moment);
  void tell_clients(partition_core::effects&&, effects&, instant now);
  void commit(log_offset, effects&, instant now);
  void caught_up(effects&, instant now);
  void cut(log_offset end, effects&);
  void ask(effects&, instant now);
  leadership::log_view leaders_view() const;
  following::log_view followers_view() const;

  const store::log_identity seat_;
  const node_life self_;
  topic_settings settings_;
  std::optional<log_offset> damaged_from_;  ///< kept until we are back in the ISR
  bool damage_cut_{false};
  bool damage_known_{false};     ///< we have stood outside the ISR since
  std::deque<log_offset> cuts_;  ///< not durable yet, and where the log ends by them
  partition_core core_;
  role role_{role::none};
  leader_epoch epoch_told_{no_epoch};
  bool chosen_{false};  ///< to lead, as soon as the log is settled
  assignment last_{};   ///< `partition_epoch` -1 before the first
  instant lease_end_{instant::max()};
  std::optional<leadership> leads_;
  following follows_;
  bool followed_{false};          ///< somebody, in this life
  log_offset leaders_watermark_;  ///< as last told; ours follows once that much is durable
  log_offset committed_told_;     ///< the last `committed`
};

}  // namespace troupe
