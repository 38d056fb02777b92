#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/cluster.hpp"
#include "tests/simulation/words.hpp"

/// What a scenario is played on: a cluster, a client that asks one thing at a time, and the fate of single letters.
namespace troupe::sim {

using lines = std::vector<std::string>;

struct stage_options {
  cluster_options cluster;
  int running{3};  ///< form the cluster; the others are there and off
};

class stage {
public:
  explicit stage(const stage_options&);
  ~stage();

  cluster& world() { return cluster_; }
  /// Nodes as a command names them; empty: the controller is meant, and there is none.
  std::vector<int> who(const std::vector<int>& named);
  std::optional<partition_ref> find(const partition_name&);
  const partition_state* state(const partition_name&);
  const partition_replica* replica(int node, const partition_name&);

  /// Forms the cluster and says what came of it.
  lines form();

  // -- letters ----------------------------------------------------------------------------------------------
  struct kind_of_letter {
    std::string name;          ///< `raft`: all of raft's
    std::set<place> from, to;  ///< empty: any
  };
  static bool is_kind(std::string_view);
  void lose(kind_of_letter k) { fates_.push_back({std::move(k), false}); }
  void hold(kind_of_letter k) { fates_.push_back({std::move(k), true}); }
  /// Both say which kinds it befell.
  lines lose_nothing();
  lines release(int times);

  // -- requests ---------------------------------------------------------------------------------------------
  /// Nothing when it is granted.
  lines ask(cluster_controller::request);

  // -- clients ----------------------------------------------------------------------------------------------
  struct writing {
    partition_name where;
    std::int32_t records{1};
    std::int16_t acks{-1};
    std::optional<int> to{};                 ///< none: whoever leads by the newest metadata
    std::optional<std::int64_t> producer{};  ///< none: one of its own
    std::int32_t sequence{0};
  };
  /// It is on its way; `answers` tells.
  lines send(const writing&);
  lines produce(const writing&, duration patience);
  lines answers(duration patience);
  lines read(const partition_name&, log_offset from, std::optional<int> at);
  lines latest(const partition_name&, std::optional<int> at);
  void load();
  /// `times` calls, one after the other; from the first node that runs, unless `at` says from where.
  lines call(const entities::entity_name&, int times, std::optional<int> at, duration patience);
  /// Who owns the entity; nothing: the cluster has no such kind.
  std::optional<std::pair<node_id, bool>> owner_of(const entities::entity_name&) const;
  /// How many calls the entity has done, as its owner knows; nothing: nobody serves it.
  std::optional<std::size_t> done_by(const entities::entity_name&);
  lines peace();

private:
  class caller;
  struct fate {
    kind_of_letter kind;
    bool hold{false};
  };
  struct sent {
    writing what;
    std::shared_ptr<caller> client;
  };
  bool intercepts(place to, const letter&);
  std::shared_ptr<caller> call(int node, letter_body);
  /// The answer, if it came.
  template <class Reply>
  std::optional<Reply> wait_for(caller&, duration patience);
  std::optional<int> leader_of(const partition_name&);
  std::string told(const sent&) const;

  const stage_options options_;
  cluster cluster_;
  std::vector<fate> fates_;
  std::vector<std::pair<place, letter>> held_;
  std::set<std::string> lost_;  ///< kinds
  std::vector<std::shared_ptr<caller>> callers_;
  std::vector<sent> open_;
  std::int64_t next_producer_{100'000};
};

/// What a command does; its lines are what the scenario compares.
using action = std::function<lines(stage&)>;
/// Reads a command, by its first words. Complains to the words when there is no such thing.
action read_command(words&);
/// `cluster ...`
stage_options read_cluster(words&);

/// "1,2,3", or "none".
std::string listed(std::vector<int>);

}  // namespace troupe::sim
