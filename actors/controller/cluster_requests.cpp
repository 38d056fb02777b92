#include <algorithm>

#include "actors/controller/cluster_controller.hpp"
#include "runtime/base/overloaded.hpp"
#include "runtime/base/rules.hpp"

/// What operators and clients ask of the controller.
namespace troupe {

cluster_controller::reply cluster_controller::decide(draft& d, request& asked) {
  d.flush();
  const auto topics = [&](controller::plan plan) {
    for (auto& record : plan.records) d.add(std::move(record));
    if (!plan.records.empty()) look_again_ = true;
    return reply{[decisions = std::move(plan.decisions)](const metadata_image& image) {
      outcome o;
      o.decisions = decisions;
      for (auto& decision : o.decisions)
        if (!decision.refused && !decision.now) decision.now = image.find(decision.name);
      return o;
    }};
  };
  const auto items = [](std::vector<result<void>> results) {
    return reply{[results = std::move(results)](const metadata_image&) {
      outcome o;
      o.items = results;
      return o;
    }};
  };
  const auto each = [&](const auto& list) {
    std::vector<result<void>> results;
    for (const auto& item : list) results.push_back(decide(d, item));
    look_again_ = true;
    return items(std::move(results));
  };
  return std::visit(
      overloaded{
          [&](const create_topics& r) { return topics(topics_.create_topics(d.image(), r.topics, r.validate_only)); },
          [&](const delete_topics& r) { return topics(topics_.delete_topics(d.image(), r.topics)); },
          [&](const create_partitions& r) {
            return topics(topics_.create_partitions(d.image(), r.topics, r.validate_only));
          },
          [&](const alter_configs& r) { return topics(topics_.alter_configs(d.image(), r.topics, r.validate_only)); },
          [&](const reserve_producer_ids& r) {
            if (r.count <= 0)
              return reply{[](const metadata_image&) {
                outcome o;
                o.failed = error{errc::invalid_request, "a count of producer ids is positive"};
                return o;
              }};
            auto block = topics_.reserve_producer_ids(d.image(), r.count);
            for (auto& record : block.records) d.add(std::move(record));
            return reply{[first = block.first](const metadata_image&) {
              outcome o;
              o.first = first;
              return o;
            }};
          },
          [&](const reassign& r) { return each(r.items); },
          [&](const elect_preferred& r) { return each(r.items); },
          [&](const remove_node& r) { return each(std::vector{r}); },
          [&](const want_voter_count& r) {
            if (r.count != 1 && r.count != 3 && r.count != 5)
              return items({{errc::invalid_request, "a quorum has 1, 3 or 5 voters"}});
            if (r.count != d.image().voter_count) d.add(voters_wanted{r.count});
            return items({result<void>{}});
          },
      },
      asked);
}

result<void> cluster_controller::decide(draft& d, const reassign::item& item) {
  const auto t = d.image().find(item.where.topic);
  if (!t) return {errc::unknown_topic, "there is no such topic"};
  const auto* p = d.partition(item.where);
  if (p == nullptr) return {errc::invalid_partitions, "the topic has no such partition"};
  const auto f = facts_of(d.image(), *t);

  if (!item.target) {
    if (!p->reassigning()) return {errc::invalid_request, "the partition is not being reassigned"};
    auto back = partition_plan::cancelled(*p, f);
    if (back == *p)
      return {errc::invalid_request, "without the replicas that are being added too few would be in sync"};
    set(d, item.where, *t, std::move(back), now_);
    return {};
  }
  if (item.target->empty()) return {errc::invalid_assignment, "a partition is assigned to no node"};
  std::set<node_id> distinct;
  for (auto id : *item.target) {
    const auto* node = d.image().node(id);
    const bool settled = p->has_replica(id) && std::ranges::find(p->adding, id) == p->adding.end();
    if (!distinct.insert(id).second)
      return {errc::invalid_assignment, "node " + std::to_string(id.value()) + " is named twice for one partition"};
    // Those that it has may be away for a while; a new one has to be there to copy.
    if (node == nullptr || node->leaving || (node->state != node_state::active && !settled))
      return {errc::invalid_assignment, "node " + std::to_string(id.value()) + " cannot take a replica now"};
  }
  auto moved = partition_plan::reassigned(*p, f, *item.target);
  moved = partition_plan::completed(moved, f);
  const bool on_its_way = moved.replicas.size() >= item.target->size() &&
                          std::equal(item.target->begin(), item.target->end(), moved.replicas.begin(),
                                     [](node_id n, const replica& r) { return r.node == n; });
  if (!on_its_way) return {errc::invalid_request, "without the replicas that are being added too few would be in sync"};
  set(d, item.where, *t, std::move(moved), now_);
  return {};
}

result<void> cluster_controller::decide(draft& d, const partition_ref& where) {
  const auto t = d.image().find(where.topic);
  if (!t) return {errc::unknown_topic, "there is no such topic"};
  const auto* p = d.partition(where);
  if (p == nullptr) return {errc::invalid_partitions, "the topic has no such partition"};
  const auto f = facts_of(d.image(), *t);
  auto led = p->leader.value() < 0 ? partition_plan::elected(*p, f) : *p;
  led = partition_plan::led_by_preferred(led, f);
  if (led.leader.value() < 0) return {errc::not_enough_replicas, "no replica that holds everything serves now"};
  set(d, where, *t, std::move(led), now_);
  return {};
}

result<void> cluster_controller::decide(draft& d, const remove_node& r) {
  const auto* node = d.image().node(r.node);
  if (node == nullptr || node->state == node_state::removed)
    return {errc::invalid_request, "there is no node " + std::to_string(r.node.value())};
  if (node->leaving != r.undo)
    return r.undo ? result<void>{errc::invalid_request, "the node is not leaving"} : result<void>{};
  if (!r.undo && std::ranges::none_of(d.image().nodes, [&](const auto& n) {
        return n.first != r.node && n.second.state == node_state::active && !n.second.leaving && n.second.weight > 0;
      }))
    return {errc::not_enough_replicas, "no other node would be left to take over"};
  auto state = node->state;
  if (state != node_state::fenced) state = r.undo ? node_state::active : node_state::draining;
  drained_.erase(r.node);
  d.add(node_changed{r.node, state, !r.undo});
  return {};
}

}  // namespace troupe
