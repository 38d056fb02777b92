#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "runtime/raft/raft_table.hpp"

namespace troupe {

/// Makes the quorum's writes durable on a thread of its own, so that a slow disk delays what depends on it and no
/// heartbeat. What waits is written in one commit. A full disk is tried again until there is room.
class quorum_writer {
public:
  struct listener {
    std::function<void(std::uint64_t number)> written;  ///< everything up to this write is durable
    std::function<void(std::chrono::nanoseconds)> took;
    std::function<void(const error&)> waits;   ///< the disk is full; said once each time
    std::function<void(const error&)> failed;  ///< what is on the disk is unknown. Nothing is written any more
  };
  /// All of them are called on the writer's thread.
  quorum_writer(std::unique_ptr<raft_table>, listener);
  /// What was pushed is written first.
  ~quorum_writer();

  void push(raft::write);
  /// `done` after it is durable; not at all if the disk fails.
  void put(node_past, std::function<void()> done = {});
  const node_past& past() const noexcept { return past_; }

private:
  struct note {
    node_past what;
    std::function<void()> done;
  };
  void run();
  bool patiently(const std::function<result<void>()>& write);

  static constexpr std::chrono::milliseconds full_again_after{500};

  std::unique_ptr<raft_table> table_;
  listener to_;
  node_past past_;  ///< as put last
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<raft::write> writes_;
  std::deque<note> notes_;
  bool ending_{false};
  std::thread thread_;
};

}  // namespace troupe
