#include "actors/controller/replica_plan.hpp"

#include <algorithm>
#include <string_view>

#include "runtime/base/check.hpp"

namespace troupe {

replica_plan::replica_plan(const metadata_image& image) : image_{image} {
  for (const auto& [id, node] : image.nodes)
    if (node.takes_on() && node.weight > 0) nodes_[id] = {&node};
  for (const auto& [name, t] : image.topics)
    for (const auto& p : t->partitions)
      for (std::size_t r = 0; r < p.replicas.size(); ++r) add(p.replicas[r].node, r == 0);
}

std::int16_t replica_plan::usual_replication() const {
  constexpr std::size_t wanted = 3;
  return static_cast<std::int16_t>(std::clamp<std::size_t>(nodes(), 1, wanted));
}

void replica_plan::add(node_id node, bool first) {
  const auto at = nodes_.find(node);
  if (at == nodes_.end()) return;
  ++at->second.replicas;
  at->second.firsts += first ? 1 : 0;
}

/// The best node for the next replica of a partition that `chosen` hold already; -1: there is none.
node_id replica_plan::next(const std::vector<node_id>& chosen, node_id without) const {
  const auto in_rack = [&](std::string_view rack) {
    return std::ranges::count_if(chosen, [&](node_id n) {
      const auto* info = image_.node(n);
      return info != nullptr && info->rack == rack;
    });
  };
  // Who has room: a full disk holds no replica that is in sync. Then fewer of this partition in the rack, then less
  // load for the weight; among equals the lower id.
  const auto better = [&](const carried& a, const carried& b) {
    if (a.info->disk_full != b.info->disk_full) return b.info->disk_full;
    if (const auto x = in_rack(a.info->rack), y = in_rack(b.info->rack); x != y) return x < y;
    if (chosen.empty())
      if (const auto x = a.firsts * b.info->weight, y = b.firsts * a.info->weight; x != y) return x < y;
    return a.replicas * b.info->weight < b.replicas * a.info->weight;
  };
  const std::pair<const node_id, carried>* best = nullptr;
  for (const auto& candidate : nodes_)
    if (candidate.first != without && std::ranges::find(chosen, candidate.first) == chosen.end() &&
        (best == nullptr || better(candidate.second, best->second)))
      best = &candidate;
  return best == nullptr ? node_id{-1} : best->first;
}

std::vector<std::vector<node_id>> replica_plan::fresh(std::size_t count, std::size_t replicas) {
  TROUPE_CHECK(replicas >= 1 && replicas <= nodes());
  std::vector<std::vector<node_id>> plan(count);
  for (auto& of_one : plan)
    while (of_one.size() < replicas) {
      const auto node = next(of_one, node_id{-1});
      add(node, of_one.empty());
      of_one.push_back(node);
    }
  return plan;
}

std::vector<node_id> replica_plan::again(const partition_state& p, node_id without, std::size_t replicas) {
  std::vector<node_id> plan;
  for (const auto& r : p.replicas)
    if (r.node != without && std::ranges::find(p.removing, r.node) == p.removing.end()) plan.push_back(r.node);
  while (plan.size() < replicas) {
    const auto node = next(plan, without);
    if (node.value() < 0) break;
    add(node, plan.empty());
    plan.push_back(node);
  }
  return plan;
}

}  // namespace troupe
