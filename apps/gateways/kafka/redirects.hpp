#pragma once

#include <chrono>
#include <cstddef>
#include <map>

#include "actors/controller/image.hpp"
#include "runtime/base/instant.hpp"

namespace troupe::kafka {

/// Which partitions a client was sent to another replica for (KIP-392). Whoever is back soon was not served there: that
/// node is out of its reach, or its log begins later than the leader's. Sent there again at once it would go round in
/// circles, so for a while it is served here.
class redirects {
public:
  static constexpr std::chrono::seconds served_here_for{60};
  static constexpr std::size_t remembered_max = 10'000;

  /// False: it is to be served here.
  bool allowed(const partition_ref& where, instant now) const {
    const auto at = sent_.find(where);
    return at == sent_.end() ? sent_.size() < remembered_max : at->second + served_here_for <= now;
  }
  void sent(const partition_ref& where, instant now) {
    if (sent_.size() + 1 >= remembered_max)
      std::erase_if(sent_, [&](const auto& it) { return it.second + served_here_for <= now; });
    sent_[where] = now;
  }

private:
  std::map<partition_ref, instant> sent_;
};

}  // namespace troupe::kafka
