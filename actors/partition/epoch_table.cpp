#include "actors/partition/epoch_table.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"

namespace troupe {

namespace {

auto first_above(const std::vector<store::epoch_start>& entries, leader_epoch epoch) {
  return std::upper_bound(entries.begin(), entries.end(), epoch,
                          [](leader_epoch e, const store::epoch_start& it) { return e < it.epoch; });
}

}  // namespace

epoch_table::epoch_table(std::vector<store::epoch_start> entries) : entries_{std::move(entries)} {
  for (std::size_t i = 1; i < entries_.size(); ++i)
    TROUPE_CHECK(entries_[i - 1].epoch < entries_[i].epoch && entries_[i - 1].start < entries_[i].start);
}

void epoch_table::appended(leader_epoch epoch, log_offset base) {
  if (epoch == last()) return;
  TROUPE_CHECK(entries_.empty() || (epoch > last() && base > entries_.back().start));
  entries_.push_back({epoch, base});
}

void epoch_table::truncated(log_offset end) {
  while (!entries_.empty() && entries_.back().start >= end) entries_.pop_back();
}

void epoch_table::trimmed(log_offset start) {
  auto kept = entries_.begin();
  while (kept != entries_.end() && std::next(kept) != entries_.end() && std::next(kept)->start <= start) ++kept;
  entries_.erase(entries_.begin(), kept);
}

epoch_table::place epoch_table::end_of(leader_epoch asked, const bounds& log) const {
  const auto next = first_above(entries_, asked);
  if (next == entries_.begin())
    return {asked, entries_.empty() ? log.start : std::min(log.start, entries_.front().start)};
  return {std::prev(next)->epoch, next == entries_.end() ? log.end : next->start};
}

leader_epoch epoch_table::at(log_offset offset) const {
  const auto next = std::upper_bound(entries_.begin(), entries_.end(), offset,
                                     [](log_offset o, const store::epoch_start& it) { return o < it.start; });
  return next == entries_.begin() ? no_epoch : std::prev(next)->epoch;
}

bool epoch_table::contains(leader_epoch epoch) const {
  const auto next = first_above(entries_, epoch);
  return next != entries_.begin() && std::prev(next)->epoch == epoch;
}

}  // namespace troupe
