#include "runtime/observe/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstddef>
#include <optional>

#include "runtime/base/instant.hpp"

/// One line per event, made for people and for grep:
///
///     2026-11-20T13:37:17.042Z I partition isr_shrunk entity=partition/orders/3 silent_ms=10412
///     2026-11-20T13:37:18.007Z W kafka request_refused why="message_too_large: 2 MiB, at most 1 MiB"
///
/// Values may come from outside. One that holds anything but plain printable characters is quoted, and what could break
/// out of its line or play with a terminal is escaped: a line is always one event, whoever chose the topic's name.
namespace troupe::observe {
namespace {

/// Longer values are cut: a log is no place for payloads.
constexpr std::size_t value_bytes_max = 2048;

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("troupe", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %v", spdlog::pattern_time_type::utc);
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *instance;
}

constexpr std::array<std::string_view, 5> names{"trace", "debug", "info", "warn", "error"};
constexpr std::string_view letters = "TDIWE";

spdlog::level::level_enum to_spdlog(level l) {
  constexpr std::array levels{spdlog::level::trace, spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                              spdlog::level::err};
  return levels[static_cast<std::size_t>(l)];
}

/// Length of the printable UTF-8 character at the front of `text`, or 0 for a byte that must be escaped: controls,
/// malformed sequences, and the line separators and direction marks that some terminals act upon.
std::size_t printable(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  char32_t c = first & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    c = c << 6 | (byte(i) & 0x3f);
  }
  constexpr std::array<char32_t, 5> least{0, 0, 0xa0, 0x800, 0x10000};
  if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
  if ((c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)) return 0;
  return length;
}

bool plain(std::string_view value) {
  if (value.empty()) return false;
  for (std::size_t i = 0; i < value.size();) {
    if (value[i] == ' ' || value[i] == '"' || value[i] == '\\' || value[i] == '=') return false;
    const auto length = printable(value.substr(i));
    if (length == 0) return false;
    i += length;
  }
  return true;
}

void append_value(std::string& line, std::string_view value) {
  const bool cut = value.size() > value_bytes_max;
  if (cut) {
    value = value.substr(0, value_bytes_max);
    // Not through the middle of a character.
    while ((static_cast<unsigned char>(value.back()) & 0xc0) == 0x80 && value.size() > value_bytes_max - 4)
      value.remove_suffix(1);
    if (static_cast<unsigned char>(value.back()) >= 0xc0) value.remove_suffix(1);
  }
  if (!cut && plain(value)) {
    line += value;
    return;
  }
  line += '"';
  while (!value.empty()) {
    const auto length = printable(value);
    const char c = value.front();
    if (length == 0) {
      constexpr std::string_view hex = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(c);
      if (c == '\n') {
        line += "\\n";
      } else if (c == '\r') {
        line += "\\r";
      } else if (c == '\t') {
        line += "\\t";
      } else {
        ((line += "\\x") += hex[byte >> 4]) += hex[byte & 15];
      }
      value.remove_prefix(1);
      continue;
    }
    if (c == '"' || c == '\\') line += '\\';
    line += value.substr(0, length);
    value.remove_prefix(length);
  }
  line += cut ? "\"…" : "\"";
}

}  // namespace

void set_up_log(level from) {
  logger().set_level(to_spdlog(from));
}

result<level> parse_level(std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<level>(i);
  return {errc::invalid_request,
          "\"" + std::string{name} + "\" is no log level; it is one of trace, debug, info, " + "warn, error"};
}

bool logs(level l) noexcept {
  return logger().should_log(to_spdlog(l));
}

void log(level l, std::string_view room, std::string_view event, std::initializer_list<field> fields) {
  log(l, room, event, std::span<const field>{fields.begin(), fields.size()});
}

void log(level l, std::string_view room, std::string_view event, std::span<const field> fields) {
  if (!logs(l)) return;
  std::string line;
  line.reserve(160);
  ((((line += letters[static_cast<std::size_t>(l)]) += ' ') += room) += ' ') += event;
  for (const auto& f : fields) {
    ((line += ' ') += f.key) += '=';
    append_value(line, f.value);
  }
  logger().log(to_spdlog(l), spdlog::string_view_t{line.data(), line.size()});
}

std::uint64_t seldom::due() {
  constexpr std::int64_t pause_ns = 10'000'000'000;
  const auto now = boot_clock::now().time_since_epoch().count();
  auto next = next_ns_.load();
  if (now < next || !next_ns_.compare_exchange_strong(next, now + pause_ns)) {
    held_back_.fetch_add(1);
    return 0;
  }
  return 1 + held_back_.exchange(0);
}

}  // namespace troupe::observe
