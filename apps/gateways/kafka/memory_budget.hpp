#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace troupe::kafka {

/// A bound on memory that many connections share: who finds it crowded starts nothing new and is told when there is
/// room again. Taking never fails; what is taken once crowded is one step of each connection that was reading already.
///
/// Half-received requests could fill the budget together, and then none could ever be completed. So one at a time, the
/// holder of the overdraft, may go on past the limit, and keeps the overdraft until its request's memory is free again:
/// if it were given on as soon as the request is whole, each connection in turn could bring one past the limit.
/// Thread-safe.
class memory_budget {
public:
  explicit memory_budget(std::uint64_t limit) : limit_{limit} {}

  bool crowded() const noexcept { return used_.load() >= limit_; }
  std::uint64_t used() const noexcept { return used_.load(); }

  void take(std::uint64_t bytes) noexcept { used_.fetch_add(bytes); }
  void give_back(std::uint64_t bytes);

  /// Whether the caller may go on although it is crowded. Who gets it returns it.
  bool try_overdraft() noexcept { return !overdrawn_.exchange(true); }
  void return_overdraft();

  /// Calls what was set by `when_roomy` once, from any thread, as soon as no more than seven eighths are used or
  /// the overdraft is given back. The gap keeps readers from starting and stopping with every request.
  /// `for_overdraft`: the caller was refused it a moment ago; if it came free since, that counts at once.
  void wait_for_room(bool for_overdraft = false);
  /// Before anyone waits.
  void when_roomy(std::function<void()> told) { told_ = std::move(told); }

private:
  bool roomy() const noexcept { return used_.load() <= limit_ / 8 * 7; }
  void tell();

  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<bool> waited_for_{false}, overdrawn_{false};
  std::function<void()> told_;
};

/// A part of the budget, given back when destroyed.
class memory_lease {
public:
  memory_lease() = default;
  explicit memory_lease(std::shared_ptr<memory_budget> budget) : budget_{std::move(budget)} {}
  memory_lease(memory_lease&& other) noexcept : budget_{other.budget_}, bytes_{std::exchange(other.bytes_, 0)} {}
  memory_lease& operator=(memory_lease&& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~memory_lease() { resize(0); }

  std::uint64_t bytes() const noexcept { return bytes_; }
  void resize(std::uint64_t bytes) {
    if (bytes > bytes_) budget_->take(bytes - bytes_);
    if (bytes < bytes_) budget_->give_back(bytes_ - bytes);
    bytes_ = bytes;
  }

private:
  std::shared_ptr<memory_budget> budget_;
  std::uint64_t bytes_{0};
};

/// The overdraft that a request came by; returned when destroyed.
class memory_overdraft {
public:
  memory_overdraft() = default;
  explicit memory_overdraft(std::shared_ptr<memory_budget> budget) : budget_{std::move(budget)} {}
  memory_overdraft(memory_overdraft&&) noexcept = default;
  memory_overdraft& operator=(memory_overdraft&&) = delete;
  ~memory_overdraft() {
    if (budget_) budget_->return_overdraft();
  }

private:
  std::shared_ptr<memory_budget> budget_;
};

}  // namespace troupe::kafka
