#include <algorithm>

#include "actors/controller/cluster_controller.hpp"
#include "actors/controller/replica_plan.hpp"
#include "runtime/base/rules.hpp"

/// Leaders, ISRs and replica plans (§6, §8, §9): one look at all partitions does whatever has become possible.
namespace troupe {

using partition_plan::facts;

partition_plan::facts cluster_controller::facts_of(const metadata_image& image, const topic& t) const {
  return {t.settings.min_insync_replicas, t.settings.unclean_election, [this, &image](node_id id) {
            const auto* node = image.node(id);
            if (node == nullptr || !node->serves() || fencing_.contains(id)) return facts::standing::unable;
            const bool full = node->disk_full && holds(rule::full_disk_leads_last);
            const bool avoided = node->gives_away() || full || unreachable(image, id);
            return avoided ? facts::standing::avoided : facts::standing::able;
          }};
}

// -- ISR changes ------------------------------------------------------------------------------------------

std::optional<cluster_controller::reply> cluster_controller::judge(draft& d, const alter_isr& c) {
  using outcome_t = alter_isr_answer::outcome;
  const auto say = [&c](outcome_t what) {
    return reply{
        [what, asked = alter_isr_answer{c.where, c.epoch, c.partition_epoch, what, {}}](const metadata_image& image) {
          auto told = asked;
          const auto* p = image.find(asked.where);
          if (what == outcome_t::accepted && p != nullptr) told.state = *p;
          return told;
        }};
  };
  const auto& image = d.image();
  const auto t = image.find(c.where.topic);
  const auto* p = d.partition(c.where);
  if (p == nullptr) return say(outcome_t::invalid);

  const auto same_life = [&](const life& l) {
    const auto* node = image.node(l.node);
    return node != nullptr && node->node_epoch == l.epoch;
  };
  if (p->leader != c.leader.node || p->epoch != c.epoch) return say(outcome_t::stale);
  if (p->partition_epoch != c.partition_epoch && holds(rule::partition_epoch_checked)) return say(outcome_t::stale);
  if (!same_life(c.leader) && holds(rule::epoch_fences_former_life)) return say(outcome_t::stale);

  std::vector<node_id> isr;
  for (const auto& member : c.isr) {
    if (!p->has_replica(member.node) || std::ranges::find(isr, member.node) != isr.end())
      return say(outcome_t::invalid);
    isr.push_back(member.node);
  }
  if (std::ranges::find(isr, c.leader.node) == isr.end()) return say(outcome_t::invalid);
  for (const auto& member : c.isr) {
    // A new life may have lost what the former one had fetched.
    if (!same_life(member) && holds(rule::isr_adds_this_life)) return say(outcome_t::ineligible_replica);
    const auto* node = image.node(member.node);
    const bool eligible = node != nullptr && node->state == node_state::active && !fencing_.contains(member.node);
    if (!p->in_sync(member.node) && !eligible && holds(rule::isr_adds_unfenced))
      return say(outcome_t::ineligible_replica);
  }

  const auto f = facts_of(image, *t);
  const auto changed = partition_plan::isr_set(*p, f, std::move(isr));
  const auto done = partition_plan::completed(changed, f);
  // Somebody may wait for this: a drain for a place to go, the next reassignment for its turn.
  if (changed != done) look_again_ = true;
  if (draining(image)) look_at_ = std::min(look_at_, now_ + look_every);
  set(d, c.where, *t, done, now_);
  return say(outcome_t::accepted);
}

bool cluster_controller::draining(const metadata_image& image) const {
  return std::ranges::any_of(image.nodes, [&](const auto& n) {
    return n.second.gives_away() || (n.second.leaving && n.second.state != node_state::removed) || n.second.disk_full ||
           unreachable(image, n.first);
  });
}

// -- internal topics --------------------------------------------------------------------------------------

/// A new leader of a shard waits for the lease of the last one that handled messages. Whoever leads in between without
/// having handled any is nobody to wait for.
void cluster_controller::set(draft& d, const partition_ref& where, const topic& t, partition_state after, instant now) {
  const auto& before = *d.partition(where);
  if (t.internal && after.leader != before.leader) {
    if (before.former.node.value() < 0 && before.leader.value() >= 0) {
      const auto* node = d.image().node(before.leader);
      after.former = {before.leader, node == nullptr ? -1 : node->node_epoch};
    }
    const auto* node = d.image().node(after.leader);
    const bool itself = node != nullptr && after.former == life{after.leader, node->node_epoch};
    if (itself || lease_over(after.former, now)) after.former = {};
  }
  d.set(where, std::move(after));
}

void cluster_controller::keep_internal_topics(draft& d, instant now) {
  for (const auto& wanted : options_.internal_topics) {
    if (d.image().topics.contains(wanted.name) || full(d)) continue;
    auto plan = topics_.create_internal(d.image(), wanted.name, wanted.partitions);
    for (auto& record : plan) d.add(std::move(record));
  }
  // What this batch has changed waits for the next: its record has no place in the log yet.
  for (const auto& [name, t] : image_->topics) {
    if (!t->internal) continue;
    for (std::size_t i = 0; i < t->partitions.size() && !full(d); ++i) {
      const auto& former = t->partitions[i].former;
      if (former.node.value() < 0) continue;
      const auto* node = image_->node(former.node);
      if (!lease_over(former, now) && !(node != nullptr && knows(former, node->last_taken))) continue;
      const partition_ref where{t->id, partition_index{static_cast<std::int32_t>(i)}};
      const auto* present = d.partition(where);
      if (present == nullptr || present->former != former || present->leader != t->partitions[i].leader) continue;
      auto free = *present;
      free.former = {};
      ++free.partition_epoch;
      d.set(where, std::move(free));
    }
  }
}

// -- log ends ---------------------------------------------------------------------------------------------

cluster_controller::effects cluster_controller::log_ends_are(instant now, const log_ends& l) {
  effects out;
  now_ = now;
  const auto* node = elected_ ? image_->node(l.from.node) : nullptr;
  if (node == nullptr || node->node_epoch != l.from.epoch) return out;
  for (const auto& e : l.ends) {
    const auto* p = image_->find(e.where);
    if (p == nullptr || p->leader.value() >= 0 || !p->isr.empty() || !p->elr.empty()) continue;
    if (std::ranges::find(p->last_known_elr, l.from.node) == p->last_known_elr.end()) continue;
    log_ends_[e.where][l.from.node] = {l.from.epoch, e.last_epoch, e.end};
    look_again_ = true;
  }
  drive(now, out);
  return out;
}

/// Which of `last_known_elr` has the longest log, once all have said where theirs ends and it can lead.
std::optional<node_id> cluster_controller::longest(const metadata_image& image, const partition_ref& where,
                                                   const partition_state& p, const facts& f) const {
  const auto at = log_ends_.find(where);
  if (at == log_ends_.end() || !p.isr.empty() || !p.elr.empty()) return std::nullopt;
  const known_end* best = nullptr;
  node_id who{-1};
  for (const auto id : p.last_known_elr) {
    const auto end = at->second.find(id);
    const auto* node = image.node(id);
    if (end == at->second.end() || node == nullptr || end->second.node_epoch != node->node_epoch) return std::nullopt;
    const auto& e = end->second;
    if (best == nullptr || std::pair{e.last_epoch, e.end} > std::pair{best->last_epoch, best->end}) {
      best = &e;
      who = id;
    }
  }
  if (best == nullptr || f.of(who) == facts::standing::unable) return std::nullopt;
  return who;
}

// -- all partitions ---------------------------------------------------------------------------------------

void cluster_controller::keep_partitions(draft& d, batch& b, instant now) {
  if (now >= balance_at_ && !full(d)) {
    balance_at_ = now + options_.balance_every;
    balance_leaders(d);
  }
  if ((!look_again_ && now < look_at_) || full(d)) return;
  look_again_ = gave_away_ = false;
  look_at_ = instant::max();

  std::optional<replica_plan> planner;
  const auto plan = [&]() -> replica_plan& { return planner ? *planner : planner.emplace(d.image()); };
  std::size_t under_way = 0;
  d.each_partition([&](const auto&, const partition_state& p, const topic&) {
    under_way += p.reassigning() ? 1 : 0;
    return true;
  });

  std::set<node_id> holding, moving;  // replicas; leaderships that are on their way elsewhere
  const auto* image = &d.image();
  const bool leaving = std::ranges::any_of(
      image->nodes, [](const auto& n) { return n.second.leaving && n.second.state != node_state::removed; });
  const auto nodes = place_for_shards(*image).size();

  d.each_partition([&](const partition_ref& where, const partition_state& before, const topic& t) {
    if (full(d)) {
      look_again_ = true;
      return false;
    }
    const auto f = facts_of(*image, t);
    auto p = before;
    if (p.leader.value() < 0) {
      const auto best = longest(*image, where, p, f);
      p = best ? partition_plan::elected_uncleanly(p, f, *best) : partition_plan::elected(p, f);
      if (p.leader.value() >= 0) {
        log_ends_.erase(where);
        leaderless_.erase(where);
        if (p.unclean_epoch == p.epoch) b.notes.push_back({noted::event::possible_loss, p.leader, where});
      } else if (leaderless_.insert(where).second) {
        b.notes.push_back({noted::event::no_leader, node_id{-1}, where});
      }
    } else if (f.of(p.leader) == facts::standing::avoided) {
      p = partition_plan::led_by_another(p, f);
      if (p.leader != before.leader) moving.insert(before.leader);
    }
    if (p.reassigning()) {
      // Who leaves gets into no ISR any more, so what adds it, or needs it to go on without others, would never end.
      const auto leaves = [&](node_id n) { return image->node(n) != nullptr && image->node(n)->leaving; };
      if (leaving && std::ranges::any_of(p.adding, leaves)) p = partition_plan::cancelled(p, f);
      const auto awaited = std::ranges::find_if(p.replicas, [&](const replica& r) {
        return leaving && leaves(r.node) && !p.in_sync(r.node) &&
               std::ranges::find(p.removing, r.node) == p.removing.end();
      });
      if (awaited != p.replicas.end())
        p = partition_plan::reassigned(p, f, plan().again(p, awaited->node, p.replicas.size() - p.removing.size()));
      p = partition_plan::completed(p, f);
    } else if (under_way < options_.reassignments_max) {
      std::optional<std::vector<node_id>> target;
      const auto width = p.replicas.size();
      for (const auto& r : p.replicas)
        if (const auto* node = leaving ? image->node(r.node) : nullptr; node != nullptr && node->leaving && !target)
          target = plan().again(p, r.node, width);
      if (!target && t.internal && width < internal_replicas && nodes >= internal_replicas)
        target = plan().again(p, node_id{-1}, internal_replicas);
      if (target && !target->empty()) {
        p = partition_plan::completed(partition_plan::reassigned(p, f, *target), f);
        under_way += p.reassigning() ? 1 : 0;
      }
    }
    for (const auto& r : p.replicas) holding.insert(r.node);
    set(d, where, t, std::move(p), now);
    return true;
  });
  if (look_again_) return;

  // What was moved by this batch is gone once it is applied; then they are looked at again.
  for (const auto& [kind, shards] : image->shards)
    for (const auto& s : shards) {
      holding.insert(s.owner);
      moving.insert(s.owner);
    }
  const bool lone = place_for_shards(*image).empty();
  for (const auto& [id, node] : image->nodes) {
    if (!node.gives_away()) continue;
    const bool moves = moving.contains(id) && !lone;
    if (id == options_.self) gave_away_ = !moves;
    if (node.leaving || moves) look_at_ = std::min(look_at_, now + look_every);
    if (node.state != node_state::draining) continue;
    if (node.leaving || moves)
      drained_.erase(id);
    else
      drained_.insert(id);
  }
  for (auto at = log_ends_.begin(); at != log_ends_.end();)
    at = d.partition(at->first) == nullptr ? log_ends_.erase(at) : std::next(at);
  std::erase_if(leaderless_, [&](const auto& where) { return d.partition(where) == nullptr; });
  if (leaving) remove_empty(d, b, holding);
}

/// Back to the preferred leaders, from nodes that lead more than their share.
void cluster_controller::balance_leaders(draft& d) {
  std::map<node_id, std::int64_t> leads;
  std::int64_t all = 0;
  for (const auto& [id, node] : d.image().nodes)
    if (node.takes_on() && !node.disk_full) leads[id] = 0;
  d.each_partition([&](const auto&, const partition_state& p, const topic&) {
    if (const auto at = leads.find(p.leader); at != leads.end()) ++at->second, ++all;
    return true;
  });
  if (leads.size() < 2) return;

  const auto count = static_cast<std::int64_t>(leads.size());
  std::set<node_id> over;
  for (const auto& [id, n] : leads)
    if (n * count * 100 > all * (100 + options_.balance_over_percent)) over.insert(id);
  std::size_t moves = 0;
  d.each_partition([&](const partition_ref& where, const partition_state& p, const topic& t) {
    if (moves == options_.balance_moves_max || full(d)) return false;
    if (!over.contains(p.leader) || leads[p.leader] * count <= all) return true;
    auto moved = partition_plan::led_by_preferred(p, facts_of(d.image(), t));
    if (moved.leader == p.leader || leads[moved.leader] >= leads[p.leader]) return true;
    --leads[p.leader];
    ++leads[moved.leader];
    ++moves;
    set(d, where, t, std::move(moved), now_);
    return true;
  });
}

}  // namespace troupe
