#include "runtime/store/recovery.hpp"

#include <algorithm>

namespace troupe::store {
namespace {

bool has_state(const entry& e) {
  return e.kind == entry_kind::mark || e.kind == entry_kind::checkpoint;
}

row row_of(const entry& e, std::uint64_t position, std::uint32_t block) {
  row r;
  r.base = e.base;
  r.position = position + e.position;
  r.timestamp_max = e.extra;
  r.offsets = e.offsets;
  r.length = e.length;
  r.epoch = e.epoch;
  r.crc = e.crc;
  r.head_crc = e.head_crc;
  r.block = block;
  r.checked_from = e.checked_from;
  return r;
}

/// Applies one entry that cancels.
void cancel(journal& j, entry_kind kind, const entry& e) {
  if (kind == entry_kind::truncate) j.cut(e.log, e.base);
  if (kind == entry_kind::trim) j.trim(e.log, e.base);
  if (kind == entry_kind::restart) j.restart(e.log, e.base);
}

/// A block at `position`, if there is one; `bytes` is a buffer that is used again and again.
result<std::optional<scanned_block>> read_block(const segment_file& file, std::uint64_t id, std::uint64_t position,
                                                std::uint64_t file_bytes, std::vector<std::byte>& bytes, bool& broken) {
  std::byte head[block_header_bytes];
  if (auto read = file.read(position, head); !read) return read.error();
  const auto header = peek_block(head, id, file_bytes - position);
  if (!header) return std::optional<scanned_block>{};
  // The size is not to be trusted before the CRC holds, but it lies within the file, which bounds it.
  if (bytes.size() < header->directory_end()) bytes.resize(header->directory_end());
  if (auto read = file.read(position, byte_span{bytes}.first(header->directory_end())); !read) return read.error();
  auto entries = read_directory(*header, bytes);
  if (!entries) {
    broken = true;
    return std::optional<scanned_block>{};
  }
  if (bytes.size() < header->size) bytes.resize(header->size);
  if (auto read = file.read(position, byte_span{bytes}.first(header->size)); !read) return read.error();
  scanned_block b{*header, position, std::move(*entries), {}, {}, true};
  b.states.resize(b.entries.size());
  b.bad.resize(b.entries.size());
  for (std::size_t i = 0; i < b.entries.size(); ++i) {
    const auto& e = b.entries[i];
    const auto payload = byte_view{bytes}.subspan(e.position, e.length);
    b.bad[i] = !intact(payload, e.checked_from, e.head_crc, e.crc);
    if (b.bad[i]) b.whole = false;
    if (has_state(e) && !b.bad[i]) b.states[i] = shared_bytes::copy_of(payload);
  }
  return std::optional{std::move(b)};
}

}  // namespace

result<scan_result> scan_segment(const segment_file& file, std::uint64_t segment_id) {
  scan_result out;
  const auto file_bytes = file.size();
  constexpr std::size_t chunk_pages = 1024;
  std::uint64_t page = 0;
  const auto pages = file_bytes / page_bytes;
  std::vector<std::byte> chunk(std::min<std::uint64_t>(chunk_pages, pages) * page_bytes), bytes;
  while (page < pages) {
    const auto count = std::min<std::uint64_t>(chunk_pages, pages - page);
    const auto start = page * page_bytes;
    if (auto read = file.read(start, byte_span{chunk}.first(count * page_bytes)); !read) return read.error();
    std::uint64_t i = 0;
    while (i < count) {
      const auto position = start + i * page_bytes + page_head_bytes;
      const auto at = byte_view{chunk}.subspan(i * page_bytes + page_head_bytes, block_header_bytes);
      if (!peek_block(at, segment_id, file_bytes - position)) {
        ++i;
        continue;
      }
      bool broken = false;
      auto block = read_block(file, segment_id, position, file_bytes, bytes, broken);
      if (!block) return block.error();
      if (broken) out.broken_heads.push_back(position);
      if (!*block) {
        ++i;
        continue;
      }
      i += (stored_bytes((*block)->header.size) + page_head_bytes) / page_bytes;
      out.blocks.push_back(std::move(**block));
    }
    page += i;
  }
  std::stable_sort(out.blocks.begin(), out.blocks.end(),
                   [](const auto& a, const auto& b) { return a.header.sequence < b.header.sequence; });
  // A sequence can be there twice only if a commit failed half-way, its trace could not be removed, and the sequence
  // was used again. The one that its successor names is the real one.
  auto& all = out.blocks;
  for (std::size_t i = 0; i + 1 < all.size();) {
    if (all[i].header.sequence != all[i + 1].header.sequence) {
      ++i;
      continue;
    }
    auto next = std::find_if(all.begin() + static_cast<std::ptrdiff_t>(i), all.end(),
                             [&](const auto& b) { return b.header.sequence == all[i].header.sequence + 1; });
    const bool keep_first = next != all.end() && next->header.previous_crc == all[i].header.crc;
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(keep_first ? i + 1 : i));
  }
  return out;
}

void apply_block(journal& j, const block_header& header, segment_no first, std::uint64_t position,
                 const std::vector<entry>& entries, const std::vector<shared_bytes>& states,
                 const std::vector<bool>* skip) {
  const auto block = static_cast<std::uint32_t>(header.sequence - first);
  std::vector<row> copies;  // consecutive ones go in together
  log_id copied{};
  auto flush = [&] {
    j.move(copied, copies);
    copies.clear();
  };
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& e = entries[i];
    const bool bad = skip && (*skip)[i];
    if (!copies.empty() && (e.kind != entry_kind::moved || e.log != copied || e.base != copies.back().end() || bad))
      flush();
    switch (e.kind) {
      case entry_kind::batch:
        if (bad)
          j.lose(e.log, e.base, e.base + e.offsets, e.epoch);
        else
          j.append(e.log, row_of(e, position, block));
        break;
      case entry_kind::moved:  // a bad copy changes nothing: if its source is gone, that shows as a gap
        if (bad) break;
        copied = e.log;
        copies.push_back(row_of(e, position, block));
        break;
      case entry_kind::truncate:
      case entry_kind::trim:
      case entry_kind::restart:
        cancel(j, e.kind, e);
        break;
      case entry_kind::again:  // counts only where that block is lost
        break;
      case entry_kind::mark:
        if (!bad) j.set_mark(e.log, {e.base, states[i]});
        break;
      case entry_kind::checkpoint:
        if (auto s = bad ? std::nullopt : decode_standing(states[i])) {
          j.set_standing(e.log, std::move(*s));
        } else if (j.knows(e.log)) {
          // Start and end stand in the directory; what else is lost with it, the batches that follow may tell.
          auto before = j.stands(e.log);
          before.start = e.base;
          before.end = log_offset{e.extra};
          j.set_standing(e.log, std::move(before));
          j.suspect(e.log, log_offset{e.extra});
        }
        break;
    }
  }
  if (!copies.empty()) flush();
}

namespace {

struct repeated_cuts {
  std::uint32_t all{0}, taken{0};
};
/// Replays what `witness` repeats of the blocks in [first, synced), and counts the cuts up to itself.
repeated_cuts repeat_lost(journal& j, const scanned_block& witness, std::uint64_t first, std::uint64_t synced) {
  repeated_cuts cuts;
  for (const auto& e : witness.entries) {
    const auto sequence = static_cast<std::uint64_t>(e.extra);
    if (e.kind != entry_kind::again || sequence < first) continue;
    cuts.all += is_cut(e.repeats);
    if (sequence >= synced) continue;  // forgotten with its block
    cuts.taken += is_cut(e.repeats);
    cancel(j, e.repeats, e);
  }
  return cuts;
}

}  // namespace

replay_report replay(journal& j, const scan_result& scan, segment_no first, const std::optional<ended_before>& whole) {
  replay_report report;
  auto synced = whole ? whole->next : first;
  for (const auto& b : scan.blocks) synced = std::max(synced, b.header.durable_below);
  report.next = first;
  auto lost = [&](std::uint64_t to, const scanned_block* witness) {
    std::string what = "blocks=" + std::to_string(report.next) + ".." + std::to_string(to - 1) + " state=lost";
    for (auto position : scan.broken_heads) what += " broken_header_at=" + std::to_string(position);
    j.suspect_all();
    bool cuts_known = whole && report.cuts == whole->cuts;
    if (witness) {
      const auto repeated = repeat_lost(j, *witness, report.next, synced);
      cuts_known = report.cuts + repeated.all == witness->header.cuts;
      report.cuts += repeated.taken;
    }
    if (!cuts_known) {
      j.doubt_all(first);
      what += " cuts=lost";
    }
    j.suspect_all();  // a truncation clears what it goes beyond, but it may not have been the last word
    report.damages.push_back({what + " logs=all_of_this_chain"});
    report.next = to;
  };
  for (std::size_t i = 0; i < scan.blocks.size(); ++i) {
    const auto& b = scan.blocks[i];
    const auto sequence = b.header.sequence;
    if (sequence < report.next) continue;  // not ours to take twice
    if (sequence > report.next && report.next < synced) lost(std::min(sequence, synced), &b);
    if (sequence > report.next || (!b.whole && sequence >= synced)) {
      report.torn_blocks = scan.blocks.size() - i;
      break;
    }
    for (std::size_t k = 0; k < b.entries.size(); ++k) {
      if (!b.bad[k]) continue;
      const auto& e = b.entries[k];
      report.damages.push_back({"position=" + std::to_string(b.position + e.position) +
                                " block=" + std::to_string(sequence) + " log=" + std::to_string(e.log.value()) +
                                " base=" + std::to_string(e.base.value()) +
                                " end=" + std::to_string(e.base.value() + e.offsets)});
    }
    apply_block(j, b.header, first, b.position, b.entries, b.states, b.whole ? nullptr : &b.bad);
    report.next = sequence + 1;
    report.cuts =
        b.header.cuts + static_cast<std::uint32_t>(std::count_if(b.entries.begin(), b.entries.end(),
                                                                 [](const entry& e) { return is_cut(e.kind); }));
  }
  if (report.next < synced) lost(synced, nullptr);
  if (whole) report.cuts = whole->cuts;
  return report;
}

}  // namespace troupe::store
