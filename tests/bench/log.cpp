#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/base/crc32c.hpp"
#include "runtime/store/log.hpp"

// `./dev bench log [directory]`: appends through the store beside a raw loop that writes the same bytes to one file,
// both synced at every block, in the same run and in turns. What the disk can do at best stands beside it: large
// writes past the page cache.
//
// Memory that this process or the page cache touches for the first time is dear on a virtual machine (the host has to
// find it), so before each run 1.3 times its volume is touched and given back; otherwise the hypervisor is measured.

namespace {

using namespace troupe;
using steady = std::chrono::steady_clock;
namespace fs = std::filesystem;

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "bench log: %s\n", what.c_str());
  std::exit(1);
}
void must(bool ok, const char* call) {
  if (!ok) give_up(std::string{call} + ": " + std::strerror(errno));
}

/// This kind of machine gives free memory back to its host, and the first touch afterwards costs seconds a GiB. So the
/// page cache is filled by a file of the same kind and emptied again right before each run: what is measured next finds
/// warm pages, in pieces of the size that it will ask for.
void warm_page_cache(const fs::path& directory, std::size_t block_bytes, std::uint64_t bytes) {
  const auto path = directory / "warm";
  const std::vector<std::byte> block(block_bytes, std::byte{1});
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  must(fd >= 0, "open");
  for (std::uint64_t at = 0; at < bytes + bytes * 3 / 10; at += block_bytes)
    must(::pwrite(fd, block.data(), block_bytes, static_cast<off_t>(at)) == static_cast<ssize_t>(block_bytes),
         "pwrite");
  ::close(fd);
  fs::remove(path);
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec); };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

struct run {
  double mb_per_second{0}, cpu_per_gb{0}, p50_us{0}, p99_us{0};
};

/// Measures `work`, which writes `bytes` and notes how long each block took.
run measured(const fs::path& directory, std::size_t block_bytes, std::uint64_t bytes,
             const std::function<void(std::vector<double>& block_us)>& work) {
  warm_page_cache(directory, block_bytes, bytes);
  std::vector<double> us;
  const auto cpu = cpu_seconds();
  const auto began = steady::now();
  work(us);
  const std::chrono::duration<double> took = steady::now() - began;
  const auto gb = static_cast<double>(bytes) / 1e9;
  std::sort(us.begin(), us.end());
  auto at = [&](double share) {
    return us.empty() ? 0
                      : us[std::min(us.size() - 1, static_cast<std::size_t>(share * static_cast<double>(us.size())))];
  };
  return {1e3 * gb / took.count(), (cpu_seconds() - cpu) / gb, at(0.5), at(0.99)};
}

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}
run median(const std::vector<run>& runs) {
  auto of = [&](double run::*field) {
    std::vector<double> all;
    for (const auto& r : runs) all.push_back(r.*field);
    return median(all);
  };
  return {of(&run::mb_per_second), of(&run::cpu_per_gb), of(&run::p50_us), of(&run::p99_us)};
}

struct since {
  steady::time_point at{steady::now()};
  double us() const { return std::chrono::duration<double, std::micro>(steady::now() - at).count(); }
};

/// The floor: one file, one pwrite and one fdatasync per block.
run raw(const fs::path& directory, const std::vector<std::byte>& block, std::size_t blocks) {
  const auto path = directory / "raw";
  const auto result = measured(directory, block.size(), block.size() * blocks, [&](std::vector<double>& us) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    must(fd >= 0, "open");
    for (std::size_t i = 0; i < blocks; ++i) {
      const since began;
      must(::pwrite(fd, block.data(), block.size(), static_cast<off_t>(i * block.size())) ==
               static_cast<ssize_t>(block.size()),
           "pwrite");
      must(::fdatasync(fd) == 0, "fdatasync");
      us.push_back(began.us());
    }
    ::close(fd);
  });
  fs::remove(path);
  return result;
}

/// What the disk takes when nothing is in the way: 4 MiB at a time past the page cache, synced at the end.
run direct(const fs::path& directory, std::uint64_t bytes) {
  constexpr std::size_t chunk = 4 << 20;
  const auto path = directory / "direct";
  void* memory = nullptr;
  must(::posix_memalign(&memory, 4096, chunk) == 0, "posix_memalign");
  std::memset(memory, 7, chunk);
  const auto result = measured(directory, chunk, bytes / chunk * chunk, [&](std::vector<double>& us) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0644);
    if (fd < 0) return;  // tmpfs has no O_DIRECT
    for (std::uint64_t at = 0; at + chunk <= bytes; at += chunk) {
      const since began;
      must(::pwrite(fd, memory, chunk, static_cast<off_t>(at)) == static_cast<ssize_t>(chunk), "pwrite");
      us.push_back(began.us());
    }
    ::fdatasync(fd);
    ::close(fd);
  });
  std::free(memory);
  fs::remove(path);
  return result;
}

/// A log's owner that keeps one block in the making while the one before is synced, as a busy partition does.
class owner final : public store::log_listener {
public:
  owner(store::log_store& s, log_id id, const std::vector<std::byte>& block, std::vector<double>& us,
        std::mutex& noting)
      : store_{s},
        id_{id},
        bytes_{std::shared_ptr<const void>{}, block},
        crc_{crc32c(block)},
        us_{us},
        noting_{noting} {}

  void durable(log_offset end) override {
    const std::lock_guard lock{mutex_};
    while (!sent_.empty() && sent_.front().end <= end) {
      const auto us = sent_.front().began.us();
      sent_.erase(sent_.begin());
      const std::lock_guard note{noting_};
      us_.push_back(us);
    }
    changed_.notify_one();
  }
  void refused(log_offset, const error& why) override { give_up(why.text); }

  void append(std::size_t blocks, std::size_t ahead) {
    for (std::size_t i = 0; i < blocks; ++i) {
      {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return sent_.size() < ahead; });
        sent_.push_back({next_ + 1, {}});
      }
      store_.append(id_, {{next_, 1, leader_epoch{1}, 1, bytes_, 0, crc_}});
      next_ = next_ + 1;
    }
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return sent_.empty(); });
  }

private:
  struct waiting {
    log_offset end;
    since began;
  };
  store::log_store& store_;
  const log_id id_;
  const shared_bytes bytes_;
  const std::uint32_t crc_;
  std::vector<double>& us_;
  std::mutex& noting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<waiting> sent_;
  log_offset next_;
};

run through_store(const fs::path& directory, const std::vector<std::byte>& block, std::size_t blocks, unsigned lanes,
                  std::size_t ahead) {
  const auto path = directory / "store";
  fs::remove_all(path);
  fs::create_directories(path);
  // A batch is a block here: the store must not gather several, or larger blocks than the raw loop's are measured.
  auto opened = store::log_store::open(path, {.lanes = lanes, .block_bytes = block.size()}, {});
  if (!opened) give_up(opened.error().text);
  auto& store = **opened;
  const auto writers = lanes ? lanes : std::min(8u, std::thread::hardware_concurrency());
  std::vector<store::log_identity> identities;
  for (unsigned i = 0; i < writers; ++i)
    identities.push_back({uuid::random(), partition_index{static_cast<std::int32_t>(i)}, 1});
  const auto ids = store.create(identities, store::durability::group);
  if (!ids) give_up(ids.error().text);
  const auto result =
      measured(directory, block.size(), block.size() * (blocks / writers * writers), [&](std::vector<double>& us) {
        std::mutex noting;
        std::vector<std::shared_ptr<owner>> owners;
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < writers; ++i) {
          owners.push_back(std::make_shared<owner>(store, (*ids)[i], block, us, noting));
          store.listen((*ids)[i], owners.back());
          threads.emplace_back([&, i] { owners[i]->append(blocks / writers, ahead); });
        }
        for (auto& t : threads) t.join();
        for (auto id : *ids) store.listen(id, nullptr);
      });
  store.close();
  opened->reset();
  fs::remove_all(path);
  return result;
}

void print(const char* name, const run& r, double raw_speed) {
  std::printf("  %-28s %8.0f MB/s  %5.2f CPU s/GB  p50 %7.0f us  p99 %7.0f us", name, r.mb_per_second, r.cpu_per_gb,
              r.p50_us, r.p99_us);
  if (raw_speed > 0) std::printf("  %4.0f %% of raw", 100 * r.mb_per_second / raw_speed);
  std::printf("\n");
}

}  // namespace

int main(int count, char** arguments) {
  const auto* volume = std::getenv("TROUPE_BENCH_MB");
  const std::uint64_t run_bytes = (volume ? std::strtoull(volume, nullptr, 10) : 512) << 20;
  const auto* turns = std::getenv("TROUPE_BENCH_ROUNDS");
  const int rounds = turns ? std::max(1, std::atoi(turns)) : 5;
  const fs::path directory = fs::absolute(count > 1 ? arguments[1] : "data-bench-log");
  fs::create_directories(directory);
  const auto space = fs::space(directory);
  if (space.available < 4 * run_bytes + (3ull << 30)) give_up(directory.string() + " has too little free space");

  std::printf("store append beside raw pwrite + fdatasync, %" PRIu64 " MB a run, median of %d, in %s\n",
              run_bytes >> 20, rounds, directory.c_str());
  std::vector<run> limit;
  for (int i = 0; i < 3; ++i) limit.push_back(direct(directory, run_bytes));
  print("disk, O_DIRECT 4 MiB", median(limit), 0);

  bool reached = true;
  for (const std::size_t block_bytes : {64u << 10, 256u << 10, 1u << 20, 4u << 20}) {
    std::vector<std::byte> block(block_bytes);
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>(i * 2654435761u >> 13);
    // Small blocks are slow; a quarter of the volume is enough of them.
    const auto blocks = (block_bytes < (256u << 10) ? run_bytes / 4 : run_bytes) / block_bytes;
    std::vector<run> floor, single, lone, wide;
    for (int i = 0; i < rounds; ++i) {
      floor.push_back(raw(directory, block, blocks));
      single.push_back(through_store(directory, block, blocks, 1, 4));
      lone.push_back(through_store(directory, block, blocks, 1, 1));
      wide.push_back(through_store(directory, block, blocks, 0, 4));
    }
    const auto base = median(floor);
    std::printf("%zu KiB a block\n", block_bytes >> 10);
    print("raw", base, 0);
    print("store, one lane", median(single), base.mb_per_second);
    print("store, one lane, one at a time", median(lone), base.mb_per_second);
    print("store, default lanes", median(wide), base.mb_per_second);
    reached = reached && (block_bytes < (256u << 10) || median(single).mb_per_second >= 0.8 * base.mb_per_second);
  }
  std::printf("goal, 80 %% of raw from 256 KiB a block on one lane: %s\n", reached ? "reached" : "MISSED");
  std::error_code ignored;
  fs::remove(directory, ignored);  // if it is empty
  return reached ? 0 : 1;
}
