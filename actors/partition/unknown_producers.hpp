#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "runtime/base/ids.hpp"
#include "runtime/base/instant.hpp"

namespace troupe {

/// Idempotent producers that come with a later batch to a leader that does not know them. Their first ones may be on
/// their way to whoever led before, or were refused; and librdkafka takes a later batch that is stored as proof that
/// the earlier ones are (ADR 17). So they wait: what was sent before has its answer then, or was given up and comes
/// here. What they send ahead is never taken before the earliest that came.
///
/// Pure. Bound: `remembered_max`; beyond it they wait without being remembered.
class unknown_producers {
public:
  /// For an answer nobody waits longer (librdkafka's socket.timeout.ms is 60 s).
  static constexpr std::chrono::seconds wait{65};
  /// By then every client has asked who leads (topic.metadata.refresh.interval.ms, or Java's metadata.max.age.ms: 5
  /// min), has an answer, and has waited.
  static constexpr std::chrono::seconds lately = std::chrono::minutes{5} + 2 * wait;
  static constexpr std::size_t remembered_max = 10'000;

  /// Leads from now on; before, another may have, or nobody.
  void leads_now(instant now) {
    leads_since_ = now;
    attempts_.clear();
  }
  /// It comes with a batch that begins at `sequence`, not 0: whether that has to wait. `refused_lately`: so may have
  /// been what came before.
  bool waits(producer_id who, std::int32_t sequence, bool refused_lately, instant now) {
    auto at = attempts_.find(who);
    if (at != attempts_.end() && now - at->second.since >= 2 * wait) {
      attempts_.erase(at);  // it has given up, or was known in between
      at = attempts_.end();
    }
    if (at == attempts_.end()) {
      if (!refused_lately && !(leads_since_ && now - *leads_since_ < lately)) return false;
      remember(who, {now, sequence});
      return true;
    }
    auto& [since, earliest] = at->second;
    earliest = std::min(earliest, sequence);
    if (now - since < wait || sequence > earliest) return true;
    attempts_.erase(at);
    return false;
  }

private:
  struct attempt {
    instant since;
    std::int32_t earliest;
  };
  void remember(producer_id who, const attempt& first) {
    if (attempts_.size() >= remembered_max)
      std::erase_if(attempts_, [&](const auto& other) { return first.since - other.second.since >= 2 * wait; });
    if (attempts_.size() < remembered_max) attempts_.emplace(who, first);
  }

  std::optional<instant> leads_since_;
  std::unordered_map<producer_id, attempt> attempts_;
};

}  // namespace troupe
