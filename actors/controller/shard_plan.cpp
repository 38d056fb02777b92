#include "actors/controller/shard_plan.hpp"

#include <algorithm>
#include <map>

#include "runtime/base/check.hpp"

namespace troupe {

std::vector<node_id> place_shards(std::string_view, const std::vector<node_id>& present,
                                  const std::vector<node_info>& nodes) {
  TROUPE_CHECK(!nodes.empty());
  std::uint64_t weights = 0;
  for (const auto& n : nodes) weights += n.weight;
  struct carried {
    std::uint64_t shards{0}, share{0}, weight{0};
  };
  std::map<node_id, carried> load;
  // No more than the share, rounded up: then nobody is far above the mean, and a new node gets its part.
  for (const auto& n : nodes) load[n.id] = {0, (present.size() * n.weight + weights - 1) / weights, n.weight};

  auto owners = present;
  for (auto& owner : owners) {
    const auto at = load.find(owner);
    if (at == load.end() || at->second.shards == at->second.share)
      owner = node_id{-1};
    else
      ++at->second.shards;
  }
  for (auto& owner : owners) {
    if (owner.value() >= 0) continue;
    const auto lightest = std::ranges::min_element(load, [](const auto& a, const auto& b) {
      return a.second.shards * b.second.weight < b.second.shards * a.second.weight;
    });
    owner = lightest->first;
    ++lightest->second.shards;
  }
  return owners;
}

}  // namespace troupe
