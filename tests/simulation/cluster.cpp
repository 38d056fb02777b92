#include "tests/simulation/cluster.hpp"

#include <algorithm>

namespace troupe::sim {

cluster::cluster(cluster_options o)
    : options_{o},
      kernel_{o.seed},
      network_{kernel_},
      checker_{kernel_},
      world_{kernel_,      network_, checker_, [this](place to, letter l) { deliver(to, std::move(l)); },
             {node_id{1}}, {},       {},       {}},
      clients_{kernel_,
               network_,
               checker_,
               [this](place to, letter l) { deliver(to, std::move(l)); },
               [this](node_id n) { return runs(n.value()) ? box(n.value()).life() : 0; },
               {}} {
  if (o.entities) {
    world_.controller.shard_settle = 3s;
    for (const auto& kind : entity_kinds())
      if (kind.how == entities::keeping::durable)
        world_.controller.internal_topics.push_back({kind.topic(), static_cast<std::int32_t>(kind.shards)});
      else
        world_.controller.kinds.push_back({kind.name, kind.shards});
  }
  checker_.process_of = [this](node_id n) -> const process* { return at(n.value()); };
  world_.store.segment_bytes = o.segment_bytes;
  for (int n = 1; n <= o.nodes; ++n) make_box(n, n == 1);
  watch();
}

cluster::~cluster() = default;

void cluster::make_box(int n, bool founder) {
  auto box = std::make_unique<box_state>();
  const auto spread = (static_cast<double>(kernel_.random().below(2001)) / 1000 - 1) * options_.drift;
  box->machine = std::make_unique<machine>(kernel_, node_id{n}, 1 + spread, kernel_.between(1s, 10'000s));
  box->disk.disk = kernel_.new_id();
  box->founder = founder;
  boxes_.emplace(n, std::move(box));
  clients_.nodes.push_back(node_id{n});
}

void cluster::watch() {
  checker_.look();
  bury();
  if (healed_)
    for (const auto n : node_numbers()) start(n);
  kernel_.after(100ms, [this] { watch(); });
}

void cluster::run(duration d) {
  kernel_.run_until(kernel_.now() + d);
}

bool cluster::run_until(const std::function<bool()>& holds, duration patience) {
  const auto end = kernel_.now() + patience;
  while (!holds()) {
    if (kernel_.now() >= end) return false;
    run(50ms);
  }
  return true;
}

void cluster::deliver(place to, letter l) {
  if (!intercept || !intercept(to, l)) bring(to, std::move(l));
}

void cluster::bring(place to, letter l) {
  if (const auto c = places_.find(to); c != places_.end()) return c->second->receive(l);
  if (auto* p = at(to)) p->receive(l);
}

// -- life ---------------------------------------------------------------------------------------------------------

process* cluster::at(int node) {
  const auto found = boxes_.find(node);
  if (found == boxes_.end() || !found->second->running || found->second->running->ended()) return nullptr;
  return found->second->running.get();
}

bool cluster::runs(int node) const {
  const auto& box = *boxes_.at(node);
  return box.running && !box.running->ended();
}

std::vector<int> cluster::node_numbers() const {
  std::vector<int> all;
  for (const auto& [n, box] : boxes_)
    if (!removed(n)) all.push_back(n);
  return all;
}

bool cluster::removed(int node) const {
  const auto* known = checker_.newest().node(node_id{node});
  return known && known->state == node_state::removed;
}

std::vector<partition_ref> cluster::partitions() const {
  std::vector<partition_ref> all;
  for (const auto& [name, t] : checker_.newest().topics)
    for (const auto& where : partitions_of(t->id)) all.push_back(where);
  return all;
}

std::vector<partition_ref> cluster::orders() const {
  const auto t = checker_.newest().find("orders");
  return t ? partitions_of(t->id) : std::vector<partition_ref>{};
}

std::vector<partition_ref> cluster::partitions_of(topic_id id) const {
  std::vector<partition_ref> all;
  if (const auto t = checker_.newest().find(id))
    for (std::size_t i = 0; i < t->partitions.size(); ++i)
      all.push_back({id, partition_index{static_cast<std::int32_t>(i)}});
  return all;
}

void cluster::start(int node) {
  auto& box = *boxes_.at(node);
  if (runs(node)) return;
  died(node, true);
  kernel_.tell("start n" + std::to_string(node));
  box.machine->born();
  ++box.disk.starts;
  world_.seeds.clear();
  for (const auto& [n, other] : boxes_) world_.seeds.push_back(node_id{n});
  box.running = std::make_unique<process>(world_, *box.machine, box.disk, box.founder);
}

/// The process is gone; a machine whose kernel lives resets its links and refuses new ones.
void cluster::died(int node, bool kernel_lives) {
  auto& box = *boxes_.at(node);
  if (!box.running) return;
  const auto former = box.running->self();
  box.machine->died();
  if (box.machine->paused()) box.machine->resume();
  box.disk.writing.clear();
  dead_.push_back(std::move(box.running));
  if (!kernel_lives || !options_.trust_refused || former.epoch < 0) return;
  for (const auto& [n, other] : boxes_) {
    if (n == node) continue;
    network_.send(node, n, 60, [this, n = n, former] {
      boxes_.at(n)->machine->run([this, n, former] {
        if (auto* p = at(n)) p->link_reset(former);
      });
    });
    refuse(n, former, 3);
  }
}

/// `n` tries to connect again, a few times.
void cluster::refuse(int n, life former, int tries) {
  kernel_.after(kernel_.between(5ms, 40ms), [this, n, former, tries] {
    const auto node = former.node.value();
    if (runs(node)) return;
    network_.send(n, node, 60, [this, n, node] {
      if (runs(node)) return;
      network_.send(node, n, 60, [this, n, node] {
        if (runs(node)) return;
        boxes_.at(n)->machine->run([this, n, node] {
          if (auto* p = at(n)) p->refused(node_id{node});
        });
      });
    });
    if (tries > 1) kernel_.after(100ms, [this, n, former, tries] { refuse(n, former, tries - 1); });
  });
}

void cluster::bury() {
  dead_.clear();
  // Processes that ended by themselves.
  for (const auto& [n, box] : boxes_)
    if (box->running && box->running->ended()) {
      died(n, true);
      // It found damage and wants to look at all of it.
      if (box->disk.distrusted && !dead_.back()->refuses_disk())
        kernel_.after(kernel_.between(100ms, 2s), [this, n = n] { start(n); });
    }
  dead_.clear();
}

void cluster::kill(int node) {
  if (!runs(node)) return;
  auto& box = *boxes_.at(node);
  kernel_.tell("kill n" + std::to_string(node));
  // What was handed to the kernel gets to the disk.
  auto kept = kernel_.random().below(box.disk.writing.size() + 1);
  for (; kept > 0; --kept) box.disk.take_one();
  died(node, true);
}

void cluster::cut_power(int node) {
  auto& box = *boxes_.at(node);
  kernel_.tell("cut power n" + std::to_string(node));
  auto kept = kernel_.random().below(box.disk.writing.size() + 1);
  for (; kept > 0; --kept) box.disk.take_one();
  died(node, false);
  box.machine->disk.cut_power(kernel_.random(), static_cast<double>(kernel_.random().below(101)) / 100);
}

void cluster::stop(int node) {
  if (!runs(node)) return;
  kernel_.tell("stop n" + std::to_string(node));
  boxes_.at(node)->machine->run([this, node] {
    if (auto* p = at(node)) p->stop();
  });
}

void cluster::replace_disk(int node) {
  TROUPE_CHECK(!runs(node));
  kernel_.tell("new disk n" + std::to_string(node));
  auto& box = *boxes_.at(node);
  died(node, true);
  box.machine->wipe();
  box.disk = {};
  box.founder = false;
  box.disk.disk = kernel_.new_id();
}

int cluster::add_node() {
  const int node = boxes_.rbegin()->first + 1;
  kernel_.tell("n" + std::to_string(node) + " is new");
  make_box(node, false);
  start(node);
  return node;
}

void cluster::pause(int node) {
  if (!runs(node) || box(node).paused()) return;
  kernel_.tell("pause n" + std::to_string(node));
  box(node).pause();
}

void cluster::resume(int node) {
  if (!box(node).paused()) return;
  kernel_.tell("resume n" + std::to_string(node));
  box(node).resume();
}

// -- network ------------------------------------------------------------------------------------------------------

void cluster::cut(int from, int to) {
  kernel_.tell("cut n" + std::to_string(from) + " -> n" + std::to_string(to));
  network_.cut(from, to);
}

void cluster::isolate(int node) {
  kernel_.tell("isolate n" + std::to_string(node));
  for (const auto& [n, other] : boxes_) {
    if (n == node) continue;
    network_.cut(n, node);
    network_.cut(node, n);
  }
}

void cluster::heal() {
  kernel_.tell("heal");
  healed_ = true;
  network_.heal_all();
  network_.set_weather({});
  for (const auto& [n, box] : boxes_) {
    resume(n);
    box->machine->pace = {};
    box->machine->clock.set_wall_right();
    box->machine->disk.set_capacity(UINT64_MAX);
    if (!removed(n)) start(n);
  }
}

// -- forming ------------------------------------------------------------------------------------------------------

process* cluster::controller() {
  process* found = nullptr;
  for (const auto& [n, box] : boxes_) {
    auto* p = at(n);
    if (!p || !p->controller_core().works() || box->machine->paused()) continue;
    if (!found || p->quorum().term() > found->quorum().term()) found = p;
  }
  return found;
}

bool cluster::gather(int nodes) {
  start(1);
  run(50ms);
  for (int n = 2; n <= nodes; ++n) start(n);
  return run_until(
      [&] {
        const auto& image = checker_.newest();
        int serving = 0;
        for (const auto& [id, node] : image.nodes) serving += node.state == node_state::active;
        auto* c = controller();
        if (serving != nodes || !c) return false;
        int voters = 0;
        for (const auto& m : c->quorum().members()) voters += m.voter;
        return voters == (nodes >= 3 ? 3 : 1);
      },
      20s);
}

bool cluster::form() {
  if (!gather(options_.nodes)) return false;
  bool made = false;
  const bool asked = run_until(
      [&] {
        auto* c = controller();
        if (!c) return false;
        new_topic t;
        t.name = "orders";
        t.partitions = options_.partitions;
        t.replication = static_cast<std::int16_t>(std::min(options_.replicas, options_.nodes));
        t.overrides = {{"min.insync.replicas", std::to_string(options_.min_in_sync)},
                       {"unclean.leader.election.enable", options_.unclean_election ? "true" : "false"},
                       {"retention.ms", "-1"}};
        return c->ask(cluster_controller::create_topics{{t}, false}, [&](cluster_controller::outcome out) {
          made = !out.failed && out.decisions.size() == 1 && !out.decisions[0].refused;
        });
      },
      5s);
  return asked && run_until([&] { return made; }, 5s) && run_until([&] { return quiet(); }, 10s);
}

bool cluster::ask(cluster_controller::request what, std::function<void(const cluster_controller::outcome&)> answer) {
  auto* asked = controller();
  if (!asked) return false;
  // Any node will do.
  if (const auto other = 1 + static_cast<int>(kernel_.random().below(boxes_.size()));
      runs(other) && !box(other).paused())
    asked = at(other);
  if (!answer) answer = [](const cluster_controller::outcome&) {};
  return asked->ask(std::move(what), std::move(answer));
}

std::string cluster::voters_wrong(const process& c) const {
  const auto& image = checker_.newest();
  int nodes = 0, voters = 0;
  for (const auto& [id, node] : image.nodes)
    nodes += node.state == node_state::active && !node.leaving && node.orders.votes != voting::never;
  std::set<node_id> by_name;
  for (const auto& [id, node] : image.nodes)
    if (node.state == node_state::active && node.orders.votes == voting::always) by_name.insert(id);
  for (const auto& m : c.quorum().members()) {
    voters += m.voter;
    const auto* node = image.node(m.peer.node);
    if (m.voter && node && node->orders.votes == voting::never)
      return "node " + std::to_string(m.peer.node.value()) + " votes though it is not to";
    if (m.voter) by_name.erase(m.peer.node);
    if (!node || node->disk != m.peer.disk)
      return "the quorum has a former disk of node " + std::to_string(m.peer.node.value());
    if (node->state == node_state::removed)
      return "the quorum has node " + std::to_string(m.peer.node.value()) + ", which has left";
  }
  const auto most = std::min(nodes, image.voter_count);
  const int wanted = most >= 5 ? 5 : most >= 3 ? 3 : 1;
  if (!by_name.empty() && wanted == image.voter_count)
    return "node " + std::to_string(by_name.begin()->value()) + " does not vote though it is to";
  return voters == wanted ? "" : "there are " + std::to_string(voters) + " voters, not " + std::to_string(wanted);
}

/// Who is drained leads and owns nothing that another could.
std::string cluster::drained_wrong(const process& c) const {
  const auto& image = checker_.newest();
  const auto drained = [&](node_id id) { return image.node(id) && image.node(id)->orders.drained; };
  const auto takes_on = [&](node_id id) { return image.node(id) && image.node(id)->takes_on(); };
  const auto text = [](node_id id) { return "node " + std::to_string(id.value()) + " is drained and "; };
  for (const auto& [name, t] : image.topics)
    for (const auto& p : t->partitions)
      if (drained(p.leader) && std::any_of(p.isr.begin(), p.isr.end(), takes_on))
        return text(p.leader) + "leads a partition of " + name;
  if (std::none_of(image.nodes.begin(), image.nodes.end(), [](const auto& n) { return n.second.takes_on(); }))
    return {};
  for (const auto& [kind, shards] : image.shards)
    for (const auto& s : shards)
      if (drained(s.owner)) return text(s.owner) + "owns a shard of " + kind;
  const auto& members = c.quorum().members();
  if (drained(c.id()) && std::any_of(members.begin(), members.end(), [&](const raft_member& m) {
        return m.voter && takes_on(m.peer.node) && image.node(m.peer.node)->orders.votes != voting::never;
      }))
    return text(c.id()) + "leads the quorum";
  return {};
}

/// What is on its disk has a place in the metadata.
std::string cluster::logs_wrong(const process& p) const {
  for (const auto& log : p.logs()) {
    const auto* state = checker_.newest().find(partition_ref{log.identity.topic, log.identity.partition});
    const bool seated = state && std::any_of(state->replicas.begin(), state->replicas.end(), [&](const replica& r) {
                          return r.node == p.id() && r.added_at == log.identity.added_at;
                        });
    if (!seated) return "node " + std::to_string(p.id().value()) + " still has a log whose seat is gone";
  }
  return {};
}

bool cluster::quiet() {
  return unrest().empty();
}

std::string cluster::why_not_active(int n) const {
  const auto& image = checker_.newest();
  auto text = "node " + std::to_string(n) + " is not active";
  const auto* node = image.node(node_id{n});
  if (!node) return text + ": it was never registered";
  text += node->state == node_state::fenced ? ": fenced" : ": draining";
  if (node->leaving) text += ", leaving";
  for (const auto& [name, t] : image.topics)
    for (std::size_t i = 0; i < t->partitions.size(); ++i) {
      const auto& p = t->partitions[i];
      if (!p.has_replica(node_id{n})) continue;
      text += ", holds " + name + "/" + std::to_string(i) + " with";
      for (const auto& r : p.replicas) {
        const auto in = [&](const std::vector<node_id>& list) {
          return std::find(list.begin(), list.end(), r.node) != list.end();
        };
        text += " n" + std::to_string(r.node.value()) + (r.node == p.leader ? " leader" : "") +
                (p.in_sync(r.node) ? " in sync" : "") + (in(p.adding) ? " added" : "") +
                (in(p.removing) ? " removed" : "");
      }
    }
  return text;
}

std::string cluster::unrest(bool of_lost) {
  const auto& image = checker_.newest();
  auto* c = controller();
  if (!c) return "no controller works";
  for (const auto& [n, box] : boxes_) {
    const auto* node = image.node(node_id{n});
    if (removed(n)) {
      if (runs(n)) return "node " + std::to_string(n) + " has left and still runs";
      continue;
    }
    if (!runs(n)) return "node " + std::to_string(n) + " does not run";
    if (!node || node->state != node_state::active) return why_not_active(n);
    if (auto wrong = logs_wrong(*at(n)); !wrong.empty()) return wrong;
  }
  if (auto wrong = voters_wrong(*c); !wrong.empty()) return wrong;
  if (auto wrong = drained_wrong(*c); !wrong.empty()) return wrong;
  for (const auto& where : partitions())
    if (auto text = unrest_of(where); !text.empty()) return text;
  if (auto text = unrest_of_entities(); !text.empty()) return text;
  for (const auto& p : producers_)
    if (!p->done() && (of_lost || !p->waits_for_lost())) return "producer " + std::to_string(p->here()) + " waits";
  return {};
}

std::string cluster::unrest_of(const partition_ref& where) {
  const auto* p = checker_.newest().find(where);
  const auto name = checker_.newest().names.at(where.topic) + "/" + std::to_string(where.index.value());
  if (p->leader.value() < 0) return name + " has no leader";
  if (p->isr.size() < p->replicas.size()) {
    auto text = name + " has only " + std::to_string(p->isr.size()) + " in sync:";
    for (const auto& seat : p->replicas) {
      auto* holder = at(seat.node.value());
      const auto* r = holder ? holder->replica_of(where) : nullptr;
      text += " n" + std::to_string(seat.node.value()) + (p->in_sync(seat.node) ? "" : " (out)");
      if (r)
        text += " added " + std::to_string(r->seat().added_at) + "/" + std::to_string(seat.added_at) + " to " +
                std::to_string(r->partition().end().value()) + " role " +
                std::to_string(static_cast<int>(r->current()));
    }
    return text;
  }
  auto* leader = at(p->leader.value());
  const auto* r = leader ? leader->replica_of(where) : nullptr;
  if (!r || r->current() != partition_replica::role::leader || r->partition().epoch() != p->epoch)
    return name + " is not served by its leader";
  return {};
}

/// I29: every shard has one owner, which is the one that the metadata names.
std::string cluster::unrest_of_entities() {
  if (!options_.entities) return {};
  for (const auto& kind : entity_kinds())
    for (std::uint32_t i = 0; i < kind.shards; ++i) {
      const auto name = "shard " + kind.name + "/" + std::to_string(i);
      const auto known = owner_of({kind.name, i});
      if (!known) return name + " does not exist";
      const auto owner = known->first;
      for (const auto& [n, box] : boxes_) {
        const auto* p = at(n);
        const auto* core = p && p->entities() ? p->entities()->host().owner_of({kind.name, i}) : nullptr;
        const bool serves = core && p->entities()->serves({kind.name, i});
        if (serves != (owner == node_id{n}))
          return name + " belongs to node " + std::to_string(owner.value()) + ", and node " + std::to_string(n) +
                 (serves ? " serves it"
                  : core ? " does not serve it, in state " + std::to_string(static_cast<int>(core->now_in())) +
                               " of epoch " + std::to_string(core->owner().epoch)
                         : " does not know of it");
      }
    }
  for (const auto& [n, box] : boxes_)
    if (const auto* p = at(n); p && p->entities())
      for (const auto& [call, since] : p->entities()->calls())
        if (box->machine->clock.now() - since > 5s)
          return "call " + std::to_string(call) + " of node " + std::to_string(n) + " has no end";
  return {};
}

producer& cluster::add_producer(std::vector<partition_ref> where, producer::habits h) {
  const auto here = next_client_++;
  producers_.push_back(std::make_unique<producer>(clients_, here, here, std::move(where), h));
  places_[here] = producers_.back().get();
  return *producers_.back();
}

consumer& cluster::add_consumer(std::vector<partition_ref> where, bool from_followers) {
  const auto here = next_client_++;
  consumers_.push_back(std::make_unique<consumer>(clients_, here, std::move(where), from_followers));
  places_[here] = consumers_.back().get();
  return *consumers_.back();
}

void cluster::begin_calls() {
  if (options_.entities && !std::exchange(calling_, true)) call_next();
}

void cluster::call_next() {
  kernel_.after(kernel_.between(5ms, 100ms), [this] {
    if (!calling_) return;
    const auto& kind = entity_kinds()[kernel_.random().below(entity_kinds().size())];
    const entities::entity_name whom{kind.name, std::string(1, static_cast<char>('a' + kernel_.random().below(5)))};
    const auto what = ++calls_;
    const auto node = 1 + static_cast<int>(kernel_.random().below(boxes_.size()));
    if (runs(node))
      box(node).run([this, node, what, whom] {
        if (auto* p = at(node)) p->call(what, whom);
      });
    call_next();
  });
}

std::optional<operation> cluster::call(int node, const entities::entity_name& whom) {
  auto* p = at(node);
  const auto what = ++calls_;
  return p && p->call(what, whom) ? std::optional{what} : std::nullopt;
}

std::optional<std::pair<node_id, bool>> cluster::owner_of(const entities::shard_id& shard) const {
  const auto& image = checker_.newest();
  for (const auto& kind : entity_kinds()) {
    if (kind.name != shard.kind) continue;
    if (kind.how == entities::keeping::durable) {
      const auto topic = image.find(kind.topic());
      if (!topic) return std::nullopt;
      const auto& p = topic->partitions.at(shard.index);
      return std::pair{p.leader, p.former.node.value() < 0};
    }
    const auto shards = image.shards.find(kind.name);
    if (shards == image.shards.end()) return std::nullopt;
    const auto& s = shards->second.at(shard.index);
    return std::pair{s.owner, s.active};
  }
  return std::nullopt;
}

}  // namespace troupe::sim
