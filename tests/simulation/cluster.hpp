#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/checker.hpp"
#include "tests/simulation/clients.hpp"
#include "tests/simulation/process.hpp"

/// A cluster of simulated machines, what can happen to them, and who watches.
namespace troupe::sim {

struct cluster_options {
  std::uint64_t seed{1};
  int nodes{3};
  int partitions{2};
  int replicas{3};
  int min_in_sync{2};
  double drift{0.0};  ///< clocks run up to so much too fast or too slow
  bool trust_refused{true};
  bool entities{false};          ///< of the kinds of `entity_kinds`
  bool unclean_election{false};  ///< of the topic
  std::uint64_t segment_bytes{1 << 20};
};

class cluster {
public:
  explicit cluster(cluster_options);
  ~cluster();
  cluster(const cluster&) = delete;

  kernel& ground() { return kernel_; }
  network& net() { return network_; }
  checker& judge() { return checker_; }
  const cluster_options& options() const { return options_; }

  // -- time -------------------------------------------------------------------------------------------------
  void run(duration);
  /// Runs until `holds`, at most for `patience`.
  bool run_until(const std::function<bool()>& holds, duration patience);

  // -- life -------------------------------------------------------------------------------------------------
  /// Node 1 founds the cluster, the others join it, the topic is made. False: it did not come to that.
  bool form();
  /// The first `nodes` of them, without a topic.
  bool gather(int nodes);
  void start(int node);
  /// kill -9: the page cache stays.
  void kill(int node);
  /// What was not synced is gone, or not.
  void cut_power(int node);
  /// SIGTERM.
  void stop(int node);
  /// Another disk, empty; the process must not run.
  void replace_disk(int node);
  /// A machine that was not there before, with an empty disk and a number of its own; it starts and wants to join.
  int add_node();
  /// The metadata says that this node has left for good.
  bool removed(int node) const;
  void pause(int node);
  void resume(int node);
  bool runs(int node) const;
  process* at(int node);
  machine& box(int node) { return *boxes_.at(node)->machine; }
  node_disk& disk_of(int node) { return boxes_.at(node)->disk; }
  /// Those that have not left.
  std::vector<int> node_numbers() const;
  /// Of all topics that there are.
  std::vector<partition_ref> partitions() const;
  std::vector<partition_ref> partitions_of(topic_id) const;
  /// Of the topic that `form` makes.
  std::vector<partition_ref> orders() const;

  // -- network ----------------------------------------------------------------------------------------------
  void isolate(int node);
  void cut(int from, int to);
  /// Sees each letter that arrives; true: it has taken it, and nobody else gets it.
  std::function<bool(place to, const letter&)> intercept;
  /// Brings a letter to whoever is there, past `intercept`.
  void bring(place to, letter);
  /// Everything is as it should be again: links, weather, disks, clocks' rates, pauses; every node runs.
  void heal();

  // -- clients ----------------------------------------------------------------------------------------------
  producer& add_producer(std::vector<partition_ref>, producer::habits);
  consumer& add_consumer(std::vector<partition_ref>, bool from_followers);
  /// From now on entities are called from all nodes, until `stop_calls`.
  void begin_calls();
  void stop_calls() { calling_ = false; }
  /// One call, from `node`; nothing: it was refused at once.
  std::optional<operation> call(int node, const entities::entity_name&);
  /// The owner of the entity by the metadata, and whether it may handle messages already.
  std::optional<std::pair<node_id, bool>> owner_of(const entities::shard_id&) const;
  const std::vector<std::unique_ptr<producer>>& producers() const { return producers_; }
  const std::vector<std::unique_ptr<consumer>>& consumers() const { return consumers_; }
  /// For clients that somebody else keeps: their world, a place of their own, and their letters from now on.
  client_world& for_clients() { return clients_; }
  place free_place() { return next_client_++; }
  void welcome(client& c) { places_[c.here()] = &c; }
  /// The process where the controller works; null: none, or two of which one does not know yet.
  process* controller();

  /// To any node, while a controller works; false: none does, and nobody will answer.
  bool ask(cluster_controller::request, std::function<void(const cluster_controller::outcome&)> = {});

  /// Every node that has not left ACTIVE, as many voters as are wanted, every partition led with all replicas in sync,
  /// every shard served by its one owner, every producer and caller done, and no log of a seat that is gone.
  bool quiet();
  /// Empty: the quorum has the voters that are wanted, on the disks that their nodes have now.
  std::string voters_wrong(const process& controller) const;
  /// What keeps it from being quiet, for a person. Without `of_lost`, producers do not count that may have been
  /// forgotten with what an unclean election lost.
  std::string unrest(bool of_lost = true);

private:
  struct box_state {
    std::unique_ptr<sim::machine> machine;
    node_disk disk;
    std::unique_ptr<process> running;
    bool founder{false};
  };
  void deliver(place to, letter);
  void died(int node, bool kernel_lives);
  void refuse(int node, life former, int tries);
  void bury();
  void watch();
  void call_next();
  std::string unrest_of(const partition_ref&);
  std::string unrest_of_entities();
  void make_box(int node, bool founder);
  std::string drained_wrong(const process& controller) const;
  std::string logs_wrong(const process&) const;
  std::string why_not_active(int node) const;

  const cluster_options options_;
  kernel kernel_;
  network network_;
  checker checker_;
  surroundings world_;
  client_world clients_;
  std::map<int, std::unique_ptr<box_state>> boxes_;
  std::vector<std::unique_ptr<process>> dead_;  ///< not yet destroyed: one of them may be running right now
  std::vector<std::unique_ptr<producer>> producers_;
  std::vector<std::unique_ptr<consumer>> consumers_;
  std::map<place, client*> places_;
  operation calls_{0};
  bool calling_{false};
  bool healed_{false};  ///< from now on whoever ends is started again
  place next_client_{first_client};
};

}  // namespace troupe::sim
