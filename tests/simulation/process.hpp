#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/node/node_core.hpp"
#include "actors/partition/replica.hpp"
#include "tests/simulation/entity_shell.hpp"
#include "tests/simulation/letter.hpp"
#include "tests/simulation/machine.hpp"
#include "tests/simulation/network.hpp"
#include "tests/simulation/simulated_store.hpp"

/// One node process: the node's core, its replicas and entities, and the shell around them. The shell decides nothing;
/// what it does here, CAF actors do in the product.
namespace troupe::sim {

class process;

/// What lies on a machine's disk besides the store's logs. Writes to it are whole or not there.
struct node_disk {
  /// Raft's writes that were begun, in order; those that a crash finds here may be there after it, from the front.
  std::deque<raft::write> writing;
  void take_one();

  uuid disk;
  std::uint64_t starts{0};
  std::string cluster_id;
  std::int64_t clean_mark{-1};  ///< node epoch of the life that stopped in order; -1: none
  /// Something in the logs did not read as it was written: starts read all of them, until one finds no damage.
  bool distrusted{false};
  raft_stored stored;
};

/// Who the checkers ask and who the processes tell.
class observer {
public:
  virtual ~observer() = default;
  /// The quorum decided `entry`; `node` applies it now.
  virtual void applied(node_id node, const raft_entry& entry, const metadata_image& after) = 0;
  virtual void leads_quorum(node_id node, raft_term term) = 0;
  virtual void voted(const raft_peer& voter, raft_term, const raft_peer& candidate) = 0;
  /// A new life is part of the cluster; it found these damaged, or all of them gone.
  virtual void came(const process&, const std::vector<partition_ref>& damaged, bool empty_disk) = 0;
  // What a controller knows when it fences.
  virtual void controls(const process&) = 0;
  virtual void heard(const process&, const heartbeat&) = 0;
  virtual void link_broken(const process&, life, bool reset) = 0;
  virtual void said_farewell(const process&, life) = 0;
  virtual void decides(const process&, const std::vector<metadata_record>&) = 0;
  virtual void leads(node_id node, const store::log_identity&, leader_epoch) = 0;
  virtual void committed(const process&, const partition_replica&) = 0;
  /// A client is told that its write is stored.
  virtual void acknowledged(const process&) = 0;
  virtual void broken(const std::string& what) = 0;

  // -- entities -------------------------------------------------------------------------------------------
  /// A node's router sends the call to the owner of `epoch`.
  virtual void call_sent(operation, std::int32_t epoch) = 0;
  virtual void call_ended(operation, bool answered) = 0;
  /// The owner of `epoch` handles the call; `before`: what its entity did so far.
  virtual void handles(node_id, const entities::shard_id&, const entity_kind&, std::int32_t epoch, operation,
                       const std::vector<operation>& before) = 0;
  /// A reply leaves the owner of `epoch`; `stopped`: which has written its state for the next one.
  virtual void replies(node_id, const entities::shard_id&, const entity_kind&, std::int32_t epoch, bool stopped) = 0;
};

struct surroundings {
  kernel& ground;
  network& net;
  observer& watcher;
  /// Brings a letter to whoever is at that place; nobody: it is lost.
  std::function<void(place to, letter)> deliver;
  /// Voters that a new node asks first.
  std::vector<node_id> seeds;
  cluster_controller::options controller;
  raft_options raft;
  simulated_store::limits store;
};

class process {
public:
  /// `founder`: begins a new cluster if the disk has none.
  process(surroundings&, machine&, node_disk&, bool founder);
  ~process();
  process(const process&) = delete;

  void receive(const letter&);
  /// The kernel of `peer`'s machine says that no such process is there.
  void link_reset(life peer);
  void refused(node_id peer);
  /// SIGTERM.
  void stop();
  /// A request to the controller, wherever that is.
  bool ask(cluster_controller::request, std::function<void(cluster_controller::outcome)>);
  /// A call to an entity, as from a client of this node. False: refused at once.
  bool call(operation what, const entities::entity_name& whom) { return entities_ && entities_->call(what, whom); }

  // -- for checkers -----------------------------------------------------------------------------------------
  node_id id() const { return machine_.id; }
  life self() const { return core_ ? core_->self() : life{machine_.id, -1}; }
  const class raft& quorum() const { return core_->quorum(); }
  const metadata_image& image() const { return *core_->image(); }
  const cluster_controller& controller_core() const { return core_->the_controller(); }
  const node_agent& agent() const { return core_->agent(); }
  bool has_lease() const { return agent().has_lease(machine_.clock.now()); }
  const std::map<store::log_identity, std::unique_ptr<partition_replica>>& replicas() const { return replicas_; }
  partition_replica* replica_of(const partition_ref&) const;
  /// Whole batches in [from, end) of a replica's log, as they lie on the disk.
  result<std::vector<shared_bytes>> read(const store::log_identity&, log_offset from, log_offset end) const;
  bool ended() const { return ended_; }
  /// nullptr: not registered yet.
  const entity_shell* entities() const { return entities_.get(); }
  instant clock() const { return now(); }
  /// Its start read all logs from end to end.
  bool verified() const { return verified_; }
  /// Its metadata is no good: it will never start from this disk again.
  bool refuses_disk() const { return refuses_disk_; }
  std::vector<store::log_info> logs() const { return store_ ? store_->logs() : std::vector<store::log_info>{}; }

private:
  friend class entity_shell;
  class ear;
  class watching;

  instant now() const { return machine_.clock.now(); }
  moment both() const { return line_.at(machine_.clock.now(), machine_.clock.wall()); }
  void tick();
  void send(node_id to, letter_body);
  void post(place to, std::size_t bytes, letter_body);
  void tell(const std::string& line) const;
  void end(const std::string& why);

  // the node's core
  void perform(node_core::effects&&);
  void keep(raft::write&&);
  void write_all();
  void metadata_changed(const std::shared_ptr<const metadata_image>&);
  void registered(life as, const std::string& cluster_id);
  void leased(instant until);

  // replicas
  void verify_logs();
  void found_damage();
  void assign_replicas();
  void drop_strangers();
  void say_log_ends();
  void add_replica(const store::log_identity&, const topic&);
  void perform(partition_replica&, partition_replica::effects&&);
  void cut(const store::log_identity&, bool restart, log_offset);
  void tell_entities(const partition_ref&);
  assignment assignment_of(const partition_state&) const;
  void serve(const produce_request&, place client);
  void serve(const fetch_request&, place client);
  void serve(const latest_request&, place client);
  std::vector<shared_bytes> read_runs(log_id, log_offset from, log_offset end, std::uint64_t bytes_max);

  void handle(const letter&);

  surroundings& world_;
  machine& machine_;
  node_disk& disk_;
  std::shared_ptr<simulated_store> store_;
  std::unique_ptr<node_core::witness> witness_;
  std::unique_ptr<node_core> core_;
  /// As told to replicas and entities.
  std::shared_ptr<const metadata_image> image_ = std::make_shared<const metadata_image>();
  std::map<store::log_identity, std::unique_ptr<partition_replica>> replicas_;
  std::map<store::log_identity, log_id> logs_;
  std::unique_ptr<entity_shell> entities_;
  std::map<topic_id, topic_settings> settings_;
  std::vector<partition_ref> damaged_;

  node_core::ticket next_ticket_{1};
  std::map<node_core::ticket, std::function<void(cluster_controller::outcome)>> asked_;
  wall_line line_;  ///< what counts of the wall clock
  bool writing_{false}, member_{false};
  bool ended_{false}, verified_{false}, refuses_disk_{false};
  unsigned ticks_{0};
};

}  // namespace troupe::sim
