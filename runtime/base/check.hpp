#pragma once

namespace troupe {

/// Prints the broken invariant with its place and aborts. What runs after a broken invariant could
/// damage data; a stopped process cannot.
[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace troupe

/// An invariant that must hold, also in release builds. Never for input from outside: that is an error.
#define TROUPE_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::troupe::check_failed(#condition, __FILE__, __LINE__))
