#include <algorithm>
#include <chrono>

#include "runtime/base/rules.hpp"
#include "runtime/raft/raft.hpp"

/// Who leads.
///
///     follower --silence--> pre_candidate --majority would--> candidate --majority, own vote durable--> leader
///        ^    \________________ handed over, or alone ____________^                                      |
///        |________ a leader of this term, or a higher term ______________________________________________|
namespace troupe {

/// Two that campaign at once split the votes. They have waited out the silence already, so the next campaign comes
/// soon; but each leaves the others twice as long to answer, for their disks may be slow.
void raft::set_deadline(instant now) {
  auto from = options_.election_min, to = options_.election_max;
  if (campaigns_ > 0) {
    const auto longer = 1 << std::min(campaigns_ - 1, 10);
    from = std::min(from, options_.again_min * longer);
    to = std::min(to, options_.again_max * longer);
  } else if (leader_gone_) {
    from = options_.gone_min;
    to = options_.gone_max;
  }
  const auto range = std::chrono::duration_cast<instant::duration>(to - from).count();
  deadline_ = now + from + instant::duration{random_.below(static_cast<std::uint64_t>(range) + 1)};
}

void raft::follow(instant now, raft_term term, std::optional<raft_peer> leader) {
  if (role_ == role_t::leader) {
    stop_leading();
    set_deadline(now);
  }
  role_ = role_t::follower;
  granted_.clear();
  if (term > hard_.term) {
    persist_term(term, {});
    leader_.reset();
    verified_ = reported_ = commit_;
    heard_round_ = 0;
    incoming_.reset();
  }
  if (leader) leader_ = leader;
}

void raft::campaign(instant now, bool handed_over) {
  if (!voter(self_)) return;
  if (!handed_over) ++campaigns_;
  leader_.reset();
  if (handed_over || voters() == 1 || !holds(rule::pre_vote)) return ask_for_votes(now, handed_over);
  set_deadline(now);
  role_ = role_t::pre_candidate;
  granted_ = {self_};
  const auto end = claimed();
  for (auto& m : members())
    if (m.voter && !is_self(m.peer)) say(m.peer, raft_pre_vote{end.index, end.term}, raft_term{hard_.term.value() + 1});
}

void raft::ask_for_votes(instant now, bool handed_over) {
  follow(now, raft_term{hard_.term.value() + 1}, {});
  set_deadline(now);
  role_ = role_t::candidate;
  persist_term(hard_.term, self_);
  const auto end = claimed();
  for (auto& m : members())
    if (m.voter && !is_self(m.peer)) say(m.peer, raft_vote{end.index, end.term, handed_over});
  count_own_vote(now);
}

/// A leader may be granting leases on the strength of our answers of the last second, also those of our former life.
bool raft::quiet(instant now) const {
  if (role_ == role_t::leader) return holds(rule::quiet_after_leader);
  if (leader_gone_) return false;
  if (holds(rule::quiet_after_start) && now - started_ < options_.quiet) return true;
  return holds(rule::quiet_after_leader) && heard_at_ && now - *heard_at_ < options_.quiet;
}

void raft::heard(instant now, const raft_message& m, const raft_pre_vote& asked) {
  if (m.term <= hard_.term) return say(m.from, raft_pre_vote_reply{false});
  if (quiet(now)) return;
  if (holds(rule::vote_compares_logs) && !raft_place{asked.last_index, asked.last_term}.as_new_as(claimed()))
    return say(m.from, raft_pre_vote_reply{false});
  say(m.from, raft_pre_vote_reply{true}, m.term);
}

void raft::heard(instant now, const raft_message& m, const raft_pre_vote_reply& reply) {
  if (role_ != role_t::pre_candidate || !reply.granted || m.term.value() != hard_.term.value() + 1) return;
  granted_.insert(m.from);
  if (majority(granted_)) ask_for_votes(now, false);
}

void raft::heard(instant now, const raft_message& m, const raft_vote& asked) {
  if (m.term < hard_.term) return say(m.from, raft_vote_reply{false});
  if (quiet(now) && !asked.handed_over) return;
  if (m.term > hard_.term) follow(now, m.term, {});
  const bool other = hard_.voted_for && *hard_.voted_for != m.from;
  const bool behind = !raft_place{asked.last_index, asked.last_term}.as_new_as(claimed());
  if ((other && holds(rule::one_vote_per_term)) || (behind && holds(rule::vote_compares_logs)))
    return say(m.from, raft_vote_reply{false});
  if (hard_.voted_for != m.from) persist_term(hard_.term, m.from);
  campaigns_ = 0;
  set_deadline(now);
  say(m.from, raft_vote_reply{true});
}

void raft::heard(instant now, const raft_message& m, const raft_vote_reply& reply) {
  if (role_ != role_t::candidate || !reply.granted || m.term != hard_.term) return;
  granted_.insert(m.from);
  count_votes(now);
}

void raft::heard(instant now, const raft_message& m, const raft_hand_over&) {
  if (role_ == role_t::follower && m.term == hard_.term) campaign(now, true);
}

bool raft::own_vote_durable() const {
  return !next_.hard && hard_number_ <= done_;
}

void raft::count_own_vote(instant now) {
  if (holds(rule::durable_before_send) && !own_vote_durable()) return;
  if (granted_.insert(self_).second) set_deadline(now);  // what asks the others leaves only now
  count_votes(now);
}

void raft::count_votes(instant now) {
  if (role_ == role_t::candidate && majority(granted_)) lead(now);
}

void raft::lead(instant now) {
  role_ = role_t::leader;
  leader_ = self_;
  leader_gone_ = false;
  campaigns_ = 0;
  granted_.clear();
  announced_ = false;
  led_since_ = now;
  uncommitted_bytes_ = 0;
  progress_.clear();
  for (auto& m : members())
    if (!is_self(m.peer)) progress_[m.peer].next = log_.last() + 1;
  // Nothing of earlier terms commits by counting; this one, once committed, takes them with it.
  no_op_ = log_.last() + 1;
  append({.term = hard_.term, .index = no_op_, .kind = raft_entry::kind_t::no_op});
  for (auto i = commit_ + 1; i <= no_op_; i = i + 1) uncommitted_bytes_ += raft_log::size_of(log_.at(i));
  start_round(now);
  count_matches(now);
}

void raft::stop_leading() {
  role_ = role_t::follower;
  leader_.reset();
  fail_waiting();
  progress_.clear();
  rounds_.clear();
  successor_.reset();
  successor_told_ = false;
  verified_ = reported_ = commit_;
  if (announced_) out_.push_back(stepped_down{hard_.term});
  announced_ = false;
}

}  // namespace troupe
