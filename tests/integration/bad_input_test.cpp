#include <gtest/gtest.h>

#include <deque>

#include "runtime/base/random.hpp"
#include "tests/integration/process.hpp"
#include "tests/integration/raw.hpp"

/// Nonsense on a socket ends that connection or that message; the node and its data go on, within bounded memory.
namespace troupe::test {
namespace {

constexpr std::uint64_t MiB = 1 << 20;

class BadInput : public ::testing::Test {
protected:
  node n;

  BadInput() { EXPECT_EQ(kcat(n, {"-P", "-t", "good", "-p", "0"}, "good\n").status, 0); }
  ~BadInput() override { expect_fine(); }

  void expect_fine() {
    ASSERT_TRUE(n.running()) << "the node has ended";
    EXPECT_EQ(http_get(n.http_port(), "/healthz").status, 200);
    EXPECT_EQ(kcat(n, {"-C", "-q", "-e", "-t", "good", "-o", "beginning"}).out, "good\n");
  }
  connection connect() const { return connection{n.kafka_port()}; }
  bool answers(connection& c) const { return c.ask(18, 0, {}).has_value(); }
};

TEST_F(BadInput, WhatIsNoFrameEndsItsConnection) {
  random_source random{1};
  std::string garbage(64 * 1024, '\0');
  for (auto& c : garbage) c = static_cast<char>(random());
  garbage[0] = '\x7f';
  const std::string_view tls_hello{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11};
  for (const auto& [name, bytes] : std::vector<std::pair<const char*, std::string>>{
           {"garbage", garbage},
           {"a TLS hello", std::string{tls_hello}},
           {"HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
           {"length -1", writer{}.i32(-1).bytes()},
           {"the least length", writer{}.i32(std::int64_t{1} << 31).bytes()},
           {"the greatest length", writer{}.i32(0x7fffffff).bytes()},
           {"length 0", writer{}.i32(0).bytes()},
           {"a header too short", framed("\0\x12")}}) {
    auto c = connect();
    c.send(bytes);
    EXPECT_TRUE(c.closed_by_peer()) << name;
  }
}

TEST_F(BadInput, UnknownApisAndVersionsEndTheConnectionExceptForApiVersions) {
  for (const auto& [api, version] : std::vector<std::pair<int, int>>{{9999, 0}, {-1, 0}, {1, 99}, {0, -1}, {3, 1000}}) {
    auto c = connect();
    c.send(request(api, version, {}));
    EXPECT_TRUE(c.closed_by_peer()) << api << " v" << version;
  }
  auto c = connect();
  auto answer = c.ask(18, 99, "whatever it may say");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->i16(), 35);  // UNSUPPORTED_VERSION, with the versions that there are
  EXPECT_GE(answer->i32(), 1);
  EXPECT_TRUE(answers(c));
}

TEST_F(BadInput, ABodyThatDoesNotParseEndsTheConnection) {
  const auto body = produce_body("good", 0, record_batch({"x"}));
  for (std::size_t size = 0; size < body.size(); size += 3) {
    auto c = connect();
    c.send(request(0, 3, std::string_view{body}.substr(0, size)));
    EXPECT_TRUE(c.closed_by_peer()) << size << " of " << body.size() << " bytes";
  }
  // Counts and lengths that the frame does not hold.
  for (const auto& lying : {writer{}.i32(0x7fffffff).bytes(), writer{}.i32(1000).str("t").bytes(),
                            writer{}.i32(1).i16(0x7fff).bytes(), writer{}.i32(-5).bytes()}) {
    auto c = connect();
    c.send(request(3, 1, lying));
    EXPECT_TRUE(c.closed_by_peer());
  }
}

TEST_F(BadInput, ADamagedBatchIsRefusedAndNothingOfItIsStored) {
  const auto refused = [&](const std::string& records) {
    auto c = connect();
    auto answer = c.ask(0, 3, produce_body("good", 0, records));
    if (!answer) return std::int64_t{-100};
    answer->i32();
    answer->str();
    answer->i32();
    answer->i32();
    return answer->i16();
  };
  const auto good = record_batch({"x", "y"});
  constexpr int corrupt = 2, invalid_record = 87;
  EXPECT_EQ(refused(record_batch({"x"}, {.right_crc = false})), corrupt);
  for (std::size_t at = 21; at < good.size(); ++at) {
    auto flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    const auto code = refused(flipped);
    EXPECT_TRUE(code == corrupt || code == invalid_record) << "bit flipped in byte " << at << ": " << code;
  }
  EXPECT_NE(refused(good.substr(0, good.size() - 1)), 0);
  EXPECT_NE(refused(good + good), 0) << "one batch per partition";
  EXPECT_NE(refused({}), 0);
}

TEST_F(BadInput, AHalfFrameHoldsNobodyUp) {
  const auto whole = request(18, 0, {});
  auto half = connect();
  half.send(std::string_view{whole}.substr(0, whole.size() / 2));
  auto other = connect();
  EXPECT_TRUE(answers(other));
  half.send(std::string_view{whole}.substr(whole.size() / 2));
  EXPECT_TRUE(half.receive());
}

TEST_F(BadInput, ASlowSenderIsServedInTheEnd) {
  auto slow = connect();
  for (char c : request(0, 3, produce_body("slow", 0, record_batch({"x"}))) + request(18, 0, {})) {
    ASSERT_TRUE(slow.send({&c, 1}));
  }
  EXPECT_TRUE(slow.receive());
  EXPECT_TRUE(slow.receive());
}

TEST_F(BadInput, AnnouncedBytesAreNotReservedBeforeTheyCome) {
  std::vector<connection> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(connect());
    all.back().send(writer{}.i32(100 * MiB).i16(0).i16(3).i32(1).str("x").bytes() + std::string(1000, 'x'));
  }
  EXPECT_TRUE(answers(*std::make_unique<connection>(n.kafka_port())));
  EXPECT_LT(n.resident_peak(), 200 * MiB);
}

TEST_F(BadInput, TwoHundredConnectionsAreServed) {
  std::vector<connection> all;
  for (int i = 0; i < 200; ++i) all.push_back(connect());
  for (int round = 0; round < 3; ++round)
    for (auto& c : all) EXPECT_TRUE(answers(c));
  EXPECT_LT(n.resident_peak(), 150 * MiB);
}

TEST_F(BadInput, ConnectionsAboveTheBoundAreTurnedAway) {
  node small{{"--connections-max=20"}};
  std::deque<connection> all;
  int served = 0;
  for (int i = 0; i < 40; ++i) {
    all.emplace_back(small.kafka_port());
    served += answers(all.back()) ? 1 : 0;
  }
  EXPECT_EQ(served, 20);
  all.clear();
  // Places come back.
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  while (!answers(*std::make_unique<connection>(small.kafka_port())))
    ASSERT_LT(std::chrono::steady_clock::now(), until) << "no place came back";
}

TEST_F(BadInput, ClientsCannotTakeTheDescriptorsThatTheStoreNeeds) {
  node few{{"--segment-bytes=1MiB"}, {{"prlimit", "--nofile=100:100"}}};
  EXPECT_NE(few.log().find("descriptors_few"), std::string::npos) << few.log();
  std::deque<connection> all;
  int served = 0;
  for (int i = 0; i < 150; ++i) {
    all.emplace_back(few.kafka_port());
    served += answers(all.back()) ? 1 : 0;
  }
  EXPECT_GT(served, 10);
  // Several segments while every place is taken.
  const auto body = produce_body("t", 0, record_batch({std::string(500'000, 'x')}));
  all.front().ask(3, 4, writer{}.i32(1).str("t").i8(1).bytes());
  const auto end = few.metric("troupe_partition_appended_batches_total") + 10;
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  while (few.metric("troupe_partition_appended_batches_total") < end && few.running() &&
         std::chrono::steady_clock::now() < until)
    all.front().ask(0, 3, body);
  ASSERT_TRUE(few.running()) << "the store had no descriptor left";
  EXPECT_GE(few.metric("troupe_partition_appended_batches_total"), end);
  EXPECT_EQ(few.stop(), 0);
}

TEST_F(BadInput, WhoNeverReadsIsNotServedForEver) {
  ASSERT_EQ(kcat(n, {"-P", "-t", "big", "-p", "0"}, cities_text()).status, 0);
  auto deaf = connect();
  const auto fetch = request(1, 4, fetch_body("big", 0, 0));
  const auto before = n.metric("troupe_partition_fetches_total");
  // A megabyte of answer each. Some fit into the kernel's buffers; then the node goes on with nothing of this client.
  std::string all;
  for (int i = 0; i < 500; ++i) all += fetch;
  ASSERT_TRUE(deaf.send(all));
  auto other = connect();
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(answers(other));
  EXPECT_LT(n.metric("troupe_partition_fetches_total") - before, 100);
  EXPECT_LT(n.resident_peak(), 300 * MiB);
}

TEST_F(BadInput, RandomlyChangedRequestsDoNoHarm) {
  const auto batch = record_batch({"x", "y", "z"});
  // Requests of every kind, in versions old and new; the topic is one that may be damaged.
  const std::vector<std::string> seeds{
      request(18, 0, {}),
      request(18, 3,
              std::string{"\x04raw\x02"
                          "1\0",
                          7}),
      request(3, 1, writer{}.i32(1).str("odd").bytes()),
      request(3, 4, writer{}.i32(1).str("odd").i8(1).bytes()),
      request(0, 3, produce_body("odd", 0, batch)),
      request(0, 7, produce_body("odd", 0, batch, 0)),
      request(0, 8, produce_body("odd", 0, record_batch({"x"}, {.producer = 1, .epoch = 0, .sequence = 0}), 1)),
      request(1, 4, fetch_body("odd", 0, 0)),
      request(2, 1, writer{}.i32(-1).i32(1).str("odd").i32(1).i32(0).i64(-1).bytes()),
      request(22, 0, writer{}.null_str().i32(1000).bytes()),
      request(23, 2, writer{}.i32(1).str("odd").i32(1).i32(0).i32(0).i32(0).bytes()),
      request(19, 2, writer{}.i32(1).str("new").i32(1).i16(1).i32(0).i32(0).i32(1000).i8(1).bytes()),
      request(20, 1, writer{}.i32(1).str("nowhere").i32(1000).bytes()),
      request(21, 0, writer{}.i32(1).str("odd").i32(1).i32(0).i64(0).i32(1000).bytes()),
      request(32, 1, writer{}.i32(1).i8(2).str("odd").i32(-1).i8(0).bytes()),
      request(33, 0, writer{}.i32(1).i8(2).str("odd").i32(1).str("retention.ms").str("99999999").i8(1).bytes()),
      request(37, 0, writer{}.i32(1).str("odd").i32(2).i32(-1).i32(1000).i8(1).bytes()),
      request(44, 0, writer{}.i32(1).i8(2).str("odd").i32(1).str("retention.ms").i8(0).str("99999999").i8(1).bytes()),
  };
  random_source random{2026};
  std::optional<connection> c;
  for (int round = 0; round < 20'000; ++round) {
    auto bytes = seeds[random.below(seeds.size())];
    const auto changes = random.below(4);
    for (std::uint64_t i = 0; i < changes; ++i) {
      const auto at = 4 + random.below(bytes.size() - 4);
      switch (random.below(4)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.below(8)));
          break;
        case 2:
          bytes.erase(at, 1 + random.below(8));
          break;
        default:
          bytes.insert(at, 1 + random.below(8), random.chance(0.5) ? '\xff' : '\0');
      }
      if (bytes.size() < 12) bytes.resize(12);
    }
    // Mostly the right length, so that it is the body that is looked at.
    if (random.chance(0.98)) bytes = framed(std::string_view{bytes}.substr(4));
    // Asked in every round: what is sent must not depend on when the node closes.
    const bool anew = random.chance(0.05);
    if (!c || anew) c.emplace(n.kafka_port());
    if (!c->send(bytes, milliseconds{50}) || !c->drain()) c.reset();
    if (round % 1000 == 0) {
      ASSERT_TRUE(n.running()) << "round " << round;
    }
  }
  EXPECT_LT(n.resident_peak(), 400 * MiB);
}

}  // namespace
}  // namespace troupe::test
