#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "tests/store/workload.hpp"

namespace troupe::test {

/// One log and its owner, as a partition would be: appends at the end, waits, starts again from where it was refused.
class one_log {
public:
  one_log(store::log_store& store, int slot, store::durability level, std::size_t batch_bytes)
      : store_{store}, slot_{slot}, batch_bytes_{batch_bytes}, ear_{std::make_shared<ear>()} {
    const auto logs = store.logs();
    const auto known =
        std::find_if(logs.begin(), logs.end(), [&](const auto& x) { return x.identity == identity_of(slot, 1); });
    if (known != logs.end()) {
      id_ = known->id;
    } else {
      auto made = store.create({identity_of(slot, 1)}, level);
      TROUPE_CHECK(made.ok());
      id_ = made->front();
    }
    const auto state = store.state(id_);
    TROUPE_CHECK(state.ok());
    ear_->end = state->end;
    store.listen(id_, ear_);
  }
  ~one_log() { store_.listen(id_, nullptr); }
  one_log(const one_log&) = delete;
  one_log& operator=(const one_log&) = delete;

  log_id id() const { return id_; }
  log_offset end() const {
    const std::lock_guard lock{ear_->mutex};
    return ear_->end;
  }
  /// Appends one batch and waits for what becomes of it.
  result<void> append() {
    const auto base = end();
    const stamp s{.base = base.value(), .offsets = 10, .number = number_++};
    ear_->wanted(base + 10);
    store_.append(id_, {make_batch(slot_, 1, s, batch_bytes_)});
    return ear_->wait();
  }
  /// Appends one batch; tries again while the disk is full, as a producer would.
  result<void> append_until(std::chrono::seconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
      auto how = append();
      if (how || how.code() != errc::storage_full || std::chrono::steady_clock::now() > deadline) return how;
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
  }
  result<void> trim(log_offset start) {
    auto answer = std::make_shared<std::promise<result<void>>>();
    store_.trim(id_, start, [answer](result<void> how) { answer->set_value(std::move(how)); });
    return answer->get_future().get();
  }
  /// Everything in it, or what is wrong with it.
  std::optional<std::string> trouble() const {
    const auto state = store_.state(id_);
    if (!state) return state.error().text;
    if (state->end < end()) return "ends at " + std::to_string(state->end.value());
    const auto read = read_log(store_, id_, slot_, 1, state->start, state->end);
    if (read.wrong_bytes) return read.wrong_bytes;
    return read.failed ? std::optional{read.failed->text} : std::nullopt;
  }

private:
  struct ear final : store::log_listener {
    mutable std::mutex mutex;
    std::condition_variable changed;
    log_offset end, target;
    std::optional<error> why;

    void durable(log_offset to) override {
      const std::lock_guard lock{mutex};
      end = std::max(end, to);
      changed.notify_all();
    }
    void refused(log_offset to, const error& e) override {
      const std::lock_guard lock{mutex};
      end = to;
      why = e;
      changed.notify_all();
    }
    void wanted(log_offset to) {
      const std::lock_guard lock{mutex};
      target = to;
      why.reset();
    }
    result<void> wait() {
      std::unique_lock lock{mutex};
      const bool answered = changed.wait_for(lock, std::chrono::seconds{20}, [&] { return why || end >= target; });
      if (!answered) return {errc::timed_out, "neither durable nor refused after 20 s"};
      if (why) return *why;
      return {};
    }
  };

  store::log_store& store_;
  int slot_;
  std::size_t batch_bytes_;
  std::uint64_t number_{1};
  log_id id_;
  std::shared_ptr<ear> ear_;
};

inline std::uint64_t bytes_below(const std::filesystem::path& directory) {
  std::uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{directory}) {
    std::error_code gone;  // the cleaner may be faster
    const auto size = entry.is_regular_file(gone) ? entry.file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

}  // namespace troupe::test
