#include "tests/bench/common/measure.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace troupe::bench {

void die(const std::string& why) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, why.c_str());
  std::exit(1);
}

double seconds_since(clock_type::time_point from) {
  return std::chrono::duration<double>(clock_type::now() - from).count();
}

double ms(clock_type::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

double median(std::vector<double> v) {
  return spread{std::move(v)}.at(0.5);
}

spread::spread(std::vector<double> values) : values_{std::move(values)} {
  std::sort(values_.begin(), values_.end());
}

double spread::at(double quantile) const {
  if (values_.empty()) return 0;
  const auto rank = static_cast<std::size_t>(quantile * static_cast<double>(values_.size()));
  return values_[std::min(values_.size() - 1, rank)];
}

void show_ms(const char* what, std::vector<double> values) {
  const spread of{std::move(values)};
  if (of.size() == 0) return;
  std::printf("%-46s %6zu   p50 %7.1f   p90 %7.1f   p99 %7.1f   max %7.1f ms\n", what, of.size(), of.at(0.5),
              of.at(0.9), of.at(0.99), of.max());
}

double cpu_of(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line);
  const auto after_name = line.rfind(')');
  if (after_name == std::string::npos) return 0;
  unsigned long user = 0, sys = 0;
  std::sscanf(line.c_str() + after_name + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys);
  return static_cast<double>(user + sys) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

namespace {

double cpu_by(int who) {
  rusage u{};
  getrusage(who, &u);
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

}  // namespace

double own_cpu() {
  return cpu_by(RUSAGE_SELF);
}
double children_cpu() {
  return cpu_by(RUSAGE_CHILDREN);
}

void warm_page_cache(const std::filesystem::path& directory, double bytes) {
  const auto path = directory / "warm";
  const std::vector<char> block(1 << 20, 'x');
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  for (double written = 0; written < bytes; written += static_cast<double>(block.size()))
    if (write(fd, block.data(), block.size()) < 0) die("write " + path.string() + ": " + std::strerror(errno));
  close(fd);
  std::filesystem::remove(path);
}

std::uint16_t free_port() {
  // Outgoing connections get their ports from 32768 on: one of them could take a node's port while the node is down.
  constexpr unsigned first = 10'000, end = 32'000;
  static unsigned next = first + static_cast<unsigned>(getpid()) * 37 % (end - first);
  for (unsigned tries = 0; tries < end - first; ++tries) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto port = static_cast<std::uint16_t>(next);
    a.sin_port = htons(port);
    if (++next == end) next = first;
    const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool is_free = bind(s, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
    close(s);
    if (is_free) return port;
  }
  die("there is no free port");
}

options::options(int argc, char** argv, std::string usage) : usage_{std::move(usage)} {
  for (int i = 1; i < argc; ++i) {
    const std::string text = argv[i];
    const auto equals = std::min(text.find('='), text.size());
    if (!text.starts_with("--")) wrong(text);
    words_.push_back({text.substr(2, equals - 2), text.substr(std::min(equals + 1, text.size())), false});
  }
}

std::string* options::find(const std::string& name) {
  for (auto& w : words_)
    if (w.name == name) return w.used = true, &w.value;
  return nullptr;
}

double options::number(const std::string& name, double fallback) {
  const auto* value = find(name);
  if (!value) return fallback;
  char* end = nullptr;
  const double n = std::strtod(value->c_str(), &end);
  if (value->empty() || *end != '\0' || n < 0) wrong("--" + name + "=" + *value);
  return n;
}

int options::count(const std::string& name, int fallback) {
  return static_cast<int>(number(name, fallback));
}

std::string options::text(const std::string& name, std::string fallback) {
  const auto* value = find(name);
  return value ? *value : fallback;
}

bool options::flag(const std::string& name) {
  const auto* value = find(name);
  if (value && !value->empty()) wrong("--" + name + "=" + *value);
  return value != nullptr;
}

void options::done() const {
  for (const auto& w : words_)
    if (!w.used) wrong("--" + w.name);
}

void options::wrong(const std::string& what) const {
  die("'" + what + "' is no option; usage: " + usage_);
}

}  // namespace troupe::bench
