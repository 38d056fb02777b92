#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "runtime/raft/messages.hpp"

namespace troupe {

/// A place in the log and its term: what logs are compared by.
struct raft_place {
  raft_index index;
  raft_term term;
  /// Whether a log that ends here holds all that is committed in one that ends at `other`.
  bool as_new_as(const raft_place& other) const noexcept {
    return term != other.term ? term > other.term : index >= other.index;
  }
};

/// The log in memory, above and a little below its snapshot.
///
///      first()            snapshot().index                last()
///     ───┬────────────────────┬──────────────────────────────┬───
///        │ kept for followers │ decided or not               │
///
/// Invariants: no gaps; entries reach down to the snapshot and not less far up.
class raft_log {
public:
  /// `entries` reach the snapshot and agree with it.
  raft_log(std::shared_ptr<const raft_snapshot>, std::vector<raft_entry> entries);

  raft_index first() const noexcept;  ///< of the entries; `last() + 1` without any
  raft_index last() const noexcept;
  raft_place end() const noexcept { return {last(), *term_at(last())}; }
  /// Nothing: no longer or not yet known.
  std::optional<raft_term> term_at(raft_index) const noexcept;
  /// `first() <= index <= last()`.
  const raft_entry& at(raft_index index) const noexcept;

  void append(raft_entry);
  /// `index` is above the snapshot.
  void cut_from(raft_index index);
  /// `index` is not above the one after the snapshot.
  void drop_before(raft_index index);
  /// A snapshot of entries that are here: they stay.
  void compacted(std::shared_ptr<const raft_snapshot>);
  /// A snapshot from elsewhere: entries that contradict or do not reach it are gone.
  void replaced(std::shared_ptr<const raft_snapshot>);

  /// Never null; at index 0 where there is none.
  const std::shared_ptr<const raft_snapshot>& snapshot() const noexcept { return snapshot_; }
  /// Of entries above the snapshot.
  std::size_t bytes() const noexcept { return bytes_between(snapshot_->index + 1, last() + 1); }
  /// Of the entries in [from, to) that are here.
  std::size_t bytes_between(raft_index from, raft_index to) const noexcept;
  /// The newest set of members in the log, and its place.
  const raft_members& members() const noexcept;
  raft_index members_index() const noexcept;
  const raft_members& members_at(raft_index) const noexcept;

  static std::size_t size_of(const raft_entry&) noexcept;

private:
  std::shared_ptr<const raft_snapshot> snapshot_;
  struct slot {
    raft_entry entry;
    std::uint64_t end{0};  ///< bytes of all entries that ever came before it, and of itself
  };
  std::deque<slot> entries_;
  std::uint64_t end_{0};
  std::deque<std::pair<raft_index, raft_members>> members_;  ///< above the snapshot
};

}  // namespace troupe
