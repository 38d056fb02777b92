#pragma once

#include <map>
#include <memory>

#include "runtime/base/ids.hpp"
#include "runtime/store/catalogue.hpp"
#include "runtime/store/log.hpp"
#include "runtime/store/memory_disk.hpp"
#include "tests/simulation/kernel.hpp"

/// What a node process stands on, and what outlives it: a clock, a disk, small tables. The process itself is a *life*:
/// it can be paused, and when it dies everything that was under way for it comes to nothing.
namespace troupe::sim {

/// How long the disk takes. A slow disk stays correct.
struct disk_pace {
  duration write_min{20us}, write_max{200us};
  duration sync_min{300us}, sync_max{3ms};
};

class machine {
public:
  machine(kernel&, node_id, double clock_rate, duration clock_start);

  const node_id id;
  node_clock clock;
  disk_pace pace;
  store::memory_disk disk;
  /// Tables by name; their commits are durable at once and whole.
  std::shared_ptr<store::memory_table::contents> table(const std::string& name);
  /// Everything on the disk is gone, as with a new one.
  void wipe();

  // -- the process ----------------------------------------------------------------------------------------
  /// A new life begins; whatever was planned for an earlier one will not happen.
  void born() { ++life_; }
  void died() { ++life_; }
  std::uint64_t life() const { return life_; }
  /// SIGSTOP: from now on nothing of this process runs until `resume`.
  void pause() { paused_ = true; }
  void resume();
  bool paused() const { return paused_; }

  /// Runs `what` within the present life: now, or once it is resumed.
  void run(kernel::event what);
  /// `d` later by this machine's clock.
  void later(duration d, kernel::event what);
  /// `d` of true time later: what the disk or the kernel does for the process.
  void in(duration d, kernel::event what);

private:
  kernel& kernel_;
  std::map<std::string, std::shared_ptr<store::memory_table::contents>> tables_;
  std::uint64_t life_{0};
  bool paused_{false};
  std::vector<std::pair<std::uint64_t, kernel::event>> held_;
};

}  // namespace troupe::sim
