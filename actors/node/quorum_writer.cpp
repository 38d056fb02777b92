#include "actors/node/quorum_writer.hpp"

#include "runtime/base/instant.hpp"

namespace troupe {

quorum_writer::quorum_writer(std::unique_ptr<raft_table> table, listener l)
    : table_{std::move(table)}, to_{std::move(l)}, past_{table_->past()}, thread_{[this] { run(); }} {}

quorum_writer::~quorum_writer() {
  {
    std::lock_guard lock{mutex_};
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void quorum_writer::push(raft::write w) {
  {
    std::lock_guard lock{mutex_};
    writes_.push_back(std::move(w));
  }
  changed_.notify_all();
}

void quorum_writer::put(node_past what, std::function<void()> done) {
  past_ = what;
  {
    std::lock_guard lock{mutex_};
    notes_.push_back({std::move(what), std::move(done)});
  }
  changed_.notify_all();
}

void quorum_writer::run() {
  std::unique_lock lock{mutex_};
  while (true) {
    changed_.wait(lock, [&] { return ending_ || !writes_.empty() || !notes_.empty(); });
    if (writes_.empty() && notes_.empty()) return;
    const std::vector<raft::write> writes{std::make_move_iterator(writes_.begin()),
                                          std::make_move_iterator(writes_.end())};
    const auto notes = std::exchange(notes_, {});
    writes_.clear();
    lock.unlock();
    const auto begun = boot_clock::now();
    if (!writes.empty() && !patiently([&] { return table_->write(writes); })) return;
    if (!writes.empty()) {
      to_.took(boot_clock::now() - begun);
      to_.written(writes.back().number);
    }
    for (const auto& n : notes) {
      if (!patiently([&] { return table_->put(n.what); })) return;
      if (n.done) n.done();
    }
    lock.lock();
  }
}

/// False: it failed for good.
bool quorum_writer::patiently(const std::function<result<void>()>& write) {
  for (bool said = false;;) {
    auto done = write();
    if (done) return true;
    if (done.code() != errc::storage_full) {
      to_.failed(done.error());
      return false;
    }
    if (!std::exchange(said, true)) to_.waits(done.error());
    std::unique_lock lock{mutex_};
    if (changed_.wait_for(lock, full_again_after, [&] { return ending_; })) return false;
  }
}

}  // namespace troupe
