#include "tests/simulation/checker.hpp"

#include <algorithm>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/crc32c.hpp"

namespace troupe::sim {

namespace {
std::string number(auto id) {
  return std::to_string(id.value());
}
std::string number_of(std::int64_t n) {
  return std::to_string(n);
}
}  // namespace

std::vector<fact> facts_of(byte_view batches) {
  std::vector<fact> facts;
  while (batches.size() >= batch_header::header_bytes) {
    const batch_header h{batches};
    if (h.size() > batches.size()) break;
    for (std::int32_t i = 0; i < h.offsets(); ++i) facts.push_back({h.crc(), i, h.epoch()});
    batches = batches.subspan(h.size());
  }
  return facts;
}

std::string checker::named(const partition_ref& where) const {
  const auto name = newest_.names.find(where.topic);
  return (name == newest_.names.end() ? "a deleted topic" : name->second) + "/" + number(where.index);
}

void checker::broken(const std::string& what) {
  if (violations_.size() >= 20) return;
  kernel_.tell("VIOLATION " + what);
  violations_.push_back(what);
}

// -- the quorum -------------------------------------------------------------------------------------------------

void checker::applied(node_id node, const raft_entry& entry, const metadata_image& after) {
  const entry_known now{entry.term, crc32c(entry.payload), after.hash()};
  const auto [at, fresh] = entries_.try_emplace(entry.index, now);
  if (!fresh) {
    if (at->second.term != now.term || at->second.payload != now.payload)
      broken("I16/I17: node " + number(node) + " applies another entry " + number(entry.index));
    else if (at->second.image != now.image)
      broken("I18: node " + number(node) + " has another image after entry " + number(entry.index));
    return;
  }
  kernel_.note(now.image);
  if (entry.kind == raft_entry::kind_t::members) members_ = entry.members;
  const auto before = std::exchange(newest_, after);
  check_image(after);
  check_step(before, after);
}

void checker::voted(const raft_peer& voter, raft_term term, const raft_peer& candidate) {
  const auto [at, fresh] = votes_.try_emplace({voter.disk, term}, candidate);
  if (!fresh && at->second != candidate)
    broken("I19: the disk of node " + number(voter.node) + " votes for nodes " + number(at->second.node) + " and " +
           number(candidate.node) + " in term " + number(term));
}

void checker::decides(const process& p, const std::vector<metadata_record>& records) {
  fences_.decides(p, records);
}

void checker::leads_quorum(node_id node, raft_term term) {
  const auto [at, fresh] = terms_.try_emplace(term, node);
  if (!fresh && at->second != node)
    broken("I15: nodes " + number(at->second) + " and " + number(node) + " both lead term " + number(term));
}

void checker::check_image(const metadata_image& image) {
  for (const auto& [name, t] : image.topics)
    for (std::size_t i = 0; i < t->partitions.size(); ++i) {
      const auto& p = t->partitions[i];
      const auto where = named({t->id, partition_index{static_cast<std::int32_t>(i)}});
      std::set<node_id> seats;
      for (const auto& r : p.replicas)
        if (!seats.insert(r.node).second) broken("I11: " + where + " has two replicas on node " + number(r.node));
      for (const auto n : p.isr) {
        if (!seats.contains(n)) broken("I11: ISR of " + where + " has node " + number(n) + " that holds no replica");
        const auto* node = image.node(n);
        if (!node || !node->serves()) broken("I11: ISR of " + where + " has fenced node " + number(n));
      }
      for (const auto n : p.elr) {
        if (!seats.contains(n)) broken("I11: ELR of " + where + " has node " + number(n) + " that holds no replica");
        if (p.in_sync(n)) broken("I11: node " + number(n) + " is in ISR and ELR of " + where);
      }
      if (static_cast<int>(p.isr.size()) >= troupe::min_in_sync(t->settings.min_insync_replicas, p) && !p.elr.empty())
        broken("I11: ELR of " + where + " is not empty although the ISR is large enough");
      if (p.leader.value() >= 0 && !p.in_sync(p.leader))
        broken("I11: leader " + number(p.leader) + " of " + where + " is not in the ISR");
    }
}

/// What one decision may do to what was decided before.
void checker::check_step(const metadata_image& before, const metadata_image& after) {
  for (const auto& [id, node] : after.nodes) {
    const auto* was = before.node(id);
    if (!was || was->node_epoch != node.node_epoch) {
      auto& had = held_before_[id];
      had.clear();
      for (const auto& [name, t] : before.topics)
        for (std::size_t i = 0; i < t->partitions.size(); ++i)
          if (t->partitions[i].has_replica(id)) had.push_back({t->id, partition_index{static_cast<std::int32_t>(i)}});
    }
    if (was && node.node_epoch < was->node_epoch)
      broken("I8: the epoch of node " + number(id) + " falls from " + number_of(was->node_epoch) + " to " +
             number_of(node.node_epoch));
  }
  for (const auto& [name, t] : after.topics) {
    const auto was = before.find(t->id);
    if (was == t) continue;  // images share what did not change
    for (std::size_t i = 0; was && i < std::min(was->partitions.size(), t->partitions.size()); ++i)
      check_step({t->id, partition_index{static_cast<std::int32_t>(i)}}, was->partitions[i], t->partitions[i], before,
                 after, t->settings.min_insync_replicas);
  }
}

void checker::check_step(const partition_ref& where, const partition_state& before, const partition_state& after,
                         const metadata_image& nodes_before, const metadata_image& nodes_after,
                         std::int32_t configured_min) {
  if (before == after) return;
  if (after.epoch < before.epoch || after.partition_epoch <= before.partition_epoch)
    broken("I8: epochs of " + named(where) + " go from " + number(before.epoch) + "/" +
           number_of(before.partition_epoch) + " to " + number(after.epoch) + "/" + number_of(after.partition_epoch));

  // A reassignment ends: even with those that were fenced at the same moment too few would be left.
  std::set<node_id> staying;
  bool gone = false;
  for (const auto& r : before.replicas) gone |= !after.has_replica(r.node);
  for (const auto* isr : {&before.isr, &after.isr})
    for (const auto n : *isr)
      if (after.has_replica(n)) staying.insert(n);
  const bool took = std::any_of(before.isr.begin(), before.isr.end(), [&](node_id n) { return !after.has_replica(n); });
  if (gone && took && static_cast<int>(staying.size()) < troupe::min_in_sync(configured_min, after))
    broken("I13: a reassignment leaves " + named(where) + " with too few in sync");

  for (const auto& r : after.replicas) {
    const auto *was = nodes_before.node(r.node), *is = nodes_after.node(r.node);
    if (!before.has_replica(r.node) && was && is && was->orders.drained && is->orders.drained)
      broken("drained node " + number(r.node) + " gets a replica of " + named(where));
  }

  const bool unclean = after.unclean_epoch > before.unclean_epoch;
  if (unclean) {
    ++seen_.unclean_elections;
    kernel_.tell("unclean election in " + named(where) + ": node " + number(after.leader) + " in epoch " +
                 number(after.unclean_epoch));
    auto& known = partitions_[where];
    known.unclean = std::max(known.unclean, after.unclean_epoch);
    for (const auto* set : {&before.isr, &before.elr})
      for (const auto n : *set) {
        const auto *was = nodes_before.node(n), *is = nodes_after.node(n);
        if (was && is && was->serves() && is->serves() && was->node_epoch == is->node_epoch && after.has_replica(n))
          broken("unclean election in " + named(where) + " although node " + number(n) + " has everything");
      }
  }
  for (auto at = unwhole_.begin(); at != unwhole_.end();) {
    const auto& [n, which] = *at;
    const bool joined = which == where && !before.in_sync(n) && after.in_sync(n);
    // What it gets into the ISR by, and that it then leads, may be one decision.
    const bool was_elr = std::find(before.elr.begin(), before.elr.end(), n) != before.elr.end();
    if (which == where && after.leader == n && !(joined && (unclean || !was_elr)))
      broken("I14: node " + number(n) + " leads " + named(where) + " with a damaged log");
    at = joined || (which == where && !after.has_replica(n)) ? unwhole_.erase(at) : std::next(at);
  }
}

void checker::came(const process& p, const std::vector<partition_ref>& damaged, bool empty_disk) {
  auto found = damaged;
  if (empty_disk) found = held_before_[p.id()];
  seen_.damaged_replicas += found.size();
  const auto* node = newest_.node(p.id());
  if (!node || node->node_epoch != p.self().epoch) return;
  for (const auto& where : found) {
    const auto* state = newest_.find(where);
    if (!state || !state->has_replica(p.id())) continue;
    // It may have been elected as the best there is; nobody could have put it into the ISR yet.
    const bool best = state->unclean_epoch > no_epoch && state->isr == std::vector{p.id()};
    if (state->in_sync(p.id()) && !best)
      broken("I14: node " + number(p.id()) + " comes back damaged and is in the ISR of " + named(where));
    if (!best) unwhole_.emplace(p.id(), where);
  }
}

// -- partitions ---------------------------------------------------------------------------------------------------

void checker::leads(node_id node, const store::log_identity& seat, leader_epoch epoch) {
  const partition_ref where{seat.topic, seat.partition};
  auto& known = partitions_[where];
  const auto [at, fresh] = known.leaders.try_emplace(epoch, node);
  if (!fresh && at->second != node)
    broken("I5: nodes " + number(at->second) + " and " + number(node) + " both lead epoch " + number(epoch) + " of " +
           named(where));
  const auto* p = process_of(node);
  if (!p || !p->replicas().contains(seat)) return;
  if (epoch < known.cut_in()) return;  // of a log that the others have left behind
  if (known.cut_in() < known.unclean && epoch >= known.unclean) shorten(known, *p, seat, epoch);
  // It may learn late that it leads. What a later leader committed meanwhile it does not have to have.
  const auto before = std::lower_bound(known.committed_in.begin(), known.committed_in.end(), epoch);
  const log_offset truth{before - known.committed_in.begin()};
  const auto end = p->replicas().at(seat)->partition().end();
  if (end < truth)
    return broken("I1/I4: node " + number(node) + " leads " + named(where) + " in epoch " + number(epoch) +
                  " with its log ending at " + number(end) + ", but all below " + number(truth) + " was committed");
  compare(*p, seat, log_offset{0}, truth, false);
}

/// The first leader after an unclean election: what it lacks is lost, as the metadata says.
void checker::shorten(partition_known& known, const process& p, const store::log_identity& seat, leader_epoch epoch) {
  const log_offset all{static_cast<std::int64_t>(known.truth.size())};
  const auto mine = std::min(all, p.replicas().at(seat)->partition().durable_end());
  std::size_t same = 0;
  if (auto runs = p.read(seat, log_offset{0}, mine))
    for (const auto& run : *runs)
      for (const auto& f : facts_of(run)) {
        if (same >= static_cast<std::size_t>(mine.value()) || !(known.truth[same] == f)) goto parted;
        ++same;
      }
parted:
  for (auto i = same; i < known.truth.size(); ++i) {
    const log_offset at{static_cast<std::int64_t>(i)};
    known.lost.emplace(at, known.truth[i].batch_crc, known.truth[i].at);
    if (known.truth[i].at != 0) continue;
    known.crcs.erase(known.truth[i].batch_crc);
    if (const auto s = known.sequence_at.extract(at)) known.sequences.erase(s.mapped());
  }
  const log_offset end{static_cast<std::int64_t>(same)};
  if (end < all)
    kernel_.tell("lost: " + named({seat.topic, seat.partition}) + " from " + number(end) + " to " + number(all));
  seen_.lost_records += static_cast<std::uint64_t>(all - end);
  known.truth.resize(same);
  known.committed_in.resize(same);
  known.acknowledged = std::min(known.acknowledged, end);
  known.blind = false;
  known.cut_at = kernel_.now();
  known.cuts.push_back({epoch, end});
}

/// The committed log as `p` has it; if bits on its disk were flipped, as one of the others has it.
result<std::vector<shared_bytes>> checker::read_anywhere(const process& p, const store::log_identity& seat,
                                                         log_offset from, log_offset to) const {
  auto runs = p.read(seat, from, to);
  if (runs || runs.code() != errc::storage_damaged || !may_be_damaged(p.id())) return runs;
  const partition_ref where{seat.topic, seat.partition};
  for (const auto& [id, node] : newest_.nodes) {
    const auto* other = id == p.id() ? nullptr : process_of(id);
    const auto* r = other ? other->replica_of(where) : nullptr;
    if (!r || r->partition().durable_end() < to || r->partition().epoch() < p.replica_of(where)->partition().epoch())
      continue;
    if (auto theirs = other->read(r->seat(), from, to)) return theirs;
  }
  return runs;
}

void checker::compare(const process& p, const store::log_identity& seat, log_offset from, log_offset to, bool extends) {
  const partition_ref where{seat.topic, seat.partition};
  auto& known = partitions_[where];
  if (extends) from = std::min(from, log_offset{static_cast<std::int64_t>(known.truth.size())});
  if (from >= to) return;
  const auto epoch = p.replicas().at(seat)->partition().epoch();
  const bool left_behind = epoch < known.cut_in();
  auto runs = extends ? read_anywhere(p, seat, from, to) : p.read(seat, from, to);
  if (extends) known.blind = false;
  if (!runs && runs.code() == errc::storage_damaged && may_be_damaged(p.id())) {
    known.blind |= extends;
    return;
  }
  if (!runs)
    return broken("node " + number(p.id()) + " cannot read its committed log of " + named(where) + ": " +
                  runs.error().text);
  auto next = from;
  for (const auto& run : *runs) {
    byte_view rest = run;
    while (rest.size() >= batch_header::header_bytes) {
      const batch_header h{rest};
      if (h.end() > next) {
        if (h.base() > next)
          return broken("I10: node " + number(p.id()) + " has a hole in " + named(where) + " at " + number(next));
        for (std::int64_t i = next - h.base(); i < h.offsets() && next < to; ++i, next = next + 1) {
          const fact here{h.crc(), static_cast<std::int32_t>(i), h.epoch()};
          const auto at = static_cast<std::size_t>(next.value());
          // Of a leader that the others have left behind, or of its followers.
          if (left_behind && (at >= known.truth.size() || !(known.truth[at] == here))) {
            known.lost.emplace(next, here.batch_crc, here.at);
            continue;
          }
          // A follower that has not cut yet what was lost.
          if (!extends && known.was_lost(next, here) && !(at < known.truth.size() && known.truth[at] == here)) {
            replicas_[{p.id(), seat}].among_lost = true;
            continue;
          }
          if (at < known.truth.size()) {
            if (!(known.truth[at] == here))
              return broken("I2: node " + number(p.id()) + " has another record than was committed in " + named(where) +
                            " at " + number(next) + " (epoch " + number(here.epoch) + ", not " +
                            number(known.truth[at].epoch) + ")");
            continue;
          }
          if (!extends && known.blind) return;
          if (!extends)
            return broken("I9: node " + number(p.id()) + " follows " + named(where) + " with a watermark above " +
                          number(next) + ", where nothing was committed");
          if (!known.truth.empty() && known.truth.back().epoch > here.epoch)
            broken("I10: epochs fall in " + named(where) + " at " + number(next));
          known.truth.push_back(here);
          known.committed_in.push_back(epoch);
          if (i != 0) continue;
          known.crcs.insert(here.batch_crc);
          if (refused_.contains(here.batch_crc))
            broken("I22: a refused batch is committed in " + named(where) + " at " + number(next));
          const sequence mine{h.producer().value(), h.producer_epoch().value(), h.sequence_base()};
          if (h.producer().value() < 0) continue;
          known.sequence_at[next] = mine;
          if (!known.sequences.insert(mine).second)
            broken("I20: producer " + number(h.producer()) + " has sequence " + std::to_string(h.sequence_base()) +
                   " twice in " + named(where));
        }
      }
      rest = rest.subspan(h.size());
    }
  }
  if (next < to)
    broken("I10: the log of node " + number(p.id()) + " for " + named(where) + " ends at " + number(next) +
           " below its watermark " + number(to));
}

void checker::committed(const process& p, const partition_replica& r) {
  const auto& seat = r.seat();
  const partition_ref where{seat.topic, seat.partition};
  const auto watermark = r.partition().watermark();
  auto& known = replicas_[{p.id(), seat}];
  const auto life = static_cast<std::uint64_t>(p.self().epoch);
  const auto epoch = r.partition().epoch();
  if (known.life != life) known = {life, log_offset{0}, epoch};
  const auto& partition = partitions_[where];
  for (const auto& cut : partition.cuts)
    if (known.epoch < cut.epoch && cut.epoch <= epoch) known.watermark = std::min(known.watermark, cut.end);
  // Between the election and its leader's first word nobody knows yet what is lost.
  if (known.epoch < partition.unclean && partition.unclean <= epoch && partition.cut_in() < partition.unclean)
    known.watermark = std::min(known.watermark, watermark);
  known.epoch = epoch;
  if (std::exchange(known.among_lost, false)) known.watermark = std::min(known.watermark, watermark);
  if (watermark < known.watermark)
    broken("I9: the watermark of " + named(where) + " on node " + number(p.id()) + " falls from " +
           number(known.watermark) + " to " + number(watermark));
  kernel_.note(static_cast<std::uint64_t>(watermark.value()));
  const auto* leading = r.leads();
  compare(p, seat, known.watermark, watermark, leading != nullptr);
  if (leading && partition.blind) return;
  known.watermark = watermark;
  if (!leading || epoch < partition.unclean) return;
  if (watermark > r.partition().durable_end())
    broken("I7/I12: the watermark of " + named(where) + " passes the leader's own disk");
  for (const auto n : leading->maximal_isr()) {
    const auto* other = n == p.id() ? nullptr : process_of(n);
    const auto* theirs = other ? other->replica_of(where) : nullptr;
    if (!theirs || theirs->current() == partition_replica::role::removed) continue;
    // A leader that stood still counts on what that node's former life had, and the controller knows what this one
    // lost.
    const auto* known_life = p.image().node(n);
    if (!known_life || known_life->node_epoch != other->self().epoch) continue;
    // It may have lost its seat and got another one, with an empty log, before the leader hears of it.
    const auto* state = p.image().find(where);
    if (!state || std::none_of(state->replicas.begin(), state->replicas.end(), [&](const replica& it) {
          return it.node == n && it.added_at == theirs->seat().added_at;
        }))
      continue;
    if (theirs->partition().durable_end() < watermark)
      broken("I7: the watermark of " + named(where) + " is " + number(watermark) + ", but node " + number(n) +
             " of the maximal ISR has only " + number(theirs->partition().durable_end()) + " on disk");
  }
}

void checker::acknowledged(const process& p) {
  if (!p.has_lease()) broken("I31: node " + number(p.id()) + " answers a write without a lease");
}

void checker::look() {
  for (const auto& [where, known] : partitions_) {
    const auto* state = newest_.find(where);
    if (!state) continue;
    check_leader(where, *state, newest_.find(where.topic)->settings.min_insync_replicas);
    if (known.cut_in() < known.unclean) continue;
    const log_offset truth{static_cast<std::int64_t>(known.truth.size())};
    auto holds_all = [&](node_id n, const char* set) {
      const auto* p = process_of(n);
      const auto* node = newest_.node(n);
      const auto* r = p ? p->replica_of(where) : nullptr;
      if (!r || !node || !node->serves() || p->self().epoch != node->node_epoch) return;
      if (r->partition().durable_end() < truth)
        broken(std::string{"I4: node "} + number(n) + " is in the " + set + " of " + named(where) + " with " +
               number(r->partition().durable_end()) + " of " + number(truth) + " committed records");
    };
    for (const auto n : state->isr) holds_all(n, "ISR");
    for (const auto n : state->elr) holds_all(n, "ELR");
  }
}

// -- entities -----------------------------------------------------------------------------------------------------

void checker::call_sent(operation what, std::int32_t epoch) {
  calls_[what].sent_for = epoch;
}

void checker::call_ended(operation what, bool answered) {
  auto& call = calls_[what];
  if (answered) ++answered_calls_;
  call.answered |= answered;
  // What was not answered may have been done or not, and may still be done.
  if (!answered && !call.durable) calls_.erase(what);
}

void checker::not_behind(node_id node, const entities::shard_id& shard, const entity_kind& kind, std::int32_t epoch,
                         const char* what) {
  const auto at = handled_in_.find(shard);
  if (kind.how == entities::keeping::soft || at == handled_in_.end() || epoch >= at->second) return;
  broken("I27: node " + number(node) + " " + what + " for shard " + shard.kind + "/" + std::to_string(shard.index) +
         " in epoch " + std::to_string(epoch) + " after epoch " + std::to_string(at->second) + " handled messages");
}

void checker::handles(node_id node, const entities::shard_id& shard, const entity_kind& kind, std::int32_t epoch,
                      operation what, const std::vector<operation>& before) {
  not_behind(node, shard, kind, epoch, "handles a message");
  auto& latest = handled_in_.try_emplace(shard, epoch).first->second;
  latest = std::max(latest, epoch);
  auto& call = calls_[what];
  const bool durable = kind.how == entities::keeping::durable;
  if (durable) call.durable = shard;
  kernel_.note(what);
  if (std::find(before.begin(), before.end(), what) != before.end())
    broken("I28: node " + number(node) + " handles call " + std::to_string(what) + " twice");
  // When an ephemeral owner dies, what it did is lost, and a copy that was on its way to the next one does it again;
  // but never a copy from before.
  if (call.answered && (durable ? !lossy(shard) : epoch > call.sent_for))
    broken("I28: node " + number(node) + " handles call " + std::to_string(what) + " after it was answered");
}

void checker::replies(node_id node, const entities::shard_id& shard, const entity_kind& kind, std::int32_t epoch,
                      bool stopped) {
  // After a planned move what was done lives on, and its repeat may still be answered from there.
  if (!stopped) not_behind(node, shard, kind, epoch, "replies");
}

void checker::look_at_entities() {
  std::map<operation, int> done;
  for (const auto& kind : entity_kinds()) {
    if (kind.how != entities::keeping::durable) continue;
    const auto topic = newest_.find(kind.topic());
    for (std::uint32_t i = 0; topic && i < kind.shards; ++i) {
      const auto* p = process_of(topic->partitions[i].leader);
      if (!p || !p->entities()) continue;
      for (const auto& [key, did] : p->entities()->state_of({kind.name, i}))
        for (const auto what : did)
          if (++done[what] > 1) broken("I26/I28: call " + std::to_string(what) + " was done twice");
    }
  }
  for (const auto& [what, call] : calls_)
    if (call.durable && call.answered && !done.contains(what) && !lossy(*call.durable))
      broken("I26: call " + std::to_string(what) + " was answered by shard " + call.durable->kind + "/" +
             std::to_string(call.durable->index) + ", which does not know of it");
}

void checker::check_leader(const partition_ref& where, const partition_state& state, std::int32_t configured_min) {
  for (const auto& seat : state.replicas) {
    const auto* p = process_of(seat.node);
    const auto* r = p ? p->replica_of(where) : nullptr;
    if (!r) continue;
    const auto& epochs = r->partition().epochs().entries();
    for (std::size_t i = 1; i < epochs.size(); ++i)
      if (epochs[i].epoch <= epochs[i - 1].epoch || epochs[i].start <= epochs[i - 1].start)
        broken("I8: the epochs of " + named(where) + " on node " + number(seat.node) + " do not rise");
    const auto* leading = r->leads();
    if (seat.node != state.leader || !leading || leading->epoch() != state.epoch) continue;
    if (static_cast<int>(state.isr.size()) < troupe::min_in_sync(configured_min, state)) continue;
    const auto maximal = leading->maximal_isr();
    for (const auto* set : {&state.isr, &state.elr})
      for (const auto n : *set)
        if (!maximal.contains(n))
          broken("I6: the leader of " + named(where) + " does not count node " + number(n) + ", which is in sync");
  }
}

bool checker::lossy(const partition_ref& where) const {
  const auto at = partitions_.find(where);
  return at != partitions_.end() && at->second.unclean > no_epoch;
}

bool checker::lossy(const entities::shard_id& shard) const {
  const auto topic = newest_.find("__actors." + shard.kind);
  return topic && lossy(partition_ref{topic->id, partition_index{static_cast<std::int32_t>(shard.index)}});
}

log_offset checker::truth_end(const partition_ref& where) const {
  const auto at = partitions_.find(where);
  return log_offset{at == partitions_.end() ? 0 : static_cast<std::int64_t>(at->second.truth.size())};
}

std::uint64_t checker::committed_records() const {
  std::uint64_t all = 0;
  for (const auto& [where, known] : partitions_) all += known.truth.size();
  return all;
}

// -- clients ------------------------------------------------------------------------------------------------------

void checker::client_acknowledged(const partition_ref& where, log_offset base, std::uint32_t crc) {
  auto& known = partitions_[where];
  const auto at = static_cast<std::size_t>(base.value());
  const bool there = at < known.truth.size() && known.truth[at].batch_crc == crc && known.truth[at].at == 0;
  if (!there && known.was_lost(base, {crc, 0, no_epoch})) return;
  if (at >= known.truth.size() && known.blind) return;
  if (at >= known.truth.size())
    return broken("I1: " + named(where) + " acknowledged offset " + number(base) + ", which is not committed");
  if (known.truth[at].batch_crc != crc || known.truth[at].at != 0)
    return broken("I21: " + named(where) + " acknowledged offset " + number(base) + ", where another record is");
  known.acknowledged = std::max(known.acknowledged, base + 1);
}

void checker::client_believes_stored(const partition_ref& where, std::uint32_t crc) {
  const auto& known = partitions_[where];
  if (!known.crcs.contains(crc) && !known.blind && !lossy(where))
    broken("I1: " + named(where) + " has acknowledged a batch of a producer and lacks the one before it");
}

void checker::client_refused(std::uint32_t crc) {
  refused_.insert(crc);
  for (const auto& [where, known] : partitions_)
    if (known.crcs.contains(crc)) broken("I22: a refused batch was committed in " + named(where));
}

void checker::client_read(const partition_ref& where, log_offset base, const std::vector<fact>& read) {
  const auto& known = partitions_[where];
  const auto& truth = known.truth;
  for (std::size_t i = 0; i < read.size(); ++i) {
    const auto at = static_cast<std::size_t>(base.value()) + i;
    if ((at >= truth.size() || !(truth[at] == read[i])) && known.was_lost(base + static_cast<std::int64_t>(i), read[i]))
      continue;
    if (at >= truth.size() && known.blind) return;
    if (at >= truth.size())
      return broken("I3: a consumer of " + named(where) + " read offset " + std::to_string(at) +
                    ", which is not committed");
    if (!(truth[at] == read[i]))
      return broken("I3: a consumer of " + named(where) + " read another record at " + std::to_string(at));
  }
}

void checker::client_told_latest(const partition_ref& where, log_offset acked_before, log_offset latest) {
  const auto& known = partitions_[where];
  if (!known.cuts.empty() && kernel_.now() - known.cut_at < 3s) return;  // asked before something was lost
  if (latest < acked_before)
    broken("a consumer of " + named(where) + " was told that the log ends at " + number(latest) + ", but " +
           number(acked_before) + " had been acknowledged before it asked");
}

log_offset checker::acknowledged_end(const partition_ref& where) const {
  const auto at = partitions_.find(where);
  return at == partitions_.end() ? log_offset{0} : at->second.acknowledged;
}

}  // namespace troupe::sim
