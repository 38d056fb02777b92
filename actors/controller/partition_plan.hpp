#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "actors/controller/image.hpp"

/// What may become of one partition's state: ISR, ELR, leader, reassignment (§6, §8, §9). Each function takes the
/// state as it is and returns it as it is to be, with the epochs raised by what changed:
///
///     partition_epoch  +1 if anything did
///     leader epoch     +1 if the leader did, or a replica went
///
/// A state that comes out as it went in is no change, and nothing is written. Pure.
namespace troupe::partition_plan {

/// What the decision depends on besides the state.
struct facts {
  std::int32_t min_insync{1};    ///< as configured for the topic
  bool unclean_election{false};  ///< the topic's setting
  /// How good a leader a node makes. `avoided`: leads only if nobody else can (it drains, its disk is full, or
  /// followers do not reach it).
  enum class standing : std::uint8_t { unable, avoided, able };
  std::function<standing(node_id)> of;
};

/// The node is out of the ISR and leads no more: it is silent, or a new life of it registers. It stays in the ELR, or
/// joins it, if that is allowed.
partition_state fenced(const partition_state&, const facts&, node_id);
/// The node cannot be counted on to hold what was committed (unclean stop, damage, another disk): out of ISR and ELR.
partition_state forgot(const partition_state&, const facts&, node_id);
/// Elects a leader if there is none: ISR in replica order, else ELR, else (topics that allow it) anybody.
partition_state elected(const partition_state&, const facts&);
/// Elects among replicas that all are out of ISR and ELR, `best` being the longest log.
partition_state elected_uncleanly(const partition_state&, const facts&, node_id best);
/// Another leader than now, if there is an able one in the ISR; the first in replica order.
partition_state led_by_another(const partition_state&, const facts&);
/// The first able replica in the ISR leads.
partition_state led_by_preferred(const partition_state&, const facts&);
/// The ISR that the leader asked for; the caller has checked it. A change even if it is the same.
partition_state isr_set(const partition_state&, const facts&, std::vector<node_id> isr);

/// On the way to `target` (distinct, not empty), from wherever the partition is.
partition_state reassigned(const partition_state&, const facts&, const std::vector<node_id>& target);
/// Ends a reassignment if all that are added are in sync and enough stay in sync.
partition_state completed(const partition_state&, const facts&);
/// Back to before; the same state if that would leave too few in sync.
partition_state cancelled(const partition_state&, const facts&);

}  // namespace troupe::partition_plan
