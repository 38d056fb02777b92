#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/result.hpp"

namespace troupe {

/// Sequence numbers of a producer: [0, 2^31), then again from 0.
struct sequence_range {
  producer_id producer;
  producer_epoch epoch;
  std::int32_t first{0};
  std::int32_t last{0};

  /// None: the batch has no producer id.
  static std::optional<sequence_range> of(const batch_header&) noexcept;
};

/// What the partition remembers of idempotent producers, so that a batch sent twice is stored once.
///
/// Pure. The state changes at append, not at commit; what was appended and then refused by the disk is rolled back. It
/// is derived from the log: the same batches in the same order give the same state, so a mark plus the headers above
/// it restore it.
///
///     same epoch, same (first, last) as one of the last five batches   duplicate: tell the offset it has
///     older epoch                                                      invalid_producer_epoch
///     newer epoch, first == 0                                          append, forget the older epoch
///     same epoch, first == last + 1                                    append
///     producer unknown (first contact, or forgotten)                   append, whatever the sequence; but see
///                                                                      `unknown_producers`
///     else                                                             out_of_order_sequence
///
/// Forgetting is always safe for order and refuses no producer that comes back, but may let it wait where another led
/// lately; only a repeat from before is then not recognised. It happens after `idle_max`, and to the longest idle when
/// there are more than `producers_max`.
class producers {
public:
  static constexpr std::size_t batches_kept = 5;
  static constexpr std::size_t producers_max = 10'000;
  /// So many batches of one producer can be rolled back with the five before them still known. A producer that waits
  /// for acks=all has at most five that are not committed.
  static constexpr std::size_t uncommitted_kept = 64;
  static constexpr std::chrono::milliseconds idle_max = std::chrono::days{1};

  struct place {
    log_offset base, end;
    std::int64_t timestamp_max{-1};
    friend bool operator==(const place&, const place&) = default;
  };

  producers() = default;
  producers(producers&&) = default;
  producers& operator=(producers&&) = default;

  bool knows(producer_id id) const { return known_.contains(id); }
  /// A place: it is a duplicate of the batch there. Nothing: append it. Errors as above.
  result<std::optional<place>> check(const sequence_range&) const;
  /// It was appended at `where`. `committed`: below it nothing is ever rolled back.
  void appended(const sequence_range&, const place& where, log_offset committed, wall_time now);
  /// Batches that reach beyond `end` were never written.
  void rolled_back(log_offset end);
  /// Forgets producers whose last batch is older than `idle_max`.
  void expire(wall_time now);

  std::size_t size() const noexcept { return known_.size(); }

  /// The state that the log below `end` gives, appended to `out`.
  void encode(log_offset end, std::vector<std::byte>& out) const;
  /// Errors: malformed (a mark from a newer version, or not a mark).
  static result<producers> decode(byte_view bytes);

  /// For tests: the batches that a repeat would be recognised by, oldest first; empty for an unknown producer.
  struct remembered {
    producer_epoch epoch;
    std::int32_t first, last;
    place where;
    friend bool operator==(const remembered&, const remembered&) = default;
  };
  std::vector<remembered> recall(producer_id) const;

private:
  using batch = remembered;
  struct producer {
    producer_id id;
    wall_time last_at;  ///< when its last batch was appended (after a restart: when it was read again)
    /// Oldest first, never empty; the last one says the epoch and sequence reached. Kept: the last five, and before
    /// them those that would be among the last five after a roll back to the committed offset.
    std::vector<batch> batches;
  };

  static std::size_t first_recalled(const std::vector<batch>&, std::size_t count) noexcept;

  /// The longest idle first.
  std::list<producer> by_age_;
  std::unordered_map<producer_id, std::list<producer>::iterator> known_;
};

}  // namespace troupe
