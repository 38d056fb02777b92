#include <algorithm>

#include "runtime/store/chain.hpp"

/// Reading. What this process wrote lately is handed out in place: the kernel has it in memory, and its checksums were
/// right when it was written. Everything else is read with its checksums verified, on a thread that may wait.
namespace troupe::store {

// -- rows of sealed segments ----------------------------------------------------------------------------

std::shared_ptr<const row_list> chain::cached(segment_no no, log_id id) {
  return to_.cache.get({this, no, id});
}

std::shared_ptr<const row_list> chain::load(segment_no no, log_id id) {
  if (auto rows = cached(no, id)) return rows;
  auto it = segments_.find(no);
  if (it == segments_.end()) return nullptr;
  const auto& s = it->second;
  std::vector<index_run> runs;
  for (const auto& r : s.runs)
    if (r.log == id) runs.push_back(r);
  auto rows = read_rows(*s.file, runs, s.data_bytes);
  if (!rows) return rebuild_rows(no, id, nullptr);
  to_.cache.put({this, no, id}, rows);
  return rows;
}

/// As `load`, but the lock is free while the disk is read.
std::shared_ptr<const row_list> chain::fetch_rows(segment_no no, log_id id) {
  std::unique_lock lock{mutex_};
  if (auto rows = cached(no, id)) return rows;
  auto it = segments_.find(no);
  if (it == segments_.end() || it->second.stage != segment::phase::sealed) return nullptr;
  const auto file = it->second.file;
  const auto data_bytes = it->second.data_bytes;
  std::vector<index_run> runs;
  for (const auto& r : it->second.runs)
    if (r.log == id) runs.push_back(r);
  lock.unlock();
  auto rows = read_rows(*file, runs, data_bytes);
  if (!rows) {
    lock.lock();
    return rebuild_rows(no, id, &lock);
  }
  to_.cache.put({this, no, id}, rows);
  return rows;
}

std::shared_ptr<const row_list> chain::read_rows(const segment_file& file, const std::vector<index_run>& runs,
                                                 std::uint64_t data_bytes) const {
  auto rows = std::make_shared<row_list>();
  std::vector<std::byte> bytes;
  for (const auto& r : runs) {
    bytes.resize(std::size_t{r.rows} * index_row_bytes);
    if (!file.read_index(r.position, bytes) || !decode_rows(r, bytes, data_bytes, *rows)) return nullptr;
  }
  return rows;
}

/// The index is damaged: find out from the blocks what it said, write it again. Rows that cannot be found are gaps.
std::shared_ptr<const row_list> chain::rebuild_rows(segment_no no, log_id id, std::unique_lock<std::mutex>* lock) {
  auto it = segments_.find(no);
  if (it == segments_.end()) return nullptr;
  const auto file = it->second.file;
  const catalogue::segment_row row{name_of(no), it->second.id, it->second.next, true};
  const auto cuts = it->second.cuts;
  const auto logs = journal_.logs();
  if (lock) lock->unlock();

  journal alone{*this};
  for (auto l : logs) alone.add_log(l);
  alone.begin_segment(no);
  auto scan = scan_segment(*file, row.id);
  std::optional<index_summary> summary;
  index_rows rows;
  if (scan) {
    const auto report = replay(alone, *scan, no, ended_before{row.next, cuts});
    for (const auto& d : report.damages) {
      ++to_.counters.damaged_blocks;
      tell(notice::level::error, "block_damaged", "file=" + file->path() + " " + d.what);
    }
    rows = alone.resident(no);
    index_summary fresh{row.id, no, row.next, 0, {}, {}};
    // If what it said of the logs cannot be read any more, the checkpoint and the entries say it.
    if (auto before = read_summary(*file, row))
      fresh.standings = std::move(before->standings);
    else
      for (auto l : logs)
        if (alone.touched(l)) fresh.standings.emplace_back(l, alone.stands(l));
    const auto bytes = encode_index(std::move(fresh), rows);
    tell(notice::level::warn, "index_rebuilt", "segment=" + file->path());
    if (file->write_index(bytes)) summary = decode_index(bytes, no, bytes.size());
  }

  if (lock) lock->lock();
  it = segments_.find(no);
  if (it == segments_.end()) return nullptr;
  if (summary) {
    it->second.runs = std::move(summary->runs);
    it->second.data_bytes = summary->data_bytes;
  }
  std::shared_ptr<const row_list> mine;
  for (auto& [l, list] : rows) {
    to_.cache.put({this, no, l}, list);
    if (l == id) mine = list;
  }
  if (!mine && scan) {
    mine = std::make_shared<row_list>();
    to_.cache.put({this, no, id}, mine);
  }
  return mine;
}

// -- batches --------------------------------------------------------------------------------------------

error chain::gap_error(log_id id, log_offset from, log_offset to) const {
  return {errc::storage_damaged, "log " + std::to_string(id.value()) + " is damaged: offsets " +
                                     std::to_string(from.value()) + " to " + std::to_string(to.value()) +
                                     " cannot be read"};
}

std::optional<result<read_result>> chain::read_hot(log_id id, log_offset from, const read_limits& limits) {
  struct stretch {
    std::shared_ptr<segment_file> file;
    slice what;
    log_offset next;
  };
  std::vector<stretch> stretches;
  {
    std::scoped_lock lock{mutex_};
    if (!journal_.knows(id)) return result<read_result>{unknown(id)};
    const auto found = journal_.collect(id, from, limits);
    using kind = journal::found::kind;
    if (found.what == kind::at_end) return result<read_result>{read_result{{}, 0, from}};
    if (found.what == kind::below_start)
      return result<read_result>{
          error{errc::offset_out_of_range, "offset " + std::to_string(from.value()) + " is below the start " +
                                               std::to_string(journal_.start(id).value()) + " of the log"}};
    if (found.what == kind::gap) {
      journal_.suspect(id, from);
      return result<read_result>{gap_error(id, from, found.gap_end)};
    }
    if (found.what == kind::not_loaded) return {};
    segment_no no = 0;
    const segment* s = nullptr;
    for (const auto& [where, r] : found.pieces) {
      if (!s || where != no) {
        no = where;
        s = &segments_.at(no);
      }
      // How far back it was written; positions in a file rise with time, give or take a few tree pages.
      const auto written_at = s->written_before + r.position;
      if (!s->written_here || (written_ > written_at && written_ - written_at > settings_.hot_bytes)) break;
      if (!stretches.empty() && stretches.back().file == s->file &&
          stretches.back().what.position + stretches.back().what.size == r.position) {
        stretches.back().what.size += r.length;
      } else {
        stretches.push_back({s->file, {s->file->descriptor(), r.position, r.length, {}}, {}});
      }
      stretches.back().next = r.end();
    }
  }
  read_result out{{}, 0, from};
  for (auto& s : stretches) {
    // Memory may have been short: then the page is read again, from a disk that is not trusted.
    if (!s.what.file || !s.file->resident(s.what.position, s.what.size)) break;
    out.bytes += s.what.size;
    out.next = s.next;
    out.slices.push_back(std::move(s.what));
  }
  if (out.slices.empty()) return {};
  ++to_.counters.hot_reads;
  return result<read_result>{std::move(out)};
}

result<read_result> chain::read_cold(log_id id, log_offset from, const read_limits& limits) {
  using kind = journal::found::kind;
  journal::found found;
  std::map<segment_no, std::shared_ptr<segment_file>> files;
  // Rows that were loaded may be pushed out of the cache before they are used; under such pressure try again.
  for (int tries = 0;; ++tries) {
    std::shared_ptr<const row_list> held;
    {
      std::scoped_lock lock{mutex_};
      if (!journal_.knows(id)) return unknown(id);
      found = journal_.collect(id, from, limits);
      if (found.what == kind::below_start)
        return {errc::offset_out_of_range, "offset " + std::to_string(from.value()) + " is below the start " +
                                               std::to_string(journal_.start(id).value()) + " of the log"};
      for (const auto& p : found.pieces) files.try_emplace(p.segment, segments_.at(p.segment).file);
    }
    if (found.what != kind::not_loaded) break;
    held = fetch_rows(found.missing, id);
    if (!held && tries >= 3)
      return {errc::storage_damaged, "the index of segment " + to_string(name_of(found.missing)) + " is unreadable"};
    if (tries >= 100) return {errc::busy, "too many readers of old data"};
  }
  if (found.what == kind::gap) {
    // The index of a sealed segment is rebuilt when it is needed: only then what it lacks is known.
    std::scoped_lock lock{mutex_};
    journal_.suspect(id, from);
    return gap_error(id, from, found.gap_end);
  }
  read_result out{{}, 0, from};
  ++to_.counters.cold_reads;
  for (std::size_t i = 0; i < found.pieces.size();) {
    // Neighbours in the file are read at once.
    std::size_t end = i + 1, size = found.pieces[i].what.length;
    while (end < found.pieces.size() && found.pieces[end].segment == found.pieces[i].segment &&
           found.pieces[end].what.position == found.pieces[i].what.position + size)
      size += found.pieces[end++].what.length;
    const auto& file = *files.at(found.pieces[i].segment);
    std::vector<std::byte> bytes(size);
    std::optional<error> bad;
    if (auto read = file.read(found.pieces[i].what.position, bytes); !read) {
      if (read.code() != errc::storage_damaged) return read.error();
      bad = read.error();  // the file is shorter than it was
      end = i;
      size = 0;
    }
    std::size_t good = 0;
    for (; i < end && !bad; ++i) {
      const auto& r = found.pieces[i].what;
      if (intact(byte_view{bytes}.subspan(good, r.length), r.checked_from, r.head_crc, r.crc)) {
        good += r.length;
        out.next = r.end();
        continue;
      }
      bad = error{errc::storage_damaged, "the batch at position " + std::to_string(r.position) + " of " + file.path() +
                                             " fails its checksum: log " + std::to_string(id.value()) + ", offsets " +
                                             std::to_string(r.base.value()) + " to " + std::to_string(r.end().value())};
    }
    if (good > 0) {
      bytes.resize(good);
      out.bytes += good;
      out.slices.push_back({nullptr, 0, good, shared_bytes::own(std::move(bytes))});
    }
    if (bad) {
      if (!out.slices.empty()) break;  // what comes before it is whole; the next read names the damage
      ++to_.counters.damaged_blocks;
      tell(notice::level::error, "batch_damaged", "log=" + std::to_string(id.value()) + " error=\"" + bad->text + "\"");
      std::scoped_lock lock{mutex_};
      journal_.suspect(id, from);
      return *bad;
    }
  }
  to_.counters.cold_read_bytes += out.bytes;
  return out;
}

result<std::optional<time_hit>> chain::find_time(log_id id, std::int64_t timestamp, log_offset from, log_offset end) {
  std::scoped_lock lock{mutex_};
  if (!journal_.knows(id)) return unknown(id);
  return journal_.find_time(id, timestamp, from, end);
}

result<std::optional<time_hit>> chain::latest_time(log_id id, log_offset end) {
  std::scoped_lock lock{mutex_};
  if (!journal_.knows(id)) return unknown(id);
  return journal_.latest_time(id, end);
}

result<log_state> chain::state(log_id id) const {
  std::scoped_lock lock{mutex_};
  if (!journal_.knows(id)) return unknown(id);
  return journal_.state(id);
}

std::vector<extent> chain::extents(log_id id) const {
  std::scoped_lock lock{mutex_};
  return journal_.knows(id) ? journal_.extents(id) : std::vector<extent>{};
}

std::size_t chain::unsettled() const {
  std::scoped_lock lock{mutex_};
  return unsettled_.size();
}

std::uint64_t chain::segments() const {
  std::scoped_lock lock{mutex_};
  return segments_.size();
}

std::uint64_t chain::disk_bytes() const {
  std::scoped_lock lock{mutex_};
  std::uint64_t sum = 0;
  for (const auto& [no, s] : segments_) sum += s.bytes;
  return sum;
}

}  // namespace troupe::store
