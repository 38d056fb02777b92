#include <sys/socket.h>

#include <algorithm>
#include <latch>

#include "runtime/base/random.hpp"
#include "tests/unit/kafka_gateway/fixture.hpp"

namespace troupe::kafka {
namespace {

class Connection : public GatewayTest {
protected:
  /// Bytes as they are, behind their size.
  static std::vector<std::byte> framed(std::span<const std::byte> body) {
    std::vector<std::byte> bytes(4 + body.size());
    store_be<std::int32_t>(bytes.data(), static_cast<std::int32_t>(body.size()));
    std::ranges::copy(body, bytes.begin() + 4);
    return bytes;
  }
  bool still_serves() {
    auto c = connect();
    return c.call<api_versions_response>(api_versions_request{}, 0).error_code == 0;
  }
};

// -- order -------------------------------------------------------------------------------------------------

TEST_F(Connection, ProducesOverlapAndAnswersKeepTheirOrder) {
  add_topic("orders");
  start();
  auto c = connect();
  constexpr int n = 50;
  std::vector<std::vector<std::byte>> records;
  for (int i = 0; i < n; ++i) records.push_back(some_bytes(20, static_cast<std::uint64_t>(i)));
  const auto expected = records;
  for (int i = 0; i < n; ++i) c.ask(produce_of("orders", 0, records[i]), 9, i);
  std::vector<produce> came;
  for (int i = 0; i < n; ++i) {
    came.push_back(partition("orders").produces.take());
    EXPECT_TRUE(std::ranges::equal(came.back().records.bytes, expected[i])) << i;
  }
  for (int i = n - 1; i >= 0; --i) {
    EXPECT_TRUE(c.silent()) << "nothing before the first";
    came[i].answer({.base = log_offset{i}});
  }
  for (int i = 0; i < n; ++i)
    EXPECT_EQ(c.hear<produce_response>(9, i).responses[0].partition_responses[0].base_offset, i);
}

TEST_F(Connection, OtherRequestsSeeWhatEarlierOnesDid) {
  add_topic("orders");
  start();
  auto c = connect();
  auto records = some_bytes(20);
  c.ask(produce_of("orders", 0, records), 9, 1);
  c.ask(fetch_of("orders"), 11, 2);
  c.ask(produce_of("orders", 0, records), 9, 3);
  auto first = partition("orders").produces.take();
  EXPECT_EQ(partition("orders").fetches.size(), 0u);
  first.answer({.base = log_offset{0}});
  auto between = partition("orders").fetches.take();
  EXPECT_EQ(partition("orders").produces.size(), 0u);
  between.answer(data(0));
  partition("orders").produces.take().answer({.base = log_offset{1}});
  c.hear<produce_response>(9, 1);
  c.hear<fetch_response>(11, 2);
  c.hear<produce_response>(9, 3);
}

TEST_F(Connection, WithoutAcksNothingIsAnswered) {
  add_topic("orders");
  start();
  auto c = connect();
  auto records = some_bytes(20);
  c.ask(produce_of("orders", 0, records, 0), 9, 1);
  c.ask(api_versions_request{}, 0, 2);
  auto m = partition("orders").produces.take();
  EXPECT_EQ(m.acks, 0);
  m.answer({.base = log_offset{0}});
  c.hear<api_versions_response>(0, 2);  // the first thing on the wire
}

TEST_F(Connection, AnErrorWithoutAcksEndsTheConnection) {
  add_topic("orders");
  start();
  auto records = some_bytes(20);
  auto c = connect();
  c.ask(produce_of("nothing", 0, records, 0), 9);
  EXPECT_TRUE(c.closed());
  auto d = connect();
  d.ask(produce_of("orders", 0, records, 0), 9);
  produce::outcome refused;
  refused.refused = error{errc::corrupt_batch, "crc"};
  partition("orders").produces.take().answer(refused);
  EXPECT_TRUE(d.closed());
}

TEST_F(Connection, RequestsInPiecesAndInHeapsAreTheSame) {
  add_topic("orders");
  start();
  partition("orders").on_produce = [](produce& m) { m.answer({.base = log_offset{0}}); };
  auto c = connect();
  auto records = some_bytes(200'000);
  std::vector<std::byte> stream;
  for (int i = 0; i < 10; ++i) {
    const auto a = encode_request(produce_of("orders", 0, records), 9, 2 * i, "test");
    const auto b = encode_request(api_versions_request{"x", "1"}, 3, 2 * i + 1, {});
    stream.insert(stream.end(), a.view().begin(), a.view().end());
    stream.insert(stream.end(), b.view().begin(), b.view().end());
  }
  random_source random{5};
  std::thread writer{[&] {
    for (std::size_t at = 0; at < stream.size();) {
      const auto size = std::min<std::size_t>(stream.size() - at, 1 + random.below(random.chance(0.5) ? 7 : 100'000));
      c.send(byte_view{stream}.subspan(at, size));
      at += size;
    }
  }};
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(c.hear<produce_response>(9, 2 * i).responses[0].partition_responses[0].error_code, 0);
    c.hear<api_versions_response>(3, 2 * i + 1);
  }
  writer.join();
}

// -- nonsense ----------------------------------------------------------------------------------------------

TEST_F(Connection, UnknownRequestsEndIt) {
  start();
  const std::uint8_t unknown_api[] = {0x03, 0xE8, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF};
  const std::uint8_t old_produce[] = {0, 0, 0, 2, 0, 0, 0, 1, 0xFF, 0xFF, 0, 0};
  const std::uint8_t new_fetch[] = {0, 1, 0, 16, 0, 0, 0, 1, 0xFF, 0xFF, 0};
  const byte_view bodies[] = {std::as_bytes(std::span{unknown_api}), std::as_bytes(std::span{old_produce}),
                              std::as_bytes(std::span{new_fetch})};
  for (const auto body : bodies) {
    auto c = connect();
    c.send(framed(body));
    EXPECT_TRUE(c.closed());
  }
  EXPECT_TRUE(
      until("troupe_kafka_connections_closed_total{reason=\"unknown_request\"}", [](double n) { return n == 3; }));
  EXPECT_TRUE(still_serves());
}

TEST_F(Connection, WhatCameBeforeNonsenseIsStillAnswered) {
  add_topic("orders");
  start();
  auto records = some_bytes(20);
  const std::uint8_t unknown_api[] = {0x03, 0xE8, 0, 0, 0, 0, 0, 1, 0xFF, 0xFF};
  const std::uint8_t cut_metadata[] = {0, 3, 0, 1, 0, 0, 0, 1, 0xFF, 0xFF, 0};
  const std::uint8_t no_header[] = {0, 3};
  const byte_view bodies[] = {std::as_bytes(std::span{unknown_api}), std::as_bytes(std::span{cut_metadata}),
                              std::as_bytes(std::span{no_header})};
  for (const auto body : bodies) {
    auto c = connect();
    const auto question = encode_request(api_versions_request{}, 0, 1, "test");
    const auto batch = encode_request(produce_of("orders", 0, records), 9, 2, "test");
    std::vector<std::byte> stream{question.view().begin(), question.view().end()};
    stream.insert(stream.end(), batch.view().begin(), batch.view().end());
    const auto nonsense = framed(body);
    stream.insert(stream.end(), nonsense.begin(), nonsense.end());
    c.send(stream);
    partition("orders").produces.take().answer({.base = log_offset{7}});
    c.hear<api_versions_response>(0, 1);
    EXPECT_EQ(c.hear<produce_response>(9, 2).responses[0].partition_responses[0].base_offset, 7);
    EXPECT_TRUE(c.closed());
  }
}

TEST_F(Connection, NonsenseEndsTheWaitingBeforeIt) {
  add_topic("orders");
  start();
  partition("orders").on_fetch = [](fetch& m) { m.answer(data(0)); };
  auto c = connect();
  c.ask(fetch_of("orders", 1, 60'000), 11, 1);
  const std::uint8_t no_header[] = {0, 3};
  c.send(framed(std::as_bytes(std::span{no_header})));
  c.hear<fetch_response>(11, 1);
  EXPECT_TRUE(c.closed());
}

TEST_F(Connection, OtherProtocolsAreShownTheDoor) {
  start();
  const std::string_view tls{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11};
  for (auto text : {tls, std::string_view{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"}, std::string_view{"\xff\xff\xff\xff"},
                    std::string_view{"\x7f\xff\xff\xff", 4}}) {
    auto c = connect();
    c.send(as_bytes(text));
    EXPECT_TRUE(c.closed());
  }
  EXPECT_TRUE(until("troupe_kafka_malformed_frames_total", [](double n) { return n == 4; }));
  EXPECT_TRUE(still_serves());
}

TEST_F(Connection, GarbageOfManyKindsHarmsNobodyElse) {
  add_topic("orders");
  start();
  partition("orders").on_produce = [](produce& m) { m.answer({.base = log_offset{0}}); };
  partition("orders").on_fetch = [](fetch& m) { m.answer(data(0)); };
  auto records = some_bytes(100);
  const shared_bytes valid[] = {
      encode_request(produce_of("orders", 0, records), 9, 1, "x"), encode_request(fetch_of("orders"), 12, 1, "x"),
      encode_request(api_versions_request{"a", "b"}, 4, 1, "x"), encode_request(metadata_request{}, 12, 1, {})};
  random_source random{11};
  for (int i = 0; i < 400; ++i) {
    auto c = connect();
    std::vector<std::byte> bytes;
    if (random.chance(0.3)) {
      bytes = framed(some_bytes(random.below(200), random()));
    } else {
      const auto& from = valid[random.below(std::size(valid))];
      bytes.assign(from.view().begin(), from.view().end());
      for (auto flips = 1 + random.below(4); flips > 0; --flips)
        bytes[4 + random.below(bytes.size() - 4)] = static_cast<std::byte>(random());
    }
    c.send(bytes);
    ::shutdown(c.fd(), SHUT_WR);
    EXPECT_TRUE(c.closed());
  }
  EXPECT_TRUE(until("troupe_kafka_connections", [](double n) { return n == 0; }));
  EXPECT_TRUE(still_serves());
}

TEST_F(Connection, AnswersForSomebodyWhoLeftAreDropped) {
  add_topic("orders");
  start();
  auto records = some_bytes(1000);
  auto c = connect();
  c.ask(produce_of("orders", 0, records), 9);
  auto m = partition("orders").produces.take();
  c.close();
  EXPECT_TRUE(until("troupe_kafka_connections", [](double n) { return n == 0; }));
  EXPECT_GT(metric("troupe_kafka_request_memory_bytes"), 1000) << "the partition still has the bytes";
  m.answer({.base = log_offset{0}});
  m = {};
  EXPECT_TRUE(until("troupe_kafka_request_memory_bytes", [](double n) { return n == 0; }));
  EXPECT_TRUE(still_serves());
}

// -- bounds ------------------------------------------------------------------------------------------------

TEST_F(Connection, NoMoreThanTheBoundComeIn) {
  setup.limits.connections_max = 3;
  start();
  std::vector<client> inside;
  for (int i = 0; i < 3; ++i) {
    inside.push_back(connect());
    inside.back().call<api_versions_response>(api_versions_request{}, 0);
  }
  EXPECT_TRUE(connect().closed());
  EXPECT_EQ(metric("troupe_kafka_connections_refused_total{reason=\"connections_max\"}"), 1);
  inside.pop_back();
  EXPECT_TRUE(until("troupe_kafka_connections", [](double n) { return n == 2; }));
  EXPECT_TRUE(still_serves());
}

TEST_F(Connection, NoMoreThanTheBoundComeFromOneAddress) {
  setup.limits.connections_per_address_max = 2;
  start();
  auto a = connect(), b = connect();
  a.call<api_versions_response>(api_versions_request{}, 0);
  b.call<api_versions_response>(api_versions_request{}, 0);
  EXPECT_TRUE(connect().closed());
  EXPECT_EQ(metric("troupe_kafka_connections_refused_total{reason=\"connections_per_address_max\"}"), 1);
}

TEST_F(Connection, WhoSaysNothingIsClosed) {
  setup.limits.first_frame = 1ms;
  start();
  EXPECT_TRUE(connect().closed());
  EXPECT_EQ(metric("troupe_kafka_connections_closed_total{reason=\"first_frame\"}"), 1);
}

TEST_F(Connection, WhoIsIdleForTooLongIsClosed) {
  setup.limits.idle = 100ms;
  start();
  auto c = connect();
  c.ask(api_versions_request{}, 0);  // on a busy machine too late, and that counts as well
  EXPECT_TRUE(c.closed());
  EXPECT_EQ(metric("troupe_kafka_connections_closed_total{reason=\"idle\"}"), 1);
}

TEST_F(Connection, ARequestThatTricklesInIsGivenUp) {
  setup.limits.frame = 1ms;
  start();
  auto c = connect();
  c.call<api_versions_response>(api_versions_request{}, 0);
  const std::uint8_t start_of_one[] = {0, 0, 1, 0, 0, 18};
  c.send(std::as_bytes(std::span{start_of_one}));
  EXPECT_TRUE(c.closed());
  EXPECT_EQ(metric("troupe_kafka_connections_closed_total{reason=\"slow_frame\"}"), 1);
}

TEST_F(Connection, AFrameAboveTheBoundEndsIt) {
  setup.limits.request_bytes_max = 10'000;
  start();
  auto c = connect();
  c.send(framed(std::vector<std::byte>(10'001)));
  EXPECT_TRUE(c.closed());
  EXPECT_TRUE(still_serves());
}

TEST_F(Connection, ManyClientsAreServedAtOnce) {
  add_topic("orders");
  setup.limits.connections_per_address_max = 600;
  start();
  std::atomic<std::int64_t> offset{0};
  partition("orders").on_produce = [&](produce& m) { m.answer({.base = log_offset{offset++}}); };
  std::vector<client> all;
  for (int i = 0; i < 500; ++i) all.push_back(connect());
  auto records = some_bytes(100);
  for (int round = 0; round < 3; ++round) {
    for (auto& c : all) c.ask(produce_of("orders", 0, records), 9);
    for (auto& c : all) EXPECT_EQ(c.hear<produce_response>(9).responses[0].partition_responses[0].error_code, 0);
  }
  EXPECT_EQ(offset, 1500);
  EXPECT_EQ(metric("troupe_kafka_connections"), 500);
}

TEST_F(Connection, ReadingStopsWhileRequestsUseTooMuchMemory) {
  add_topic("orders");
  setup.limits.request_memory_max = 4 << 20;
  setup.limits.request_bytes_max = 2 << 20;
  start();
  // Eight clients with four requests of half a megabyte each: four times what is allowed.
  constexpr int clients = 8, requests = 4;
  auto records = some_bytes(512 << 10);
  std::vector<client> all;
  for (int i = 0; i < clients; ++i) all.push_back(connect());
  std::vector<std::thread> writers;
  for (auto& c : all)
    writers.emplace_back([&] {
      for (int i = 0; i < requests; ++i) c.ask(produce_of("orders", 0, records), 9, i);
    });
  auto& came = partition("orders").produces;
  // Until the memory is used up; how many requests are whole by then is up to the sockets.
  ASSERT_TRUE(until("troupe_kafka_request_memory_bytes", [](double n) { return n >= (4 << 20); }));
  // The bound, and one step of reading for each that was on its way, and the overdraft.
  const double most = (4 << 20) + clients * (128 << 10) + (1 << 20);
  for (int answered = 0; answered < clients * requests; ++answered) {
    EXPECT_LE(metric("troupe_kafka_request_memory_bytes"), most);
    auto m = came.take();
    m.answer({.base = log_offset{answered}});
  }
  for (auto& w : writers) w.join();
  for (auto& c : all)
    for (int i = 0; i < requests; ++i) c.hear<produce_response>(9, i);
  EXPECT_TRUE(until("troupe_kafka_request_memory_bytes", [](double n) { return n == 0; }));
}

TEST_F(Connection, HalfReceivedRequestsThatFillTheMemoryAreStillCompleted) {
  add_topic("orders");
  setup.limits.request_memory_max = 1 << 20;
  setup.limits.request_bytes_max = 1 << 20;
  start();
  partition("orders").on_produce = [](produce& m) { m.answer({.base = log_offset{0}}); };
  // Each brings all but its last bytes: together more than the bound. Then the rest.
  constexpr int clients = 6;
  auto records = some_bytes(400 << 10);
  const auto request = encode_request(produce_of("orders", 0, records), 9, 1, "x");
  std::vector<client> all;
  std::vector<std::thread> writers;
  std::latch nearly{clients};
  for (int i = 0; i < clients; ++i) all.push_back(connect());
  for (auto& c : all)
    writers.emplace_back([&] {
      c.send(request.view().first(request.size() - 1000));
      nearly.arrive_and_wait();
      c.send(request.view().last(1000));
    });
  for (auto& c : all) EXPECT_EQ(c.hear<produce_response>(9).responses[0].partition_responses[0].error_code, 0);
  for (auto& w : writers) w.join();
}

TEST_F(Connection, WhoReadsNothingIsServedNoMore) {
  add_topic("orders");
  start();
  // The partition goes on until the fixture ends it.
  const auto fetches = std::make_shared<std::atomic<int>>(0);
  partition("orders").on_fetch = [fetches](fetch& m) {
    ++*fetches;
    m.answer(data(1, {in_memory(std::vector<std::byte>(1 << 20))}));
  };
  client c{port(), 4096};
  const auto request = encode_request(fetch_of("orders"), 11, 1, "x");
  for (int i = 0; i < 100; ++i) c.send(request);
  // What the kernel takes comes and goes; then one answer waits, and nothing more is begun.
  EXPECT_TRUE(until("troupe_kafka_response_memory_bytes", [](double n) { return n > 0; }));
  EXPECT_TRUE(still_serves());
  EXPECT_LE(metric("troupe_kafka_response_memory_bytes"), 3 << 20);
  EXPECT_LT(fetches->load(), 20);
  c.close();
  EXPECT_TRUE(until("troupe_kafka_response_memory_bytes", [](double n) { return n == 0; }));
}

TEST_F(Connection, WhoReadsSlowlyGetsEverything) {
  add_topic("orders");
  start();
  const auto bytes = some_bytes(1 << 20);
  partition("orders").on_fetch = [&](fetch& m) { m.answer(data(1, {in_memory(bytes)})); };
  client c{port(), 4096};
  for (int i = 0; i < 20; ++i) c.ask(fetch_of("orders"), 11, i);
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(std::ranges::equal(c.hear<fetch_response>(11, i).responses[0].partitions[0].records.here, bytes));
}

// -- coming and going --------------------------------------------------------------------------------------

TEST_F(Connection, LocalhostIsAllItsAddressesAtOnePort) {
  setup.listen = {{"localhost", 0}};
  start();
  ASSERT_GE(gateway->addresses().size(), 1u);
  EXPECT_EQ(gateway->addresses()[0].host, "127.0.0.1");
  for (const auto& a : gateway->addresses()) EXPECT_EQ(a.port, port());
  EXPECT_TRUE(still_serves());
}

TEST_F(Connection, AnAddressInUseIsAClearError) {
  start();
  auto other = setup;
  other.listen = {{"127.0.0.1", port()}};
  const auto opened = kafka_gateway::open(other);
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().text.find("127.0.0.1:" + std::to_string(port())), std::string::npos);
  EXPECT_NE(opened.error().text.find("in use"), std::string::npos) << opened.error().text;
}

TEST_F(Connection, StoppingLetsRequestsFinish) {
  add_topic("orders");
  start();
  auto c = connect();
  auto records = some_bytes(100);
  c.ask(produce_of("orders", 0, records), 9);
  auto m = partition("orders").produces.take();
  std::thread stopper{[&] { gateway->stop(20s); }};
  m.answer({.base = log_offset{3}});
  EXPECT_EQ(c.hear<produce_response>(9).responses[0].partition_responses[0].base_offset, 3);
  EXPECT_TRUE(c.closed());
  stopper.join();
  EXPECT_EQ(metric("troupe_kafka_connections"), 0);
}

TEST_F(Connection, StoppingCutsWhatIsNeverAnswered) {
  add_topic("orders");
  start();
  auto c = connect();
  auto records = some_bytes(100);
  c.ask(produce_of("orders", 0, records), 9);
  auto m = partition("orders").produces.take();
  gateway->stop(10ms);
  EXPECT_TRUE(c.closed());
  gateway.reset();
  m.answer({.base = log_offset{3}});  // the gateway is gone
}

}  // namespace
}  // namespace troupe::kafka
