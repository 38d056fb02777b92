#include "tests/simulation/machine.hpp"

namespace troupe::sim {

machine::machine(kernel& k, node_id n, double clock_rate, duration clock_start)
    : id{n}, clock{k, clock_rate, clock_start}, kernel_{k} {}

std::shared_ptr<store::memory_table::contents> machine::table(const std::string& name) {
  auto& found = tables_[name];
  if (!found) found = std::make_shared<store::memory_table::contents>();
  return found;
}

void machine::wipe() {
  tables_.clear();
  auto all = disk.list();
  for (const auto& name : *all) (void)disk.remove(name);
}

void machine::resume() {
  paused_ = false;
  auto held = std::move(held_);
  held_.clear();
  // What waited comes at once, in the order in which it came.
  for (auto& [life, what] : held)
    kernel_.after(0ns, [this, life = life, what = std::move(what)] {
      if (life == life_) run(what);
    });
}

void machine::run(kernel::event what) {
  if (paused_)
    held_.emplace_back(life_, std::move(what));
  else
    what();
}

void machine::later(duration d, kernel::event what) {
  in(clock.true_time(d), std::move(what));
}

void machine::in(duration d, kernel::event what) {
  kernel_.after(d, [this, life = life_, what = std::move(what)] {
    if (life == life_) run(what);
  });
}

}  // namespace troupe::sim
