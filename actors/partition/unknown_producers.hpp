#pragma once

#include <chrono>
#include <optional>
#include <unordered_map>

#include "runtime/base/ids.hpp"
#include "runtime/base/instant.hpp"

namespace troupe {

/// Idempotent producers that come with a later batch to a leader that does not know them. Their first ones may be on
/// their way to whoever led before, and librdkafka takes a later batch that is stored as proof that the earlier ones
/// are (ADR 17). So for a while after another led they are to wait: what they sent before has its answer then, or was
/// given up and comes here.
///
/// Pure. Bound: `remembered_max`; those beyond it wait until `lately` is over.
class unknown_producers {
public:
  /// For an answer nobody waits longer (librdkafka's socket.timeout.ms is 60 s).
  static constexpr std::chrono::seconds wait{65};
  /// By then every client has heard who leads (metadata.max.age.ms is 5 min), and has waited.
  static constexpr std::chrono::seconds lately = std::chrono::minutes{5} + wait;
  static constexpr std::size_t remembered_max = 10'000;

  void another_led(instant now) {
    since_ = now;
    first_came_.clear();
  }
  /// It comes with a batch that is not its first one: whether that has to wait.
  bool waits(producer_id who, instant now) {
    if (since_ && now - *since_ >= lately) {
      since_.reset();
      first_came_.clear();
    }
    if (!since_) return false;
    if (first_came_.size() >= remembered_max && !first_came_.contains(who)) return true;
    return now - first_came_.try_emplace(who, now).first->second < wait;
  }

private:
  std::optional<instant> since_;
  std::unordered_map<producer_id, instant> first_came_;
};

}  // namespace troupe
