#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "actors/controller/image.hpp"

/// Which nodes hold the replicas of partitions.
///
/// The nodes of one partition are distinct. Nodes whose disk is full come last; among the others no rack has two while
/// a rack without one has a node; among those that are left the least loaded for its weight is taken, so replicas and
/// leaders spread evenly. The same image gives the same plan. Only ACTIVE nodes that are not leaving get replicas.
namespace troupe {

/// Plans against an image, and remembers what it has given out: plans made with one object do not pile up on a node.
class replica_plan {
public:
  explicit replica_plan(const metadata_image&);
  replica_plan(metadata_image&&) = delete;  // it is looked at as long as plans are made

  /// Nodes that may get replicas.
  std::size_t nodes() const { return nodes_.size(); }
  /// How many replicas a new topic gets when nobody says: 3, or as many as there are nodes.
  std::int16_t usual_replication() const;

  /// `count` new partitions with `replicas` nodes each, preferred leader first. Needs that many nodes.
  std::vector<std::vector<node_id>> fresh(std::size_t count, std::size_t replicas);
  /// The nodes of a partition when `without` goes (-1: nobody) and it is to have `replicas` of them: those that stay
  /// keep their order. Fewer, when there are not enough nodes.
  std::vector<node_id> again(const partition_state&, node_id without, std::size_t replicas);

private:
  struct carried {
    const node_info* info{nullptr};
    std::uint64_t replicas{0}, firsts{0};
  };
  void add(node_id, bool first);
  node_id next(const std::vector<node_id>& chosen, node_id without) const;

  const metadata_image& image_;
  std::map<node_id, carried> nodes_;
};

}  // namespace troupe
