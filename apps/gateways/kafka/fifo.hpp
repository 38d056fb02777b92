#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace troupe::kafka {

/// A queue that costs nothing while empty (std::deque holds on to half a kilobyte): most connections are idle.
template <class T>
class fifo {
public:
  bool empty() const noexcept { return first_ == items_.size(); }
  std::size_t size() const noexcept { return items_.size() - first_; }
  T& front() { return items_[first_]; }
  T& operator[](std::size_t i) { return items_[first_ + i]; }

  void push(T item) { items_.push_back(std::move(item)); }
  void pop() {
    items_[first_++] = T{};
    if (empty()) return clear();
    if (first_ >= 32 && first_ * 2 >= items_.size()) {
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
  }
  void clear() {
    items_.clear();
    first_ = 0;
    if (items_.capacity() > 64) items_.shrink_to_fit();
  }

private:
  std::vector<T> items_;
  std::size_t first_{0};
};

}  // namespace troupe::kafka
