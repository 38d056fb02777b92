#include "actors/controller/shard_plan.hpp"

#include "runtime/base/check.hpp"
#include "runtime/ring/ring.hpp"

namespace troupe {

std::vector<node_id> place_shards(std::string_view kind, const std::vector<node_id>& present,
                                  const std::vector<node_info>& nodes) {
  TROUPE_CHECK(!nodes.empty());
  std::vector<ring_node> members;
  for (const auto& n : nodes) members.push_back({n.id, n.weight, n.rack});
  return ring{std::move(members)}.owners(kind, present);
}

}  // namespace troupe
