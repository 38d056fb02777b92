#include "actors/controller/partition_plan.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

namespace troupe::partition_plan {

namespace {

using nodes = std::vector<node_id>;

bool has(const nodes& list, node_id node) {
  return std::ranges::find(list, node) != list.end();
}

/// The epochs that the step from `before` to `after` costs.
partition_state raised(const partition_state& before, partition_state after) {
  const bool replica_went = std::ranges::any_of(
      before.replicas, [&](const replica& r) { return std::ranges::find(after.replicas, r) == after.replicas.end(); });
  // Also when the leader stays: what the removed one still has on its way must not be taken for a replica's.
  const bool fence = before.leader != after.leader || (replica_went && holds(rule::removal_bumps_leader_epoch));
  after.epoch = leader_epoch{before.epoch.value() + (fence ? 1 : 0)};
  after.partition_epoch = before.partition_epoch + 1;
  return after;
}

partition_state raised_if_changed(const partition_state& before, partition_state after) {
  return after == before ? before : raised(before, std::move(after));
}

bool enough(const partition_state& p, const facts& f) {
  return static_cast<std::int32_t>(p.isr.size()) >= min_in_sync(f.min_insync, p);
}

/// After any change of the ISR: `left` were in it and hold all that was committed until now.
void settle(partition_state& p, const facts& f, const nodes& left) {
  // In replica order, so that equal sets are equal lists.
  nodes sorted;
  for (const auto& r : p.replicas)
    if (has(p.isr, r.node)) sorted.push_back(r.node);
  p.isr = std::move(sorted);

  if (enough(p, f)) {
    // From now on records are committed without those outside.
    if (holds(rule::elr_cleared)) p.elr.clear();
    p.last_known_elr.clear();
  } else {
    for (auto node : left)
      if (!has(p.elr, node)) p.elr.push_back(node);
  }
  std::erase_if(p.elr, [&](node_id n) { return p.in_sync(n) || !p.has_replica(n); });
  std::erase_if(p.last_known_elr, [&](node_id n) { return p.in_sync(n) || has(p.elr, n) || !p.has_replica(n); });
}

/// The best of `among` in replica order; those that are `avoided` only if there is nobody else.
node_id best(const partition_state& p, const facts& f, const nodes& among, node_id except = node_id{-1}) {
  for (const auto wanted : {facts::standing::able, facts::standing::avoided})
    for (const auto& r : p.replicas)
      if (r.node != except && has(among, r.node) && f.of(r.node) == wanted) return r.node;
  return node_id{-1};
}

/// `p.epoch` is still that of before.
void elect(partition_state& p, const facts& f) {
  if (p.leader.value() >= 0) return;
  p.leader = best(p, f, p.isr);
  if (p.leader.value() >= 0) return;
  p.leader = best(p, f, p.elr);
  if (p.leader.value() >= 0) {
    p.isr.push_back(p.leader);
    return settle(p, f, {});
  }
  if (!f.unclean_election && holds(rule::clean_election)) return;
  nodes all;
  for (const auto& r : p.replicas) all.push_back(r.node);
  p.leader = best(p, f, all);
  if (p.leader.value() < 0) return;
  p.isr = {p.leader};
  p.elr.clear();
  p.last_known_elr.clear();
  settle(p, f, {});
  if (f.unclean_election) p.unclean_epoch = leader_epoch{p.epoch.value() + 1};
}

/// The replicas `go` are dropped for good; false, and nothing happened, when too little would stay in sync.
bool drop(partition_state& p, const facts& f, const nodes& go) {
  auto after = p;
  std::erase_if(after.replicas, [&](const replica& r) { return has(go, r.node); });
  for (auto* list : {&after.isr, &after.elr, &after.last_known_elr, &after.adding, &after.removing})
    std::erase_if(*list, [&](node_id n) { return has(go, n); });
  // When nobody else is known to have anything, also those that may have lost some are needed.
  const bool last_hope = p.isr.empty() && p.elr.empty();
  const bool needed = std::ranges::any_of(
      go, [&](node_id n) { return p.in_sync(n) || has(p.elr, n) || (last_hope && has(p.last_known_elr, n)); });
  if (holds(rule::reassign_keeps_min_isr) && needed && !enough(after, f)) return false;
  settle(after, f, {});
  if (has(go, after.leader)) {
    after.leader = node_id{-1};
    elect(after, f);
  }
  p = std::move(after);
  return true;
}

}  // namespace

partition_state fenced(const partition_state& before, const facts& f, node_id node) {
  if (!before.in_sync(node) && before.leader != node) return before;
  auto p = before;
  nodes left;
  if (std::erase(p.isr, node) > 0) left.push_back(node);
  settle(p, f, left);
  if (p.leader == node) p.leader = node_id{-1};
  elect(p, f);
  return raised_if_changed(before, std::move(p));
}

partition_state forgot(const partition_state& before, const facts& f, node_id node) {
  if (!before.in_sync(node) && !has(before.elr, node) && before.leader != node) return before;
  auto p = before;
  std::erase(p.isr, node);
  std::erase(p.elr, node);
  p.last_known_elr.push_back(node);
  settle(p, f, {});
  if (p.leader == node) p.leader = node_id{-1};
  elect(p, f);
  return raised_if_changed(before, std::move(p));
}

partition_state elected(const partition_state& before, const facts& f) {
  auto p = before;
  elect(p, f);
  return raised_if_changed(before, std::move(p));
}

partition_state elected_uncleanly(const partition_state& before, const facts& f, node_id longest) {
  TROUPE_CHECK(before.leader.value() < 0 && before.isr.empty() && before.elr.empty() && before.has_replica(longest));
  auto p = before;
  p.leader = longest;
  p.isr = {longest};
  p.last_known_elr.clear();
  settle(p, f, {});
  p.unclean_epoch = leader_epoch{p.epoch.value() + 1};
  return raised(before, std::move(p));
}

partition_state led_by_another(const partition_state& before, const facts& f) {
  const auto other = best(before, f, before.isr, before.leader);
  if (other.value() < 0 || f.of(other) != facts::standing::able) return before;
  auto p = before;
  p.leader = other;
  return raised(before, std::move(p));
}

partition_state led_by_preferred(const partition_state& before, const facts& f) {
  const auto preferred = best(before, f, before.isr);
  if (preferred.value() < 0 || f.of(preferred) != facts::standing::able) return before;
  auto p = before;
  p.leader = preferred;
  return raised_if_changed(before, std::move(p));
}

partition_state isr_set(const partition_state& before, const facts& f, std::vector<node_id> isr) {
  auto p = before;
  p.isr = std::move(isr);
  nodes left;
  for (auto node : before.isr)
    if (!p.in_sync(node)) left.push_back(node);
  settle(p, f, left);
  return raised(before, std::move(p));
}

partition_state reassigned(const partition_state& before, const facts& f, const std::vector<node_id>& target) {
  auto p = before;
  // What an earlier reassignment was adding and this one does not want has no part to play.
  nodes unwanted;
  for (auto node : p.adding)
    if (!has(target, node)) unwanted.push_back(node);
  if (!unwanted.empty() && !drop(p, f, unwanted)) return before;

  const auto were_adding = p.adding;
  std::vector<replica> replicas;
  p.adding.clear();
  p.removing.clear();
  for (auto node : target) {
    const auto seat = std::ranges::find(p.replicas, node, &replica::node);
    const bool is_new = seat == p.replicas.end();
    replicas.push_back(is_new ? replica{node, before.partition_epoch + 1} : *seat);
    if (is_new || has(were_adding, node)) p.adding.push_back(node);
  }
  for (const auto& r : p.replicas)
    if (!has(target, r.node)) {
      replicas.push_back(r);
      p.removing.push_back(r.node);
    }
  p.replicas = std::move(replicas);
  settle(p, f, {});
  return raised_if_changed(before, std::move(p));
}

partition_state completed(const partition_state& before, const facts& f) {
  if (!before.reassigning()) return before;
  const bool joined = std::ranges::all_of(before.adding, [&](node_id n) { return before.in_sync(n); });
  if (!joined && holds(rule::reassign_waits_for_isr)) return before;
  auto p = before;
  p.adding.clear();
  if (holds(rule::reassign_keeps_min_isr)) {
    const auto staying = std::ranges::count_if(p.isr, [&](node_id n) { return !has(before.removing, n); });
    auto target = p;
    std::erase_if(target.replicas, [&](const replica& r) { return has(before.removing, r.node); });
    if (static_cast<std::int32_t>(staying) < min_in_sync(f.min_insync, target)) return before;
  }
  const bool dropped = drop(p, f, before.removing);
  TROUPE_CHECK(dropped);
  settle(p, f, {});
  return raised(before, std::move(p));
}

partition_state cancelled(const partition_state& before, const facts& f) {
  if (!before.reassigning()) return before;
  auto p = before;
  if (!drop(p, f, before.adding)) return before;
  p.adding.clear();
  p.removing.clear();
  settle(p, f, {});
  return raised(before, std::move(p));
}

}  // namespace troupe::partition_plan
