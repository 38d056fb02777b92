#include "tests/simulation/clients.hpp"

#include <algorithm>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/overloaded.hpp"
#include "tests/unit/partition/batches.hpp"

namespace troupe::sim {

std::vector<std::byte> build_batch(std::int64_t producer, std::int16_t epoch, std::int32_t sequence,
                                   std::int32_t records, std::uint64_t unique) {
  testing_batches::test_batch b;
  b.records.clear();
  for (std::int32_t i = 0; i < records; ++i)
    b.records.push_back({.timestamp = 1'700'000'000'000, .value = std::to_string(unique) + "/" + std::to_string(i)});
  b.producer = producer;
  b.producer_epoch = epoch;
  b.sequence = sequence;
  return b.build();
}

// -- stream ---------------------------------------------------------------------------------------------------------

void stream::send(letter l) {
  if (broken_) return;
  const auto& w = world_.net.now();
  auto ready = world_.ground.now() + world_.ground.between(w.delay_min, w.delay_max);
  if (world_.ground.random().chance(w.loss)) ready += 200ms;  // sent again by the kernel
  queue_.push_back({std::move(l), ready});
  world_.ground.at(ready, [this] { pump(); });
}

void stream::pump() {
  while (!queue_.empty() && queue_.front().ready <= world_.ground.now()) {
    if (world_.net.is_cut(client_, node_.value())) return world_.ground.after(20ms, [this] { pump(); });
    const auto life = world_.life_of(node_);
    if (life == 0 || (life_ != 0 && life != life_)) {
      broken_ = true;
      queue_.clear();
      return;
    }
    life_ = life;
    auto next = std::move(queue_.front().what);
    queue_.pop_front();
    world_.deliver(node_.value(), std::move(next));
  }
}

void stream::connect_again() {
  queue_.clear();
  life_ = 0;
  broken_ = false;
}

// -- client -------------------------------------------------------------------------------------------------------

client::client(client_world& w, place here) : world_{w}, here_{here} {}

stream& client::stream_to(node_id to) {
  return streams_.try_emplace(to, world_, here_, to).first->second;
}

void client::send(node_id to, letter_body body) {
  stream_to(to).send({0, {node_id{here_}, -1}, std::move(body)});
}

node_id client::any_node() {
  return world_.nodes[world_.ground.random().below(world_.nodes.size())];
}

// -- producer -----------------------------------------------------------------------------------------------------

producer::producer(client_world& w, place here, std::int64_t id, std::vector<partition_ref> where, habits h)
    : client{w, here}, id_{id}, habits_{h} {
  for (const auto& p : where) {
    auto& l = lines_.emplace_back();
    l.where = p;
  }
  for (auto& l : lines_) w.ground.after(w.ground.between(0ns, h.pace_max), [this, &l] { make(l); });
  tick();
}

bool producer::done() const {
  if (retired_) return true;
  return stopped_ && std::all_of(lines_.begin(), lines_.end(), [&](const lane& l) {
           return l.batches.empty() || world_.judge.newest().find(l.where) == nullptr;
         });
}

bool producer::waits_for_lost() const {
  return std::all_of(lines_.begin(), lines_.end(),
                     [&](const lane& l) { return l.batches.empty() || world_.judge.lossy(l.where); });
}

void producer::make(lane& l) {
  if (stopped_ || retired_) return;
  if (l.batches.size() < habits_.in_flight) {
    pending p;
    p.sequence = l.next_sequence;
    p.records = 1 + static_cast<std::int32_t>(world_.ground.random().below(3));
    p.unique =
        (static_cast<std::uint64_t>(id_) << 40) | (static_cast<std::uint64_t>(l.where.index.value()) << 32) | l.made;
    l.made += static_cast<std::uint64_t>(p.records);
    build(l, p);
    l.next_sequence += p.records;
    l.batches.push_back(std::move(p));
    push(l);
  }
  world_.ground.after(world_.ground.between(habits_.pace_min, habits_.pace_max), [this, &l] { make(l); });
}

void producer::build(const lane& l, pending& p) {
  p.bytes = build_batch(id_, l.epoch, p.sequence, p.records, p.unique);
  p.crc = batch_header{p.bytes}.crc();
}

/// The partition has lost batches of ours: numbers begin anew, under the next producer epoch.
void producer::begin_anew(lane& l) {
  ++l.epoch;
  l.next_sequence = 0;
  l.known = false;
  for (auto& p : l.batches) {
    if (p.stored) continue;
    p.sequence = l.next_sequence;
    p.request = 0;
    build(l, p);
    l.next_sequence += p.records;
  }
}

void producer::push(lane& l) {
  const auto now = world_.ground.now();
  if (retired_) return;
  if (l.batches.empty() || now < l.not_before) return;
  if (l.leader.value() < 0) return look_for_leader(l);
  bool open_before = false, gap = false;
  for (auto& p : l.batches) {
    if (p.stored) continue;
    if (p.request && now - p.sent_at >= habits_.patience) return no_answer(l, p.to);
    if (goes(l, p, open_before, gap)) {
      p.request = next_id();
      p.to = l.leader;
      p.sent_at = now;
      p.first = !open_before;
      p.again = true;
      send(l.leader, produce_request{p.request, l.where, p.bytes, habits_.acks});
    }
    gap = gap || !p.request;
    open_before = true;
  }
}

/// Whether it is to be sent now. Who does not send ahead lets nothing overtake: neither what failed before, nor the
/// first batch of all, since a partition that does not know the producer may take any number for the first.
bool producer::goes(const lane& l, const pending& p, bool open_before, bool gap) const {
  if (p.request) return false;
  return habits_.ahead || !open_before || (l.known && !gap && !p.again);
}

/// Somebody else may lead, or the connection is broken.
void producer::no_answer(lane& l, node_id from) {
  connect_again(from);
  for (auto& other : lines_)
    for (auto& p : other.batches)
      if (habits_.ahead && p.to == from) p.request = 0;
  l.leader = node_id{-1};
  look_for_leader(l);
}

void producer::look_for_leader(lane& l) {
  l.not_before = world_.ground.now() + 50ms;
  if (!habits_.ahead)
    for (auto& p : l.batches) p.request = 0;
  ask_who_leads(l);
}

void producer::ask_who_leads(lane& l) {
  l.looking = next_id();
  const auto whom = any_node();
  const bool owes = std::any_of(lines_.begin(), lines_.end(), [&](const lane& other) {
    return std::any_of(other.batches.begin(), other.batches.end(),
                       [&](const pending& p) { return p.request && p.to == whom; });
  });
  if (!habits_.ahead || !owes) connect_again(whom);
  send(whom, where_request{l.looking, l.where});
}

void producer::tick() {
  if (retired_) return;
  for (auto& l : lines_) {
    push(l);
    if (habits_.ahead && !done() && world_.ground.random().chance(0.03)) ask_who_leads(l);
  }
  world_.ground.after(25ms, [this] { tick(); });
}

void producer::receive(const letter& l) {
  if (const auto* m = std::get_if<where_reply>(&l.body)) {
    for (auto& line : lines_)
      if (line.looking == m->id) {
        line.looking = 0;
        line.leader = m->leader;
        push(line);
      }
    return;
  }
  const auto* m = std::get_if<produce_reply>(&l.body);
  if (!m) return;
  for (auto& line : lines_) {
    const auto at =
        std::find_if(line.batches.begin(), line.batches.end(), [&](const pending& p) { return p.request == m->id; });
    if (at == line.batches.end()) continue;
    if (!m->refused) return stored(line, *at, m->base);
    return refused(line, *at, *m->refused, l.from.node);
  }
}

void producer::stored(lane& l, pending& p, log_offset base) {
  ++acknowledged_;
  last_success_ = world_.ground.now();
  if (habits_.acks == -1) world_.judge.client_acknowledged(l.where, base, p.crc);
  p.stored = true;
  l.known = true;
  if (habits_.ahead)
    for (auto before = l.batches.begin(); before->unique != p.unique; ++before) {
      if (!before->stored && habits_.acks == -1) world_.judge.client_believes_stored(l.where, before->crc);
      before->stored = true;
    }
  while (!l.batches.empty() && l.batches.front().stored) l.batches.pop_front();
  push(l);
}

void producer::refused(lane& l, pending& p, errc why, node_id by) {
  p.request = 0;
  // Everything before it was acknowledged when it was sent, so the partition must know what comes next; not a former
  // leader that has not heard of the present one.
  const auto* known = world_.judge.newest().find(l.where);
  const bool from_leader = known && known->leader == by;
  if (why == errc::out_of_order_sequence && world_.judge.lossy(l.where))
    begin_anew(l);
  else if (why == errc::out_of_order_sequence && p.first && from_leader && habits_.acks == -1)
    world_.judge.broken("I20: partition " + std::to_string(l.where.index.value()) + " does not know producer " +
                        std::to_string(id_) + " at sequence " + std::to_string(p.sequence));
  l.not_before = world_.ground.now() + 20ms;
  if (why == errc::not_leader || why == errc::fenced_epoch) l.leader = node_id{-1};
}

// -- consumer -----------------------------------------------------------------------------------------------------

consumer::consumer(client_world& w, place here, std::vector<partition_ref> where, bool from_followers)
    : client{w, here}, from_followers_{from_followers} {
  for (const auto& p : where) {
    auto& l = lines_.emplace_back();
    l.where = p;
  }
  tick();
}

void consumer::tick() {
  if (retired_) return;
  const auto now = world_.ground.now();
  for (auto& l : lines_) {
    if (l.request && now - l.sent_at < 500ms) continue;
    if (l.request) l.leader = node_id{-1};
    l.request = next_id();
    l.sent_at = now;
    // From the start again now and then: what was read once must not have changed.
    if (world_.ground.random().chance(0.01)) l.next = log_offset{0};
    const auto to = from_followers_ || l.leader.value() < 0 ? any_node() : l.leader;
    if (to != l.leader) connect_again(to);
    if (!from_followers_ && l.leader.value() < 0) {
      send(to, where_request{l.request, l.where});
      continue;
    }
    send(to, fetch_request{l.request, l.where, l.next, no_epoch, from_followers_});
    if (!from_followers_ && !l.latest && world_.ground.random().chance(0.2)) {
      l.latest = next_id();
      // A former leader that does not know it yet may tell an older end; the present one must not.
      const auto* p = world_.judge.newest().find(l.where);
      l.acked_before = p && p->leader == to ? world_.judge.acknowledged_end(l.where) : log_offset{0};
      send(to, latest_request{l.latest, l.where});
    }
  }
  world_.ground.after(30ms, [this] { tick(); });
}

void consumer::receive(const letter& got) {
  for (auto& l : lines_) {
    std::visit(overloaded{
                   [&](const where_reply& m) {
                     if (m.id != l.request) return;
                     l.request = 0;
                     l.leader = m.leader;
                   },
                   [&](const latest_reply& m) {
                     if (m.id != l.latest) return;
                     l.latest = 0;
                     if (!m.refused) world_.judge.client_told_latest(l.where, l.acked_before, m.latest);
                   },
                   [&](const fetch_reply& m) {
                     if (m.id != l.request) return;
                     l.request = 0;
                     if (m.refused) {
                       l.leader = node_id{-1};
                       if (*m.refused == errc::offset_out_of_range) l.next = m.start;
                       return;
                     }
                     for (const auto& run : m.runs) {
                       if (run.size() < batch_header::header_bytes) continue;
                       const auto facts = facts_of(run);
                       const auto base = batch_header{run}.base();
                       world_.judge.client_read(l.where, base, facts);
                       read_ += facts.size();
                       l.next = std::max(l.next, base + static_cast<std::int64_t>(facts.size()));
                     }
                   },
                   [&](const auto&) {},
               },
               got.body);
    // An old question about the end of the log was lost.
    if (l.latest && world_.ground.now() - l.sent_at > 2s) l.latest = 0;
  }
}

}  // namespace troupe::sim
