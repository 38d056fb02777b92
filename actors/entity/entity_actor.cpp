#include "actors/entity/entity_actor.hpp"

#include <algorithm>
#include <caf/all.hpp>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

#include "runtime/base/check.hpp"
#include "runtime/base/random.hpp"
#include "runtime/observe/log.hpp"

/// The shell of an entity host: carries messages to it, and its effects to entities, to other nodes and to callers.
namespace troupe::entity_events {

struct wake {
  std::uint64_t number{0};
};
struct sweep {};

}  // namespace troupe::entity_events

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::entity_events::wake)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::entity_events::sweep)

namespace troupe {

namespace {

using entity_events::sweep;
using entity_events::wake;

/// How often entities that are as new are looked for.
constexpr std::chrono::seconds sweep_interval{10};

/// What an entity takes: its key, and about so much for itself and its place in the table.
std::size_t bytes_of(const std::string& key) {
  return key.size() + 200;
}

/// What is counted of one kind.
struct kind_metrics {
  kind_metrics(observe::metrics& m, const std::string& kind)
      : handled{m.counter("troupe_entity_messages_total", "Messages that entities of this node handled",
                          {{"kind", kind}})},
        entities{m.gauge("troupe_entities", "Entities that this node holds", {{"kind", kind}})},
        shards{m.gauge("troupe_entity_shards", "Shards of entities that this node owns", {{"kind", kind}})} {}
  observe::counter& handled;
  observe::gauge &entities, &shards;
};
struct call_metrics {
  explicit call_metrics(observe::metrics& m)
      : answered{calls(m, "answered")},
        failed{calls(m, "failed")},
        seconds{m.histogram("troupe_entity_call_seconds", "Time until an entity's reply came back",
                            observe::latency_bounds())} {}
  static observe::counter& calls(observe::metrics& m, const char* outcome) {
    return m.counter("troupe_entity_calls_total", "Messages to entities that were asked at this node, by their end",
                     {{"outcome", outcome}});
  }
  observe::counter &answered, &failed;
  observe::histogram& seconds;
};

entity_host::settings settings_of(const entity_setup& s) {
  entity_host::settings out;
  out.part = s.part;
  out.parts = s.parts;
  return out;
}
std::vector<entity_kind> kinds_of(const std::vector<entity_type>& types) {
  std::vector<entity_kind> out;
  for (const auto& t : types) out.push_back(t.kind);
  return out;
}

class shell {
public:
  shell(caf::event_based_actor* self, entity_setup setup)
      : self_{self},
        setup_{std::move(setup)},
        host_{setup_.self, kinds_of(setup_.types), settings_of(setup_), random_source{random_seed()}},
        calls_counted_{*setup_.metrics} {
    for (const auto& t : setup_.types) kinds_.emplace(t.kind.name, kind{&t, {*setup_.metrics, t.kind.name}});
  }
  ~shell() {
    for (auto& [id, s] : shards_) leave(s);
  }

  caf::behavior start() {
    self_->set_default_handler(caf::drop);
    self_->delayed_send(self_, sweep_interval, sweep{});
    return {
        [this](entity_mail& m) { perform(host_.received(m.from, m.what, now())); },
        [this](ask_entity& m) { ask(m); },
        [this](entities_told& m) { perform(host_.follow(*m.image, now())); },
        [this](const entities_leased& m) { perform(host_.leased(m.until, now())); },
        [this](const entities_link_lost& m) { perform(host_.link_lost(m.peer, now())); },
        [this](const release_shard& m) { perform(host_.hand_over(m.shard, m.epoch, now())); },
        [this](const wake& m) {
          if (m.number != wakes_) return;  // there was reason for an earlier one since
          wakes_at_.reset();
          perform(host_.tick(now()));
        },
        [this](sweep) { drop_those_as_new(); },
        [this](stop_entities) {
          perform(host_.stopped({errc::closed, "the node is stopping"}));
          self_->quit();
        },
    };
  }

private:
  struct kind {
    const entity_type* type;
    kind_metrics counted;
  };
  using entity_table = std::unordered_map<std::string, std::unique_ptr<entity>>;
  struct shard {
    kind* of;
    entity_table entities;
  };
  struct call {
    std::function<void(result<shared_bytes>)> answer;
    instant since;
  };

  static instant now() { return boot_clock::now(); }

  void ask(ask_entity& m) {
    const auto id = ++last_call_;
    auto todo = host_.ask(id, m.whom, std::move(m.payload), now());
    if (!todo) {
      calls_counted_.failed.add();
      return m.answer(todo.error());
    }
    calls_.emplace(id, call{std::move(m.answer), now()});
    perform(std::move(*todo));
  }

  /// In order, also of what they lead to here.
  void perform(entity_host::effects&& more) {
    for (auto& effect : more) todo_.push_back(std::move(effect));
    if (std::exchange(performing_, true)) return;
    while (!todo_.empty()) {
      auto effect = std::move(todo_.front());
      todo_.pop_front();
      std::visit([&](auto& e) { on(e); }, effect);
    }
    performing_ = false;
    wake_in_time();
  }

  void on(entity_host::send& e) {
    if (e.to == setup_.self.node)
      perform(host_.received(e.to, e.what, now()));
    else
      setup_.send(e.to, std::move(e.what));
  }
  void on(entity_host::ended& e) {
    const auto at = calls_.find(e.of);
    TROUPE_CHECK(at != calls_.end());
    const auto done = std::move(at->second);
    calls_.erase(at);
    (e.outcome.ok() ? calls_counted_.answered : calls_counted_.failed).add();
    if (e.outcome.ok()) calls_counted_.seconds.observe(std::chrono::duration<double>(now() - done.since).count());
    done.answer(std::move(e.outcome));
  }
  void on(entity_host::handle& e) {
    auto& s = shards_.at(e.shard);
    auto whom = s.entities.find(e.key);
    if (whom == s.entities.end()) {
      if (bytes_ + bytes_of(e.key) > setup_.bytes_max) {
        if (const auto times = full_.due(); times > 0)
          observe::log(observe::level::warn, "entity", "entities_full",
                       {{"kind", e.shard.kind}, {"bytes", bytes_}, {"bytes_max", setup_.bytes_max}, {"times", times}});
        return perform(host_.declined(e.shard, e.id, errc::busy, now()));
      }
      whom = add(s, e.key, {});
    }
    s.of->counted.handled.add();
    auto reply = whom->second->handle(e.payload, now());
    if (whom->second->is_as_new(now())) remove(s, whom);
    // By a clock that is read when it has been handled: the lease may be over since.
    perform(host_.handled(e.shard, e.id, std::move(reply), std::nullopt, now()));
  }
  void on(entity_host::begin& e) {
    auto& s = shards_.try_emplace(e.shard, shard{&kinds_.at(e.shard.kind), {}}).first->second;
    s.of->counted.shards.add(1);
    if (e.missed)
      observe::log(observe::level::warn, "entity", "shard_begins_anew",
                   {{"entity", e.shard.kind + "/#" + std::to_string(e.shard.index)},
                    {"why", "its former owner serves, but what it had did not come"}});
    // More than there is room for, too: they are there already.
    for (const auto& it : e.entities)
      if (!s.entities.contains(it.key)) add(s, it.key, it.bytes);
  }
  void on(entity_host::collect& e) {
    std::vector<entities::entity_state> all;
    for (const auto& [key, it] : shards_.at(e.shard).entities)
      if (!it->is_as_new(now())) all.push_back({key, it->state(now())});
    perform(host_.collected(e.shard, e.epoch, std::move(all), now()));
  }
  void on(const entity_host::drop& e) {
    const auto at = shards_.find(e.shard);
    if (at == shards_.end()) return;
    leave(at->second);
    shards_.erase(at);
  }
  void on(const entity_host::released& e) { setup_.released(e.shard, e.epoch); }
  // Of durable kinds, which `spawn_entities` does not take.
  void on(const entity_host::store&) { TROUPE_CHECK(false); }
  void on(const entity_host::load&) { TROUPE_CHECK(false); }

  void wake_in_time() {
    const auto at = host_.wakes_at();
    if (!at || (wakes_at_ && *wakes_at_ <= *at)) return;
    wakes_at_ = at;
    self_->delayed_send(self_, std::max(*at - now(), instant::duration::zero()), wake{++wakes_});
  }

  void drop_those_as_new() {
    self_->delayed_send(self_, sweep_interval, sweep{});
    for (auto& [id, s] : shards_)
      for (auto at = s.entities.begin(); at != s.entities.end();)
        at = at->second->is_as_new(now()) ? remove(s, at) : std::next(at);
  }

  entity_table::iterator add(shard& s, const std::string& key, byte_view state) {
    bytes_ += bytes_of(key);
    s.of->counted.entities.add(1);
    return s.entities.emplace(key, s.of->type->make(key, state, now())).first;
  }
  entity_table::iterator remove(shard& s, entity_table::iterator at) {
    bytes_ -= bytes_of(at->first);
    s.of->counted.entities.add(-1);
    return s.entities.erase(at);
  }
  void leave(shard& s) {
    while (!s.entities.empty()) remove(s, s.entities.begin());
    s.of->counted.shards.add(-1);
  }

  caf::event_based_actor* self_;
  entity_setup setup_;
  entity_host host_;
  call_metrics calls_counted_;
  std::map<std::string, kind> kinds_;
  std::map<entities::shard_id, shard> shards_;  ///< those that are loaded
  std::unordered_map<entity_host::ticket, call> calls_;
  entity_host::ticket last_call_{0};
  std::size_t bytes_{0};  ///< of all entities
  observe::seldom full_;
  std::deque<entity_host::effect> todo_;
  bool performing_{false};
  std::optional<instant> wakes_at_;
  std::uint64_t wakes_{0};
};

}  // namespace

caf::actor spawn_entities(caf::actor_system& system, entity_setup setup) {
  TROUPE_CHECK(setup.send && setup.released && setup.metrics);
  for (const auto& t : setup.types) TROUPE_CHECK(t.make && t.kind.how != entities::keeping::durable);
  return system.spawn([](caf::stateful_actor<std::optional<shell>>* self,
                         entity_setup s) { return self->state.emplace(self, std::move(s)).start(); },
                      std::move(setup));
}

}  // namespace troupe
