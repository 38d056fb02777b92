#pragma once

#include <string_view>

#include "actors/partition/partition_actor.hpp"
#include "apps/gateways/kafka/exchange.hpp"

/// One file per group of requests; each only translates.
namespace troupe::kafka {

using exchange_maker = std::shared_ptr<exchange>(services&, std::shared_ptr<io_loop>, std::weak_ptr<connection>,
                                                 arrival);

// connect.cpp
extern exchange_maker *const make_api_versions, *const make_metadata, *const make_describe_cluster;
// produce.cpp
extern exchange_maker *const make_produce, *const make_init_producer_id;
// fetch.cpp
extern exchange_maker* const make_fetch;
// offsets.cpp
extern exchange_maker *const make_list_offsets, *const make_offset_for_leader_epoch, *const make_delete_records;
// topics.cpp
extern exchange_maker *const make_create_topics, *const make_delete_topics, *const make_create_partitions;
// placement.cpp
extern exchange_maker *const make_describe_log_dirs, *const make_elect_leaders;
extern exchange_maker *const make_alter_partition_reassignments, *const make_list_partition_reassignments;
// configs.cpp
extern exchange_maker *const make_describe_configs, *const make_alter_configs, *const make_incremental_alter_configs;

template <class Exchange>
std::shared_ptr<exchange> make(services& all, std::shared_ptr<io_loop> loop, std::weak_ptr<connection> home,
                               arrival request) {
  return std::make_shared<Exchange>(all, std::move(loop), std::move(home), std::move(request));
}

/// The partitions of one topic, as this node can reach them.
class topic_route {
public:
  topic_route(const cluster_view& view, std::string_view topic) {
    if (const auto found = view.routes.find(topic); found != view.routes.end()) route_ = found->second.get();
    if (const auto found = view.image->topics.find(topic); found != view.image->topics.end())
      topic_ = found->second.get();
  }
  /// Null where the topic is unknown.
  const topic* known() const noexcept { return topic_; }
  /// Errors: unknown_topic (also an index beyond the topic's partitions), not_leader.
  result<const caf::actor*> find(std::int32_t index) const {
    if (topic_ == nullptr) return errc::unknown_topic;
    const auto i = static_cast<std::size_t>(index);
    if (index < 0 || i >= topic_->partitions.size()) return errc::unknown_topic;
    if (route_ == nullptr || i >= route_->partitions.size() || !route_->partitions[i]) return errc::not_leader;
    return &route_->partitions[i];
  }
  /// Null where the topic or the index is unknown.
  const partition_state* state(std::int32_t index) const {
    const auto i = static_cast<std::size_t>(index);
    return topic_ == nullptr || index < 0 || i >= topic_->partitions.size() ? nullptr : &topic_->partitions[i];
  }
  /// Where else the leader is; null where that is unknown or here.
  const partition_state* led_elsewhere(std::int32_t index, node_id here) const {
    const auto* p = state(index);
    return p == nullptr || p->leader.value() < 0 || p->leader == here ? nullptr : p;
  }

private:
  const cluster_view::route* route_{nullptr};
  const topic* topic_{nullptr};
};

/// What an actor's answer is when it never comes.
inline const error partition_gone{errc::not_leader, "the partition has moved or ended"};
inline const error controller_gone{errc::closed, "the controller did not answer"};

inline std::vector<node_id> nodes_of(const std::vector<std::int32_t>& ids) {
  std::vector<node_id> nodes;
  nodes.reserve(ids.size());
  for (const auto id : ids) nodes.emplace_back(id);
  return nodes;
}
inline std::vector<std::int32_t> numbers_of(const std::vector<node_id>& nodes) {
  std::vector<std::int32_t> ids;
  ids.reserve(nodes.size());
  for (const auto node : nodes) ids.push_back(node.value());
  return ids;
}

}  // namespace troupe::kafka
