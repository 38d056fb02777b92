#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "actors/controller/node_messages.hpp"
#include "runtime/base/random.hpp"

namespace troupe {

/// A node's own side of its life in the cluster: registers, heartbeats, holds the lease, drains, stops.
///
///     recovering --recovered--> registering --accepted--> catching_up --metadata covers it--> serving
///     serving --stop--> draining --may stop, or waited long enough--> marking --mark written--> stopped
///     registering, catching_up --stop--> marking           any --refused, superseded--> stopped
///
/// Pure: the shell carries each message to where it goes, and calls `tick` every 50 ms.
class node_agent {
public:
  struct options {
    registration self;  ///< `clean` and `damaged` come with `recovered`
    std::chrono::milliseconds heartbeat_every{500};
    /// Who wants to stop asks more often whether it may, and who was given no lease whether it gets one.
    std::chrono::milliseconds heartbeat_every_waiting{100};
    std::chrono::milliseconds lease{3000};
    /// So long after a granted heartbeat the controller does not fence its sender: `silent_after` there.
    std::chrono::milliseconds unfenced_for{1500};
    std::chrono::milliseconds register_every{500};
    /// After the first "later", then twice as much each time, up to `register_every`.
    std::chrono::milliseconds register_again{10};
    /// Without an answer of the controller for so long, each heartbeat goes through relays as well.
    std::chrono::milliseconds relay_after{1000};
    std::size_t relays{3};
    /// A node that nobody lets go stops anyway.
    std::chrono::milliseconds drain_wait{30'000};
  };
  enum class stage : std::uint8_t { recovering, registering, catching_up, serving, draining, marking, stopped };

  // -- effects ----------------------------------------------------------------------------------------------

  /// To whom this node takes for the controller; no node: to any voter.
  struct send_registration {
    std::optional<node_id> to;
    registration message;
  };
  /// `via`: a peer passes it on to whom it takes for the controller, and passes the answer back. Without `via`
  /// and `to`: to any voter.
  struct send_heartbeat {
    std::optional<node_id> to, via;
    heartbeat message;
  };
  struct send_farewell {
    std::optional<node_id> to;
    farewell message;
  };
  /// This node is part of the cluster under this epoch.
  struct accepted {
    life as;
    std::string cluster_id;
  };
  /// Stop serving, sync everything, write the clean mark with this epoch, then call `marked`. -1: it never registered.
  struct write_mark {
    std::int64_t node_epoch{-1};
  };
  /// The process ends: in order (`why` empty), or because it may not go on.
  struct end_process {
    std::optional<error> why;
  };
  using effect = std::variant<send_registration, send_heartbeat, send_farewell, accepted, write_mark, end_process>;
  using effects = std::vector<effect>;

  node_agent(options, random_source, instant now);

  // -- what happens -----------------------------------------------------------------------------------------

  /// The disk is recovered.
  effects recovered(instant now, bool clean, std::vector<partition_ref> damaged);
  effects received(instant now, const registration_answer&);
  effects received(instant now, const heartbeat_answer&);
  /// The image of this node has applied everything up to `image.applied`. Also learns from it who its peers are.
  effects applied(instant now, const metadata_image&);
  /// Who leads the quorum, as far as raft knows; none: nobody known.
  effects controller_is(instant now, std::optional<node_id>);
  /// For the next heartbeats, until said anew. Evidence is newer than `when`.
  struct suspicion {
    life subject;
    suspicion_cause why{suspicion_cause::silent};
    instant when;
  };
  /// `at_once`: one is new, so the controller is told now.
  effects suspects(instant now, std::vector<suspicion>, bool at_once);
  /// Leaders that this node's fetches do not reach, for the next heartbeats, until said anew.
  void cannot_reach(std::vector<life>);
  /// Whether the disk takes appends. What changed is said at once.
  effects disk_is(instant now, bool full);
  /// The wall clock says this. Call it before every tick.
  void wall_read(instant now, wall_time);
  effects tick(instant now);
  /// Leave in order (a signal, or an operator).
  effects stop(instant now);
  effects marked(instant now);

  // -- queries ----------------------------------------------------------------------------------------------

  stage at() const noexcept { return stage_; }
  /// This life; epoch -1: not registered.
  life self() const noexcept { return self_; }
  /// Until then this node may answer writes and handle messages; in the past: it has none.
  instant lease_end() const noexcept { return lease_end_; }
  bool has_lease(instant now) const noexcept { return now < lease_end_; }
  /// Until when clients may be sent to this node as to a leader: nobody is fenced sooner. Before the end of the lease.
  instant leads_until() const noexcept { return lease_end_ - (options_.lease - options_.unfenced_for); }
  /// Until when clients may be sent to other leaders: what this node knows is no older than a lease.
  instant knows_leaders_until() const noexcept { return std::min(lease_end_, known_at_ + options_.lease); }
  /// What of the wall clock counts; nothing: it was never read.
  const std::optional<wall_clock>& wall() const noexcept { return wall_; }
  /// Since when it has had no lease; none: it has one. For the answers to probes.
  std::optional<instant> without_lease_since(instant now) const noexcept;

private:
  bool beats() const { return stage_ == stage::catching_up || stage_ == stage::serving || stage_ == stage::draining; }
  bool ended() const { return stage_ == stage::marking || stage_ == stage::stopped; }
  void ask_to_register(instant now, effects&);
  void become(instant now, std::int64_t epoch, const std::string& cluster_id, effects&);
  void beat(instant now, effects&);
  void know();
  void finish(instant now, effects&);
  void give_up(error why, instant now, effects&);

  options options_;
  random_source random_;
  stage stage_{stage::recovering};
  registration registration_;
  std::chrono::milliseconds later_wait_;
  life self_;
  meta_offset applied_{-1};
  instant began_, lease_end_;
  /// A controller's answer to a heartbeat of `sent` came from metadata up to `applied`. Once we have that, we know what
  /// there was at `sent`.
  struct newer_metadata {
    instant sent;
    meta_offset applied;
  };
  std::optional<newer_metadata> lacks_;
  instant known_at_{};
  std::optional<node_id> controller_;
  std::vector<node_id> peers_;
  bool listed_{false};    ///< the metadata has this life among those that serve
  bool referred_{false};  ///< this try to register was sent on to somebody else
  instant next_send_, answered_at_, drain_until_;
  std::vector<suspicion> suspicions_;
  std::vector<life> unreachable_;
  bool disk_full_{false};
  std::optional<wall_clock> wall_;
};

}  // namespace troupe
