#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Kafka frames by hand, for what no client library sends: nonsense, half frames, and the few requests that Debian's
/// librdkafka is too old for. Only versions without tagged fields.
namespace troupe::test {

/// Big-endian fields, one behind the other.
class writer {
public:
  writer& i8(std::int64_t v) { return number(v, 1); }
  writer& i16(std::int64_t v) { return number(v, 2); }
  writer& i32(std::int64_t v) { return number(v, 4); }
  writer& i64(std::int64_t v) { return number(v, 8); }
  writer& str(std::string_view s) { return i16(static_cast<std::int64_t>(s.size())).raw(s); }
  writer& null_str() { return i16(-1); }
  writer& blob(std::string_view s) { return i32(static_cast<std::int64_t>(s.size())).raw(s); }
  writer& raw(std::string_view s) {
    bytes_ += s;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

private:
  writer& number(std::int64_t v, int width) {
    for (int at = width - 1; at >= 0; --at) bytes_ += static_cast<char>(v >> (8 * at));
    return *this;
  }
  std::string bytes_;
};

/// Reads what `writer` writes. Reading past the end throws.
class reader {
public:
  explicit reader(std::string bytes) : bytes_{std::move(bytes)} {}
  std::int64_t i8() { return number(1); }
  std::int64_t i16() { return number(2); }
  std::int64_t i32() { return number(4); }
  std::int64_t i64() { return number(8); }
  std::string str() { return take(static_cast<std::size_t>(i16())); }
  std::string null_str() {
    const auto size = i16();
    return size < 0 ? std::string{} : take(static_cast<std::size_t>(size));
  }
  std::string blob() { return take(static_cast<std::size_t>(i32())); }
  std::size_t left() const { return bytes_.size() - at_; }

private:
  std::string take(std::size_t size);
  std::int64_t number(int width);
  std::string bytes_;
  std::size_t at_{0};
};

/// A request with its header (version 1) and its length.
std::string request(int api, int version, std::string_view body, std::int32_t correlation = 7);
std::string framed(std::string_view bytes);

/// A record batch (magic 2) with one record per value, with or without a right checksum.
struct batch_options {
  std::int64_t producer{-1};
  int epoch{-1};
  std::int32_t sequence{-1};
  bool right_crc{true};
  bool lz4{false};  ///< compressed, as one LZ4 frame
};
std::string record_batch(const std::vector<std::string>& values, const batch_options& = {});
std::string produce_body(std::string_view topic, int partition, std::string_view records, int acks = -1);
std::string fetch_body(std::string_view topic, int partition, std::int64_t offset, std::int32_t wait_ms = 0);

/// One TCP connection to a node.
class connection {
public:
  explicit connection(std::uint16_t port);
  ~connection();
  connection(connection&& other) noexcept : socket_{std::exchange(other.socket_, -1)} {}
  connection& operator=(connection&&) = delete;

  /// False when the peer has closed. Blocks while the peer does not read, at most `limit`.
  bool send(std::string_view bytes, std::chrono::milliseconds limit = std::chrono::seconds{10});
  /// The next frame without its length; nothing when the peer closed or `limit` passed.
  std::optional<std::string> receive(std::chrono::milliseconds limit = std::chrono::seconds{10});
  /// Sends a request; its answer behind the correlation id.
  std::optional<reader> ask(int api, int version, std::string_view body);
  /// Waits until the peer closes; false when it does not within `limit`. What it still sends is thrown away.
  bool closed_by_peer(std::chrono::milliseconds limit = std::chrono::seconds{10});
  /// Throws away what has come so far, without waiting. False when the peer has closed.
  bool drain();

private:
  bool exactly(char* to, std::size_t size, std::chrono::steady_clock::time_point until);
  int socket_{-1};
};

}  // namespace troupe::test
