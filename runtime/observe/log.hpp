#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"

/// Log lines are events with fields: what happened, to whom, and the numbers needed to act.
///
///     I partition isr_shrunk entity=partition/orders/3 epoch=7 isr=1,2
///
/// Shells write them; cores stay silent. No payloads, no users' positions.
namespace troupe::observe {

/// error: a person must act; warn: unusual, handled; info: a life-cycle change; debug: a decision; trace: a message.
enum class level : std::uint8_t { trace, debug, info, warn, error };

struct field {
  std::string_view key;
  std::string value;

  field(std::string_view k, std::string_view v) : key{k}, value{v} {}
  field(std::string_view k, const char* v) : key{k}, value{v} {}
  field(std::string_view k, const std::string& v) : key{k}, value{v} {}
  template <std::integral T>
  field(std::string_view k, T v) : key{k}, value{std::to_string(v)} {}
  template <std::floating_point T>
  field(std::string_view k, T v) : key{k}, value{std::to_string(v)} {}
  template <class Tag, class Rep>
  field(std::string_view k, strong<Tag, Rep> v) : key{k}, value{std::to_string(v.value())} {}
  field(std::string_view k, log_offset v) : key{k}, value{std::to_string(v.value())} {}
  field(std::string_view k, const error& e) : key{k}, value{std::string{to_string(e.code)} + ": " + e.text} {}
};

/// From which level on lines are written; before, from info on.
void set_up_log(level from);
/// One of trace, debug, info, warn, error.
result<level> parse_level(std::string_view name);
bool logs(level) noexcept;

/// Writes one line to standard error. Values with spaces, quotes or control characters are quoted and escaped, very
/// long ones cut. Thread-safe.
void log(level, std::string_view room, std::string_view event, std::initializer_list<field> fields = {});
/// The same for fields that are put together at run time.
void log(level, std::string_view room, std::string_view event, std::span<const field> fields);

/// Says whether a repeated warning is due: the first at once, then one in ten seconds, with the number left out.
class seldom {
public:
  /// How many warnings this one stands for; 0: say nothing. Thread-safe.
  std::uint64_t due();

private:
  std::atomic<std::int64_t> next_ns_{0};
  std::atomic<std::uint64_t> held_back_{0};
};

}  // namespace troupe::observe
