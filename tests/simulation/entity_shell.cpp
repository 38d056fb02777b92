#include "tests/simulation/entity_shell.hpp"

#include <algorithm>

#include "actors/partition/decompressor.hpp"
#include "runtime/base/overloaded.hpp"
#include "tests/simulation/process.hpp"

namespace troupe::sim {

using entities::keeping;

namespace {

entity_host::settings limits() {
  entity_host::settings s;
  s.router.window = 16;
  s.shard.queued_max = 8;
  s.shard.window = 16;
  return s;
}

}  // namespace

const std::vector<entity_kind>& entity_kinds() {
  static const std::vector<entity_kind> kinds{
      {"user", keeping::durable, 2}, {"session", keeping::ephemeral, 3}, {"channel", keeping::soft, 2}};
  return kinds;
}

const entity_kind& kind_of(const entities::shard_id& shard) {
  return *std::ranges::find(entity_kinds(), shard.kind, &entity_kind::name);
}

entity_shell::entity_shell(process& home, life self)
    : home_{home},
      host_{{self.node, self.epoch}, entity_kinds(), limits(), random_source{home.world_.ground.random()()}} {}

void entity_shell::metadata_changed() {
  perform(host_.follow(*home_.image_, home_.now()));
}

void entity_shell::leased(instant until) {
  perform(host_.leased(until, home_.now()));
}

void entity_shell::tick() {
  const auto now = home_.now();
  if (const auto at = host_.wakes_at(); at && *at <= now) perform(host_.tick(now));
  for (const auto& [call, since] : calls_)
    if (now - since > 31s) home_.world_.watcher.broken("I28: call " + std::to_string(call) + " never ended");
}

void entity_shell::link_lost(node_id peer) {
  perform(host_.link_lost(peer, home_.now()));
}

bool entity_shell::call(operation what, const entities::entity_name& whom) {
  auto todo = host_.ask(what, whom, bytes_of({what}), home_.now());
  if (!todo) return false;
  calls_.emplace(what, home_.now());
  perform(std::move(*todo));
  return true;
}

void entity_shell::received(node_id from, const entities::message& m) {
  perform(host_.received(from, m, home_.now()));
}

void entity_shell::received(const release_order& m) {
  perform(host_.hand_over({m.kind, m.shard}, m.epoch, home_.now()));
}

// -- what the host decides ------------------------------------------------------------------------------------------

void entity_shell::perform(entity_host::effects&& todo) {
  for (auto& effect : todo) {
    if (home_.ended()) return;
    std::visit([&](auto& e) { on(e); }, effect);
  }
}

void entity_shell::on(entity_host::send& e) {
  if (const auto* m = std::get_if<entities::deliver>(&e.what))
    home_.world_.watcher.call_sent(operations_in(m->payload).at(0), m->epoch);
  if (const auto* a = std::get_if<entities::answer>(&e.what))
    if (const auto* r = std::get_if<entities::reply>(a))
      home_.world_.watcher.replies(home_.id(), r->shard, kind_of(r->shard), e.epoch, host_.gave_up(r->shard, e.epoch));
  std::visit([&](auto& m) { home_.send(e.to, std::move(m)); }, e.what);
}

void entity_shell::on(const entity_host::ended& e) {
  if (calls_.erase(e.of) == 0) home_.world_.watcher.broken("I28: call " + std::to_string(e.of) + " ended twice");
  home_.world_.watcher.call_ended(e.of, e.outcome.ok());
}

void entity_shell::on(const entity_host::handle& e) {
  auto& random = home_.world_.ground.random();
  const auto what = operations_in(e.payload).at(0);
  auto& did = states_[e.shard][e.key];
  home_.world_.watcher.handles(home_.id(), e.shard, kind_of(e.shard), e.epoch, what, did);
  did.push_back(what);
  const auto took =
      random.chance(0.003) ? home_.world_.ground.between(0ms, 5s) : home_.world_.ground.between(0ms, 20ms);
  home_.machine_.later(took, [this, shard = e.shard, ticket = e.id, what, did = did] {
    const bool durable = kind_of(shard).how == keeping::durable;
    perform(host_.handled(shard, ticket, bytes_of({what}), durable ? std::optional{bytes_of(did)} : std::nullopt,
                          home_.now()));
  });
}

void entity_shell::on(entity_host::store& e) {
  std::visit(overloaded{
                 [&](entity_host::store::state& r) {
                   append(e.shard, e.epoch, e.id,
                          {std::move(r.entity.key), operations_in(r.entity.bytes), std::move(r.with), {}, 0});
                 },
                 [&](const entity_host::store::settled& r) {
                   append(e.shard, e.epoch, e.id, {std::nullopt, {}, {}, r.sender, r.below});
                 },
             },
             e.record);
}

void entity_shell::on(const entity_host::load& e) {
  // Not within the call that made it lead.
  home_.machine_.later(0ms, [this, shard = e.shard] { load_from_log(shard); });
}

void entity_shell::on(const entity_host::begin& e) {
  auto& all = states_[e.shard];
  all.clear();
  for (const auto& it : e.entities) all[it.key] = operations_in(it.bytes);
}

void entity_shell::on(const entity_host::collect& e) {
  home_.machine_.later(home_.world_.ground.between(0ms, 20ms), [this, shard = e.shard, epoch = e.epoch] {
    std::vector<entities::entity_state> all;
    for (const auto& [key, did] : states_[shard]) all.push_back({key, bytes_of(did)});
    perform(host_.collected(shard, epoch, std::move(all), home_.now()));
  });
}

void entity_shell::on(const entity_host::drop& e) {
  states_[e.shard].clear();
}

void entity_shell::on(const entity_host::released& e) {
  home_.perform(
      home_.core_->to_controller(home_.now(), shard_released{home_.self(), e.shard.kind, e.shard.index, e.epoch}));
}

// -- durable shards -------------------------------------------------------------------------------------------------

std::optional<partition_ref> entity_shell::partition_of(const id& shard) const {
  const auto topic = home_.image_->find(kind_of(shard).topic());
  if (!topic) return std::nullopt;
  return partition_ref{topic->id, partition_index{static_cast<std::int32_t>(shard.index)}};
}

void entity_shell::partition_moved(const partition_ref& where) {
  for (const auto& kind : entity_kinds()) {
    const id shard{kind.name, static_cast<std::uint32_t>(where.index.value())};
    const auto* owner = host_.owner_of(shard);
    if (kind.how != keeping::durable || !owner || partition_of(shard) != where) continue;
    load_from_log(shard);
    const auto* r = home_.replica_of(where);
    if (r && r->leads() && r->partition().epoch().value() == owner->owner().epoch)
      perform(host_.committed(shard, r->partition().watermark(), home_.now()));
  }
}

/// Once this node leads and the watermark has reached all that the log had when it began to, and all that an activation
/// of ours has appended since.
void entity_shell::load_from_log(const id& shard) {
  const auto epoch = host_.loading(shard);
  const auto where = partition_of(shard);
  const auto* r = where && epoch ? home_.replica_of(*where) : nullptr;
  if (!r || !r->leads() || r->partition().epoch().value() != *epoch) return;
  const auto end = r->partition().watermark();
  if (end < r->leads()->epoch_start() || end < r->partition().end()) return;
  const auto log = home_.read(r->seat(), log_offset{0}, end);
  // As a replica that finds damage which nobody was told of: the next start names it.
  if (!log && log.code() == errc::storage_damaged) return home_.found_damage();
  if (!log) return;
  std::map<std::string, std::vector<operation>> states;
  std::map<entities::sender_id, std::uint64_t> settled;
  std::map<std::string, std::vector<entities::remembered>> memory;
  for (const auto& run : *log)
    each_entity_record(run, [&](const entity_record& it) {
      if (it.key) {
        states[*it.key] = it.state;
        memory[*it.key] = it.with;
      } else {
        settled[it.sender] = std::max(settled[it.sender], it.settled);
      }
    });
  std::vector<entities::entity_state> all;
  for (const auto& [key, did] : states) all.push_back({key, bytes_of(did)});
  entities::shard_memory known;
  known.settled.assign(settled.begin(), settled.end());
  for (auto& [key, list] : memory)
    for (auto& it : list) known.handled.emplace_back(key, std::move(it));
  perform(host_.loaded(shard, *epoch, std::move(all), known, home_.now()));
}

void entity_shell::append(const id& shard, std::int32_t epoch, entities::shard_owner::token token,
                          entity_record record) {
  const auto where = partition_of(shard);
  auto* r = where ? home_.replica_of(*where) : nullptr;
  // It comes back later, as it would from another actor.
  auto failed = [this, shard] {
    home_.machine_.later(0ms, [this, shard] { perform(host_.store_failed(shard, home_.now())); });
  };
  if (!r || !r->leads() || r->partition().epoch().value() != epoch) return failed();
  produce p;
  auto bytes = std::make_shared<std::vector<std::byte>>(batch_of(record));
  p.records = {bytes, byte_span{*bytes}};
  p.acks = 1;
  p.deadline = instant::max();
  p.answer = [this, shard, token, failed, where = *where, life = home_.machine_.life()](produce::outcome out) {
    if (life != home_.machine_.life()) return;
    if (out.refused) return failed();
    home_.machine_.later(0ms, [this, shard, token, where, base = out.base] {
      perform(host_.appended(shard, token, base, home_.now()));
      partition_moved(where);
    });
  };
  home_.perform(*r, r->produced(std::move(p), home_.both(), home_.store_->crowded(home_.logs_.at(r->seat())),
                                decompressor::of_this_thread()));
}

// -- for checkers ---------------------------------------------------------------------------------------------------

bool entity_shell::serves(const id& shard) const {
  const auto* owner = host_.owner_of(shard);
  return owner && owner->now_in() == entities::shard_owner::state::active && !host_.loading(shard);
}

const std::map<std::string, std::vector<operation>>& entity_shell::state_of(const id& shard) const {
  static const shard_state nothing;
  const auto at = states_.find(shard);
  return at == states_.end() ? nothing : at->second;
}

}  // namespace troupe::sim
