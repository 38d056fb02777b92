#include <algorithm>

#include "tests/simulation/damage.hpp"
#include "tests/simulation/weather.hpp"

/// Disks that lose what was written on them, and the account of what may still be lost: a record survives while fewer
/// than min.insync.replicas have lost it (P1), a metadata entry while a majority of the voters has it.
namespace troupe::sim {

/// Each partition has a replica left that the controller may elect and whose disk is as it was written.
bool weather_maker::may_lose_logs(int n) const {
  if (habits_.reckless) return true;
  for (const auto& [name, t] : c_.judge().newest().topics)
    for (const auto& p : t->partitions) {
      if (!p.has_replica(node_id{n})) continue;
      std::set<int> lost{n};
      for (const auto& [m, since] : harmed_)
        if (p.has_replica(node_id{m})) lost.insert(m);
      const auto least = min_in_sync(std::min(habits_.min_in_sync_least, t->settings.min_insync_replicas), p);
      if (static_cast<int>(lost.size()) >= least) return false;
      const auto whole = [&](node_id m) { return !lost.contains(m.value()); };
      if (std::none_of(p.isr.begin(), p.isr.end(), whole) && std::none_of(p.elr.begin(), p.elr.end(), whole))
        return false;
    }
  return true;
}

/// The quorum is as it is to be, and nobody is about to change it; then one of three voters may go. (On its way from
/// one voter to three it has two for a while, and both are needed.)
bool weather_maker::may_lose_vote() {
  const auto* c = c_.controller();
  if (!c || c->quorum().members() != c_.judge().members() || !c_.voters_wrong(*c).empty()) return false;
  int voters = 0;
  for (const auto& m : c_.judge().members()) {
    const auto node = m.peer.node.value();
    if (unreadable_.contains(node) || c_.disk_of(node).disk != m.peer.disk) return false;
    voters += m.voter;
  }
  return voters >= 3;
}

/// Who has everything again does not count any more.
void weather_maker::take_stock() {
  for (auto at = harmed_.begin(); at != harmed_.end();) at = whole_again(at->first) ? harmed_.erase(at) : std::next(at);
}

bool weather_maker::whole_again(int n) {
  if (c_.removed(n)) return true;
  const auto& since = harmed_.at(n);
  const auto& disk = c_.disk_of(n);
  const auto* p = c_.at(n);
  const bool looked = disk.disk != since.disk || (disk.starts > since.starts && p && p->verified());
  const auto* node = c_.judge().newest().node(node_id{n});
  if (!p || !looked || !node || !node->serves() || node->node_epoch != p->self().epoch) return false;
  for (const auto& where : c_.partitions()) {
    const auto* state = c_.judge().newest().find(where);
    if (!state->has_replica(node_id{n})) continue;
    const auto* r = p->replica_of(where);
    if (!state->in_sync(node_id{n}) || !r || r->current() == partition_replica::role::damaged ||
        r->partition().durable_end() < c_.judge().truth_end(where))
      return false;
  }
  return true;
}

void weather_maker::new_disk(int n) {
  if (!may_lose_logs(n) || !may_lose_vote()) return;
  count("new_disk");
  harmed_[n] = {c_.disk_of(n).disk, c_.disk_of(n).starts};
  c_.kill(n);
  c_.replace_disk(n);
  unreadable_.erase(n);
  later(200ms, 5s, [this, n] { start(n); });
}

/// Found at the next start, which may look at everything, or when it is read.
void weather_maker::flip_bits(int n) {
  if (!may_lose_logs(n)) return;
  const bool running = random_.chance(0.3);
  if (!running) c_.kill(n);
  std::string what;
  for (auto i = 1 + random_.below(3); i > 0; --i)
    if (auto hit = damage_logs(c_.box(n), random_); !hit.empty()) what += (what.empty() ? "" : ", ") + hit;
  if (!what.empty()) {
    count(running ? "flip_bits of a running node" : "flip_bits");
    c_.ground().tell("damage on n" + std::to_string(n) + ": " + what);
    harmed_[n] = {c_.disk_of(n).disk, c_.disk_of(n).starts};
  }
  if (!running) {
    c_.disk_of(n).distrusted |= random_.chance(0.7);
    later(100ms, 4s, [this, n] { start(n); });
  }
  // Somebody looks, sooner or later.
  later(3s, 8s, [this, n] {
    if (!harmed_.contains(n) || c_.disk_of(n).distrusted) return;
    c_.disk_of(n).distrusted = true;
    c_.kill(n);
    start(n);
  });
}

/// A voter that is not sure of its promises must not vote. It ends, says why, and its operator brings another disk.
void weather_maker::damage_metadata(int n) {
  if (unreadable_.contains(n) || !may_lose_logs(n) || !may_lose_vote()) return;
  c_.kill(n);
  const auto what = sim::damage_metadata(c_.disk_of(n), random_);
  if (what.empty()) return later(0ms, 3s, [this, n] { start(n); });
  count("damage_metadata");
  c_.ground().tell("damage on n" + std::to_string(n) + ": " + what);
  harmed_[n] = {c_.disk_of(n).disk, c_.disk_of(n).starts};
  c_.start(n);
  if (c_.runs(n)) c_.judge().broken("F19: n" + std::to_string(n) + " starts without " + what);
  unreadable_.insert(n);
  later(500ms, 5s, [this, n] {
    if (!unreadable_.erase(n)) return;
    c_.kill(n);
    c_.replace_disk(n);
    start(n);
  });
}

}  // namespace troupe::sim
