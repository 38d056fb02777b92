#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/controller/topic_settings.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/result.hpp"
#include "runtime/store/log.hpp"

/// A replica of one topic partition; its leader is the entity `partition/<topic>/<index>`.
///
/// Is       while it leads, the only place where this partition's offsets are given out; else a copy of the leader's
/// log. Answers  produce, fetch, list_offsets, epoch_end, delete_records; its followers' fetches. Tells    sessions
/// that wait for data; its leader what it has; the controller who is in sync. Keeps    batches in the log of its (topic
/// id, partition, added_at), and there a mark with the high watermark and the
///          producers' states. Nothing else outlives it.
/// Fails    If a sync fails, what is on disk is unknown: the log directory is failed, the node says so and stops.
///          A full disk refuses produce requests (storage_full) and goes on by itself when space is back.
/// Bounds   what waits for the disk is bounded by the store's queue (`busy` above it, before anything is appended).
///
/// Answers are functions: they run on an actor's thread and must not block. A sender on another node will be
/// represented by one that sends a frame.
namespace troupe {

/// A refused record of a batch, by its index.
struct record_error {
  std::int32_t index{0};
  std::string text;
};

/// One batch for the end of the log.
struct produce {
  struct outcome {
    std::optional<error> refused;
    log_offset base{-1};
    std::int64_t append_time_ms{-1};  ///< only where the topic stamps by append time
    log_offset log_start{-1};
    leader_epoch epoch{no_epoch};
    std::vector<record_error> records;
  };
  /// Exactly what the request had for this partition; stamped in place. Null: the field was null.
  owned_bytes records;
  bool transactional_id{false};  ///< the request named a transactional id
  std::int16_t acks{-1};         ///< -1 all, 1 leader, 0 none (then `answer` comes right after the append)
  bool zstd_allowed{true};       ///< Produce >= 7
  instant deadline{};            ///< acks=-1: afterwards the answer is timed_out
  std::function<void(outcome)> answer;
};

struct fetch {
  struct outcome {
    std::optional<error> refused;
    log_offset high_watermark{-1}, last_stable{-1}, log_start{-1};
    leader_epoch epoch{no_epoch};
    struct divergence {
      leader_epoch epoch;
      log_offset end;
    };
    std::optional<divergence> diverging;
    std::vector<store::slice> slices;
    std::uint64_t bytes{0};
  };
  log_offset from;
  std::uint64_t bytes_max{1 << 20};
  bool at_least_one{true};
  leader_epoch current{no_epoch};       ///< the leader epoch that the caller believes in; -1: unchecked
  leader_epoch last_fetched{no_epoch};  ///< epoch of the last batch that the caller has; -1: unchecked
  bool read_committed{false};
  /// False: any replica that follows may answer, from below its watermark (KIP-392). Whoever answers needs its node's
  /// lease.
  bool leader_only{true};
  /// With a deadline: `answer` is called a second time as soon as there is something new beyond the first answer
  /// (the watermark moved, the partition goes away), unless that is later than the deadline. The second answer carries
  /// data like the first.
  std::optional<instant> watch_until;
  /// Set to true once the caller waits no longer (another partition had data): the watch may then be dropped without a
  /// second answer. May be null.
  std::shared_ptr<const std::atomic<bool>> over;
  std::function<void(outcome)> answer;
};

struct list_offsets {
  static constexpr std::int64_t latest = -1, earliest = -2, max_timestamp = -3, earliest_local = -4;
  struct outcome {
    std::optional<error> refused;
    std::int64_t timestamp{-1};
    log_offset offset{-1};
    leader_epoch epoch{no_epoch};
  };
  std::int64_t timestamp{latest};  ///< milliseconds since 1970, or one of the values above
  leader_epoch current{no_epoch};
  bool read_committed{false};
  std::function<void(outcome)> answer;
};

/// Where the log of an epoch ends (KIP-101, KIP-320).
struct epoch_end {
  struct outcome {
    std::optional<error> refused;
    leader_epoch epoch{no_epoch};
    log_offset end{-1};
  };
  leader_epoch current{no_epoch};
  leader_epoch asked{no_epoch};
  std::function<void(outcome)> answer;
};

struct delete_records {
  struct outcome {
    std::optional<error> refused;
    log_offset low_watermark{-1};
  };
  log_offset before{-1};  ///< new log start; -1: the high watermark
  std::function<void(outcome)> answer;
};

}  // namespace troupe
