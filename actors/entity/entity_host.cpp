#include "actors/entity/entity_host.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"
#include "runtime/base/overloaded.hpp"

namespace troupe {

using entities::keeping;
using entities::shard_owner;
using entities::shard_owner_id;

std::uint32_t entity_host::part_of(const shard_id& shard, std::uint32_t parts) {
  return shard.index % parts;
}

entity_host::entity_host(entities::sender_id self, std::vector<entity_kind> kinds, settings s, random_source random)
    : self_{self}, kinds_{std::move(kinds)}, settings_{s}, router_{self, s.router, random} {
  TROUPE_CHECK(settings_.parts > 0 && settings_.part < settings_.parts);
}

// -- from the metadata ----------------------------------------------------------------------------------------------

entity_host::effects entity_host::follow(const metadata_image& image, instant now) {
  // Lives first: an owner that starts to serve knows which senders are over.
  for (const auto& [node, info] : image.nodes) {
    auto& known = lives_.try_emplace(node, -1).first->second;
    if (info.state == node_state::removed) {
      for (auto& [shard, s] : seats_) s.owner.life_ended(node);
      known = -1;
    } else if (known != info.node_epoch) {
      known = info.node_epoch;
      for (auto& [shard, s] : seats_) take(shard, s, s.owner.life_began({node, known}, now), now);
    }
  }
  const auto serves = [&](node_id id) {
    const auto* node = image.node(id);
    return node != nullptr && node->serves();
  };
  const auto look_at = [&](const entity_kind& kind, std::uint32_t index, shard_owner_id owner, bool active) {
    const shard_id shard{kind.name, index};
    if (part_of(shard, settings_.parts) != settings_.part) return;
    const auto at = seats_.find(shard);
    const bool asks = at != seats_.end() && serves(at->second.known.node);
    shard_is(shard, kind, owner, active, asks, now);
  };
  for (const auto& kind : kinds_) {
    if (kind.how == keeping::durable) {
      const auto topic = image.find(kind.topic());
      if (!topic || topic->partitions.empty()) continue;
      router_.kind_known(kind.name, shards_[kind.name] = static_cast<std::uint32_t>(topic->partitions.size()));
      for (std::uint32_t i = 0; i < topic->partitions.size(); ++i) {
        const auto& p = topic->partitions[i];
        look_at(kind, i, {p.leader, p.epoch.value()}, p.former.node.value() < 0);
      }
    } else if (const auto shards = image.shards.find(kind.name); shards != image.shards.end()) {
      router_.kind_known(kind.name, shards_[kind.name] = static_cast<std::uint32_t>(shards->second.size()));
      for (std::uint32_t i = 0; i < shards->second.size(); ++i) {
        const auto& s = shards->second[i];
        look_at(kind, i, {s.owner, s.epoch}, s.active);
      }
    }
  }
  return finish();
}

void entity_host::shard_is(const shard_id& shard, const entity_kind& kind, shard_owner_id owner, bool active,
                           bool former_serves, instant now) {
  auto at = seats_.find(shard);
  if (at == seats_.end()) at = take_seat(shard, kind, now);
  auto& s = at->second;
  if (s.known == owner && s.active == active) return;
  if (s.known.epoch < owner.epoch) {
    s.former = s.known.epoch == owner.epoch - 1 && former_serves ? s.known.node : node_id{-1};
    if (s.handed.had) {
      s.handed_until = std::min(s.handed_until, now + settings_.handover_kept);
      // Unasked, too: we may be about to stop.
      if (s.handed.epoch == owner.epoch - 1 && owner.node.value() >= 0 && owner.node != self_.node)
        out_.push_back(send{owner.node, s.handed});
    }
    if (s.early.epoch < owner.epoch - 1) s.early = {};
  }
  s.known = owner;
  s.active = active;
  take(router_.owner_changed(shard, owner, now));
  take(shard, s, s.owner.owner_changed(owner, active, now), now);
}

entity_host::seats::iterator entity_host::take_seat(const shard_id& shard, const entity_kind& kind, instant now) {
  const auto at =
      seats_.emplace(shard, seat{&kind, shard_owner{self_.node, shard, kind.how, settings_.shard}, {}}).first;
  auto& s = at->second;
  for (const auto& [node, known] : lives_)
    if (known >= 0) take(shard, s, s.owner.life_began({node, known}, now), now);
  take(shard, s, s.owner.lease(lease_end_, now), now);
  return at;
}

// -- what happens ---------------------------------------------------------------------------------------------------

entity_host::effects entity_host::leased(instant until, instant now) {
  lease_end_ = until;
  for (auto& [shard, s] : seats_) take(shard, s, s.owner.lease(until, now), now);
  return finish();
}

entity_host::effects entity_host::link_lost(node_id peer, instant now) {
  take(router_.node_lost(peer, now));
  return finish();
}

entity_host::effects entity_host::hand_over(const shard_id& shard, std::int32_t epoch, instant now) {
  if (const auto at = seats_.find(shard); at != seats_.end())
    take(shard, at->second, at->second.owner.hand_over(epoch, now), now);
  return finish();
}

entity_host::effects entity_host::received(node_id from, const entities::message& m, instant now) {
  std::visit([&](const auto& what) { hear(from, what, now); }, m);
  return finish();
}

void entity_host::hear(node_id from, const entities::deliver& m, instant now) {
  if (m.sender.node != from) return;
  if (const auto at = seats_.find(m.shard); at != seats_.end())
    take(m.shard, at->second, at->second.owner.delivered(m, now), now);
  else
    out_.push_back(send{from, entities::answer{entities::refused{m.shard, m.sender, m.sequence, errc::unknown_epoch}}});
}

void entity_host::hear(node_id, const entities::answer& m, instant now) {
  take(router_.answered(m, now));
}

void entity_host::hear(node_id from, const entities::handover_request& m, instant) {
  const auto at = seats_.find(m.shard);
  const bool here = at != seats_.end() && at->second.handed.epoch == m.epoch;
  // An answer either way: the next owner does not have to wait for what is not there.
  out_.push_back(send{from, entities::handover{m.shard, m.epoch, here ? at->second.handed.had : nullptr}});
}

void entity_host::hear(node_id, const entities::handover& m, instant now) {
  const auto at = seats_.find(m.shard);
  if (at == seats_.end() || at->second.kind->how == keeping::durable) return;
  auto& s = at->second;
  if (s.loading && *s.loading - 1 == m.epoch) {
    if (!m.had) s.former = node_id{-1};  // it says so: nothing was missed
    begin_with(m.shard, s, m.had, now);
  } else if (m.had && m.epoch >= s.known.epoch && m.epoch > s.early.epoch) {
    s.early = m;
  }
}

result<entity_host::effects> entity_host::ask(ticket t, const entities::entity_name& name, shared_bytes payload,
                                              instant now) {
  if (shards_of(name.kind) == 0 && std::ranges::find(kinds_, name.kind, &entity_kind::name) != kinds_.end())
    return {errc::not_leader, "this node does not know yet where entities of the kind " + name.kind + " are"};
  auto todo = router_.send(t, name, std::move(payload), now);
  if (!todo) return todo.error();
  take(std::move(*todo));
  return finish();
}

entity_host::effects entity_host::stopped(const error& why) {
  take(router_.stopped(why));
  return finish();
}

entity_host::effects entity_host::tick(instant now) {
  if (const auto at = router_.wakes_at(); at && *at <= now) take(router_.tick(now));
  std::vector<shard_id> due;
  for (auto at = due_.begin(); at != due_.end() && at->first <= now; ++at) due.push_back(at->second);
  for (const auto& shard : due) {
    auto& s = seats_.at(shard);
    if (s.handed_until <= now) {
      s.handed = {};
      s.handed_until = instant::max();
    }
    if (s.ask_at <= now) ask_former(shard, s, now);
    if (s.load_until <= now) begin_with(shard, s, s.early.epoch == *s.loading - 1 ? s.early.had : nullptr, now);
    take(shard, s, s.owner.tick(now), now);
  }
  return finish();
}

// -- what became of effects -----------------------------------------------------------------------------------------

entity_host::effects entity_host::handled(const shard_id& shard, shard_owner::ticket id, shared_bytes reply,
                                          std::optional<shared_bytes> record, instant now) {
  auto& s = seats_.at(shard);
  take(shard, s, s.owner.handled(id, std::move(reply), std::move(record), now), now);
  return finish();
}

entity_host::effects entity_host::declined(const shard_id& shard, shard_owner::ticket id, errc why, instant now) {
  auto& s = seats_.at(shard);
  take(shard, s, s.owner.declined(id, why, now), now);
  return finish();
}

entity_host::effects entity_host::appended(const shard_id& shard, shard_owner::token id, log_offset at, instant now) {
  auto& s = seats_.at(shard);
  take(shard, s, s.owner.appended(id, at), now);
  return finish();
}

entity_host::effects entity_host::store_failed(const shard_id& shard, instant now) {
  auto& s = seats_.at(shard);
  take(shard, s, s.owner.store_failed(now), now);
  return finish();
}

entity_host::effects entity_host::loaded(const shard_id& shard, std::int32_t epoch,
                                         std::vector<entities::entity_state> all, const entities::shard_memory& memory,
                                         instant now) {
  auto& s = seats_.at(shard);
  if (s.loading != epoch) return finish();
  s.loading.reset();
  out_.push_back(begin{shard, std::move(all)});
  take(shard, s, s.owner.loaded(epoch, memory, now), now);
  return finish();
}

entity_host::effects entity_host::committed(const shard_id& shard, log_offset watermark, instant now) {
  if (const auto at = seats_.find(shard); at != seats_.end())
    take(shard, at->second, at->second.owner.committed(watermark, now), now);
  return finish();
}

entity_host::effects entity_host::collected(const shard_id& shard, std::int32_t epoch,
                                            std::vector<entities::entity_state> all, instant now) {
  auto& s = seats_.at(shard);
  if (s.owner.owner().epoch != epoch) return finish();
  auto had = std::make_shared<entities::handover::contents>();
  had->entities = std::move(all);
  had->memory = s.owner.memory();
  s.handed = {shard, epoch, std::move(had)};
  s.handed_until = instant::max();
  take(shard, s, s.owner.state_written(now), now);
  return finish();
}

// -- what the cores decide ------------------------------------------------------------------------------------------

void entity_host::take(entities::router::effects&& todo) {
  for (auto& it : todo)
    std::visit(overloaded{
                   [&](entities::router::transmit& e) {
                     out_.push_back(send{e.to, std::move(e.message)});
                   },
                   [&](entities::router::ended& e) {
                     out_.push_back(ended{e.of, std::move(e.outcome)});
                   },
               },
               it);
}

void entity_host::take(const shard_id& shard, seat& s, shard_owner::effects&& todo, instant now) {
  const auto epoch = s.owner.owner().epoch;
  for (auto& it : todo)
    std::visit(overloaded{
                   [&](shard_owner::send& e) {
                     out_.push_back(send{e.to, std::move(e.answer), epoch});
                   },
                   [&](shard_owner::load& e) { load_state(shard, s, e.epoch, now); },
                   [&](shard_owner::handle& e) {
                     out_.push_back(handle{shard, epoch, e.id, std::move(e.key), std::move(e.payload)});
                   },
                   [&](shard_owner::store& e) {
                     out_.push_back(store{shard, epoch, e.id,
                                          store::state{{std::move(e.key), std::move(e.record)}, std::move(e.with)}});
                   },
                   [&](shard_owner::store_settled& e) {
                     out_.push_back(store{shard, epoch, e.id, store::settled{e.sender, e.settled}});
                   },
                   [&](shard_owner::write_state&) {
                     out_.push_back(collect{shard, epoch});
                   },
                   [&](shard_owner::acknowledge& e) {
                     out_.push_back(released{shard, e.epoch});
                   },
                   [&](shard_owner::drop&) {
                     s.loading.reset();
                     s.load_until = s.ask_at = instant::max();
                     out_.push_back(drop{shard});
                   },
               },
               it);
  set_due(shard, s);
}

/// Of a shard without a log: the former owner may still have it. If it does not say so, the shard begins with nothing.
void entity_host::load_state(const shard_id& shard, seat& s, std::int32_t epoch, instant now) {
  s.loading = epoch;
  if (s.kind->how == keeping::durable) return out_.push_back(load{shard, epoch});
  s.load_until = now;  // the next tick
  if (s.early.had && s.early.epoch == epoch - 1) return;
  if (s.former.value() < 0) return;
  s.load_until = now + settings_.handover_wait;
  ask_former(shard, s, now);
}

void entity_host::ask_former(const shard_id& shard, seat& s, instant now) {
  s.ask_at = now + settings_.handover_again;
  out_.push_back(send{s.former, entities::handover_request{shard, *s.loading - 1}});
}

void entity_host::begin_with(const shard_id& shard, seat& s, std::shared_ptr<const entities::handover::contents> had,
                             instant now) {
  static const entities::handover::contents nothing;
  const auto& state = had ? *had : nothing;
  const auto epoch = *std::exchange(s.loading, std::nullopt);
  s.load_until = s.ask_at = instant::max();
  s.early = {};
  out_.push_back(begin{shard, state.entities, !had && s.former.value() >= 0});
  take(shard, s, s.owner.loaded(epoch, state.memory, now), now);
}

// -- time -----------------------------------------------------------------------------------------------------------

void entity_host::set_due(const shard_id& shard, seat& s) {
  const auto due = std::min({s.owner.wakes_at().value_or(instant::max()), s.load_until, s.ask_at, s.handed_until});
  if (due == s.due) return;
  if (s.due != instant::max()) due_.erase({s.due, shard});
  s.due = due;
  if (due != instant::max()) due_.emplace(due, shard);
}

std::optional<instant> entity_host::wakes_at() const {
  auto at = router_.wakes_at();
  if (!due_.empty() && (!at || due_.begin()->first < *at)) at = due_.begin()->first;
  return at;
}

// -- queries --------------------------------------------------------------------------------------------------------

std::uint32_t entity_host::shards_of(std::string_view kind) const {
  const auto at = shards_.find(kind);
  return at == shards_.end() ? 0 : at->second;
}

const shard_owner* entity_host::owner_of(const shard_id& shard) const {
  const auto at = seats_.find(shard);
  return at == seats_.end() ? nullptr : &at->second.owner;
}

std::optional<std::int32_t> entity_host::loading(const shard_id& shard) const {
  const auto at = seats_.find(shard);
  return at == seats_.end() ? std::nullopt : at->second.loading;
}

bool entity_host::gave_up(const shard_id& shard, std::int32_t epoch) const {
  const auto at = seats_.find(shard);
  return at != seats_.end() && at->second.handed.had && at->second.handed.epoch == epoch;
}

}  // namespace troupe
