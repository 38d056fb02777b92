#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "actors/controller/cluster_controller.hpp"
#include "actors/controller/node_agent.hpp"
#include "actors/node/node_letter.hpp"
#include "runtime/membership/failure_detector.hpp"
#include "runtime/raft/raft.hpp"

namespace troupe {

/// One node's part in running the cluster: its place in the metadata quorum, the controller where that is led, the
/// node's own life, and its view of its peers. It joins those cores; the simulator and the product run this very code.
///
/// Is       on every node; its peers know it by the node's id.
/// Answers  what is asked of the controller, on every node: where the controller is not, it passes the request on.
/// Tells    the node's replicas and shards what the metadata says (`metadata`) and until when the node has its lease.
/// Keeps    the quorum's log (`write`); everything else is forgotten with the process.
/// Fails    what cannot be kept ends the process (`end`).
/// Bounds   those of its cores; requests that are passed on: `options::requests_max`, then `busy`.
///
///     events: received, written, asked, links, tick --> effects, to be performed in their order
///
/// Pure: `tick` comes every 50 ms. After `end` nothing comes any more.
class node_core {
public:
  struct options {
    node_agent::options agent;
    raft_options raft;
    cluster_controller::options controller;
    membership::detector_settings detector;
    /// Decides about topics, on the node where the controller is.
    troupe::controller topics{controller_defaults{}};
    /// Whom a node asks that knows nobody.
    std::vector<node_id> seeds;
    /// So many entries of the quorum's log lie behind a snapshot before there is a new one.
    std::int64_t snapshot_every{10'000};
    /// A request that was passed on and not answered by then has an unknown end.
    std::chrono::milliseconds request_wait{30'000};
    std::size_t requests_max{10'000};
  };
  /// Chosen by who asks; comes back with the outcome.
  using ticket = std::uint64_t;

  // -- effects ----------------------------------------------------------------------------------------------

  /// Make durable, then say `written`. What comes while one is written may be written together.
  struct write {
    raft::write what;
  };
  /// To a node, also to this one.
  struct send {
    node_id to;
    node_message message;
  };
  /// The metadata says this now. Once every replica and shard of this node has taken it in: `told`.
  struct metadata {
    std::shared_ptr<const metadata_image> image;
  };
  /// This life is part of the cluster: remember which. From now on there may be replicas.
  struct registered {
    life as;
    std::string cluster_id;
  };
  /// This node holds its lease until then.
  struct leased {
    instant until;
  };
  /// What of the wall clock counts from now on.
  struct clock {
    wall_line line;
  };
  /// Stop serving, sync everything, write the mark that says so with this epoch (-1: it never registered), then say
  /// `marked`.
  struct write_mark {
    std::int64_t node_epoch{-1};
  };
  struct answer {
    ticket to{0};
    cluster_controller::outcome what;
  };
  /// The process ends: in order (`why` empty), or because it may not go on.
  struct end {
    std::optional<error> why;
  };
  using effect = std::variant<write, send, metadata, registered, leased, clock, write_mark, answer, end>;
  using effects = std::vector<effect>;

  /// Hears what happens inside, while it happens: for logs, metrics and checkers. Must not call back.
  class witness {
  public:
    virtual ~witness() = default;
    /// These records are about to change the metadata.
    virtual void applies(const std::vector<metadata_record>&, const metadata_image& before) { (void)before; }
    /// An entry of the quorum's log is part of the metadata.
    virtual void applied(const raft_entry&, const metadata_image& after) { (void)after; }
    virtual void sends(const raft_message&) {}
    virtual void leads(raft_term) {}
    virtual void leads_no_more(raft_term) {}
    /// The quorum contradicts itself; the node ends.
    virtual void quorum_stops(const std::string& why) { (void)why; }
    // What the controller is told, and what it does. The first comes before it is elected.
    virtual void controls() {}
    virtual void hears(const heartbeat&) {}
    virtual void hears(const farewell&) {}
    virtual void link_broken(life, bool reset) { (void)reset; }
    virtual void proposes(const std::vector<metadata_record>&) {}
    virtual void notes(const cluster_controller::noted&) {}
    virtual void suspects(const membership::suspicion&) {}
    virtual void trusts(life) {}
  };

  /// What the first node of a new cluster has on its disk before it starts.
  static raft_snapshot founding(const raft_peer&);
  /// `stored` is sound for this node and disk (`raft::sound`). Call `recovered` next.
  node_core(options, raft_stored stored, witness&, random_source, instant now);

  // -- the disk ---------------------------------------------------------------------------------------------

  /// The logs are recovered, and these replicas found damage. `clean`: nothing that was acknowledged is missing.
  effects recovered(instant now, bool clean, std::vector<partition_ref> damaged);
  /// All writes up to this number are durable.
  effects written(instant now, std::uint64_t number);
  effects marked(instant now);

  // -- the cluster --------------------------------------------------------------------------------------------

  /// Whether a letter from that cluster is for this node. Who has no cluster yet may only ask for one.
  bool takes_from(std::string_view cluster_id) const;
  effects received(instant now, life from, const node_message&);
  /// A node that can be asked.
  void seed(node_id);
  /// Our link to that process is gone: its host reset it, or it is too late with everything.
  effects link_lost(instant now, life peer, bool reset);
  /// That node's host refused a new connection.
  effects refused(instant now, node_id peer);
  /// Something came from it, which letters do not show: a link was made.
  effects heard_from(instant now, life peer);

  // -- the node -----------------------------------------------------------------------------------------------

  /// Every replica and shard has taken in this metadata.
  effects told(instant now, const metadata_image&);
  /// To whom this node takes for the controller; nobody: it is lost.
  effects to_controller(instant now, node_message);
  /// Leaders that this node's followers do not reach, until said anew.
  void cannot_reach(std::vector<life> leaders) { agent_.cannot_reach(std::move(leaders)); }
  /// Answered once. `outcome::failed` further: closed (nobody knows whether it happened), busy.
  effects asked(instant now, ticket, cluster_controller::request);
  /// Leave in order.
  effects stop(instant now);
  effects disk_is(instant now, bool full);
  /// The wall clock says this; before every tick.
  void wall_read(instant now, wall_time reading) { agent_.wall_read(now, reading); }
  effects tick(instant now);

  // -- queries --------------------------------------------------------------------------------------------------

  life self() const noexcept { return agent_.self(); }
  node_id id() const noexcept { return self_.node; }
  const std::string& cluster_id() const noexcept { return cluster_id_; }
  const std::shared_ptr<const metadata_image>& image() const noexcept { return image_; }
  const raft& quorum() const noexcept { return raft_; }
  const cluster_controller& the_controller() const noexcept { return controller_; }
  const node_agent& agent() const noexcept { return agent_; }
  const membership::failure_detector* detector() const noexcept { return detector_ ? &*detector_ : nullptr; }
  bool ended() const noexcept { return ended_; }

private:
  /// Where an answer of the controller goes: to a node, maybe by another; or it is one of our own requests.
  struct route {
    node_id asker{-1};
    node_id via{-1};
    std::uint64_t id{0};  ///< of a request
    bool own{false};
  };
  struct passed_on {
    node_id to;
    instant until;
    std::optional<controller_reply> reply;  ///< waits until our metadata is as new
  };

  effects finish();
  void say(node_id to, node_message);
  void stop_with(std::optional<error> why);
  std::optional<node_id> any_voter();

  // node_core.cpp: the node's life, its peers, letters
  void perform(instant now, node_agent::effects&&);
  void perform(instant now, membership::failure_detector::effects&&);
  void lease_may_have_changed();
  void clock_may_have_changed();
  void suspect(instant now, bool at_once);
  void look_at_members();
  void hear(instant now, life from, const raft_message&);
  void hear(instant now, life from, const registration&);
  void hear(instant now, life from, const registration_answer&);
  void hear(instant now, life from, const heartbeat&);
  void hear(instant now, life from, const heartbeat_answer&);
  void hear(instant now, life from, const relayed&);
  void hear(instant now, life from, const relayed_answer&);
  void hear(instant now, life from, const farewell&);
  void hear(instant now, life from, const alter_isr&);
  void hear(instant now, life from, const log_ends&);
  void hear(instant now, life from, const shard_released&);
  void hear(instant now, life from, const controller_request&);
  void hear(instant now, life from, const controller_reply&);
  void hear(instant now, life from, const membership::message&);

  // node_quorum.cpp: the quorum and the controller
  void perform(instant now, raft::effects&&);
  void perform(instant now, cluster_controller::effects&&);
  void commit(instant now, raft::commit&);
  void install(const raft_snapshot&);
  void quorum_led(instant now, const raft::leading&);
  void proposal_ended(instant now, const raft::proposed&);
  void propose(instant now, const std::vector<metadata_record>&);
  void metadata_changed(instant now);
  void take_snapshot(instant now);
  void tend_members(instant now);
  void deliver(const route&, decltype(cluster_controller::answer::what));
  void finish_requests(instant now);
  cluster_controller::ticket ticket_for(route);

  const raft_peer self_;
  const std::int64_t snapshot_every_;
  const std::chrono::milliseconds request_wait_;
  const std::size_t requests_max_;
  const membership::detector_settings detector_settings_;
  std::vector<node_id> seeds_;
  witness& witness_;
  random_source random_;
  const controller topics_;
  std::string cluster_id_;
  std::shared_ptr<const metadata_image> image_ = std::make_shared<const metadata_image>();
  class raft raft_;
  cluster_controller controller_;
  node_agent agent_;
  std::optional<membership::failure_detector> detector_;

  std::optional<meta_offset> no_op_;  ///< while this node leads the quorum
  raft_client proposer_;
  std::uint64_t proposals_{0};
  std::map<std::uint64_t, std::uint64_t> batches_;  ///< proposal -> the controller's batch
  std::vector<cluster_controller::voter> wanted_voters_;
  bool changing_members_{false};
  std::uint64_t changes_{0};

  cluster_controller::ticket next_ticket_{1};
  std::map<cluster_controller::ticket, route> routes_;
  std::map<ticket, passed_on> passed_on_;
  std::size_t asked_around_{0};
  instant lease_end_{};
  std::optional<wall_line> line_;
  bool ended_{false};
  effects out_;
};

}  // namespace troupe
