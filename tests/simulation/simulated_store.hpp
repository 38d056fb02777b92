#pragma once

#include "runtime/store/lane.hpp"
#include "tests/simulation/machine.hpp"

namespace troupe::sim {

/// The node's logs on a simulated disk: the store's own lane, chains and recovery, one lane, no thread. What the real
/// store does on its threads happens here as events that take as long as the machine's disk does.
class simulated_store final : public store::log_store {
public:
  struct limits {
    std::uint64_t segment_bytes{1 << 20}, block_bytes{64 << 10};
  };
  /// Recovers what is on the disk. Errors as `log_store::open`.
  static result<std::shared_ptr<simulated_store>> open(kernel&, machine&, limits, store::notice_sink);

  result<std::vector<log_id>> create(const std::vector<store::log_identity>&, store::durability) override;
  result<void> drop(const std::vector<log_id>&) override;
  std::vector<store::log_info> logs() const override;
  void listen(log_id, std::shared_ptr<store::log_listener>) override;
  void append(log_id, std::vector<store::batch>) override;
  bool crowded(log_id) const override { return lane_->crowded(); }
  void truncate(log_id, log_offset end, done) override;
  void trim(log_id, log_offset start, done) override;
  void restart_at(log_id, log_offset start, done) override;
  void put_mark(log_id, store::mark, done) override;
  std::optional<result<store::read_result>> read(log_id, log_offset from, const store::read_limits&,
                                                 read_done later) override;
  result<std::optional<store::time_hit>> find_time(log_id, std::int64_t timestamp, log_offset from,
                                                   log_offset end) override;
  result<std::optional<store::time_hit>> latest_time(log_id, log_offset end) override;
  void run_blocking(std::function<void()> work) override { work(); }
  result<store::log_state> state(log_id) const override;
  std::vector<store::extent> extents(log_id) const override;
  void clean() override;
  store::statistics stats() const override;
  bool full() const override { return space_->is_full(); }
  void close() override {}

  bool failed() const { return counters_.failed; }
  /// Runs when the disk is found failed, once.
  std::function<void()> on_failure;

private:
  simulated_store(kernel&, machine&, limits, store::notice_sink);
  store::chain& of(store::durability level) const { return lane_->of(level); }
  const store::catalogue::log_row* find(log_id) const;
  void submit(store::work::kind, log_id, log_offset, shared_bytes, done);
  void push(store::durability, store::work&);
  void plan_round();
  void round();
  void tidy();

  kernel& kernel_;
  machine& machine_;
  const store::notice_sink notice_;
  store::options options_;
  std::unique_ptr<store::catalogue> catalogue_;
  store::row_cache cache_{1 << 20};
  store::shared_counters counters_;
  std::unique_ptr<store::space_watch> space_;
  std::unique_ptr<store::lane> lane_;
  std::map<log_id, store::catalogue::log_row> rows_;
  bool round_planned_{false}, told_failure_{false};
};

}  // namespace troupe::sim
