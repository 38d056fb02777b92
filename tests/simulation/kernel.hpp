#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <queue>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/random.hpp"

/// The simulator's ground: one thread, one queue of events, one seed. Whatever happens, happens because an event of
/// this queue ran, and all chance comes from `random()`; so the same seed gives the same history, bit for bit.
namespace troupe::sim {

using namespace std::chrono_literals;
using duration = std::chrono::nanoseconds;

class kernel {
public:
  using event = std::function<void()>;

  explicit kernel(std::uint64_t seed) : random_{seed} {}
  kernel(const kernel&) = delete;
  kernel& operator=(const kernel&) = delete;

  /// True time, which no node sees: their clocks drift from it.
  instant now() const { return now_; }
  random_source& random() { return random_; }
  uuid new_id();
  /// Uniform in [from, to].
  duration between(duration from, duration to);

  /// Events at the same time run in the order in which they were made.
  void at(instant, event);
  void after(duration d, event e) { at(now_ + d, std::move(e)); }
  void run_until(instant);
  std::uint64_t events() const { return events_; }
  /// So much never happens in order: messages beget messages. From then on nothing happens any more.
  bool exhausted() const { return events_ >= events_max; }

  // -- the story ------------------------------------------------------------------------------------------
  /// What somebody who reads a failure wants to know. The last `story_max` lines are kept, all are fingerprinted.
  void tell(const std::string& line);
  /// Something happened that is not worth a line, but must be the same in a replay.
  void note(std::uint64_t fact);
  std::uint64_t fingerprint() const { return fingerprint_; }
  const std::deque<std::string>& story() const { return story_; }
  /// Every line, as it is told; for scenarios and for looking at one seed.
  std::function<void(const std::string&)> on_line;

private:
  static constexpr std::size_t story_max = 200;
  static constexpr std::uint64_t events_max = 5'000'000;
  struct planned {
    instant at;
    std::uint64_t number;
    event what;
  };
  struct later {
    bool operator()(const planned& a, const planned& b) const {
      return a.at != b.at ? a.at > b.at : a.number > b.number;
    }
  };

  instant now_{};
  random_source random_;
  std::vector<planned> heap_;
  std::uint64_t made_{0}, events_{0};
  std::uint64_t fingerprint_{0xcbf29ce484222325};
  std::deque<std::string> story_;
};

/// A machine's clock: runs `rate` times as fast as true time and started at another moment. Wall time can be set.
class node_clock {
public:
  node_clock(const kernel& k, double rate, duration start) : kernel_{&k}, rate_{rate}, base_{start} {}

  instant now() const;
  wall_time wall() const;
  /// From now on; what it showed so far stays.
  void drift(double rate);
  void step_wall(std::chrono::milliseconds by) { wall_offset_ += by; }
  void set_wall_right() { wall_offset_ = {}; }
  /// How long it takes until this clock has moved by `local`.
  duration true_time(duration local) const;

private:
  const kernel* kernel_;
  double rate_;
  duration base_;  ///< what it showed at `since_`
  instant since_{};
  std::chrono::milliseconds wall_offset_{0};
};

}  // namespace troupe::sim
