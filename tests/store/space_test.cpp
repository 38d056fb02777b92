#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/store/one_log.hpp"
#include "tests/support/scratch.hpp"

// Space: what a really full disk does, and how trimmed and dropped logs give theirs back, segment by segment.

namespace troupe::test {
namespace {

using store::durability;
using store::log_store;

std::unique_ptr<log_store> open_store(const std::filesystem::path& directory, std::uint64_t reserve_bytes) {
  auto opened = log_store::open(directory,
                                {.lanes = 1,
                                 .segment_bytes = 1 << 20,
                                 .block_bytes = 128 << 10,
                                 .interval = std::chrono::milliseconds{5},
                                 .reserve_bytes = reserve_bytes,
                                 .reader_threads = 1},
                                {});
  EXPECT_TRUE(opened.ok()) << opened.error().text;
  return opened ? std::move(*opened) : nullptr;
}

constexpr std::chrono::seconds patience{20};

/// Cleans until `enough`, which dropped segments bring about; a thread of the store deletes them.
template <class Condition>
bool clean_until(log_store& store, Condition enough) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!enough()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    store.clean();
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  return true;
}

/// Makes this process root in namespaces of its own, which most machines allow to anyone. It must have one thread.
bool become_root_here() {
  const auto user = std::to_string(::getuid()), group = std::to_string(::getgid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", "0 " + user + " 1");
  write_file("/proc/self/gid_map", "0 " + group + " 1");
  return true;
}

/// A small disk of its own: a tmpfs, which needs root, or to be like root in a namespace.
class FullDisk : public ::testing::TestWithParam<durability> {
protected:
  scratch_directory dir;
  bool mounted{false};

  void SetUp() override {
    const auto mount_it = [&] {
      return mounted = ::mount("tmpfs", dir.path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=16m") == 0;
    };
    if (mount_it()) return;
    const std::string why = std::string{"cannot mount a small tmpfs: "} + std::strerror(errno);
    if (become_root_here() && mount_it()) return;
    if (const char* allowed = std::getenv("TROUPE_ALLOW_SKIPS"); allowed && std::strcmp(allowed, "1") == 0)
      GTEST_SKIP() << why;
    FAIL()
        << why
        << ". This test needs root (CAP_SYS_ADMIN) or user namespaces. Run it as root, or with TROUPE_ALLOW_SKIPS=1 to "
           "leave it out.";
  }
  void TearDown() override {
    if (mounted) ::umount2(dir.path().c_str(), MNT_DETACH);
  }

  /// `mixed`: a log that stays has a little in every segment, so that only the cleaner can free them.
  void run(std::uint64_t reserve_bytes, bool by_trimming, bool mixed) {
    const auto level = GetParam();
    const auto where = dir.path() / "store";
    std::filesystem::create_directory(where);
    log_offset kept_end, filler_end;
    {
      auto store = open_store(where, reserve_bytes);
      ASSERT_TRUE(store);
      one_log kept{*store, 0, level, 20'000};
      result<void> how;
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(kept.append().ok());
      {
        one_log filler{*store, 1, level, 60'000};
        for (int i = 0; i < 5000 && how; ++i) how = mixed && i % 8 == 0 ? kept.append() : filler.append();
        ASSERT_FALSE(how.ok()) << "16 MiB took everything";
        EXPECT_EQ(how.code(), errc::storage_full) << how.error().text;
        EXPECT_TRUE(store->stats().full);
        EXPECT_FALSE(store->stats().failed);
        EXPECT_EQ(kept.append().code(), errc::storage_full);
        // Reading goes on.
        EXPECT_EQ(kept.trouble(), std::nullopt);
        EXPECT_EQ(filler.trouble(), std::nullopt);
        filler_end = filler.end();
        if (by_trimming) {
          auto trimmed = filler.trim(filler_end);
          ASSERT_TRUE(trimmed.ok()) << trimmed.error().text;
        }
      }
      if (!by_trimming) {
        std::vector<log_id> fillers;
        for (const auto& x : store->logs())
          if (x.identity == identity_of(1, 1)) fillers.push_back(x.id);
        auto dropped = store->drop(fillers);
        ASSERT_TRUE(dropped.ok()) << dropped.error().text;
      }
      const auto before = store->stats().segments;
      EXPECT_TRUE(clean_until(*store, [&] { return store->stats().segments < before / 2; }))
          << store->stats().segments << " of " << before << " segments are still there";
      how = kept.append_until(patience);
      ASSERT_TRUE(how.ok()) << how.error().text;
      for (int i = 0; i < 50; ++i) ASSERT_TRUE(kept.append_until(patience).ok());
      EXPECT_FALSE(store->stats().full);
      EXPECT_EQ(kept.trouble(), std::nullopt);
      kept_end = kept.end();
    }
    auto store = open_store(where, reserve_bytes);
    ASSERT_TRUE(store);
    one_log kept{*store, 0, level, 20'000};
    EXPECT_EQ(kept.end(), kept_end);
    EXPECT_EQ(kept.trouble(), std::nullopt);
  }
};

TEST_P(FullDisk, BelowTheReserveAppendsWaitForTrimming) {
  run(2 << 20, true, true);
}

TEST_P(FullDisk, BelowTheReserveAppendsWaitForDroppedLogs) {
  run(2 << 20, false, true);
}

TEST_P(FullDisk, WithoutAReserveTheLastByteIsNoDisaster) {
  run(1, false, false);
}

INSTANTIATE_TEST_SUITE_P(, FullDisk, ::testing::Values(durability::group, durability::interval),
                         [](const auto& x) { return x.param == durability::group ? "group" : "interval"; });

class Retention : public ::testing::TestWithParam<durability> {};

TEST_P(Retention, TrimmingReturnsSpaceSegmentBySegment) {
  scratch_directory dir;
  auto store = open_store(dir.path(), 1 << 20);
  ASSERT_TRUE(store);
  one_log log{*store, 0, GetParam(), 50'000};
  while (store->stats().segments < 8) ASSERT_TRUE(log.append().ok());
  const auto all = bytes_below(dir.path());
  auto segments = store->stats().segments;
  const auto end = log.end().value();
  for (int part = 1; part <= 4; ++part) {
    ASSERT_TRUE(log.trim(log_offset{end * part / 4}).ok());
    const auto due = segments > 2 ? segments - 1 : segments;
    EXPECT_TRUE(clean_until(*store, [&] { return store->stats().segments <= due; })) << "part " << part;
    EXPECT_EQ(log.trouble(), std::nullopt) << "part " << part;
    segments = store->stats().segments;
  }
  EXPECT_LE(segments, 2u);
  EXPECT_LT(bytes_below(dir.path()), all / 3);
  EXPECT_LT(store->stats().disk_bytes, all / 3);
  EXPECT_EQ(log.end().value(), end);
  ASSERT_TRUE(log.append().ok());
  EXPECT_EQ(log.trouble(), std::nullopt);
}

TEST_P(Retention, AFewLiveBatchesDoNotKeepASegmentOfDeadOnes) {
  scratch_directory dir;
  log_offset thin_end;
  {
    auto store = open_store(dir.path(), 1 << 20);
    ASSERT_TRUE(store);
    one_log bulky{*store, 0, GetParam(), 60'000}, thin{*store, 1, GetParam(), 2'000};
    for (int i = 0; store->stats().segments < 10; ++i) {
      ASSERT_TRUE(bulky.append().ok());
      if (i % 6 == 0) {
        ASSERT_TRUE(thin.append().ok());
      }
    }
    ASSERT_TRUE(bulky.trim(bulky.end()).ok());
    EXPECT_TRUE(clean_until(*store, [&] { return store->stats().segments <= 4; })) << store->stats().segments;
    EXPECT_GT(store->stats().batches_moved, 0u);
    EXPECT_EQ(thin.trouble(), std::nullopt);
    thin_end = thin.end();
  }
  auto store = open_store(dir.path(), 1 << 20);
  ASSERT_TRUE(store);
  one_log thin{*store, 1, GetParam(), 2'000};
  EXPECT_EQ(thin.end(), thin_end);
  EXPECT_EQ(thin.trouble(), std::nullopt);
}

TEST_P(Retention, ASegmentThatGetsNoDescriptorIsRefusedAndComesLater) {
  scratch_directory dir;
  auto store = open_store(dir.path(), 1 << 20);
  ASSERT_TRUE(store);
  one_log log{*store, 0, GetParam(), 60'000};
  ASSERT_TRUE(log.append().ok());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  // Nobody gets a new one; what is open stays.
  const rlimit none{3, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  result<void> how;
  for (int i = 0; i < 100 && how; ++i) how = log.append();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(how.ok()) << "new segments need no descriptors";
  EXPECT_EQ(how.code(), errc::storage_full) << how.error().text;
  EXPECT_FALSE(store->stats().failed);
  EXPECT_TRUE(clean_until(*store, [&] { return log.append().ok(); }));
  EXPECT_EQ(log.trouble(), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(, Retention, ::testing::Values(durability::group, durability::interval),
                         [](const auto& x) { return x.param == durability::group ? "group" : "interval"; });

}  // namespace
}  // namespace troupe::test
