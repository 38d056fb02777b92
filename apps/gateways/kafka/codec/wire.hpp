#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "apps/gateways/kafka/codec/fetch_messages.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/check.hpp"
#include "runtime/base/ids.hpp"

/// The protocol's primitive values: reading them within bounds, counting their bytes, writing them.
namespace troupe::kafka::wire {

/// The most bytes that a text can have: its length was two signed bytes before it became a varint.
inline constexpr std::size_t text_bytes_max = 32767;

/// Reads values one after the other. After the first failure it stands still and returns zeros, so that a walk checks
/// once behind each group of values instead of behind each value.
class reader {
public:
  reader(byte_view bytes, std::size_t memory) noexcept
      : begin_{bytes.data()}, at_{begin_}, end_{begin_ + bytes.size()}, memory_{memory} {}

  bool ok() const noexcept { return !wrong_; }
  void fail(const char* why) noexcept {
    if (wrong_) return;
    wrong_ = why;
    failed_at_ = static_cast<std::size_t>(at_ - begin_);
    end_ = at_;
  }
  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }

  template <class T>
  T integer() noexcept {
    if (left() < sizeof(T)) return fail("it ends too early"), T{};
    const auto value = load_be<T>(at_);
    at_ += sizeof(T);
    return value;
  }
  /// Seven bits a byte, low group first: at most five bytes, 32 bits.
  std::uint32_t uvarint() noexcept {
    std::uint32_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
      if (at_ == end_) return fail("it ends too early"), 0;
      const auto byte = std::to_integer<std::uint32_t>(*at_);
      if (shift == 28 && byte > 0x0f) break;
      ++at_;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return fail("a varint has more than 32 bits"), 0;
  }
  byte_view bytes(std::size_t count) noexcept {
    if (left() < count) return fail("a length goes beyond the end"), byte_view{};
    at_ += count;
    return {at_ - count, count};
  }
  uuid id() noexcept {
    uuid value;
    if (const auto raw = bytes(value.bytes.size()); ok()) std::memcpy(value.bytes.data(), raw.data(), raw.size());
    return value;
  }

  /// Takes `count` bytes off what the message may cost in memory.
  void charge(std::size_t count) noexcept {
    if (count > memory_) return fail("it has too many elements");
    memory_ -= count;
  }

  /// Hides all but the next `count` bytes until `widen`.
  byte_view narrow(std::size_t count) noexcept {
    if (left() < count) return fail("a length goes beyond the end"), byte_view{};
    const byte_view rest{at_ + count, end_};
    end_ = at_ + count;
    return rest;
  }
  /// `rest` came from `narrow`.
  void widen(byte_view rest) noexcept {
    if (!ok()) return;
    if (left() != 0) return fail("a tagged field is shorter than its size says");
    end_ = rest.data() + rest.size();
  }

  /// Called by each level of a walk that unwinds after a failure, innermost first.
  void blame(std::string_view field) {
    if (!where_.empty()) where_.insert(0, 1, '.');
    where_.insert(0, field);
  }
  /// What is wrong, and where.
  std::string complaint() const {
    return (where_.empty() ? std::string{} : where_ + ": ") + wrong_ + " (byte " + std::to_string(failed_at_) + ")";
  }

private:
  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  std::size_t memory_;
  const char* wrong_{nullptr};
  std::size_t failed_at_{0};
  std::string where_;
};

constexpr std::size_t uvarint_bytes(std::uint32_t value) noexcept {
  std::size_t count = 1;
  for (; value >= 0x80; value >>= 7) ++count;
  return count;
}

/// Takes the same calls as `writer` and only counts.
class counter {
public:
  template <class T>
  void integer(T) noexcept {
    own_ += sizeof(T);
  }
  void uvarint(std::uint32_t value) noexcept { own_ += uvarint_bytes(value); }
  void bytes(byte_view value) noexcept { own_ += value.size(); }
  void outside(outside_bytes value) noexcept {
    outside_ += value.size;
    ++gaps_;
  }

  std::size_t own() const noexcept { return own_; }
  std::size_t outside() const noexcept { return outside_; }
  std::size_t gaps() const noexcept { return gaps_; }

private:
  std::size_t own_{0}, outside_{0}, gaps_{0};
};

/// A place in the written bytes where bytes of the sender belong.
struct gap {
  std::size_t at;
  outside_bytes bytes;
};

/// Writes into memory that a `counter` has measured.
class writer {
public:
  explicit writer(byte_span to, std::size_t gaps = 0) : begin_{to.data()}, at_{begin_}, end_{begin_ + to.size()} {
    gaps_.reserve(gaps);
  }

  template <class T>
  void integer(T value) {
    store_be(next(sizeof(T)), value);
  }
  void uvarint(std::uint32_t value) {
    for (; value >= 0x80; value >>= 7) *next(1) = static_cast<std::byte>(value | 0x80);
    *next(1) = static_cast<std::byte>(value);
  }
  void bytes(byte_view value) {
    if (!value.empty()) std::memcpy(next(value.size()), value.data(), value.size());
  }
  void outside(outside_bytes value) { gaps_.push_back({static_cast<std::size_t>(at_ - begin_), value}); }

  bool full() const noexcept { return at_ == end_; }
  const std::vector<gap>& gaps() const noexcept { return gaps_; }

private:
  std::byte* next(std::size_t count) {
    TROUPE_CHECK(count <= static_cast<std::size_t>(end_ - at_));
    return std::exchange(at_, at_ + count);
  }

  std::byte* begin_;
  std::byte* at_;
  std::byte* end_;
  std::vector<gap> gaps_;
};

}  // namespace troupe::kafka::wire
