#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "actors/partition/decompressor.hpp"
#include "actors/partition/partition.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"

/// Record batches of the Kafka protocol, version 2: the only form that is taken, stored and served. Integers are
/// big-endian.
///
///      0 base offset i64        21 attributes i16            43 producer id i64
///      8 length i32 (from 12)   23 last offset delta i32     51 producer epoch i16
///     12 leader epoch i32       27 base timestamp i64        53 base sequence i32
///     16 magic i8 = 2           35 max timestamp i64         57 record count i32
///     17 crc u32 (from 21)                                   61 records, packed as the attributes' low three bits say
///
/// Base offset and leader epoch lie outside the CRC, so they are stamped without touching what the producer built.
/// A record: length, attributes i8, timestamp delta, offset delta, key, value, header count, headers; all numbers are
/// zig-zag varints, bytes carry their length first (-1: null).
namespace troupe {

/// Read access to a header. The bytes hold at least `header_bytes`; nothing more is assumed about them.
class batch_header {
public:
  static constexpr std::size_t header_bytes = 61;
  static constexpr std::size_t length_from = 12;  ///< what the length field counts begins here
  static constexpr std::uint16_t crc_from = 21;   ///< what the CRC covers begins here

  explicit batch_header(byte_view batch) noexcept : at_{batch.data()} {}

  log_offset base() const noexcept { return log_offset{load_be<std::int64_t>(at_)}; }
  std::int32_t length() const noexcept { return load_be<std::int32_t>(at_ + 8); }
  leader_epoch epoch() const noexcept { return leader_epoch{load_be<std::int32_t>(at_ + 12)}; }
  std::int8_t magic() const noexcept { return load_be<std::int8_t>(at_ + 16); }
  std::uint32_t crc() const noexcept { return load_be<std::uint32_t>(at_ + 17); }
  std::uint16_t attributes() const noexcept { return load_be<std::uint16_t>(at_ + 21); }
  std::int32_t last_offset_delta() const noexcept { return load_be<std::int32_t>(at_ + 23); }
  std::int64_t timestamp_base() const noexcept { return load_be<std::int64_t>(at_ + 27); }
  std::int64_t timestamp_max() const noexcept { return load_be<std::int64_t>(at_ + 35); }
  producer_id producer() const noexcept { return producer_id{load_be<std::int64_t>(at_ + 43)}; }
  troupe::producer_epoch producer_epoch() const noexcept {
    return troupe::producer_epoch{load_be<std::int16_t>(at_ + 51)};
  }
  std::int32_t sequence_base() const noexcept { return load_be<std::int32_t>(at_ + 53); }
  std::int32_t count() const noexcept { return load_be<std::int32_t>(at_ + 57); }

  std::uint8_t codec() const noexcept { return attributes() & 7; }
  bool log_append_time() const noexcept { return (attributes() & 8) != 0; }
  bool transactional() const noexcept { return (attributes() & 16) != 0; }
  bool control() const noexcept { return (attributes() & 32) != 0; }
  /// Bytes of the whole batch as its length says.
  std::uint64_t size() const noexcept { return length_from + static_cast<std::uint64_t>(length()); }
  std::int64_t offsets() const noexcept { return std::int64_t{last_offset_delta()} + 1; }
  log_offset end() const noexcept { return base() + offsets(); }

private:
  const std::byte* at_;
};

/// What a partition asks of a batch.
struct batch_rules {
  std::int32_t bytes_max{1048588};
  bool zstd_allowed{true};
  /// Records with a timestamp (not -1) outside are refused. None: the topic stamps by append time.
  struct window {
    std::int64_t earliest_ms, latest_ms;
  };
  std::optional<window> timestamps;
};

struct checked_batch {
  std::optional<error> refused;
  std::vector<record_error> records;  ///< which ones, where single records are at fault; the first 100
  /// The greatest timestamp among the records, as found by reading them: headers may say anything. -1: none.
  std::int64_t timestamp_max{-1};
};

/// Checks what a produce request has for one partition, in this order: one whole batch of version 2, size, CRC, counts
/// and flags, codec, every record, timestamps. Errors: invalid_record, corrupt_batch, message_too_large,
/// invalid_timestamp, unsupported_compression, transactions_unavailable (transactional batches).
/// Allocates nothing unless the batch is compressed or refused.
checked_batch check_batch(byte_view bytes, const batch_rules&, decompressor&);

/// Sets what the leader decides. `batch` holds a checked batch.
void stamp_batch(byte_span batch, log_offset base, leader_epoch);
/// Makes every record's timestamp `milliseconds` (readers then take the header's), and sums the CRC anew.
void stamp_append_time(byte_span batch, std::int64_t milliseconds);

/// A record's place, for lookups by time.
struct record_place {
  log_offset offset;
  std::int64_t timestamp;
  friend bool operator==(const record_place&, const record_place&) = default;
};

/// Calls `visit` for the records of a stored batch in order until it says false.
/// Errors: storage_damaged (it was checked when it came).
result<void> visit_records(byte_view batch, decompressor&, const std::function<bool(record_place)>& visit);
/// The first record at or above `from` that is not older than `timestamp`.
result<std::optional<record_place>> first_at_time(byte_view batch, std::int64_t timestamp, log_offset from,
                                                  decompressor&);
/// The first of the records at or above `from` with the greatest timestamp.
result<std::optional<record_place>> first_at_latest_time(byte_view batch, log_offset from, decompressor&);

}  // namespace troupe
