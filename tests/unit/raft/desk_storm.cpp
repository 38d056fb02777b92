#include "tests/unit/raft/desk_storm.hpp"

namespace troupe::raft_test {

using namespace std::chrono_literals;

namespace {

constexpr int steps = 60;
constexpr int plenty = 1'000'000;

raft_options options_for(random_source& random) {
  raft_options o;
  if (random.chance(0.7)) o.append_entries_max = 1;
  return o;
}

}  // namespace

desk_storm::desk_storm(std::uint64_t seed)
    : random_{seed},
      nodes_{random_.chance(0.5) ? 3 : 4 + below(2)},
      changes_{nodes_ == 4},
      desk_{nodes_, options_for(random_)} {
  for (int n = 1; n <= nodes_; ++n) together_.insert(n);
  desk_.lets = [this](const raft_message& m) { return lets(m); };
  for (int n = 1; n <= nodes_; ++n) entries_[n] = plenty;
  if (changes_) {
    desk_.elect(1);
    desk_.add(++nodes_);
    entries_[nodes_] = plenty;
    together_.insert(nodes_);
    desk_.change(1, peer(nodes_), raft::part::learner);
    desk_.beat(1);
  }
}

std::string desk_storm::run() {
  for (int i = 0; i < steps; ++i) {
    step();
    if (desk_.contradiction) return "decided, and then decided otherwise, at step " + std::to_string(i);
    if (!desk_.stopped.empty()) return "a node stopped at step " + std::to_string(i);
    if (!one_grants()) return "two nodes may grant leases at step " + std::to_string(i);
  }
  return {};
}

void desk_storm::step() {
  if (random_.chance(0.5)) deal();
  for (const int n : std::set<int>{desk_.slow})
    if (random_.chance(0.4)) {
      desk_.slow.erase(n);
      desk_.finish_writes(n);
      desk_.deliver();
    }
  const int who = leader();
  const auto dice = random_.below(100);
  if (dice < (who == 0 ? 70 : 20)) return campaign();
  if (dice >= 85 || who == 0) return crash_or_start();
  if (dice < 45) {
    for (auto beats = random_.chance(0.6) ? 1 : 5 + random_.below(10); beats > 0; --beats) desk_.beat(who);
  } else if (dice < 60) {
    desk_.propose(who, 1, "x", {++clients_, {}});
  } else if (dice < 75 && changes_) {
    change_members(who);
  } else if (dice < 82) {
    desk_.slow.insert(1 + below(nodes_));
  } else {
    desk_.compact(who);
  }
}

/// Who reaches whom, and how many messages with entries reach each, until the cards are dealt again.
void desk_storm::deal() {
  together_.clear();
  while (together_.size() <= static_cast<std::size_t>(nodes_ / 2)) together_.insert(1 + below(nodes_));
  for (int n = 1; n <= nodes_; ++n) {
    if (random_.chance(0.2)) together_.insert(n);
    const int some = below(5);  // two: one that does not fit and one that does
    entries_[n] = some < 3 ? some : plenty;
  }
}

bool desk_storm::lets(const raft_message& m) {
  const int from = m.from.node.value(), to = m.to.node.value();
  if (!together_.contains(from) || !together_.contains(to)) return false;
  const auto* a = std::get_if<raft_append>(&m.body);
  return a == nullptr || a->entries.empty() || --entries_[to] >= 0;
}

void desk_storm::campaign() {
  const int n = any(true);
  if (n == 0 || desk_[n].role() == raft::role_t::leader) return;
  constexpr std::chrono::milliseconds waits[] = {0ms, 300ms, 1100ms, 2001ms, 2001ms};
  desk_.pass(waits[random_.below(std::size(waits))]);
  together_.insert(n);
  desk_.tick(n);
  desk_.deliver();
}

/// Leaders die more often than others, and not many are down for long.
void desk_storm::crash_or_start() {
  if (const int down = any(false); down != 0 && random_.chance(0.7)) return desk_.start(down);
  const int who = leader();
  const int n = who != 0 && random_.chance(0.5) ? who : any(true);
  if (n == 0) return;
  desk_.crash(n);
  if (random_.chance(0.3)) desk_.start(n);
}

void desk_storm::change_members(int who) {
  const auto subject = peer(1 + below(nodes_));
  constexpr raft::part parts[] = {raft::part::voter, raft::part::voter, raft::part::none, raft::part::learner};
  desk_.change(who, subject, parts[random_.below(std::size(parts))]);
}

int desk_storm::leader() {
  std::vector<int> all;
  for (int n = 1; n <= nodes_; ++n)
    if (desk_.up(n) && desk_[n].role() == raft::role_t::leader) all.push_back(n);
  return all.empty() ? 0 : all[random_.below(all.size())];
}

int desk_storm::any(bool up) {
  std::vector<int> all;
  for (int n = 1; n <= nodes_; ++n)
    if (desk_.up(n) == up) all.push_back(n);
  return all.empty() ? 0 : all[random_.below(all.size())];
}

bool desk_storm::one_grants() {
  int granting = 0;
  for (int n = 1; n <= nodes_; ++n) {
    if (!desk_.up(n)) continue;
    const auto contact = desk_[n].majority_contact(desk_.now);
    granting += contact && desk_.now - *contact < 800ms ? 1 : 0;
  }
  return granting <= 1;
}

}  // namespace troupe::raft_test
