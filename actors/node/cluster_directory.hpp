#pragma once

#include <atomic>
#include <caf/actor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "actors/controller/image.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/result.hpp"
#include "runtime/entities/messages.hpp"

namespace troupe {

/// What a node knows of the cluster right now: an immutable picture that gateways read without asking anyone.
struct cluster_view {
  std::shared_ptr<const metadata_image> image = std::make_shared<const metadata_image>();
  /// The replicas that live on this node, by index (a null handle: not here).
  struct route {
    topic_id id;
    std::vector<caf::actor> partitions;
  };
  std::map<std::string, std::shared_ptr<const route>, std::less<>> routes;  ///< by topic name
  std::map<topic_id, std::shared_ptr<const route>> routes_by_id;
  /// The node's replica of a partition, or null when the topic, the index or the replica does not exist.
  caf::actor partition(std::string_view topic, partition_index) const;
  caf::actor partition(const partition_ref&) const;
};

/// Where the current view is found, whom this node takes for the controller, and the way to entities. Thread-safe.
class cluster_directory {
public:
  std::shared_ptr<const cluster_view> view() const { return view_.load(); }
  void publish(std::shared_ptr<const cluster_view> view) { view_.store(std::move(view)); }
  std::optional<node_id> controller() const {
    const auto id = controller_.load(std::memory_order_relaxed);
    return id < 0 ? std::nullopt : std::optional{node_id{id}};
  }
  void controlled_by(std::optional<node_id> node) {
    controller_.store(node ? node->value() : -1, std::memory_order_relaxed);
  }
  /// After these moments another may lead in this node's place, or in anybody's, of whom this node has not heard.
  void names_leaders_until(instant itself, instant others) {
    leads_until_.store(itself, std::memory_order_relaxed);
    knows_leaders_until_.store(others, std::memory_order_relaxed);
  }
  /// Whether clients may be sent to the leader that metadata names, seen from `here` (ADR 19).
  bool may_name_leader(const partition_state& p, node_id here) const {
    const bool replaceable = p.leader == here && p.replicas.size() > 1;
    return boot_clock::now() < (replaceable ? leads_until_ : knows_leaders_until_).load(std::memory_order_relaxed);
  }
  /// The shells of this node's entities, all parts in order; none: it does not serve, or no more.
  void entities_at(std::vector<caf::actor> hosts) {
    entity_hosts_.store(std::make_shared<const std::vector<caf::actor>>(std::move(hosts)));
  }
  /// Asks an entity wherever it is: as actors/entity/entity_actor.hpp says. Error closed, at once: this node does not
  /// serve; not_leader, at once: the cluster does not have the kind yet.
  void ask(entities::entity_name whom, shared_bytes payload, std::function<void(result<shared_bytes>)> answer) const;

private:
  std::atomic<std::int32_t> controller_{-1};
  std::atomic<instant> leads_until_{instant{}}, knows_leaders_until_{instant{}};
  std::atomic<std::shared_ptr<const std::vector<caf::actor>>> entity_hosts_{
      std::make_shared<const std::vector<caf::actor>>()};
  std::atomic<std::shared_ptr<const cluster_view>> view_{std::make_shared<const cluster_view>()};
};

}  // namespace troupe
