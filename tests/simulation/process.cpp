#include "tests/simulation/process.hpp"

#include <algorithm>

#include "actors/partition/restore.hpp"

namespace troupe::sim {

namespace {

template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloaded(Fs...) -> overloaded<Fs...>;

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

uuid drawn(random_source& random) {
  uuid id;
  for (auto& b : id.bytes) b = static_cast<std::uint8_t>(random());
  return id;
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

class process::ear final : public store::log_listener {
public:
  ear(process& owner, store::log_identity seat) : owner_{owner}, seat_{seat} {}
  void durable(log_offset end) override {
    if (auto* r = mine()) owner_.perform(*r, r->durable(end, owner_.now()));
  }
  void refused(log_offset end, const error& why) override {
    if (auto* r = mine()) owner_.perform(*r, r->refused(end, why, owner_.now()));
  }

private:
  partition_replica* mine() {
    const auto at = owner_.replicas_.find(seat_);
    return at == owner_.replicas_.end() || owner_.ended_ ? nullptr : at->second.get();
  }
  process& owner_;
  const store::log_identity seat_;
};

// -- life ---------------------------------------------------------------------------------------------------

process::process(surroundings& w, machine& m, node_disk& d, bool founder)
    : world_{w},
      machine_{m},
      disk_{d},
      image_{std::make_shared<const metadata_image>()},
      controller_{controller_options(w, m.id),
                  controller{controller_defaults{}, [&w] { return drawn(w.ground.random()); }}},
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
    end("raft cannot start: " + sound.error().text);
    return;
  }
  if (d.stored.snapshot) take(raft::install{d.stored.snapshot});
  raft_ = std::make_unique<class raft>(self, w.raft, d.stored, random_source{w.ground.random()()}, now());

  std::vector<partition_ref> damaged;
  for (const auto& log : store_->logs())
    if (const auto state = store_->state(log.id); state && state->damaged_from)
      damaged.push_back({log.identity.topic, log.identity.partition});
  // Every log here is `group`: what was acknowledged is on the disk whatever ended the former life.
  perform(agent_.recovered(now(), true, std::move(damaged)));
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

// -- raft -----------------------------------------------------------------------------------------------------

void process::perform(raft::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](raft::write& e) { take(e); },
                   [&](raft::send& e) { send(e.message.to.node, std::move(e.message)); },
                   [&](raft::commit& e) { take(e); },
                   [&](raft::install& e) {
                     take(e);
                     metadata_changed();
                   },
                   [&](raft::proposed& e) {
                     const auto at = batches_.find(e.sequence);
                     if (e.client != proposer_ || at == batches_.end()) return;
                     const auto batch = at->second;
                     batches_.erase(at);
                     using outcome = cluster_controller::proposal_outcome;
                     const auto how = e.outcome == raft_outcome::done || e.outcome == raft_outcome::repeated
                                          ? outcome::done
                                      : e.outcome == raft_outcome::lost || e.outcome == raft_outcome::not_leader
                                          ? outcome::lost
                                          : outcome::not_taken;
                     perform(controller_.proposal_ended(now(), batch, how));
                   },
                   [&](raft::read_ready&) {},
                   [&](raft::changed&) { changing_members_ = false; },
                   [&](raft::leading& e) {
                     tell("leads the quorum in term " + std::to_string(e.term.value()));
                     world_.watcher.leads_quorum(machine_.id, e.term);
                     proposer_ = {world_.ground.random()() | 1, raft_->committed()};
                     proposals_ = 0;
                     batches_.clear();
                     no_op_ = meta_offset{e.index.value()};
                     if (image_->cluster_id.empty())
                       form_cluster();
                     else
                       perform(controller_.elected(now(), image_, *no_op_));
                   },
                   [&](raft::stepped_down&) {
                     tell("leads the quorum no more");
                     no_op_.reset();
                     perform(controller_.deposed());
                   },
                   [&](raft::stop& e) {
                     world_.watcher.broken("n" + std::to_string(machine_.id.value()) + " raft stops: " + e.why);
                     end(e.why);
                   },
               },
               effect);
  }
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

/// Writes are done one after the other, each in the time that a sync takes.
void process::take(raft::write& w) {
  const auto took = world_.ground.between(machine_.pace.sync_min, machine_.pace.sync_max);
  write_free_at_ = std::max(write_free_at_, world_.ground.now()) + took;
  const auto number = w.number;
  disk_.writing.push_back(std::move(w));
  machine_.in(write_free_at_ - world_.ground.now(), [this, number] {
    disk_.take_one();
    if (!ended_) perform(raft_->written(now(), number));
  });
}

void process::take(raft::commit& c) {
  auto next = std::make_shared<metadata_image>(*image_);
  for (const auto& [entry, outcome] : c.entries) {
    const meta_offset at{entry.index.value()};
    if (entry.kind == raft_entry::kind_t::command && outcome == raft_outcome::done) {
      const auto records = decode_all_metadata_records(entry.payload);
      TROUPE_CHECK(records.ok());
      next->apply(at, *records);
    } else {
      next->pass(at);
    }
    world_.watcher.applied(machine_.id, entry, *next);
  }
  const bool formed = image_->cluster_id.empty() && !next->cluster_id.empty();
  image_ = std::move(next);
  if (formed && no_op_) perform(controller_.elected(now(), image_, *no_op_));
  metadata_changed();
  take_snapshot();
}

/// The first record of all: everybody else's log begins with it.
void process::form_cluster() {
  const metadata_record formed = cluster_formed{drawn(world_.ground.random()).text()};
  perform(raft_->propose(now(), proposer_, ++proposals_, shared_bytes::own(encode_all(std::span{&formed, 1}))));
}

void process::take(const raft::install& e) {
  if (e.snapshot->image.empty()) return;  // the beginning of a cluster
  const auto records = decode_all_metadata_records(e.snapshot->image);
  TROUPE_CHECK(records.ok());
  image_ =
      std::make_shared<const metadata_image>(metadata_image::restore(meta_offset{e.snapshot->index.value()}, *records));
}

void process::take_snapshot() {
  if (raft_->committed() - raft_->snapshot_index() < 200) return;
  auto s = std::make_shared<raft_snapshot>(raft_->head());
  s->image = shared_bytes::own(encode_all(image_->snapshot()));
  perform(raft_->compacted(std::move(s)));
}

void process::metadata_changed() {
  if (ended_) return;
  perform(controller_.applied(now(), image_));
  perform(agent_.applied(now(), *image_));
  if (detector_)
    for (const auto& [id, node] : image_->nodes) {
      if (node.state == node_state::removed)
        detector_->removed(id);
      else
        detector_->member({id, node.node_epoch});
    }
  assign_replicas();
}

/// Brings the quorum's members to what the controller wants: its voters, and every other node as a learner.
void process::tend_members() {
  if (changing_members_ || !raft_ || !raft_->leads()) return;
  const auto& members = raft_->members();
  std::vector<cluster_controller::voter> voters;
  for (const auto& m : members)
    if (m.voter) voters.push_back({m.peer.node, m.peer.disk});
  perform(controller_.voters_are(now(), voters));
  auto change = [&](raft_peer peer, raft::part part) {
    changing_members_ = true;
    perform(raft_->change(now(), ++next_ticket_, peer, part));
  };
  for (const auto& [id, node] : image_->nodes) {
    const auto at = std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.peer.node == id; });
    const bool gone = node.state == node_state::removed;
    if (at == members.end()) {
      if (!gone) return change({id, node.disk}, raft::part::learner);
      continue;
    }
    if (gone || at->peer.disk != node.disk) return change(at->peer, raft::part::none);
    const bool wanted = std::any_of(wanted_voters_.begin(), wanted_voters_.end(),
                                    [&](const auto& v) { return v.node == id && v.disk == node.disk; });
    if (wanted && !at->voter) return change(at->peer, raft::part::voter);
    if (!wanted && at->voter && !wanted_voters_.empty()) return change(at->peer, raft::part::learner);
  }
}

// -- controller -----------------------------------------------------------------------------------------------

cluster_controller::ticket process::ticket_for(route r) {
  routes_.emplace(next_ticket_, r);
  return next_ticket_++;
}

bool process::ask(cluster_controller::request what, std::function<void(cluster_controller::outcome)> answer) {
  if (ended_ || !controller_.works()) return false;
  asked_.emplace(next_ticket_, std::move(answer));
  const auto ticket = next_ticket_++;
  perform(controller_.asked(now(), ticket, std::move(what)));
  return true;
}

void process::perform(cluster_controller::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    std::visit(overloaded{
                   [&](cluster_controller::propose& e) {
                     batches_[++proposals_] = e.batch;
                     perform(raft_->propose(now(), proposer_, proposals_, shared_bytes::own(encode_all(e.records))));
                   },
                   [&](cluster_controller::answer& e) {
                     if (auto* outcome = std::get_if<cluster_controller::outcome>(&e.what)) {
                       const auto at = asked_.find(e.to);
                       if (at == asked_.end()) return;
                       auto told = std::move(at->second);
                       asked_.erase(at);
                       return told(std::move(*outcome));
                     }
                     const auto at = routes_.find(e.to);
                     if (at == routes_.end()) return;
                     const auto to = at->second;
                     routes_.erase(at);
                     std::visit(overloaded{
                                    [&](registration_answer& a) { send(to.asker, std::move(a)); },
                                    [&](heartbeat_answer& a) {
                                      if (to.via.value() >= 0)
                                        send(to.via, relayed_answer{to.asker, a});
                                      else
                                        send(to.asker, a);
                                    },
                                    [&](isr_answer& a) { send(to.asker, std::move(a)); },
                                    [&](cluster_controller::outcome&) {},
                                },
                                e.what);
                   },
                   [&](cluster_controller::want_voters& e) { wanted_voters_ = e.voters; },
                   [&](cluster_controller::release_shard& e) {
                     send(e.owner.node, release_order{e.kind, e.shard, e.epoch});
                   },
                   [&](cluster_controller::noted& e) {
                     static constexpr const char* names[] = {
                         "registered", "fenced",    "active",        "draining",
                         "removed",    "no_leader", "possible_loss", "shard_move_given_up"};
                     tell(std::string{"controller: "} + names[static_cast<int>(e.what)] + " node " +
                          std::to_string(e.node.value()) +
                          (e.where ? " partition " + std::to_string(e.where->index.value()) : ""));
                   },
               },
               effect);
  }
}

// -- node -------------------------------------------------------------------------------------------------------

void process::perform(node_agent::effects&& todo) {
  for (auto& effect : todo) {
    if (ended_) return;
    // Whom to ask when nobody is known to lead: a voter of the newest set, or one of the seeds.
    auto any_voter = [&] {
      std::vector<node_id> voters;
      if (raft_)
        for (const auto& m : raft_->members())
          if (m.voter) voters.push_back(m.peer.node);
      if (voters.empty()) voters = world_.seeds;
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
  perform(controller_.link_broken(now(), peer, true, false));
  if (detector_) perform(detector_->link_reset(peer, now()));
}

void process::refused(node_id peer) {
  if (ended_) return;
  if (const auto* node = image_->node(peer))
    perform(controller_.link_broken(now(), {peer, node->node_epoch}, false, true));
  if (detector_) perform(detector_->connect_refused(peer, now()));
}

// -- replicas -----------------------------------------------------------------------------------------------------

assignment process::assignment_of(const partition_state& state) const {
  assignment a;
  a.state = state;
  a.unclean = state.unclean_epoch;
  for (const auto& [id, node] : image_->nodes) {
    a.node_epochs.emplace(id, node.node_epoch);
    if (node.state != node_state::active) a.fenced.insert(id);
  }
  return a;
}

void process::assign_replicas() {
  if (!detector_) return;
  const auto me = machine_.id;
  std::set<store::log_identity> seats;
  for (const auto& [name, t] : image_->topics)
    for (std::size_t i = 0; i < t->partitions.size(); ++i)
      for (const auto& r : t->partitions[i].replicas)
        if (r.node == me) {
          const store::log_identity seat{t->id, partition_index{static_cast<std::int32_t>(i)}, r.added_at};
          seats.insert(seat);
          if (!replicas_.contains(seat)) add_replica(seat, *t);
        }
  for (auto at = replicas_.begin(); at != replicas_.end();) {
    auto& [seat, r] = *at++;
    if (!seats.contains(seat)) {
      const auto id = logs_.at(seat);
      perform(*r, r->ended({errc::unknown_topic, "the replica has gone"}, now()));
      (void)store_->drop({id});
      logs_.erase(seat);
      replicas_.erase(seat);
      continue;
    }
    const auto* state = image_->find(partition_ref{seat.topic, seat.partition});
    perform(*r, r->assigned(assignment_of(*state), both()));
  }
}

void process::add_replica(const store::log_identity& seat, const topic& t) {
  const auto made = store_->create({seat}, store::durability::group);
  TROUPE_CHECK(made.ok());
  const auto id = made->front();
  auto found = restore_partition(*store_, id, machine_.clock.wall());
  TROUPE_CHECK(found.ok());
  auto r = std::make_unique<partition_replica>(seat, agent_.self(), t.settings, std::move(*found), both());
  r->leased(agent_.lease_end());
  replicas_.emplace(seat, std::move(r));
  logs_.emplace(seat, id);
  store_->listen(id, std::make_shared<ear>(*this, seat));
}

partition_replica* process::replica_of(const partition_ref& where) const {
  // Of two stays on this node the later one counts; the order of seats has it last.
  partition_replica* newest = nullptr;
  for (const auto& [seat, r] : replicas_)
    if (seat.topic == where.topic && seat.partition == where.index) newest = r.get();
  return newest;
}

std::vector<shared_bytes> process::read_runs(log_id id, log_offset from, log_offset end,
                                             std::uint64_t bytes_max) const {
  std::vector<shared_bytes> runs;
  const auto got = store_->read(id, from, {end, bytes_max, true}, {});
  if (!got || !got->ok()) return runs;
  for (const auto& s : (*got)->slices) {
    auto bytes = s.load();
    if (!bytes) break;
    runs.push_back(std::move(*bytes));
  }
  return runs;
}

result<std::vector<shared_bytes>> process::read(const store::log_identity& seat, log_offset from,
                                                log_offset end) const {
  std::vector<shared_bytes> all;
  const auto id = logs_.at(seat);
  while (from < end) {
    const auto got = store_->read(id, from, {end, 1 << 20, true}, {});
    if (!got->ok()) return got->error();
    if ((*got)->next == from) break;
    for (const auto& s : (*got)->slices) {
      auto bytes = s.load();
      if (!bytes) return bytes.error();
      all.push_back(std::move(*bytes));
    }
    from = (*got)->next;
  }
  return all;
}

/// Until it is done: on a full disk even that has to wait.
void process::cut(const store::log_identity& seat, bool restart, log_offset at) {
  const auto id = logs_.at(seat);
  // Whatever comes back from the disk finds the replica again by its seat: it may be gone by then.
  auto done = [this, seat, restart, at, id](const result<void>& how) {
    const auto r = replicas_.find(seat);
    if (ended_ || r == replicas_.end()) return;
    if (how) return perform(*r->second, r->second->truncated(store_->state(id)->end, now()));
    if (how.code() == errc::storage_full)
      machine_.later(500ms, [this, seat, restart, at] {
        if (!ended_ && replicas_.contains(seat)) cut(seat, restart, at);
      });
  };
  if (restart)
    store_->restart_at(id, at, done);
  else
    store_->truncate(id, at, done);
}

void process::perform(partition_replica& r, partition_replica::effects&& todo) {
  const auto seat = r.seat();
  const auto id = logs_.at(seat);
  for (auto& effect : todo) {
    if (ended_) return;
    std::visit(
        overloaded{
            [&](partition_replica::append& e) { store_->append(id, std::move(e.batches)); },
            [&](partition_replica::truncate& e) { cut(seat, false, e.end); },
            [&](partition_replica::restart& e) { cut(seat, true, e.start); },
            [&](partition_replica::trim& e) { store_->trim(id, e.start, {}); },
            [&](partition_replica::send_fetch& e) { send(e.to, std::move(e.message)); },
            [&](partition_replica::send_answer& e) {
              if (e.read) {
                auto runs = read_runs(id, e.read->from, e.read->end, e.read->bytes_max);
                if (runs.empty() && e.read->from < e.read->end) return;
                std::get<replica_answer::records>(e.message.what).runs = std::move(runs);
              }
              send(e.to.node, std::move(e.message));
            },
            [&](partition_replica::send_proposal& e) {
              const auto& m = e.message;
              isr_change change;
              change.where = {m.seat.topic, m.seat.partition};
              change.leader = m.leader;
              change.epoch = m.epoch;
              change.partition_epoch = m.partition_epoch;
              change.isr = m.isr;
              if (const auto leader = raft_->leader()) send(*leader, std::move(change));
            },
            [&](partition_replica::committed&) { world_.watcher.committed(*this, r); },
            [&](partition_replica::tell& e) {
              for (auto& it : e.clients.produced) it.to(std::move(it.outcome));
              for (auto& it : e.clients.fetched) it.to(std::move(it.outcome));
            },
            [&](partition_replica::become& e) {
              static constexpr const char* names[] = {"none", "leader", "follower", "damaged", "failed", "removed"};
              tell("partition " + std::to_string(seat.partition.value()) + " is " + names[static_cast<int>(e.now)] +
                   " in epoch " + std::to_string(e.epoch.value()) + (e.why ? ": " + e.why->text : ""));
              if (e.now == partition_replica::role::leader) world_.watcher.leads(machine_.id, seat, e.epoch);
            },
        },
        effect);
  }
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
                   perform(controller_.registered(now(), ticket_for({from.node, node_id{-1}}), m));
                 },
                 [&](const registration_answer& m) { perform(agent_.received(now(), m)); },
                 [&](const heartbeat& m) {
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
                   else
                     perform(controller_.heard(now(), ticket_for({m.message.from.node, from.node}), m.message));
                 },
                 [&](const relayed_answer& m) {
                   if (m.asker == machine_.id) {
                     perform(agent_.received(now(), m.message));
                     leased();
                   } else {
                     send(m.asker, m.message);
                   }
                 },
                 [&](const farewell& m) { perform(controller_.said_farewell(now(), m)); },
                 [&](const isr_change& m) {
                   perform(controller_.isr_asked(now(), ticket_for({from.node, node_id{-1}}), m));
                 },
                 [&](const isr_answer& m) {
                   auto* r = replica_of(m.where);
                   if (!r || m.what == isr_answer::outcome::later) return;
                   alter_isr_answer a;
                   a.seat = r->seat();
                   a.epoch = m.epoch;
                   a.partition_epoch = m.partition_epoch;
                   a.what = m.what == isr_answer::outcome::accepted ? alter_isr_answer::outcome::accepted
                            : m.what == isr_answer::outcome::ineligible_replica
                                ? alter_isr_answer::outcome::ineligible_replica
                                : alter_isr_answer::outcome::refused;
                   if (m.what == isr_answer::outcome::accepted) a.state = m.state;
                   perform(*r, r->received(a, both()));
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

// -- clients ------------------------------------------------------------------------------------------------------

void process::serve(const produce_request& m, place client) {
  auto answer = [this, client, id = m.id, life = machine_.life()](produce::outcome out) {
    if (life != machine_.life()) return;
    produce_reply reply{id, {}, out.base};
    if (out.refused)
      reply.refused = out.refused->code;
    else
      world_.watcher.acknowledged(*this);
    post(client, 100, reply);
  };
  auto* r = replica_of(m.where);
  if (!r) {
    produce::outcome none;
    none.refused = error{errc::not_leader, ""};
    return answer(std::move(none));
  }
  produce p;
  auto bytes = std::make_shared<std::vector<std::byte>>(m.batch);
  p.records = {bytes, byte_span{*bytes}};
  p.acks = m.acks;
  p.deadline = now() + 10s;
  p.answer = answer;
  perform(*r, r->produced(std::move(p), both(), store_->crowded(logs_.at(r->seat())), decompressor::of_this_thread()));
}

void process::serve(const fetch_request& m, place client) {
  fetch_reply reply;
  reply.id = m.id;
  const auto* r = replica_of(m.where);
  const auto role = r ? r->current() : partition_replica::role::removed;
  const bool may = role == partition_replica::role::leader ||
                   (m.follower && (role == partition_replica::role::follower || role == partition_replica::role::none));
  if (!may) {
    reply.refused = errc::not_leader;
    return post(client, 100, reply);
  }
  fetch f;
  f.from = m.from;
  f.current = m.current;
  const auto admitted = r->partition().fetched(f);
  reply.watermark = admitted.outcome.high_watermark;
  reply.start = admitted.outcome.log_start;
  if (admitted.outcome.refused) reply.refused = admitted.outcome.refused->code;
  if (admitted.read) reply.runs = read_runs(logs_.at(r->seat()), m.from, admitted.end, 64 << 10);
  std::size_t bytes = 100;
  for (const auto& run : reply.runs) bytes += run.size();
  post(client, bytes, reply);
}

void process::serve(const latest_request& m, place client) {
  latest_reply reply;
  reply.id = m.id;
  const auto* r = replica_of(m.where);
  if (!r || r->current() != partition_replica::role::leader) {
    reply.refused = errc::not_leader;
    return post(client, 100, reply);
  }
  list_offsets ask;
  ask.timestamp = list_offsets::latest;
  const auto out = r->partition().offsets_listed(ask);
  if (out->refused)
    reply.refused = out->refused->code;
  else
    reply.latest = out->offset;
  post(client, 100, reply);
}

}  // namespace troupe::sim
