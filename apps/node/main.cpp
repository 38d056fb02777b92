// troupe-node: reads its options, starts a node, waits for a signal, stops it. Exit codes: 0 orderly stop, 1 could not
// start or had to end, 2 wrong options.
#include <signal.h>
#include <unistd.h>

#include <cstdio>

#include "apps/node/node.hpp"
#include "apps/node/options.hpp"
#include "runtime/observe/log.hpp"

namespace {

constexpr int fatal_signal = SIGUSR1;  ///< how a failing node wakes main

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int s : {SIGTERM, SIGINT, fatal_signal}) sigaddset(&set, s);
  return set;
}

int run(const troupe::node_options& options) {
  using troupe::observe::level;
  // Blocked before the first thread starts, so that only sigwait below ever sees them.
  const auto ending = ending_signals();
  sigprocmask(SIG_BLOCK, &ending, nullptr);
  signal(SIGPIPE, SIG_IGN);

  troupe::observe::set_up_log(options.log_level);
  for (const auto& it : troupe::misspelt_variables(environ))
    troupe::observe::log(level::warn, "node", "variable_not_heeded", {{"why", it}});
  auto started = troupe::node::start(options, [](const troupe::error&) { kill(getpid(), fatal_signal); });
  if (!started) {
    std::fprintf(stderr, "troupe-node: %s\n", started.error().text.c_str());
    return 1;
  }
  auto& node = **started;
  std::fputs(node.banner().c_str(), stdout);
  std::fflush(stdout);

  int received = 0;
  sigwait(&ending, &received);
  troupe::observe::log(level::info, "node", "stopping", {{"signal", received}});
  node.stop();
  troupe::observe::log(level::info, "node", "stopped");
  // Everything is written and closed. Leaving the actor system's own shutdown aside: it can hang on detached actors,
  // and there is nothing left that it could save.
  std::fflush(nullptr);
  _exit(received == fatal_signal ? 1 : 0);
}

}  // namespace

int main(int argc, char** argv) {
  auto parsed = troupe::parse_options(argc, argv);
  if (!parsed) {
    std::fprintf(stderr, "troupe-node: %s\n", parsed.error().text.c_str());
    return 2;
  }
  if (!parsed->message.empty()) {  // --help, --version
    std::fputs(parsed->message.c_str(), stdout);
    return 0;
  }
  return run(parsed->options);
}
