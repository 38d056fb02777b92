#include "actors/partition/restore.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "actors/partition/record_batch.hpp"

namespace troupe {

namespace {

constexpr std::uint64_t read_bytes = 8 << 20;

/// Batch headers of a slice, one after the other, without reading what lies between them.
class header_scan {
public:
  explicit header_scan(const store::slice& from) : from_{from} {}

  bool done() const noexcept { return at_ == from_.size; }
  /// Error storage_damaged: the lengths do not add up.
  result<batch_header> next() {
    byte_view header;
    if (from_.size - at_ < batch_header::header_bytes) return lengths_wrong();
    if (from_.file) {
      const auto got = ::pread(*from_.file, buffer_.data(), buffer_.size(), static_cast<off_t>(from_.position + at_));
      if (got != static_cast<ssize_t>(buffer_.size()))
        return {errc::storage_failed, "reading a batch header: errno " + std::to_string(errno)};
      header = buffer_;
    } else {
      header = from_.bytes.view().subspan(at_, batch_header::header_bytes);
    }
    const batch_header it{header};
    if (it.length() < 0 || it.size() < batch_header::header_bytes || it.size() > from_.size - at_ || it.offsets() < 1)
      return lengths_wrong();
    at_ += it.size();
    return it;
  }

private:
  static error lengths_wrong() { return {errc::storage_damaged, "batch lengths in the log do not add up"}; }

  const store::slice& from_;
  std::size_t at_{0};
  std::array<std::byte, batch_header::header_bytes> buffer_;
};

/// A read that returns at once, as it does within `run_blocking`.
result<store::read_result> read_now(store::log_store& store, log_id log, log_offset from,
                                    const store::read_limits& limits) {
  auto got = store.read(log, from, limits, [](const auto&) {});
  if (!got) return {errc::internal, "a read did not wait for the disk"};
  return std::move(*got);
}

/// Adds the producers of batches from `next` on, and moves it behind them. What lies above `committed` may be rolled
/// back.
result<void> add_producers(const store::read_result& batches, log_offset committed, wall_time now, log_offset& next,
                           producers& known) {
  for (const auto& slice : batches.slices) {
    header_scan headers{slice};
    while (!headers.done()) {
      const auto header = headers.next();
      if (!header) return header.error();
      if (header->end() <= next) continue;
      next = header->end();
      if (const auto range = sequence_range::of(*header))
        known.appended(*range, {header->base(), next, header->timestamp_max()}, committed, now);
    }
  }
  return {};
}

}  // namespace

result<partition_restored> restore_partition(store::log_store& store, log_id log, wall_time now) {
  auto state = store.state(log);
  if (!state) return state.error();
  partition_restored it;
  it.start = state->start;
  it.end = state->end;
  it.epochs = std::move(state->epochs);
  it.damaged_from = state->damaged_from;
  const auto readable = it.damaged_from ? std::clamp(*it.damaged_from, it.start, it.end) : it.end;
  auto next = it.start;
  if (state->last_mark && state->last_mark->at <= readable) {
    // A mark that cannot be read costs time and no more: what it says is in the log as well.
    if (auto known = partition_core::producers_of(*state->last_mark)) {
      it.producers = std::move(*known);
      it.marked = state->last_mark->at;
      next = std::max(next, state->last_mark->at);
    }
  }
  const auto committed = next;
  while (next < readable) {
    const auto from = next;
    const auto batches = read_now(store, log, from, {readable, read_bytes, true});
    const auto added =
        batches ? add_producers(*batches, committed, now, next, it.producers) : result<void>{batches.error()};
    if (!added && added.code() == errc::storage_damaged) {
      it.damaged_from = next;
      break;
    }
    if (!added) return added.error();
    if (next == from) break;  // what is left is a batch that reaches into the damage
  }
  return it;
}

list_offsets::outcome find_by_time(store::log_store& store, log_id log, time_search search) {
  const bool latest = search.timestamp == list_offsets::max_timestamp;
  auto& unpacker = decompressor::of_this_thread();
  list_offsets::outcome out;
  auto fail = [&](const error& why) {
    // Deleted while we looked: whoever asks again finds the next one.
    out.refused = why.code == errc::offset_out_of_range ? error{errc::offset_not_available, why.text} : why;
    return out;
  };
  while (search.from < search.end) {
    const auto hit =
        latest ? store.latest_time(log, search.end) : store.find_time(log, search.timestamp, search.from, search.end);
    if (!hit) return fail(hit.error());
    if (!*hit) return out;
    // The batch may begin below the log's start, where nothing may be read.
    const auto read = read_now(store, log, std::max((*hit)->base, search.from), {search.end, 1, true});
    if (!read) return fail(read.error());
    if (read->slices.empty()) return out;
    const auto bytes = read->slices.front().load();
    if (!bytes) return fail(bytes.error());
    const auto place = latest ? first_at_latest_time(*bytes, search.from, unpacker)
                              : first_at_time(*bytes, search.timestamp, search.from, unpacker);
    if (!place) return fail(place.error());
    if (*place) {
      out.timestamp = (*place)->timestamp;
      out.offset = (*place)->offset;
      out.epoch = batch_header{*bytes}.epoch();
      return out;
    }
    // The batch promised more than its records keep, or keeps it below `from`.
    search.from = std::max(search.from + 1, batch_header{*bytes}.end());
  }
  return out;
}

}  // namespace troupe
