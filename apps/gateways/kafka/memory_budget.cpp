#include "apps/gateways/kafka/memory_budget.hpp"

namespace troupe::kafka {

void memory_budget::give_back(std::uint64_t bytes) {
  used_.fetch_sub(bytes);
  if (waited_for_.load() && roomy()) tell();
}

void memory_budget::wait_for_room(bool for_overdraft) {
  waited_for_ = true;
  // What came free before the line above was told to nobody.
  if (roomy() || (for_overdraft && !overdrawn_)) tell();
}

void memory_budget::return_overdraft() {
  overdrawn_ = false;
  tell();
}

void memory_budget::tell() {
  if (waited_for_.exchange(false) && told_) told_();
}

}  // namespace troupe::kafka
