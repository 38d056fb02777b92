// Runs a fuzz target where there is no libFuzzer: every file of its corpus as it is, then random mutations of them for
// some seconds. It does not see which code ran, so it finds less than libFuzzer; but it runs in every build, under
// every compiler and sanitizer, and each input comes from a seed and its number alone.
//
//     fuzz_<name> <corpus> [seconds, 3] [seed, 1]
//
// When an input kills the process or takes 20 seconds, it is left in the working directory as crash-fuzz_<name>; a file
// in place of the folder runs that one input.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "runtime/base/check.hpp"
#include "runtime/base/random.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*)());

namespace {

using input = std::vector<std::uint8_t>;
constexpr std::size_t input_bytes_max = 64 << 10;
constexpr unsigned hang_seconds = 20;

std::vector<input> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  if (std::filesystem::is_regular_file(folder)) files.push_back(folder);
  if (std::filesystem::is_directory(folder))
    for (const auto& entry : std::filesystem::directory_iterator{folder})
      if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());  // the same seed gives the same inputs everywhere
  std::vector<input> out;
  for (const auto& file : files) {
    std::ifstream in{file, std::ios::binary};
    out.emplace_back(std::istreambuf_iterator<char>{in}, std::istreambuf_iterator<char>{});
  }
  return out;
}

/// The numbers at which decoders break: signs, limits, and lengths just beyond what is there.
std::uint64_t interesting(troupe::random_source& random, std::size_t size) {
  const std::uint64_t all[] = {0,
                               1,
                               0x7f,
                               0x80,
                               0xff,
                               0x7fff,
                               0x8000,
                               0xffff,
                               0x7fffffff,
                               0x80000000,
                               0xffffffff,
                               ~std::uint64_t{0},
                               std::uint64_t{1} << 63,
                               size,
                               size - 1,
                               size + 1,
                               size / 2};
  return all[random.below(std::size(all))];
}

input mutated(const std::vector<input>& corpus, troupe::random_source& random) {
  input data = corpus[random.below(corpus.size())];
  if (data.empty()) data.resize(1 + random.below(64));
  for (auto rounds = 1 + random.below(8); rounds > 0; --rounds) {
    const auto at = data.empty() ? 0 : random.below(data.size());
    const auto place = data.begin() + static_cast<std::ptrdiff_t>(at);
    const auto rest = data.size() - at;
    switch (random.below(8)) {
      case 0:  // flip a bit
        if (rest) *place = static_cast<std::uint8_t>(*place ^ (1u << random.below(8)));
        break;
      case 1:  // another byte
        if (rest) *place = static_cast<std::uint8_t>(random());
        break;
      case 2: {  // a number, big- or little-endian
        const std::size_t width = std::size_t{1} << random.below(4);
        const auto number = interesting(random, data.size());
        const bool big = random.chance(0.7);  // most of our formats are
        for (std::size_t i = 0; i < std::min<std::size_t>(width, rest); ++i)
          place[static_cast<std::ptrdiff_t>(i)] = static_cast<std::uint8_t>(number >> 8 * (big ? width - 1 - i : i));
        break;
      }
      case 3:  // cut off
        data.resize(at);
        break;
      case 4: {  // take something out
        const auto count = static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(rest, 32) + 1));
        data.erase(place, place + count);
        break;
      }
      case 5: {  // put something in
        input more(random.below(32));
        for (auto& byte : more) byte = static_cast<std::uint8_t>(random());
        data.insert(place, more.begin(), more.end());
        break;
      }
      case 6: {  // say something twice
        const auto count = static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(rest, 64) + 1));
        const input again(place, place + count);
        data.insert(place, again.begin(), again.end());
        break;
      }
      default: {  // go on like another input
        const auto& other = corpus[random.below(corpus.size())];
        const auto from = static_cast<std::ptrdiff_t>(random.below(other.size() + 1));
        data.resize(at);
        data.insert(data.end(), other.begin() + from, other.end());
      }
    }
  }
  if (data.size() > input_bytes_max) data.resize(input_bytes_max);
  return data;
}

// What is being tried, for the handlers below: a signal has no other way to it.
const input* current = nullptr;
std::string crash_file;

void save_input() {
  if (!current) return;
  const int fd = open(crash_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, current->data(), current->size()) < 0) return;
  close(fd);
  dprintf(2, "the input is in %s\n", crash_file.c_str());
}

void died(int signal_number) {
  save_input();
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

void watch_for_death() {
  std::vector<int> signals{SIGABRT, SIGALRM};
  if (__sanitizer_set_death_callback) {
    // The sanitizer's own handlers print where it happened, and call us.
    __sanitizer_set_death_callback(save_input);
  } else {
    signals.insert(signals.end(), {SIGSEGV, SIGBUS, SIGFPE, SIGILL});
  }
  static char stack[64 << 10];  // for when the other one has overflowed
  const stack_t other{stack, 0, sizeof stack};
  TROUPE_CHECK(sigaltstack(&other, nullptr) == 0);
  struct sigaction action {};
  action.sa_handler = died;
  action.sa_flags = SA_ONSTACK;
  for (const int number : signals) TROUPE_CHECK(sigaction(number, &action, nullptr) == 0);
}

void run(const input& data) {
  current = &data;
  alarm(hang_seconds);
  LLVMFuzzerTestOneInput(data.data(), data.size());
  alarm(0);
  current = nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s <corpus folder> [seconds] [seed]\n", argv[0]);
    return 2;
  }
  const auto seconds = argc > 2 ? std::strtod(argv[2], nullptr) : std::filesystem::is_regular_file(argv[1]) ? 0.0 : 3.0;
  const auto seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  const auto corpus = read_corpus(argv[1]);
  if (corpus.empty()) {  // from nothing, mutations hardly get past the first check of a decoder
    std::fprintf(stderr, "there is no corpus in %s\n", argv[1]);
    return 2;
  }
  crash_file = "crash-" + std::filesystem::path{argv[0]}.filename().string();
  watch_for_death();
  for (const auto& data : corpus) run(data);

  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>{seconds};
  std::uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    troupe::random_source random{seed * 1'000'003 + runs};
    run(mutated(corpus, random));
  }
  std::printf("%zu inputs of the corpus, %llu mutations (seed %llu)\n", corpus.size(),
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(seed));
}
