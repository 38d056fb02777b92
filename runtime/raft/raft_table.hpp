#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/raft/raft.hpp"
#include "runtime/store/table.hpp"

namespace troupe {

/// What a node has to know of its former lives before it can ask anybody.
struct node_past {
  std::uint64_t starts{0};       ///< of processes on this disk
  std::string cluster_id;        ///< empty: never in a cluster
  std::int64_t clean_epoch{-1};  ///< the node epoch of the life that ended in order; -1: the last one did not
  bool distrusted{false};
  /// Of the machine in that life: while it is the same, everything that was handed to the kernel is there.
  std::string boot_id{};
  /// A cluster that has this node as a member, though another was founded on this disk. Nothing may be served from it.
  std::string claimed_by{};
  friend bool operator==(const node_past&, const node_past&) = default;
};

/// A member of the quorum on its disk: what raft writes, and the node's past beside it.
///
/// Rows, by the first byte of their key (numbers big-endian, so that key order is their order); unless said otherwise
/// their values are frames of schemas/quorum.capnp:
///
///     "i"            format u32, node id i32 — whose directory this is
///     "C"            RaftRows: which rows there are, so that one that is lost is missed
///     "E" index u64  RaftEntry; [first, end) without gaps
///     "H"            RaftHardState
///     "N"            NodePast
///     "P" number u32 piece of the snapshot's image, plain bytes, all but the last of `piece_bytes`
///     "S"            RaftSnapshotHead
///
/// Every commit leaves whole rows: a snapshot with all its pieces and none of another's.
/// Not thread-safe; every call may block on the disk.
class raft_table {
public:
  static constexpr std::uint32_t format = 2;
  static constexpr std::size_t piece_bytes = 256 << 10;

  /// What was in the table under format 1, when it was not a quorum's.
  struct former {
    /// Becomes a snapshot that covers everything up to `index`, in term 1, with this node as the only voter.
    raft_index index;
    shared_bytes image;
    std::vector<std::vector<std::byte>> rows;  ///< keys; they go
  };
  struct options {
    node_id node;
    uuid disk;  ///< whose promises these are
    /// Reads the rows of format 1. None: such a table is refused.
    std::function<result<former>(const store::table&)> adopt;
  };

  /// Takes a new table, or one of format 1 with everything in it, in one commit. Errors: wrong_format (a newer format,
  /// another node's directory), storage_damaged, those of `adopt` and of the table.
  static result<std::unique_ptr<raft_table>> open(std::unique_ptr<store::table>, options);

  /// Everything that was written, sound (`raft::sound`). Once, before the first `write` or `put`.
  /// Errors: storage_damaged (names what is missing or does not decode), wrong_format (another disk's promises).
  result<raft_stored> load();
  /// All of `writes` in their order, in one commit. Errors: storage_full (nothing changed), storage_failed (unknown:
  /// stop).
  result<void> write(std::span<const raft::write> writes);

  /// As of `load` or the last `put`.
  const node_past& past() const noexcept { return past_; }
  /// Durable when it returns. Errors as of `write`.
  result<void> put(const node_past&);

private:
  using bytes = std::vector<std::byte>;
  using changes = std::vector<store::table::change>;
  /// What row "C" says, and the number of rows "P".
  struct contents {
    raft_index first{1}, end{1};  ///< of the entries
    raft_index snapshot{-1};
    std::uint32_t pieces{0};
    bool hard{false}, past{false};
  };
  struct reading;

  raft_table(std::unique_ptr<store::table> table, options how) : table_{std::move(table)}, options_{std::move(how)} {}
  result<void> identify();
  result<void> take_over();
  bytes identity() const;
  /// Adds the row "C" and commits; then `after` is what there is.
  result<void> commit(changes, const contents& after);
  void put_snapshot(changes&, contents& after, const raft_snapshot&) const;

  std::unique_ptr<store::table> table_;
  options options_;
  contents contents_;
  node_past past_;
  bool loaded_{false};
};

}  // namespace troupe
