#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace troupe {

/// A number with a meaning of its own: two kinds of id never mix by accident.
template <class Tag, class Rep>
class strong {
public:
  using rep = Rep;
  constexpr strong() = default;
  constexpr explicit strong(Rep value) noexcept : value_{value} {}
  constexpr Rep value() const noexcept { return value_; }
  friend constexpr auto operator<=>(strong, strong) = default;

private:
  Rep value_{};
};

using node_id = strong<struct node_id_tag, std::int32_t>;
using partition_index = strong<struct partition_index_tag, std::int32_t>;
/// Rises at each change of a partition's leader; fences earlier leaders. -1: none known.
using leader_epoch = strong<struct leader_epoch_tag, std::int32_t>;
using producer_id = strong<struct producer_id_tag, std::int64_t>;
using producer_epoch = strong<struct producer_epoch_tag, std::int16_t>;
/// Position of a record in the metadata log.
using meta_offset = strong<struct meta_offset_tag, std::int64_t>;
/// Stands for one (topic id, partition, added_at) on this node's disk; never used again.
using log_id = strong<struct log_id_tag, std::uint32_t>;

/// Position of a record in a partition's log. Ranges are half-open: [base, end).
class log_offset {
public:
  using rep = std::int64_t;
  constexpr log_offset() = default;
  constexpr explicit log_offset(std::int64_t value) noexcept : value_{value} {}
  constexpr std::int64_t value() const noexcept { return value_; }
  friend constexpr auto operator<=>(log_offset, log_offset) = default;
  friend constexpr log_offset operator+(log_offset o, std::int64_t n) { return log_offset{o.value_ + n}; }
  friend constexpr std::int64_t operator-(log_offset a, log_offset b) { return a.value_ - b.value_; }

private:
  std::int64_t value_{0};
};

inline constexpr producer_id no_producer{-1};
inline constexpr leader_epoch no_epoch{-1};

/// 128 random bits. The all-zero value means "none".
struct uuid {
  std::array<std::uint8_t, 16> bytes{};

  static uuid random();
  /// The usual text form of Kafka: 22 characters of URL-safe base64 without padding.
  std::string text() const;
  static std::optional<uuid> parse(std::string_view text);
  bool is_nil() const noexcept { return *this == uuid{}; }
  friend auto operator<=>(const uuid&, const uuid&) = default;
};

using topic_id = uuid;

/// A node between two of its starts: its epoch is the metadata offset of its registration, -1 before that.
struct node_life {
  node_id node{-1};
  std::int64_t epoch{-1};
  friend auto operator<=>(const node_life&, const node_life&) = default;
};

}  // namespace troupe

template <class Tag, class Rep>
struct std::hash<troupe::strong<Tag, Rep>> {
  std::size_t operator()(troupe::strong<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value()); }
};
template <>
struct std::hash<troupe::log_offset> {
  std::size_t operator()(troupe::log_offset o) const noexcept { return std::hash<std::int64_t>{}(o.value()); }
};
template <>
struct std::hash<troupe::uuid> {
  std::size_t operator()(const troupe::uuid& id) const noexcept {
    std::uint64_t h = 0;
    for (auto b : id.bytes) h = h * 1099511628211ull + b;
    return h;
  }
};
