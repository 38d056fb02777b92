#include "apps/gateways/kafka/admission.hpp"

namespace troupe::kafka {

std::optional<admission::seat> admission::enter(std::string address) {
  {
    const std::lock_guard lock{mutex_};
    auto& same = by_address_[address];
    const bool full = inside_ >= connections_max_;
    if (full || same >= per_address_max_) {
      if (same == 0) by_address_.erase(address);
      count_.refused(full ? "connections_max" : "connections_per_address_max");
      return {};
    }
    ++same;
    ++inside_;
  }
  count_.accepted.add();
  count_.connections.add(1);
  return seat{shared_from_this(), std::move(address)};
}

std::uint32_t admission::inside() const {
  const std::lock_guard lock{mutex_};
  return inside_;
}

void admission::leave(const std::string& address) {
  count_.connections.add(-1);
  const std::lock_guard lock{mutex_};
  --inside_;
  const auto same = by_address_.find(address);
  if (--same->second == 0) by_address_.erase(same);
}

}  // namespace troupe::kafka
