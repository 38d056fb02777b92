#include "tests/simulation/process.hpp"

#include <algorithm>

#include "runtime/base/overloaded.hpp"

namespace troupe::sim {

namespace {

std::uint64_t hash_of(const std::string& text) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return text.empty() ? 0 : h | 1;
}

node_agent::options agent_options(const machine& m, const node_disk& d) {
  node_agent::options o;
  o.self.cluster_id = d.cluster_id;
  o.self.node = m.id;
  o.self.disk = d.disk;
  o.self.start = d.starts;
  o.self.kafka = {"node", static_cast<std::uint16_t>(9000 + m.id.value())};
  o.self.peer = {"node", static_cast<std::uint16_t>(7000 + m.id.value())};
  return o;
}

/// Bytes on the wire, roughly: slow links care.
std::size_t size_of(const letter_body& body) {
  if (const auto* answer = std::get_if<replica_answer>(&body)) {
    std::size_t bytes = 200;
    if (const auto* records = std::get_if<replica_answer::records>(&answer->what))
      for (const auto& run : records->runs) bytes += run.size();
    return bytes;
  }
  if (const auto* m = std::get_if<raft_message>(&body)) {
    std::size_t bytes = 200;
    if (const auto* append = std::get_if<raft_append>(&m->body))
      for (const auto& e : append->entries) bytes += e.payload.size() + 50;
    if (const auto* install = std::get_if<raft_install>(&m->body)) bytes += install->piece.size();
    return bytes;
  }
  if (const auto* p = std::get_if<produce_request>(&body)) return 100 + p->batch.size();
  return 200;
}

}  // namespace

/// Tells the checkers what happens inside the core.
class process::watching final : public node_core::witness {
public:
  explicit watching(process& p) : p_{p} {}

  void applied(const raft_entry& e, const metadata_image& after) override { world().applied(p_.id(), e, after); }
  void sends(const raft_message& m) override {
    if (std::holds_alternative<raft_vote>(m.body)) return world().voted(m.from, m.term, m.from);
    const auto* reply = std::get_if<raft_vote_reply>(&m.body);
    if (reply && reply->granted) world().voted(m.from, m.term, m.to);
  }
  void leads(raft_term term) override {
    p_.tell("leads the quorum in term " + std::to_string(term.value()));
    world().leads_quorum(p_.id(), term);
  }
  void leads_no_more(raft_term) override { p_.tell("leads the quorum no more"); }
  void quorum_stops(const std::string& why) override {
    world().broken("n" + std::to_string(p_.id().value()) + " raft stops: " + why);
  }
  void controls() override { world().controls(p_); }
  void hears(const heartbeat& m) override { world().heard(p_, m); }
  void hears(const farewell& m) override { world().said_farewell(p_, m.from); }
  void link_broken(life peer, bool reset) override { world().link_broken(p_, peer, reset); }
  void proposes(const std::vector<metadata_record>& records) override { world().decides(p_, records); }
  void notes(const cluster_controller::noted& e) override {
    static constexpr const char* names[] = {"registered", "fenced",       "active",        "draining",
                                            "removed",    "no_leader",    "possible_loss", "shard_move_given_up",
                                            "disk_full",  "disk_has_room"};
    p_.tell(std::string{"controller: "} + names[static_cast<int>(e.what)] + " node " + std::to_string(e.node.value()) +
            (e.where ? " partition " + std::to_string(e.where->index.value()) : ""));
  }

private:
  observer& world() { return p_.world_.watcher; }
  process& p_;
};

// -- life ---------------------------------------------------------------------------------------------------

process::process(surroundings& w, machine& m, node_disk& d, bool founder) : world_{w}, machine_{m}, disk_{d} {
  auto opened = simulated_store::open(w.ground, m, w.store, [this](const store::notice& n) {
    if (n.severity != store::notice::level::info) tell("store " + n.event + " " + n.fields);
  });
  if (!opened) {
    end("the store does not open: " + opened.error().text);
    return;
  }
  store_ = std::move(*opened);
  store_->on_failure = [this] { end("the disk failed"); };

  const raft_peer self{m.id, d.disk};
  if (founder && !d.stored.hard && !d.stored.snapshot)
    d.stored.snapshot = std::make_shared<raft_snapshot>(node_core::founding(self));
  if (auto sound = raft::sound(self, d.stored); !sound) {
    refuses_disk_ = true;
    end("raft cannot start: " + sound.error().text);
    return;
  }
  node_core::options o;
  o.agent = agent_options(m, d);
  o.raft = w.raft;
  o.controller = w.controller;
  o.topics = controller{controller_defaults{}, [&w] { return w.ground.new_id(); }};
  o.seeds = w.seeds;
  o.snapshot_every = 200;
  witness_ = std::make_unique<watching>(*this);
  core_ = std::make_unique<node_core>(std::move(o), d.stored, *witness_, random_source{w.ground.random()()}, now());

  verify_logs();
  // Every log here is `group`: what was acknowledged is on the disk whatever ended the former life.
  perform(core_->recovered(now(), true, damaged_));
  if (!ended_) machine_.later(50ms, [this] { tick(); });
}

process::~process() {
  if (!store_) return;
  for (const auto& [seat, id] : logs_) store_->listen(id, nullptr);
}

void process::end(const std::string& why) {
  if (std::exchange(ended_, true)) return;
  tell("ends: " + why);
}

void process::tell(const std::string& line) const {
  world_.ground.tell("n" + std::to_string(machine_.id.value()) + " " + line);
}

void process::stop() {
  perform(core_->stop(now()));
}

void process::tick() {
  if (ended_) return;
  core_->wall_read(now(), machine_.clock.wall());
  perform(core_->disk_is(now(), store_->full()));
  perform(core_->tick(now()));
  if (entities_) entities_->tick();
  if (++ticks_ % 2 == 0) {
    for (auto& [seat, r] : replicas_)
      if (const auto at = r->wakes_at(); ticks_ % 20 == 0 || (at && *at <= now())) perform(*r, r->tick(now()));
    std::set<life> unreached;
    for (const auto& [seat, r] : replicas_)
      if (const auto leader = r->out_of_reach())
        if (const auto* node = image_->node(*leader)) unreached.insert({*leader, node->node_epoch});
    core_->cannot_reach({unreached.begin(), unreached.end()});
  }
  if (ticks_ % 20 == 0) say_log_ends();
  if (!ended_) machine_.later(50ms, [this] { tick(); });
}

void process::post(place to, std::size_t bytes, letter_body body) {
  letter l{hash_of(disk_.cluster_id), self(), std::move(body)};
  l.from.node = machine_.id;
  world_.net.send(machine_.id.value(), to, bytes, [&w = world_, to, l = std::move(l)] { w.deliver(to, l); });
}

void process::send(node_id to, letter_body body) {
  const auto bytes = size_of(body);
  post(to.value(), bytes, std::move(body));
}

// -- the node's core ------------------------------------------------------------------------------------------

void process::perform(node_core::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](node_core::write& e) { keep(std::move(e.what)); },
                   [&](node_core::send& e) {
                     std::visit(overloaded{
                                    [&](auto& m) { send(e.to, std::move(m)); },
                                    [](entities::message&) {},  // the entities' shell sends those
                                },
                                e.message);
                   },
                   [&](node_core::metadata& e) { metadata_changed(e.image); },
                   [&](node_core::registered& e) { registered(e.as, e.cluster_id); },
                   [&](node_core::leased& e) { leased(e.until); },
                   [&](node_core::clock& e) { line_ = e.line; },
                   [&](node_core::write_mark& e) {
                     machine_.in(machine_.pace.sync_max, [this, epoch = e.node_epoch] {
                       disk_.clean_mark = epoch;
                       perform(core_->marked(now()));
                     });
                   },
                   [&](node_core::answer& e) {
                     const auto at = asked_.find(e.to);
                     if (at == asked_.end()) return;
                     const auto told = std::move(at->second);
                     asked_.erase(at);
                     told(std::move(e.what));
                   },
                   [&](node_core::end& e) { end(e.why ? e.why->text : "stopped in order"); },
               },
               effect);
  }
}

void process::registered(life as, const std::string& cluster_id) {
  tell("is registered as epoch " + std::to_string(as.epoch));
  disk_.cluster_id = cluster_id;
  member_ = true;
  world_.watcher.came(*this, damaged_, disk_.starts == 1);
  entities_ = std::make_unique<entity_shell>(*this, as);
}

void process::metadata_changed(const std::shared_ptr<const metadata_image>& image) {
  image_ = image;
  assign_replicas();
  if (entities_) entities_->metadata_changed();
  if (!ended_) perform(core_->told(now(), *image));
}

void process::leased(instant until) {
  for (auto& [seat, r] : replicas_) r->leased(until);
  if (entities_) entities_->leased(until);
}

void node_disk::take_one() {
  const auto w = std::move(writing.front());
  writing.pop_front();
  if (w.snapshot) stored.snapshot = w.snapshot;
  if (w.hard) stored.hard = w.hard;
  if (w.cut_from) std::erase_if(stored.entries, [&](const raft_entry& e) { return e.index >= *w.cut_from; });
  if (w.drop_before) std::erase_if(stored.entries, [&](const raft_entry& e) { return e.index < *w.drop_before; });
  stored.entries.insert(stored.entries.end(), w.entries.begin(), w.entries.end());
}

void process::keep(raft::write&& w) {
  disk_.writing.push_back(std::move(w));
  if (!std::exchange(writing_, true)) write_all();
}

/// What waits is written together, in the time that a sync takes; what comes meanwhile waits for the next.
void process::write_all() {
  const auto took = world_.ground.between(machine_.pace.sync_min, machine_.pace.sync_max);
  machine_.in(took, [this, count = disk_.writing.size(), last = disk_.writing.back().number] {
    for (auto i = count; i > 0; --i) disk_.take_one();
    writing_ = !disk_.writing.empty();
    if (writing_) write_all();
    if (!ended_) perform(core_->written(now(), last));
  });
}

bool process::ask(cluster_controller::request what, std::function<void(cluster_controller::outcome)> answer) {
  if (ended_) return false;
  asked_.emplace(next_ticket_, std::move(answer));
  perform(core_->asked(now(), next_ticket_++, std::move(what)));
  return true;
}

void process::link_reset(life peer) {
  if (ended_) return;
  perform(core_->link_lost(now(), peer, true));
  if (entities_) entities_->link_lost(peer.node);
}

void process::refused(node_id peer) {
  if (!ended_) perform(core_->refused(now(), peer));
}

// -- letters ----------------------------------------------------------------------------------------------------

void process::receive(const letter& l) {
  machine_.run([this, l] {
    if (!ended_) handle(l);
  });
}

void process::handle(const letter& l) {
  const auto mine = hash_of(disk_.cluster_id);
  // A stranger's letters are for nobody here; who has no cluster yet may only ask for one.
  if (l.cluster != 0 && mine != 0 && l.cluster != mine) return;
  const auto from = l.from;
  std::visit(overloaded{
                 [&](const alter_isr_answer& m) {
                   if (auto* r = replica_of(m.where)) perform(*r, r->received(m, both()));
                 },
                 [&](const release_order& m) {
                   if (entities_) entities_->received(m);
                 },
                 [&](const entities::deliver& m) {
                   if (entities_) entities_->received(from.node, m);
                 },
                 [&](const entities::answer& m) {
                   if (entities_) entities_->received(from.node, m);
                 },
                 [&](const entities::handover_request& m) {
                   if (entities_) entities_->received(from.node, m);
                 },
                 [&](const entities::handover& m) {
                   if (entities_) entities_->received(from.node, m);
                 },
                 [&](const replica_fetch& m) {
                   // A fetch names the follower's seat; ours is another of the same partition.
                   if (auto* r = replica_of({m.seat.topic, m.seat.partition}))
                     return perform(*r, r->received(from, m, now()));
                   // It knows more than we do. Without an answer it would take the fetch for lost and wait long.
                   send(from.node,
                        replica_answer{m.seat, m.epoch, m.id, m.offset, replica_answer::refusal{errc::unknown_epoch}});
                 },
                 [&](const replica_answer& m) {
                   const auto at = replicas_.find(m.seat);
                   if (at != replicas_.end()) perform(*at->second, at->second->received(from, m, both()));
                 },
                 [&](const produce_request& m) { serve(m, from.node.value()); },
                 [&](const fetch_request& m) { serve(m, from.node.value()); },
                 [&](const latest_request& m) { serve(m, from.node.value()); },
                 [&](const where_request& m) {
                   where_reply reply{m.id, node_id{-1}, no_epoch};
                   if (const auto* state = image_->find(m.where)) {
                     reply.leader = state->leader;
                     reply.epoch = state->epoch;
                   }
                   post(from.node.value(), 100, reply);
                 },
                 [](const produce_reply&) {},
                 [](const fetch_reply&) {},
                 [](const latest_reply&) {},
                 [](const where_reply&) {},  // answers to clients do not come here
                 [&](const auto& m) { perform(core_->received(now(), from, node_message{m})); },
             },
             l.body);
}

}  // namespace troupe::sim
