#include "runtime/net/address.hpp"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

namespace troupe::net {
namespace {

constexpr std::size_t host_bytes_max = 253;  // of a DNS name
constexpr int backlog = 1024;                // the kernel cuts it to net.core.somaxconn

bool is_ipv6(const std::string& host) {
  // A zone (`fe80::1%eth0`) is the resolver's business.
  in6_addr ignored{};
  return inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &ignored) == 1;
}

bool is_name_or_ipv4(std::string_view host) {
  return std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  });
}

error refused(std::string_view text, std::string_view why) {
  return {errc::invalid_request, "\"" + std::string{text} + "\" is no address: " + std::string{why}};
}

/// What the operator has to know about a failed socket call.
std::string reason(int number) {
  switch (number) {
    case EADDRINUSE:
      return "the port is in use by another program";
    case EADDRNOTAVAIL:
      return "this machine has no such address";
    case EACCES:
      return "not permitted (ports below 1024 need a privilege)";
    case EAFNOSUPPORT:
      return "this machine has no IPv6";
    default:
      return std::strerror(number);
  }
}

struct free_addresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

/// A listening socket at `at` (its port replaced by `port`), or the errno.
std::optional<int> open_socket(const addrinfo& at, std::uint16_t port, descriptor& into) {
  descriptor fd{::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (fd.get() < 0) return errno;
  // Lets a restarted node have its port back at once, though old connections still linger.
  const int on = 1, off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_storage where{};
  std::memcpy(&where, at.ai_addr, at.ai_addrlen);
  if (at.ai_family == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    reinterpret_cast<sockaddr_in6&>(where).sin6_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in&>(where).sin_port = htons(port);
  }
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), at.ai_addrlen) != 0) return errno;
  if (::listen(fd.get(), backlog) != 0) return errno;
  into = std::move(fd);
  return std::nullopt;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage where{};
  socklen_t size = sizeof where;
  TROUPE_CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&where), &size) == 0);
  return ntohs(where.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(where).sin6_port
                                           : reinterpret_cast<sockaddr_in&>(where).sin_port);
}

}  // namespace

std::string address::text() const {
  return (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
}

bool address::is_wildcard() const {
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return four.s_addr == 0;
  in6_addr six{};
  if (inet_pton(AF_INET6, host.c_str(), &six) != 1) return false;
  return IN6_IS_ADDR_UNSPECIFIED(&six) ||
         (IN6_IS_ADDR_V4MAPPED(&six) && std::all_of(six.s6_addr + 12, six.s6_addr + 16, [](auto b) { return b == 0; }));
}

result<address> parse_address(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return refused(text, "it is HOST:PORT, as in 127.0.0.1:9092 or [::1]:9092");
  auto host = text.substr(0, colon);
  const auto port = text.substr(colon + 1);
  address at;
  const auto [end, bad] = std::from_chars(port.data(), port.data() + port.size(), at.port);
  if (port.empty() || bad != std::errc{} || end != port.data() + port.size())
    return refused(text, "the port is a number from 0 to 65535");
  if (host.size() > host_bytes_max) return refused("…", "the host is too long");
  if (host.starts_with('[') && host.ends_with(']')) {
    at.host = host.substr(1, host.size() - 2);
    if (!is_ipv6(at.host)) return refused(text, "only an IPv6 address goes in brackets");
    return at;
  }
  if (host.empty()) return refused(text, "the host is missing (0.0.0.0 or [::] stands for all addresses)");
  if (host.find(':') != std::string_view::npos)
    return refused(text, "an IPv6 address goes in brackets, as in [::1]:9092");
  if (!is_name_or_ipv4(host)) return refused(text, "a host is made of letters, digits, '.', '-' and '_'");
  at.host = host;
  return at;
}

descriptor::~descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

result<listening> listen_on(const address& at) {
  const auto failed = [&](const std::string& why) {
    return error{errc::system, "cannot listen on " + at.text() + ": " + why};
  };
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  if (const int code = getaddrinfo(at.host.c_str(), nullptr, &hints, &found); code != 0)
    return failed(code == EAI_NONAME ? "the name is unknown" : gai_strerror(code));
  const std::unique_ptr<addrinfo, free_addresses> list{found};

  listening all{{}, at.port};
  int worst = EAFNOSUPPORT;
  for (const auto* one = list.get(); one; one = one->ai_next) {
    listening::socket made{{}, one->ai_family == AF_INET6};
    if (const auto number = open_socket(*one, all.port, made.fd)) {
      worst = *number;
      // A name may have an address whose family is switched off here; a taken port is never skipped, or half of
      // the clients would talk to somebody else.
      if (worst == EAFNOSUPPORT || worst == EADDRNOTAVAIL) continue;
      return failed(reason(worst));
    }
    all.port = port_of(made.fd.get());
    all.sockets.push_back(std::move(made));
  }
  if (all.sockets.empty()) return failed(reason(worst));
  return all;
}

}  // namespace troupe::net
