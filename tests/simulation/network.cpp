#include "tests/simulation/network.hpp"

#include <algorithm>

namespace troupe::sim {

void network::slow(place from, place to, double bytes_per_second) {
  slow_[{from, to}] = {bytes_per_second, kernel_.now()};
}

void network::send(place from, place to, std::size_t bytes, std::function<void()> arrive) {
  auto& random = kernel_.random();
  ++sent_;
  if (from == to) return kernel_.after(1us, std::move(arrive));
  const bool lost = random.chance(weather_.loss);
  const int copies = random.chance(weather_.repeat) ? 2 : 1;
  if (lost || is_cut(from, to)) {
    ++lost_;
    return;
  }
  auto shared = std::make_shared<std::function<void()>>(std::move(arrive));
  for (int copy = 0; copy < copies; ++copy) {
    auto when =
        kernel_.now() + (random.chance(weather_.late) ? kernel_.between(weather_.delay_min, weather_.late_max)
                                                      : kernel_.between(weather_.delay_min, weather_.delay_max));
    if (auto link = slow_.find({from, to}); link != slow_.end()) {
      auto& s = link->second;
      s.free_at = std::max(s.free_at, kernel_.now()) +
                  duration{static_cast<std::int64_t>(1e9 * static_cast<double>(bytes) / s.bytes_per_second)};
      when = std::max(when, s.free_at);
    }
    // A cut also swallows what is under way.
    kernel_.at(when, [this, from, to, shared] {
      if (is_cut(from, to))
        ++lost_;
      else
        (*shared)();
    });
  }
}

}  // namespace troupe::sim
