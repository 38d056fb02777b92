#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/base/instant.hpp"

/// What time of day a node goes by. A wall clock can be set, and wrongly: records would be refused as if they came from
/// the future, and topics emptied as if years had passed. So a node believes its clock only as far as other nodes'
/// clocks agree with it, and after a step that nobody can judge it decides nothing by the time of day for an hour.
///
///     reading within an hour of the line           the reading counts
///     reading further away                         the line goes on by the monotonic clock, until there is a verdict:
///       agreed, a majority has another time        the line moves there
///       agreed, the reading is the majority's      the line moves to the reading
///       alone                                      the line moves to the reading: there is nobody to ask
///       disputed                                   the line stays, and nothing is decided by it
///
/// A line that moved by more than an hour is unsure for an hour.
namespace troupe {

/// Both clocks at one moment: `now` decides, `wall` stamps records and, while it is `sure`, judges and ages them.
struct moment {
  instant now;
  wall_time wall;
  bool sure{true};
};

/// What the clocks of a cluster say together; from the controller, with the answer to a heartbeat.
struct clock_verdict {
  enum class kind : std::uint8_t {
    unknown,   ///< not everyone was heard: as before
    alone,     ///< there is one node
    agreed,    ///< more than half of the nodes have the same hour
    disputed,  ///< all were heard, and no majority has the same hour
  };
  kind what{kind::unknown};
  wall_time time{};  ///< agreed: the time of day when it was said
  friend bool operator==(const clock_verdict&, const clock_verdict&) = default;
};

/// `clocks` are those that were heard, of `nodes` that serve, all read at the same moment.
clock_verdict judge_clocks(std::vector<wall_time> clocks, std::size_t nodes);

/// The time of day as it runs beside the monotonic clock.
struct wall_line {
  static constexpr std::chrono::milliseconds step_max = std::chrono::hours{1};
  std::chrono::milliseconds offset{0};  ///< of the time of day from the monotonic clock
  instant sure_from{};

  /// The clocks were read like this: what of it counts.
  moment at(instant now, wall_time reading) const noexcept;
  friend bool operator==(const wall_line&, const wall_line&) = default;
};

class wall_clock {
public:
  static constexpr std::chrono::milliseconds unsure_for = std::chrono::hours{1};
  wall_clock(instant now, wall_time reading) noexcept;

  void read(instant now, wall_time reading) noexcept;
  void judged(instant now, const clock_verdict&) noexcept;

  const wall_line& line() const noexcept { return line_; }
  /// What the clock itself says, right or wrong.
  wall_time reading(instant now) const noexcept;

private:
  std::chrono::milliseconds read_;  ///< offset of the newest reading
  wall_line line_;
};

}  // namespace troupe
