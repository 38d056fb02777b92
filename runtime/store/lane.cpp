#include "runtime/store/lane.hpp"

#include <algorithm>

namespace troupe::store {

using namespace std::chrono_literals;

// -- space_watch ----------------------------------------------------------------------------------------

space_watch::space_watch(segment_device& device, std::uint64_t reserve_bytes, const notice_sink& notice)
    : device_{device}, wanted_{reserve_bytes}, notice_{notice} {
  look(instant{});
}

bool space_watch::full(instant now) {
  std::scoped_lock lock{mutex_};
  if (!looked_ || now - looked_at_ >= 100ms || written_ >= reserve_ / 8) look(now);
  return full_;
}

bool space_watch::room_to_clean(instant now) {
  std::scoped_lock lock{mutex_};
  look(now);
  return free_ >= reserve_ / 2;
}

void space_watch::found_full(instant now, const std::string& why) {
  std::scoped_lock lock{mutex_};
  if (full_) return;
  full_ = true;
  looked_at_ = now;
  if (notice_)
    notice_(
        {notice::level::warn, "storage_full", "free_bytes=" + std::to_string(free_.load()) + " error=\"" + why + "\""});
}

void space_watch::look(instant now) {
  looked_ = true;
  looked_at_ = now;
  const auto [free, total] = device_.free_space();
  free_ = free;
  written_ = 0;
  reserve_ = wanted_ ? wanted_ : std::min<std::uint64_t>(2ull << 30, total / 20);
  // Resumes at twice the reserve, or it would flutter.
  const bool full = free < (full_ ? 2 * reserve_ : reserve_);
  if (full == full_) return;
  full_ = full;
  if (notice_)
    notice_({notice::level::warn, full ? "storage_full" : "storage_resumed",
             "free_bytes=" + std::to_string(free) + " reserve_bytes=" + std::to_string(reserve_)});
}

// -- lane -----------------------------------------------------------------------------------------------

namespace {

chain::settings settings_of(unsigned number, durability level, const options& o, std::uint64_t hot_bytes) {
  chain::settings s;
  s.lane = number;
  s.level = level;
  s.segment_bytes = o.segment_bytes;
  s.segment_age = o.segment_age;
  s.block_bytes = o.block_bytes;
  s.hot_bytes = hot_bytes;
  return s;
}

}  // namespace

lane::lane(unsigned number, const options& o, std::uint64_t hot_bytes, chain::surroundings to, space_watch& space)
    : queue_bytes_{o.queue_bytes},
      enough_{std::min<std::uint64_t>(o.block_bytes, 256 << 10)},
      segment_age_{o.segment_age},
      group_{settings_of(number, durability::group, o, hot_bytes), to},
      interval_{settings_of(number, durability::interval, o, hot_bytes), to},
      space_{space},
      counters_{to.counters} {}

bool lane::push(durability level, work& w) {
  for (const auto& b : w.batches) w.bytes += b.bytes.size();
  w.bytes += w.state.size();
  bool first = false, enough = false;
  {
    std::scoped_lock lock{mutex_};
    if (stopping_) return false;
    const auto before = queued_bytes_.fetch_add(w.bytes);
    first = !gathering_ && arrivals_[0].empty() && arrivals_[1].empty();
    enough = gathering_ && before < enough_ && before + w.bytes >= enough_;
    arrivals_[static_cast<std::size_t>(level)].push_back(std::move(w));
  }
  if (first) arrived_.notify_one();
  if (enough) enough_arrived_.notify_one();
  return true;
}

void lane::listen(log_id id, std::shared_ptr<log_listener> listener) {
  std::scoped_lock lock{listening_};
  if (listener)
    listeners_[id] = std::move(listener);
  else
    listeners_.erase(id);
}

void lane::look_at_ages() {
  {
    std::scoped_lock lock{mutex_};
    ages_ = true;
  }
  arrived_.notify_one();
  enough_arrived_.notify_one();
}

void lane::stop() {
  {
    std::scoped_lock lock{mutex_};
    stopping_ = true;
  }
  arrived_.notify_all();
  enough_arrived_.notify_one();
}

bool lane::step(instant now, wall_time wall) {
  const bool any = write_round(now, wall);
  sync_round(now);
  return any;
}

bool lane::write_round(instant now, wall_time wall) {
  std::scoped_lock turn{writing_};
  return write_queued(now, wall);
}

bool lane::write_queued(instant now, wall_time wall) {
  bool ages = false;
  {
    std::scoped_lock lock{mutex_};
    std::swap(ages, ages_);
    for (int i = 0; i < 2; ++i) {
      std::move(arrivals_[i].begin(), arrivals_[i].end(), std::back_inserter(queues_[i]));
      arrivals_[i].clear();
    }
  }
  if (ages) {
    sync_round(now);
    group_.roll(wall, segment_age_);
    interval_.roll(wall, segment_age_);
  }
  bool any = false;
  for (auto level : {durability::group, durability::interval}) {
    auto& queue = queues_[static_cast<std::size_t>(level)];
    if (queue.empty()) continue;
    any = true;
    auto& chain = of(level);
    if (!chain.ready()) sync_round(now);
    const auto waiting = queue.size();
    const auto bytes = chain.write_block(queue, space_.full(now), wall);
    queued_bytes_ -= bytes;
    last_block_bytes_ = bytes;
    last_block_works_ = waiting - queue.size();
    space_.wrote(bytes);
    if (level == durability::interval) settle(chain, now);
  }
  if (any) block_was_handled(now);
  return any;
}

void lane::sync_round(instant now) {
  {
    std::scoped_lock turn{syncing_};
    group_.sync();
    settle(group_, now);
  }
  block_was_handled(now);
}

void lane::block_was_handled(instant now) {
  bool free = false;
  {
    std::scoped_lock lock{mutex_};
    under_way_ = group_.unsettled() > 0;
    last_block_at_ = now;
    free = gathering_ && !under_way_;
  }
  if (free) enough_arrived_.notify_one();
}

void lane::settle(chain& chain, instant now) {
  outcome out;
  chain.settle(out);
  for (const auto& l : out.logs) {
    if (l.refused && l.refused->code == errc::storage_full) space_.found_full(now, l.refused->text);
    std::scoped_lock lock{listening_};
    auto it = listeners_.find(l.log);
    if (it == listeners_.end()) continue;
    const auto listener = it->second;  // it may replace itself meanwhile
    if (l.refused)
      listener->refused(l.end, *l.refused);
    else
      listener->durable(l.end);
  }
  for (auto& [done, answer] : out.answers) done(answer);
}

/// Takes the turn to write when there is something to write, and waits until it is worth a block. False: stop.
bool lane::gather() {
  constexpr auto linger = 500us;
  constexpr std::uint64_t mid_sized = 32 << 10;
  std::unique_lock lock{mutex_};
  const auto work_waits = [&] { return left_ || !arrivals_[0].empty() || !arrivals_[1].empty(); };
  const auto enough = [&] { return stopping_ || ages_ || queued_bytes_ >= enough_; };
  arrived_.wait(lock, [&] { return !gathering_ && (stopping_ || ages_ || work_waits()); });
  if (stopping_ && !work_waits()) return false;
  gathering_ = true;
  // Worth while only where several come at a time: one that waits for its answer before it sends the next would wait
  // in vain.
  if (!left_ && !under_way_ && last_block_works_ > 1 && last_block_bytes_ >= mid_sized &&
      boot_clock::now() - last_block_at_ < 1ms)
    enough_arrived_.wait_until(lock, std::chrono::steady_clock::now() + linger, enough);
  const bool interval_waits = !queues_[1].empty() || !arrivals_[1].empty();
  if (!interval_waits) enough_arrived_.wait(lock, [&] { return !under_way_ || enough(); });
  return true;
}

/// Gives the turn to write to whoever wants it.
void lane::hand_on() {
  bool wanted = false;
  {
    std::scoped_lock lock{mutex_};
    gathering_ = false;
    left_ = !queues_[0].empty() || !queues_[1].empty();
    wanted = left_ || stopping_ || ages_ || !arrivals_[0].empty() || !arrivals_[1].empty();
  }
  if (wanted) arrived_.notify_one();
}

void lane::run() {
  while (gather()) {
    {
      std::scoped_lock turn{writing_};
      write_queued(boot_clock::now(), wall_now());
    }
    hand_on();
    sync_round(boot_clock::now());
  }
  // The other thread may have a block under way still.
  std::scoped_lock turn{writing_};
  sync_round(boot_clock::now());
  group_.roll(wall_now(), std::chrono::milliseconds{INT64_MIN / 2});
  interval_.roll(wall_now(), std::chrono::milliseconds{INT64_MIN / 2});
}

}  // namespace troupe::store
