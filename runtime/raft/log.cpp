#include "runtime/raft/log.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"

namespace troupe {

raft_log::raft_log(std::shared_ptr<const raft_snapshot> snapshot, std::vector<raft_entry> entries)
    : snapshot_{snapshot ? std::move(snapshot) : std::make_shared<const raft_snapshot>()} {
  for (auto& e : entries) append(std::move(e));
}

raft_index raft_log::first() const noexcept {
  return entries_.empty() ? snapshot_->index + 1 : entries_.front().entry.index;
}

raft_index raft_log::last() const noexcept {
  return entries_.empty() ? snapshot_->index : entries_.back().entry.index;
}

std::optional<raft_term> raft_log::term_at(raft_index index) const noexcept {
  if (index == snapshot_->index) return snapshot_->term;
  if (index < first() || index > last()) return {};
  return at(index).term;
}

const raft_entry& raft_log::at(raft_index index) const noexcept {
  TROUPE_CHECK(index >= first() && index <= last() && !entries_.empty());
  return entries_[static_cast<std::size_t>(index - first())].entry;
}

void raft_log::append(raft_entry e) {
  TROUPE_CHECK(entries_.empty() ? e.index <= snapshot_->index + 1 : e.index == last() + 1);
  if (e.index > snapshot_->index && e.kind == raft_entry::kind_t::members) members_.emplace_back(e.index, e.members);
  end_ += size_of(e);
  entries_.push_back({std::move(e), end_});
}

void raft_log::cut_from(raft_index index) {
  TROUPE_CHECK(index > snapshot_->index);
  while (!entries_.empty() && entries_.back().entry.index >= index) {
    end_ -= size_of(entries_.back().entry);
    entries_.pop_back();
  }
  while (!members_.empty() && members_.back().first >= index) members_.pop_back();
}

void raft_log::drop_before(raft_index index) {
  TROUPE_CHECK(index <= snapshot_->index + 1);
  while (!entries_.empty() && entries_.front().entry.index < index) entries_.pop_front();
}

void raft_log::compacted(std::shared_ptr<const raft_snapshot> snapshot) {
  TROUPE_CHECK(snapshot->index > snapshot_->index && snapshot->index <= last());
  while (!members_.empty() && members_.front().first <= snapshot->index) members_.pop_front();
  snapshot_ = std::move(snapshot);
}

void raft_log::replaced(std::shared_ptr<const raft_snapshot> snapshot) {
  if (term_at(snapshot->index) == snapshot->term) return compacted(std::move(snapshot));
  entries_.clear();
  members_.clear();
  snapshot_ = std::move(snapshot);
}

std::size_t raft_log::bytes_between(raft_index from, raft_index to) const noexcept {
  from = std::max(from, first());
  to = std::min(to, last() + 1);
  if (from >= to) return 0;
  const auto end = [&](raft_index i) { return entries_[static_cast<std::size_t>(i - first())].end; };
  return end(to - 1) - end(from) + size_of(at(from));
}

const raft_members& raft_log::members() const noexcept {
  return members_.empty() ? snapshot_->members : members_.back().second;
}

raft_index raft_log::members_index() const noexcept {
  return members_.empty() ? snapshot_->index : members_.back().first;
}

const raft_members& raft_log::members_at(raft_index index) const noexcept {
  for (auto m = members_.rbegin(); m != members_.rend(); ++m)
    if (m->first <= index) return m->second;
  return snapshot_->members;
}

std::size_t raft_log::size_of(const raft_entry& e) noexcept {
  return sizeof(raft_entry) + e.payload.size() + e.members.size() * sizeof(raft_member);
}

}  // namespace troupe
