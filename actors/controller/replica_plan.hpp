#pragma once

#include <cstddef>
#include <vector>

#include "actors/controller/image.hpp"

/// Which nodes hold the replicas of partitions.
///
/// The nodes of one partition are distinct; no rack has two of them while a rack without one has a node; among the
/// nodes that are left the least loaded for its weight is taken, so replicas and leaders spread evenly. The same image
/// gives the same plan. Only ACTIVE nodes that are not leaving get replicas.
namespace troupe {

/// How many replicas a new topic gets when nobody says: 3, or as many as there are nodes.
std::int16_t default_replication(const metadata_image&);
/// Nodes that may get replicas.
std::size_t placeable_nodes(const metadata_image&);

/// `count` new partitions with `replicas` nodes each, preferred leader first. Needs that many placeable nodes.
std::vector<std::vector<node_id>> plan_replicas(const metadata_image&, std::size_t count, std::size_t replicas);

/// The nodes of one partition when `without` goes (-1: nobody) and it is to have `replicas` of them: those that stay
/// keep their order. Fewer, when there are not enough nodes.
std::vector<node_id> plan_again(const metadata_image&, const partition_ref&, node_id without, std::size_t replicas);

}  // namespace troupe
