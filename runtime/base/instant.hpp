#pragma once

#include <chrono>

namespace troupe {

/// A moment on a clock that never steps back (CLOCK_BOOTTIME in the node, simulated in tests). Cores get it
/// as an argument and never ask for it.
struct boot_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<boot_clock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept;
};
using instant = boot_clock::time_point;

/// Milliseconds since 1970 by the wall clock: stamps records and ages segments, decides nothing else.
using wall_time = std::chrono::sys_time<std::chrono::milliseconds>;
wall_time wall_now() noexcept;

}  // namespace troupe
