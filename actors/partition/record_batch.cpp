#include "actors/partition/record_batch.hpp"

#include <algorithm>
#include <limits>

#include "runtime/base/crc32c.hpp"

namespace troupe {

namespace {

constexpr std::size_t record_errors_max = 100;
constexpr std::uint16_t known_attributes = 0x3f;

error invalid(std::string text) {
  return {errc::invalid_record, std::move(text)};
}

/// The records of an uncompressed batch: one piece.
class flat_input {
public:
  explicit flat_input(byte_view bytes) noexcept : at{bytes.data()}, end{at + bytes.size()} {}
  /// Would like `wanted` bytes in one piece. Fewer are there only where the input ends.
  void gather(std::ptrdiff_t /*wanted*/) const noexcept {}
  bool skip(std::int64_t bytes) noexcept {
    if (bytes > end - at) return false;
    at += bytes;
    return true;
  }
  std::optional<error> failure() const { return {}; }

  const std::byte* at;
  const std::byte* end;
};

/// The records of a compressed batch, as they come out of the decompressor.
class packed_input {
public:
  explicit packed_input(decompressor& from) noexcept : from_{from} {}

  void gather(std::ptrdiff_t wanted) {
    while (end - at < wanted && !ended_) {
      const auto rest = static_cast<std::size_t>(end - at);
      std::copy(at, end, rest_);
      auto piece = from_.next();
      if (!piece) failure_ = piece.error();
      ended_ = !piece || piece->empty();
      std::byte* const joined = ended_ ? rest_ : piece->data() - rest;
      if (!ended_) std::copy_n(rest_, rest, joined);
      at = joined;
      end = joined + rest + (ended_ ? 0 : piece->size());
    }
  }
  bool skip(std::int64_t bytes) {
    for (;;) {
      const auto now = std::min<std::int64_t>(bytes, end - at);
      at += now;
      bytes -= now;
      if (bytes == 0) return true;
      gather(1);
      if (at == end) return false;
    }
  }
  const std::optional<error>& failure() const noexcept { return failure_; }

  const std::byte* at{nullptr};
  const std::byte* end{nullptr};

private:
  decompressor& from_;
  std::byte rest_[decompressor::headroom];
  bool ended_{false};
  std::optional<error> failure_;
};

constexpr int varint_bytes_max = 10;
/// Only the timestamp delta has 64 bits. Java's consumers read no more than this of the others, even where the number
/// is small.
constexpr int short_varint_bytes_max = 5;
static_assert(varint_bytes_max * 3 <= decompressor::headroom);

constexpr std::int64_t unzigzag(std::uint64_t raw) noexcept {
  return static_cast<std::int64_t>(raw >> 1) ^ -static_cast<std::int64_t>(raw & 1);
}

/// A zig-zag varint of at most 64 bits at the input's place, which moves behind it. How many bytes it took; 0: none
/// stands there.
template <class Input>
[[gnu::noinline]] int read_long_varint(Input& in, std::int64_t& value) {
  std::uint64_t raw = 0;
  for (int taken = 1; taken <= varint_bytes_max && in.at != in.end; ++taken) {
    const auto byte = static_cast<std::uint64_t>(*in.at++);
    if (taken == varint_bytes_max && byte > 1) return 0;
    raw |= (byte & 0x7f) << (7 * (taken - 1));
    if (byte < 0x80) {
      value = unzigzag(raw);
      return taken;
    }
  }
  return 0;
}
template <class Input>
[[gnu::always_inline]] inline int read_varint(Input& in, std::int64_t& value) {
  if (in.end - in.at < varint_bytes_max) [[unlikely]] {
    in.gather(varint_bytes_max);
    return read_long_varint(in, value);
  }
  // Nearly all lengths and deltas take one or two bytes.
  const auto low = static_cast<std::uint64_t>(in.at[0]), high = static_cast<std::uint64_t>(in.at[1]);
  if (low < 0x80) {
    value = unzigzag(low);
    in.at += 1;
    return 1;
  }
  if (high < 0x80) {
    value = unzigzag((low & 0x7f) | high << 7);
    in.at += 2;
    return 2;
  }
  return read_long_varint(in, value);
}

struct record_head {
  std::int64_t timestamp_delta{0}, offset_delta{0};
};

/// Counts what a record's parts take off its length; false once they take more than it has.
template <class Input>
class record_reader {
public:
  explicit record_reader(Input& in) noexcept : in_{in} {}

  /// Reads one record to its end. False: it does not parse.
  bool read(record_head& head) {
    std::int64_t length = 0;
    const int taken = read_varint(in_, length);
    if (taken == 0 || taken > short_varint_bytes_max || length < 1 || length > std::numeric_limits<std::int32_t>::max())
      return false;
    left_ = length;
    std::int64_t headers = 0;
    if (!skip(1) || !number(head.timestamp_delta, varint_bytes_max) || !number(head.offset_delta) ||
        !nullable_bytes() || !nullable_bytes() || !number(headers))
      return false;
    // A header takes two bytes or more: a count that cannot fit ends here and not after two billion turns.
    if (headers < 0 || headers > left_ / 2) return false;
    for (; headers > 0; --headers) {
      std::int64_t key = 0;
      if (!number(key) || key < 0 || !skip(key) || !nullable_bytes()) return false;
    }
    return left_ == 0;
  }

private:
  bool number(std::int64_t& value, int bytes_max = short_varint_bytes_max) {
    const int taken = read_varint(in_, value);
    left_ -= taken;
    return taken != 0 && taken <= bytes_max && left_ >= 0;
  }
  bool skip(std::int64_t bytes) {
    left_ -= bytes;
    return left_ >= 0 && in_.skip(bytes);
  }
  bool nullable_bytes() {
    std::int64_t size = 0;
    return number(size) && size >= -1 && (size <= 0 || skip(size));
  }

  Input& in_;
  std::int64_t left_{0};
};

/// Walks `count` records and calls `see(index, head)`, which may end the walk by false. Says what is wrong, if
/// anything; a complete walk must use up the input.
template <class Input, class See>
std::optional<error> walk(Input& in, std::int32_t count, See&& see) {
  record_reader<Input> reader{in};
  for (std::int32_t index = 0; index < count; ++index) {
    record_head head;
    if (!reader.read(head)) {
      if (const auto failure = in.failure()) return failure;
      return invalid("record " + std::to_string(index) + " of " + std::to_string(count) + " does not parse");
    }
    if (!see(index, head)) return {};
  }
  in.gather(1);
  if (const auto failure = in.failure()) return failure;
  if (in.at != in.end) return invalid("bytes follow the last record");
  return {};
}

template <class See>
std::optional<error> walk_batch(byte_view batch, decompressor& unpacker, See&& see) {
  const batch_header header{batch};
  const auto records = batch.subspan(batch_header::header_bytes);
  if (header.codec() == 0) {
    flat_input in{records};
    return walk(in, header.count(), see);
  }
  if (const auto opened = unpacker.open(compression{header.codec()}, records); !opened) return opened.error();
  packed_input in{unpacker};
  auto wrong = walk(in, header.count(), see);
  unpacker.close();
  return wrong;
}

/// base + delta, and nothing where that does not exist.
std::optional<std::int64_t> sum(std::int64_t base, std::int64_t delta) noexcept {
  std::int64_t result = 0;
  if (__builtin_add_overflow(base, delta, &result)) return {};
  return result;
}

std::optional<error> check_frame(byte_view bytes) {
  if (bytes.empty()) return invalid("no record batch");
  constexpr std::size_t magic_at = 16;
  if (bytes.size() <= magic_at) return error{errc::corrupt_batch, "cut off before the batch's version"};
  const auto magic = load_be<std::int8_t>(bytes.data() + magic_at);
  if (magic != 2)
    return invalid("message format " + std::to_string(magic) +
                   "; only record batches (2) are taken: configure the "
                   "client for Kafka 0.11 or later");
  const auto length = load_be<std::int32_t>(bytes.data() + 8);
  constexpr std::int32_t length_min = batch_header::header_bytes - batch_header::length_from;
  if (length < length_min || static_cast<std::size_t>(length) > bytes.size() - batch_header::length_from)
    return error{errc::corrupt_batch,
                 "batch length " + std::to_string(length) + " with " + std::to_string(bytes.size()) + " bytes in all"};
  if (bytes.size() != batch_header{bytes}.size()) return invalid("more than one record batch for a partition");
  return {};
}

std::optional<error> check_header(const batch_header& header, bool zstd_allowed) {
  // The count is compared before the sum, which could overflow.
  if (header.count() <= 0 || header.last_offset_delta() != header.count() - 1)
    return invalid("record count " + std::to_string(header.count()) + ", but last offset delta " +
                   std::to_string(header.last_offset_delta()));
  if (header.control()) return invalid("only brokers write control batches");
  if ((header.attributes() & ~known_attributes) != 0)
    return invalid("attributes " + std::to_string(header.attributes()) + " are not for producers to set");
  if (header.producer().value() >= 0 && (header.sequence_base() < 0 || header.producer_epoch().value() < 0))
    return invalid("a producer id without sequence or epoch");
  if (header.log_append_time())
    return error{errc::invalid_timestamp, "the batch claims append time, which is for the broker to set"};
  if (header.codec() > static_cast<std::uint8_t>(compression::zstd))
    return error{errc::unsupported_compression, "codec " + std::to_string(header.codec()) + " is not defined"};
  if (compression{header.codec()} == compression::zstd && !zstd_allowed)
    return error{errc::unsupported_compression, "zstd needs produce requests of version 7 or later"};
  return {};
}

}  // namespace

checked_batch check_batch(byte_view bytes, const batch_rules& rules, decompressor& unpacker) {
  checked_batch checked;
  auto refuse = [&](std::optional<error> why) { return (checked.refused = std::move(why)).has_value(); };

  if (refuse(check_frame(bytes))) return checked;
  if (bytes.size() > static_cast<std::size_t>(std::max(rules.bytes_max, 0))) {
    checked.refused = {errc::message_too_large, "a batch of " + std::to_string(bytes.size()) +
                                                    " bytes; max.message.bytes is " + std::to_string(rules.bytes_max)};
    return checked;
  }
  const batch_header header{bytes};
  if (crc32c(bytes.subspan(batch_header::crc_from)) != header.crc()) {
    checked.refused = {errc::corrupt_batch, "the batch's CRC does not match its bytes"};
    return checked;
  }
  if (refuse(check_header(header, rules.zstd_allowed))) return checked;

  const auto base = header.timestamp_base();
  bool untimely = false;
  std::optional<error> wrong;
  auto see = [&](std::int32_t index, const record_head& head) {
    const auto timestamp = sum(base, head.timestamp_delta);
    if (head.offset_delta != index || !timestamp) [[unlikely]] {
      wrong = invalid("record " + std::to_string(index) + " has an impossible " +
                      (timestamp ? "offset delta" : "timestamp"));
      return false;
    }
    checked.timestamp_max = std::max(checked.timestamp_max, *timestamp);
    if (rules.timestamps && *timestamp != -1 &&
        (*timestamp < rules.timestamps->earliest_ms || *timestamp > rules.timestamps->latest_ms)) [[unlikely]] {
      untimely = true;
      if (checked.records.size() < record_errors_max)
        checked.records.push_back({index, "timestamp " + std::to_string(*timestamp) + " lies outside [" +
                                              std::to_string(rules.timestamps->earliest_ms) + ", " +
                                              std::to_string(rules.timestamps->latest_ms) + "]"});
    }
    return true;
  };
  auto broken = walk_batch(bytes, unpacker, see);
  if (refuse(wrong ? std::move(wrong) : std::move(broken))) {
    checked.records.clear();  // the whole batch is at fault, not single records
    return checked;
  }
  if (untimely) {
    checked.refused = {errc::invalid_timestamp, "timestamps further from now than the topic allows"};
  } else if (header.transactional()) {
    checked.refused = {errc::transactions_unavailable, "transactions are not available"};
  }
  return checked;
}

void stamp_batch(byte_span batch, log_offset base, leader_epoch epoch) {
  store_be(batch.data(), base.value());
  store_be(batch.data() + 12, epoch.value());
}

void stamp_append_time(byte_span batch, std::int64_t milliseconds) {
  constexpr std::uint16_t log_append_time = 8;
  store_be(batch.data() + 21, static_cast<std::uint16_t>(batch_header{batch}.attributes() | log_append_time));
  store_be(batch.data() + 35, milliseconds);
  store_be(batch.data() + 17, crc32c(batch.subspan(batch_header::crc_from)));
}

result<void> visit_records(byte_view batch, decompressor& unpacker, const std::function<bool(record_place)>& visit) {
  auto damaged = [](const std::string& what) { return error{errc::storage_damaged, "a stored batch: " + what}; };
  if (batch.size() < batch_header::header_bytes) return damaged("shorter than its header");
  const batch_header header{batch};
  if (header.length() < 0 || header.size() < batch_header::header_bytes || header.size() > batch.size())
    return damaged("not as long as its length says");
  if (header.codec() > static_cast<std::uint8_t>(compression::zstd)) return damaged("unknown codec");
  const auto wrong = walk_batch(batch.first(header.size()), unpacker, [&](std::int32_t, const record_head& head) {
    const auto timestamp =
        header.log_append_time() ? header.timestamp_max() : sum(header.timestamp_base(), head.timestamp_delta);
    // Checked when it came: an overflow here is damage, and the walk just ends with what it has.
    const auto offset = sum(header.base().value(), head.offset_delta);
    return timestamp && offset && visit({log_offset{*offset}, *timestamp});
  });
  if (wrong) return damaged(wrong->text);
  return {};
}

result<std::optional<record_place>> first_at_time(byte_view batch, std::int64_t timestamp, log_offset from,
                                                  decompressor& unpacker) {
  std::optional<record_place> found;
  const auto visited = visit_records(batch, unpacker, [&](record_place place) {
    if (place.offset >= from && place.timestamp >= timestamp) found = place;
    return !found;
  });
  if (!visited) return visited.error();
  return found;
}

result<std::optional<record_place>> first_at_latest_time(byte_view batch, log_offset from, decompressor& unpacker) {
  std::optional<record_place> found;
  const auto visited = visit_records(batch, unpacker, [&](record_place place) {
    if (place.offset >= from && (!found || place.timestamp > found->timestamp)) found = place;
    return true;
  });
  if (!visited) return visited.error();
  return found;
}

}  // namespace troupe
