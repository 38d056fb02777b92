#pragma once

#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/store/log.hpp"

namespace troupe {

/// Which leader epochs a log's records were written under: (epoch, first offset), strictly rising in both. The first
/// entry may begin below the log's start: it says what the first record was written under.
///
/// By it two logs find where they part: they are equal up to the end of the greatest epoch that both have.
class epoch_table {
public:
  struct bounds {
    log_offset start, end;  ///< of the log
  };
  struct place {
    leader_epoch epoch;
    log_offset end;
    friend bool operator==(const place&, const place&) = default;
  };

  epoch_table() = default;
  /// As a log keeps it: strictly rising in both, or the invariant is broken.
  explicit epoch_table(std::vector<store::epoch_start>);

  /// A batch of `epoch` begins at `base`. Not below the last epoch.
  void appended(leader_epoch epoch, log_offset base);
  /// The log ends at `end` now: epochs that start there or above are gone.
  void truncated(log_offset end);
  /// The log starts at `start` now: epochs that lie wholly below are gone, but never the last one.
  void trimmed(log_offset start);
  void clear() noexcept { entries_.clear(); }

  /// The greatest epoch in the log that is not greater than `asked`, and where its records end. If there is none:
  /// `asked` and the log's start, or where the first batch begins if the start lies within it.
  place end_of(leader_epoch asked, const bounds&) const;
  /// What the record at `offset` was written under; `no_epoch`: below everything known.
  leader_epoch at(log_offset offset) const;
  bool contains(leader_epoch) const;
  /// `no_epoch`: none.
  leader_epoch last() const noexcept { return entries_.empty() ? no_epoch : entries_.back().epoch; }
  const std::vector<store::epoch_start>& entries() const noexcept { return entries_; }

private:
  std::vector<store::epoch_start> entries_;
};

}  // namespace troupe
