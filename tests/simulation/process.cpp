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

cluster_controller::options controller_options(const surroundings& w, node_id self) {
  auto o = w.controller;
  o.self = self;
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

// -- life ---------------------------------------------------------------------------------------------------

process::process(surroundings& w, machine& m, node_disk& d, bool founder)
    : world_{w},
      machine_{m},
      disk_{d},
      image_{std::make_shared<const metadata_image>()},
      controller_{controller_options(w, m.id), controller{controller_defaults{}, [&w] { return w.ground.new_id(); }}},
      agent_{agent_options(m, d), random_source{w.ground.random()()}, m.clock.now()} {
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
  if (founder && !d.stored.hard && !d.stored.snapshot) {
    auto snapshot = std::make_shared<raft_snapshot>();
    snapshot->members = {{self, true}};
    d.stored.snapshot = std::move(snapshot);
  }
  if (auto sound = raft::sound(self, d.stored); !sound) {
    refuses_disk_ = true;
    end("raft cannot start: " + sound.error().text);
    return;
  }
  if (d.stored.snapshot) take(raft::install{d.stored.snapshot});
  raft_ = std::make_unique<class raft>(self, w.raft, d.stored, random_source{w.ground.random()()}, now());

  verify_logs();
  // Every log here is `group`: what was acknowledged is on the disk whatever ended the former life.
  perform(agent_.recovered(now(), true, damaged_));
  tick();
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
  perform(agent_.stop(now()));
}

void process::tick() {
  if (ended_) return;
  perform(raft_->tick(now()));
  perform(agent_.controller_is(now(), raft_->leader()));
  if (ended_) return;
  perform(agent_.tick(now()));
  if (raft_->leads()) {
    if (const auto heard = raft_->majority_contact(now()))
      controller_.quorum_heard(*heard);
    else
      controller_.handing_over();
  }
  perform(controller_.tick(now()));
  tend_members();
  if (detector_) {
    if (const auto since = agent_.without_lease_since(now()))
      detector_->lease_missing(*since);
    else
      detector_->lease_held();
    if (detector_->wakes_at() <= now()) perform(detector_->tick(now()));
    suspect(false);  // evidence gets newer while it lasts
  }
  if (++ticks_ % 2 == 0)
    for (auto& [seat, r] : replicas_) perform(*r, r->tick(now()));
  if (ticks_ % 20 == 0) say_log_ends();
  leased();
  if (!ended_) machine_.later(50ms, [this] { tick(); });
}

void process::post(place to, std::size_t bytes, letter_body body) {
  letter l{hash_of(disk_.cluster_id), agent_.self(), std::move(body)};
  l.from.node = machine_.id;
  world_.net.send(machine_.id.value(), to, bytes, [&w = world_, to, l = std::move(l)] { w.deliver(to, l); });
}

void process::send(node_id to, letter_body body) {
  const auto bytes = size_of(body);
  post(to.value(), bytes, std::move(body));
}
// -- node -------------------------------------------------------------------------------------------------------

void process::perform(node_agent::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    // Whom to ask when nobody is known to lead: a voter of the newest set, or one of the seeds. Who was away for long
    // may know voters of whom none leads any more.
    auto any_voter = [&] {
      auto voters = world_.seeds;
      if (raft_)
        for (const auto& m : raft_->members())
          if (m.voter) voters.push_back(m.peer.node);
      return voters[world_.ground.random().below(voters.size())];
    };
    std::visit(overloaded{
                   [&](node_agent::send_registration& e) { send(e.to.value_or(any_voter()), e.message); },
                   [&](node_agent::send_heartbeat& e) {
                     if (e.via)
                       send(*e.via, relayed{e.message});
                     else
                       send(e.to.value_or(any_voter()), e.message);
                   },
                   [&](node_agent::send_farewell& e) { send(e.to.value_or(any_voter()), e.message); },
                   [&](node_agent::accepted& e) { registered(e.as, e.cluster_id); },
                   [&](node_agent::write_mark& e) {
                     machine_.in(machine_.pace.sync_max, [this, epoch = e.node_epoch] {
                       disk_.clean_mark = epoch;
                       perform(agent_.marked(now()));
                     });
                   },
                   [&](node_agent::end_process& e) { end(e.why ? e.why->text : "stopped in order"); },
               },
               effect);
  }
}

void process::registered(life as, const std::string& cluster_id) {
  tell("is registered as epoch " + std::to_string(as.epoch));
  disk_.cluster_id = cluster_id;
  world_.watcher.came(*this, damaged_, disk_.starts == 1);
  detector_ = std::make_unique<membership::failure_detector>(as, membership::detector_settings{},
                                                             random_source{world_.ground.random()()}, now());
  metadata_changed();
}

void process::leased() {
  if (lease_end_ == agent_.lease_end()) return;
  lease_end_ = agent_.lease_end();
  for (auto& [seat, r] : replicas_) r->leased(lease_end_);
}

void process::perform(membership::failure_detector::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](membership::failure_detector::send& e) { send(e.to, std::move(e.message)); },
                   [&](membership::failure_detector::raised& e) {
                     if (e.suspicion.why == membership::cause::gone)
                       perform(raft_->peer_gone(now(), e.suspicion.subject.node));
                     suspect(true);
                   },
                   [&](membership::failure_detector::cleared&) { suspect(false); },
               },
               effect);
  }
}

void process::suspect(bool at_once) {
  std::vector<node_agent::suspicion> all;
  for (const auto& s : detector_->suspicions()) all.push_back({s.subject, static_cast<suspicion_cause>(s.why), s.when});
  perform(agent_.suspects(now(), std::move(all), at_once));
}

void process::link_reset(life peer) {
  if (ended_) return;
  world_.watcher.link_broken(*this, peer, true);
  perform(controller_.link_broken(now(), peer, true, false));
  if (detector_) perform(detector_->link_reset(peer, now()));
}

void process::refused(node_id peer) {
  if (ended_) return;
  if (const auto* node = image_->node(peer)) {
    world_.watcher.link_broken(*this, {peer, node->node_epoch}, false);
    perform(controller_.link_broken(now(), {peer, node->node_epoch}, false, true));
  }
  if (detector_) perform(detector_->connect_refused(peer, now()));
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
                 [&](const raft_message& m) { perform(raft_->step(now(), m)); },
                 [&](const registration& m) {
                   // A newcomer asks anybody; who knows the controller passes it on, once.
                   if (m.node == from.node && raft_->leader() && *raft_->leader() != machine_.id)
                     send(*raft_->leader(), m);
                   else
                     perform(controller_.registered(now(), ticket_for({m.node, node_id{-1}}), m));
                 },
                 [&](const registration_answer& m) { perform(agent_.received(now(), m)); },
                 [&](const heartbeat& m) {
                   world_.watcher.heard(*this, m);
                   perform(controller_.heard(now(), ticket_for({m.from.node, node_id{-1}}), m));
                 },
                 [&](const heartbeat_answer& m) {
                   perform(agent_.received(now(), m));
                   leased();
                 },
                 [&](const relayed& m) {
                   // From the node itself: on to the controller. Passed on already: it is for us.
                   if (m.message.from.node == from.node && raft_->leader() && *raft_->leader() != machine_.id)
                     send(*raft_->leader(), m);
                   else {
                     world_.watcher.heard(*this, m.message);
                     perform(controller_.heard(now(), ticket_for({m.message.from.node, from.node}), m.message));
                   }
                 },
                 [&](const relayed_answer& m) {
                   if (m.asker == machine_.id) {
                     perform(agent_.received(now(), m.message));
                     leased();
                   } else {
                     send(m.asker, m.message);
                   }
                 },
                 [&](const farewell& m) {
                   world_.watcher.said_farewell(*this, m.from);
                   perform(controller_.said_farewell(now(), m));
                 },
                 [&](const alter_isr& m) {
                   perform(controller_.isr_asked(now(), ticket_for({from.node, node_id{-1}}), m));
                 },
                 [&](const alter_isr_answer& m) {
                   if (auto* r = replica_of(m.where)) perform(*r, r->received(m, both()));
                 },
                 [&](const log_ends& m) { perform(controller_.log_ends_are(now(), m)); },
                 [&](const shard_released& m) { perform(controller_.released(now(), m)); },
                 [&](const release_order& m) {
                   // No entity lives here: a shard is empty-handed at once.
                   send(from.node, shard_released{agent_.self(), m.kind, m.shard, m.epoch});
                 },
                 [&](const membership::message& m) {
                   if (detector_) perform(detector_->received(m, now()));
                 },
                 [&](const replica_fetch& m) {
                   // A fetch names the follower's seat; ours is another of the same partition.
                   if (auto* r = replica_of({m.seat.topic, m.seat.partition})) perform(*r, r->received(from, m, now()));
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
                 [&](const auto&) {},  // answers to clients do not come here
             },
             l.body);
}

}  // namespace troupe::sim
