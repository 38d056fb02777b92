#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "actors/partition/epoch_table.hpp"
#include "actors/partition/replication.hpp"
#include "runtime/base/instant.hpp"

namespace troupe {

/// The leader's view of its replicas: who holds what, who is in sync, up to where records are committed, and whose
/// fetch waits.
///
/// Pure. The log's own offsets belong to somebody else and come in with each event.
///
///     maximal ISR = ISR + proposed ISR, until the metadata's partition epoch has passed the proposal's
///     watermark  <= own durable offset, <= what each of the maximal ISR fetched up to in this epoch; never falls
///     proposals     at most one at a time; repeated as it is until the metadata settles it
///
///     none --shrink, extend--> proposed --partition epoch rises--> none
///                              proposed --ineligible--> settling (the ISR as it stands is proposed: once that is
///                                                       accepted no late copy of the first can be) --epoch rises-->
///                                                       none
class leadership {
public:
  static constexpr std::chrono::milliseconds lag_max = std::chrono::seconds{10};
  static constexpr std::chrono::milliseconds full_lag_max = std::chrono::seconds{2};  ///< of a follower without space
  static constexpr std::chrono::milliseconds park_max{500};
  static constexpr std::chrono::milliseconds proposal_retry = std::chrono::seconds{1};

  struct log_view {
    log_offset start, end, durable;
    const epoch_table& epochs;
  };
  /// Send `message`; with `bytes_max` fill its records first, from `offset` on, with what is durable. More is never
  /// sent: the disk may refuse it, and its place would be taken by other records of the same epoch.
  struct answer {
    node_life to;
    replica_answer message;
    std::uint64_t bytes_max{0};
  };
  /// In this order.
  struct effects {
    bool committed{false};  ///< `watermark()` rose
    std::vector<answer> answers;
    std::optional<alter_isr> propose;
  };

  /// Leads from here on; the assignment names `seat` as leader.
  leadership(store::log_identity seat, node_life self, const assignment&, std::int32_t configured_min,
             log_offset watermark, const log_view&, instant now);

  /// The same node leads on: another ISR, other replicas, or a new epoch of its own. `partition_epoch` has risen.
  effects assigned(const assignment&, const log_view&, instant now);
  /// The nodes' lives and fences changed, the partition did not.
  void nodes_changed(const assignment&);
  /// min.insync.replicas, as the topic's settings have it.
  void configured_min_set(std::int32_t configured_min) noexcept { configured_min_ = configured_min; }

  effects fetched(node_life from, const replica_fetch&, const log_view&, instant now);
  /// The log grew, or more of it is durable.
  effects grown(const log_view&);
  effects altered(const alter_isr_answer&, const log_view&, instant now);
  /// Ends waits, drops the slow from the ISR, repeats a proposal. Call it at `wakes_at`, or within 100 ms of it.
  effects tick(const log_view&, instant now);
  /// When a tick has something to do, if nothing happens before.
  std::optional<instant> wakes_at() const;

  leader_epoch epoch() const noexcept { return state_.epoch; }
  log_offset watermark() const noexcept { return watermark_; }
  /// Where the log ended when this epoch began (LESO).
  log_offset epoch_start() const noexcept { return epoch_start_; }
  const std::set<node_id>& isr() const noexcept { return isr_; }
  std::set<node_id> maximal_isr() const;
  bool proposing() const noexcept { return proposal_.has_value(); }
  /// |ISR| >= min.insync.replicas, as far as there are so many replicas (`min_in_sync`).
  bool enough_in_sync() const noexcept;

private:
  struct parked {
    replica_fetch request;
    node_life from;
    instant since;
  };
  struct follower {
    std::int64_t added_at{0};
    log_offset end{};
    std::int64_t node_epoch{-1};
    std::uint64_t last_id{0};
    bool seen{false};  ///< in this epoch
    instant caught_up_at{};
    log_offset end_at_last_fetch{};  ///< where our durable log ended when it last asked
    instant last_fetch_at{};
    std::optional<parked> waits{};
  };
  struct proposal {
    alter_isr message;
    std::set<node_id> members;  ///< as first proposed, also while settling
    instant sent_at;
    bool settling;
  };

  void take(const assignment&, instant now);
  std::optional<replica_answer::divergence> divergence(const replica_fetch&, const log_view&) const;
  bool up_to_date(const replica_fetch&, const log_view&) const;
  void answer_parked(follower&, const log_view&, effects&);
  bool advance(const log_view&);
  bool may_join(node_id, const follower&) const;
  void join(effects&, instant now);
  effects settle(instant now);
  void propose(effects&, const std::set<node_id>& members, instant now);
  std::int64_t life_of(node_id) const;
  std::vector<node_life> lives_of(const std::set<node_id>& members) const;

  const store::log_identity seat_;
  const node_life self_;
  std::int32_t configured_min_;
  partition_state state_{.partition_epoch = -1};
  log_offset epoch_start_, watermark_;
  std::set<node_id> isr_;
  std::map<node_id, follower> followers_;
  std::map<node_id, std::int64_t> node_epochs_;
  std::set<node_id> fenced_, full_;
  std::optional<proposal> proposal_;
};

}  // namespace troupe
