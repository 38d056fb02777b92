#include "runtime/net/address.hpp"

#include <gtest/gtest.h>

namespace troupe::net {
namespace {

TEST(Address, IsAHostAndAPort) {
  EXPECT_EQ(*parse_address("127.0.0.1:9092"), (address{"127.0.0.1", 9092}));
  EXPECT_EQ(*parse_address("[::1]:0"), (address{"::1", 0}));
  EXPECT_EQ(*parse_address("[fe80::1%eth0]:80"), (address{"fe80::1%eth0", 80}));
  EXPECT_EQ(*parse_address("broker-1.example_net:65535"), (address{"broker-1.example_net", 65535}));
}

TEST(Address, TextGoesThereAndBack) {
  for (auto text : {"127.0.0.1:9092", "[::1]:1", "localhost:80"}) EXPECT_EQ(parse_address(text)->text(), text);
}

TEST(Address, OtherTextsAreRefusedWithTheReason) {
  const std::pair<const char*, const char*> refused[] = {
      {"9092", "it is HOST:PORT, as in 127.0.0.1:9092 or [::1]:9092"},
      {"", "it is HOST:PORT, as in 127.0.0.1:9092 or [::1]:9092"},
      {"a:", "the port is a number from 0 to 65535"},
      {"a:65536", "the port is a number from 0 to 65535"},
      {"a:-1", "the port is a number from 0 to 65535"},
      {"a:80x", "the port is a number from 0 to 65535"},
      {":80", "the host is missing (0.0.0.0 or [::] stands for all addresses)"},
      {"::1:80", "an IPv6 address goes in brackets, as in [::1]:9092"},
      {"[127.0.0.1]:80", "only an IPv6 address goes in brackets"},
      {"a b:80", "a host is made of letters, digits, '.', '-' and '_'"},
  };
  for (const auto& [text, why] : refused)
    EXPECT_EQ(parse_address(text).error().text, "\"" + std::string{text} + "\" is no address: " + why);
  EXPECT_FALSE(parse_address(std::string(300, 'a') + ":80"));
}

TEST(Address, WildcardsAreKnownInAnySpelling) {
  for (auto host : {"0.0.0.0", "::", "0::0", "::ffff:0.0.0.0"}) EXPECT_TRUE((address{host, 1}).is_wildcard()) << host;
  for (auto host : {"127.0.0.1", "::1", "localhost"}) EXPECT_FALSE((address{host, 1}).is_wildcard()) << host;
}

TEST(Listening, PortZeroGivesARealOne) {
  const auto a = listen_on({"127.0.0.1", 0});
  ASSERT_TRUE(a) << a.error().text;
  EXPECT_GT(a->port, 0);
}

TEST(Listening, ANameListensOnAllItsAddressesAtOnePort) {
  const auto all = listen_on({"localhost", 0});
  ASSERT_TRUE(all) << all.error().text;
  EXPECT_GE(all->sockets.size(), 1u);
  EXPECT_FALSE(listen_on({"127.0.0.1", all->port}));
}

TEST(Listening, SaysWhyNot) {
  const auto first = listen_on({"127.0.0.1", 0});
  const auto at = [](const address& where) { return listen_on(where).error().text; };
  const address taken{"127.0.0.1", first->port};
  EXPECT_EQ(at(taken), "cannot listen on " + taken.text() + ": the port is in use by another program");
  EXPECT_EQ(at({"192.0.2.1", 80}), "cannot listen on 192.0.2.1:80: this machine has no such address");
  EXPECT_EQ(listen_on({"no-such-host.invalid", 80}).error().text.substr(0, 45),
            "cannot listen on no-such-host.invalid:80: the");
}

}  // namespace
}  // namespace troupe::net
