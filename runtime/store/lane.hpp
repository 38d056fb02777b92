#pragma once

#include <condition_variable>
#include <thread>

#include "runtime/store/chain.hpp"

/// A lane: the queue in front of its two chains, and who is told when a block is durable. A round of writing and a
/// round of syncing may be called without any thread; `run` is the loop of each of the lane's two threads.
///
/// Both threads do the same: take the turn to write, gather and write a block, hand on that turn, take the turn to
/// sync, sync, tell. So while one syncs block N the other gathers and writes block N+1, no more than two blocks are
/// ever written and not synced, and a lone caller who waits for each answer has no hop from thread to thread in
/// between. Who has no turn sleeps until there is something for it: each needless wake-up costs a lone caller more
/// than the write itself.
///
/// Group commit: while a block is under way, what arrives is gathered until that block is durable or there is `enough`
/// for another. And under a stream of mid-sized blocks the lane waits a moment (at most `linger`) for a fuller one,
/// because each block costs the same few dozen microseconds of processor whatever its size; a single caller who waits
/// for each answer never sees that.
namespace troupe::store {

/// Says when too little disk is left (R11), at the price of one statvfs every 100 ms, or every eighth of the reserve.
class space_watch {
public:
  space_watch(segment_device&, std::uint64_t reserve_bytes, const notice_sink&);
  bool full(instant now);
  bool is_full() const { return full_; }
  /// A write found the disk full, whatever the numbers say.
  void found_full(instant now, const std::string& why);
  void wrote(std::uint64_t bytes) { written_ += bytes; }
  /// May the cleaner copy? Also on a full disk, from the reserve: it gives back more than it takes, and without it a
  /// few live batches in every segment would keep the disk full for ever.
  bool room_to_clean(instant now);
  std::uint64_t free_bytes() const { return free_; }

private:
  void look(instant now);

  segment_device& device_;
  const std::uint64_t wanted_;
  const notice_sink& notice_;
  std::mutex mutex_;
  instant looked_at_{};
  bool looked_{false};
  std::uint64_t reserve_{0};
  std::atomic<std::uint64_t> written_{0};  // since we looked
  std::atomic<bool> full_{false};
  std::atomic<std::uint64_t> free_{0};
};

class lane {
public:
  lane(unsigned number, const options&, std::uint64_t hot_bytes, chain::surroundings, space_watch&);

  chain& of(durability level) { return level == durability::group ? group_ : interval_; }
  chain& group() { return group_; }
  chain& interval() { return interval_; }

  // -- any thread ---------------------------------------------------------------------------------------
  /// False after `stop`: the work was not taken.
  bool push(durability, work&);
  bool crowded() const { return queued_bytes_ > queue_bytes_; }
  std::uint64_t queued_bytes() const { return queued_bytes_; }
  void listen(log_id, std::shared_ptr<log_listener>);
  /// The lane looks after the age of its active segments.
  void look_at_ages();
  /// Writes what is queued, then ends `run`.
  void stop();

  // -- any thread; each kind of round is one at a time --------------------------------------------------
  /// Writes at most one block for each chain. False: nothing was queued.
  bool write_round(instant, wall_time);
  /// Makes durable what was written before, and tells.
  void sync_round(instant);
  /// Both.
  bool step(instant, wall_time);

  /// For so many threads.
  static constexpr unsigned threads = chain::unsettled_max;
  void run();

private:
  bool gather();
  void hand_on();
  bool write_queued(instant, wall_time);
  void settle(chain&, instant);
  void block_was_handled(instant);

  const std::uint64_t queue_bytes_, enough_;
  const std::chrono::milliseconds segment_age_;
  chain group_, interval_;
  space_watch& space_;
  const shared_counters& counters_;

  std::mutex mutex_;
  std::condition_variable arrived_;         ///< for a thread without a turn: there is something to gather
  std::condition_variable enough_arrived_;  ///< for the one that gathers: there is a block's worth, or the disk is free
  bool gathering_{false};                   ///< a thread has the turn to write
  bool left_{false};                        ///< what was queued was more than one block
  std::vector<work> arrivals_[2];           // group, interval
  bool stopping_{false}, ages_{false};
  bool under_way_{false};  ///< a block is written and not yet durable
  instant last_block_at_{};
  std::atomic<std::uint64_t> queued_bytes_{0};

  std::mutex writing_, syncing_;  ///< the turns; who writes may take the other, not the reverse

  // with the turn to write
  std::deque<work> queues_[2];
  std::uint64_t last_block_bytes_{0};
  std::size_t last_block_works_{0};

  /// Held while a listener is called, so that `listen` can promise that no call runs any more; recursive, because a
  /// listener may change listeners.
  std::recursive_mutex listening_;
  std::unordered_map<log_id, std::shared_ptr<log_listener>> listeners_;
};

}  // namespace troupe::store
