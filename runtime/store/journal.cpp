#include "runtime/store/journal.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"

namespace troupe::store {
namespace {

row_list::const_iterator first_at_or_above(const row_list& rows, log_offset base) {
  return std::lower_bound(rows.begin(), rows.end(), base, [](const row& r, log_offset o) { return r.base < o; });
}

/// The row that holds `offset`, or the first above it.
row_list::const_iterator holding(const row_list& rows, log_offset offset) {
  return std::partition_point(rows.begin(), rows.end(), [&](const row& r) { return r.end() <= offset; });
}

}  // namespace

// -- what exists ----------------------------------------------------------------------------------------

journal::log* journal::find(log_id id) {
  auto it = logs_.find(id);
  return it == logs_.end() ? nullptr : &it->second;
}

journal::log* journal::touch(log_id id) {
  auto* l = find(id);
  if (l) l->touched = true;
  return l;
}

const journal::log& journal::at(log_id id) const {
  auto it = logs_.find(id);
  TROUPE_CHECK(it != logs_.end());
  return it->second;
}

void journal::drop_log(log_id id) {
  auto* l = find(id);
  if (!l) return;
  while (!l->runs.empty()) erase(*l, l->runs.begin());
  for (auto& [no, s] : segments_) s.rows.erase(id);
  logs_.erase(id);
}

void journal::begin_segment(segment_no no) {
  TROUPE_CHECK(segments_.empty() || segments_.rbegin()->first < no);
  segments_[no];
}

void journal::add_sealed(segment_no no, const std::vector<std::pair<log_id, run>>& runs, bool cuts_lost) {
  begin_segment(no);
  auto& s = segments_[no];
  s.sealed = true;
  if (cuts_lost) doubt_all(no);
  for (const auto& [id, r] : runs) {
    s.all_bytes += r.bytes;
    if (auto* l = touch(id)) {
      clear(id, *l, r.base, r.end);
      insert(*l, r);
    }
  }
}

void journal::seal(segment_no no) {
  auto& s = segments_.at(no);
  s.sealed = true;
  s.rows.clear();
}

void journal::forget_segment(segment_no no) {
  auto it = segments_.find(no);
  TROUPE_CHECK(it != segments_.end() && it->second.live_runs == 0);
  segments_.erase(it);
}

// -- entries --------------------------------------------------------------------------------------------

void journal::mend(log_id id, log& l, log_offset base) {
  if (base >= l.end) return;
  if (base < l.start) {  // even below the start: a restart was lost
    restart(id, base);
    suspect(id, base);
    return;
  }
  cut(id, base);
  // How far down it went nobody knows: what is left may be what it took away.
  doubt(id, l);
  segments_.rbegin()->second.cuts_lost = true;
  suspect(id, l.start);
}

void journal::append(log_id id, const row& r) {
  auto* l = touch(id);
  if (!l) return;
  mend(id, *l, r.base);
  extend(id, *l, r);
  l->end = r.end();
  note_epoch(*l, r.epoch, r.base);
}

void journal::extend(log_id id, log& l, const row& r) {
  const auto no = segments_.rbegin()->first;
  auto& s = segments_.rbegin()->second;
  // Only in replay: what an older segment holds beyond the end that the checkpoint named was cleared then.
  if (!l.runs.empty() && l.runs.rbegin()->second.end > r.base) clear(id, l, r.base, r.end());
  writable(s, id).push_back(r);
  s.all_bytes += r.length;
  if (!l.runs.empty()) {
    auto& last = l.runs.rbegin()->second;
    if (last.segment == no && last.end == r.base && !last.doubtful) {
      last.end = r.end();
      last.bytes += r.length;
      last.timestamp_max = std::max(last.timestamp_max, r.timestamp_max);
      s.live_bytes += r.length;
      return;
    }
  }
  insert(l, {r.base, r.end(), no, r.length, r.timestamp_max});
}

void journal::move(log_id id, const std::vector<row>& copies) {
  auto* l = touch(id);
  if (!l || copies.empty()) return;
  const auto no = segments_.rbegin()->first;
  auto& s = segments_.rbegin()->second;
  run whole{copies.front().base, copies.back().end(), no, 0, -1};
  for (const auto& r : copies) {
    whole.bytes += r.length;
    whole.timestamp_max = std::max(whole.timestamp_max, r.timestamp_max);
  }
  s.all_bytes += whole.bytes;
  // In replay, a copy of what was trimmed or cut before the checkpoint of a later segment comes too late to matter.
  if (whole.end <= l->start || whole.base >= l->end) return;
  clear(id, *l, whole.base, whole.end);
  auto& rows = writable(s, id);
  rows.insert(first_at_or_above(rows, whole.base), copies.begin(), copies.end());
  auto next = l->runs.lower_bound(whole.base);
  if (next != l->runs.begin()) {
    if (auto before = std::prev(next);
        before->second.segment == no && before->second.end == whole.base && !before->second.doubtful) {
      whole = {before->second.base, whole.end, no, before->second.bytes + whole.bytes,
               std::max(before->second.timestamp_max, whole.timestamp_max)};
      erase(*l, before);
    }
  }
  insert(*l, whole);
  clear_below(id, *l, l->start);
}

void journal::cut(log_id id, log_offset end) {
  auto* l = touch(id);
  if (!l) return;
  clear(id, *l, end, log_offset{INT64_MAX});
  l->end = std::min(l->end, std::max(end, l->start));
  cut_tables(*l, l->end);
}

void journal::cut_tables(log& l, log_offset end) {
  while (!l.epochs.empty() && l.epochs.back().start >= end) l.epochs.pop_back();
  if (l.last_mark && l.last_mark->at > end) l.last_mark.reset();
  // What was damaged is gone: the log is whole again up to its end.
  if (l.damaged_from && *l.damaged_from >= end) l.damaged_from.reset();
  if (l.doubt && *l.doubt >= end) l.doubt.reset();
}

void journal::trim(log_id id, log_offset start) {
  auto* l = touch(id);
  if (!l) return;
  if (start <= l->start) return;
  l->start = start;
  l->end = std::max(l->end, start);  // beyond the end: what was appended up to there is lost, and gone anyway
  clear_below(id, *l, start);
  // The epoch that holds the start stays, with its own first offset.
  while (l->epochs.size() > 1 && l->epochs[1].start <= start) l->epochs.erase(l->epochs.begin());
  if (l->damaged_from && *l->damaged_from < start) l->damaged_from = first_gap(*l);
}

void journal::restart(log_id id, log_offset start) {
  auto* l = touch(id);
  if (!l) return;
  clear(id, *l, log_offset{INT64_MIN}, log_offset{INT64_MAX});
  l->start = l->end = start;
  l->epochs.clear();
  l->last_mark.reset();
  l->damaged_from.reset();
  l->doubt.reset();
}

void journal::set_mark(log_id id, mark m) {
  auto* l = touch(id);
  if (l && m.at <= l->end) l->last_mark = std::move(m);
}

void journal::set_standing(log_id id, standing s) {
  auto* l = touch(id);
  if (!l) return;
  clear(id, *l, s.end, log_offset{INT64_MAX});
  l->start = s.start;
  l->end = s.end;
  l->epochs = std::move(s.epochs);
  l->last_mark = std::move(s.last_mark);
  l->damaged_from = s.damaged_from;
  // The checkpoint was written before this recovery found out. One that ends where the doubt began clears it.
  if (l->doubt && *l->doubt >= s.start && *l->doubt < s.end) suspect(id, *l->doubt);
  clear_below(id, *l, s.start);
}

void journal::note_epoch(log& l, leader_epoch epoch, log_offset base) {
  if (l.epochs.empty() || l.epochs.back().epoch < epoch) l.epochs.push_back({epoch, base});
}

// -- damage ---------------------------------------------------------------------------------------------

void journal::lose(log_id id, log_offset base, log_offset end, leader_epoch epoch) {
  auto* l = touch(id);
  if (!l) return;
  mend(id, *l, base);
  l->end = std::max(l->end, end);
  note_epoch(*l, epoch, base);
  suspect(id, base);
}

void journal::suspect(log_id id, log_offset from) {
  auto* l = touch(id);
  if (!l) return;
  l->damaged_from = std::min(l->damaged_from.value_or(from), from);
  l->doubt = std::min(l->doubt.value_or(from), from);
}

void journal::miss(log_id id, log_offset base, log_offset end) {
  if (auto* l = touch(id)) clear(id, *l, base, end);
}

void journal::suspect_all() {
  for (auto& [id, l] : logs_) suspect(id, l.end);
}

void journal::doubt(log_id id, log& l) {
  for (auto& [base, r] : l.runs) r.doubtful = true;
  for (auto& [no, s] : segments_)
    if (!s.sealed && s.rows.contains(id))
      for (auto& row : writable(s, id)) row.doubtful = true;
}

void journal::doubt_all(segment_no no) {
  for (auto& [id, l] : logs_) doubt(id, l);
  if (auto it = segments_.find(no); it != segments_.end()) it->second.cuts_lost = true;
}

/// Where a batch is missing, or not to be trusted.
std::optional<log_offset> journal::first_gap(const log& l) {
  auto expected = l.start;
  for (const auto& [base, r] : l.runs) {
    if (base > expected || r.doubtful) return expected;
    expected = r.end;
  }
  return expected < l.end ? std::optional{expected} : std::nullopt;
}

void journal::find_gaps() {
  for (auto& [id, l] : logs_)
    if (auto gap = first_gap(l)) suspect(id, *gap);
}

// -- runs -----------------------------------------------------------------------------------------------

row_list& journal::writable(segment& s, log_id id) {
  auto& rows = s.rows[id];
  // Somebody writes the index from what it was: leave that alone.
  if (!rows || rows.use_count() > 1) rows = std::make_shared<row_list>(rows ? *rows : row_list{});
  return *rows;
}

std::shared_ptr<const row_list> journal::rows_of(segment_no no, log_id id, bool may_load) const {
  const auto& s = segments_.at(no);
  if (!s.sealed) {
    auto it = s.rows.find(id);
    return it == s.rows.end() ? nullptr : it->second;
  }
  return may_load ? source_.load(no, id) : source_.cached(no, id);
}

void journal::insert(log& l, const run& r) {
  auto& s = segments_.at(r.segment);
  s.live_bytes += r.bytes;
  ++s.live_runs;
  l.runs.emplace(r.base, r);
}

journal::run_map::iterator journal::erase(log& l, run_map::iterator it) {
  auto& s = segments_.at(it->second.segment);
  s.live_bytes -= it->second.bytes;
  --s.live_runs;
  return l.runs.erase(it);
}

/// What is left of `r` when only its batches wholly within [from, to) stay.
std::optional<run> journal::part(log_id id, const run& r, log_offset from, log_offset to) const {
  from = std::max(from, r.base);
  to = std::min(to, r.end);
  if (from >= to) return {};
  if (from == r.base && to == r.end) return r;
  const auto rows = rows_of(r.segment, id, true);
  if (!rows) {
    // Unreadable: keep the range, which is right, and guess the bytes, which only retention by size looks at.
    const auto share = static_cast<double>(to - from) / static_cast<double>(r.end - r.base);
    const auto bytes = static_cast<std::uint64_t>(static_cast<double>(r.bytes) * share);
    return run{from, to, r.segment, bytes, r.timestamp_max, r.doubtful};
  }
  std::optional<run> left;
  for (auto row = first_at_or_above(*rows, from); row != rows->end() && row->end() <= to; ++row) {
    if (!left) left = run{row->base, row->end(), r.segment, 0, -1, r.doubtful};
    left->end = row->end();
    left->bytes += row->length;
    left->timestamp_max = std::max(left->timestamp_max, row->timestamp_max);
  }
  return left;
}

/// Removes the batches that touch [from, to).
void journal::clear(log_id id, log& l, log_offset from, log_offset to) {
  auto it = l.runs.upper_bound(from);
  if (it != l.runs.begin() && std::prev(it)->second.end > from) --it;
  while (it != l.runs.end() && it->second.base < to) {
    const run whole = it->second;
    auto left = part(id, whole, whole.base, from), right = part(id, whole, to, whole.end);
    auto& s = segments_.at(whole.segment);
    if (!s.sealed) {
      auto& rows = writable(s, id);
      const auto keep_to = left ? left->end : whole.base, keep_from = right ? right->base : whole.end;
      rows.erase(first_at_or_above(rows, keep_to), first_at_or_above(rows, keep_from));
    }
    it = erase(l, it);
    if (left) insert(l, *left);
    if (right) insert(l, *right);
  }
}

/// Removes the batches that end at or below `start`.
void journal::clear_below(log_id id, log& l, log_offset start) {
  while (!l.runs.empty()) {
    const run first = l.runs.begin()->second;
    if (first.base >= start) return;
    if (first.end <= start) {
      auto& s = segments_.at(first.segment);
      if (!s.sealed) {
        auto& rows = writable(s, id);
        rows.erase(first_at_or_above(rows, first.base), first_at_or_above(rows, first.end));
      }
      erase(l, l.runs.begin());
      continue;
    }
    auto rows = rows_of(first.segment, id, true);
    if (!rows) return;
    const auto keep = holding(*rows, start);
    if (keep != rows->end() && keep->base > first.base) {
      const auto from = keep->base;
      rows.reset();  // or `writable` would copy them
      if (auto left = part(id, first, from, first.end)) {
        auto& s = segments_.at(first.segment);
        erase(l, l.runs.begin());
        insert(l, *left);
        if (!s.sealed) {
          auto& mine = writable(s, id);
          mine.erase(first_at_or_above(mine, first.base), first_at_or_above(mine, from));
        }
      }
    }
    return;
  }
}

// -- questions ------------------------------------------------------------------------------------------

std::vector<log_id> journal::logs() const {
  std::vector<log_id> ids;
  for (const auto& [id, l] : logs_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

standing journal::stands(log_id id) const {
  const auto& l = at(id);
  return {l.start, l.end, l.epochs, l.last_mark, l.damaged_from};
}

log_state journal::state(log_id id) const {
  const auto& l = at(id);
  log_state s{l.start, l.end, l.epochs, l.last_mark, 0, l.damaged_from};
  for (const auto& [base, r] : l.runs) s.bytes += r.bytes;
  return s;
}

std::vector<extent> journal::extents(log_id id) const {
  std::vector<extent> out;
  for (const auto& [base, r] : at(id).runs) {
    const auto& s = segments_.at(r.segment);
    if (s.sealed) {
      out.push_back({r.base, r.end, r.bytes, r.timestamp_max});
      continue;
    }
    std::optional<std::uint32_t> block;
    const auto& rows = *s.rows.at(id);
    for (auto it = first_at_or_above(rows, r.base); it != rows.end() && it->base < r.end; ++it) {
      if (block != it->block) out.push_back({it->base, it->end(), 0, -1});
      block = it->block;
      auto& e = out.back();
      e.end = it->end();
      e.bytes += it->length;
      e.timestamp_max = std::max(e.timestamp_max, it->timestamp_max);
    }
  }
  return out;
}

std::optional<log_offset> journal::boundary(log_id id, log_offset end) {
  const auto& l = at(id);
  if (end >= l.end) return l.end;
  auto it = l.runs.lower_bound(end);
  if (it == l.runs.begin()) return std::max(l.start, std::min(end, l.end));
  const auto& r = std::prev(it)->second;
  if (r.end <= end) return end;  // between runs: a gap, where every offset is as good as any other
  const auto rows = rows_of(r.segment, id, true);
  if (!rows) return {};
  const auto at = holding(*rows, end);
  return std::max(l.start, at == rows->end() || at->base >= end ? end : at->base);
}

bool journal::current(log_id id, log_offset base, segment_no no) const {
  auto known = logs_.find(id);
  if (known == logs_.end()) return false;
  auto it = known->second.runs.upper_bound(base);
  if (it == known->second.runs.begin()) return false;
  const auto& r = std::prev(it)->second;
  return r.segment == no && base < r.end && !r.doubtful;
}

std::vector<segment_no> journal::dead() const {
  std::vector<segment_no> out;
  bool older = false;  // is there anything that the segment casts doubt on?
  for (const auto& [no, s] : segments_) {
    // Sealed or not: on a full disk there is no room for the index of what is about to go.
    if (s.live_runs == 0 && no != segments_.rbegin()->first && !(s.cuts_lost && older))
      out.push_back(no);
    else
      older = true;
  }
  return out;
}

std::optional<segment_no> journal::mostly_dead(double share, const std::set<segment_no>& except) const {
  if (segments_.size() < 3) return {};
  const auto newest_two = std::prev(segments_.end(), 2);
  for (auto it = segments_.begin(); it != newest_two; ++it) {
    const auto& s = it->second;
    if (s.sealed && s.live_runs > 0 && !except.contains(it->first) &&
        static_cast<double>(s.live_bytes) < share * static_cast<double>(s.all_bytes))
      return it->first;
  }
  return {};
}

std::vector<std::pair<log_id, run>> journal::runs_in(segment_no no) const {
  std::vector<std::pair<log_id, run>> out;
  for (const auto& id : logs())
    for (const auto& [base, r] : at(id).runs)
      if (r.segment == no) out.emplace_back(id, r);
  return out;
}

std::vector<std::pair<log_id, std::shared_ptr<const row_list>>> journal::resident(segment_no no) const {
  const auto& rows = segments_.at(no).rows;
  std::vector<std::pair<log_id, std::shared_ptr<const row_list>>> out{rows.begin(), rows.end()};
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

journal::found journal::collect(log_id id, log_offset from, const read_limits& limits) const {
  const auto& l = at(id);
  using kind = found::kind;
  if (from < l.start) return {kind::below_start, {}, 0, {}};
  const auto limit = std::min(limits.end, l.end);
  if (from >= limit) return {};
  found out{kind::rows, {}, 0, {}};
  std::uint64_t bytes = 0;
  auto it = l.runs.upper_bound(from);
  if (it != l.runs.begin() && std::prev(it)->second.end > from) --it;
  for (; it != l.runs.end(); ++it) {
    const auto& r = it->second;
    if (r.base > from) break;  // a gap
    if (r.doubtful) {
      if (out.pieces.empty()) return {kind::gap, {}, 0, r.end};
      return out;
    }
    const auto rows = rows_of(r.segment, id, false);
    if (!rows) {
      if (out.pieces.empty()) return {kind::not_loaded, {}, r.segment, {}};
      return out;
    }
    for (auto row = holding(*rows, from); from < r.end; ++row) {
      if (row == rows->end() || row->base > from || row->doubtful) {  // its index was rebuilt from damaged blocks
        if (out.pieces.empty())
          return {kind::gap, {}, 0, row == rows->end() ? r.end : row->doubtful ? row->end() : row->base};
        return out;
      }
      if (row->end() > limit) {
        if (out.pieces.empty()) out.what = kind::at_end;
        return out;
      }
      const bool first = out.pieces.empty() && limits.at_least_one;
      if (!first && bytes + row->length > limits.bytes_max) return out;
      bytes += row->length;
      out.pieces.push_back({r.segment, *row});
      from = row->end();
    }
    if (from >= limit) return out;
  }
  if (out.pieces.empty()) return {kind::gap, {}, 0, it == l.runs.end() ? l.end : it->second.base};
  return out;
}

std::optional<time_hit> journal::find_time(log_id id, std::int64_t timestamp, log_offset from, log_offset end) {
  const auto& l = at(id);
  auto it = l.runs.upper_bound(from);
  if (it != l.runs.begin() && std::prev(it)->second.end > from) --it;
  for (; it != l.runs.end() && it->second.base < end; ++it) {
    if (it->second.timestamp_max < timestamp || it->second.doubtful) continue;
    const auto rows = rows_of(it->second.segment, id, true);
    if (!rows) continue;
    for (auto row = holding(*rows, std::max(from, it->second.base));
         row != rows->end() && row->end() <= std::min(end, it->second.end); ++row)
      if (row->timestamp_max >= timestamp) return time_hit{row->base, row->timestamp_max};
  }
  return {};
}

std::optional<time_hit> journal::latest_time(log_id id, log_offset end) {
  const auto& l = at(id);
  std::optional<time_hit> best;
  for (const auto& [base, r] : l.runs) {
    if (base >= end) break;
    if (r.timestamp_max < 0 || r.doubtful || (best && r.timestamp_max <= best->timestamp_max)) continue;
    const auto rows = rows_of(r.segment, id, true);
    if (!rows) continue;
    for (auto row = first_at_or_above(*rows, base); row != rows->end() && row->end() <= std::min(end, r.end); ++row)
      if (row->timestamp_max >= 0 && (!best || row->timestamp_max > best->timestamp_max))
        best = time_hit{row->base, row->timestamp_max};
  }
  return best;
}

}  // namespace troupe::store
