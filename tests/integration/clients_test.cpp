#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "runtime/base/bytes.hpp"
#include "tests/integration/process.hpp"
#include "tests/integration/raw.hpp"

/// What users were promised: any Kafka client writes and reads real records, byte for byte and in order.
namespace troupe::test {
namespace {

/// One node for all of these tests; each has topics of its own.
class Clients : public ::testing::Test {
protected:
  static void SetUpTestSuite() { shared = std::make_unique<node>(); }
  static void TearDownTestSuite() {
    if (shared) {
      EXPECT_EQ(shared->stop(), 0);
    }
    shared.reset();
  }
  static std::unique_ptr<node> shared;

  enum class kept : std::uint8_t { as_by_default, forever };

  static void create(const std::string& topic, int partitions, kept how_long = kept::as_by_default) {
    connection c{shared->kafka_port()};
    writer body;
    body.i32(1).str(topic).i32(partitions).i16(1).i32(0);
    if (how_long == kept::forever)
      body.i32(1).str("retention.ms").str("-1");
    else
      body.i32(0);
    const auto request = body.i32(10000).i8(0).bytes();
    auto answer = c.ask(19, 2, request);
    ASSERT_TRUE(answer);
    answer->i32();
    answer->i32();
    EXPECT_EQ(answer->str(), topic);
    EXPECT_EQ(answer->i16(), 0) << answer->null_str();
  }

  /// All records of a topic as "partition offset line", as kcat and as confluent_kafka see them.
  static std::vector<std::string> read_with_kcat(const std::string& topic) {
    auto got = kcat(*shared, {"-C", "-q", "-e", "-t", topic, "-o", "beginning", "-f", "%p %o %k,%s\n"});
    EXPECT_EQ(got.status, 0) << got.err;
    return lines_of(got.out);
  }
  static std::vector<std::string> read_with_python(const std::string& topic) {
    auto got = python("client.py", {"consume", "--bootstrap", shared->address(), "--topic", topic});
    EXPECT_EQ(got.status, 0) << got.err;
    return lines_of(got.out);
  }

  /// Every line once, offsets of a partition without gap from 0, and within a partition the order of the file.
  static void expect_all_cities(const std::vector<std::string>& records, bool keyed = true) {
    static const auto place = [] {
      std::map<std::string_view, std::size_t> at;
      for (std::size_t i = 0; i < cities().size(); ++i) at.emplace(cities()[i], i);
      return at;
    }();
    ASSERT_EQ(place.size(), cities().size()) << "the file has no line twice";
    ASSERT_EQ(records.size(), cities().size());
    struct progress {
      long offset{0};
      long line{-1};
    };
    std::map<int, progress> partitions;
    for (const auto& record : records) {
      char* end = nullptr;
      const auto partition = static_cast<int>(std::strtol(record.c_str(), &end, 10));
      const auto offset = std::strtol(end, &end, 10);
      // The key is the line's first field; without one, "key,value" begins with the comma.
      const auto line =
          std::string_view{record}.substr(static_cast<std::size_t>(end - record.c_str()) + (keyed ? 1 : 2));
      const auto at = place.find(line);
      ASSERT_NE(at, place.end()) << "no such line: " << line;
      auto& p = partitions[partition];
      ASSERT_EQ(offset, p.offset++) << "partition " << partition;
      ASSERT_GT(static_cast<long>(at->second), p.line) << "order in partition " << partition;
      p.line = static_cast<long>(at->second);
    }
  }

  /// The codecs of a topic's batches. Compressed batches pass through as they came: what they are compressed with
  /// stands in the attributes of what a fetch returns.
  static std::set<int> codecs(const std::string& topic, int partitions) {
    std::set<int> found;
    connection c{shared->kafka_port()};
    for (int partition = 0; partition < partitions; ++partition) {
      for (std::int64_t next = 0;;) {
        auto answer = c.ask(1, 4, fetch_body(topic, partition, next));
        if (!answer) throw std::runtime_error{"no answer to a fetch"};
        answer->i32();  // throttle
        answer->i32();
        EXPECT_EQ(answer->str(), topic);
        answer->i32();
        EXPECT_EQ(answer->i32(), partition);
        EXPECT_EQ(answer->i16(), 0);  // error
        answer->i64();
        answer->i64();
        EXPECT_LE(answer->i32(), 0);  // aborted transactions: none
        const auto records = answer->blob();
        if (records.empty()) break;
        for (std::size_t at = 0; at + 61 <= records.size();) {
          const auto* batch = reinterpret_cast<const std::byte*>(records.data()) + at;
          EXPECT_EQ(records[at + 16], 2);  // magic
          found.insert(load_be<std::int16_t>(batch + 21) & 7);
          next = load_be<std::int64_t>(batch) + load_be<std::int32_t>(batch + 23) + 1;
          at += 12 + load_be<std::uint32_t>(batch + 8);
        }
      }
    }
    return found;
  }

  static outcome write_cities(const std::string& topic, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"-P", "-t", topic, "-K", ","});
    return kcat(*shared, std::move(more), cities_text());
  }
};
std::unique_ptr<node> Clients::shared;

TEST_F(Clients, CitiesComeBackByteForByteAndInOrder) {
  create("cities", 4);
  auto written = write_cities("cities", {"-X", "acks=all"});
  ASSERT_EQ(written.status, 0) << written.err;
  const auto by_kcat = read_with_kcat("cities");
  expect_all_cities(by_kcat);
  auto by_python = read_with_python("cities");
  expect_all_cities(by_python);
  // Partitions come interleaved as they like; within each both must have seen the same.
  auto a = by_kcat, b = by_python;
  std::ranges::sort(a);
  std::ranges::sort(b);
  EXPECT_EQ(a, b);
}

struct way {
  const char* name;
  std::vector<std::string> options;
  int codec{0};
  friend void PrintTo(const way& w, std::ostream* to) { *to << w.name; }
};

class ClientsWrite : public Clients, public ::testing::WithParamInterface<way> {};

TEST_P(ClientsWrite, AndAnotherReadsTheSame) {
  const std::string topic = std::string{"by-"} + GetParam().name;
  create(topic, 3);
  auto written = write_cities(topic, GetParam().options);
  ASSERT_EQ(written.status, 0) << written.err;
  // With acks=0 nobody has said that all has arrived: the request for the end of the log comes on another connection.
  const auto appended = [&] {
    long sum = 0;
    for (int p = 0; p < 3; ++p) {
      auto end = kcat(*shared, {"-Q", "-t", topic + ":" + std::to_string(p) + ":-1"});
      if (const auto at = end.out.rfind("offset "); at != std::string::npos) sum += std::atol(end.out.c_str() + at + 7);
    }
    return sum;
  };
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  while (appended() < static_cast<long>(cities().size()) && std::chrono::steady_clock::now() < until) continue;
  expect_all_cities(read_with_kcat(topic));
  expect_all_cities(read_with_python(topic));

  // A batch that would not get smaller is left as it is, so some are plain; none has another codec.
  auto used = codecs(topic, 3);
  EXPECT_TRUE(used.contains(GetParam().codec));
  used.erase(0);
  used.erase(GetParam().codec);
  EXPECT_TRUE(used.empty());
}

INSTANTIATE_TEST_SUITE_P(With, ClientsWrite,
                         ::testing::Values(way{"acks0", {"-X", "acks=0"}}, way{"acks1", {"-X", "acks=1"}},
                                           way{"acksall", {"-X", "acks=all"}}, way{"gzip", {"-z", "gzip"}, 1},
                                           way{"snappy", {"-z", "snappy"}, 2},
                                           // Plain: librdkafka sends lz4 only to brokers that know consumer groups.
                                           way{"lz4", {"-z", "lz4"}, 0}, way{"zstd", {"-z", "zstd"}, 4},
                                           way{"idempotence", {"-X", "enable.idempotence=true"}}),
                         [](const auto& p) { return p.param.name; });

TEST_F(Clients, PythonWritesWithIdempotenceAndEveryAcknowledgedOffsetIsRight) {
  create("python", 3);
  scratch files;
  auto written = python("client.py",
                        {"produce", "--bootstrap", shared->address(), "--topic", "python", "--record",
                         (files / "acked").string(), "--set", "enable.idempotence=true"},
                        cities_text());
  ASSERT_EQ(written.status, 0) << written.err;
  auto acked = lines_of(read_file(files / "acked"));
  auto got = read_with_python("python");
  ASSERT_EQ(acked.size(), cities().size());
  // Acknowledged: "partition offset line"; read: "partition offset key,line", where the key repeats the first field.
  for (auto& record : got) {
    const auto value = record.find(' ', record.find(' ') + 1) + 1;
    record.erase(value, record.find(',') + 1 - value);
  }
  std::ranges::sort(acked);
  std::ranges::sort(got);
  EXPECT_EQ(acked, got);
}

TEST_F(Clients, EverythingThatARecordCanHaveComesBack) {
  // Their times are years ago: by default retention takes them as soon as it comes by.
  for (const auto* codec : {"none", "gzip", "snappy", "lz4", "zstd"}) {
    const auto topic = std::string{"records-"} + codec;
    create(topic, 1, kept::forever);
    auto ran = python("client.py", {"records", "--bootstrap", shared->address(), "--topic", topic, "--set",
                                    std::string{"compression.type="} + codec});
    EXPECT_EQ(ran.status, 0) << codec << ": " << ran.err;
  }
}

TEST_F(Clients, ReadLz4BatchesThatAnotherLibraryCompressed) {
  create("lz4-by-kafka-python", 3);
  auto written =
      python("lz4_producer.py", {"--bootstrap", shared->address(), "--topic", "lz4-by-kafka-python"}, cities_text());
  ASSERT_EQ(written.status, 0) << written.err;
  constexpr int lz4_codec = 3;
  auto used = codecs("lz4-by-kafka-python", 3);
  used.erase(0);  // a last, small batch that would not get smaller
  EXPECT_EQ(used, std::set{lz4_codec});
  auto by_kcat = read_with_kcat("lz4-by-kafka-python"), by_python = read_with_python("lz4-by-kafka-python");
  expect_all_cities(by_kcat);
  expect_all_cities(by_python);
  // Where each was acknowledged, there both have found it.
  auto acked = lines_of(written.out);
  std::ranges::sort(acked);
  std::ranges::sort(by_kcat);
  std::ranges::sort(by_python);
  EXPECT_TRUE(by_kcat == acked);
  EXPECT_TRUE(by_python == acked);
}

TEST_F(Clients, ReadLz4BatchesMadeByHand) {
  create("lz4-by-hand", 1, kept::forever);  // the batch's time is years ago
  std::vector<std::string> some{cities().begin(), cities().begin() + 1000};
  const auto batch = record_batch(some, {.lz4 = true});
  connection c{shared->kafka_port()};
  auto answer = c.ask(0, 3, produce_body("lz4-by-hand", 0, batch));
  ASSERT_TRUE(answer);
  answer->i32();
  answer->str();
  answer->i32();
  answer->i32();
  EXPECT_EQ(answer->i16(), 0);
  auto got = kcat(*shared, {"-C", "-q", "-e", "-t", "lz4-by-hand", "-o", "beginning"});
  EXPECT_EQ(lines_of(got.out), some) << got.err;
  EXPECT_EQ(read_with_python("lz4-by-hand").size(), some.size());
}

TEST_F(Clients, ReadsFromAnyOffset) {
  create("offsets", 1);
  ASSERT_EQ(write_cities("offsets").status, 0);
  const auto n = static_cast<long>(cities().size());
  for (const long from : {0l, 1l, 4711l, n - 1}) {
    auto got = kcat(*shared, {"-C", "-q", "-e", "-t", "offsets", "-p", "0", "-o", std::to_string(from), "-c", "1", "-f",
                              "%o %k,%s\n"});
    EXPECT_EQ(got.out, std::to_string(from) + " " + cities()[static_cast<std::size_t>(from)] + "\n") << got.err;
  }
  auto tail = kcat(*shared, {"-C", "-q", "-e", "-t", "offsets", "-p", "0", "-o", "-3", "-f", "%o\n"});
  EXPECT_EQ(lines_of(tail.out),
            (std::vector<std::string>{std::to_string(n - 3), std::to_string(n - 2), std::to_string(n - 1)}));
  auto beyond = kcat(*shared, {"-C", "-q", "-e", "-t", "offsets", "-p", "0", "-o", std::to_string(n + 1), "-X",
                               "topic.auto.offset.reset=error"});
  EXPECT_NE(beyond.err.find("out of range"), std::string::npos) << beyond.err;
}

TEST_F(Clients, ReadsFromATimestamp) {
  create("times", 1, kept::forever);
  auto ran = python("client.py", {"timed", "--bootstrap", shared->address(), "--topic", "times"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  auto got = kcat(*shared, {"-C", "-q", "-e", "-t", "times", "-p", "0", "-o", "s@1600000000250", "-f", "%s\n"});
  EXPECT_EQ(got.out, "5\n6\n7\n") << got.err;
}

TEST_F(Clients, AConsumerThatWaitsHearsOfANewRecordAtOnce) {
  create("tail", 1);
  scratch files;
  const auto fetches = [] { return shared->metric("troupe_partition_fetches_total"); };
  const auto before = fetches();
  child waiting{{"kcat", "-b", shared->address(), "-C", "-q", "-u", "-t", "tail", "-p", "0", "-o", "end", "-c", "1",
                 "-X", "fetch.wait.max.ms=280000", "-X", "socket.timeout.ms=300000"},
                {.out = files / "out"}};
  // Read once, and found nothing; read again, to watch. It waits far longer than we do.
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  while (fetches() < before + 2) ASSERT_LT(std::chrono::steady_clock::now(), until) << "the consumer never asked";
  ASSERT_EQ(kcat(*shared, {"-P", "-t", "tail", "-p", "0"}, "hello\n").status, 0);
  EXPECT_EQ(waiting.wait(seconds{60}), 0);
  EXPECT_EQ(read_file(files / "out"), "hello\n");
}

TEST_F(Clients, ATopicIsCreatedWhenFirstWrittenTo) {
  ASSERT_EQ(kcat(*shared, {"-P", "-t", "on-the-fly", "-p", "0"}, "hello\n").status, 0);
  auto got = kcat(*shared, {"-C", "-q", "-e", "-t", "on-the-fly", "-o", "beginning"});
  EXPECT_EQ(got.out, "hello\n") << got.err;
}

TEST_F(Clients, AReaderDoesNotMakeATopic) {
  auto got = kcat(*shared, {"-C", "-q", "-e", "-t", "never-written", "-o", "beginning"});
  EXPECT_NE(got.status, 0);
  auto listed = kcat(*shared, {"-L"});
  EXPECT_EQ(listed.out.find("never-written"), std::string::npos) << listed.out;
}

TEST_F(Clients, ABatchAboveTheLimitIsRefusedWithItsName) {
  create("large", 1);
  auto written = kcat(*shared, {"-P", "-t", "large", "-p", "0", "-X", "message.max.bytes=5000000", "-D", "!"},
                      std::string(3'000'000, 'x'));
  EXPECT_NE(written.err.find("Message size too large"), std::string::npos) << written.err;
  auto got = kcat(*shared, {"-C", "-q", "-e", "-t", "large", "-o", "beginning"});
  EXPECT_EQ(got.out, "");
}

}  // namespace
}  // namespace troupe::test
