#include <algorithm>

#include "actors/controller/cluster_controller.hpp"
#include "runtime/base/rules.hpp"

/// Shards without a log (§12). A lost owner: assigned at once, active when the old owner cannot serve any more. A move:
/// the old owner stops first.
namespace troupe {

namespace {

/// The owner's plan for one shard that needs another.
node_id place_one(const std::string& kind, const std::vector<shard_state>& shards, std::size_t shard,
                  const std::vector<node_info>& nodes) {
  if (nodes.empty()) return node_id{-1};
  std::vector<node_id> present;
  for (const auto& s : shards) present.push_back(s.owner);
  present[shard] = node_id{-1};
  return place_shards(kind, present, nodes)[shard];
}

}  // namespace

std::vector<node_info> cluster_controller::place_for_shards(const metadata_image& image) const {
  std::vector<node_info> nodes, drained;
  for (const auto& [id, node] : image.nodes)
    if (node.state == node_state::active && !node.leaving && node.weight > 0 && !fencing_.contains(id))
      (node.orders.drained ? drained : nodes).push_back(node);
  // Better there than nowhere.
  return nodes.empty() ? drained : nodes;
}

bool cluster_controller::lease_over(const life& l, instant now) const {
  if (l.node.value() < 0 || ended_.contains(l) || !holds(rule::active_after_lease)) return true;
  const auto at = granted_.find(l);
  // Our predecessor may have granted until our election.
  const auto last = at != granted_.end()                    ? at->second
                    : holds(rule::new_controller_heard_all) ? elected_at_
                                                            : now - options_.lease * 10;
  return now - last >= options_.lease * options_.lease_wait_percent / 100;
}

/// It has said itself that its metadata has the record at `at`: what that took from it, it has stopped serving,
/// whatever lease it has been given since.
bool cluster_controller::knows(const life& l, meta_offset at) const {
  const auto known = nodes_.find(l.node);
  return at.value() >= 0 && known != nodes_.end() && known->second.epoch == l.epoch && known->second.applied >= at;
}

/// What becomes of a shard whose owner lost it without a word.
shard_state cluster_controller::handed_on(const metadata_image& image, const shard_state& s, node_id to,
                                          instant now) const {
  auto former = s.former;
  if (s.active && s.owner.value() >= 0) {
    const auto* node = image.node(s.owner);
    former = {s.owner, node == nullptr ? -1 : node->node_epoch};
  }
  const bool active = to.value() >= 0 && lease_over(former, now);
  return {to, s.epoch + 1, active, active ? life{} : former, meta_offset{-1}};
}

/// The node is on its way out, and already not among those that may own.
void cluster_controller::leave_shards(draft& d, const node_info& loser, instant now) {
  const auto nodes = place_for_shards(d.image());
  for (const auto& [kind, shards] : d.image().shards) {
    std::vector<node_id> present;
    for (const auto& s : shards) present.push_back(s.owner == loser.id ? node_id{-1} : s.owner);
    const auto owners = nodes.empty() ? present : place_shards(kind, present, nodes);
    for (std::uint32_t i = 0; i < shards.size(); ++i)
      if (shards[i].owner == loser.id) d.set(kind, i, handed_on(d.image(), shards[i], owners[i], now));
  }
}

void cluster_controller::keep_shards(draft& d, batch& b, instant now, effects& out) {
  if (full(d)) return;
  for (const auto& kind : options_.kinds)
    if (!d.image().shards.contains(kind.name)) {
      shards_changed all{kind.name, kind.shards, {}};
      for (std::uint32_t i = 0; i < kind.shards; ++i) all.changes.push_back({i, {}});
      d.add(std::move(all));
    }
  d.flush();

  const auto& image = d.image();
  const auto nodes = place_for_shards(image);
  std::set<life> formers;
  for (const auto& [kind, shards] : image.shards) {
    std::vector<node_id> present;
    for (const auto& s : shards) present.push_back(s.owner);
    std::optional<std::vector<node_id>> owners;
    for (std::uint32_t i = 0; i < shards.size(); ++i) {
      const auto& s = shards[i];
      formers.insert(s.former);
      if (s.owner.value() < 0) {
        if (nodes.empty()) continue;
        if (!owners) owners = place_shards(kind, present, nodes);
        d.set(kind, i, handed_on(image, s, (*owners)[i], now));
      } else if (!s.active && (lease_over(s.former, now) || knows(s.former, s.since))) {
        d.set(kind, i, {s.owner, s.epoch, true, {}, s.since});
      }
    }
  }
  move_shards(d, b, now, out);

  // Only a lease that may still run, or a life that somebody waits for, is worth remembering.
  const auto longest = options_.lease * options_.lease_wait_percent / 100;
  std::erase_if(granted_, [&](const auto& g) { return now - g.second >= longest; });
  std::erase_if(ended_, [&](const life& l) {
    const auto* node = image_->node(l.node);
    return (node == nullptr || node->node_epoch != l.epoch) && !formers.contains(l);
  });
}

// -- planned moves ----------------------------------------------------------------------------------------

cluster_controller::effects cluster_controller::released(instant now, const shard_released& r) {
  effects out;
  now_ = now;
  const auto* node = elected_ ? image_->node(r.from.node) : nullptr;
  const auto kind = image_->shards.find(r.kind);
  if (node == nullptr || node->node_epoch != r.from.epoch || kind == image_->shards.end() ||
      r.shard >= kind->second.size())
    return out;
  const auto& s = kind->second[r.shard];
  if (s.owner != r.from.node || s.epoch != r.epoch) return out;
  released_.insert_or_assign({r.kind, r.shard}, r);
  drive(now, out);
  return out;
}

void cluster_controller::move_shards(draft& d, batch& b, instant now, effects& out) {
  const auto& image = d.image();
  const auto nodes = place_for_shards(image);
  const auto may_own = [&](node_id id) { return std::ranges::find(nodes, id, &node_info::id) != nodes.end(); };
  // Still as it was when the move began; otherwise there is nothing left to move.
  const auto current = [&](const shard_id& id, node_id owner, std::int32_t epoch) {
    const auto& s = image.shards.at(id.kind)[id.shard];
    return s.owner == owner && s.epoch == epoch;
  };

  for (auto at = released_.begin(); at != released_.end(); at = released_.erase(at)) {
    const auto& [id, r] = *at;
    if (!current(id, r.from.node, r.epoch)) continue;
    const auto& shards = image.shards.at(id.kind);
    const auto move = moves_.find(id);
    // Nobody remembers where it was to go: a former controller asked for it. It must go on somewhere.
    const auto to = move != moves_.end() && may_own(move->second.to) ? move->second.to
                                                                     : place_one(id.kind, shards, id.shard, nodes);
    auto s = shards[id.shard];
    d.set(id.kind, id.shard, {to.value() < 0 ? s.owner : to, s.epoch + 1, s.active, s.former, {}});
  }

  for (auto at = moves_.begin(); at != moves_.end();) {
    auto& [id, move] = *at;
    const bool given_up = now >= move.give_up;
    if (given_up) {
      b.notes.push_back({noted::event::shard_move_given_up, move.from.node, {}});
      next_moves_at_ = std::max(next_moves_at_, now + options_.shard_settle);
      drain_moves_at_ = now + options_.handoff_wait;
    }
    if (given_up || !current(id, move.from.node, move.epoch) || !may_own(move.to)) {
      at = moves_.erase(at);
      continue;
    }
    if (now >= move.say_again) {
      move.say_again = now + release_every;
      out.push_back(release_shard{move.from, id.kind, id.shard, move.epoch});
    }
    ++at;
  }

  std::vector<life> owners;
  for (const auto& n : nodes) owners.push_back({n.id, n.node_epoch});
  if (owners != shard_owners_) {
    shard_owners_ = std::move(owners);
    next_moves_at_ = now + options_.shard_settle;
  }
  const bool drains =
      now >= drain_moves_at_ && std::ranges::any_of(image.nodes, [](const auto& n) { return n.second.gives_away(); });
  const bool settled = now >= next_moves_at_;
  if (!moves_.empty() || nodes.empty() || (!drains && !settled)) return;
  for (const auto& [kind, shards] : image.shards) {
    std::vector<node_id> present;
    for (const auto& s : shards) present.push_back(s.owner);
    const auto wanted = place_shards(kind, present, nodes);
    for (std::uint32_t i = 0; i < shards.size() && moves_.size() < options_.shard_moves_max; ++i) {
      const auto& s = shards[i];
      const auto* owner = image.node(s.owner);
      if (wanted[i] == s.owner || owner == nullptr || !owner->serves() || !s.active) continue;
      if (!settled && !owner->gives_away()) continue;
      if (!holds(rule::handoff_stops_first)) {
        d.set(kind, i, {wanted[i], s.epoch + 1, true, {}, {}});
        continue;
      }
      const life from{s.owner, owner->node_epoch};
      moves_[{kind, i}] = {wanted[i], from, s.epoch, now + options_.handoff_wait, now + release_every};
      out.push_back(release_shard{from, kind, i, s.epoch});
    }
  }
  if (settled && moves_.empty()) next_moves_at_ = instant::max();
}

}  // namespace troupe
