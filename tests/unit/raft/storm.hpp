#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/raft/member.hpp"

namespace troupe::raft_test {

/// A quorum under a storm, in one thread: network, disks, clocks and chance come from one seed, and so does every
/// bound and how rough it gets. What happens is watched from outside, with the eyes of someone who sees all disks.
///
/// Checked: I15-I19; what is decided never changes; each command takes effect once; linear reads are not stale; no two
/// nodes may grant leases at once; a node alone neither leads on nor raises its term; who starts, starts from a sound
/// disk; once all is well again, commands are decided and everyone has them.
class storm {
public:
  explicit storm(std::uint64_t seed);
  /// What broke first, or nothing.
  std::string run();

  std::size_t decided() const { return decided_.size(); }
  std::size_t elections() const { return leaders_.size(); }

private:
  static constexpr std::int64_t ms = 1000;  // times are in microseconds

  struct member {
    raft_peer self;
    disk kept, memory;  // `memory`: as if all writes had been performed
    std::unique_ptr<raft> core;
    std::deque<raft::write> unwritten;
    raft_test::image image;
    std::uint64_t life{0};
    double rate{1};
    std::int64_t offset{0}, paused_until{0}, disk_free_at{0};
    bool slow_disk{false};
    int disks{1};
  };
  struct client {
    raft_client id;
    std::uint64_t acked{0};
    std::set<std::uint64_t> done;
    std::uint64_t window{1};
  };
  struct decision {
    raft_term term, in;
    std::uint64_t content{0}, hash{0};
    raft_outcome outcome{};
  };
  enum class fault { crash, crash_many, isolate, halves, link, pause, disk_speed, wipe, count };
  struct event {
    std::int64_t at;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const event& o) const { return std::pair{at, order} > std::pair{o.at, o.order}; }
  };

  void fail(const std::string& what);
  std::int64_t between(std::int64_t a, std::int64_t b);
  void in(std::int64_t delay, std::function<void()>);
  instant clock(const member&) const;
  /// At the member, in this life of it; later if it is paused.
  void at(int node, std::int64_t delay, std::function<raft::effects(member&)>);
  void perform(member&, raft::effects);
  void watch(member&);
  void watch_grants();
  void run_until(std::int64_t time);

  void start(int node);
  void crash(int node);
  void wipe(int node);
  bool may_wipe(int node) const;
  void tick(int node);

  void on(member&, raft::write&);
  void on(member&, raft::send&);
  void on(member&, raft::commit&);
  void on(member&, raft::install&);
  void on(member&, raft::proposed&);
  void on(member&, raft::read_ready&);
  void on(member&, raft::changed&) {}
  void on(member&, raft::leading&) {}
  void on(member&, raft::stepped_down&) {}
  void on(member&, raft::stop&);

  void client_turn(std::size_t);
  void admin_turn();
  raft::effects administer(member&);
  void fault_turn();
  void isolate(int node);
  void crash_and_return(int node);
  void cut(int from, int to, std::int64_t time);
  int some_node();
  int some_leader();
  void settle();

  random_source random_;
  raft_options options_;
  std::map<int, member> members_;
  std::vector<client> clients_;
  std::uint64_t client_ids_{0};
  std::priority_queue<event> events_;
  std::uint64_t order_{0};
  std::int64_t now_{0};
  std::map<std::pair<int, int>, int> cut_;
  bool stormy_{true};
  double loss_{0}, repeat_{0}, slow_message_{0};
  std::int64_t fault_gap_{1000 * ms}, client_gap_{300};
  double crash_chance_{0};
  std::array<std::int64_t, static_cast<std::size_t>(fault::count)> weights_{};
  std::int64_t weights_total_{0};
  int wipes_left_{1};
  bool churn_{false};

  std::string broken_;
  std::vector<decision> decided_;  // entry i is index i + 1
  raft_members decided_members_;
  raft_index decided_members_at_;
  std::map<raft_term, int> leaders_;
  std::map<std::pair<raft_peer, raft_term>, raft_peer> votes_;
  std::map<std::pair<raft_index, raft_term>, std::pair<raft_term, std::uint64_t>> entries_;
  std::map<std::pair<raft_client, std::uint64_t>, raft_index> effects_;
  raft_index answered_;  // everything up to here was told to somebody
  std::map<std::uint64_t, raft_index> reads_;
  std::uint64_t tokens_{0};
};

}  // namespace troupe::raft_test
