#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

#include "runtime/base/crc32c.hpp"
#include "runtime/store/log.hpp"
#include "tests/support/scratch.hpp"

namespace troupe::store {

inline log_identity identity(int partition, std::int64_t added_at = 0) {
  uuid topic;
  topic.bytes[0] = 7;
  return {topic, partition_index{partition}, added_at};
}

/// A batch whose bytes say where it belongs, so that a wrong one shows.
inline batch make_batch(std::int64_t base, std::int32_t offsets = 1, std::size_t bytes = 100, int epoch = 0,
                        std::int64_t timestamp = -1, std::string_view salt = "") {
  std::string text = "batch " + std::to_string(base) + "+" + std::to_string(offsets) + " epoch " +
                     std::to_string(epoch) + " " + std::string{salt} + " ";
  text.resize(std::max(bytes, text.size() + 21), static_cast<char>('a' + base % 26));
  batch b;
  b.base = log_offset{base};
  b.offsets = offsets;
  b.epoch = leader_epoch{epoch};
  b.timestamp_max = timestamp;
  b.bytes = shared_bytes::copy_of(as_bytes(text));
  b.checked_from = 21;
  b.crc = crc32c(b.bytes.view().subspan(21));
  return b;
}

/// Collects what a log tells, and waits for it.
class hearing : public log_listener {
public:
  void durable(log_offset end) override {
    std::scoped_lock lock{mutex_};
    durable_ = end;
    ++calls_;
    changed_.notify_all();
  }
  void refused(log_offset end, const error& why) override {
    std::scoped_lock lock{mutex_};
    refused_.emplace_back(end, why);
    changed_.notify_all();
  }
  bool wait_durable(std::int64_t end) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, std::chrono::seconds{20}, [&] { return durable_ >= log_offset{end}; });
  }
  bool wait_refused() {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, std::chrono::seconds{20}, [&] { return !refused_.empty(); });
  }
  std::vector<std::pair<log_offset, error>> refused() {
    std::scoped_lock lock{mutex_};
    return refused_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  log_offset durable_;
  int calls_{0};
  std::vector<std::pair<log_offset, error>> refused_;
};

/// Waits for an answer that comes on another thread.
template <class T>
class answer {
public:
  std::function<void(result<T>)> take() {
    return [s = state_](result<T> r) {
      std::scoped_lock lock{s->mutex};
      s->value.emplace(std::move(r));
      s->changed.notify_all();
    };
  }
  result<T> get() {
    std::unique_lock lock{state_->mutex};
    if (!state_->changed.wait_for(lock, std::chrono::seconds{20}, [&] { return state_->value.has_value(); }))
      return {errc::timed_out, "no answer within 20 s"};
    return *state_->value;
  }

private:
  struct shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<result<T>> value;
  };
  std::shared_ptr<shared> state_{std::make_shared<shared>()};
};

inline result<read_result> read_now(log_store& store, log_id id, std::int64_t from, read_limits limits) {
  answer<read_result> later;
  auto now = store.read(id, log_offset{from}, limits, later.take());
  return now ? *now : later.get();
}

/// All bytes of the log from `from` to its end, as one text.
inline result<std::string> read_text(log_store& store, log_id id, std::int64_t from, std::int64_t end = INT64_MAX) {
  std::string text;
  log_offset at{from};
  for (;;) {
    auto piece = read_now(store, id, at.value(), {log_offset{end}, 1 << 20, true});
    if (!piece) return piece.error();
    if (piece->slices.empty()) return text;
    std::uint64_t bytes = 0;
    for (const auto& s : piece->slices) {
      auto loaded = s.load();
      if (!loaded) return loaded.error();
      text += as_text(*loaded);
      bytes += loaded->size();
    }
    EXPECT_EQ(bytes, piece->bytes);
    EXPECT_GT(piece->next, at);
    at = piece->next;
  }
}

inline std::string text_of(const std::vector<batch>& batches) {
  std::string text;
  for (const auto& b : batches) text += as_text(b.bytes);
  return text;
}

/// Opens stores on one directory, keeps what they said.
struct store_fixture {
  test::scratch_directory directory{std::filesystem::temp_directory_path()};
  options settings;
  std::mutex mutex;
  std::vector<notice> notices;
  std::unique_ptr<log_store> store;

  store_fixture() {
    settings.lanes = 1;
    settings.segment_bytes = 1 << 20;
    settings.reserve_bytes = 1;
  }
  void open() {
    store.reset();
    auto opened = log_store::open(directory.path(), settings, [this](const notice& n) {
      std::scoped_lock lock{mutex};
      notices.push_back(n);
    });
    ASSERT_TRUE(opened) << opened.error().text;
    store = std::move(*opened);
  }
  std::string said(std::string_view event) {
    std::scoped_lock lock{mutex};
    std::string all;
    for (const auto& n : notices)
      if (n.event == event) all += n.fields + "\n";
    return all;
  }
  log_id make(int partition, durability level = durability::group) {
    auto ids = store->create({identity(partition)}, level);
    EXPECT_TRUE(ids);
    return ids->at(0);
  }
  /// Appends and waits until it is durable.
  void append(log_id id, std::vector<batch> batches) {
    auto heard = std::make_shared<hearing>();
    store->listen(id, heard);
    const auto end = batches.back().base + batches.back().offsets;
    store->append(id, std::move(batches));
    EXPECT_TRUE(heard->wait_durable(end.value()));
    store->listen(id, nullptr);
  }
  log_state state(log_id id) {
    auto s = store->state(id);
    EXPECT_TRUE(s);
    return s ? *s : log_state{};
  }
  result<void> trim(log_id id, std::int64_t start) {
    answer<void> a;
    store->trim(id, log_offset{start}, a.take());
    return a.get();
  }
  result<void> truncate(log_id id, std::int64_t end) {
    answer<void> a;
    store->truncate(id, log_offset{end}, a.take());
    return a.get();
  }
  result<void> restart(log_id id, std::int64_t start) {
    answer<void> a;
    store->restart_at(id, log_offset{start}, a.take());
    return a.get();
  }
  result<void> put_mark(log_id id, std::int64_t at, std::string_view state) {
    answer<void> a;
    store->put_mark(id, {log_offset{at}, shared_bytes::copy_of(as_bytes(state))}, a.take());
    return a.get();
  }
};

inline std::vector<batch> make_batches(std::int64_t from, int count, std::size_t bytes = 100, int epoch = 0,
                                       std::string_view salt = "") {
  std::vector<batch> out;
  for (int i = 0; i < count; ++i) out.push_back(make_batch(from + i, 1, bytes, epoch, 1000 + from + i, salt));
  return out;
}

}  // namespace troupe::store
