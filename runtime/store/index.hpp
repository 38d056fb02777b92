#pragma once

#include "runtime/store/journal.hpp"

/// The bytes of a sealed segment's index (docs/formats.md 1.4). Pure; decoding takes damaged bytes.
namespace troupe::store {

inline constexpr std::size_t index_header_bytes = 64;
inline constexpr std::size_t index_run_bytes = 56;
inline constexpr std::size_t index_row_bytes = 48;

/// A run and where its rows lie in the index file.
struct index_run {
  log_id log;
  run what;
  std::uint64_t position{0};
  std::uint32_t rows{0}, crc{0};
};

struct index_summary {
  std::uint64_t segment_id{0}, first{0}, next{0}, data_bytes{0};
  std::vector<index_run> runs;  ///< by (log, base)
  std::vector<std::pair<log_id, standing>> standings;
};

/// All rows of one log in the segment, by base.
using index_rows = std::vector<std::pair<log_id, std::shared_ptr<const row_list>>>;
/// The whole file; `runs` of the summary are made from the rows.
std::vector<std::byte> encode_index(index_summary, const index_rows&);

/// Bytes from the start of the file that `decode_index` needs, from its first `index_header_bytes`.
std::optional<std::uint64_t> index_summary_bytes(byte_view head, std::uint64_t file_bytes);
std::optional<index_summary> decode_index(byte_view bytes, segment_no, std::uint64_t file_bytes);
/// The rows of one run; `bytes` are rows * index_row_bytes long.
bool decode_rows(const index_run&, byte_view bytes, std::uint64_t data_bytes, row_list& into);

}  // namespace troupe::store
