#include "tests/integration/process.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

namespace troupe::test {

using std::chrono::duration_cast;
using std::chrono::steady_clock;

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// -- children ---------------------------------------------------------------------------------------------

child::child(const std::vector<std::string>& arguments, const files& with) {
  std::vector<char*> argv;
  for (const auto& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const auto parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);  // the parent was gone before it could take us along
    const int in = ::open(with.in.c_str(), O_RDONLY);
    const int out = ::open(with.out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int err = ::open(with.err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (in < 0 || out < 0 || err < 0) ::_exit(126);
    ::dup2(in, 0);
    ::dup2(out, 1);
    ::dup2(err, 2);
    ::closefrom(3);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  if (pid_ < 0) throw std::runtime_error{"fork"};
  pid_fd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (pid_fd_ < 0) throw std::runtime_error{"pidfd_open"};
}

child::~child() {
  if (!status_) {
    ::kill(pid_, SIGKILL);
    wait(seconds{30});
  }
  ::close(pid_fd_);
}

std::optional<int> child::wait(milliseconds limit) {
  if (status_) return status_;
  pollfd ended{pid_fd_, POLLIN, 0};
  if (::poll(&ended, 1, static_cast<int>(limit.count())) <= 0) return std::nullopt;
  int raw = 0;
  ::waitpid(pid_, &raw, 0);
  status_ = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
  return status_;
}

void child::signal(int number) const {
  if (!status_) ::kill(pid_, number);
}

outcome run(const std::vector<std::string>& arguments, std::string_view input, seconds limit) {
  scratch files;
  write_file(files / "in", input);
  outcome result;
  {
    child program{arguments, {files / "in", files / "out", files / "err"}};
    result.status = program.wait(limit).value_or(-1);
  }
  result.out = read_file(files / "out");
  result.err = read_file(files / "err");
  return result;
}

// -- nodes ------------------------------------------------------------------------------------------------

namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(port);
  return a;
}

}  // namespace

std::uint16_t free_port() {
  // Outgoing connections get their ports from 32768 on: one of them could take a node's port while the node is down.
  constexpr unsigned first = 10'000, end = 32'000;
  static unsigned next = first + static_cast<unsigned>(::getpid()) * 37 % (end - first);
  for (unsigned tries = 0; tries < end - first; ++tries) {
    const auto port = static_cast<std::uint16_t>(next);
    if (++next == end) next = first;
    const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto a = loopback(port);
    const bool is_free = ::bind(s, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
    ::close(s);
    if (is_free) return port;
  }
  throw std::runtime_error{"no free port"};
}

static http_answer http_ask(std::uint16_t port, const std::string& request) {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{10, 0};
  ::setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const auto a = loopback(port);
  std::string all;
  if (::connect(s, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0) {
    if (::send(s, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
      char buffer[16384];
      for (ssize_t n; (n = ::recv(s, buffer, sizeof buffer, 0)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
    }
  }
  ::close(s);
  http_answer answer;
  if (all.starts_with("HTTP/1.1 ")) answer.status = std::atoi(all.c_str() + 9);
  if (const auto body = all.find("\r\n\r\n"); body != std::string::npos) answer.body = all.substr(body + 4);
  return answer;
}

http_answer http_get(std::uint16_t port, std::string_view path) {
  return http_ask(port, "GET " + std::string{path} + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
}

http_answer http_post(std::uint16_t port, std::string_view path, std::string_view json) {
  return http_ask(port, "POST " + std::string{path} +
                            " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                            "Content-Length: " +
                            std::to_string(json.size()) + "\r\n\r\n" + std::string{json});
}

node::node(options more, launcher by)
    : more_{std::move(more)}, by_{std::move(by)}, kafka_port_{free_port()}, http_port_{free_port()} {
  start();
}
node::~node() {
  if (::testing::Test::HasFailure()) std::fprintf(stderr, "--- what the node wrote\n%s---\n", log().c_str());
}

milliseconds node::start() {
  // Each life has its own file, so that a crash in one is not overwritten by the next.
  const auto err = home_ / ("log-" + std::to_string(++life_));
  auto arguments = by_.command;
  for (auto& own : {std::string{TROUPE_NODE}, "--data-dir=" + data().string(), "--kafka=" + address(),
                    "--http=127.0.0.1:" + std::to_string(http_port_)})
    arguments.push_back(own);
  arguments.insert(arguments.end(), more_.begin(), more_.end());
  const auto begun = steady_clock::now();
  process_.reset();
  process_.emplace(arguments, child::files{.out = home_ / "out", .err = err});
  while (http_get(http_port_, "/readyz").status != 200) {
    if (auto ended = process_->wait(milliseconds{2})) {
      ADD_FAILURE() << "the node ended with " << *ended << ": " << read_file(err);
      break;
    }
    if (steady_clock::now() - begun > seconds{60}) {
      ADD_FAILURE() << "the node was not ready after 60 s: " << read_file(err);
      break;
    }
  }
  return duration_cast<milliseconds>(steady_clock::now() - begun);
}

int node::stop() {
  process_->signal(SIGTERM);
  const auto status = process_->wait(seconds{30});
  EXPECT_TRUE(status.has_value()) << "the node does not stop";
  if (!status) kill();
  return status.value_or(-1);
}

void node::kill() {
  process_->signal(SIGKILL);
  process_->wait(seconds{30});
}

bool node::running() {
  return !process_->wait(milliseconds{0});
}

double node::metric(std::string_view name) const {
  for (const auto& line : lines_of(http_get(http_port_, "/metrics").body))
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ' ')
      return std::stod(line.substr(name.size() + 1));
  return 0;
}

std::uint64_t node::memory(std::string_view what) const {
  for (const auto& line : lines_of(read_file("/proc/" + std::to_string(pid()) + "/status")))
    if (line.starts_with(what)) return std::stoull(line.substr(what.size())) * 1024;
  return 0;
}

std::string node::log() const {
  std::string all;
  for (int life = 1; life <= life_; ++life) all += read_file(home_ / ("log-" + std::to_string(life)));
  return all;
}

// -- clients ----------------------------------------------------------------------------------------------

outcome kcat(const node& n, std::vector<std::string> arguments, std::string_view input, seconds limit) {
  arguments.insert(arguments.begin(), {"kcat", "-b", n.address()});
  return run(arguments, input, limit);
}

std::vector<std::string> python_command(const std::string& script, std::vector<std::string> arguments) {
  // Debian's own interpreter: another one in the path would not find Debian's packages.
  arguments.insert(arguments.begin(), {"/usr/bin/python3", TROUPE_SOURCE "/tests/integration/" + script});
  return arguments;
}

outcome python(const std::string& script, std::vector<std::string> arguments, std::string_view input, seconds limit) {
  return run(python_command(script, std::move(arguments)), input, limit);
}

const std::string& cities_text() {
  static const auto text = [] {
    std::string all;
    const auto file = ::gzopen(TROUPE_SOURCE "/tests/data/cities.csv.gz", "rb");
    if (!file) throw std::runtime_error{"tests/data/cities.csv.gz"};
    char buffer[65536];
    for (int n; (n = ::gzread(file, buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
    ::gzclose(file);
    return all.substr(all.find('\n') + 1);
  }();
  return text;
}

const std::vector<std::string>& cities() {
  static const auto lines = lines_of(cities_text());
  return lines;
}

}  // namespace troupe::test
