#include <algorithm>

#include "runtime/base/check.hpp"
#include "runtime/store/chain.hpp"

/// What happens beside writing and reading: recovery, sealing, periodic syncs, giving space back.
namespace troupe::store {

// -- recovery -------------------------------------------------------------------------------------------

result<void> chain::recover(const std::vector<log_id>& logs) {
  std::scoped_lock lock{mutex_};
  for (auto id : logs) journal_.add_log(id);
  std::vector<catalogue::segment_row> mine;
  for (const auto& row : to_.rows.segments())
    if (row.name.lane == settings_.lane && row.name.level == settings_.level) mine.push_back(row);
  for (std::size_t i = 0; i < mine.size(); ++i)
    if (auto done = recover_segment(mine[i], i + 1 == mine.size()); !done) return done;
  journal_.find_gaps();
  for (auto id : logs) {
    if (auto s = journal_.stands(id); s.damaged_from)
      tell(notice::level::error, "log_damaged",
           "log=" + std::to_string(id.value()) + " from=" + std::to_string(s.damaged_from->value()) +
               " end=" + std::to_string(s.end.value()));
  }
  durable_below_ = handed_over_ = next_;
  return {};
}

std::optional<index_summary> chain::read_summary(const segment_file& file, const catalogue::segment_row& row) const {
  const auto size = file.index_size();
  std::vector<std::byte> bytes(index_header_bytes);
  if (size < bytes.size() || !file.read_index(0, bytes)) return {};
  const auto summary_bytes = index_summary_bytes(bytes, size);
  if (!summary_bytes) return {};
  bytes.resize(*summary_bytes);
  if (!file.read_index(0, bytes)) return {};
  auto summary = decode_index(bytes, row.name.first, size);
  if (!summary || summary->segment_id != row.id || summary->next != row.next) return {};
  return summary;
}

/// A sealed segment's file is shorter than its index needs. The index still says of each log what is gone. It is no
/// more than a gap: a log that was cut there since, and filled again, is whole, at this start and at every later one.
void chain::name_cut_rows(segment_no no) {
  const auto& s = segments_.at(no);
  const auto size = s.file->size();
  ++to_.counters.damaged_blocks;
  for (const auto& r : s.runs) {
    const auto rows = load(no, r.log);
    if (!rows) continue;  // its own CRC is wrong too: reading will say so
    const auto lies_beyond = [&](const row& at) { return at.position + at.length > size; };
    for (auto cut = rows->begin(); (cut = std::find_if(cut, rows->end(), lies_beyond)) != rows->end();) {
      const auto next = std::find_if_not(cut, rows->end(), lies_beyond);
      journal_.miss(r.log, cut->base, std::prev(next)->end());
      tell(notice::level::error, "file_cut",
           "file=" + s.file->path() + " bytes=" + std::to_string(size) + " needs=" + std::to_string(s.data_bytes) +
               " log=" + std::to_string(r.log.value()) + " base=" + std::to_string(cut->base.value()) +
               " end=" + std::to_string(std::prev(next)->end().value()));
      cut = next;
    }
  }
}

result<void> chain::recover_segment(const catalogue::segment_row& row, bool newest) {
  const auto no = row.name.first;
  next_ = std::max(next_, no + 1);
  auto opened = to_.device.open(row.name);
  if (!opened) {
    tell(notice::level::error, "segment_missing",
         "segment=" + to_string(row.name) + " error=\"" + opened.error().text + "\"");
    ++to_.counters.damaged_blocks;
    // What lay in it shows as gaps, unless something older lies there that it cancelled.
    if (row.next == 0 || row.cuts > 0 || row.cuts_lost) journal_.doubt_all(no);
    // If it was the newest, nobody knows what became of the logs after it began.
    if (newest || row.next == 0) journal_.suspect_all();
    return {};
  }
  segment s;
  s.file = std::move(*opened);
  s.id = row.id;
  s.bytes = s.file->size();

  if (row.sealed) {
    if (auto summary = read_summary(*s.file, row)) {
      std::vector<std::pair<log_id, run>> runs;
      for (const auto& r : summary->runs) runs.emplace_back(r.log, r.what);
      s.stage = segment::phase::sealed;
      s.next = row.next;
      s.cuts = row.cuts;
      s.runs = std::move(summary->runs);
      s.data_bytes = summary->data_bytes;
      next_ = std::max(next_, row.next);
      segments_.emplace(no, std::move(s));
      journal_.add_sealed(no, runs, row.cuts_lost);
      for (auto& [id, stands] : summary->standings) journal_.set_standing(id, std::move(stands));
      if (summary->data_bytes > segments_.at(no).file->size()) name_cut_rows(no);
      return {};
    }
    tell(notice::level::warn, "index_rebuilt", "segment=" + s.file->path());
  }

  auto scan = scan_segment(*s.file, row.id);
  if (!scan) return scan.error();
  journal_.begin_segment(no);
  s.stage = segment::phase::ended;
  const auto file = s.file;
  segments_.emplace(no, std::move(s));
  const auto known = row.next > 0 ? std::optional{ended_before{row.next, row.cuts}} : std::nullopt;
  const auto report = replay(journal_, *scan, no, known);
  for (const auto& d : report.damages) {
    ++to_.counters.damaged_blocks;
    tell(notice::level::error, "block_damaged", "file=" + file->path() + " " + d.what);
  }
  tell(notice::level::info, "segment_recovered",
       "file=" + file->path() + " blocks=" + std::to_string(scan->blocks.size()) +
           " torn=" + std::to_string(report.torn_blocks));
  next_ = std::max(next_, report.next);
  if (scan->blocks.empty() && report.damages.empty()) {
    // Begun, but nothing of it got to the disk: what the segment before says holds.
    segments_.erase(no);
    journal_.forget_segment(no);
    if (auto gone = to_.rows.remove({row.name}); !gone) return gone;
    return to_.device.remove(row.name);
  }
  // It may be in the page cache only; from here on it counts.
  if (auto synced = file->sync(); !synced) return synced;
  if (!known) {
    const catalogue::segment_row ended{row.name, row.id, report.next, false, journal_.cuts_lost(no), report.cuts};
    if (auto noted = to_.rows.put(ended); !noted && noted.code() != errc::storage_full) return noted;
  }
  auto& mine = segments_.at(no);
  mine.next = report.next;
  mine.cuts = report.cuts;
  mine.standings = standings();
  return {};
}

// -- sealing and syncing --------------------------------------------------------------------------------

bool chain::seal_next() {
  if (to_.counters.failed) return false;
  std::unique_lock lock{mutex_};
  auto it = std::find_if(segments_.begin(), segments_.end(),
                         [](const auto& s) { return s.second.stage == segment::phase::ended; });
  if (it == segments_.end()) return false;
  const auto no = it->first;
  auto& s = it->second;
  const auto file = s.file;
  auto rows = journal_.resident(no);
  const catalogue::segment_row row{name_of(no), s.id, s.next, true, journal_.cuts_lost(no), s.cuts};
  index_summary summary{s.id, no, s.next, 0, {}, s.standings};
  lock.unlock();

  // The rows leave out what later entries cancelled, while the standings are of the segment's end. So those entries
  // must be durable before the index is: otherwise a power cut takes them back, but not the rows.
  sync();
  if (to_.counters.failed) return false;
  const auto bytes = encode_index(std::move(summary), rows);
  auto decoded = decode_index(bytes, no, bytes.size());
  TROUPE_CHECK(decoded.has_value());
  file->finish();
  auto written = file->write_index(bytes);
  if (written) written = to_.rows.put(row);
  if (!written) {
    if (written.code() != errc::storage_full) fail(written.error());
    return false;  // the rows stay in memory, the next round tries again
  }
  lock.lock();
  s.stage = segment::phase::sealed;
  s.runs = std::move(decoded->runs);
  s.data_bytes = decoded->data_bytes;
  s.standings.clear();
  s.bytes = file->size() + bytes.size();
  // Whoever reads a little behind the end still needs them.
  for (auto& [id, list] : rows) to_.cache.put({this, no, id}, list);
  journal_.seal(no);
  return true;
}

bool chain::sync() {
  std::scoped_lock one{sync_mutex_};
  if (to_.counters.failed) return false;
  const auto upto = handed_over_.load();
  if (durable_below_ >= upto) return false;
  std::shared_ptr<segment_file> file;
  segment_no first = 0;
  {
    std::scoped_lock lock{mutex_};
    for (auto& [no, s] : segments_)
      if (s.stage == segment::phase::active) {
        file = s.file;
        first = no;
      }
  }
  // A segment that ended was synced then, and so is the checkpoint of one that begins.
  if (!file || first >= upto) return false;
  if (auto synced = file->sync(); !synced) {
    fail(synced.error());
    return false;
  }
  ++to_.counters.syncs;
  auto known = durable_below_.load();
  while (known < upto && !durable_below_.compare_exchange_weak(known, upto)) {
  }
  return true;
}

// -- giving space back ----------------------------------------------------------------------------------

void chain::drop_dead() {
  if (to_.counters.failed) return;
  std::vector<segment_name> names;
  {
    std::scoped_lock lock{mutex_};
    // What a crash left of the newest segment may lack a part of its checkpoint. Until its index says what the logs
    // are, older segments have to.
    if (!segments_.empty()) {
      const auto& newest = segments_.rbegin()->second;
      if (newest.stage == segment::phase::ended && !newest.written_here) return;
    }
    for (auto no : journal_.dead()) names.push_back(name_of(no));
  }
  if (names.empty()) return;
  // What made them dead must be durable before they go.
  sync();
  if (to_.counters.failed) return;
  if (auto gone = to_.rows.remove(names); !gone) {
    if (gone.code() != errc::storage_full) fail(gone.error());
    return;
  }
  {
    std::scoped_lock lock{mutex_};
    for (const auto& name : names) {
      journal_.forget_segment(name.first);
      segments_.erase(name.first);
      stuck_.erase(name.first);
      to_.cache.drop(this, name.first);
    }
  }
  to_.counters.segments_dropped += names.size();
  for (const auto& name : names)
    if (auto removed = to_.device.remove(name); !removed)
      tell(notice::level::warn, "segment_not_removed", "error=\"" + removed.error().text + "\"");
}

std::vector<work> chain::salvage(std::uint64_t bytes_max) {
  std::vector<work> out;
  segment_no no = 0;
  std::vector<std::pair<log_id, run>> runs;
  std::shared_ptr<segment_file> file;
  {
    std::scoped_lock lock{mutex_};
    const auto victim = journal_.mostly_dead(settings_.live_share, stuck_);
    if (!victim) return out;
    no = *victim;
    runs = journal_.runs_in(no);
    file = segments_.at(no).file;
  }
  std::uint64_t bytes = 0;
  for (const auto& [id, r] : runs) {
    const auto rows = r.doubtful ? nullptr : fetch_rows(no, id);
    work w;
    w.what = work::kind::copy;
    w.log = id;
    w.source = no;
    bool whole = rows != nullptr;
    if (whole) {
      for (const auto& row : *rows) {
        if (row.base < r.base || row.end() > r.end) continue;
        if (bytes >= bytes_max) break;
        std::vector<std::byte> copy(row.length);
        if (!file->read(row.position, copy) || !intact(copy, row.checked_from, row.head_crc, row.crc)) {
          whole = false;
          break;
        }
        bytes += row.length;
        w.bytes += row.length;
        w.batches.push_back({row.base, row.offsets, row.epoch, row.timestamp_max, shared_bytes::own(std::move(copy)),
                             row.checked_from, row.crc});
      }
    }
    if (!w.batches.empty()) out.push_back(std::move(w));
    if (!whole) {
      // What cannot be read cannot be copied: the segment stays until retention takes it.
      tell(notice::level::error, "segment_not_salvaged",
           "file=" + file->path() + " log=" + std::to_string(id.value()) + " base=" + std::to_string(r.base.value()) +
               " end=" + std::to_string(r.end.value()));
      std::scoped_lock lock{mutex_};
      stuck_.insert(no);
      break;
    }
    if (bytes >= bytes_max) break;
  }
  return out;
}

}  // namespace troupe::store
