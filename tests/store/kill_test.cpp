#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "tests/store/workload.hpp"
#include "tests/support/scratch.hpp"

// `kill -9` of a process that writes: whatever it said to be stored is there afterwards, under both durabilities.
// The writer is this program again, started anew (never a bare fork: LMDB does not survive one).

extern char** environ;

namespace troupe::test {
namespace {

using store::durability;
using store::log_store;

constexpr int slots = 5;
constexpr std::size_t batch_bytes_max = 40'000;
constexpr std::size_t outstanding = 32;

store::options small_store(unsigned lanes) {
  return {.lanes = lanes,
          .segment_bytes = 1 << 20,
          .block_bytes = 128 << 10,
          .interval = std::chrono::milliseconds{5},
          .reserve_bytes = 1 << 20,
          .reader_threads = 1};
}

/// What the child tells: `steps` steps of `slot` are done. Slot -1: the store is open.
struct word {
  std::int32_t slot;
  std::uint32_t steps;
};

history_options history_of(std::uint64_t seed) {
  return {.seed = seed, .batch_bytes_max = batch_bytes_max};
}

/// The child: plays a history on what it finds until somebody kills it.
int write_until_killed(char** arguments) {
  const std::filesystem::path directory = arguments[0];
  const auto seed = std::strtoull(arguments[1], nullptr, 10);
  const auto level = std::strcmp(arguments[2], "group") == 0 ? durability::group : durability::interval;
  const auto lanes = static_cast<unsigned>(std::atoi(arguments[3]));
  auto say = [](word w) {
    if (::write(STDOUT_FILENO, &w, sizeof w) != sizeof w) std::_Exit(3);
  };
  auto opened = log_store::open(directory, small_store(lanes), [](const store::notice&) {});
  if (!opened) {
    std::fprintf(stderr, "child: %s\n", opened.error().text.c_str());
    return 2;
  }
  std::vector<std::string> trouble;
  auto found = read_contents(**opened, slots, trouble);
  if (!trouble.empty()) {
    std::fprintf(stderr, "child: %s\n", trouble.front().c_str());
    return 2;
  }
  say({-1, 0});
  history goes_on{std::move(found), history_of(seed)};
  player plays{**opened, slots, [&](int) { return level; }, batch_bytes_max,
               [&](int slot, std::uint64_t steps) {
                 say({slot, static_cast<std::uint32_t>(steps)});
               }};
  while (plays.play(goes_on.next(), outstanding)) {
  }
  std::fprintf(stderr, "child: %s\n", plays.refusal()->text.c_str());
  return 2;
}

class child {
public:
  child(const std::filesystem::path& directory, std::uint64_t seed, durability level, unsigned lanes) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error{"pipe"};
    from_ = ends[0];
    std::vector<std::string> words{"/proc/self/exe",
                                   "--write-until-killed",
                                   directory.string(),
                                   std::to_string(seed),
                                   level == durability::group ? "group" : "interval",
                                   std::to_string(lanes)};
    std::vector<char*> arguments;
    for (auto& w : words) arguments.push_back(w.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    const int failed = ::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (failed) throw std::runtime_error{"posix_spawn"};
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    kill();
    ::close(from_);
  }

  /// The next word; nothing once it is dead and all it said was read.
  std::optional<word> next() {
    pollfd ready{from_, POLLIN, 0};
    if (::poll(&ready, 1, 30'000) != 1) {
      ADD_FAILURE() << "the child said nothing for 30 s";
      return std::nullopt;
    }
    word w{};
    return ::read(from_, &w, sizeof w) == sizeof w ? std::optional{w} : std::nullopt;
  }
  void kill() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with status " << WEXITSTATUS(status);
    pid_ = -1;
  }

private:
  pid_t pid_{-1};
  int from_{-1};
};

/// Kills a writer again and again on one store.
void run(durability level, std::uint64_t seed, int kills) {
  random_source chance{seed};
  scratch_directory dir;
  const unsigned lanes = seed % 2 ? 1 : 2;
  const auto directory = dir.path() / "store";
  std::filesystem::create_directory(directory);
  contents current;
  {
    auto opened = log_store::open(directory, small_store(lanes), [](const store::notice&) {});
    ASSERT_TRUE(opened.ok()) << opened.error().text;
    for (int i = 0; i < slots; ++i) {
      ASSERT_TRUE((*opened)->create({identity_of(i, 1)}, level).ok());
      current[i] = {.generation = 1, .exists = true};
    }
  }
  std::vector<int> one_order;
  if (lanes == 1)
    for (int i = history_options{}.kept_from; i < slots; ++i) one_order.push_back(i);

  for (int k = 0; k < kills; ++k) {
    const auto round_seed = chance();
    const auto story = "seed " + std::to_string(seed) + " kill " + std::to_string(k);
    step_counts acknowledged;
    std::uint64_t all = 0;
    auto hear = [&](const word& w) {
      if (w.slot < 0) return;
      all += w.steps - acknowledged[w.slot];
      acknowledged[w.slot] = w.steps;
    };
    {
      child writer{directory, round_seed, level, lanes};
      if (chance.chance(0.15)) {
        // While it opens. The moment is the fault; nothing waits for this sleep.
        std::this_thread::sleep_for(std::chrono::microseconds{chance.below(15'000)});
      } else {
        const auto enough = 1 + chance.below(250);
        while (all < enough) {
          const auto w = writer.next();
          ASSERT_TRUE(w) << story;
          hear(*w);
        }
      }
      writer.kill();
      while (auto w = writer.next()) hear(*w);
    }
    std::vector<step> steps;
    history same{current, history_of(round_seed)};
    for (std::uint64_t played = 0; played < all + outstanding + 2; played += steps.back().what != step::kind::clean)
      steps.push_back(same.next());

    auto opened = log_store::open(directory, small_store(lanes), [](const store::notice&) {});
    ASSERT_TRUE(opened.ok()) << story << ": " << opened.error().text;
    std::vector<std::string> trouble;
    auto found = read_contents(**opened, slots, trouble);
    if (trouble.empty()) trouble = compare(current, steps, acknowledged, found, one_order);
    for (const auto& line : trouble) ADD_FAILURE() << story << ": " << line;
    ASSERT_TRUE(trouble.empty());
    current = std::move(found);
  }
}

TEST(KillNine, NothingAcknowledgedUnderGroupIsLost) {
  for (std::uint64_t seed = 1; seed <= 6 && !::testing::Test::HasFailure(); ++seed) run(durability::group, seed, 8);
}

TEST(KillNine, NothingAcknowledgedUnderIntervalIsLost) {
  for (std::uint64_t seed = 1; seed <= 6 && !::testing::Test::HasFailure(); ++seed) run(durability::interval, seed, 8);
}

}  // namespace
}  // namespace troupe::test

int main(int count, char** arguments) {
  if (count == 6 && std::strcmp(arguments[1], "--write-until-killed") == 0)
    return troupe::test::write_until_killed(arguments + 2);
  ::testing::InitGoogleTest(&count, arguments);
  return RUN_ALL_TESTS();
}
