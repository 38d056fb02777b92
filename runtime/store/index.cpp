#include "runtime/store/index.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"
#include "runtime/base/crc32c.hpp"

namespace troupe::store {
namespace {

constexpr std::uint64_t index_magic = 0x32'49'45'50'55'4f'52'54;  // "TROUPEI2"

void put_row(std::byte* at, const row& r) {
  store_le(at, r.base.value());
  store_le(at + 8, r.position);
  store_le(at + 16, r.timestamp_max);
  store_le(at + 24, r.offsets);
  store_le(at + 28, r.length);
  store_le(at + 32, r.epoch.value());
  store_le(at + 36, r.crc);
  store_le(at + 40, r.head_crc);
  store_le(at + 44, r.checked_from);
  store_le(at + 46, static_cast<std::uint16_t>(r.doubtful));
}

row get_row(const std::byte* at) {
  row r;
  r.base = log_offset{load_le<std::int64_t>(at)};
  r.position = load_le<std::uint64_t>(at + 8);
  r.timestamp_max = load_le<std::int64_t>(at + 16);
  r.offsets = load_le<std::int32_t>(at + 24);
  r.length = load_le<std::uint32_t>(at + 28);
  r.epoch = leader_epoch{load_le<std::int32_t>(at + 32)};
  r.crc = load_le<std::uint32_t>(at + 36);
  r.head_crc = load_le<std::uint32_t>(at + 40);
  r.checked_from = load_le<std::uint16_t>(at + 44);
  r.doubtful = load_le<std::uint16_t>(at + 46) != 0;
  return r;
}

template <class T>
void append_le(std::vector<std::byte>& out, T value) {
  out.resize(out.size() + sizeof value);
  store_le(out.data() + out.size() - sizeof value, value);
}

}  // namespace

std::vector<std::byte> encode_index(index_summary summary, const index_rows& logs) {
  summary.runs.clear();
  std::size_t row_count = 0;
  for (const auto& [id, rows] : logs) {
    for (std::size_t i = 0; i < rows->size(); ++i, ++row_count) {
      const auto& r = (*rows)[i];
      if (i == 0 || summary.runs.back().what.end != r.base || summary.runs.back().what.doubtful != r.doubtful)
        summary.runs.push_back({id, {r.base, r.base, summary.first, 0, -1, r.doubtful}, 0, 0, 0});
      auto& last = summary.runs.back();
      last.what.end = r.end();
      last.what.bytes += r.length;
      last.what.timestamp_max = std::max(last.what.timestamp_max, r.timestamp_max);
      ++last.rows;
      summary.data_bytes = std::max(summary.data_bytes, r.position + r.length);
    }
  }
  std::vector<std::byte> standings;
  for (const auto& [id, s] : summary.standings) {
    const auto bytes = encode(s);
    append_le(standings, id.value());
    append_le(standings, static_cast<std::uint32_t>(bytes.size()));
    standings.insert(standings.end(), bytes.begin(), bytes.end());
  }
  const std::size_t section = summary.runs.size() * index_run_bytes + standings.size();
  std::vector<std::byte> out(index_header_bytes + section + row_count * index_row_bytes);

  std::byte* at = out.data() + index_header_bytes + section;
  for (const auto& [id, rows] : logs)
    for (const auto& r : *rows) {
      put_row(at, r);
      at += index_row_bytes;
    }
  std::uint64_t position = index_header_bytes + section;
  at = out.data() + index_header_bytes;
  for (auto& r : summary.runs) {
    const auto size = std::size_t{r.rows} * index_row_bytes;
    store_le(at, r.log.value());
    store_le(at + 4, r.rows);
    store_le(at + 8, r.what.base.value());
    store_le(at + 16, r.what.end.value());
    store_le(at + 24, r.what.bytes);
    store_le(at + 32, r.what.timestamp_max);
    store_le(at + 40, position);
    store_le(at + 48, crc32c(byte_view{out}.subspan(position, size)));
    store_le(at + 52, static_cast<std::uint32_t>(r.what.doubtful));
    at += index_run_bytes;
    position += size;
  }
  std::copy(standings.begin(), standings.end(), at);

  at = out.data();
  store_le(at, index_magic);
  store_le(at + 8, summary.segment_id);
  store_le(at + 16, summary.first);
  store_le(at + 24, summary.next);
  store_le(at + 32, summary.data_bytes);
  store_le(at + 40, static_cast<std::uint32_t>(summary.runs.size()));
  store_le(at + 44, static_cast<std::uint32_t>(summary.standings.size()));
  store_le(at + 48, std::uint64_t{section});
  store_le(at + 56, std::uint32_t{0});
  store_le(at + 60, crc32c(byte_view{out}.subspan(index_header_bytes, section), crc32c(byte_view{out}.first(60))));
  return out;
}

std::optional<std::uint64_t> index_summary_bytes(byte_view head, std::uint64_t file_bytes) {
  if (head.size() < index_header_bytes || load_le<std::uint64_t>(head.data()) != index_magic) return {};
  const auto section = load_le<std::uint64_t>(head.data() + 48);
  if (file_bytes < index_header_bytes || section > file_bytes - index_header_bytes) return {};
  return index_header_bytes + section;
}

std::optional<index_summary> decode_index(byte_view bytes, segment_no first, std::uint64_t file_bytes) {
  const auto size = index_summary_bytes(bytes, file_bytes);
  if (!size || bytes.size() < *size) return {};
  bytes = bytes.first(*size);
  const std::byte* at = bytes.data();
  if (crc32c(bytes.subspan(index_header_bytes), crc32c(bytes.first(60))) != load_le<std::uint32_t>(at + 60)) return {};
  index_summary s;
  s.segment_id = load_le<std::uint64_t>(at + 8);
  s.first = load_le<std::uint64_t>(at + 16);
  s.next = load_le<std::uint64_t>(at + 24);
  s.data_bytes = load_le<std::uint64_t>(at + 32);
  const auto runs = load_le<std::uint32_t>(at + 40), standings = load_le<std::uint32_t>(at + 44);
  if (s.first != first || std::uint64_t{runs} * index_run_bytes > *size - index_header_bytes) return {};
  at += index_header_bytes;
  for (std::uint32_t i = 0; i < runs; ++i, at += index_run_bytes) {
    index_run r;
    r.log = log_id{load_le<std::uint32_t>(at)};
    r.rows = load_le<std::uint32_t>(at + 4);
    r.what = {log_offset{load_le<std::int64_t>(at + 8)},
              log_offset{load_le<std::int64_t>(at + 16)},
              first,
              load_le<std::uint64_t>(at + 24),
              load_le<std::int64_t>(at + 32),
              load_le<std::uint32_t>(at + 52) != 0};
    r.position = load_le<std::uint64_t>(at + 40);
    r.crc = load_le<std::uint32_t>(at + 48);
    const auto rows_bytes = std::uint64_t{r.rows} * index_row_bytes;
    const bool follows = s.runs.empty() || s.runs.back().log < r.log ||
                         (s.runs.back().log == r.log && s.runs.back().what.end <= r.what.base);
    if (!follows || r.what.base.value() < 0 || r.what.end <= r.what.base || r.position < *size ||
        r.position > file_bytes || rows_bytes > file_bytes - r.position)
      return {};
    s.runs.push_back(r);
  }
  auto rest = bytes.subspan(static_cast<std::size_t>(at - bytes.data()));
  for (std::uint32_t i = 0; i < standings; ++i) {
    if (rest.size() < 8) return {};
    const log_id id{load_le<std::uint32_t>(rest.data())};
    const auto length = load_le<std::uint32_t>(rest.data() + 4);
    rest = rest.subspan(8);
    if (rest.size() < length) return {};
    auto stands = decode_standing(rest.first(length));
    if (!stands) return {};
    s.standings.emplace_back(id, std::move(*stands));
    rest = rest.subspan(length);
  }
  if (!rest.empty()) return {};
  return s;
}

bool decode_rows(const index_run& r, byte_view bytes, std::uint64_t data_bytes, row_list& into) {
  if (bytes.size() != std::size_t{r.rows} * index_row_bytes || crc32c(bytes) != r.crc) return false;
  auto expected = r.what.base;
  for (std::uint32_t i = 0; i < r.rows; ++i) {
    into.push_back(get_row(bytes.data() + std::size_t{i} * index_row_bytes));
    const auto& row = into.back();
    if (row.base != expected || row.offsets <= 0 || row.checked_from > row.length || row.position > data_bytes ||
        row.length > data_bytes - row.position)
      return false;
    expected = row.end();
  }
  return expected == r.what.end;
}

}  // namespace troupe::store
