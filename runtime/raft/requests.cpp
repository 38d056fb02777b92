#include <algorithm>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"
#include "runtime/raft/raft.hpp"

/// What the owner asks for: commands, reads, changes of the members, hand-over, snapshots.
namespace troupe {

raft::effects raft::propose(instant, raft_client client, std::uint64_t sequence, shared_bytes payload) {
  const auto refuse = [&](raft_outcome why) { return effects{proposed{client, sequence, why, {}, leader()}}; };
  if (role_ != role_t::leader || stopped_) return refuse(raft_outcome::not_leader);
  if (payload.size() > options_.command_bytes_max) return refuse(raft_outcome::invalid);
  if (holds(rule::command_once))
    if (const auto* place = sessions_.applied(client, sequence))
      return {proposed{client, sequence, raft_outcome::repeated, *place, {}}};
  if (successor_ || uncommitted_bytes_ >= options_.uncommitted_bytes_max ||
      proposals_.size() >= options_.uncommitted_max)
    return refuse(raft_outcome::busy);
  raft_entry e{.term = hard_.term,
               .index = log_.last() + 1,
               .kind = raft_entry::kind_t::command,
               .client = client,
               .sequence = sequence,
               .payload = std::move(payload)};
  uncommitted_bytes_ += raft_log::size_of(e);
  proposals_.push_back({e.index, client, sequence});
  append(std::move(e));
  for (auto& [peer, p] : progress_) send_entries(peer, p, false);
  return finish();
}

raft::effects raft::read(instant now, std::uint64_t token) {
  if (role_ != role_t::leader || stopped_) return {read_ready{token, raft_outcome::not_leader, {}, leader()}};
  if (!leads() || reads_.size() >= options_.reads_max) return {read_ready{token, raft_outcome::busy, {}, leader()}};
  if (!holds(rule::read_needs_round)) return {read_ready{token, raft_outcome::done, commit_, {}}};
  reads_.push_back({token, commit_, round_ + 1});
  serve_reads(now);
  return finish();
}

/// Reads that come while a round is under way share the next one.
void raft::serve_reads(instant now) {
  const auto answered = answered_round();
  while (!reads_.empty() && reads_.front().round <= answered) {
    out_.push_back(read_ready{reads_.front().token, raft_outcome::done, reads_.front().index, {}});
    reads_.pop_front();
  }
  if (!reads_.empty() && reads_.front().round > round_ && answered >= round_) start_round(now);
}

bool raft::change_under_way() const {
  return log_.members_index() > commit_;
}

raft::effects raft::change(instant now, std::uint64_t token, raft_peer peer, part wanted) {
  const auto answer = [&](raft_outcome how) { return effects{changed{token, how, leader()}}; };
  if (role_ != role_t::leader || stopped_) return answer(raft_outcome::not_leader);
  if (successor_ || (holds(rule::one_change_at_a_time) && change_under_way()) ||
      (holds(rule::change_waits_for_no_op) && !leads()))
    return answer(raft_outcome::busy);

  auto set = members();
  const auto at = std::lower_bound(set.begin(), set.end(), peer.node,
                                   [](const raft_member& m, node_id node) { return m.peer.node < node; });
  const bool in = at != set.end() && at->peer == peer;
  const bool other_disk = !in && at != set.end() && at->peer.node == peer.node;
  const auto present = !in ? part::none : at->voter ? part::voter : part::learner;
  if (wanted == present) return answer(raft_outcome::done);
  if (other_disk || (present == part::voter && voters() == 1)) return answer(raft_outcome::invalid);
  if (wanted == part::voter && holds(rule::learner_catches_up)) {
    if (present == part::none) return answer(raft_outcome::invalid);
    const auto* p = find(peer);
    if (!p || p->match + options_.learner_lag_max < log_.last()) return answer(raft_outcome::not_caught_up);
  }
  if (wanted == part::none) {
    set.erase(at);
  } else if (in) {
    at->voter = wanted == part::voter;
  } else {
    set.insert(at, {peer, wanted == part::voter});
  }
  if (!reachable(now, set)) return answer(raft_outcome::busy);

  change_ = waiting_change{log_.last() + 1, token};
  append({.term = hard_.term, .index = change_->index, .kind = raft_entry::kind_t::members, .members = std::move(set)});
  uncommitted_bytes_ += raft_log::size_of(log_.at(change_->index));
  if (!is_self(peer) && !find(peer)) progress_[peer].next = change_->index;
  for (auto& [to, p] : progress_) send_entries(to, p, false);
  count_matches(now);
  return finish();
}

/// Whether a majority of the voters in `set` answered lately: a set without could never be committed, nor left again.
bool raft::reachable(instant now, const raft_members& set) {
  std::ptrdiff_t all = 0, there = 0;
  for (auto& m : set) {
    if (!m.voter) continue;
    ++all;
    const auto* p = find(m.peer);
    there += is_self(m.peer) || (p && p->contact && now - *p->contact <= options_.step_down_after);
  }
  return there > all / 2;
}

raft::effects raft::hand_over(instant now, node_id to) {
  const auto fits = [&](const raft_member& m) { return m.voter && m.peer.node == to && !is_self(m.peer); };
  if (!leads() || stopped_ || successor_ || std::none_of(members().begin(), members().end(), fits)) return {};
  successor_ = to;
  handing_since_ = now;
  try_hand_over();
  return finish();
}

/// The leader is one no more: nobody knows yet what becomes of what was not committed.
void raft::fail_waiting() {
  for (auto& p : std::exchange(proposals_, {}))
    out_.push_back(proposed{p.client, p.sequence, raft_outcome::lost, {}, {}});
  for (auto& r : std::exchange(reads_, {})) out_.push_back(read_ready{r.token, raft_outcome::lost, {}, {}});
  if (change_) out_.push_back(changed{change_->token, raft_outcome::lost, {}});
  change_.reset();
}

raft_snapshot raft::head() const {
  return {commit_, *log_.term_at(commit_), log_.members_at(commit_), sessions_.snapshot(), {}};
}

raft::effects raft::compacted(std::shared_ptr<const raft_snapshot> snapshot) {
  TROUPE_CHECK(snapshot->index <= commit_);
  if (stopped_ || snapshot->index <= log_.snapshot()->index) return {};
  effects todo;
  if (!holds(rule::snapshot_before_log)) {
    next_.drop_before = snapshot->index - options_.keep_behind + 1;
    todo = finish();
  }
  log_.compacted(snapshot);
  next_.snapshot = std::move(snapshot);
  auto rest = finish();
  std::move(rest.begin(), rest.end(), std::back_inserter(todo));
  return todo;
}

}  // namespace troupe
