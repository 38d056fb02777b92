#include "runtime/base/wall_clock.hpp"

#include <algorithm>

namespace troupe {

namespace {

using std::chrono::milliseconds;

milliseconds since_start(instant now) noexcept {
  return std::chrono::floor<milliseconds>(now.time_since_epoch());
}

/// Clocks come from other nodes, so the distance may be more than there are milliseconds.
bool apart(milliseconds a, milliseconds b) noexcept {
  std::int64_t by = 0;
  return __builtin_sub_overflow(a.count(), b.count(), &by) || by > wall_line::step_max.count() ||
         by < -wall_line::step_max.count();
}

std::optional<milliseconds> offset_of(wall_time at, instant now) noexcept {
  std::int64_t by = 0;
  if (__builtin_sub_overflow(at.time_since_epoch().count(), since_start(now).count(), &by)) return {};
  return milliseconds{by};
}

wall_time on_line(milliseconds offset, instant now) noexcept {
  std::int64_t at = 0;
  return wall_time{milliseconds{__builtin_add_overflow(offset.count(), since_start(now).count(), &at) ? 0 : at}};
}

}  // namespace

clock_verdict judge_clocks(std::vector<wall_time> clocks, std::size_t nodes) {
  using kind = clock_verdict::kind;
  if (nodes <= 1) return {kind::alone, {}};
  std::ranges::sort(clocks);
  // The one that most others are near.
  const wall_time* best = nullptr;
  std::size_t most = 0;
  for (const auto& it : clocks) {
    const auto with_it = static_cast<std::size_t>(std::ranges::count_if(
        clocks, [&](wall_time other) { return !apart(it.time_since_epoch(), other.time_since_epoch()); }));
    if (with_it > most) {
      most = with_it;
      best = &it;
    }
  }
  if (2 * most > nodes) return {kind::agreed, *best};
  return {clocks.size() >= nodes ? kind::disputed : kind::unknown, {}};
}

moment wall_line::at(instant now, wall_time reading) const noexcept {
  const auto expected = on_line(offset, now);
  const bool believed = !apart(reading.time_since_epoch(), expected.time_since_epoch());
  return {now, believed ? reading : expected, now >= sure_from};
}

wall_clock::wall_clock(instant now, wall_time reading) noexcept
    : read_{offset_of(reading, now).value_or(milliseconds{0})}, line_{read_, now} {}

void wall_clock::read(instant now, wall_time reading) noexcept {
  read_ = offset_of(reading, now).value_or(read_);
  // Small steps and drift are followed; not each of them, so that the line seldom changes.
  using namespace std::chrono_literals;
  const auto by = apart(read_, line_.offset) ? 0ms : read_ - line_.offset;
  if (by > 1s || by < -1s) line_.offset = read_;
}

void wall_clock::judged(instant now, const clock_verdict& v) noexcept {
  using kind = clock_verdict::kind;
  if (v.what == kind::unknown) return;
  if (v.what == kind::disputed) {
    line_.sure_from = instant::max();
    return;
  }
  if (line_.sure_from == instant::max()) line_.sure_from = now;
  auto to = read_;
  if (v.what == kind::agreed)
    if (const auto theirs = offset_of(v.time, now); theirs && apart(read_, *theirs)) to = *theirs;
  if (!apart(to, line_.offset)) return;
  line_ = {to, now + unsure_for};
}

wall_time wall_clock::reading(instant now) const noexcept {
  return on_line(read_, now);
}

}  // namespace troupe
