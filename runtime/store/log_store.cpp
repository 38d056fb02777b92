#include <malloc.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <shared_mutex>
#include <thread>

#include "runtime/store/lane.hpp"
#include "runtime/store/lmdb_device.hpp"
#include "runtime/store/log.hpp"

/// The shell: threads around the lanes. Two writers per lane, one janitor (sealing, cleaning, unlinking), one for the
/// periodic syncs of `interval` logs, a few readers. Everything else is decided in lane, chain and journal.
namespace troupe::store {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t catalogue_bytes = 1ull << 30;  // address space
constexpr std::uint64_t row_cache_bytes = 64ull << 20;
constexpr std::size_t reads_waiting_max = 4096;
constexpr auto clean_every = 5s;

/// Threads that may wait for the disk.
class reader_pool {
public:
  void start(unsigned count) {
    for (unsigned i = 0; i < count; ++i) threads_.emplace_back([this] { run(); });
  }
  /// False: too many wait, or the pool is stopping.
  bool submit(std::function<void()> job, bool bounded) {
    {
      std::scoped_lock lock{mutex_};
      if (stopping_ || (bounded && jobs_.size() >= reads_waiting_max)) return false;
      jobs_.push_back(std::move(job));
    }
    arrived_.notify_one();
    return true;
  }
  /// Whether the caller is one of these threads and may wait for the disk itself.
  static bool inside() { return inside_; }
  void stop() {
    {
      std::scoped_lock lock{mutex_};
      stopping_ = true;
    }
    arrived_.notify_all();
    for (auto& t : threads_) t.join();
    threads_.clear();
  }

private:
  void run() {
    inside_ = true;
    std::unique_lock lock{mutex_};
    for (;;) {
      arrived_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_{false};
  std::vector<std::thread> threads_;
  static thread_local bool inside_;
};

thread_local bool reader_pool::inside_ = false;

class store_shell final : public log_store {
public:
  store_shell(options o, notice_sink sink) : options_{std::move(o)}, user_notice_{std::move(sink)} {
    notice_ = [this](const notice& n) {
      std::scoped_lock lock{notice_mutex_};
      if (user_notice_) user_notice_(n);
    };
  }
  ~store_shell() override { close(); }

  result<void> open(const std::filesystem::path& directory);

  result<std::vector<log_id>> create(const std::vector<log_identity>&, durability) override;
  result<void> drop(const std::vector<log_id>&) override;
  std::vector<log_info> logs() const override;
  void listen(log_id, std::shared_ptr<log_listener>) override;
  void append(log_id, std::vector<batch>) override;
  bool crowded(log_id) const override;
  void truncate(log_id id, log_offset end, done d) override { submit(work::kind::truncate, id, end, {}, std::move(d)); }
  void trim(log_id id, log_offset start, done d) override { submit(work::kind::trim, id, start, {}, std::move(d)); }
  void restart_at(log_id id, log_offset start, done d) override {
    submit(work::kind::restart, id, start, {}, std::move(d));
  }
  void put_mark(log_id id, mark m, done d) override {
    submit(work::kind::mark, id, m.at, std::move(m.state), std::move(d));
  }
  std::optional<result<read_result>> read(log_id, log_offset, const read_limits&, read_done) override;
  result<std::optional<time_hit>> find_time(log_id, std::int64_t, log_offset, log_offset) override;
  result<std::optional<time_hit>> latest_time(log_id, log_offset) override;
  void run_blocking(std::function<void()>) override;
  result<log_state> state(log_id) const override;
  std::vector<extent> extents(log_id) const override;
  void clean() override;
  statistics stats() const override;
  bool full() const override { return space_->is_full(); }
  void close() override;

private:
  struct place {
    store::lane* where;
    durability level;
    store::chain& chain() const { return where->of(level); }
  };
  std::optional<place> find(log_id) const;
  static error unknown(log_id id) {
    return {errc::closed, "there is no log " + std::to_string(id.value()) + " (any more)"};
  }
  static error failed_before() { return {errc::storage_failed, "a write to this data directory failed before"}; }
  /// A catalogue that cannot write is a data directory that cannot (R10).
  error failing(error why) {
    if (why.code == errc::storage_failed && !counters_.failed.exchange(true))
      notice_({notice::level::error, "storage_failed",
               "error=\"" + why.text + "\" next=\"the node stops; check the disk, then start it again\""});
    return why;
  }
  void submit(work::kind, log_id, log_offset, shared_bytes, done);
  void note(const catalogue::log_row&);
  template <class Visit>
  void each_chain(Visit visit) const {
    for (const auto& l : lanes_) {
      visit(*l, durability::group);
      visit(*l, durability::interval);
    }
  }
  void tidy();
  void tidy_chain(store::lane&, durability);
  void run_janitor();
  void run_syncer();

  const options options_;
  std::mutex notice_mutex_;
  const notice_sink user_notice_;
  notice_sink notice_;
  std::unique_ptr<segment_device> device_;
  std::unique_ptr<catalogue> catalogue_;
  row_cache cache_{row_cache_bytes};
  shared_counters counters_;
  std::unique_ptr<space_watch> space_;
  std::vector<std::unique_ptr<store::lane>> lanes_;
  mutable std::shared_mutex places_mutex_;
  std::unordered_map<log_id, place> places_;
  std::mutex creating_;

  std::vector<std::thread> writers_;
  reader_pool readers_;
  std::thread janitor_, syncer_;
  std::mutex upkeep_mutex_;
  std::condition_variable upkeep_;
  bool stopping_{false}, clean_now_{false}, interval_used_{false};
  std::once_flag closed_;
  std::atomic<bool> open_{false};
};

// -- opening and closing --------------------------------------------------------------------------------

std::uint64_t memory_bytes() {
  struct sysinfo s {};
  return ::sysinfo(&s) ? 1ull << 30 : std::uint64_t{s.totalram} * s.mem_unit;
}

result<void> check_options(const options& o) {
  auto refuse = [](const char* what) { return error{errc::invalid_config, what}; };
  if (o.lanes > 8) return refuse("the store takes at most 8 lanes");
  if (o.segment_bytes < (1ull << 20) || o.segment_bytes > (4ull << 30)) return refuse("a segment has 1 MiB to 4 GiB");
  if (o.block_bytes < 4096 || o.block_bytes > (64ull << 20)) return refuse("a block has 4 KiB to 64 MiB");
  if (o.segment_age <= 0ms) return refuse("the age of a segment must be positive");
  if (o.interval < 1ms) return refuse("the interval between syncs must be at least 1 ms");
  if (o.reader_threads == 0 || o.reader_threads > 256) return refuse("the store has 1 to 256 reader threads");
  return {};
}

result<void> store_shell::open(const std::filesystem::path& directory) {
  if (auto checked = check_options(options_); !checked) return checked;
  // LMDB allocates the pages of a block with malloc at each commit. By default glibc would give blocks of this size
  // back to the kernel each time and pay for fresh pages: measured, a third of the throughput and twice the CPU.
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);

  std::error_code failed;
  std::filesystem::create_directories(directory / "catalogue", failed);
  if (failed) return {errc::system, "make directory " + directory.string() + ": " + failed.message()};
  auto rows = table::open(directory / "catalogue", catalogue_bytes);
  if (!rows) return rows.error();
  const auto cores = std::max(1u, std::min(8u, std::thread::hardware_concurrency()));
  auto known = catalogue::open(std::move(*rows), options_.lanes ? options_.lanes : cores);
  if (!known) return known.error();
  catalogue_ = std::move(*known);
  device_ = make_lmdb_device(directory);
  space_ = std::make_unique<space_watch>(*device_, options_.reserve_bytes, notice_);
  const auto hot_bytes = options_.hot_bytes ? options_.hot_bytes : memory_bytes() / 8;

  std::set<segment_name> listed;
  for (const auto& row : catalogue_->segments()) listed.insert(row.name);
  auto present = device_->list();
  if (!present) return present.error();
  for (const auto& name : *present)
    if (!listed.contains(name))
      if (auto removed = device_->remove(name); !removed)
        notice_({notice::level::warn, "segment_not_removed", "error=\"" + removed.error().text + "\""});

  std::vector<std::vector<log_id>> logs_of(2 * catalogue_->lanes());
  for (const auto& row : catalogue_->logs())
    logs_of[2 * row.lane + static_cast<unsigned>(row.info.level)].push_back(row.info.id);
  for (unsigned i = 0; i < catalogue_->lanes(); ++i)
    lanes_.push_back(
        std::make_unique<store::lane>(i, options_, hot_bytes / catalogue_->lanes(),
                                      chain::surroundings{*device_, *catalogue_, cache_, counters_, notice_}, *space_));
  for (unsigned i = 0; i < catalogue_->lanes(); ++i)
    for (auto level : {durability::group, durability::interval})
      if (auto ready = lanes_[i]->of(level).recover(logs_of[2 * i + static_cast<unsigned>(level)]); !ready)
        return ready;
  for (const auto& row : catalogue_->logs()) note(row);

  for (auto& l : lanes_)
    for (unsigned i = 0; i < lane::threads; ++i) writers_.emplace_back([lane = l.get()] { lane->run(); });
  readers_.start(options_.reader_threads);
  janitor_ = std::thread{[this] { run_janitor(); }};
  syncer_ = std::thread{[this] { run_syncer(); }};
  open_ = true;
  return {};
}

void store_shell::close() {
  std::call_once(closed_, [this] {
    if (!open_) return;
    for (auto& l : lanes_) l->stop();
    for (auto& t : writers_) t.join();
    readers_.stop();
    {
      std::scoped_lock lock{upkeep_mutex_};
      stopping_ = true;
    }
    upkeep_.notify_all();
    syncer_.join();
    janitor_.join();
    // Sealed to the last: the next start has nothing to scan. That is the mark of an orderly stop.
    each_chain([](store::lane& l, durability level) {
      l.of(level).drop_dead();
      while (l.of(level).seal_next()) {
      }
    });
  });
}

// -- logs -----------------------------------------------------------------------------------------------

std::optional<store_shell::place> store_shell::find(log_id id) const {
  std::shared_lock lock{places_mutex_};
  auto it = places_.find(id);
  if (it == places_.end()) return {};
  return it->second;
}

void store_shell::note(const catalogue::log_row& row) {
  std::unique_lock lock{places_mutex_};
  places_.insert_or_assign(row.info.id, place{lanes_[row.lane].get(), row.info.level});
  if (row.info.level != durability::interval) return;
  std::scoped_lock upkeep{upkeep_mutex_};
  interval_used_ = true;
  upkeep_.notify_all();
}

result<std::vector<log_id>> store_shell::create(const std::vector<log_identity>& identities, durability level) {
  std::scoped_lock one{creating_};
  if (counters_.failed) return failed_before();
  auto rows = catalogue_->create(identities, level);
  if (!rows) return failing(rows.error());
  std::vector<log_id> ids;
  for (const auto& row : *rows) {
    if (!find(row.info.id)) {
      lanes_[row.lane]->of(row.info.level).add_log(row.info.id);
      note(row);
    }
    ids.push_back(row.info.id);
  }
  return ids;
}

result<void> store_shell::drop(const std::vector<log_id>& ids) {
  std::scoped_lock one{creating_};
  if (counters_.failed) return failed_before();
  if (auto dropped = catalogue_->drop(ids); !dropped) return failing(dropped.error());
  for (auto id : ids) {
    const auto at = find(id);
    if (!at) continue;
    {
      std::unique_lock lock{places_mutex_};
      places_.erase(id);
    }
    at->where->listen(id, nullptr);
    at->chain().drop_log(id);
  }
  return {};
}

std::vector<log_info> store_shell::logs() const {
  std::vector<log_info> out;
  for (const auto& row : catalogue_->logs()) out.push_back(row.info);
  return out;
}

void store_shell::listen(log_id id, std::shared_ptr<log_listener> listener) {
  if (auto at = find(id)) at->where->listen(id, std::move(listener));
}

// -- writing --------------------------------------------------------------------------------------------

void store_shell::append(log_id id, std::vector<batch> batches) {
  if (batches.empty()) return;
  const auto at = find(id);
  if (!at) return;
  work w;
  w.log = id;
  w.batches = std::move(batches);
  at->where->push(at->level, w);
}

bool store_shell::crowded(log_id id) const {
  const auto at = find(id);
  return at && at->where->crowded();
}

void store_shell::submit(work::kind what, log_id id, log_offset offset, shared_bytes state, done d) {
  work w;
  w.what = what;
  w.log = id;
  w.at = offset;
  w.state = std::move(state);
  w.done = d ? std::move(d) : [](const result<void>&) {};
  const auto at = find(id);
  if (!at) return w.done(unknown(id));
  if (!at->where->push(at->level, w)) w.done(error{errc::closed, "the store is closed"});
}

// -- reading --------------------------------------------------------------------------------------------

std::optional<result<read_result>> store_shell::read(log_id id, log_offset from, const read_limits& limits,
                                                     read_done later) {
  const auto at = find(id);
  if (!at) return result<read_result>{unknown(id)};
  if (auto hot = at->chain().read_hot(id, from, limits)) return hot;
  if (reader_pool::inside()) return at->chain().read_cold(id, from, limits);
  auto job = [chain = &at->chain(), id, from, limits, later = std::move(later)] {
    later(chain->read_cold(id, from, limits));
  };
  if (readers_.submit(std::move(job), true)) return {};
  return result<read_result>{error{errc::busy, "too many reads wait for the disk, or the store is closing"}};
}

result<std::optional<time_hit>> store_shell::find_time(log_id id, std::int64_t timestamp, log_offset from,
                                                       log_offset end) {
  const auto at = find(id);
  if (!at) return unknown(id);
  return at->chain().find_time(id, timestamp, from, end);
}

result<std::optional<time_hit>> store_shell::latest_time(log_id id, log_offset end) {
  const auto at = find(id);
  if (!at) return unknown(id);
  return at->chain().latest_time(id, end);
}

void store_shell::run_blocking(std::function<void()> job) {
  // After close there is nobody else to run it.
  if (!readers_.submit(job, false)) job();
}

result<log_state> store_shell::state(log_id id) const {
  const auto at = find(id);
  if (!at) return unknown(id);
  return at->chain().state(id);
}

std::vector<extent> store_shell::extents(log_id id) const {
  const auto at = find(id);
  return at ? at->chain().extents(id) : std::vector<extent>{};
}

// -- upkeep ---------------------------------------------------------------------------------------------

void store_shell::clean() {
  std::scoped_lock lock{upkeep_mutex_};
  clean_now_ = true;
  upkeep_.notify_all();
}

void store_shell::run_janitor() {
  tidy();
  std::unique_lock lock{upkeep_mutex_};
  while (!stopping_) {
    upkeep_.wait_for(lock, clean_every, [this] { return stopping_ || clean_now_; });
    if (stopping_) return;
    clean_now_ = false;
    lock.unlock();
    for (auto& l : lanes_) l->look_at_ages();
    tidy();
    lock.lock();
  }
}

void store_shell::tidy() {
  each_chain([this](store::lane& l, durability level) { tidy_chain(l, level); });
}

void store_shell::tidy_chain(store::lane& l, durability level) {
  auto& chain = l.of(level);
  chain.drop_dead();
  while (chain.seal_next()) {
  }
  chain.drop_dead();
  // Copies ride the lane's queue like everybody else, one handful at a time.
  while (!counters_.failed && space_->room_to_clean(boot_clock::now())) {
    auto todo = chain.salvage(options_.block_bytes);
    if (todo.empty()) break;
    struct tally {
      std::mutex mutex;
      std::condition_variable changed;
      std::size_t waiting{0};
      bool ok{true};
    };
    auto t = std::make_shared<tally>();
    bool stopped = false;
    for (auto& w : todo) {
      w.done = [t](const result<void>& r) {
        std::scoped_lock lock{t->mutex};
        --t->waiting;
        t->ok = t->ok && r.ok();
        t->changed.notify_all();
      };
      {
        std::scoped_lock lock{t->mutex};
        ++t->waiting;
      }
      if (!l.push(level, w)) {
        std::scoped_lock lock{t->mutex};
        --t->waiting;
        stopped = true;
        break;
      }
    }
    std::unique_lock lock{t->mutex};
    t->changed.wait(lock, [&] { return t->waiting == 0; });
    if (stopped || !t->ok) break;
    lock.unlock();
    chain.drop_dead();
  }
}

void store_shell::run_syncer() {
  std::unique_lock lock{upkeep_mutex_};
  while (!stopping_) {
    if (!interval_used_)
      upkeep_.wait(lock, [this] { return stopping_ || interval_used_; });
    else
      upkeep_.wait_for(lock, options_.interval, [this] { return stopping_; });
    lock.unlock();
    for (auto& l : lanes_) l->interval().sync();
    lock.lock();
  }
}

statistics store_shell::stats() const {
  statistics s;
  s.blocks = counters_.blocks;
  s.block_bytes = counters_.block_bytes;
  s.batches = counters_.batches;
  s.batch_bytes = counters_.batch_bytes;
  s.syncs = counters_.syncs;
  s.hot_reads = counters_.hot_reads;
  s.cold_reads = counters_.cold_reads;
  s.cold_read_bytes = counters_.cold_read_bytes;
  s.segments_dropped = counters_.segments_dropped;
  s.batches_moved = counters_.batches_moved;
  s.refused_batches = counters_.refused_batches;
  s.damaged_blocks = counters_.damaged_blocks;
  s.failed = counters_.failed;
  s.full = space_->is_full();
  s.free_bytes = space_->free_bytes();
  each_chain([&](store::lane& l, durability level) {
    s.segments += l.of(level).segments();
    s.disk_bytes += l.of(level).disk_bytes();
  });
  for (const auto& l : lanes_) s.queued_bytes += l->queued_bytes();
  return s;
}

}  // namespace

result<std::unique_ptr<log_store>> log_store::open(const std::filesystem::path& directory, const options& o,
                                                   notice_sink notice) {
  auto store = std::make_unique<store_shell>(o, std::move(notice));
  if (auto opened = store->open(directory); !opened) return opened.error();
  return std::unique_ptr<log_store>{std::move(store)};
}

result<shared_bytes> slice::load() const {
  if (!file) return bytes;
  // Not a vector, which would write zeros first: followers get every byte of the log through here.
  const std::shared_ptr<std::byte[]> memory{new std::byte[size]};
  std::size_t done = 0;
  while (done < size) {
    const auto n = ::pread(*file, memory.get() + done, size - done, static_cast<off_t>(position + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return {errc::storage_failed, "read of " + std::to_string(size) + " bytes at " + std::to_string(position) + ": " +
                                        (n ? std::generic_category().message(errno) : "end of file")};
    done += static_cast<std::size_t>(n);
  }
  return shared_bytes{memory, {memory.get(), size}};
}

}  // namespace troupe::store
