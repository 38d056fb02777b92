#include "actors/partition/replica.hpp"

#include <algorithm>
#include <utility>

#include "runtime/base/rules.hpp"

namespace troupe {

namespace {

error another_leads() {
  return {errc::not_leader, "another replica leads this partition"};
}

replica_set replicas_of(const partition_state& state) {
  return {static_cast<std::int32_t>(state.replicas.size()), static_cast<std::int32_t>(state.isr.size()),
          static_cast<std::int32_t>(state.adding.size())};
}

bool lists(const std::vector<node_id>& nodes, node_id node) {
  return std::find(nodes.begin(), nodes.end(), node) != nodes.end();
}

}  // namespace

partition_replica::partition_replica(store::log_identity seat, node_life self, topic_settings settings,
                                     partition_restored restored)
    : seat_{seat},
      self_{self},
      settings_{settings},
      damaged_from_{restored.damaged_from},
      core_{std::move(settings), std::move(restored)},
      follows_{seat},
      leaders_watermark_{core_.watermark()},
      committed_told_{core_.watermark()} {
  last_.state.partition_epoch = -1;
}

// -- roles ------------------------------------------------------------------------------------------------

partition_replica::effects partition_replica::assigned(const assignment& a, moment at) {
  effects todo;
  if (role_ == role::removed) return todo;
  for (const auto& [node, epoch] : a.node_epochs) {
    auto& known = last_.node_epochs[node];
    known = std::max(known, epoch);
  }
  last_.fenced = a.fenced;
  last_.full = a.full;
  last_.unclean = std::max(last_.unclean, a.unclean);
  const bool newer = a.state.partition_epoch > last_.state.partition_epoch;
  if (newer) last_.state = a.state;
  if (newer && !seated(last_.state)) {
    chosen_ = false;
    step_down({errc::unknown_topic, "this replica was removed"}, todo, at.now);
    turn(role::removed, todo);
    return todo;
  }
  take_role(newer, todo, at.now);
  return todo;
}

void partition_replica::take_role(bool newer, effects& todo, instant now) {
  if (role_ == role::failed) return;
  const auto& state = last_.state;
  const auto mine = last_.node_epochs.find(self_.node);
  const bool registered = mine != last_.node_epochs.end() && mine->second == self_.epoch;
  if (registered && damaged_from_) look_at_damage(newer, todo);
  chosen_ =
      state.leader == self_.node && !leads_ && registered && (!damaged_from_ || !holds(rule::damaged_never_leads));
  if (chosen_) {
    if (!settled()) rest(todo, now);
    lead_if_settled(todo, now);
  } else if (state.leader == self_.node && leads_) {
    newer ? lead_on(todo, now) : leads_->nodes_changed(last_);
  } else if (state.leader == self_.node) {
    rest(todo, now);
  } else if (state.leader.value() >= 0) {
    follow(todo, now);
  } else {
    rest(todo, now);
  }
}

/// Damage is over once we stand in the ISR, having stood outside: who never left it is in it because nobody knows.
void partition_replica::look_at_damage(bool newer, effects& todo) {
  const auto& state = last_.state;
  if (!lists(state.isr, self_.node)) {
    damage_known_ = true;
  } else if (damage_known_ && damage_cut_) {
    damaged_from_.reset();
  } else if (newer && state.leader == self_.node && state.isr.size() == 1 && state.unclean_epoch == state.epoch) {
    // Elected as the best there is, and the metadata says that some is lost: what is whole here is what is left.
    if (!std::exchange(damage_cut_, true)) cut(std::clamp(*damaged_from_, core_.start(), core_.end()), todo);
    damaged_from_.reset();
  }
}

/// Until the disk has done what it was asked for, nobody knows where the log ends.
bool partition_replica::settled() const {
  return cuts_.empty() && (damaged_from_ || core_.durable_end() == core_.end());
}

void partition_replica::lead_if_settled(effects& todo, instant now) {
  if (chosen_ && settled()) lead(todo, now);
}

/// Whether the metadata still has this replica: a seat on the same node that was given later is another replica.
bool partition_replica::seated(const partition_state& state) const {
  return std::any_of(state.replicas.begin(), state.replicas.end(), [&](const replica& it) {
    return it.node == self_.node && (it.added_at == seat_.added_at || !holds(rule::added_at_checked));
  });
}

void partition_replica::lead(effects& todo, instant now) {
  chosen_ = false;
  follows_.stops();
  tell_clients(core_.led(last_.state.epoch, replicas_of(last_.state)), todo, now);
  // Where nobody can have led before, a producer may still have asked for us before this node knew that we lead.
  core_.took_over(followed_ || last_.state.replicas.size() > 1, now);
  leads_.emplace(seat_, self_, last_, settings_.min_insync_replicas, core_.watermark(), leaders_view(), now);
  turn(role::leader, todo);
  perform(leads_->grown(leaders_view()), todo, now);
}

void partition_replica::lead_on(effects& todo, instant now) {
  const bool renewed = last_.state.epoch > leads_->epoch();
  // Two changes that were heard of at once may have been there and back.
  if (last_.state.epoch.value() > leads_->epoch().value() + 1) core_.took_over(true, now);
  tell_clients(renewed ? core_.led(last_.state.epoch, replicas_of(last_.state))
                       : core_.replicas_changed(replicas_of(last_.state)),
               todo, now);
  if (renewed) turn(role::leader, todo);
  perform(leads_->assigned(last_, leaders_view(), now), todo, now);
}

void partition_replica::follow(effects& todo, instant now) {
  const auto& state = last_.state;
  const bool anew = leads_ || follows_.epoch() != state.epoch;
  if (anew) step_down(another_leads(), todo, now);
  follows_.follows(state.leader, state.epoch, last_.unclean, now);
  followed_ = true;
  turn(damaged_from_ ? role::damaged : role::follower, todo);
  if (damaged_from_ && !damage_cut_) {
    // There is somebody to get it from again.
    damage_cut_ = true;
    cut(std::clamp(*damaged_from_, core_.start(), core_.end()), todo);
  }
  if (anew && !holds(rule::diverged_by_epoch) && core_.watermark() < core_.end()) cut(core_.watermark(), todo);
  ask(todo, now);
}

/// Neither leads nor follows; what is below the watermark can be read.
void partition_replica::rest(effects& todo, instant now) {
  if (leads_ || follows_.epoch() != no_epoch || epoch_told_ != last_.state.epoch) step_down(another_leads(), todo, now);
  turn(damaged_from_ ? role::damaged : role::none, todo);
}

void partition_replica::step_down(const error& why, effects& todo, instant now) {
  leads_.reset();
  follows_.stops();
  tell_clients(core_.followed(last_.state.epoch, why), todo, now);
}

void partition_replica::fail(error why, effects& todo, instant now) {
  chosen_ = false;
  step_down(another_leads(), todo, now);
  turn(role::failed, todo, std::move(why));
}

void partition_replica::turn(role to, effects& todo, std::optional<error> why) {
  if (role_ == to && epoch_told_ == last_.state.epoch) return;
  role_ = to;
  epoch_told_ = last_.state.epoch;
  todo.push_back(become{to, epoch_told_, std::move(why)});
}

partition_replica::effects partition_replica::reconfigured(topic_settings settings, instant now) {
  settings_ = settings;
  core_.reconfigured(std::move(settings));
  effects todo;
  if (!leads_) return todo;
  leads_->configured_min_set(settings_.min_insync_replicas);
  perform(leads_->grown(leaders_view()), todo, now);
  return todo;
}

// -- clients ----------------------------------------------------------------------------------------------

partition_replica::effects partition_replica::produced(produce&& m, moment at, bool crowded, decompressor& unpacker) {
  effects todo;
  if (leads_ && !leased_at(at.now)) {
    produce::outcome out;
    out.refused = error{errc::not_leader, "the node holds no lease"};
    core_.refused_before(*out.refused, at.now);
    partition_core::effects refusal;
    refusal.produced.push_back({std::move(m.answer), std::move(out)});
    tell_clients(std::move(refusal), todo, at.now);
    return todo;
  }
  tell_clients(core_.produced(std::move(m), at, crowded, unpacker), todo, at.now);
  // Nothing is counted before it is durable.
  if (leads_ && !holds(rule::watermark_counts_durable)) perform(leads_->grown(leaders_view()), todo, at.now);
  return todo;
}

bool partition_replica::leased_at(instant now) const noexcept {
  return now < lease_end_ || !holds(rule::lease_before_answer);
}

/// The log first, then what depends on it.
void partition_replica::tell_clients(partition_core::effects&& clients, effects& todo, instant now) {
  if (!clients.append.empty()) todo.push_back(append{std::exchange(clients.append, {})});
  if (core_.watermark() > committed_told_) {
    committed_told_ = core_.watermark();
    todo.push_back(committed{committed_told_});
  }
  if (clients.empty()) return;
  // Another node may lead already, and may lead without this record: it cannot be confirmed, nor denied.
  if (!leased_at(now))
    for (auto& it : clients.produced)
      if (!it.outcome.refused)
        it.outcome.refused = error{errc::not_leader, "the node's lease ran out; it may be stored"};
  todo.push_back(tell{std::move(clients)});
}

void partition_replica::commit(log_offset watermark, effects& todo, instant now) {
  tell_clients(core_.committed(watermark), todo, now);
}

// -- messages ---------------------------------------------------------------------------------------------

partition_replica::effects partition_replica::received(node_life from, const replica_fetch& m, instant now) {
  effects todo;
  if (m.seat.topic != seat_.topic || m.seat.partition != seat_.partition) return todo;
  if (role_ == role::failed || role_ == role::removed || role_ == role::damaged) return todo;
  if (!leads_)
    todo.push_back(
        send_answer{from, {m.seat, last_.state.epoch, m.id, m.offset, replica_answer::refusal{errc::not_leader}}, {}});
  else
    perform(leads_->fetched(from, m, leaders_view(), now), todo, now);
  return todo;
}

partition_replica::effects partition_replica::received(node_life from, const replica_answer& m, moment at) {
  effects todo;
  if (auto it = follows_.answered(from.node, m, followers_view(), at.now)) perform(std::move(*it), todo, at);
  ask(todo, at.now);
  return todo;
}

partition_replica::effects partition_replica::received(const alter_isr_answer& m, moment at) {
  effects todo;
  if (!leads_ || m.where != partition_ref{seat_.topic, seat_.partition}) return todo;
  // The answer may be ahead of this node's metadata. That we are gone is only believed of the metadata itself: whoever
  // drops a log must not find its seat in there again.
  if (m.what == alter_isr_answer::outcome::accepted && seated(m.state))
    return assigned({m.state, last_.node_epochs, last_.fenced, last_.unclean, last_.full}, at);
  perform(leads_->altered(m, leaders_view(), at.now), todo, at.now);
  return todo;
}

void partition_replica::perform(leadership::effects&& decided, effects& todo, instant now) {
  if (decided.committed) commit(leads_->watermark(), todo, now);
  for (auto& it : decided.answers) {
    send_answer answer{it.to, std::move(it.message), {}};
    if (it.bytes_max > 0) answer.read = {answer.message.offset, leaders_view().durable, it.bytes_max};
    todo.push_back(std::move(answer));
  }
  if (decided.propose) todo.push_back(send_proposal{std::move(*decided.propose)});
}

void partition_replica::perform(following::effect&& decided, effects& todo, moment at) {
  if (auto* it = std::get_if<following::take>(&decided)) {
    if (!it->batches.empty()) {
      const auto base = it->batches.front().base;
      const bool from_below = base < core_.end();
      core_.replicated(it->batches, at.wall);
      if (from_below) {  // our log starts within the leader's first batch
        cuts_.push_back(base);
        todo.push_back(restart{base});
      }
      todo.push_back(append{std::move(it->batches)});
      if (from_below) todo.push_back(trim{core_.start()});
    }
    // Only up to here the leader's log is known to be ours.
    leaders_watermark_ = std::max(leaders_watermark_, std::min(it->watermark, core_.end()));
    caught_up(todo, at.now);
    const auto start = std::min(it->start, core_.watermark());
    if (start > core_.start()) {
      core_.trimmed(start);
      todo.push_back(trim{start});
    }
  } else if (auto* shorter = std::get_if<following::cut>(&decided)) {
    cut(shorter->end, todo);
  } else if (auto* over = std::get_if<following::start_over>(&decided)) {
    core_.restarted(over->start);
    leaders_watermark_ = over->start;
    committed_told_ = std::min(committed_told_, over->start);
    cuts_.push_back(over->start);
    todo.push_back(restart{over->start});
    caught_up(todo, at.now);
  } else {
    fail(std::move(std::get<following::give_up>(decided).why), todo, at.now);
  }
}

void partition_replica::cut(log_offset end, effects& todo) {
  core_.truncated(end);
  leaders_watermark_ = std::min(leaders_watermark_, end);
  committed_told_ = std::min(committed_told_, end);
  cuts_.push_back(end);
  if (end == core_.start())  // the log may start within a batch, and would end below
    todo.push_back(restart{end});
  else
    todo.push_back(truncate{end});
}

/// What the leader has committed and we have on disk may be read here.
void partition_replica::caught_up(effects& todo, instant now) {
  commit(std::min(leaders_watermark_, core_.durable_end()), todo, now);
}

void partition_replica::ask(effects& todo, instant now) {
  if (auto it = follows_.next(followers_view(), now)) todo.push_back(send_fetch{it->leader, std::move(it->message)});
}

// -- the log ----------------------------------------------------------------------------------------------

partition_replica::effects partition_replica::durable(log_offset end, instant now) {
  effects todo;
  if (!cuts_.empty()) return todo;  // said before the cut
  tell_clients(core_.durable(std::min(end, core_.end())), todo, now);
  if (leads_)
    perform(leads_->grown(leaders_view()), todo, now);
  else
    caught_up(todo, now);
  lead_if_settled(todo, now);
  ask(todo, now);
  return todo;
}

partition_replica::effects partition_replica::refused(log_offset end, const error& why, instant now) {
  effects todo;
  if (!cuts_.empty()) return todo;
  // A log that starts within its first batch ends below its start before it has that batch.
  tell_clients(core_.refused(std::max(end, core_.start()), why), todo, now);
  leaders_watermark_ = std::min(leaders_watermark_, core_.end());
  if (why.code == errc::storage_failed) {
    fail(why, todo, now);
    return todo;
  }
  if (leads_) perform(leads_->grown(leaders_view()), todo, now);
  follows_.refused(now);
  lead_if_settled(todo, now);
  return todo;
}

partition_replica::effects partition_replica::truncated(log_offset end, instant now) {
  effects todo;
  TROUPE_CHECK(!cuts_.empty());
  const auto expected = cuts_.front();
  cuts_.pop_front();
  if (end < expected && cuts_.empty()) {
    core_.truncated(end);
    leaders_watermark_ = std::min(leaders_watermark_, end);
  }
  lead_if_settled(todo, now);
  ask(todo, now);
  return todo;
}

partition_replica::effects partition_replica::tick(instant now) {
  effects todo;
  tell_clients(core_.tick(now), todo, now);
  if (leads_) perform(leads_->tick(leaders_view(), now), todo, now);
  ask(todo, now);
  return todo;
}

std::optional<instant> partition_replica::wakes_at() const {
  const auto follows = follows_.wakes_at(followers_view());
  const auto leads = leads_ ? leads_->wakes_at() : std::nullopt;
  return follows && leads ? std::min(*follows, *leads) : follows ? follows : leads;
}

partition_replica::effects partition_replica::ended(const error& why, instant now) {
  effects todo;
  chosen_ = false;
  tell_clients(core_.ended(why), todo, now);
  step_down(why, todo, now);
  turn(role::none, todo);
  return todo;
}

log_ends::log_end partition_replica::log_end() const {
  auto end = core_.durable_end();
  if (damaged_from_) end = std::clamp(*damaged_from_, core_.start(), end);
  const auto last = end == core_.start() ? no_epoch : core_.epochs().at(log_offset{end.value() - 1});
  return {{seat_.topic, seat_.partition}, last, end};
}

leadership::log_view partition_replica::leaders_view() const {
  const auto durable = holds(rule::watermark_counts_durable) ? core_.durable_end() : core_.end();
  return {core_.start(), core_.end(), durable, core_.epochs()};
}

following::log_view partition_replica::followers_view() const {
  return {core_.start(), core_.end(), core_.durable_end(), core_.watermark(), core_.epochs(), !cuts_.empty()};
}

}  // namespace troupe
