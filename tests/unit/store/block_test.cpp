#include "runtime/store/block.hpp"

#include "runtime/store/index.hpp"
#include "tests/unit/store/log_support.hpp"

namespace troupe::store {
namespace {

std::vector<std::byte> built(block_builder& block, std::uint64_t id = 42) {
  block.arrange();
  std::vector<std::byte> bytes(stored_bytes(block.size()), std::byte{0xee});
  block_header header;
  header.segment_id = id;
  header.sequence = 9;
  header.durable_below = 8;
  header.cuts = 3;
  block.write(header, bytes);
  return bytes;
}

TEST(Block, FillsWholePagesLessThePageHead) {
  EXPECT_EQ(stored_bytes(1), 4080u);
  EXPECT_EQ(stored_bytes(4080), 4080u);
  EXPECT_EQ(stored_bytes(4081), 4096u + 4080u);
}

TEST(Block, IsReadBackAsWritten) {
  block_builder block;
  const auto a = make_batch(10, 3, 333), b = make_batch(13, 1, 100), c = make_batch(0, 2, 50);
  block.add_batch(log_id{7}, a);
  block.add_batch(log_id{3}, c);
  block.add(entry_kind::trim, log_id{7}, log_offset{11});
  block.add_batch(log_id{7}, b);
  const auto bytes = built(block);

  const auto header = peek_block(bytes, 42, bytes.size());
  ASSERT_TRUE(header);
  EXPECT_EQ(header->sequence, 9u);
  const auto entries = read_directory(*header, bytes);
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 4u);
  // One log's batches lie side by side, in order.
  EXPECT_EQ((*entries)[0].log, log_id{3});
  EXPECT_EQ((*entries)[1].base, log_offset{10});
  EXPECT_EQ((*entries)[2].kind, entry_kind::trim);
  EXPECT_EQ((*entries)[3].base, log_offset{13});
  EXPECT_EQ((*entries)[1].position + (*entries)[1].length, (*entries)[3].position);
  const auto payload = byte_view{bytes}.subspan((*entries)[1].position, (*entries)[1].length);
  EXPECT_EQ(as_text(payload), as_text(a.bytes));
  EXPECT_TRUE(intact(payload, 21, (*entries)[1].head_crc, (*entries)[1].crc));
  // Nothing of the memory before leaks to the disk.
  for (auto i = header->size; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], std::byte{0});
}

TEST(Block, RepeatsWhatOthersSaidBeforeItsOwnEntries) {
  block_builder block;
  block.add(entry_kind::truncate, log_id{1}, log_offset{5});
  entry trim;
  trim.kind = entry_kind::trim;
  trim.log = log_id{9};
  trim.base = log_offset{70};
  block.repeat(trim, 8);
  auto bytes = built(block);
  const auto header = peek_block(bytes, 42, bytes.size());
  ASSERT_TRUE(header);
  EXPECT_EQ(header->cuts, 3u);
  auto entries = read_directory(*header, bytes);
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].kind, entry_kind::again);
  EXPECT_EQ((*entries)[0].repeats, entry_kind::trim);
  EXPECT_EQ((*entries)[0].log, log_id{9});
  EXPECT_EQ((*entries)[0].base, log_offset{70});
  EXPECT_EQ((*entries)[0].extra, 8);
  EXPECT_EQ((*entries)[1].kind, entry_kind::truncate);
  // What is no earlier block, and what cannot be repeated, is no block.
  for (const auto& [at, value] : {std::pair{80, 9}, {65, 1}, {65, 8}}) {
    auto bad = bytes;
    bad[static_cast<std::size_t>(at)] = static_cast<std::byte>(value);
    store_le(bad.data() + 60,
             crc32c(byte_view{bad}.subspan(64, 2 * directory_entry_bytes), crc32c(byte_view{bad}.first(60))));
    auto found = peek_block(bad, 42, bad.size());
    ASSERT_TRUE(found);
    EXPECT_FALSE(read_directory(*found, bad)) << at;
  }
}

TEST(Block, OfAnotherSegmentOrWithAnyBitFlippedIsNotTaken) {
  block_builder block;
  block.add_batch(log_id{7}, make_batch(10, 3, 64));
  block.add(entry_kind::mark, log_id{7}, log_offset{13}, 0, shared_bytes::copy_of(as_bytes("state")));
  const auto bytes = built(block);
  EXPECT_FALSE(peek_block(bytes, 43, bytes.size()));
  EXPECT_FALSE(peek_block(bytes, 42, 100));  // longer than the file
  const auto size = peek_block(bytes, 42, bytes.size())->size;
  for (std::size_t bit = 0; bit < size * 8; ++bit) {
    auto bad = bytes;
    bad[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    const auto header = peek_block(bad, 42, bad.size());
    if (!header) continue;
    const auto entries = read_directory(*header, bad);
    if (!entries) continue;
    bool all = true;
    for (const auto& e : *entries)
      all = all && intact(byte_view{bad}.subspan(e.position, e.length), e.checked_from, e.head_crc, e.crc);
    EXPECT_FALSE(all) << "bit " << bit;
  }
}

TEST(Standing, IsReadBackAsWritten) {
  standing s{
      log_offset{5}, log_offset{90}, {{leader_epoch{1}, log_offset{2}}, {leader_epoch{4}, log_offset{50}}}, {}, {}};
  s.last_mark = mark{log_offset{80}, shared_bytes::copy_of(as_bytes("producers"))};
  s.damaged_from = log_offset{70};
  const auto bytes = encode(s);
  const auto back = decode_standing(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->start, s.start);
  EXPECT_EQ(back->end, s.end);
  EXPECT_EQ(back->epochs, s.epochs);
  EXPECT_EQ(back->damaged_from, s.damaged_from);
  EXPECT_EQ(as_text(back->last_mark->state), "producers");
  for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_standing(byte_view{bytes}.first(n)));
}

TEST(SegmentIndex, IsReadBackAsWrittenAndNotWithAnyByteChanged) {
  row_list rows;
  for (std::int64_t base : {10, 12, 14, 100, 102}) {
    row r;
    r.base = log_offset{base};
    r.offsets = 2;
    r.position = static_cast<std::uint64_t>(4096 + base * 10);
    r.length = 20;
    r.timestamp_max = base;
    rows.push_back(r);
  }
  index_summary summary{77, 5, 9, 0, {}, {{log_id{3}, {log_offset{1}, log_offset{104}, {}, {}, {}}}}};
  const auto bytes = encode_index(summary, {{log_id{3}, std::make_shared<row_list>(rows)}});
  const auto back = decode_index(bytes, 5, bytes.size());
  ASSERT_TRUE(back);
  EXPECT_EQ(back->segment_id, 77u);
  EXPECT_EQ(back->next, 9u);
  ASSERT_EQ(back->runs.size(), 2u);  // a gap between 16 and 100
  EXPECT_EQ(back->runs[0].what.end, log_offset{16});
  EXPECT_EQ(back->runs[1].what.bytes, 40u);
  EXPECT_EQ(back->standings.at(0).second.end, log_offset{104});
  row_list read;
  for (const auto& r : back->runs)
    ASSERT_TRUE(decode_rows(r, byte_view{bytes}.subspan(r.position, r.rows * index_row_bytes), back->data_bytes, read));
  ASSERT_EQ(read.size(), rows.size());
  EXPECT_EQ(read[4].position, rows[4].position);

  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto bad = bytes;
    bad[i] ^= std::byte{0x10};
    const auto summary_of_bad = decode_index(bad, 5, bad.size());
    if (!summary_of_bad) continue;
    row_list damaged;
    bool all = true;
    for (const auto& r : summary_of_bad->runs)
      all = all && decode_rows(r, byte_view{bad}.subspan(r.position, r.rows * index_row_bytes),
                               summary_of_bad->data_bytes, damaged);
    EXPECT_FALSE(all) << "byte " << i;
  }
  for (std::size_t n = 0; n < back->runs[0].position; ++n) EXPECT_FALSE(decode_index(byte_view{bytes}.first(n), 5, n));
}

}  // namespace
}  // namespace troupe::store
