#pragma once

#include <caf/all.hpp>
#include <map>
#include <set>
#include <unordered_map>

#include "actors/node/node_actor.hpp"
#include "actors/partition/partition_actor.hpp"

namespace troupe {

/// The replicas of this node. Makes their logs and actors what the metadata says, and tells gateways where they are.
///
/// `follow` compares images instead of reading records: it does the same after a restart, and again when something
/// could not be had the first time. Part of the node's actor, used on its thread only.
class replica_host {
public:
  struct surroundings {
    caf::event_based_actor* owner;
    std::shared_ptr<store::log_store> store;
    std::shared_ptr<replica_home> home;
    std::shared_ptr<cluster_directory> directory;
    observe::metrics* metrics;
    setting_map topic_overrides;  ///< this node's defaults for topics
    std::chrono::milliseconds retention_interval;
    std::set<partition_ref> damaged;  ///< as the registration named them
    std::function<void(const error&)> failed;
  };
  explicit replica_host(surroundings);

  /// Before there may be replicas: only the view.
  void show(std::shared_ptr<const metadata_image>);
  /// `news` is let go when every replica has taken it in.
  void follow(std::shared_ptr<const metadata_image>, std::shared_ptr<const void> news);
  /// Logs of seats that went while this node was away. Only once the metadata is newer than this life.
  void drop_strangers();
  /// An actor has ended: told to, or by an accident. False: none of ours.
  bool ended(const caf::actor_addr&);
  /// What could not be opened is tried again.
  bool incomplete() const { return incomplete_; }
  /// For each partition that waits for a leader and may find it here.
  void ask_log_ends(const std::function<void(log_ends::log_end)>& answer) const;
  /// Every replica writes its mark and ends; then `none_left`.
  void stop();
  bool none_left() const { return places_.empty() && leaving_.empty(); }
  void drop_logs();

private:
  struct seat {
    std::optional<log_id> log;
    caf::actor actor;  ///< null: it could not be opened, or this node has no replica
    std::int64_t added_at{-1};
    partition_state told;
  };
  struct hosted_topic {
    std::shared_ptr<const topic> at;  ///< what the actors have been told
    std::vector<seat> seats;
    bool settled{false};                               ///< every seat that should have an actor has one
    std::shared_ptr<const cluster_view::route> route;  ///< what gateways see of `seats`; null: to be made anew
  };
  struct place {
    topic_id topic;
    std::size_t index{0};
  };
  struct opening {
    hosted_topic* topic;
    std::size_t index;
    std::int64_t added_at;
  };
  using openings = std::map<store::durability, std::vector<opening>>;
  using farewells = std::vector<std::pair<caf::actor, error>>;

  void look_at_nodes(const metadata_image&);
  void unhost(hosted_topic&, seat&, error why, farewells&);
  void look_at(hosted_topic&, const std::shared_ptr<const topic>&, const std::shared_ptr<const void>& news, openings&,
               farewells&);
  void open(const openings&);
  assignment assignment_of(const partition_state&) const;
  topic_settings settings_of(const topic&) const;
  void publish();

  const surroundings to_;
  std::shared_ptr<const partition_metrics> partition_metrics_;
  observe::gauge *topics_, *partitions_, *replicas_;
  std::shared_ptr<const metadata_image> image_ = std::make_shared<const metadata_image>();
  std::map<node_id, std::int64_t> node_epochs_;
  std::set<node_id> fenced_, full_;
  bool nodes_changed_{false};
  std::map<topic_id, hosted_topic> hosted_;
  std::unordered_map<caf::actor_addr, place> places_;  ///< of the actors in `hosted_`
  std::unordered_map<caf::actor_addr, seat> leaving_;  ///< told to retire; their logs go when they have ended
  std::vector<log_id> unused_logs_;
  bool incomplete_{false}, stopping_{false};
};

}  // namespace troupe
