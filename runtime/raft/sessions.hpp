#pragma once

#include <cstddef>
#include <map>

#include "runtime/raft/messages.hpp"

namespace troupe {

/// Which commands of which clients were applied, so that a repeat applies once (R8).
///
/// Part of the replicated state: every node comes to the same table from the same entries. A full table forgets the
/// client unused for longest. A forgotten client's commands are not taken for those of a new one: it was born before
/// `forgotten`, a new one is not.
class raft_session_table {
public:
  raft_session_table(const raft_sessions&, std::size_t clients_max);

  /// The entry, a command, is decided: done, repeated, out_of_order or expired.
  raft_outcome apply(const raft_entry&);
  /// Whether this command was applied: then its place or a later one.
  const raft_index* applied(const raft_client&, std::uint64_t sequence) const;
  raft_sessions snapshot() const;

private:
  struct session {
    std::uint64_t sequence{0};
    raft_index used;
  };
  std::size_t clients_max_;
  std::map<raft_client, session> known_;
  std::map<raft_index, raft_client> by_use_;
  raft_index forgotten_;
};

}  // namespace troupe
