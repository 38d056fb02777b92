#include "runtime/store/block.hpp"

#include <algorithm>
#include <numeric>

#include "runtime/base/check.hpp"
#include "runtime/base/crc32c.hpp"

namespace troupe::store {
namespace {

constexpr std::uint64_t block_magic = 0x32'42'45'50'55'4f'52'54;  // "TROUPEB2"

void put_entry(std::byte* at, const entry& e) {
  store_le(at, static_cast<std::uint8_t>(e.kind));
  store_le(at + 1, static_cast<std::uint8_t>(e.repeats));
  store_le(at + 2, e.checked_from);
  store_le(at + 4, e.log.value());
  store_le(at + 8, e.base.value());
  store_le(at + 16, e.extra);
  store_le(at + 24, e.position);
  store_le(at + 28, e.length);
  store_le(at + 32, e.offsets);
  store_le(at + 36, e.epoch.value());
  store_le(at + 40, e.crc);
  store_le(at + 44, e.head_crc);
}

entry get_entry(const std::byte* at) {
  entry e;
  e.kind = static_cast<entry_kind>(load_le<std::uint8_t>(at));
  e.repeats = static_cast<entry_kind>(load_le<std::uint8_t>(at + 1));
  e.checked_from = load_le<std::uint16_t>(at + 2);
  e.log = log_id{load_le<std::uint32_t>(at + 4)};
  e.base = log_offset{load_le<std::int64_t>(at + 8)};
  e.extra = load_le<std::int64_t>(at + 16);
  e.position = load_le<std::uint32_t>(at + 24);
  e.length = load_le<std::uint32_t>(at + 28);
  e.offsets = load_le<std::int32_t>(at + 32);
  e.epoch = leader_epoch{load_le<std::int32_t>(at + 36)};
  e.crc = load_le<std::uint32_t>(at + 40);
  e.head_crc = load_le<std::uint32_t>(at + 44);
  return e;
}

bool possible(const entry& e, const block_header& header) {
  if (e.kind < entry_kind::batch || e.kind > entry_kind::again) return false;
  if (e.base.value() < 0 || e.checked_from > e.length) return false;
  if (e.position < header.directory_end() || std::uint64_t{e.position} + e.length > header.size) return false;
  if (e.kind == entry_kind::batch || e.kind == entry_kind::moved)
    return e.offsets > 0 && e.base.value() <= INT64_MAX - e.offsets;
  if (e.kind == entry_kind::again)
    return (is_cut(e.repeats) || e.repeats == entry_kind::trim) && e.extra >= 0 &&
           static_cast<std::uint64_t>(e.extra) < header.sequence;
  return e.kind != entry_kind::checkpoint || e.extra >= e.base.value();
}

}  // namespace

void block_builder::add_batch(log_id log, const batch& b, entry_kind kind) {
  TROUPE_CHECK(b.offsets > 0 && b.checked_from <= b.bytes.size());
  entry e;
  e.kind = kind;
  e.log = log;
  e.base = b.base;
  e.extra = b.timestamp_max;
  e.length = static_cast<std::uint32_t>(b.bytes.size());
  e.offsets = b.offsets;
  e.epoch = b.epoch;
  e.checked_from = b.checked_from;
  e.crc = b.crc;
  e.head_crc = crc32c(b.bytes.view().first(b.checked_from));
  entries_.push_back(e);
  payload_bytes_ += b.bytes.size();
  payloads_.push_back(b.bytes);
}

void block_builder::add(entry_kind kind, log_id log, log_offset base, std::int64_t extra, shared_bytes payload) {
  entry e;
  e.kind = kind;
  e.log = log;
  e.base = base;
  e.extra = extra;
  e.length = static_cast<std::uint32_t>(payload.size());
  e.crc = crc32c(payload);
  entries_.push_back(e);
  payload_bytes_ += payload.size();
  payloads_.push_back(std::move(payload));
}

void block_builder::repeat(const entry& what, std::uint64_t sequence) {
  add(entry_kind::again, what.log, what.base, static_cast<std::int64_t>(sequence));
  entries_.back().repeats = what.kind;
}

void block_builder::arrange() {
  std::vector<std::size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0);
  const auto rank = [this](std::size_t i) {
    const auto& e = entries_[i];
    return e.kind == entry_kind::again ? std::pair{0, log_id{}} : std::pair{1, e.log};
  };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rank(a) < rank(b); });
  std::vector<entry> entries;
  std::vector<shared_bytes> payloads;
  entries.reserve(order.size());
  payloads.reserve(order.size());
  std::size_t position = block_header_bytes + order.size() * directory_entry_bytes;
  for (auto i : order) {
    entries_[i].position = static_cast<std::uint32_t>(position);
    position += entries_[i].length;
    entries.push_back(entries_[i]);
    payloads.push_back(std::move(payloads_[i]));
  }
  TROUPE_CHECK(position <= size_max);
  entries_ = std::move(entries);
  payloads_ = std::move(payloads);
}

std::uint32_t block_builder::write(block_header header, byte_span into) const {
  TROUPE_CHECK(into.size() == stored_bytes(size()));
  std::byte* const at = into.data();
  store_le(at, block_magic);
  store_le(at + 8, header.segment_id);
  store_le(at + 16, header.sequence);
  store_le(at + 24, header.durable_below);
  store_le(at + 32, std::uint64_t{size()});
  store_le(at + 40, static_cast<std::uint32_t>(entries_.size()));
  store_le(at + 44, header.previous_crc);
  store_le(at + 48, header.written_at_ms);
  store_le(at + 56, header.cuts);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    put_entry(at + block_header_bytes + i * directory_entry_bytes, entries_[i]);
    if (entries_[i].length) std::memcpy(at + entries_[i].position, payloads_[i].data(), entries_[i].length);
  }
  std::memset(at + size(), 0, into.size() - size());
  const byte_view written{into};
  const auto crc =
      crc32c(written.subspan(block_header_bytes, entries_.size() * directory_entry_bytes), crc32c(written.first(60)));
  store_le(at + 60, crc);
  return crc;
}

std::optional<block_header> peek_block(byte_view bytes, std::uint64_t segment_id, std::uint64_t available) {
  if (bytes.size() < block_header_bytes) return {};
  const std::byte* const at = bytes.data();
  if (load_le<std::uint64_t>(at) != block_magic || load_le<std::uint64_t>(at + 8) != segment_id) return {};
  block_header h;
  h.segment_id = segment_id;
  h.sequence = load_le<std::uint64_t>(at + 16);
  h.durable_below = load_le<std::uint64_t>(at + 24);
  h.size = load_le<std::uint64_t>(at + 32);
  h.entries = load_le<std::uint32_t>(at + 40);
  h.previous_crc = load_le<std::uint32_t>(at + 44);
  h.written_at_ms = load_le<std::int64_t>(at + 48);
  h.cuts = load_le<std::uint32_t>(at + 56);
  h.crc = load_le<std::uint32_t>(at + 60);
  if (h.size > available || h.size > block_builder::size_max || h.directory_end() > h.size) return {};
  return h;
}

std::optional<std::vector<entry>> read_directory(const block_header& header, byte_view bytes) {
  if (bytes.size() < header.directory_end()) return {};
  const auto directory = bytes.subspan(block_header_bytes, header.directory_end() - block_header_bytes);
  if (crc32c(directory, crc32c(bytes.first(60))) != header.crc) return {};
  std::vector<entry> entries;
  entries.reserve(header.entries);
  for (std::size_t i = 0; i < header.entries; ++i) {
    entries.push_back(get_entry(directory.data() + i * directory_entry_bytes));
    if (!possible(entries.back(), header)) return {};
  }
  return entries;
}

bool intact(byte_view payload, std::uint16_t checked_from, std::uint32_t head_crc, std::uint32_t crc) {
  return checked_from <= payload.size() && crc32c(payload.first(checked_from)) == head_crc &&
         crc32c(payload.subspan(checked_from)) == crc;
}

// -- standing -----------------------------------------------------------------------------------------

namespace {
constexpr std::size_t standing_head_bytes = 40, epoch_bytes = 12;
}

std::vector<std::byte> encode(const standing& s) {
  const auto state = s.last_mark ? s.last_mark->state.view() : byte_view{};
  std::vector<std::byte> out(standing_head_bytes + s.epochs.size() * epoch_bytes + state.size());
  std::byte* at = out.data();
  store_le(at, s.start.value());
  store_le(at + 8, s.end.value());
  store_le(at + 16, s.damaged_from ? s.damaged_from->value() : std::int64_t{-1});
  store_le(at + 24, s.last_mark ? s.last_mark->at.value() : std::int64_t{-1});
  store_le(at + 32, static_cast<std::uint32_t>(s.epochs.size()));
  store_le(at + 36, static_cast<std::uint32_t>(state.size()));
  at += standing_head_bytes;
  for (const auto& e : s.epochs) {
    store_le(at, e.epoch.value());
    store_le(at + 4, e.start.value());
    at += epoch_bytes;
  }
  if (!state.empty()) std::memcpy(at, state.data(), state.size());
  return out;
}

std::optional<standing> decode_standing(byte_view bytes) {
  if (bytes.size() < standing_head_bytes) return {};
  const std::byte* at = bytes.data();
  standing s;
  s.start = log_offset{load_le<std::int64_t>(at)};
  s.end = log_offset{load_le<std::int64_t>(at + 8)};
  if (s.start.value() < 0 || s.end < s.start) return {};
  const auto damaged = load_le<std::int64_t>(at + 16), marked = load_le<std::int64_t>(at + 24);
  if (damaged >= 0) s.damaged_from = log_offset{damaged};
  const auto epochs = load_le<std::uint32_t>(at + 32), state = load_le<std::uint32_t>(at + 36);
  if (bytes.size() != standing_head_bytes + std::uint64_t{epochs} * epoch_bytes + state) return {};
  at += standing_head_bytes;
  for (std::uint32_t i = 0; i < epochs; ++i, at += epoch_bytes)
    s.epochs.push_back({leader_epoch{load_le<std::int32_t>(at)}, log_offset{load_le<std::int64_t>(at + 4)}});
  if (marked >= 0) s.last_mark = mark{log_offset{marked}, shared_bytes::copy_of(bytes.last(state))};
  return s;
}

}  // namespace troupe::store
