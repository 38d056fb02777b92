#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace troupe {

using byte_view = std::span<const std::byte>;
using byte_span = std::span<std::byte>;

inline byte_view as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(byte_view bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Immutable bytes with shared ownership of the memory that holds them. Copying shares; slicing shares.
/// What travels between actors, threads and sockets without a copy. Thread-safe like `shared_ptr`.
class shared_bytes {
public:
  shared_bytes() = default;
  /// `view` must stay valid for as long as `owner` lives.
  shared_bytes(std::shared_ptr<const void> owner, byte_view view) : owner_{std::move(owner)}, view_{view} {}
  static shared_bytes copy_of(byte_view bytes) { return own({bytes.begin(), bytes.end()}); }
  static shared_bytes own(std::vector<std::byte> bytes) {
    auto owner = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    const byte_view view{*owner};
    return {std::move(owner), view};
  }

  byte_view view() const noexcept { return view_; }
  operator byte_view() const noexcept { return view_; }
  const std::byte* data() const noexcept { return view_.data(); }
  std::size_t size() const noexcept { return view_.size(); }
  bool empty() const noexcept { return view_.empty(); }
  /// `from` + `count` must lie within.
  shared_bytes slice(std::size_t from, std::size_t count) const { return {owner_, view_.subspan(from, count)}; }

private:
  std::shared_ptr<const void> owner_;
  byte_view view_;
};

/// Bytes that came from outside and may still be written by whoever holds them: a produce request's batch, whose offset
/// and epoch the partition stamps in place. Sending it on hands the right to write over; nobody else may touch it then.
struct owned_bytes {
  std::shared_ptr<void> owner;
  byte_span bytes;
  shared_bytes share() const { return {owner, bytes}; }
};

/// Integers in network order (big-endian), wherever they lie. The caller has checked the length.
template <class T>
T load_be(const std::byte* at) noexcept {
  static_assert(std::is_integral_v<T>);
  std::make_unsigned_t<T> raw;
  std::memcpy(&raw, at, sizeof raw);
  if constexpr (sizeof raw == 2) raw = __builtin_bswap16(raw);
  if constexpr (sizeof raw == 4) raw = __builtin_bswap32(raw);
  if constexpr (sizeof raw == 8) raw = __builtin_bswap64(raw);
  return static_cast<T>(raw);
}
template <class T>
void store_be(std::byte* at, T value) noexcept {
  auto raw = static_cast<std::make_unsigned_t<T>>(value);
  if constexpr (sizeof raw == 2) raw = __builtin_bswap16(raw);
  if constexpr (sizeof raw == 4) raw = __builtin_bswap32(raw);
  if constexpr (sizeof raw == 8) raw = __builtin_bswap64(raw);
  std::memcpy(at, &raw, sizeof raw);
}

/// Integers in little-endian order: what our own disk format uses, since it is the order of the machines it runs on.
template <class T>
T load_le(const std::byte* at) noexcept {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void store_le(std::byte* at, T value) noexcept {
  std::memcpy(at, &value, sizeof value);
}

}  // namespace troupe
