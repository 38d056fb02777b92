#include <algorithm>

#include "actors/partition/restore.hpp"
#include "runtime/base/overloaded.hpp"
#include "tests/simulation/process.hpp"

/// The process as a holder of replicas: their logs, and the clients that read and write them.
namespace troupe::sim {

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
// -- replicas -----------------------------------------------------------------------------------------------------

assignment process::assignment_of(const partition_state& state) const {
  assignment a;
  a.state = state;
  a.unclean = state.unclean_epoch;
  for (const auto& [id, node] : image_->nodes) {
    a.node_epochs.emplace(id, node.node_epoch);
    if (node.state != node_state::active) a.fenced.insert(id);
    if (node.disk_full) a.full.insert(id);
  }
  return a;
}

/// A disk that showed damage once is read from end to end; what does not read is damaged from there.
void process::verify_logs() {
  verified_ = disk_.distrusted;
  for (const auto& log : store_->logs()) {
    if (verified_) {
      const auto state = store_->state(log.id);
      for (auto at = state->start; at < state->end;) {
        const auto got = store_->read(log.id, at, {state->end, 1 << 20, true}, {});
        if (!got->ok() || (*got)->next == at) break;
        at = (*got)->next;
      }
    }
    if (const auto state = store_->state(log.id); state && state->damaged_from)
      damaged_.push_back({log.identity.topic, log.identity.partition});
  }
  disk_.distrusted = verified_ && !damaged_.empty();
  if (!damaged_.empty()) tell("finds " + std::to_string(damaged_.size()) + " logs damaged");
}

/// What is on the disk is not what was written. A replica finds its damage only when it starts, so the process starts
/// again, and this time it looks at everything.
void process::found_damage() {
  disk_.distrusted = true;
  end("its log is damaged");
}

void process::assign_replicas() {
  if (!member_) return;
  const auto me = machine_.id;
  std::set<store::log_identity> seats;
  std::set<topic_id> changed;
  for (const auto& [name, t] : image_->topics)
    for (std::size_t i = 0; i < t->partitions.size(); ++i)
      for (const auto& r : t->partitions[i].replicas)
        if (r.node == me) {
          const store::log_identity seat{t->id, partition_index{static_cast<std::int32_t>(i)}, r.added_at};
          seats.insert(seat);
          if (!replicas_.contains(seat)) add_replica(seat, *t);
          if (ended_) return;
          if (auto& known = settings_[t->id]; known != t->settings) changed.insert(t->id);
        }
  for (const auto& id : changed) settings_[id] = image_->find(id)->settings;
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
    // Both come from one image: whoever hears the ISR hears how large it has to be.
    if (changed.contains(seat.topic)) perform(*r, r->reconfigured(settings_.at(seat.topic), now()));
    perform(*r, r->assigned(assignment_of(*state), both()));
  }
  drop_strangers();
}

/// Logs of seats that went while this node was away. Only once the metadata is newer than this life: what was given to
/// a former life is then in it, or gone for good.
void process::drop_strangers() {
  if (ended_ || agent().at() < node_agent::stage::serving) return;
  std::vector<log_id> gone;
  for (const auto& log : store_->logs())
    if (!logs_.contains(log.identity)) gone.push_back(log.id);
  if (!gone.empty()) (void)store_->drop(gone);
}

/// Nobody is known to have everything: the controller waits to hear who has most.
void process::say_log_ends() {
  log_ends mine{self(), {}};
  for (const auto& [seat, r] : replicas_) {
    const auto* state = image_->find(partition_ref{seat.topic, seat.partition});
    if (!state || state->leader.value() >= 0 || !state->isr.empty() || !state->elr.empty()) continue;
    const auto& asked = state->last_known_elr;
    if (std::find(asked.begin(), asked.end(), machine_.id) != asked.end()) mine.ends.push_back(r->log_end());
  }
  if (mine.ends.empty()) return;
  perform(core_->to_controller(now(), std::move(mine)));
}

void process::add_replica(const store::log_identity& seat, const topic& t) {
  const auto made = store_->create({seat}, store::durability::group);
  TROUPE_CHECK(made.ok());
  const auto id = made->front();
  auto found = restore_partition(*store_, id, both().wall);
  TROUPE_CHECK(found.ok());
  // The controller must hear of it before anybody counts on this replica, and hears it from a registration.
  const auto named = std::find(damaged_.begin(), damaged_.end(), partition_ref{seat.topic, seat.partition});
  if (found->damaged_from && named == damaged_.end()) return found_damage();
  auto r = std::make_unique<partition_replica>(seat, self(), t.settings, std::move(*found));
  r->leased(agent().lease_end());
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

std::vector<shared_bytes> process::read_runs(log_id id, log_offset from, log_offset end, std::uint64_t bytes_max) {
  std::vector<shared_bytes> runs;
  const auto got = store_->read(id, from, {end, bytes_max, true}, {});
  if (got && !got->ok() && got->error().code == errc::storage_damaged) found_damage();
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
            [&](partition_replica::send_proposal& e) { perform(core_->to_controller(now(), std::move(e.message))); },
            [&](partition_replica::committed&) {
              world_.watcher.committed(*this, r);
              tell_entities({seat.topic, seat.partition});
            },
            [&](partition_replica::tell& e) {
              for (auto& it : e.clients.produced) it.to(std::move(it.outcome));
              for (auto& it : e.clients.fetched) it.to(std::move(it.outcome));
            },
            [&](partition_replica::become& e) {
              static constexpr const char* names[] = {"none", "leader", "follower", "damaged", "failed", "removed"};
              tell("partition " + std::to_string(seat.partition.value()) + " is " + names[static_cast<int>(e.now)] +
                   " in epoch " + std::to_string(e.epoch.value()) + (e.why ? ": " + e.why->text : ""));
              if (e.why && e.why->code == errc::storage_damaged)
                world_.watcher.broken("I9: n" + std::to_string(machine_.id.value()) + " gives up: " + e.why->text);
              if (e.now != partition_replica::role::leader) return;
              world_.watcher.leads(machine_.id, seat, e.epoch);
              tell_entities({seat.topic, seat.partition});
            },
        },
        effect);
  }
}

/// A message to another actor: what the replica is doing is done first.
void process::tell_entities(const partition_ref& where) {
  const auto topic = image_->find(where.topic);
  if (topic && topic->internal)
    machine_.later(0ms, [this, where] {
      if (entities_) entities_->partition_moved(where);
    });
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
  auto* r = replica_of(m.where);
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
  if (ended_) return;
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
