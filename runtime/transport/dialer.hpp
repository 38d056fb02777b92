#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/net/address.hpp"

namespace troupe {

/// Finds out, on threads of its own, whether something listens at an address.
///
/// CAF connects all peers in one actor and does not tell why it failed: a host that swallows packets would hold up
/// everybody else. So a plain connection is tried first, with a deadline.
class dialer {
public:
  enum class outcome : std::uint8_t { answers, refused, unreachable };
  struct finding {
    outcome what{outcome::unreachable};
    std::string host;  ///< where it answers, as a number
    std::string why;
  };
  explicit dialer(unsigned threads);
  /// As `stop`.
  ~dialer();

  /// `then` runs on one of the threads and may take its time.
  void dial(net::address, std::function<void(const finding&)> then);
  /// Drops what waits, and waits for what runs.
  void stop();

private:
  struct job {
    net::address at;
    std::function<void(const finding&)> then;
  };
  void run();
  finding probe(const net::address&) const;

  std::mutex lock_;
  std::condition_variable work_;
  std::deque<job> jobs_;
  bool stopping_{false};
  net::descriptor stop_signal_;
  std::vector<std::thread> threads_;
};

}  // namespace troupe
