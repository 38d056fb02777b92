#include "actors/partition/leadership.hpp"

#include <algorithm>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

namespace troupe {

leadership::leadership(store::log_identity seat, node_life self, const assignment& a, std::int32_t configured_min,
                       log_offset watermark, const log_view& log, instant now)
    : seat_{seat}, self_{self}, configured_min_{configured_min}, epoch_start_{log.end}, watermark_{watermark} {
  take(a, now);
}

leadership::effects leadership::assigned(const assignment& a, const log_view& log, instant now) {
  TROUPE_CHECK(a.state.epoch >= state_.epoch && a.state.partition_epoch > state_.partition_epoch);
  if (a.state.epoch > state_.epoch) {
    // The fetches that wait were made under the old epoch; their senders have to hear of the new one first.
    epoch_start_ = log.end;
    for (auto& [node, it] : followers_) {
      if (holds(rule::isr_adds_seen_in_epoch)) it.seen = false;
      it.caught_up_at = now;
      it.waits.reset();
    }
  }
  take(a, now);
  return grown(log);
}

void leadership::take(const assignment& a, instant now) {
  isr_ = {a.state.isr.begin(), a.state.isr.end()};
  state_ = a.state;
  nodes_changed(a);
  std::map<node_id, follower> still;
  for (const auto& [node, added_at] : a.state.replicas) {
    if (node == self_.node) continue;
    const auto known = followers_.find(node);
    if (known != followers_.end() && known->second.added_at == added_at)
      still.emplace(node, std::move(known->second));
    else
      still.emplace(node, follower{.added_at = added_at, .caught_up_at = now});
  }
  followers_ = std::move(still);
  // The metadata has passed the epoch that was proposed under: no copy of the proposal can be accepted any more.
  proposal_.reset();
}

void leadership::nodes_changed(const assignment& a) {
  node_epochs_ = a.node_epochs;
  fenced_ = a.fenced;
  full_ = a.full;
}

std::set<node_id> leadership::maximal_isr() const {
  auto all = isr_;
  if (proposal_) all.insert(proposal_->members.begin(), proposal_->members.end());
  return all;
}

bool leadership::enough_in_sync() const noexcept {
  // Who is in the ELR may be elected and does not get what is committed now. The controller may know a larger minimum
  // than we do: its answer to a proposal is faster than the metadata.
  return static_cast<std::int32_t>(isr_.size()) >= min_in_sync(configured_min_, state_) &&
         (state_.elr.empty() || !holds(rule::elr_cleared));
}

// -- fetches ----------------------------------------------------------------------------------------------

leadership::effects leadership::fetched(node_life from, const replica_fetch& m, const log_view& log, instant now) {
  effects todo;
  auto answered = [&](auto what) {
    const auto epoch = holds(rule::fetch_same_epoch) ? state_.epoch : m.epoch;
    todo.answers.push_back({from, {m.seat, epoch, m.id, m.offset, std::move(what)}});
    return std::move(todo);
  };
  if (m.epoch != state_.epoch && holds(rule::fetch_same_epoch))
    return answered(replica_answer::refusal{m.epoch < state_.epoch ? errc::fenced_epoch : errc::unknown_epoch});
  const auto seat = followers_.find(from.node);
  if (seat == followers_.end() ||
      (seat->second.added_at != m.seat.added_at && holds(rule::added_at_checked)))  // also: we have not heard of it yet
    return answered(replica_answer::refusal{errc::unknown_epoch});
  auto& it = seat->second;
  // A former life, or an earlier word of this one: it says less than is known.
  if (from.epoch < std::max(it.node_epoch, life_of(from.node)) && holds(rule::epoch_fences_former_life)) return todo;
  if (from.epoch == it.node_epoch && m.id <= it.last_id) return todo;

  const auto parted = divergence(m, log);
  const bool gone = m.offset < log.start || (m.last_epoch == no_epoch && m.offset > log.end);
  if ((!parted && !gone) || !holds(rule::no_progress_when_diverged)) {
    // Caught up is who has reached our end of now, or of its last fetch: under steady load nobody reaches the former.
    if (m.offset >= log.durable)
      it.caught_up_at = now;
    else if (m.offset >= it.end_at_last_fetch)
      it.caught_up_at = std::max(it.caught_up_at, it.last_fetch_at);
    it.end_at_last_fetch = log.durable;
    it.last_fetch_at = now;
    it.node_epoch = from.epoch;
    it.last_id = m.id;
    it.end = m.offset;
    it.seen = true;
  }
  it.waits.reset();
  if (gone) return answered(replica_answer::restart{log.start});
  if (parted) return answered(*parted);

  it.waits = parked{m, from, now};
  todo = grown(log);
  join(todo, now);
  return todo;
}

std::optional<replica_answer::divergence> leadership::divergence(const replica_fetch& m, const log_view& log) const {
  const replica_answer::divergence beyond{m.last_epoch, log.end};
  const bool past_end = m.last_epoch != no_epoch && m.offset > log.end;
  if (m.last_epoch == no_epoch || !holds(rule::diverged_by_epoch))
    return past_end ? std::optional{beyond} : std::nullopt;
  if (!holds(rule::end_of_greatest_epoch) && !log.epochs.contains(m.last_epoch))
    return past_end ? std::optional{beyond} : std::nullopt;
  const auto [epoch, end] = log.epochs.end_of(m.last_epoch, {log.start, log.end});
  if (epoch == m.last_epoch && end >= m.offset) return {};
  return replica_answer::divergence{epoch, end};
}

bool leadership::up_to_date(const replica_fetch& m, const log_view& log) const {
  return m.offset >= log.durable && m.watermark >= std::min(watermark_, m.offset);
}

void leadership::answer_parked(follower& it, const log_view& log, effects& todo) {
  const auto& m = it.waits->request;
  const auto epoch = holds(rule::fetch_same_epoch) ? state_.epoch : m.epoch;
  todo.answers.push_back(
      {it.waits->from, {m.seat, epoch, m.id, m.offset, replica_answer::records{watermark_, log.start, {}}}});
  if (m.offset < log.durable) todo.answers.back().bytes_max = m.bytes_max;
  it.waits.reset();
}

// -- the watermark ----------------------------------------------------------------------------------------

leadership::effects leadership::grown(const log_view& log) {
  effects todo;
  // What this epoch began with may have been refused by the disk; nobody else has it from us.
  epoch_start_ = std::min(epoch_start_, log.end);
  todo.committed = advance(log);
  for (auto& [node, it] : followers_)
    if (it.waits && !up_to_date(it.waits->request, log)) answer_parked(it, log, todo);
  return todo;
}

bool leadership::advance(const log_view& log) {
  if (!enough_in_sync() && holds(rule::watermark_needs_min_isr)) return false;
  auto reached = log.durable;
  for (const auto node : holds(rule::watermark_over_maximal_isr) ? maximal_isr() : isr_) {
    if (node == self_.node) continue;
    const auto it = followers_.find(node);
    if (it == followers_.end() || !it->second.seen) return false;
    reached = std::min(reached, it->second.end);
  }
  if (reached <= watermark_) return false;
  watermark_ = reached;
  return true;
}

// -- the ISR ----------------------------------------------------------------------------------------------

bool leadership::may_join(node_id node, const follower& it) const {
  if (isr_.contains(node) || !it.seen) return false;
  if (it.end < watermark_ && holds(rule::isr_adds_at_watermark)) return false;
  if (it.end < epoch_start_ && holds(rule::isr_adds_past_epoch_start)) return false;
  if (fenced_.contains(node) && holds(rule::isr_adds_unfenced)) return false;
  return life_of(node) == it.node_epoch || !holds(rule::isr_adds_this_life);
}

/// As the metadata knows it.
std::int64_t leadership::life_of(node_id node) const {
  const auto known = node_epochs_.find(node);
  return known == node_epochs_.end() ? -1 : known->second;
}

void leadership::join(effects& todo, instant now) {
  if (proposal_) return;
  auto wanted = isr_;
  for (const auto& [node, it] : followers_)
    if (may_join(node, it)) wanted.insert(node);
  if (wanted != isr_) propose(todo, wanted, now);
}

void leadership::propose(effects& todo, const std::set<node_id>& members, instant now) {
  proposal_ = proposal{{{seat_.topic, seat_.partition}, self_, state_.epoch, state_.partition_epoch, lives_of(members)},
                       members,
                       now,
                       false};
  todo.propose = proposal_->message;
}

std::vector<node_life> leadership::lives_of(const std::set<node_id>& members) const {
  std::vector<node_life> lives;
  for (const auto node : members) {
    if (node == self_.node)
      lives.push_back(self_);
    else
      lives.push_back({node, isr_.contains(node) ? life_of(node) : followers_.at(node).node_epoch});
  }
  return lives;
}

leadership::effects leadership::altered(const alter_isr_answer& m, const log_view& log, instant now) {
  if (!proposal_ || m.epoch != state_.epoch || m.partition_epoch != state_.partition_epoch) return {};
  switch (m.what) {
    case alter_isr_answer::outcome::accepted:
      return {};  // the metadata says the same
    case alter_isr_answer::outcome::ineligible_replica:
      if (holds(rule::settled_by_partition_epoch)) return settle(now);
      break;
    case alter_isr_answer::outcome::stale:
    case alter_isr_answer::outcome::invalid:
    case alter_isr_answer::outcome::later:
      if (holds(rule::keep_maximal_isr)) return {};
      break;
  }
  proposal_.reset();
  return grown(log);
}

/// What was proposed is rejected, but another copy of it may be under way and find the replica eligible after all. So
/// the ISR as it stands is proposed, and the first proposal counts until the partition epoch has risen.
leadership::effects leadership::settle(instant now) {
  effects todo;
  if (std::exchange(proposal_->settling, true)) return todo;  // repeated by the clock
  proposal_->message.isr = lives_of(isr_);
  proposal_->sent_at = now;
  todo.propose = proposal_->message;
  return todo;
}

std::optional<instant> leadership::wakes_at() const {
  auto first = instant::max();
  if (proposal_) first = proposal_->sent_at + proposal_retry;
  for (const auto& [node, it] : followers_) {
    if (it.waits) first = std::min(first, it.waits->since + park_max);
    if (proposal_) continue;
    if (isr_.contains(node))
      first = std::min(first, it.caught_up_at + lag_max);
    else if (may_join(node, it))
      first = instant::min();
  }
  return first == instant::max() ? std::nullopt : std::optional{first};
}

leadership::effects leadership::tick(const log_view& log, instant now) {
  if (proposal_ && now - proposal_->sent_at >= proposal_retry && !holds(rule::keep_maximal_isr)) proposal_.reset();
  auto todo = grown(log);
  for (auto& [node, it] : followers_)
    if (it.waits && now - it.waits->since >= park_max) answer_parked(it, log, todo);
  if (proposal_) {
    if (now - proposal_->sent_at >= proposal_retry) {
      proposal_->sent_at = now;
      todo.propose = proposal_->message;
    }
    return todo;
  }
  auto wanted = isr_;
  for (const auto& [node, it] : followers_) {
    if (now - it.caught_up_at >= (full_.contains(node) ? full_lag_max : lag_max))
      wanted.erase(node);
    else if (may_join(node, it))
      wanted.insert(node);
  }
  if (wanted != isr_) propose(todo, wanted, now);
  return todo;
}

}  // namespace troupe
