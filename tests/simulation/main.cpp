#include <getopt.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/simulation/rule_names.hpp"
#include "tests/simulation/scenario.hpp"
#include "tests/simulation/storm.hpp"

// `./dev sim`: storms by the thousand. Every seed stands for itself, so a run that was stopped goes on with --from.

namespace {

using namespace troupe;
using namespace troupe::sim;

struct plan {
  std::uint64_t from{1}, seeds{1000};
  unsigned jobs{std::max(1u, std::thread::hardware_concurrency())};
  rule without{rule::count};
  bool tell{false}, table{false}, seeded{false};
  std::string scenario;
  bool rewrite{false};
};

struct tally {
  std::mutex mutex;
  std::uint64_t storms{0}, bad{0}, committed{0}, messages{0}, acknowledged{0}, read{0}, calls{0};
  double seconds{0};
  std::uint64_t first_bad{0};
  std::string what;
};

void report(std::uint64_t seed, const plan& p, const storm_result& r) {
  std::printf("seed %llu (%s)%s%s\n", static_cast<unsigned long long>(seed), r.shape.c_str(),
              p.without == rule::count ? "" : " without ",
              p.without == rule::count ? "" : std::string{to_string(p.without)}.c_str());
  for (const auto& line : r.story) std::printf("  %s\n", line.c_str());
  for (const auto& v : r.violations) std::printf("  => %s\n", v.c_str());
  std::printf("  again: sim --from=%llu --seeds=1 --tell\n", static_cast<unsigned long long>(seed));
}

/// Runs the seeds of a plan on several threads; stops at the first bad one if `until_bad`.
void run(const plan& p, tally& t, bool until_bad) {
  std::atomic<std::uint64_t> next{p.from};
  std::atomic<bool> enough{false};
  auto work = [&] {
    for (;;) {
      const auto seed = next++;
      if (seed >= p.from + p.seeds || enough) return;
      const auto r = run_storm({.seed = seed, .without = p.without, .tell = p.tell});
      const std::scoped_lock lock{t.mutex};
      ++t.storms;
      t.committed += r.committed;
      t.messages += r.messages;
      t.acknowledged += r.acknowledged;
      t.read += r.read;
      t.calls += r.calls;
      t.seconds += r.simulated_seconds;
      if (!r.violations.empty()) {
        ++t.bad;
        if (t.first_bad == 0 || seed < t.first_bad) {
          t.first_bad = seed;
          t.what = r.violations.front();
        }
        if (until_bad)
          enough = true;
        else
          report(seed, p, r);
      }
      if (!until_bad && t.storms % 1000 == 0)
        std::fprintf(stderr, "%llu of %llu storms, %llu bad\n", static_cast<unsigned long long>(t.storms),
                     static_cast<unsigned long long>(p.seeds), static_cast<unsigned long long>(t.bad));
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < p.jobs; ++i) threads.emplace_back(work);
  for (auto& one : threads) one.join();
}

int table(plan p) {
  std::printf("| rule removed | seeds until noticed | by |\n|---|---|---|\n");
  for (int i = 0; i < static_cast<int>(rule::count); ++i) {
    p.without = static_cast<rule>(i);
    tally t;
    run(p, t, true);
    const std::string name{to_string(p.without)};
    if (t.bad)
      std::printf("| %s | %llu | %s |\n", name.c_str(), static_cast<unsigned long long>(t.first_bad - p.from + 1),
                  t.what.c_str());
    else
      std::printf("| %s | not in %llu | |\n", name.c_str(), static_cast<unsigned long long>(p.seeds));
    std::fflush(stdout);
  }
  return 0;
}

/// Plays what is told at `p.scenario`; exit code 1 if one of them went another way.
int scenarios(const plan& p) {
  int exit_code = 0;
#ifdef TROUPE_REMOVABLE_RULES
  removed_rule = p.without;
#endif
  for (const auto& file : scenarios_at(p.scenario)) {
    const auto text = read_text(file);
    const auto told = text ? scenario::parse(file, *text) : result<scenario>{text.error()};
    if (!told) {
      std::printf("%s\n", told.error().text.c_str());
      exit_code = 1;
      continue;
    }
    scenario::staging how;
    if (p.tell) how.told = [](const std::string& line) { std::printf("%s\n", line.c_str()); };
    if (p.seeded) {
      // What is promised does not depend on chance; where the text does, it should say less.
      std::uint64_t otherwise = 0;
      for (how.seed = p.from; *how.seed < p.from + p.seeds; ++*how.seed) {
        const auto out = told->play(how);
        if (out.ok()) continue;
        std::printf("With seed %llu\n%s", static_cast<unsigned long long>(*how.seed), complaint(*told, out).c_str());
        ++otherwise;
      }
      std::printf("%s: otherwise with %llu of %llu seeds\n", file.c_str(), static_cast<unsigned long long>(otherwise),
                  static_cast<unsigned long long>(p.seeds));
      if (otherwise != 0) exit_code = 1;
      continue;
    }
    const auto out = told->play(how);
    if (p.rewrite && out.violations.empty()) {
      const bool same = out.text == *text;
      if (const auto written = write_text(file, out.text); !written) {
        std::printf("%s\n", written.error().text.c_str());
        exit_code = 1;
      }
      std::printf("%s: %s\n", file.c_str(), same ? "as before" : "rewritten");
    } else if (out.ok()) {
      std::printf("%s: as told\n", file.c_str());
    } else {
      std::printf("%s", complaint(*told, out).c_str());
      exit_code = 1;
    }
  }
  return exit_code;
}

int usage(const char* why) {
  std::fprintf(stderr,
               "sim: %s\n"
               "sim [--seeds=N] [--from=S] [--jobs=J] [--without=RULE] [--tell]   storms; exit 1 if one is bad\n"
               "sim --table [--seeds=N]   takes away each rule of the protocol in turn\n"
               "sim --scenario=PATH [--without=RULE] [--tell] [--rewrite]   a story told as text, or a folder of them; "
               "exit 1 if one goes "
               "another way. --rewrite writes down what happened as what is expected\n"
               "sim --scenario=PATH --seeds=N [--from=S]   the same with other seeds than the text's\n",
               why);
  return 2;
}

}  // namespace

int main(int count, char** arguments) {
  plan p;
  const option options[] = {{"seeds", required_argument, nullptr, 's'},
                            {"from", required_argument, nullptr, 'f'},
                            {"jobs", required_argument, nullptr, 'j'},
                            {"without", required_argument, nullptr, 'w'},
                            {"tell", no_argument, nullptr, 't'},
                            {"table", no_argument, nullptr, 'm'},
                            {"scenario", required_argument, nullptr, 'c'},
                            {"rewrite", no_argument, nullptr, 'r'},
                            {nullptr, 0, nullptr, 0}};
  for (int o = 0; (o = ::getopt_long(count, arguments, "", options, nullptr)) != -1;) {
    char* end = nullptr;
    const auto number = o == 's' || o == 'f' || o == 'j' ? std::strtoull(optarg, &end, 10) : 0;
    if (end && (*end || number == 0)) return usage("a number from 1 on is needed");
    p.seeded = p.seeded || o == 's';
    if (o == 's')
      p.seeds = number;
    else if (o == 'f')
      p.from = number;
    else if (o == 'j')
      p.jobs = static_cast<unsigned>(std::min(number, 64ull));
    else if (o == 'w') {
      const auto found = rule_named(optarg);
      if (!found) return usage("no such rule; runtime/base/rules.hpp has them");
      p.without = *found;
    } else if (o == 't')
      p.tell = true;
    else if (o == 'm')
      p.table = true;
    else if (o == 'c')
      p.scenario = optarg;
    else if (o == 'r')
      p.rewrite = true;
    else
      return usage("unknown option");
  }
  if (optind != count) return usage("unknown argument");
  if (!p.scenario.empty()) return scenarios(p);
  if (p.rewrite) return usage("--rewrite needs a --scenario");
  if (p.tell) p.jobs = 1;
  if (p.table) return table(p);
  tally t;
  const auto began = std::chrono::steady_clock::now();
  run(p, t, false);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  std::printf(
      "sim: %llu storms from seed %llu, %llu bad; %.1f simulated hours in %.0f s (%.0f x real time on %u threads), "
      "%llu messages, %llu records committed, %llu batches acknowledged, %llu calls to entities answered; go on with "
      "--from=%llu\n",
      static_cast<unsigned long long>(t.storms), static_cast<unsigned long long>(p.from),
      static_cast<unsigned long long>(t.bad), t.seconds / 3600, took.count(), t.seconds / took.count(), p.jobs,
      static_cast<unsigned long long>(t.messages), static_cast<unsigned long long>(t.committed),
      static_cast<unsigned long long>(t.acknowledged), static_cast<unsigned long long>(t.calls),
      static_cast<unsigned long long>(p.from + p.seeds));
  return t.bad ? 1 : 0;
}
