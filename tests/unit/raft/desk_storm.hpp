#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "runtime/base/random.hpp"
#include "tests/unit/raft/desk.hpp"

namespace troupe::raft_test {

/// Short random histories of a quorum on a desk. Where `storm` lets time and chance decide what reaches whom, this one
/// deals out the coincidences themselves: who campaigns, who hears of it, how many entries get to whom, who dies
/// between two of them. So it finds in thousands of short histories what a storm does not find in thousands of hours.
///
/// Checked: what is decided never changes, no command takes effect twice, no two nodes may grant leases at once, and
/// no node finds that another broke a promise.
class desk_storm {
public:
  explicit desk_storm(std::uint64_t seed);
  /// What broke first, or nothing.
  std::string run();

  std::size_t decided() const { return desk_.decided(); }
  int elections() const { return desk_.leading; }

private:
  void step();
  void deal();
  void campaign();
  void crash_or_start();
  void change_members(int leader);
  bool lets(const raft_message&);
  int below(int n) { return static_cast<int>(random_.below(static_cast<std::uint64_t>(n))); }
  int leader();      ///< 0: none
  int any(bool up);  ///< 0: none
  bool one_grants();

  random_source random_;
  int nodes_;
  bool changes_;
  desk desk_;
  std::set<int> together_;      ///< who reach each other
  std::map<int, int> entries_;  ///< messages with entries that still get to a node
  std::uint64_t clients_{0};
};

}  // namespace troupe::raft_test
