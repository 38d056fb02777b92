#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/raft/raft.hpp"

namespace troupe::raft_test {

/// What a node's writes leave behind.
struct disk {
  std::optional<raft_hard_state> hard;
  std::shared_ptr<const raft_snapshot> snapshot;
  std::vector<raft_entry> entries;

  void perform(const raft::write&);
  raft_stored stored() const { return {hard, snapshot, entries}; }
  raft_index last() const;
  std::optional<raft_term> term_at(raft_index) const;
  const raft_members& members() const;
};

std::uint64_t content_of(const raft_entry&);

/// The owner's state: a hash over all that was decided, and how often each client's commands took effect.
struct image {
  raft_index index;
  std::uint64_t hash{0};
  std::map<raft_client, std::uint64_t> applied;

  /// False: the command was applied before, or one before it is missing.
  bool apply(const raft::commit::entry&);
  shared_bytes bytes() const;
  static image of(const raft_snapshot*);
};

inline raft_peer peer(int node, int disk = 1) {
  raft_peer p{node_id{node}, {}};
  p.disk.bytes[0] = static_cast<std::uint8_t>(node);
  p.disk.bytes[1] = static_cast<std::uint8_t>(disk);
  return p;
}

/// The disk of a member of a new cluster.
disk formatted(const std::vector<raft_peer>& voters);

}  // namespace troupe::raft_test
