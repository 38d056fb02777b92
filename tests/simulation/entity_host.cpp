#include "tests/simulation/entity_host.hpp"

#include "runtime/base/overloaded.hpp"
#include "tests/simulation/process.hpp"

namespace troupe::sim {

using entities::keeping;
using entities::shard_owner;
using entities::shard_owner_id;

namespace {
entities::router_settings router_limits() {
  entities::router_settings s;
  s.window = 16;
  return s;
}
entities::shard_settings shard_limits() {
  entities::shard_settings s;
  s.queued_max = 8;
  s.window = 16;
  return s;
}
}  // namespace

const std::vector<entity_kind>& entity_kinds() {
  static const std::vector<entity_kind> kinds{
      {"user", keeping::durable, 2}, {"session", keeping::ephemeral, 3}, {"channel", keeping::soft, 2}};
  return kinds;
}

entity_host::entity_host(process& home, life self)
    : home_{home},
      self_{self.node, self.epoch},
      router_{self_, router_limits(), random_source{home.world_.ground.random()()}} {}

// -- from the metadata --------------------------------------------------------------------------------------------

void entity_host::metadata_changed() {
  const auto& image = *home_.image_;
  // Lives first: an owner that starts to serve knows which senders are over.
  for (const auto& [node, info] : image.nodes) {
    auto& known = lives_.try_emplace(node, -1).first->second;
    if (info.state == node_state::removed) {
      for (auto& [shard, s] : seats_) s.owner->life_ended(node);
      known = -1;
    } else if (known != info.node_epoch) {
      known = info.node_epoch;
      for (auto& [shard, s] : seats_) perform(shard, s.owner->life_began({node, known}, home_.now()));
    }
  }
  for (const auto& kind : entity_kinds()) {
    if (kind.keeping == keeping::durable) {
      const auto topic = image.find(kind.topic());
      for (std::uint32_t i = 0; topic && i < topic->partitions.size(); ++i) {
        const auto& p = topic->partitions[i];
        shard_is({kind.name, i}, kind, {p.leader, p.epoch.value()}, p.former.node.value() < 0);
      }
    } else if (const auto shards = image.shards.find(kind.name); shards != image.shards.end()) {
      for (std::uint32_t i = 0; i < shards->second.size(); ++i) {
        const auto& s = shards->second[i];
        shard_is({kind.name, i}, kind, {s.owner, s.epoch}, s.active);
      }
    }
  }
}

void entity_host::shard_is(const id& shard, const entity_kind& kind, shard_owner_id owner, bool active) {
  auto at = seats_.find(shard);
  if (at == seats_.end()) {
    router_.kind_known(kind.name, kind.shards);
    at = seats_.emplace(shard, seat{}).first;
    at->second.kind = &kind;
    at->second.owner = std::make_unique<shard_owner>(self_.node, shard, kind.keeping, shard_limits());
    for (const auto& [node, life] : lives_)
      if (life >= 0) perform(shard, at->second.owner->life_began({node, life}, home_.now()));
    perform(shard, at->second.owner->lease(lease_end_, home_.now()));
  }
  auto& s = at->second;
  if (s.known == owner && s.active == active) return;
  if (s.known.epoch < owner.epoch)
    s.former = s.known.epoch == owner.epoch - 1 ? std::optional{s.known.node} : std::nullopt;
  s.known = owner;
  s.active = active;
  const auto now = home_.now();
  perform(router_.owner_changed(shard, owner, now));
  perform(shard, s.owner->owner_changed(owner, active, now));
}

// -- what happens ---------------------------------------------------------------------------------------------------

void entity_host::leased(instant until) {
  lease_end_ = until;
  for (auto& [shard, s] : seats_) perform(shard, s.owner->lease(until, home_.now()));
}

void entity_host::tick() {
  const auto now = home_.now();
  if (const auto at = router_.wakes_at(); at && *at <= now) perform(router_.tick(now));
  for (auto& [shard, s] : seats_)
    if (const auto at = s.owner->wakes_at(); at && *at <= now) perform(shard, s.owner->tick(now));
  for (const auto& [call, since] : calls_)
    if (now - since > 31s) home_.world_.watcher.broken("I28: call " + std::to_string(call) + " never ended");
}

void entity_host::link_lost(node_id peer) {
  perform(router_.node_lost(peer, home_.now()));
}

bool entity_host::call(operation what, const entities::entity_name& whom) {
  auto todo = router_.send(what, whom, bytes_of({what}), home_.now());
  if (!todo) return false;
  calls_.emplace(what, home_.now());
  perform(std::move(*todo));
  return true;
}

void entity_host::perform(entities::router::effects&& todo) {
  for (auto& effect : todo) {
    if (home_.ended()) return;
    std::visit(overloaded{
                   [&](entities::router::transmit& e) {
                     home_.world_.watcher.call_sent(operations_in(e.message.payload).at(0), e.message.epoch);
                     home_.send(e.to, std::move(e.message));
                   },
                   [&](entities::router::ended& e) {
                     if (calls_.erase(e.of) == 0)
                       home_.world_.watcher.broken("I28: call " + std::to_string(e.of) + " ended twice");
                     home_.world_.watcher.call_ended(e.of, e.outcome.ok());
                   },
               },
               effect);
  }
}

void entity_host::received(const entities::deliver& m) {
  const auto at = seats_.find(m.shard);
  if (at != seats_.end()) perform(m.shard, at->second.owner->delivered(m, home_.now()));
}

void entity_host::received(const entities::answer& m) {
  perform(router_.answered(m, home_.now()));
}

void entity_host::received(const release_order& m) {
  const id shard{m.kind, m.shard};
  const auto at = seats_.find(shard);
  if (at != seats_.end()) perform(shard, at->second.owner->hand_over(m.epoch, home_.now()));
}

// -- what owners decide -----------------------------------------------------------------------------------------------

void entity_host::perform(const id& shard, core::effects&& todo) {
  auto& s = seats_.at(shard);
  auto& random = home_.world_.ground.random();
  for (auto& effect : todo) {
    if (home_.ended()) return;
    std::visit(
        overloaded{
            [&](core::send& e) {
              const bool stopped = s.handed && s.handed->epoch == s.owner->owner().epoch;
              if (std::holds_alternative<entities::reply>(e.answer))
                home_.world_.watcher.replies(home_.id(), shard, *s.kind, s.owner->owner().epoch, stopped);
              home_.send(e.to, std::move(e.answer));
            },
            [&](core::load& e) { load(shard, e.epoch); },
            [&](core::handle& e) {
              const auto what = operations_in(e.payload).at(0);
              auto& did = s.state[e.key];
              home_.world_.watcher.handles(home_.id(), shard, *s.kind, s.owner->owner().epoch, what, did);
              did.push_back(what);
              const auto took =
                  random.chance(0.003) ? home_.world_.ground.between(0ms, 5s) : home_.world_.ground.between(0ms, 20ms);
              home_.machine_.later(took, [this, shard, ticket = e.id, what, did = did] {
                auto& now = seats_.at(shard);
                const bool durable = now.kind->keeping == keeping::durable;
                perform(shard, now.owner->handled(ticket, bytes_of({what}),
                                                  durable ? std::optional{bytes_of(did)} : std::nullopt, home_.now()));
              });
            },
            [&](core::store& e) {
              append(shard, e.id, {std::move(e.key), operations_in(e.record), std::move(e.with), {}, 0});
            },
            [&](core::store_settled& e) {
              append(shard, e.id, {std::nullopt, {}, {}, e.sender, e.settled});
            },
            [&](core::write_state&) {
              s.handed = shard_handover{shard, s.owner->owner().epoch, s.state, s.owner->settled(), s.owner->memory()};
              home_.machine_.later(home_.world_.ground.between(0ms, 20ms), [this, shard] {
                perform(shard, seats_.at(shard).owner->state_written(home_.now()));
              });
            },
            [&](core::acknowledge& e) {
              home_.perform(home_.core_->to_controller(home_.now(),
                                                       shard_released{home_.self(), shard.kind, shard.index, e.epoch}));
            },
            [&](core::drop&) {
              s.state.clear();
              s.loading.reset();
            },
        },
        effect);
  }
}

// -- the state of a shard ---------------------------------------------------------------------------------------------

/// Of a shard without a log: the former owner may still have it. If it does not say so, the shard begins with nothing.
void entity_host::load(const id& shard, std::int32_t epoch) {
  auto& s = seats_.at(shard);
  s.loading = epoch;
  if (s.kind->keeping == keeping::durable) {
    // Not within the call that made it lead.
    home_.machine_.later(0ms, [this, shard] { load_from_log(shard); });
    return;
  }
  if (s.former && s.former->value() >= 0) home_.send(*s.former, shard_handover_request{shard, epoch - 1});
  home_.machine_.later(300ms, [this, shard, epoch] { received(shard_handover{shard, epoch - 1, {}, {}, {}}); });
}

void entity_host::received(node_id from, const shard_handover_request& m) {
  const auto at = seats_.find(m.shard);
  if (at != seats_.end() && at->second.handed && at->second.handed->epoch == m.epoch)
    home_.send(from, *at->second.handed);
}

void entity_host::received(const shard_handover& m) {
  const auto at = seats_.find(m.shard);
  if (at == seats_.end() || at->second.loading != m.epoch + 1 || at->second.owner->owner().epoch != m.epoch + 1) return;
  auto& s = at->second;
  s.loading.reset();
  s.state = m.state;
  perform(m.shard, s.owner->loaded(m.epoch + 1, m.settled, m.memory, home_.now()));
}

std::optional<partition_ref> entity_host::partition_of(const id& shard) const {
  const auto topic = home_.image_->find(seats_.at(shard).kind->topic());
  if (!topic) return std::nullopt;
  return partition_ref{topic->id, partition_index{static_cast<std::int32_t>(shard.index)}};
}

void entity_host::partition_moved(const partition_ref& where) {
  for (auto& [shard, s] : seats_) {
    if (s.kind->keeping != keeping::durable || partition_of(shard) != where) continue;
    load_from_log(shard);
    const auto* r = home_.replica_of(where);
    if (r && r->leads() && r->partition().epoch().value() == s.owner->owner().epoch)
      perform(shard, s.owner->committed(r->partition().watermark(), home_.now()));
  }
}

/// Once this node leads and the watermark has reached all that the log had when it began to, and all that an activation
/// of ours has appended since.
void entity_host::load_from_log(const id& shard) {
  auto& s = seats_.at(shard);
  const auto where = partition_of(shard);
  const auto* r = where && s.loading ? home_.replica_of(*where) : nullptr;
  if (!r || !r->leads() || r->partition().epoch().value() != *s.loading) return;
  const auto end = r->partition().watermark();
  if (end < r->leads()->epoch_start() || end < r->partition().end()) return;
  const auto log = home_.read(r->seat(), log_offset{0}, end);
  // As a replica that finds damage which nobody was told of: the next start names it.
  if (!log && log.code() == errc::storage_damaged) return home_.found_damage();
  if (!log) return;
  const auto epoch = *s.loading;
  s.loading.reset();
  s.state.clear();
  std::map<entities::sender_id, std::uint64_t> settled;
  std::map<std::string, std::vector<entities::remembered>> memory;
  for (const auto& run : *log)
    each_entity_record(run, [&](const entity_record& it) {
      if (it.key) {
        s.state[*it.key] = it.state;
        memory[*it.key] = it.with;
      } else {
        settled[it.sender] = std::max(settled[it.sender], it.settled);
      }
    });
  std::vector<std::pair<std::string, entities::remembered>> all;
  for (auto& [key, list] : memory)
    for (auto& it : list) all.emplace_back(key, std::move(it));
  perform(shard, s.owner->loaded(epoch, {settled.begin(), settled.end()}, all, home_.now()));
}

void entity_host::append(const id& shard, core::token token, entity_record record) {
  const auto where = partition_of(shard);
  auto* r = where ? home_.replica_of(*where) : nullptr;
  // It comes back later, as it would from another actor.
  auto failed = [this, shard] {
    home_.machine_.later(0ms, [this, shard] { perform(shard, seats_.at(shard).owner->store_failed(home_.now())); });
  };
  if (!r || !r->leads() || r->partition().epoch().value() != seats_.at(shard).owner->owner().epoch) return failed();
  produce p;
  auto bytes = std::make_shared<std::vector<std::byte>>(batch_of(record));
  p.records = {bytes, byte_span{*bytes}};
  p.acks = 1;
  p.deadline = instant::max();
  p.answer = [this, shard, token, failed, where = *where, life = home_.machine_.life()](produce::outcome out) {
    if (life != home_.machine_.life()) return;
    if (out.refused) return failed();
    home_.machine_.later(0ms, [this, shard, token, where, base = out.base] {
      perform(shard, seats_.at(shard).owner->appended(token, base));
      partition_moved(where);
    });
  };
  home_.perform(*r, r->produced(std::move(p), home_.both(), home_.store_->crowded(home_.logs_.at(r->seat())),
                                decompressor::of_this_thread()));
}

// -- for checkers -----------------------------------------------------------------------------------------------------

const shard_owner* entity_host::owner_of(const id& shard) const {
  const auto at = seats_.find(shard);
  return at == seats_.end() ? nullptr : at->second.owner.get();
}

bool entity_host::serves(const id& shard) const {
  const auto at = seats_.find(shard);
  return at != seats_.end() && at->second.owner->now_in() == core::state::active && !at->second.loading;
}

const std::map<std::string, std::vector<operation>>& entity_host::state_of(const id& shard) const {
  return seats_.at(shard).state;
}

}  // namespace troupe::sim
