#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/ids.hpp"

namespace troupe {

/// A node that may own shards. A node that drains, or is fenced, is simply not in the ring.
struct ring_node {
  node_id id;
  std::uint32_t weight{1};  ///< its share of the shards; 0: none
  std::string rack;         ///< empty: not told; such nodes count as one rack
};

/// Where the shards of a kind go: consistent hashing with virtual nodes and bounded load.
///
/// For the controller only, which stores what comes out: nobody derives ownership from a ring of its own, since two
/// nodes with different metadata would then both be right.
///
/// Pure and deterministic: the same nodes (in any order), kind and present placement give the same answer on every
/// machine. Integers only.
///
///     each node       256 points per unit of weight on a circle of 2^64
///     each shard      one point; its nodes in order of preference: clockwise, each node once
///
/// Bounds, with `share` = shards x weight / sum of weights:
///     a node owns at most ceil(1.15 share) shards and, if there are more shards than nodes, at least floor(share
///     / 1.15); a node that joins takes about its share, and little else moves; when a node leaves its shards move, and
///     hardly any other.
/// tests/unit/ring asserts them, runtime/ring/README.md has the measured figures.
class ring {
public:
  struct settings {
    std::uint32_t points_per_weight{256};
    std::uint32_t load_max_percent{115};  ///< of the mean load; at least 100
  };

  /// Nodes have distinct ids. None at all is allowed: then every shard is nobody's.
  explicit ring(std::vector<ring_node> nodes) : ring{std::move(nodes), settings{}} {}
  ring(std::vector<ring_node> nodes, settings);

  static constexpr node_id nobody{-1};

  /// The owner of each of the `present.size()` shards of `kind`. `present` has who owns them now; `nobody`, or a node
  /// that is not in the ring: it needs a new one. For a new kind: all `nobody`.
  /// A shard stays where it is unless its owner is not in the ring, its owner is above its bound, or a node below its
  /// share comes first in the shard's preference.
  std::vector<node_id> owners(std::string_view kind, std::span<const node_id> present) const;

  /// The same with `copies` nodes a shard, owner (preferred leader) first: for kinds with replicas. Nodes of one shard
  /// are distinct; fewer than `copies` if there are not that many nodes with weight.
  /// Racks: no rack has two copies of a shard while another rack with a node has none, and so on. This goes before the
  /// bound: where racks are of unequal weight the nodes of the small ones carry more. The bound holds for each place in
  /// the list by itself, so owners are spread as evenly as copies. A node that keeps a copy may change its place in the
  /// list.
  std::vector<std::vector<node_id>> replicas(std::string_view kind, std::span<const std::vector<node_id>> present,
                                             std::size_t copies) const;

private:
  struct point {
    std::uint64_t at;
    std::uint32_t node;  ///< its place in `nodes_`
  };
  using places = std::vector<std::uint32_t>;  ///< in `nodes_`
  class level;

  /// For each shard all nodes, clockwise from its point.
  std::vector<places> preferences(std::string_view kind, std::size_t shards) const;
  std::uint32_t place_of(node_id) const;

  std::vector<ring_node> nodes_;      ///< those with weight, sorted by id
  std::vector<std::uint32_t> racks_;  ///< of `nodes_`, numbered
  std::vector<point> points_;         ///< sorted
  std::uint64_t weight_{0};
  settings settings_;
};

}  // namespace troupe
