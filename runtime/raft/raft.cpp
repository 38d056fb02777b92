#include "runtime/raft/raft.hpp"

#include <algorithm>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

namespace troupe {
namespace {

/// Entries that the snapshot does not vouch for were written by nobody who had it.
bool agrees(const raft_snapshot& snapshot, const std::vector<raft_entry>& entries) {
  if (entries.empty() || entries.front().index == snapshot.index + 1) return true;
  if (entries.back().index < snapshot.index) return false;
  return entries[static_cast<std::size_t>(snapshot.index - entries.front().index)].term == snapshot.term;
}

}  // namespace

result<void> raft::sound(const raft_peer& self, const raft_stored& stored) {
  if (stored.hard && stored.hard->disk != self.disk)
    return {errc::wrong_format, "the vote on this disk was given by disk " + stored.hard->disk.text()};
  const auto& entries = stored.entries;
  const auto base = stored.snapshot ? stored.snapshot->index : raft_index{};
  if (!entries.empty() && (entries.front().index > base + 1 || entries.front().index < raft_index{1}))
    return {errc::storage_damaged, "the metadata log begins at " + std::to_string(entries.front().index.value()) +
                                       ", its snapshot ends at " + std::to_string(base.value())};
  for (std::size_t i = 1; i < entries.size(); ++i)
    if (entries[i].index != entries[i - 1].index + 1 || entries[i].term < entries[i - 1].term)
      return {errc::storage_damaged,
              "the metadata log is broken after entry " + std::to_string(entries[i - 1].index.value())};
  const auto newest = entries.empty() ? (stored.snapshot ? stored.snapshot->term : raft_term{}) : entries.back().term;
  if (newest > (stored.hard ? stored.hard->term : raft_term{}))
    return {errc::storage_damaged, "the metadata log is newer than the vote beside it"};
  return {};
}

raft::raft(raft_peer self, raft_options options, raft_stored stored, random_source random, instant now)
    : self_{self},
      options_{options},
      random_{random},
      log_{stored.snapshot, {}},
      sessions_{log_.snapshot()->sessions, options.clients_max},
      hard_{stored.hard.value_or(raft_hard_state{.disk = self.disk})},
      commit_{log_.snapshot()->index},
      started_{now} {
  TROUPE_CHECK(sound(self, stored).ok());
  if (agrees(*log_.snapshot(), stored.entries)) {
    log_ = raft_log{stored.snapshot, std::move(stored.entries)};
  } else {
    // A crash came between a snapshot from elsewhere and the cut that belongs to it.
    next_.cut_from = stored.entries.front().index;
  }
  durable_ = log_.end();
  verified_ = reported_ = commit_;
  if (!stored.hard) next_.hard = hard_;
  set_deadline(now);
}

// -- events -------------------------------------------------------------------------------------------------

raft::effects raft::tick(instant now) {
  if (stopped_) return {};
  if (role_ == role_t::leader) {
    lead_tick(now);
  } else if (voter(self_)) {
    // A sole voter waits for nobody; but one that has voted for another may be behind a set of two.
    const bool alone =
        voters() == 1 && role_ == role_t::follower && (hard_.term == raft_term{} || hard_.voted_for == self_);
    const bool waits_for_disk = role_ == role_t::candidate && !own_vote_durable();
    if (alone || (now >= deadline_ && !waits_for_disk)) campaign(now, false);
  } else if (now >= deadline_) {
    // Another may lead, who has no reason to tell this node: it was removed, perhaps.
    leader_.reset();
  }
  return finish();
}

raft::effects raft::step(instant now, const raft_message& m) {
  if (stopped_ || !is_self(m.to)) return {};
  const bool asks = std::holds_alternative<raft_pre_vote>(m.body) || std::holds_alternative<raft_vote>(m.body);
  const auto* pre_reply = std::get_if<raft_pre_vote_reply>(&m.body);
  // A request for votes may be refused without touching the term, and a granted pre-vote names a term nobody is in.
  if (!asks && !(pre_reply && pre_reply->granted) && m.term > hard_.term) follow(now, m.term, {});
  std::visit([&](const auto& body) { heard(now, m, body); }, m.body);
  return finish();
}

raft::effects raft::written(instant now, std::uint64_t number) {
  if (stopped_) return {};
  TROUPE_CHECK(number <= issued_);
  done_ = std::max(done_, number);
  std::optional<raft_index> drop;
  while (!pending_.empty() && pending_.front().number <= done_) {
    durable_ = pending_.front().claim;
    if (pending_.front().drop_before) drop = pending_.front().drop_before;
    pending_.pop_front();
  }
  if (drop && log_.first() < *drop) {
    log_.drop_before(*drop);
    next_.drop_before = drop;
  }
  while (!held_.empty() && held_.front().number <= done_) {
    out_.push_back(send{std::move(held_.front().message)});
    held_.pop_front();
  }
  if (role_ == role_t::leader) count_matches(now);
  if (role_ == role_t::candidate) count_own_vote(now);
  if (role_ == role_t::follower && leader_ && std::min(verified_, claimed().index) > reported_)
    reply_match(*leader_, heard_round_);
  return finish();
}

raft::effects raft::disk_failed() {
  if (stopped_) return {};
  if (role_ == role_t::leader) stop_leading();
  role_ = role_t::follower;
  leader_.reset();
  outbox_.clear();
  held_.clear();
  stopped_ = true;
  return std::exchange(out_, {});
}

raft::effects raft::peer_gone(instant now, node_id id) {
  if (stopped_ || role_ == role_t::leader || !leader_ || leader_->node != id) return {};
  leader_.reset();
  leader_gone_ = true;
  campaigns_ = 0;
  set_deadline(now);
  return {};
}

// -- what an event leads to ---------------------------------------------------------------------------------

/// The write comes first; what depends on it waits in `held_`.
raft::effects raft::finish() {
  effects todo;
  if (stopped_) return std::exchange(out_, {});
  const bool writes = next_.snapshot || next_.hard || next_.cut_from || next_.drop_before || !next_.entries.empty();
  if (writes) {
    next_.number = ++issued_;
    if (next_.hard) hard_number_ = issued_;
    pending_.push_back({issued_, log_.end(), {}});
    if (next_.snapshot && holds(rule::snapshot_before_log))
      pending_.back().drop_before = next_.snapshot->index - options_.keep_behind + 1;
    todo.push_back(std::exchange(next_, {}));
  }
  std::move(out_.begin(), out_.end(), std::back_inserter(todo));
  out_.clear();
  for (auto& m : outbox_) {
    if (hard_number_ <= done_ || !holds(rule::durable_before_send)) {
      todo.push_back(send{std::move(m)});
      continue;
    }
    // Only the newest of a kind to a peer is worth sending later.
    std::erase_if(
        held_, [&](const held_message& h) { return h.message.to == m.to && h.message.body.index() == m.body.index(); });
    held_.push_back({hard_number_, std::move(m)});
  }
  outbox_.clear();
  return todo;
}

void raft::stop_with(std::string why) {
  stopped_ = true;
  outbox_.clear();
  next_ = {};
  out_.push_back(stop{std::move(why)});
}

void raft::say(raft_peer to, decltype(raft_message::body) body, std::optional<raft_term> term) {
  outbox_.push_back({self_, to, term.value_or(hard_.term), std::move(body)});
}

void raft::append(raft_entry e) {
  next_.entries.push_back(e);
  log_.append(std::move(e));
}

void raft::cut_from(raft_index index) {
  unclaim_from(index);
  log_.cut_from(index);
  next_.cut_from = index;
}

/// What is about to be cut counts no more, whether it is on the disk or on its way.
void raft::unclaim_from(raft_index index) {
  const raft_place before{index - 1, *log_.term_at(index - 1)};
  if (durable_.index >= index) durable_ = before;
  for (auto& p : pending_)
    if (p.claim.index >= index) p.claim = before;
}

void raft::persist_term(raft_term term, std::optional<raft_peer> voted_for) {
  hard_.term = term;
  hard_.voted_for = voted_for;
  next_.hard = hard_;
}

/// The end of the log as far as this node may say it holds it.
raft_place raft::claimed() const {
  return holds(rule::durable_before_send) ? durable_ : log_.end();
}

void raft::advance_commit(raft_index to) {
  if (to <= commit_) return;
  TROUPE_CHECK(to <= log_.last());
  commit decided;
  std::vector<proposed> answers;
  for (auto i = commit_ + 1; i <= to; i = i + 1) {
    const auto& e = log_.at(i);
    const bool command = e.kind == raft_entry::kind_t::command;
    const auto outcome = command ? sessions_.apply(e) : raft_outcome::done;
    decided.entries.push_back({e, outcome});
    if (role_ != role_t::leader) continue;
    uncommitted_bytes_ -= std::min(uncommitted_bytes_, raft_log::size_of(e));
    if (!proposals_.empty() && proposals_.front().index == i) {
      const auto& p = proposals_.front();
      const auto* place = sessions_.applied(p.client, p.sequence);
      answers.push_back({p.client, p.sequence, outcome, place && outcome == raft_outcome::repeated ? *place : i, {}});
      proposals_.pop_front();
    }
  }
  commit_ = to;
  out_.push_back(std::move(decided));
  for (auto& a : answers) out_.push_back(std::move(a));
}

// -- who is who ---------------------------------------------------------------------------------------------

bool raft::is_self(const raft_peer& p) const {
  return holds(rule::disk_is_the_voter) ? p == self_ : p.node == self_.node;
}

bool raft::voter(const raft_peer& p) const {
  return std::any_of(members().begin(), members().end(), [&](const raft_member& m) {
    return m.voter && (holds(rule::disk_is_the_voter) ? m.peer == p : m.peer.node == p.node);
  });
}

std::size_t raft::voters() const {
  return static_cast<std::size_t>(
      std::count_if(members().begin(), members().end(), [](const raft_member& m) { return m.voter; }));
}

bool raft::majority(const peers& some) const {
  const auto counted = std::count_if(some.begin(), some.end(), [&](const raft_peer& p) { return voter(p); });
  return static_cast<std::size_t>(counted) > voters() / 2;
}

// -- queries ------------------------------------------------------------------------------------------------

std::optional<node_id> raft::leader() const noexcept {
  return leader_ ? std::optional{leader_->node} : std::nullopt;
}
bool raft::leads() const noexcept {
  return role_ == role_t::leader && commit_ >= no_op_;
}
const raft_members& raft::members() const noexcept {
  return log_.members();
}
raft_index raft::last() const noexcept {
  return log_.last();
}
std::size_t raft::log_bytes() const noexcept {
  return log_.bytes();
}
raft_index raft::snapshot_index() const noexcept {
  return log_.snapshot()->index;
}

}  // namespace troupe
