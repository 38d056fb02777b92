// What a produce request brings for one partition: checked, unpacked, walked, stamped, searched by time. The first byte
// chooses how: bit 0 repairs length, CRC and counts first, so that the fuzzer gets past the checks that guard the rest;
// bit 1 takes the bytes as a header and plain records and packs these with each codec: all must be judged alike.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "actors/partition/partition_core.hpp"
#include "actors/partition/record_batch.hpp"
#include "runtime/base/crc32c.hpp"
#include "tests/unit/partition/batches.hpp"

namespace {

using namespace troupe;

void repair(std::vector<std::byte>& batch) {
  store_be(batch.data() + 8, static_cast<std::int32_t>(batch.size() - batch_header::length_from));
  store_be(batch.data() + 16, std::int8_t{2});
  const auto count = static_cast<std::int32_t>(static_cast<std::uint32_t>(batch_header{batch}.count()) % 1000) + 1;
  store_be(batch.data() + 57, count);
  store_be(batch.data() + 23, count - 1);
  store_be(batch.data() + 17, crc32c(byte_view{batch}.subspan(batch_header::crc_from)));
}

void require(bool holds) {
  if (!holds) std::abort();
}

void check_one(std::vector<std::byte> bytes, decompressor& unpacker) {
  batch_rules rules;
  rules.bytes_max = 1 << 20;
  const auto checked = check_batch(bytes, rules, unpacker);
  if (checked.refused) return;

  // What is taken once must hold for good: also after stamping, and for whoever reads it back.
  stamp_batch(bytes, log_offset{1000}, leader_epoch{3});
  require(!check_batch(bytes, rules, unpacker).refused);
  const batch_header header{bytes};
  std::int64_t seen = 0, latest = -1;
  auto visited = visit_records(bytes, unpacker, [&](record_place place) {
    require(place.offset == log_offset{1000 + seen});
    latest = std::max(latest, place.timestamp);
    ++seen;
    return true;
  });
  require(visited.ok() && seen == header.count() && latest == checked.timestamp_max);
  require(first_at_time(bytes, latest, log_offset{0}, unpacker).ok());
  stamp_append_time(bytes, 42);
  require(header.crc() == crc32c(byte_view{bytes}.subspan(batch_header::crc_from)));
  require(first_at_latest_time(bytes, log_offset{0}, unpacker).value().value() == record_place{log_offset{1000}, 42});
}

bool taken(std::vector<std::byte> plain, compression codec, bool framed, decompressor& unpacker) {
  const auto head = plain.begin() + batch_header::header_bytes;
  const auto packed = testing_batches::pack(codec, byte_view{plain}.subspan(batch_header::header_bytes), framed);
  plain.erase(head, plain.end());
  testing_batches::append(plain, packed);
  store_be(plain.data() + 21, static_cast<std::uint16_t>(codec));
  repair(plain);
  batch_rules rules;
  rules.bytes_max = 2 << 20;
  return !check_batch(plain, rules, unpacker).refused;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 || size > (1 << 20)) return 0;
  const auto how = data[0];
  std::vector<std::byte> bytes(size - 1);
  std::copy_n(reinterpret_cast<const std::byte*>(data + 1), bytes.size(), bytes.begin());

  // As a mark that a partition finds again.
  (void)partition_core::producers_of({log_offset{how}, shared_bytes::copy_of(bytes)});
  (void)producers::decode(bytes);

  auto& unpacker = decompressor::of_this_thread();
  if ((how & 1) != 0 && bytes.size() >= batch_header::header_bytes) repair(bytes);
  if ((how & 2) != 0 && bytes.size() >= batch_header::header_bytes) {
    const bool as_it_is = taken(bytes, compression::none, false, unpacker);
    for (auto codec : {compression::gzip, compression::snappy, compression::lz4, compression::zstd})
      for (const bool framed : {false, true}) require(taken(bytes, codec, framed, unpacker) == as_it_is);
    return 0;
  }
  check_one(bytes, unpacker);
  (void)visit_records(bytes, unpacker, [](record_place) { return true; });
  return 0;
}
