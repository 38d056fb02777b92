#include <algorithm>
#include <cstring>

#include "runtime/base/crc32c.hpp"
#include "runtime/store/index.hpp"
#include "runtime/store/recovery.hpp"

/// The on-disk formats of the log store against arbitrary bytes: the scan of a segment with replay of what it finds,
/// and the index of a sealed segment. The first byte chooses which, and whether checksums are corrected before.
namespace {

using namespace troupe;
using namespace troupe::store;

constexpr std::uint64_t segment_id = 0x2a;

/// A segment that consists of the input.
class bytes_segment final : public segment_file {
public:
  explicit bytes_segment(byte_view bytes) : bytes_{bytes} {}
  const std::string& path() const override { return path_; }
  result<std::uint64_t> append(std::uint64_t, std::size_t, const std::function<void(byte_span)>&) override {
    return {errc::storage_failed, "read only"};
  }
  result<void> sync() override { return {}; }
  void finish() override {}
  result<void> read(std::uint64_t position, byte_span into) const override {
    TROUPE_CHECK(position <= bytes_.size() && into.size() <= bytes_.size() - position);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(position), into.size(), into.begin());
    return {};
  }
  std::uint64_t size() const override { return bytes_.size(); }
  std::shared_ptr<const int> descriptor() const override { return nullptr; }
  bool resident(std::uint64_t, std::uint64_t) const override { return false; }
  result<void> write_index(byte_view) override { return {}; }
  result<void> read_index(std::uint64_t, byte_span) const override { return {errc::storage_failed, "none"}; }
  std::uint64_t index_size() const override { return 0; }

private:
  std::string path_{"input"};
  byte_view bytes_;
};

struct no_rows final : row_source {
  std::shared_ptr<const row_list> cached(segment_no, log_id) override { return nullptr; }
  std::shared_ptr<const row_list> load(segment_no, log_id) override { return nullptr; }
};

void look_at_everything(journal& j) {
  j.find_gaps();
  for (auto id : j.logs()) {
    const auto s = j.state(id);
    TROUPE_CHECK(s.start <= s.end);
    (void)j.extents(id);
    (void)j.latest_time(id, s.end);
    auto at = s.start;
    for (int i = 0; i < 100 && at < s.end; ++i) {
      const auto found = j.collect(id, at, {s.end, 1 << 16, true});
      const auto next = found.pieces.empty() ? found.gap_end : found.pieces.back().what.end();
      if (found.what == journal::found::kind::not_loaded || next <= at) break;
      at = next;
    }
  }
}

void scan(byte_view bytes) {
  const bytes_segment file{bytes};
  const auto found = scan_segment(file, segment_id);
  TROUPE_CHECK(found.ok());
  no_rows none;
  journal j{none};
  for (std::uint32_t id = 0; id < 16; ++id) j.add_log(log_id{id});
  j.begin_segment(1);
  (void)replay(j, *found, 1, ended_before{4, 2});
  look_at_everything(j);
  // What was understood is written as an index that is understood.
  index_summary summary{segment_id, 1, 2, 0, {}, {}};
  const auto rows = j.resident(1);
  for (auto id : j.logs()) summary.standings.emplace_back(id, j.stands(id));
  const auto index = encode_index(std::move(summary), rows);
  TROUPE_CHECK(decode_index(index, 1, index.size()).has_value());
}

void read_index(byte_view bytes) {
  const auto summary = decode_index(bytes, 1, bytes.size());
  if (!summary) return;
  no_rows none;
  journal j{none};
  std::vector<std::pair<log_id, run>> runs;
  for (const auto& r : summary->runs) {
    j.add_log(r.log);
    runs.emplace_back(r.log, r.what);
    row_list rows;
    (void)decode_rows(r, bytes.subspan(r.position, std::size_t{r.rows} * index_row_bytes), summary->data_bytes, rows);
  }
  j.add_sealed(1, runs, false);
  for (const auto& [id, stands] : summary->standings) j.set_standing(id, stands);
  look_at_everything(j);
}

/// Random bytes never get past a checksum, so half of the inputs get the right ones where some are expected.
void correct_checksums(std::vector<std::byte>& bytes) {
  for (std::size_t at = page_head_bytes; at + block_header_bytes <= bytes.size(); at += page_bytes) {
    const auto rest = byte_span{bytes}.subspan(at);
    if (const auto header = peek_block(rest, segment_id, rest.size()))
      store_le(rest.data() + 60, crc32c(rest.subspan(block_header_bytes, header->directory_end() - block_header_bytes),
                                        crc32c(rest.first(60))));
  }
  if (const auto summary = index_summary_bytes(bytes, bytes.size()))
    store_le(bytes.data() + 60, crc32c(byte_view{bytes}.subspan(index_header_bytes, *summary - index_header_bytes),
                                       crc32c(byte_view{bytes}.first(60))));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<std::byte> bytes(size - 1);
  if (size > 1) std::memcpy(bytes.data(), data + 1, size - 1);
  if (data[0] % 2) correct_checksums(bytes);
  if (data[0] % 4 < 2)
    scan(bytes);
  else
    read_index(bytes);
  return 0;
}
