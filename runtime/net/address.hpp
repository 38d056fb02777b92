#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/result.hpp"

/// Sockets, and HTTP on them: what every door needs and no door's business.
namespace troupe::net {

/// Where something listens or may be reached: a name or an IPv4 or IPv6 address (without brackets), and a port.
struct address {
  std::string host;
  std::uint16_t port{0};

  /// `host:port`, an IPv6 address in brackets: what `parse_address` reads.
  std::string text() const;
  /// 0.0.0.0 or :: in any spelling: fine to listen on, useless to tell a client.
  bool is_wildcard() const;
  friend bool operator==(const address&, const address&) = default;
};

/// Reads `HOST:PORT`: `127.0.0.1:9092`, `[::1]:9092`, `broker-1.example:9092`. Names are not looked up. Error
/// invalid_request: says what is wrong with the text.
result<address> parse_address(std::string_view text);

/// A file descriptor that closes itself.
class descriptor {
public:
  descriptor() = default;
  explicit descriptor(int fd) noexcept : fd_{fd} {}
  descriptor(descriptor&& other) noexcept : fd_{other.release()} {}
  descriptor& operator=(descriptor other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor();
  int get() const noexcept { return fd_; }
  /// Hands it over: the caller closes it.
  int release() noexcept { return std::exchange(fd_, -1); }

private:
  int fd_{-1};
};

struct listening {
  struct socket {
    descriptor fd;
    bool ipv6{false};
  };
  /// One per address of the host (`localhost` often has two); at least one.
  std::vector<socket> sockets;
  std::uint16_t port{0};  ///< the real one where 0 was asked for; the same for all
};

/// Opens listening TCP sockets on every address of `at.host`; `::` takes IPv4 as well. Blocks while a name is looked
/// up. Error system: a sentence for the operator (taken, not an address of this machine, unknown name, no permission).
result<listening> listen_on(const address& at);

}  // namespace troupe::net
