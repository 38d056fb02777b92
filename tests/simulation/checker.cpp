#include "tests/simulation/checker.hpp"

#include <algorithm>

#include "actors/partition/record_batch.hpp"
#include "runtime/base/crc32c.hpp"

namespace troupe::sim {

namespace {
std::string number(auto id) {
  return std::to_string(id.value());
}
}  // namespace

std::string checker::named(const partition_ref& where) const {
  const auto topic = newest_.find(where.topic);
  return (topic ? topic->name : "a deleted topic") + "/" + std::to_string(where.index.value());
}

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
  newest_ = after;
  check_image(after);
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
      const auto where = "partition " + std::to_string(i);
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
  // It may learn late that it leads. What a later leader committed meanwhile it does not have to have.
  const auto before = std::lower_bound(known.committed_in.begin(), known.committed_in.end(), epoch);
  const log_offset truth{before - known.committed_in.begin()};
  const auto end = p->replicas().at(seat)->partition().end();
  if (end < truth)
    return broken("I1/I4: node " + number(node) + " leads " + named(where) + " in epoch " + number(epoch) +
                  " with its log ending at " + number(end) + ", but all below " + number(truth) + " was committed");
  compare(*p, seat, log_offset{0}, truth, false);
}

void checker::compare(const process& p, const store::log_identity& seat, log_offset from, log_offset to, bool extends) {
  const partition_ref where{seat.topic, seat.partition};
  auto& known = partitions_[where];
  if (from >= to) return;
  auto runs = p.read(seat, from, to);
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
          if (at < known.truth.size()) {
            if (!(known.truth[at] == here))
              return broken("I2: node " + number(p.id()) + " has another record than was committed in " + named(where) +
                            " at " + number(next) + " (epoch " + number(here.epoch) + ", not " +
                            number(known.truth[at].epoch) + ")");
            continue;
          }
          if (!extends)
            return broken("I9: node " + number(p.id()) + " follows " + named(where) + " with a watermark above " +
                          number(next) + ", where nothing was committed");
          if (!known.truth.empty() && known.truth.back().epoch > here.epoch)
            broken("I10: epochs fall in " + named(where) + " at " + number(next));
          known.truth.push_back(here);
          known.committed_in.push_back(p.replicas().at(seat)->partition().epoch());
          if (i != 0) continue;
          known.crcs.insert(here.batch_crc);
          if (refused_.contains(here.batch_crc))
            broken("I22: a refused batch is committed in " + named(where) + " at " + number(next));
          if (h.producer().value() >= 0 &&
              !known.sequences.emplace(h.producer().value(), h.producer_epoch().value(), h.sequence_base()).second)
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
  if (known.life != life) known = {life, log_offset{0}};
  if (watermark < known.watermark)
    broken("I9: the watermark of " + named(where) + " on node " + number(p.id()) + " falls from " +
           number(known.watermark) + " to " + number(watermark));
  kernel_.note(static_cast<std::uint64_t>(watermark.value()));
  const auto* leading = r.leads();
  compare(p, seat, known.watermark, watermark, leading != nullptr);
  known.watermark = watermark;
  if (!leading) return;
  if (watermark > r.partition().durable_end())
    broken("I7/I12: the watermark of " + named(where) + " passes the leader's own disk");
  for (const auto n : leading->maximal_isr()) {
    const auto* other = n == p.id() ? nullptr : process_of(n);
    const auto* theirs = other ? other->replica_of(where) : nullptr;
    if (!theirs || theirs->current() == partition_replica::role::removed) continue;
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
  if (kind.keeping == entities::keeping::soft || at == handled_in_.end() || epoch >= at->second) return;
  broken("I27: node " + number(node) + " " + what + " for shard " + shard.kind + "/" + std::to_string(shard.index) +
         " in epoch " + std::to_string(epoch) + " after epoch " + std::to_string(at->second) + " handled messages");
}

void checker::handles(node_id node, const entities::shard_id& shard, const entity_kind& kind, std::int32_t epoch,
                      operation what, const std::vector<operation>& before) {
  not_behind(node, shard, kind, epoch, "handles a message");
  auto& latest = handled_in_.try_emplace(shard, epoch).first->second;
  latest = std::max(latest, epoch);
  auto& call = calls_[what];
  const bool durable = kind.keeping == entities::keeping::durable;
  if (durable) call.durable = shard;
  kernel_.note(what);
  if (std::find(before.begin(), before.end(), what) != before.end())
    broken("I28: node " + number(node) + " handles call " + std::to_string(what) + " twice");
  // When an ephemeral owner dies, what it did is lost, and a copy that was on its way to the next one does it again;
  // but never a copy from before.
  if (call.answered && (durable || epoch > call.sent_for))
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
    if (kind.keeping != entities::keeping::durable) continue;
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
    if (call.durable && call.answered && !done.contains(what))
      broken("I26: call " + std::to_string(what) + " was answered by shard " + call.durable->kind + "/" +
             std::to_string(call.durable->index) + ", which does not know of it");
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
  if (at >= known.truth.size())
    return broken("I1: " + named(where) + " acknowledged offset " + number(base) + ", which is not committed");
  if (known.truth[at].batch_crc != crc || known.truth[at].at != 0)
    return broken("I21: " + named(where) + " acknowledged offset " + number(base) + ", where another record is");
  known.acknowledged = std::max(known.acknowledged, base + 1);
}

void checker::client_refused(std::uint32_t crc) {
  refused_.insert(crc);
  for (const auto& [where, known] : partitions_)
    if (known.crcs.contains(crc)) broken("I22: a refused batch was committed in " + named(where));
}

void checker::client_read(const partition_ref& where, log_offset base, const std::vector<fact>& read) {
  const auto& truth = partitions_[where].truth;
  for (std::size_t i = 0; i < read.size(); ++i) {
    const auto at = static_cast<std::size_t>(base.value()) + i;
    if (at >= truth.size())
      return broken("I3: a consumer of " + named(where) + " read offset " + std::to_string(at) +
                    ", which is not committed");
    if (!(truth[at] == read[i]))
      return broken("I3: a consumer of " + named(where) + " read another record at " + std::to_string(at));
  }
}

void checker::client_told_latest(const partition_ref& where, log_offset acked_before, log_offset latest) {
  if (latest < acked_before)
    broken("a consumer of " + named(where) + " was told that the log ends at " + number(latest) + ", but " +
           number(acked_before) + " had been acknowledged before it asked");
}

log_offset checker::acknowledged_end(const partition_ref& where) const {
  const auto at = partitions_.find(where);
  return at == partitions_.end() ? log_offset{0} : at->second.acknowledged;
}

}  // namespace troupe::sim
