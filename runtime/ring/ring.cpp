#include "runtime/ring/ring.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/hash64.hpp"

namespace troupe {

namespace {

constexpr std::uint32_t no_node = ~std::uint32_t{0};

/// Two numbers as one point of the circle.
std::uint64_t point_of(std::uint64_t what, std::uint64_t index) {
  return mix64(what ^ mix64(index + 0x9e3779b97f4a7c15));
}

}  // namespace

/// One place in the list of every shard (all owners, all second copies, …): who takes it.
///
/// Each step moves only what it must: first what has no node, then what a node below its share would have by right,
/// then what is above a bound, last what a node needs to reach its lower bound.
class ring::level {
public:
  /// `open`: for each shard the nodes that may take it, by preference. `seats`: who has it now, or `no_node`.
  level(const ring& in, const std::vector<places>& open, places& seats)
      : ring_{in}, open_{open}, seats_{seats}, load_(in.nodes_.size()) {
    for (std::size_t s = 0; s < seats_.size(); ++s) {
      if (rank(s, seats_[s]) == open_[s].size()) seats_[s] = no_node;
      if (seats_[s] != no_node) ++load_[seats_[s]];
    }
  }

  void settle() {
    for (std::size_t s = 0; s < seats_.size(); ++s)
      if (seats_[s] == no_node) move(s, roomy(s));
    all_home();
    // Without racks one round is enough; with them bounds may be out of reach, and a round may make room for the next.
    for (int round = 0; round < 8; ++round) {
      const auto before = seats_;
      for (std::uint32_t n = 0; n < load_.size(); ++n) shed(n);
      for (std::uint32_t n = 0; n < load_.size(); ++n) fill(n);
      all_home();
      if (seats_ == before) return;
    }
  }

private:
  // A node's share is shards x weight / sum of weights: the comparisons below are multiplied out.
  std::uint64_t wanted(std::uint32_t n) const { return seats_.size() * ring_.nodes_[n].weight; }
  std::uint64_t most(std::uint32_t n) const {
    const auto per = ring_.weight_ * 100;
    return (wanted(n) * ring_.settings_.load_max_percent + per - 1) / per;
  }
  std::uint64_t least(std::uint32_t n) const {
    return wanted(n) * 100 / (ring_.weight_ * ring_.settings_.load_max_percent);
  }
  bool below_share(std::uint32_t n) const { return load_[n] * ring_.weight_ < wanted(n); }
  bool above_share(std::uint32_t n) const { return load_[n] * ring_.weight_ > wanted(n); }

  std::size_t rank(std::size_t shard, std::uint32_t n) const {
    return static_cast<std::size_t>(std::find(open_[shard].begin(), open_[shard].end(), n) - open_[shard].begin());
  }
  void move(std::size_t shard, std::uint32_t to) {
    if (seats_[shard] != no_node) --load_[seats_[shard]];
    if (to != no_node) ++load_[to];
    seats_[shard] = to;
  }

  /// The first by preference with room; if racks leave only full ones, the least full.
  std::uint32_t roomy(std::size_t shard) const {
    auto best = no_node;
    for (auto n : open_[shard]) {
      if (load_[n] < most(n)) return n;
      if (best == no_node || load_[n] * wanted(best) < load_[best] * wanted(n)) best = n;
    }
    return best;
  }

  /// Breaks no bound, and ends because each move brings one more shard home: what is settled stays settled.
  void all_home() {
    for (auto moved = true; moved;) {
      moved = false;
      for (std::size_t s = 0; s < seats_.size(); ++s) moved |= send_home(s);
    }
  }
  bool send_home(std::size_t shard) {
    if (open_[shard].empty()) return false;
    const auto home = open_[shard].front(), now = seats_[shard];
    if (home == now || !below_share(home) || load_[now] <= least(now)) return false;
    move(shard, home);
    return true;
  }

  void shed(std::uint32_t n) {
    if (load_[n] <= most(n)) return;
    std::vector<std::pair<std::size_t, std::size_t>> own;  // (rank of n, shard): the least preferred go first
    for (std::size_t s = 0; s < seats_.size(); ++s)
      if (seats_[s] == n) own.emplace_back(rank(s, n), s);
    std::sort(own.begin(), own.end(), std::greater<>{});
    for (auto [_, shard] : own) {
      if (load_[n] <= most(n)) return;
      const auto to = roomy(shard);
      if (load_[to] < most(to)) move(shard, to);
    }
  }

  void fill(std::uint32_t n) {
    if (load_[n] >= least(n)) return;
    std::vector<std::pair<std::size_t, std::size_t>> others;  // (rank of n, shard): those that prefer it most go first
    for (std::size_t s = 0; s < seats_.size(); ++s)
      if (const auto r = rank(s, n); seats_[s] != n && r < open_[s].size()) others.emplace_back(r, s);
    std::sort(others.begin(), others.end());
    for (auto [_, shard] : others) {
      if (load_[n] >= least(n)) return;
      if (above_share(seats_[shard])) move(shard, n);
    }
  }

  const ring& ring_;
  const std::vector<places>& open_;
  places& seats_;
  std::vector<std::uint64_t> load_;
};

ring::ring(std::vector<ring_node> nodes, settings s) : nodes_{std::move(nodes)}, settings_{s} {
  TROUPE_CHECK(settings_.load_max_percent >= 100 && settings_.points_per_weight > 0);
  std::erase_if(nodes_, [](const ring_node& n) { return n.weight == 0; });
  std::sort(nodes_.begin(), nodes_.end(), [](const ring_node& a, const ring_node& b) { return a.id < b.id; });
  std::map<std::string_view, std::uint32_t> numbers;
  for (std::uint32_t place = 0; place < nodes_.size(); ++place) {
    const auto& n = nodes_[place];
    TROUPE_CHECK(place == 0 || nodes_[place - 1].id != n.id);
    racks_.push_back(numbers.try_emplace(n.rack, numbers.size()).first->second);
    weight_ += n.weight;
    const auto base = mix64(static_cast<std::uint64_t>(n.id.value()) + 1);
    for (std::uint64_t i = 0; i < std::uint64_t{n.weight} * settings_.points_per_weight; ++i)
      points_.push_back({point_of(base, i), place});
  }
  std::sort(points_.begin(), points_.end(), [](const point& a, const point& b) {
    return std::pair{a.at, a.node} < std::pair{b.at, b.node};
  });
}

std::vector<node_id> ring::owners(std::string_view kind, std::span<const node_id> present) const {
  std::vector<std::vector<node_id>> lists;
  lists.reserve(present.size());
  for (auto owner : present) lists.push_back({owner});
  std::vector<node_id> out;
  out.reserve(present.size());
  for (const auto& list : replicas(kind, lists, 1)) out.push_back(list.empty() ? nobody : list.front());
  return out;
}

std::vector<std::vector<node_id>> ring::replicas(std::string_view kind, std::span<const std::vector<node_id>> present,
                                                 std::size_t copies) const {
  const auto preference = preferences(kind, present.size());
  std::vector<places> had(present.size()), chosen(present.size()), open(present.size());
  for (std::size_t s = 0; s < present.size(); ++s)
    for (auto node : present[s]) had[s].push_back(place_of(node));

  for (std::size_t k = 0; k < std::min(copies, nodes_.size()); ++k) {
    places seats(present.size(), no_node);
    for (std::size_t s = 0; s < present.size(); ++s) {
      const auto taken = [&](std::uint32_t n) { return std::ranges::find(chosen[s], n) != chosen[s].end(); };
      // Only nodes of the racks that this shard uses least so far.
      const auto uses = [&](std::uint32_t n) {
        return std::ranges::count_if(chosen[s], [&](std::uint32_t c) { return racks_[c] == racks_[n]; });
      };
      auto fewest = static_cast<std::ptrdiff_t>(chosen[s].size());
      for (auto n : preference[s])
        if (!taken(n)) fewest = std::min(fewest, uses(n));
      open[s].clear();
      for (auto n : preference[s])
        if (!taken(n) && uses(n) == fewest) open[s].push_back(n);
      // Who had this place; if that one has moved up, a former holder that has lost its own place: it has the data.
      if (k < had[s].size() && !(had[s][k] != no_node && taken(had[s][k]))) {
        seats[s] = had[s][k];
      } else if (k < had[s].size()) {
        for (std::size_t former = 0; former < k && seats[s] == no_node; ++former)
          if (had[s][former] != no_node && !taken(had[s][former])) seats[s] = had[s][former];
      }
    }
    level{*this, open, seats}.settle();
    for (std::size_t s = 0; s < present.size(); ++s) chosen[s].push_back(seats[s]);
  }

  std::vector<std::vector<node_id>> out(present.size());
  for (std::size_t s = 0; s < present.size(); ++s)
    for (auto place : chosen[s]) out[s].push_back(nodes_[place].id);
  return out;
}

std::vector<ring::places> ring::preferences(std::string_view kind, std::size_t shards) const {
  std::vector<places> out(shards);
  std::vector<std::size_t> seen_for(nodes_.size(), shards);
  const auto base = hash64(kind);
  for (std::size_t s = 0; s < shards; ++s) {
    const auto from = point_of(base, s);
    auto at = std::lower_bound(points_.begin(), points_.end(), from,
                               [](const point& p, std::uint64_t value) { return p.at < value; });
    while (out[s].size() < nodes_.size()) {
      if (at == points_.end()) at = points_.begin();
      if (std::exchange(seen_for[at->node], s) != s) out[s].push_back(at->node);
      ++at;
    }
  }
  return out;
}

std::uint32_t ring::place_of(node_id id) const {
  const auto found = std::lower_bound(nodes_.begin(), nodes_.end(), id,
                                      [](const ring_node& n, node_id wanted) { return n.id < wanted; });
  if (found == nodes_.end() || found->id != id) return no_node;
  return static_cast<std::uint32_t>(found - nodes_.begin());
}

}  // namespace troupe
