#pragma once

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "tests/simulation/kernel.hpp"

namespace troupe::sim {

/// Where a message can come from or go to: a node, or a client (clients count from `first_client`).
using place = int;
inline constexpr place first_client = 1000;

/// What a network may do to messages, each way by itself.
struct weather {
  duration delay_min{100us}, delay_max{800us};
  double loss{0}, repeat{0};
  double late{0};  ///< this share of messages takes up to `late_max` instead, so others overtake them
  duration late_max{50ms};
};

/// Carries closures from place to place. Knows who is cut off from whom; not what a message says.
class network {
public:
  explicit network(kernel& k) : kernel_{k} {}

  /// `bytes` matter on slow links only.
  void send(place from, place to, std::size_t bytes, std::function<void()> arrive);

  void set_weather(weather w) { weather_ = w; }
  const weather& now() const { return weather_; }
  /// Nothing goes from `from` to `to` any more; the other way is another matter.
  void cut(place from, place to) { cut_.emplace(from, to); }
  void heal(place from, place to) { cut_.erase({from, to}); }
  void heal_all() {
    cut_.clear();
    slow_.clear();
  }
  bool is_cut(place from, place to) const { return cut_.contains({from, to}); }
  bool any_cut() const { return !cut_.empty(); }
  /// From now on this link carries so many bytes a second, in order.
  void slow(place from, place to, double bytes_per_second);

  std::uint64_t sent() const { return sent_; }
  std::uint64_t lost() const { return lost_; }

private:
  struct slow_link {
    double bytes_per_second;
    instant free_at{};
  };

  kernel& kernel_;
  weather weather_;
  std::set<std::pair<place, place>> cut_;
  std::map<std::pair<place, place>, slow_link> slow_;
  std::uint64_t sent_{0}, lost_{0};
};

}  // namespace troupe::sim
