#include <arpa/inet.h>

#include "runtime/transport/transport.hpp"

namespace troupe {
namespace {

/// Names are not looked up: what `localhost` means is certain, what others mean can change.
bool is_loopback(const std::string& host) {
  if (host == "localhost") return true;
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  in6_addr six{};
  if (inet_pton(AF_INET6, host.c_str(), &six) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
}

}  // namespace

result<void> check_exposure(const net::address& listen, bool has_tls, bool insecure) {
  if (has_tls || insecure || is_loopback(listen.host)) return {};
  return {
      errc::invalid_request,
      "--cluster=" + listen.text() +
          " can be reached by other machines, and nothing protects it: whoever connects is believed. Give each node "
          "a certificate (--cluster-certificate, --cluster-key and --cluster-authority), listen on 127.0.0.1 only, or, "
          "in a "
          "network where nobody else is, say --insecure=on"};
}

}  // namespace troupe
