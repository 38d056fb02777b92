#pragma once

#include <lz4frame.h>
#include <snappy.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/crc32c.hpp"

/// Record batches as a client would send them, built independently of the code under test.
namespace troupe::testing_batches {

using buffer = std::vector<std::byte>;

inline void append(buffer& out, byte_view bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}
inline void append_varint(buffer& out, std::int64_t value) {
  auto raw = (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  for (; raw >= 0x80; raw >>= 7) out.push_back(static_cast<std::byte>(raw | 0x80));
  out.push_back(static_cast<std::byte>(raw));
}

struct test_record {
  std::int64_t timestamp{1000};
  std::optional<std::string> key{};
  std::optional<std::string> value{"value"};
  std::vector<std::pair<std::string, std::optional<std::string>>> headers{};
};

inline void append_nullable(buffer& out, const std::optional<std::string>& text) {
  append_varint(out, text ? static_cast<std::int64_t>(text->size()) : -1);
  if (text) append(out, as_bytes(*text));
}

inline buffer encode_record(const test_record& r, std::int64_t timestamp_delta, std::int64_t offset_delta) {
  buffer body{std::byte{0}};
  append_varint(body, timestamp_delta);
  append_varint(body, offset_delta);
  append_nullable(body, r.key);
  append_nullable(body, r.value);
  append_varint(body, static_cast<std::int64_t>(r.headers.size()));
  for (const auto& [key, value] : r.headers) {
    append_nullable(body, key);
    append_nullable(body, value);
  }
  buffer out;
  append_varint(out, static_cast<std::int64_t>(body.size()));
  append(out, body);
  return out;
}

inline buffer gzip(byte_view plain) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  buffer out(deflateBound(&z, plain.size()) + 64);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}
inline buffer snappy_raw(byte_view plain) {
  std::string out;
  snappy::Compress(as_text(plain).data(), plain.size(), &out);
  const auto bytes = as_bytes(out);
  return {bytes.begin(), bytes.end()};
}
inline buffer snappy_framed(byte_view plain, std::size_t block = 32 << 10) {
  buffer out;
  append(out, as_bytes(std::string_view{"\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16}));
  for (std::size_t at = 0; at < plain.size(); at += block) {
    const auto packed = snappy_raw(plain.subspan(at, std::min(block, plain.size() - at)));
    out.resize(out.size() + 4);
    store_be(out.data() + out.size() - 4, static_cast<std::int32_t>(packed.size()));
    append(out, packed);
  }
  return out;
}
inline buffer lz4(byte_view plain) {
  buffer out(LZ4F_compressFrameBound(plain.size(), nullptr));
  out.resize(LZ4F_compressFrame(out.data(), out.size(), plain.data(), plain.size(), nullptr));
  return out;
}
inline buffer zstd(byte_view plain) {
  buffer out(ZSTD_compressBound(plain.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
  return out;
}
inline buffer pack(compression codec, byte_view plain, bool framed = false) {
  switch (codec) {
    case compression::gzip:
      return gzip(plain);
    case compression::snappy:
      return framed ? snappy_framed(plain) : snappy_raw(plain);
    case compression::lz4:
      return lz4(plain);
    case compression::zstd:
      return zstd(plain);
    case compression::none:
      break;
  }
  return {plain.begin(), plain.end()};
}

inline void sum_again(buffer& batch) {
  store_be(batch.data() + 17, crc32c(byte_view{batch}.subspan(21)));
}

struct test_batch {
  std::vector<test_record> records{test_record{}};
  compression codec{compression::none};
  bool framed_snappy{false};
  std::int64_t producer{-1};
  std::int16_t producer_epoch{-1};
  std::int32_t sequence{-1};
  std::uint16_t flags{0};  ///< attributes above the codec

  /// Puts the header around `records` (packed already).
  buffer wrap(byte_view packed, std::int32_t count) const {
    buffer out(61);
    const auto base = records.empty() ? 0 : records.front().timestamp;
    auto latest = base;
    for (const auto& r : records) latest = std::max(latest, r.timestamp);
    append(out, packed);
    auto* at = out.data();
    store_be(at, std::int64_t{0});
    store_be(at + 8, static_cast<std::int32_t>(out.size() - 12));
    store_be(at + 12, std::int32_t{-1});
    store_be(at + 16, std::int8_t{2});
    store_be(at + 21, static_cast<std::uint16_t>(static_cast<unsigned>(codec) | flags));
    store_be(at + 23, count - 1);
    store_be(at + 27, base);
    store_be(at + 35, latest);
    store_be(at + 43, producer);
    store_be(at + 51, producer_epoch);
    store_be(at + 53, sequence);
    store_be(at + 57, count);
    sum_again(out);
    return out;
  }
  buffer encode_records() const {
    buffer plain;
    for (std::size_t i = 0; i < records.size(); ++i)
      append(plain,
             encode_record(records[i], records[i].timestamp - records.front().timestamp, static_cast<std::int64_t>(i)));
    return plain;
  }
  buffer build() const {
    return wrap(pack(codec, encode_records(), framed_snappy), static_cast<std::int32_t>(records.size()));
  }
  operator buffer() const { return build(); }
};

inline owned_bytes own(buffer bytes) {
  auto owner = std::make_shared<buffer>(std::move(bytes));
  const byte_span view{*owner};
  return {std::move(owner), view};
}

}  // namespace troupe::testing_batches
