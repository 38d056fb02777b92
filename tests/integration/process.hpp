#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/scratch.hpp"

/// Programs that a test runs: tools to their end, nodes for as long as it needs them. Every child dies with the test,
/// whatever becomes of it. Nothing here sleeps for a while and hopes: it waits for an end, an answer or a time-out.
namespace troupe::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A folder of its own, on the disk rather than in memory.
class scratch : public scratch_directory {
public:
  scratch() : scratch_directory{std::filesystem::temp_directory_path()} {}
  std::filesystem::path operator/(std::string_view name) const { return path() / name; }
};

std::vector<std::string> lines_of(std::string_view text);

/// A running program. Its standard input comes from a file, its output goes to files.
class child {
public:
  struct files {
    std::filesystem::path in{"/dev/null"}, out{"/dev/null"}, err{"/dev/null"};
  };
  child(const std::vector<std::string>& arguments, const files&);
  ~child();  ///< kills it if it still runs
  child(const child&) = delete;
  child& operator=(const child&) = delete;

  /// The exit code (128 + signal when it died of one), or nothing after `limit`.
  std::optional<int> wait(milliseconds limit);
  void signal(int number) const;
  int pid() const { return pid_; }

private:
  int pid_{-1}, pid_fd_{-1};
  std::optional<int> status_;
};

struct outcome {
  int status{-1};  ///< -1: it had to be killed because it took too long
  std::string out, err;
};
/// Runs a program to its end.
outcome run(const std::vector<std::string>& arguments, std::string_view input = {}, seconds limit = seconds{120});

/// A port on 127.0.0.1 that nobody used a moment ago; each call gives another one.
std::uint16_t free_port();

struct http_answer {
  int status{0};  ///< 0: no answer
  std::string body;
};
http_answer http_get(std::uint16_t port, std::string_view path);
http_answer http_post(std::uint16_t port, std::string_view path, std::string_view json);

/// A node on a data directory. Starts and is ready when the constructor returns (or the test has failed).
class node {
public:
  using options = std::vector<std::string>;
  /// A program that starts another one, as in `prlimit --nofile=100`.
  struct launcher {
    std::vector<std::string> command;
  };
  explicit node(options more = {}) : node{std::move(more), launcher{}} {}
  node(options more, launcher by);
  ~node();

  std::uint16_t kafka_port() const { return kafka_port_; }
  std::uint16_t http_port() const { return http_port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(kafka_port_); }
  std::filesystem::path data() const { return home_ / "data"; }

  /// Starts it again, with the same addresses and data. Returns how long it took until it was ready.
  milliseconds start();
  /// SIGTERM, and waits for the end: the exit code.
  int stop();
  /// SIGKILL, at once.
  void kill();
  bool running();
  int pid() const { return process_->pid(); }

  /// The value of a metric without labels; 0 when it is not there.
  double metric(std::string_view name) const;
  /// Resident memory in bytes, now and at most.
  std::uint64_t resident() const { return memory("VmRSS:"); }
  std::uint64_t resident_peak() const { return memory("VmHWM:"); }
  /// What it wrote to standard error in all its lives.
  std::string log() const;

private:
  std::uint64_t memory(std::string_view line) const;

  scratch home_;
  options more_;
  launcher by_;
  std::uint16_t kafka_port_, http_port_;
  int life_{0};
  std::optional<child> process_;
};

/// kcat against a node, `arguments` after the address.
outcome kcat(const node&, std::vector<std::string> arguments, std::string_view input = {},
             seconds limit = seconds{120});
/// tests/integration/<script> with Debian's Python, which has confluent_kafka.
outcome python(const std::string& script, std::vector<std::string> arguments, std::string_view input = {},
               seconds limit = seconds{120});
std::vector<std::string> python_command(const std::string& script, std::vector<std::string> arguments);

/// The lines of tests/data/cities.csv.gz without its header: 135,233 of them.
const std::vector<std::string>& cities();
/// The same as one text.
const std::string& cities_text();

}  // namespace troupe::test
