#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "actors/controller/cluster_controller.hpp"
#include "actors/controller/node_agent.hpp"
#include "runtime/base/rules.hpp"
#include "tests/unit/controller/cluster_fixture.hpp"

/// Does a lease ever let two nodes serve one shard? The real controller and agents, with clocks that drift up to 9.5 %,
/// pauses, restarts, cuts, stale metadata and messages that are lost or late; around them a small model of the quorum
/// (three voters, any of which may become the controller) that keeps to R9's rules for votes. One step is 10 ms of
/// real time; each process sees only its own clock.
namespace troupe {
namespace {

using namespace std::chrono_literals;

constexpr int voters = 3, hosts = 2;
constexpr std::uint32_t shards = 4;
constexpr auto tick = 10ms;

class storm {
public:
  struct faults {
    bool steps_down{true};
    bool quiet_after_start{true};
  };

  storm(std::uint64_t seed, faults f) : random_{seed}, faults_{f} {
    for (int i = 0; i < voters + hosts; ++i) {
      auto& c = clocks_[i];
      c.rate = random_.chance(0.5) ? (random_.chance(0.5) ? 1.095 : 0.905) : 0.905 + 0.19 * fraction();
      c.offset = std::chrono::hours{1 + random_.below(1000)};
    }
    images_.push_back(std::make_shared<const metadata_image>());
    for (int v = 0; v < voters; ++v) {
      quorum_.push_back({core(v)});
      quorum_[v].heard_leader = at(v) - 5s;
      quorum_[v].campaign = at(v) + some(1s, 2s);
    }
    for (int h = 0; h < hosts; ++h) start_host(h);
  }

  /// Two that serve one shard at a time, or that are given it with one epoch: what is looked for.
  bool broken{false};
  long served{0}, moves{0}, elections{0};

  void step() {
    now_ += tick;
    for (int i = 0; i < voters + hosts; ++i)
      if (up(i) && random_.chance(0.0012)) clocks_[i].paused_until = now_ + some(200ms, 8s);
    for (int v = 0; v < voters; ++v)
      if (random_.chance(0.0004)) cut_until_[v] = now_ + some(1s, 8s);
    if (now_ >= island_.until && random_.chance(0.0005))
      island_ = {static_cast<int>(random_.below(voters)), static_cast<int>(random_.below(hosts)), now_ + some(2s, 15s)};
    deliver();
    for (int v = 0; v < voters; ++v)
      if (up(v)) run_voter(v);
    for (int h = 0; h < hosts; ++h)
      if (up(voters + h)) run_host(h);
    look();
  }

private:
  using clock_offset = boot_clock::duration;
  struct clock {
    double rate{1};
    clock_offset offset{}, paused_until{};
  };
  struct voter {
    std::unique_ptr<cluster_controller> core;
    int role{0};  ///< 0 follows, 1 asks for votes, 2 leads
    int term{0}, voted{0}, votes{0};
    instant heard_leader, campaign, next_round, next_tick;
    std::optional<instant> no_op_at;  ///< when it is durable at a majority, if that can be reached
    std::map<int, instant> answered;  ///< by voter: when the newest round that it answered was sent
    std::optional<cluster_controller::propose> waiting;
    std::map<std::uint64_t, int> askers;  ///< ticket to host
    std::uint64_t tickets{0};
  };
  struct host {
    std::unique_ptr<node_agent> agent;
    std::uint64_t start{0};
    std::size_t seen{0};  ///< of `images_`
    clock_offset stale_until{};
    instant next_tick;
  };

  struct round {
    int term;
    instant sent;
  };
  struct round_answer {
    int term;
    instant sent;
  };
  struct ask_vote {
    int term;
  };
  struct vote {
    int term;
  };
  using body = std::variant<round, round_answer, ask_vote, vote, registration, heartbeat, registration_answer,
                            heartbeat_answer, shard_released, cluster_controller::release_shard>;
  struct message {
    clock_offset at;
    int from, to;
    body what;
  };

  double fraction() { return static_cast<double>(random_.below(1'000'000)) / 1e6; }
  clock_offset some(clock_offset least, clock_offset most) {
    return least + clock_offset{random_.below(static_cast<std::uint64_t>((most - least).count()))};
  }
  bool up(int i) const { return now_ >= clocks_.at(i).paused_until; }
  instant at(int i) const {
    const auto& c = clocks_.at(i);
    return instant{c.offset + clock_offset{static_cast<std::int64_t>(static_cast<double>(now_.count()) * c.rate)}};
  }
  static std::unique_ptr<cluster_controller> core(int v) {
    // The voters are no nodes here, so a host's silence is fenced by the controller's report alone.
    cluster_controller::options how{.self = node_id{100 + v}, .kinds = {{"session", shards}}};
    how.shard_settle = 5s;
    return std::make_unique<cluster_controller>(std::move(how), controller{{}, test::counted_ids()});
  }

  void send(int from, int to, body what) {
    if (now_ < island_.until && on_island(from) != on_island(to)) return;
    const bool quorum_link = from < voters && to < voters;
    if (quorum_link && (now_ < cut_until_[from] || now_ < cut_until_[to])) return;
    if (random_.chance(0.04)) return;
    net_.push_back({now_ + (random_.chance(0.9) ? some(0ms, 30ms) : some(0ms, 3s)), from, to, std::move(what)});
  }
  bool on_island(int i) const { return i == island_.voter || i == voters + island_.host; }
  void deliver() {
    for (std::size_t i = 0; i < net_.size();) {
      if (net_[i].at > now_ || !up(net_[i].to)) {
        ++i;
        continue;
      }
      const auto m = std::move(net_[i]);
      net_[i] = std::move(net_.back());
      net_.pop_back();
      std::visit([&](const auto& what) { received(m.from, m.to, what); }, m.what);
    }
  }

  // -- the quorum -----------------------------------------------------------------------------------------

  instant contact(int v) const {
    const auto& q = quorum_[static_cast<std::size_t>(v)];
    instant best{};  // with ourselves, one other is a majority of three
    for (const auto& [other, sent] : q.answered) best = std::max(best, sent);
    return best;
  }
  bool may_commit(int v) const {
    return quorum_[static_cast<std::size_t>(v)].role == 2 && quorum_[static_cast<std::size_t>(v)].term == term_ &&
           at(v) - contact(v) < 800ms;
  }
  void follow(int v) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (q.role == 2) take(v, q.core->deposed());
    q.waiting.reset();
    q.role = 0;
    q.campaign = at(v) + some(1s, 2s);
  }
  void run_voter(int v) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    const auto now = at(v);
    if (random_.chance(0.0006)) {  // restarted
      follow(v);
      q.core = core(v);
      q.heard_leader = faults_.quiet_after_start ? now : now - 1h;
      if (!faults_.quiet_after_start) q.campaign = now + some(0ms, 300ms);
    }
    if (q.role == 2) {
      if (now >= q.next_round) {
        q.next_round = now + 150ms;
        for (int other = 0; other < voters; ++other)
          if (other != v) send(v, other, round{q.term, now});
      }
      if (faults_.steps_down && !q.answered.empty() && now - contact(v) > 1500ms) {
        q.heard_leader = now;
        return follow(v);
      }
      if (!q.answered.empty()) q.core->quorum_heard(contact(v));
      if (random_.chance(0.0003))  // something between them resets and refuses, and the host lives
        take(v, q.core->link_broken(now, host_[static_cast<int>(random_.below(hosts))].agent->self(), true, true));
      commit(v);
      if (now >= q.next_tick) {
        q.next_tick = now + 50ms;
        take(v, q.core->tick(now));
      }
    } else if (now >= q.campaign) {
      q.campaign = now + some(1s, 2s);
      if (now - q.heard_leader < 1s) return;
      q.role = 1;
      q.term = q.voted = term_ = std::max(term_, q.term) + 1;
      q.votes = 1;
      for (int other = 0; other < voters; ++other)
        if (other != v) send(v, other, ask_vote{q.term});
    }
  }
  void lead(int v) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    q.role = 2;
    ++elections;
    q.answered.clear();
    q.next_round = q.next_tick = at(v);
    q.no_op_at = at(v) + (random_.chance(0.8) ? some(0ms, 50ms) : some(0ms, 4s));
    // It has all that was decided in its log, but knows of the last of it only with its no-op.
    const auto unaware = images_.size() > 20 && random_.chance(0.5) ? random_.below(8) : 0;
    take(v, q.core->elected(at(v), images_[images_.size() - 1 - unaware],
                            meta_offset{images_.back()->applied.value() + 1}));
  }
  void decide(int v, std::shared_ptr<metadata_image> image) {
    for (std::uint32_t s = 0; s < shards; ++s) moves += owner(*image, s) != owner(*images_.back(), s) ? 1 : 0;
    if (const auto kind = image->shards.find("session"); kind != image->shards.end())
      for (std::uint32_t s = 0; s < shards; ++s) {
        const auto& now = kind->second[s];
        broken |= owners_.emplace(std::pair{s, now.epoch}, now.owner).first->second != now.owner;
      }
    images_.push_back(image);
    take(v, quorum_[static_cast<std::size_t>(v)].core->applied(at(v), image));
  }
  static node_id owner(const metadata_image& image, std::uint32_t shard) {
    const auto kind = image.shards.find("session");
    return kind == image.shards.end() ? node_id{-1} : kind->second[shard].owner;
  }
  void commit(int v) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (q.no_op_at && may_commit(v) && at(v) >= *q.no_op_at) {
      q.no_op_at.reset();
      auto image = std::make_shared<metadata_image>(*images_.back());
      image->pass(meta_offset{image->applied.value() + 1});
      decide(v, std::move(image));
    }
    while (q.waiting && !q.no_op_at && may_commit(v)) {
      const auto batch = *std::exchange(q.waiting, {});
      auto image = std::make_shared<metadata_image>(*images_.back());
      image->apply(meta_offset{image->applied.value() + 1}, batch.records);
      decide(v, std::move(image));
      take(v, q.core->proposal_ended(at(v), batch.batch, cluster_controller::proposal_outcome::done));
    }
  }
  void received(int from, int v, const round& m) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (m.term < q.term || (q.role == 2 && m.term == q.term)) return;
    q.term = m.term;
    follow(v);
    q.heard_leader = at(v);
    send(v, from, round_answer{m.term, m.sent});
  }
  void received(int from, int v, const round_answer& m) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (q.role == 2 && m.term == q.term) q.answered[from] = std::max(q.answered[from], m.sent);
  }
  void received(int from, int v, const ask_vote& m) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (m.term <= q.voted || m.term < q.term || q.role == 2 || at(v) - q.heard_leader < 1s) return;
    q.voted = q.term = m.term;
    follow(v);
    send(v, from, vote{m.term});
  }
  void received(int, int v, const vote& m) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (q.role == 1 && m.term == q.term && ++q.votes == 2) lead(v);
  }

  // -- the controller, where it leads ---------------------------------------------------------------------

  void take(int v, const cluster_controller::effects& todo) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    for (const auto& e : todo) {
      if (const auto* p = std::get_if<cluster_controller::propose>(&e)) q.waiting = *p;
      if (const auto* r = std::get_if<cluster_controller::release_shard>(&e)) send(v, host_of(r->owner.node), *r);
      if (const auto* a = std::get_if<cluster_controller::answer>(&e)) {
        const int to = q.askers[a->to];
        q.askers.erase(a->to);
        if (const auto* r = std::get_if<registration_answer>(&a->what)) send(v, to, *r);
        if (const auto* h = std::get_if<heartbeat_answer>(&a->what)) send(v, to, *h);
      }
    }
  }
  template <class Say>
  void to_core(int from, int v, Say say) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (q.role != 2) return;
    q.askers[++q.tickets] = from;
    take(v, say(*q.core, at(v), q.tickets));
  }
  void received(int from, int v, const registration& m) {
    to_core(from, v, [&](auto& core, instant now, auto ticket) { return core.registered(now, ticket, m); });
  }
  void received(int from, int v, const heartbeat& m) {
    to_core(from, v, [&](auto& core, instant now, auto ticket) { return core.heard(now, ticket, m); });
  }
  void received(int, int v, const shard_released& m) {
    auto& q = quorum_[static_cast<std::size_t>(v)];
    if (q.role == 2) take(v, q.core->released(at(v), m));
  }

  // -- the hosts ------------------------------------------------------------------------------------------

  static int host_of(node_id id) { return voters + id.value() - 1; }
  void start_host(int h) {
    auto& x = host_[h];
    registration self{"", node_id{h + 1}, test::disk_of(h + 1), ++x.start, true};
    node_agent::options how{.self = std::move(self)};
    x.agent = std::make_unique<node_agent>(std::move(how), random_source{random_()}, at(voters + h));
    x.next_tick = at(voters + h);
    released_[h].clear();
    take_host(h, x.agent->recovered(at(voters + h), true, {}));
  }
  void run_host(int h) {
    auto& x = host_[h];
    const auto now = at(voters + h);
    if (random_.chance(0.0003)) start_host(h);  // killed and started: its disk's lock was free
    if (random_.chance(0.0008)) x.stale_until = now_ + some(1s, 12s);
    const bool cut_off = now_ < island_.until && h == island_.host;
    if (now_ >= x.stale_until && !cut_off && random_.chance(0.2) && x.seen + 1 < images_.size()) {
      x.seen = images_.size() - 1;
      take_host(h, x.agent->applied(now, *images_[x.seen]));
    }
    if (now >= x.next_tick) {
      x.next_tick = now + 50ms;
      take_host(h, x.agent->tick(now));
    }
  }
  void take_host(int h, const node_agent::effects& todo) {
    for (const auto& e : todo)
      for (int v = 0; v < voters; ++v) {
        if (const auto* r = std::get_if<node_agent::send_registration>(&e)) send(voters + h, v, r->message);
        const auto* b = std::get_if<node_agent::send_heartbeat>(&e);
        if (b && !b->via) send(voters + h, v, b->message);
      }
  }
  void received(int, int to, const registration_answer& m) {
    auto& x = host_[to - voters];
    take_host(to - voters, x.agent->received(at(to), m));
  }
  void received(int, int to, const heartbeat_answer& m) {
    auto& x = host_[to - voters];
    take_host(to - voters, x.agent->received(at(to), m));
  }
  /// Stops serving first, then says so.
  void received(int from, int to, const cluster_controller::release_shard& m) {
    const int h = to - voters;
    if (m.owner != host_[h].agent->self()) return;
    released_[h].insert({m.shard, m.epoch});
    send(to, from, shard_released{m.owner, m.kind, m.shard, m.epoch});
  }

  bool serves(int h, std::uint32_t shard) {
    const auto& x = host_[h];
    const auto kind = images_[x.seen]->shards.find("session");
    if (!up(voters + h) || kind == images_[x.seen]->shards.end()) return false;
    const auto& s = kind->second[shard];
    return s.owner == x.agent->self().node && s.active && !released_[h].contains({shard, s.epoch}) &&
           x.agent->has_lease(at(voters + h));
  }
  void look() {
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      int serving = 0;
      for (int h = 0; h < hosts; ++h) serving += serves(h, shard) ? 1 : 0;
      served += serving;
      broken |= serving > 1;
    }
  }

  random_source random_;
  faults faults_;
  clock_offset now_{};
  std::map<int, clock> clocks_;
  std::map<int, clock_offset> cut_until_;
  /// One voter and one host that reach only each other.
  struct {
    int voter{0}, host{0};
    clock_offset until{};
  } island_;
  std::vector<voter> quorum_;
  std::map<int, host> host_;
  std::map<int, std::set<std::pair<std::uint32_t, std::int32_t>>> released_;  ///< shard and epoch
  std::map<std::pair<std::uint32_t, std::int32_t>, node_id> owners_;          ///< by shard and epoch
  std::vector<std::shared_ptr<const metadata_image>> images_;
  std::vector<message> net_;
  int term_{0};
};

struct found {
  int seeds{0}, broken{0};
  long served{0}, moves{0}, elections{0};
};

constexpr int steps = 12'000;  // two minutes

found try_seeds(rule without, int seeds, storm::faults faults, bool until_found) {
  found f;
  removed_rule = without;
  for (int seed = 1; seed <= seeds && !(until_found && f.broken > 0); ++seed) {
    storm s{static_cast<std::uint64_t>(seed), faults};
    for (int i = 0; i < steps && !s.broken; ++i) s.step();
    ++f.seeds;
    f.broken += s.broken ? 1 : 0;
    f.served += s.served;
    f.moves += s.moves;
    f.elections += s.elections;
  }
  removed_rule = rule::count;
  return f;
}

void say(const char* name, const found& f) {
  std::printf("%-46s seeds %4d  broken %3d  served %4.1f %%  moves %5ld  elections %5ld\n", name, f.seeds, f.broken,
              100.0 * static_cast<double>(f.served) / (static_cast<double>(f.seeds) * shards * steps), f.moves,
              f.elections);
}

TEST(LeaseStorm, NeverDoTwoNodesServeOneShard) {
  const auto f = try_seeds(rule::count, 60, {}, false);
  say("all rules", f);
  EXPECT_EQ(f.broken, 0);
  EXPECT_GT(f.moves, 300);
  EXPECT_GT(f.elections, 500);
  EXPECT_GT(f.served, 60L * shards * steps / 6);
}

struct removal {
  rule without;
  const char* name;
  storm::faults faults{};
};

class LeaseRule : public ::testing::TestWithParam<removal> {};

TEST_P(LeaseRule, IsMissedWhenItIsRemoved) {
  const auto& [without, name, faults] = GetParam();
  const auto f = try_seeds(without, 400, faults, true);
  say(name, f);
  EXPECT_EQ(f.broken, 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, LeaseRule,
    ::testing::Values(removal{rule::grant_needs_fresh_metadata, "grants to a node with stale metadata"},
                      removal{rule::grant_needs_quorum, "grants without a majority, never steps down", {false, true}},
                      removal{rule::lease_from_sending, "lease counted from the answer's arrival"},
                      removal{rule::active_after_lease, "new owner active when assigned"},
                      removal{rule::new_controller_heard_all, "new controller takes nodes as long silent"},
                      removal{rule::controller_waits_for_no_op, "new controller works with what it knew"},
                      removal{rule::gone_needs_both, "one node's word ends a lease"},
                      removal{rule::handoff_stops_first, "planned move without the old owner's word"}),
    [](const auto& row) { return "Rule" + std::to_string(static_cast<int>(row.param.without)); });

}  // namespace
}  // namespace troupe
