#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/raft/member.hpp"

namespace troupe::raft_test {

/// A quorum on a desk: nothing moves but by the test's hand, one clock for all. Writes are durable at once, except at
/// nodes in `slow`.
class desk {
public:
  explicit desk(int voters, raft_options = {});

  raft& operator[](int node) { return *members_.at(node).core; }
  bool up(int node) const { return members_.contains(node) && members_.at(node).core; }
  disk& disk_of(int node) { return members_.at(node).kept; }
  std::vector<raft::write>& writing(int node) { return members_.at(node).unwritten; }

  /// A node with an empty disk.
  void add(int node, int disk = 1);
  void crash(int node);  ///< unfinished writes are lost
  void start(int node);
  void finish_writes(int node);

  void tick(int node);
  void pass(std::chrono::milliseconds time) { now += time; }
  /// Delivers, also what comes of it, until nothing is left; what `lets` refuses is lost.
  void deliver();
  void deliver_one(const raft_message&);
  /// Time passes in silence until `node` leads.
  void elect(int node);
  /// A round of heartbeats of `node`, and all that follows.
  void beat(int node);

  void perform(int node, raft::effects);
  raft::proposed propose(int node, std::uint64_t sequence, const std::string& text = "x", raft_client = {7, {}});
  raft_outcome change(int node, raft_peer, raft::part);

  void compact(int node);

  /// Only among these nodes.
  void only(std::set<int> nodes);

  instant now{std::chrono::hours{1}};
  std::function<bool(const raft_message&)> lets{[](const raft_message&) { return true; }};
  std::set<int> slow;
  std::vector<raft_message> net;
  /// Of all nodes, since the last `clear`.
  std::vector<raft::proposed> proposed;
  std::vector<raft::read_ready> reads;
  std::vector<raft::changed> changed;
  std::vector<raft::stop> stopped;
  int leading{0}, stepped_down{0}, installed{0};
  /// Two nodes decided differently at one place.
  bool contradiction{false};
  std::string text_at(int node, int index) const;  ///< of a decided command
  std::size_t decided() const { return decided_.size(); }
  const image& image_of(int node) const { return members_.at(node).state; }

private:
  struct member {
    raft_peer self;
    disk kept;
    std::unique_ptr<raft> core;
    std::vector<raft::write> unwritten;
    image state;
    std::map<raft_index, raft_entry> decided;
  };
  raft_options options_;
  std::map<int, member> members_;
  std::map<raft_index, std::uint64_t> decided_;
  std::uint64_t tokens_{0};
};

/// An entry of an old term gets onto a majority, and is then overwritten (the Raft paper's figure 8). False: it was
/// decided, and then decided otherwise.
bool old_entries_are_not_counted();
/// Two leaders change a set of four at the same time, each without knowing of the other. False: both succeed.
bool changes_wait_for_the_no_op();
/// One of three hears the leader no more and asks the third, which does; or did, before it was started again. False:
/// two nodes may grant leases.
bool one_node_grants(bool third_starts_again);

}  // namespace troupe::raft_test
