#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "actors/controller/image.hpp"

namespace troupe {

/// Who is to own each of the `present.size()` shards of `kind`. `present`: who owns them now, -1: nobody; `nodes`: who
/// may, sorted by id, never empty. The same arguments give the same answer.
using shard_plan = std::function<std::vector<node_id>(std::string_view kind, const std::vector<node_id>& present,
                                                      const std::vector<node_info>& nodes)>;

}  // namespace troupe
