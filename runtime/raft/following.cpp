#include <algorithm>

#include "runtime/base/rules.hpp"
#include "runtime/raft/raft.hpp"

/// What a follower does: its log becomes the leader's, and it says how much of it is on its disk.
namespace troupe {

bool raft::leader_speaks(instant now, const raft_message& m) {
  if (m.term < hard_.term) {  // it learns from our term that it leads no more
    say(m.from, raft_append_reply{});
    return false;
  }
  if (role_ == role_t::leader || (leader_ && *leader_ != m.from)) {
    stop_with("two leaders in term " + std::to_string(m.term.value()));
    return false;
  }
  follow(now, m.term, m.from);
  heard_at_ = now;
  leader_gone_ = false;
  campaigns_ = 0;
  set_deadline(now);
  return true;
}

void raft::reply_match(const raft_peer& to, std::uint64_t round) {
  reported_ = std::min(verified_, claimed().index);
  say(to, raft_append_reply{.accepted = true, .round = round, .match = reported_});
}

void raft::heard(instant now, const raft_message& m, const raft_append& sent) {
  auto before = raft_place{sent.previous, sent.previous_term};
  for (auto& e : sent.entries) {
    if (e.index != before.index + 1 || e.term < before.term || e.term > m.term) return;
    before = {e.index, e.term};
  }
  if (!leader_speaks(now, m)) return;
  const bool new_round = sent.round > heard_round_;
  heard_round_ = std::max(heard_round_, sent.round);

  const auto contradicts = [&](raft_index index, raft_term term) {
    const auto ours = log_.term_at(index);
    return ours && *ours != term;
  };
  const auto cut = [&](raft_index index) {
    stop_with("the leader of term " + std::to_string(m.term.value()) + " contradicts the committed entry " +
              std::to_string(index.value()));
  };
  if (sent.previous <= commit_ ? contradicts(sent.previous, sent.previous_term)
                               : log_.term_at(sent.previous) != sent.previous_term) {
    if (sent.previous <= commit_) return cut(sent.previous);
    auto hint = std::min(log_.last(), sent.previous - 1);
    while (hint > commit_ && *log_.term_at(hint) > sent.previous_term) hint = hint - 1;
    return say(m.from,
               raft_append_reply{
                   .round = sent.round, .previous = sent.previous, .hint = hint, .hint_term = *log_.term_at(hint)});
  }
  for (auto& e : sent.entries) {
    if (e.index <= commit_) {
      if (contradicts(e.index, e.term)) return cut(e.index);
      continue;
    }
    if (contradicts(e.index, e.term)) cut_from(e.index);
    if (e.index > log_.last()) append(e);
  }
  verified_ = std::max(verified_, before.index);
  advance_commit(std::min(sent.commit, verified_));
  // Entries are answered once they are durable; a heartbeat at once, however slow the disk.
  if (next_.entries.empty() || new_round) reply_match(m.from, sent.round);
}

void raft::heard(instant now, const raft_message& m, const raft_install& sent) {
  if (sent.size > options_.image_bytes_max || sent.offset > sent.size || sent.piece.size() > sent.size - sent.offset)
    return;
  if (!leader_speaks(now, m)) return;
  heard_round_ = std::max(heard_round_, sent.round);
  if (sent.index <= commit_ || log_.term_at(sent.index) == sent.snapshot_term) {
    // Older than what we have: nothing to install.
    incoming_.reset();
    verified_ = std::max(verified_, sent.index);
    advance_commit(sent.index);
    return reply_match(m.from, sent.round);
  }
  if (incoming_ && (incoming_->head.index != sent.index || incoming_->head.term != sent.snapshot_term ||
                    incoming_->size != sent.size))
    incoming_.reset();
  if (!incoming_ && sent.offset == 0) {
    incoming_ = incoming_snapshot{.size = sent.size};
    incoming_->head = {sent.index, sent.snapshot_term, sent.members, sent.sessions, {}};
  }
  if (incoming_ && sent.offset == incoming_->bytes.size()) {
    const auto piece = sent.piece.view();
    incoming_->bytes.insert(incoming_->bytes.end(), piece.begin(), piece.end());
    if (incoming_->bytes.size() == incoming_->size) {
      take_in(std::move(*incoming_));
      incoming_.reset();
      return reply_match(m.from, sent.round);
    }
  }
  say(m.from, raft_install_reply{sent.index, sent.round, incoming_ ? incoming_->bytes.size() : 0});
}

void raft::take_in(incoming_snapshot whole) {
  whole.head.image = shared_bytes::own(std::move(whole.bytes));
  const auto snapshot = std::make_shared<const raft_snapshot>(std::move(whole.head));
  unclaim_from(commit_ + 1);
  if (log_.first() <= log_.last()) next_.cut_from = log_.first();
  log_.replaced(snapshot);
  next_.snapshot = snapshot;
  commit_ = snapshot->index;
  verified_ = std::max(verified_, commit_);
  sessions_ = raft_session_table{snapshot->sessions, options_.clients_max};
  out_.push_back(install{snapshot});
}

}  // namespace troupe
