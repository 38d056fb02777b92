#pragma once

#include <string_view>
#include <vector>

#include "actors/controller/image.hpp"

namespace troupe {

/// Who is to own each of the `present.size()` shards of `kind`, by the ring. `present`: who owns them now; -1, or a
/// node that is not among `nodes`: it needs another. `nodes`: who may, not empty.
std::vector<node_id> place_shards(std::string_view kind, const std::vector<node_id>& present,
                                  const std::vector<node_info>& nodes);

}  // namespace troupe
