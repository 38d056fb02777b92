#include <algorithm>
#include <functional>
#include <limits>

#include "runtime/base/rules.hpp"
#include "runtime/raft/raft.hpp"

/// What a leader does: rounds of heartbeats, entries and snapshots to each follower, counting what is durable.
namespace troupe {

raft::progress* raft::find(const raft_peer& peer) {
  const auto found = std::find_if(progress_.begin(), progress_.end(), [&](const auto& p) {
    return holds(rule::disk_is_the_voter) ? p.first == peer : p.first.node == peer.node;
  });
  return found == progress_.end() ? nullptr : &found->second;
}

void raft::start_round(instant now) {
  while (!rounds_.empty() && now - rounds_.front().second > options_.step_down_after) rounds_.pop_front();
  rounds_.emplace_back(++round_, now);
  next_round_ = now + options_.heartbeat;
  for (auto& [peer, p] : progress_) {
    p.probe_sent = false;
    send_entries(peer, p, true);
  }
}

/// As much as may be in flight; a heartbeat leaves in any case.
void raft::send_entries(const raft_peer& peer, progress& p, bool heartbeat) {
  while (!p.snapshot) {
    const auto previous = p.next - 1;
    const auto previous_term = log_.term_at(previous);
    if (!previous_term) {
      p.snapshot = log_.snapshot();
      p.received = p.piece_round = 0;
      return send_piece(peer, p, true);
    }
    raft_append m{.previous = previous, .previous_term = *previous_term, .commit = commit_, .round = round_};
    std::size_t bytes = 0;
    // What a follower has, but not yet on its disk, counts as in flight: a slow disk slows us down.
    const bool room =
        p.probing ? !p.probe_sent : log_.bytes_between(p.match + 1, p.next) < options_.in_flight_bytes_max;
    for (auto i = p.next; room && i <= log_.last() && m.entries.size() < options_.append_entries_max; i = i + 1) {
      const auto size = raft_log::size_of(log_.at(i));
      if (bytes > 0 && bytes + size > options_.append_bytes_max) break;
      bytes += size;
      m.entries.push_back(log_.at(i));
    }
    if (m.entries.empty() && !heartbeat) return;
    heartbeat = false;
    const auto count = static_cast<std::int64_t>(m.entries.size());
    say(peer, std::move(m));
    if (count == 0) return;
    if (p.probing) {
      p.probe_sent = true;
      p.probe_end = p.next + count;
      return;
    }
    p.next = p.next + count;
  }
  send_piece(peer, p, heartbeat);
}

/// With a heartbeat goes an empty piece: its answer says what has arrived, so a lost piece is sent again, and one that
/// is only slow is not.
void raft::send_piece(const raft_peer& peer, progress& p, bool heartbeat) {
  const auto& s = *p.snapshot;
  raft_install m{
      .index = s.index, .snapshot_term = s.term, .round = round_, .offset = p.received, .size = s.image.size()};
  if (!heartbeat) {
    m.piece = s.image.slice(p.received, std::min<std::size_t>(options_.piece_bytes, s.image.size() - p.received));
    p.piece_round = round_;
  }
  if (m.offset == 0) {
    m.members = s.members;
    m.sessions = s.sessions;
  }
  say(peer, std::move(m));
}

/// The follower was there, in this term, when `round` left or later.
void raft::answered(progress& p, std::uint64_t round) {
  if (rounds_.empty() || round <= p.round || round < rounds_.front().first || round > round_) return;
  p.round = round;
  p.contact = rounds_[static_cast<std::size_t>(round - rounds_.front().first)].second;
}

void raft::heard(instant now, const raft_message& m, const raft_append_reply& reply) {
  auto* const p = find(m.from);
  if (role_ != role_t::leader || m.term != hard_.term || !p) return;
  answered(*p, reply.round);
  if (reply.accepted) {
    p->match = std::max(p->match, std::min(reply.match, log_.last()));
    if (p->snapshot && p->match >= p->snapshot->index) p->snapshot.reset();
    if (!p->snapshot) {
      if (p->probing) p->next = std::max(p->next, p->probe_end);
      p->probing = false;
      p->next = std::max(p->next, p->match + 1);
    }
  } else if (!p->snapshot &&
             (p->probing ? reply.previous == p->next - 1 : reply.previous > p->match && reply.previous < p->next)) {
    p->probing = true;
    p->probe_sent = false;
    p->probe_end = {};
    p->next = std::max(p->match, std::min(agreed_below(reply.hint, reply.hint_term), reply.previous - 1)) + 1;
  }
  count_matches(now);
  if (role_ != role_t::leader) return;  // it has just committed its own removal
  try_hand_over();
  if (auto* const still = find(m.from); still && !still->snapshot) send_entries(m.from, *still, false);
  serve_reads(now);
}

void raft::heard(instant now, const raft_message& m, const raft_install_reply& reply) {
  auto* const p = find(m.from);
  if (role_ != role_t::leader || m.term != hard_.term || !p || reply.round < p->round) return;
  answered(*p, reply.round);
  if (p->snapshot && reply.index == p->snapshot->index && reply.received <= p->snapshot->image.size() &&
      (reply.received != p->received || reply.round > p->piece_round)) {
    p->received = reply.received;
    send_piece(m.from, *p, false);
  }
  serve_reads(now);
}

/// The greatest place not above `hint` where our log's term is not above the follower's: below a conflict whole terms
/// are skipped, on either side.
raft_index raft::agreed_below(raft_index hint, raft_term hint_term) const {
  auto i = std::min(hint, log_.last());
  while (i >= log_.first() && *log_.term_at(i) > hint_term) i = i - 1;
  return i;
}

void raft::count_matches(instant now) {
  const auto own = holds(rule::leader_counts_durable) ? durable_.index : log_.last();
  std::vector<raft_index> matches;
  for (auto& m : members()) {
    if (!m.voter) continue;
    const auto* const p = find(m.peer);
    matches.push_back(is_self(m.peer) ? own : p ? p->match : raft_index{});
  }
  std::sort(matches.begin(), matches.end(), std::greater{});
  const auto agreed = matches.at(voters() / 2);
  if (agreed <= commit_) return;
  // An entry of an earlier term, on however many disks, can still be overwritten by a leader who lacks it.
  if (holds(rule::own_term_commit) && log_.term_at(agreed) != hard_.term) return;
  advance_commit(agreed);
  if (!announced_ && leads()) {
    announced_ = true;
    out_.push_back(leading{hard_.term, no_op_});
  }
  if (change_ && change_->index <= commit_) {
    out_.push_back(changed{change_->token, raft_outcome::done, {}});
    change_.reset();
  }
  for (auto& [peer, p] : progress_) send_entries(peer, p, true);
  if (log_.members_index() > commit_) return;
  // Who was removed has been told; it needs to hear no more.
  std::erase_if(progress_, [&](const auto& p) {
    return std::none_of(members().begin(), members().end(), [&](const raft_member& m) { return m.peer == p.first; });
  });
  if (!voter(self_)) follow(now, hard_.term, {});
}

void raft::lead_tick(instant now) {
  const auto since = std::max(contact(now).value_or(led_since_), led_since_);
  if (now - since > options_.step_down_after && holds(rule::step_down_without_quorum))
    return follow(now, hard_.term, {});
  if (successor_ && now - handing_since_ > options_.step_down_after) {
    // Once told it may campaign at any time, with votes that do not wait for our silence.
    if (successor_told_) return follow(now, hard_.term, {});
    successor_.reset();
  }
  if (now >= next_round_) start_round(now);
}

void raft::try_hand_over() {
  if (!successor_ || successor_told_) return;
  for (auto& [peer, p] : progress_) {
    if (peer.node != *successor_ || p.match < log_.last()) continue;
    say(peer, raft_hand_over{});
    successor_told_ = true;
  }
}

std::optional<instant> raft::contact(instant now) const {
  std::vector<instant> sent;
  for (auto& m : members()) {
    if (!m.voter) continue;
    if (is_self(m.peer)) sent.push_back(now);
    const auto p = progress_.find(m.peer);
    if (p != progress_.end() && p->second.contact) sent.push_back(*p->second.contact);
  }
  if (sent.size() <= voters() / 2) return {};
  std::sort(sent.begin(), sent.end(), std::greater{});
  return sent[voters() / 2];
}

/// The newest round that a majority has answered.
std::uint64_t raft::answered_round() const {
  std::vector<std::uint64_t> rounds;
  for (auto& m : members()) {
    if (!m.voter) continue;
    const auto p = progress_.find(m.peer);
    rounds.push_back(is_self(m.peer)        ? std::numeric_limits<std::uint64_t>::max()
                     : p != progress_.end() ? p->second.round
                                            : 0);
  }
  std::sort(rounds.begin(), rounds.end(), std::greater{});
  return rounds[voters() / 2];
}

std::optional<instant> raft::majority_contact(instant now) const {
  return role_ == role_t::leader && !successor_ && !stopped_ ? contact(now) : std::nullopt;
}

}  // namespace troupe
