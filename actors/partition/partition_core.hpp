#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "actors/partition/decompressor.hpp"
#include "actors/partition/epoch_table.hpp"
#include "actors/partition/partition.hpp"
#include "actors/partition/producers.hpp"
#include "actors/partition/unknown_producers.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/base/wall_clock.hpp"
#include "runtime/store/log.hpp"

namespace troupe {

/// Who holds the partition's records: for acks=all.
struct replica_set {
  std::int32_t replicas{1}, in_sync{1};
  std::int32_t adding{0};  ///< of `replicas`: not yet part of the plan
};

/// The log as a replica finds it when it starts.
struct partition_restored {
  log_offset start, end;
  std::vector<store::epoch_start> epochs;
  troupe::producers producers;
  std::optional<log_offset> damaged_from;
  std::optional<log_offset> marked;  ///< place of the mark that `producers` came from
};

/// One replica's view of its partition: knows what is stored (`durable`), what may be read (`watermark`), and which
/// producers wrote it. While it leads it gives out offsets, keeps producers apart, and knows who waits.
///
/// Pure: time comes in as an argument, decisions go out as effects. With a replica set of one what is durable is
/// committed; with more, whoever counts the replicas calls `committed`. Who leads is told as well.
///
///     start <= watermark <= durable <= end        the watermark moves back only by an unclean election's `truncated`
///     end moves back only by `refused`, never below `durable`, and by `truncated`
class partition_core {
public:
  static constexpr std::size_t watchers_max = 10'000;

  struct produce_answer {
    std::function<void(produce::outcome)> to;
    produce::outcome outcome;
  };
  struct fetch_answer {
    std::function<void(fetch::outcome)> to;
    fetch::outcome outcome;
  };
  /// To be performed in this order.
  struct effects {
    std::vector<store::batch> append;
    std::vector<produce_answer> produced;
    std::vector<fetch_answer> fetched;
    std::vector<fetch> woken;  ///< there is something new for them: read and answer again
    bool empty() const noexcept { return append.empty() && produced.empty() && fetched.empty() && woken.empty(); }
  };

  /// A replica that does not lead yet. Its watermark is the one of the mark, or the log's start.
  partition_core(topic_settings, partition_restored);
  /// One that leads from the first moment on.
  partition_core(leader_epoch, topic_settings, partition_restored, replica_set = {});

  // -- roles ----------------------------------------------------------------------------------------------

  /// This replica leads, or leads on, under this epoch. Who waits goes on waiting: the log is still theirs.
  effects led(leader_epoch, replica_set);
  /// It does not, or no longer: everyone who waits hears `why`. Reads below the watermark go on.
  effects followed(leader_epoch, const error& why);
  /// While it leads. With too few in sync acks=all callers get not_enough_replicas_after_append.
  effects replicas_changed(replica_set);
  bool leads() const noexcept { return leads_; }

  // -- a follower's log -----------------------------------------------------------------------------------

  /// Appended as the leader sent them: dense from `end()` on, epochs not falling. Into an empty log the first may reach
  /// from below its start: a log may start within a batch.
  void replicated(std::span<const store::batch>, wall_time now);
  /// The log was cut; below the watermark only after an unclean election. Damage above is gone.
  void truncated(log_offset end);
  /// The log was dropped and goes on, empty, at `start`.
  void restarted(log_offset start);
  /// The leader deleted what lies below. Not above the watermark.
  void trimmed(log_offset start);

  // -- events ---------------------------------------------------------------------------------------------

  /// `crowded`: the disk has more to write than it should. Errors, in this order: invalid_required_acks,
  /// transactions_unavailable, storage_damaged, storage_failed, busy, those of `check_batch`, not_enough_replicas,
  /// those of `producers::check`; later storage_full, storage_failed, and, where it may have been stored, timed_out,
  /// not_enough_replicas_after_append, and what `followed` says. not_leader comes second. A gap shortly after a batch
  /// was refused for a while is refused for the same reason, and so is an unknown producer's later batch; for
  /// as long as `unknown_producers` lets it wait it is not_leader. Timestamps are judged only while the clock is sure.
  effects produced(produce&&, moment, bool crowded, decompressor&);
  /// Batches may have been refused for a while before they came here: as if one had been refused here, for this reason.
  void refused_before(error why, instant now);
  /// Leads from now on, and another may have led before: batches may be on their way to that one, or refused there.
  void took_over(bool another_led, instant now);
  /// Everything below `end` is on this node's disk.
  effects durable(log_offset end);
  /// Everything below `watermark` is on every replica in sync.
  effects committed(log_offset watermark);
  /// What was appended from `end` on was not written and never will be.
  effects refused(log_offset end, const error& why);
  /// Ends what has waited too long. Call it about once a second while `waiting()`.
  effects tick(instant now);
  bool waiting() const noexcept;
  /// The partition goes away: everyone who waits hears `why`.
  effects ended(const error& why);
  void reconfigured(topic_settings settings) { settings_ = std::move(settings); }

  // -- reading --------------------------------------------------------------------------------------------

  /// Whether a fetch may read, and up to where. Without `read` the outcome is the answer.
  /// Errors: fenced_epoch, unknown_epoch, offset_out_of_range; offset_not_available (it follows, and has not got so
  /// far).
  struct admission {
    fetch::outcome outcome;
    bool read{false};
    log_offset end;
  };
  admission fetched(const fetch&) const;
  /// The fetch wants to hear of what is new since `seen`, a watermark: at once if there is already. Error: busy.
  result<effects> watch(fetch, log_offset seen);
  /// Whether there is room for one more; makes room by forgetting those that wait no longer.
  bool watchable();

  /// The answer, or nothing: then the log has to be searched below `watermark()`.
  std::optional<list_offsets::outcome> offsets_listed(const list_offsets&) const;
  epoch_end::outcome epoch_ended(const epoch_end&) const;

  // -- deleting -------------------------------------------------------------------------------------------

  /// The new start, already in force: trim the log to it, then answer. Nothing: it was there already.
  /// Errors: not_leader, offset_out_of_range.
  result<std::optional<log_offset>> records_deleted(log_offset before);
  /// The new start, if age (by a clock that is sure) or size of the log's `extents` (oldest first) say so; already in
  /// force.
  std::optional<log_offset> retained(std::span<const store::extent> extents, moment);
  bool retains_all() const noexcept { return !settings_.retention && !settings_.retention_bytes; }

  // -- marks ----------------------------------------------------------------------------------------------

  /// What to find again after a restart, if that changed. A large mark (many producers) waits until as many bytes
  /// were appended as it takes, or until the partition stops.
  std::optional<store::mark> mark(bool stopping);
  bool mark_outdated() const noexcept { return watermark_ != marked_; }
  /// The producers of a mark. Errors: malformed.
  static result<producers> producers_of(const store::mark&);

  // -- queries --------------------------------------------------------------------------------------------

  log_offset start() const noexcept { return start_; }
  log_offset end() const noexcept { return end_; }
  log_offset durable_end() const noexcept { return durable_; }
  log_offset watermark() const noexcept { return watermark_; }
  leader_epoch epoch() const noexcept { return epoch_; }
  const troupe::producers& known_producers() const noexcept { return producers_; }
  const epoch_table& epochs() const noexcept { return epochs_; }

private:
  void forget_watchers_over();
  struct waiting_produce {
    log_offset end;
    instant deadline;
    produce_answer answer;
  };
  /// Sorted by `end`.
  using wait_queue = std::deque<waiting_produce>;

  produce::outcome outcome() const;
  std::optional<error> refuse_early(const produce&, bool crowded) const;
  std::optional<error> check_epoch(leader_epoch callers) const;
  static error not_leading();
  epoch_table::place end_of(leader_epoch) const;
  leader_epoch epoch_at(log_offset) const;
  std::int32_t in_sync_needed() const noexcept;
  bool enough_in_sync() const noexcept;
  bool damaged() const noexcept;
  bool commits_alone() const noexcept;
  effects fail_everyone(const error& why);
  void fail_all(wait_queue&, const error& why, effects&);
  void enqueue(wait_queue&, waiting_produce);
  static void answer_below(wait_queue&, log_offset, effects&);
  void move_start(log_offset);

  leader_epoch epoch_{no_epoch};
  bool leads_{false};
  topic_settings settings_;
  replica_set replicas_;
  log_offset start_, end_, durable_, watermark_;
  /// Where the log ended when this leader took over: below it nothing may be told as latest (KIP-207).
  log_offset led_from_;
  epoch_table epochs_;
  producers producers_;
  std::optional<error> broken_;  ///< why nothing is appended any more
  /// Why a batch was last refused for a while: what its producer sent behind it may still come.
  struct refusal {
    error why;
    instant at;
  };
  std::optional<refusal> refused_lately_;
  unknown_producers unknown_;
  instant produced_at_{};  ///< the last batch came

  wait_queue for_durable_, for_watermark_;
  std::vector<fetch> watchers_;

  log_offset marked_;
  std::size_t mark_bytes_{0};
  std::uint64_t appended_since_mark_{0};
  unsigned marks_put_off_{0};
};

}  // namespace troupe
