#include "apps/node/units.hpp"

#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <span>
#include <utility>

namespace troupe {
namespace {

using units = std::span<const std::pair<std::string_view, std::uint64_t>>;
constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> durations{
    {{"d", 86'400'000}, {"h", 3'600'000}, {"min", 60'000}, {"s", 1000}, {"ms", 1}}};
constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> sizes{
    {{"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"", 1}}};

/// A whole number and one of `known` behind it; none if it is not that or above `largest`.
std::optional<std::uint64_t> parse(std::string_view text, units known, std::uint64_t largest) {
  std::uint64_t number = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (bad != std::errc{}) return std::nullopt;
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const auto& [name, factor] : known)
    if (name == unit) return number <= largest / factor ? std::optional{number * factor} : std::nullopt;
  return std::nullopt;
}

std::string text_of(std::uint64_t value, units known) {
  for (const auto& [name, factor] : known)
    if (value != 0 && value % factor == 0) return std::to_string(value / factor).append(name);
  return std::string{"0"}.append(known.back().first);
}

}  // namespace

result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  // A hundred years: far from where adding it to a clock would overflow.
  if (const auto ms = parse(text, durations, 36'525 * durations.front().second))
    return std::chrono::milliseconds{static_cast<std::int64_t>(*ms)};
  return {errc::invalid_request,
          in_quotes(text) + " is no duration: a whole number with ms, s, min, h or d, as in 200ms or 14d"};
}

std::string duration_text(std::chrono::milliseconds value) {
  return text_of(static_cast<std::uint64_t>(value.count()), durations);
}

result<std::uint64_t> parse_size(std::string_view text) {
  if (const auto bytes = parse(text, sizes, std::numeric_limits<std::int64_t>::max())) return *bytes;
  return {errc::invalid_request,
          in_quotes(text) + " is no size: bytes, or a whole number with KiB, MiB, GiB or TiB, as in 512MiB"};
}

std::string size_text(std::uint64_t bytes) {
  return text_of(bytes, sizes);
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t shown_max = 100;
  std::string out = "\"";
  for (const char c : text.substr(0, shown_max)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out += text.size() > shown_max ? "…\"" : "\"";
}

}  // namespace troupe
