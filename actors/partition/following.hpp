#pragma once

#include <chrono>
#include <optional>
#include <variant>
#include <vector>

#include "actors/partition/epoch_table.hpp"
#include "actors/partition/replication.hpp"
#include "runtime/base/instant.hpp"

namespace troupe {

/// A follower's side: asks its leader for what comes next, one fetch at a time, and decides what to do with the answer.
///
/// Pure. The log's own offsets belong to somebody else and come in with each event.
///
///     idle --all durable--> asked --records--> idle (appending)
///                           asked --divergence, restart--> cutting --done--> idle
///                           asked --refusal, bad bytes, silence--> idle, after a back-off
///     any --another leader or epoch--> idle
class following {
public:
  /// A parked fetch is answered after half a second; what is later is lost.
  static constexpr std::chrono::milliseconds answer_max{1500};
  static constexpr std::uint64_t fetch_bytes = 1 << 20;
  /// So many fetches in a row without an answer: the leader is not reached. One alone may simply have been lost.
  static constexpr unsigned unanswered_max = 2;
  static constexpr std::chrono::milliseconds backoff_min{50}, backoff_max = std::chrono::seconds{1};

  struct log_view {
    log_offset start, end, durable, watermark;
    const epoch_table& epochs;
    bool cutting{false};  ///< a cut is not durable yet: nothing is asked or taken
  };
  struct ask {
    node_id leader;
    replica_fetch message;
  };
  /// Append these; the leader's watermark and log start come along. They begin at the log's end; in an empty log the
  /// first may begin below and reach beyond it.
  struct take {
    std::vector<store::batch> batches;
    log_offset watermark, start;
  };
  struct cut {
    log_offset end;
  };
  struct start_over {
    log_offset start;
  };
  /// The leader's log lacks what was committed here. Only a person can say which is right.
  struct give_up {
    error why;
  };
  using effect = std::variant<ask, take, cut, start_over, give_up>;

  explicit following(store::log_identity seat) : seat_{seat} {}

  /// From now on this leader, in this epoch; `unclean` as in `assignment`.
  void follows(node_id leader, leader_epoch, leader_epoch unclean, instant now);
  /// Nobody: the partition has no leader, or this replica leads or has gone.
  void stops();

  /// Asks, if it is time: all is durable, nothing is asked or being cut, no back-off runs. Call it after each event.
  std::optional<ask> next(const log_view&, instant now);
  /// When `next` may have something that it has not now, if nothing happens before.
  std::optional<instant> wakes_at(const log_view&) const;
  /// Nothing: not the answer that was waited for. Batches are checked here, on arrival: lengths, dense offsets, epochs,
  /// CRC-32C. If one is bad the whole answer counts as lost.
  std::optional<effect> answered(node_id from, const replica_answer&, const log_view&, instant now);
  /// The disk refused what was appended: asks again after a back-off.
  void refused(instant now);

  leader_epoch epoch() const noexcept { return epoch_; }
  /// Whom the fetches do not reach; nobody, as long as answers come.
  std::optional<node_id> out_of_reach() const noexcept {
    return unanswered_ >= unanswered_max ? leader_ : std::nullopt;
  }

private:
  struct asked {
    std::uint64_t id;
    instant at;
  };
  void back_off(instant now);
  std::optional<effect> taken(const replica_answer::records&, const log_view&, instant now);
  bool loses(log_offset end, const log_view&) const;
  static give_up lost(log_offset end, const log_view&);
  effect cut_to(log_offset end, const log_view&);

  const store::log_identity seat_;
  std::optional<node_id> leader_;
  leader_epoch epoch_{no_epoch}, unclean_{no_epoch};
  std::uint64_t last_id_{0};
  std::optional<asked> asked_;
  unsigned unanswered_{0};
  instant not_before_{};
  std::chrono::milliseconds backoff_{backoff_min};
};

}  // namespace troupe
