#include "runtime/entities/shard_owner.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

namespace troupe::entities {

shard_owner::shard_owner(node_id self, shard_id shard, keeping k, shard_settings settings)
    : self_{self}, shard_{std::move(shard)}, keeping_{k}, settings_{settings} {}

bool shard_owner::serves() const {
  if (!loaded_) return false;
  switch (state_) {
    case state::none:
      return false;
    case state::assigned:
      return keeping_ == keeping::soft || !holds(rule::deliver_needs_active);
    case state::active:
      return true;
    case state::handing_over:
    case state::handed_over:
      return !holds(rule::handoff_stops_first);
  }
  return false;
}

// -- metadata -------------------------------------------------------------------------------------------------------

shard_owner::effects shard_owner::owner_changed(shard_owner_id owner, bool active, instant now) {
  effects out;
  if (owner.epoch < owner_.epoch) return out;
  if (owner.epoch == owner_.epoch) {
    if (owner == owner_ && active && state_ == state::assigned) {
      state_ = state::active;
      serve_backlog(now, out);
    }
    return out;
  }
  owner_ = owner;
  if (state_ != state::none) {
    end_activation(std::nullopt, out);
    state_ = state::none;
  }
  if (owner.node == self_) {
    state_ = active ? state::active : state::assigned;
    out.push_back(load{owner.epoch});
  }
  retake_early(now, out);
  return out;
}

shard_owner::effects shard_owner::life_began(sender_id who, instant now) {
  effects out;
  auto& epoch = lives_.try_emplace(who.node, who.node_epoch).first->second;
  epoch = std::max(epoch, who.node_epoch);
  for (auto at = senders_.lower_bound({who.node, -1});
       at != senders_.end() && at->first < sender_id{who.node, epoch};) {
    const auto former = (at++)->first;
    forget_below(former, senders_.at(former), ~std::uint64_t{0});
    senders_.erase(former);
  }
  retake_early(now, out);
  return out;
}

void shard_owner::life_ended(node_id node) {
  lives_.erase(node);
  while (true) {
    const auto at = senders_.lower_bound({node, -1});
    if (at == senders_.end() || at->first.node != node) return;
    forget_below(at->first, at->second, ~std::uint64_t{0});
    senders_.erase(at);
  }
}

/// What is not handled yet hears it: `why`, or where the shard is now.
void shard_owner::end_activation(std::optional<errc> why, effects& out) {
  if (holds(rule::nothing_dropped_silently)) {
    for (const auto& [sender, s] : senders_)
      for (const auto& [sequence, e] : s.entries)
        if (e.at != phase::done) why ? refuse({sender, sequence}, *why, out) : say_moved({sender, sequence}, out);
  }
  out.push_back(drop{});
  loaded_ = writing_ = false;
  backlog_.clear();
  busy_.clear();
  running_.clear();
  senders_.clear();
  kept_of_.clear();
  storing_.clear();
  until_committed_.clear();
  withheld_.clear();
  queued_ = early_.size();
  queued_bytes_ = 0;
  for (const auto& e : early_) queued_bytes_ += bytes_of(e.message);
}

// -- messages -------------------------------------------------------------------------------------------------------

shard_owner::effects shard_owner::delivered(deliver d, instant now) {
  effects out;
  take(std::move(d), now + settings_.metadata_wait, now, out);
  return out;
}

void shard_owner::take(deliver d, instant patience, instant now, effects& out) {
  const message_ref ref{d.sender, d.sequence};
  const auto same = d.epoch == owner_.epoch || !holds(rule::deliver_same_epoch);
  if (!same && d.epoch > owner_.epoch) return wait_for_metadata(std::move(d), patience, out);
  if (!same || state_ == state::none) return say_moved(ref, out);

  const auto life = lives_.find(d.sender.node);
  if (life == lives_.end() || life->second < d.sender.node_epoch) return wait_for_metadata(std::move(d), patience, out);
  if (life->second > d.sender.node_epoch) return refuse(ref, errc::fenced_epoch, out);

  auto& s = senders_[d.sender];
  settle(d.sender, s, d.settled);
  record_settled(d.sender, s, out);
  if (holds(rule::repeats_suppressed)) {
    if (d.sequence < s.settled) return refuse(ref, errc::fenced_epoch, out);
    if (const auto* known = find(ref)) {
      if (known->at != phase::done) return;  // its answer will come
      if (leased(now) || !holds(rule::reply_needs_lease))
        out.push_back(send{d.sender.node, reply{shard_, d.sender, d.sequence, known->reply}});
      else
        refuse(ref, errc::not_leader, out);
      return;
    }
  }

  if (stopping() && !serves()) return refuse(ref, errc::not_leader, out);
  if (serves() && !leased(now) && holds(rule::deliver_needs_lease)) return refuse(ref, errc::not_leader, out);
  const auto waits = !serves() || busy_.contains(d.key);
  if (d.sequence >= s.settled + settings_.window || s.kept_bytes > settings_.kept_bytes_max ||
      (waits && (queued_ == settings_.queued_max || queued_bytes_ + bytes_of(d) > settings_.queued_bytes_max))) {
    if (holds(rule::nothing_dropped_silently)) refuse(ref, errc::busy, out);
    return;
  }
  s.entries[d.sequence].key = d.key;
  s.entries[d.sequence].at = phase::queued;
  kept_of_[d.key].insert(ref);
  start_or_queue(d.key, {ref, d.payload}, out);
}

void shard_owner::wait_for_metadata(deliver d, instant patience, effects& out) {
  if (queued_ == settings_.queued_max || queued_bytes_ + bytes_of(d) > settings_.queued_bytes_max) {
    if (holds(rule::nothing_dropped_silently)) refuse({d.sender, d.sequence}, errc::busy, out);
    return;
  }
  ++queued_;
  queued_bytes_ += bytes_of(d);
  early_.push_back({patience, std::move(d)});
}

void shard_owner::retake_early(instant now, effects& out) {
  auto all = std::exchange(early_, {});
  for (auto& e : all) {
    --queued_;
    queued_bytes_ -= bytes_of(e.message);
  }
  for (auto& e : all) take(std::move(e.message), e.until, now, out);
}

void shard_owner::start_or_queue(const std::string& key, queued_message m, effects& out) {
  const auto busy = busy_.find(key);
  if (serves() && busy == busy_.end()) {
    busy_[key];
    return start(key, std::move(m), out);
  }
  ++queued_;
  queued_bytes_ += key.size() + m.payload.size();
  if (serves()) {
    busy->second.push_back(std::move(m));
  } else {
    backlog_.emplace_back(key, std::move(m));
  }
}

void shard_owner::start(const std::string& key, queued_message m, effects& out) {
  if (auto* e = find(m.ref)) e->at = phase::handling;
  running_.emplace(++last_ticket_, running{m.ref, key});
  out.push_back(handle{last_ticket_, key, m.ref.first, std::move(m.payload)});
}

void shard_owner::unqueue(const queued_message& m, const std::string& key) {
  --queued_;
  queued_bytes_ -= key.size() + m.payload.size();
}

/// The entity is free for what waits for it.
void shard_owner::start_next(const std::string& key, instant now, effects& out) {
  auto& waiting = busy_.at(key);
  while (!waiting.empty()) {
    auto m = std::move(waiting.front());
    waiting.pop_front();
    unqueue(m, key);
    const auto* e = find(m.ref);
    if (!e) continue;  // its sender's life is over
    if (m.ref.second < senders_.at(m.ref.first).settled) {
      forget(m.ref);  // its sender has given up
    } else if (!leased(now) && holds(rule::deliver_needs_lease)) {
      refuse(m.ref, errc::not_leader, out);
      forget(m.ref);
    } else {
      return start(key, std::move(m), out);
    }
  }
  busy_.erase(key);
}

void shard_owner::serve_backlog(instant now, effects& out) {
  if (!serves()) return;
  auto all = std::exchange(backlog_, {});
  for (auto& [key, m] : all) {
    unqueue(m, key);
    auto* e = find(m.ref);
    if (!e) continue;
    if (e->at == phase::done && holds(rule::repeats_suppressed)) {
      release(m.ref, now, out);  // loaded: it was handled before it came here
    } else if (m.ref.second < senders_.at(m.ref.first).settled && holds(rule::repeats_suppressed)) {
      refuse(m.ref, errc::fenced_epoch, out);
      forget(m.ref);
    } else if (!leased(now) && holds(rule::deliver_needs_lease)) {
      refuse(m.ref, errc::not_leader, out);
      forget(m.ref);
    } else {
      e->at = phase::queued;
      start_or_queue(key, std::move(m), out);
    }
  }
}

// -- handling -------------------------------------------------------------------------------------------------------

shard_owner::effects shard_owner::loaded(std::int32_t epoch, const shard_memory& known, instant now) {
  effects out;
  if (epoch != owner_.epoch || state_ == state::none || state_ == state::handed_over || loaded_) return out;
  const auto over = [&](const sender_id& who) {
    const auto life = lives_.find(who.node);
    return life != lives_.end() && life->second > who.node_epoch;
  };
  for (const auto& [sender, below] : known.settled) {
    if (over(sender)) continue;
    auto& s = senders_[sender];
    s.recorded = s.recording = std::max(s.recorded, below);
    settle(sender, s, below);
  }
  for (const auto& [key, m] : known.handled) {
    if (over(m.sender)) continue;
    auto& s = senders_[m.sender];
    if (m.settled) settle(m.sender, s, m.sequence + 1);
    if (m.sequence < s.recorded) continue;
    auto& e = s.entries[m.sequence];
    e.key = key;
    e.at = phase::done;
    keep_reply(s, e, m.sequence < s.settled ? shared_bytes{} : m.reply);
    kept_of_[key].insert({m.sender, m.sequence});
  }
  loaded_ = true;
  serve_backlog(now, out);
  finish_hand_over(out);
  return out;
}

shard_owner::effects shard_owner::handled(ticket id, shared_bytes answer_bytes, std::optional<shared_bytes> record,
                                          instant now) {
  effects out;
  const auto found = running_.find(id);
  if (found == running_.end()) return out;  // of an activation that is over
  TROUPE_CHECK(!record || keeping_ == keeping::durable);
  const auto [ref, key] = std::move(found->second);
  running_.erase(found);

  if (auto* e = find(ref)) {
    keep_reply(senders_.at(ref.first), *e, std::move(answer_bytes));
    e->at = phase::storing;
  }
  if (record) {
    store todo{++last_token_, key, std::move(*record), to_remember(key)};
    storing_.push_back({todo.id, std::nullopt, std::nullopt});
    out.push_back(std::move(todo));
  }
  // Also what changed nothing may have seen what is not committed yet.
  if (!storing_.empty() && holds(rule::reply_after_commit)) {
    until_committed_.emplace_back(last_token_, ref);
  } else {
    release(ref, now, out);
  }
  start_next(key, now, out);
  finish_hand_over(out);
  return out;
}

/// Of the entity's messages: replies that may be asked for again, and of each sender the last that is settled.
std::vector<remembered> shard_owner::to_remember(const std::string& key) const {
  std::vector<remembered> out;
  const auto kept = kept_of_.find(key);
  if (kept == kept_of_.end()) return out;
  for (const auto& [sender, sequence] : kept->second) {  // sorted
    const auto& s = senders_.at(sender);
    const auto& e = s.entries.at(sequence);
    if (e.at != phase::storing && e.at != phase::done) continue;
    const auto settled = sequence < s.settled;
    if (settled && !out.empty() && out.back().sender == sender) out.pop_back();
    out.push_back({sender, sequence, settled ? shared_bytes{} : e.reply, settled});
  }
  return out;
}

shard_owner::effects shard_owner::declined(ticket id, errc why, instant now) {
  effects out;
  const auto found = running_.find(id);
  if (found == running_.end()) return out;
  const auto [ref, key] = std::move(found->second);
  running_.erase(found);
  refuse(ref, why, out);
  forget(ref);
  start_next(key, now, out);
  finish_hand_over(out);
  return out;
}

shard_owner::effects shard_owner::appended(token id, log_offset at) {
  for (auto& s : storing_)
    if (s.id == id) s.at = at;
  return {};
}

shard_owner::effects shard_owner::committed(log_offset watermark, instant now) {
  effects out;
  while (!storing_.empty() && storing_.front().at && *storing_.front().at < watermark) {
    const auto done = storing_.front();
    storing_.pop_front();
    if (done.settles) {
      if (const auto s = senders_.find(done.settles->first); s != senders_.end()) {
        s->second.recorded = done.settles->second;
        forget_below(s->first, s->second, s->second.recorded);
      }
    }
    while (!until_committed_.empty() && until_committed_.front().first <= done.id) {
      const auto ref = until_committed_.front().second;
      until_committed_.pop_front();
      release(ref, now, out);
    }
  }
  finish_hand_over(out);
  return out;
}

shard_owner::effects shard_owner::store_failed(instant) {
  effects out;
  if (state_ == state::none) return out;
  end_activation(errc::not_leader, out);
  if (stopping()) {
    finish_hand_over(out);
  } else {
    out.push_back(load{owner_.epoch});
  }
  return out;
}

void shard_owner::release(const message_ref& ref, instant now, effects& out) {
  auto* e = find(ref);
  if (!e) return;  // its sender's life is over
  auto& s = senders_.at(ref.first);
  e->at = phase::done;
  if (leased(now) || !holds(rule::reply_needs_lease)) {
    out.push_back(send{ref.first.node, reply{shard_, ref.first, ref.second, e->reply}});
  } else if (ref.second >= s.settled) {
    withheld_.push_back(ref);
  }
  if (ref.second < s.recorded) {
    forget(ref);
  } else if (ref.second < s.settled) {
    keep_reply(s, *e, {});
  }
}

// -- leases and moves -----------------------------------------------------------------------------------------------

shard_owner::effects shard_owner::lease(instant until, instant now) {
  effects out;
  lease_until_ = std::max(lease_until_, until);
  if (!leased(now)) return out;
  for (const auto& ref : std::exchange(withheld_, {}))
    if (const auto* e = find(ref)) out.push_back(send{ref.first.node, reply{shard_, ref.first, ref.second, e->reply}});
  return out;
}

shard_owner::effects shard_owner::hand_over(std::int32_t epoch, instant now) {
  effects out;
  if (epoch != owner_.epoch || state_ == state::none || state_ == state::handing_over) return out;
  if (state_ == state::handed_over) {  // our word got lost
    say_released(now, out);
    return out;
  }
  state_ = state::handing_over;
  refuse_waiting(errc::not_leader, out);
  finish_hand_over(out);
  return out;
}

/// Once nothing is on its way any more the state is as it will be.
void shard_owner::finish_hand_over(effects& out) {
  if (state_ != state::handing_over || writing_) return;
  // What was handed to us has to be here before we hand it on; what is in the log is there for everybody.
  if (!loaded_ && keeping_ != keeping::durable) return;
  if (holds(rule::handoff_stops_first) && (!running_.empty() || !until_committed_.empty() || !storing_.empty())) return;
  writing_ = true;
  out.push_back(write_state{});
}

shard_owner::effects shard_owner::state_written(instant now) {
  effects out;
  if (state_ != state::handing_over || !writing_) return out;
  state_ = state::handed_over;
  say_released(now, out);
  return out;
}

/// Again and again: a controller that comes after the one that asked knows nothing of the move.
void shard_owner::say_released(instant now, effects& out) {
  say_released_at_ = now + settings_.acknowledge_every;
  out.push_back(acknowledge{owner_.epoch});
}

/// What waits to be handled, but not for metadata.
void shard_owner::refuse_waiting(errc why, effects& out) {
  for (const auto& [key, m] : std::exchange(backlog_, {})) {
    unqueue(m, key);
    refuse(m.ref, why, out);
    forget(m.ref);
  }
  for (auto& [key, waiting] : busy_) {
    for (const auto& m : std::exchange(waiting, {})) {
      unqueue(m, key);
      refuse(m.ref, why, out);
      forget(m.ref);
    }
  }
}

shard_owner::effects shard_owner::tick(instant now) {
  effects out;
  while (!early_.empty() && early_.front().until <= now) {
    const auto d = std::move(early_.front().message);
    early_.pop_front();
    --queued_;
    queued_bytes_ -= bytes_of(d);
    if (holds(rule::nothing_dropped_silently)) refuse({d.sender, d.sequence}, errc::unknown_epoch, out);
  }
  if (serves() && !leased(now) && holds(rule::deliver_needs_lease)) refuse_waiting(errc::not_leader, out);
  if (state_ == state::handed_over && say_released_at_ <= now) say_released(now, out);
  return out;
}

std::optional<instant> shard_owner::wakes_at() const {
  std::optional<instant> at;
  if (!early_.empty()) at = early_.front().until;
  const auto waits = serves() && queued_ > early_.size() && holds(rule::deliver_needs_lease);
  if (waits && (!at || lease_until_ < *at)) at = lease_until_;
  if (state_ == state::handed_over && (!at || say_released_at_ < *at)) at = say_released_at_;
  return at;
}

// -- what is kept of messages ---------------------------------------------------------------------------------------

shard_owner::entry* shard_owner::find(const message_ref& ref) {
  const auto s = senders_.find(ref.first);
  if (s == senders_.end()) return nullptr;
  const auto e = s->second.entries.find(ref.second);
  return e == s->second.entries.end() ? nullptr : &e->second;
}

void shard_owner::keep_reply(sender_state& s, entry& e, shared_bytes bytes) {
  s.kept_bytes -= e.reply.size();
  e.reply = std::move(bytes);
  s.kept_bytes += e.reply.size();
}

void shard_owner::forget(const message_ref& ref) {
  auto* e = find(ref);
  if (!e) return;
  auto& s = senders_.at(ref.first);
  keep_reply(s, *e, {});
  if (const auto of_key = kept_of_.find(e->key); of_key != kept_of_.end()) {
    of_key->second.erase(ref);
    if (of_key->second.empty()) kept_of_.erase(of_key);
  }
  s.entries.erase(ref.second);
}

/// What is handled already; what is not goes when it is.
void shard_owner::forget_below(const sender_id& sender, sender_state& s, std::uint64_t below) {
  const auto whole_life = below == ~std::uint64_t{0};
  for (auto at = s.entries.begin(); at != s.entries.end() && at->first < below;) {
    const auto sequence = at->first;
    const auto done = at->second.at == phase::done;
    ++at;
    if (done || whole_life) forget({sender, sequence});
  }
}

void shard_owner::settle(const sender_id& sender, sender_state& s, std::uint64_t settled) {
  if (settled <= s.settled) return;
  for (auto at = s.entries.lower_bound(s.settled); at != s.entries.end() && at->first < settled; ++at)
    if (at->second.at == phase::done) keep_reply(s, at->second, {});
  s.settled = settled;
  if (keeping_ == keeping::durable) return;
  s.recorded = s.recording = settled;
  forget_below(sender, s, settled);
}

/// Now and then, so that what is kept of a sender stays below twice its window.
void shard_owner::record_settled(const sender_id& sender, sender_state& s, effects& out) {
  if (!serves() || s.recording != s.recorded || s.settled - s.recorded < settings_.window / 2) return;
  s.recording = s.settled;
  storing_.push_back({++last_token_, std::nullopt, message_ref{sender, s.settled}});
  out.push_back(store_settled{last_token_, sender, s.settled});
}

shard_memory shard_owner::memory() const {
  shard_memory out;
  for (const auto& [sender, s] : senders_) {
    out.settled.emplace_back(sender, s.settled);
    for (const auto& [sequence, e] : s.entries)
      if (e.at == phase::done) out.handled.emplace_back(e.key, remembered{sender, sequence, e.reply});
  }
  return out;
}

// -- answers --------------------------------------------------------------------------------------------------------

void shard_owner::refuse(const message_ref& ref, errc why, effects& out) {
  out.push_back(send{ref.first.node, refused{shard_, ref.first, ref.second, why}});
}

void shard_owner::say_moved(const message_ref& ref, effects& out) {
  out.push_back(send{ref.first.node, moved{shard_, ref.first, ref.second, owner_}});
}

}  // namespace troupe::entities
