#include "tests/simulation/kernel.hpp"

#include <algorithm>
#include <cstdio>

#include "runtime/base/check.hpp"

namespace troupe::sim {

uuid kernel::new_id() {
  uuid id;
  for (auto& b : id.bytes) b = static_cast<std::uint8_t>(random_());
  return id;
}

duration kernel::between(duration from, duration to) {
  TROUPE_CHECK(from <= to);
  return from + duration{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>((to - from).count()) + 1))};
}

void kernel::at(instant when, event e) {
  heap_.push_back({std::max(when, now_), made_++, std::move(e)});
  std::push_heap(heap_.begin(), heap_.end(), later{});
}

void kernel::run_until(instant end) {
  while (!heap_.empty() && heap_.front().at <= end && !exhausted()) {
    std::pop_heap(heap_.begin(), heap_.end(), later{});
    auto next = std::move(heap_.back());
    heap_.pop_back();
    now_ = next.at;
    ++events_;
    next.what();
  }
  now_ = std::max(now_, end);
}

void kernel::note(std::uint64_t fact) {
  fingerprint_ = (fingerprint_ ^ fact) * 0x100000001b3;
  fingerprint_ ^= fingerprint_ >> 29;
}

void kernel::tell(const std::string& line) {
  char time[24];
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now_.time_since_epoch()).count();
  std::snprintf(time, sizeof time, "%3lld.%06lld ", static_cast<long long>(us / 1'000'000),
                static_cast<long long>(us % 1'000'000));
  auto told = time + line;
  for (const char c : told) note(static_cast<unsigned char>(c));
  if (on_line) on_line(told);
  if (story_.size() == story_max) story_.pop_front();
  story_.push_back(std::move(told));
}

// -- node_clock -------------------------------------------------------------------------------------------

instant node_clock::now() const {
  const auto passed = static_cast<double>((kernel_->now() - since_).count()) * rate_;
  return instant{base_ + duration{static_cast<std::int64_t>(passed)}};
}

wall_time node_clock::wall() const {
  // Any date will do, as long as all machines mean nearly the same one.
  constexpr auto start = wall_time{std::chrono::milliseconds{1'700'000'000'000}};
  return start + std::chrono::duration_cast<std::chrono::milliseconds>(kernel_->now().time_since_epoch()) +
         wall_offset_;
}

void node_clock::drift(double rate) {
  base_ = now().time_since_epoch();
  since_ = kernel_->now();
  rate_ = rate;
}

duration node_clock::true_time(duration local) const {
  return duration{static_cast<std::int64_t>(static_cast<double>(local.count()) / rate_) + 1};
}

}  // namespace troupe::sim
