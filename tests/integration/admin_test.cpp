#include <gtest/gtest.h>

#include "tests/integration/process.hpp"
#include "tests/integration/raw.hpp"

/// Topics and their configuration, over the clients' admin calls and, for what Debian's librdkafka is too old for, over
/// frames by hand.
namespace troupe::test {
namespace {

void create(const node& n, const std::string& topic, int partitions = 1) {
  auto created = python(
      "topic.py", {"create", "--bootstrap", n.address(), "--topic", topic, "--partitions", std::to_string(partitions)});
  ASSERT_EQ(created.status, 0) << created.err;
}

/// What topic.py says about a topic's own settings.
std::string described(const node& n, const std::string& topic) {
  return python("topic.py", {"describe", "--bootstrap", n.address(), "--topic", topic}).out;
}

constexpr int delete_records = 21, incremental_alter_configs = 44;

struct config_change {
  std::string name;
  int operation;  ///< 0 set, 1 delete, 2 append, 3 subtract
  std::string value;
};
struct refusal {
  std::int64_t code;
  std::string text;
};

refusal alter(const node& n, const std::string& topic, const std::vector<config_change>& changes,
              bool dry_run = false) {
  writer body;
  body.i32(1).i8(2).str(topic).i32(static_cast<std::int64_t>(changes.size()));
  for (const auto& c : changes) {
    body.str(c.name).i8(c.operation);
    c.operation == 1 ? body.null_str() : body.str(c.value);
  }
  body.i8(dry_run);
  connection c{n.kafka_port()};
  auto answer = c.ask(incremental_alter_configs, 0, body.bytes());
  if (!answer) return {-1, "no answer"};
  answer->i32();
  EXPECT_EQ(answer->i32(), 1);
  const auto code = answer->i16();
  return {code, answer->null_str()};
}

struct trimmed {
  std::int64_t low, code;
};
trimmed trim(const node& n, const std::string& topic, int partition, std::int64_t before) {
  connection c{n.kafka_port()};
  const auto body = writer{}.i32(1).str(topic).i32(1).i32(partition).i64(before).i32(10000).bytes();
  auto answer = c.ask(delete_records, 0, body);
  if (!answer) return {-1, -1};
  answer->i32();
  EXPECT_EQ(answer->i32(), 1);
  EXPECT_EQ(answer->str(), topic);
  EXPECT_EQ(answer->i32(), 1);
  EXPECT_EQ(answer->i32(), partition);
  const auto low = answer->i64();
  return {low, answer->i16()};
}

TEST(Admin, TopicsAreCreatedGrownDescribedAlteredAndDeleted) {
  node n;
  auto ran = python("client.py", {"admin", "--bootstrap", n.address()});
  ASSERT_EQ(ran.status, 0) << ran.err;
  const auto says = [&](const std::string& what) {
    EXPECT_NE(ran.out.find(what), std::string::npos) << what << "\nin " << ran.out;
  };
  says(R"("create": {"a": "ok", "b": "ok", "bad name": "TOPIC_EXCEPTION", "c": "INVALID_REPLICATION_FACTOR", )"
       R"("d": "INVALID_PARTITIONS", "e": "INVALID_CONFIG", "f": "ok"})");
  says(R"("again": {"a": "TOPIC_ALREADY_EXISTS"})");
  says(R"("validate": {"v": "ok"})");
  says(R"("topics": {"a": 3, "b": 1, "f": 2})");
  says(R"("grow": {"a": "ok", "b": "INVALID_PARTITIONS", "x": "UNKNOWN_TOPIC_OR_PART"}, "grown": 5)");
  says(R"("retention": ["60000", 1, false])");
  says(R"("limit": ["1048588", )");
  says(R"("names": ["cleanup.policy", "compression.type", "durability", "max.message.bytes", )"
       R"("message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "message.timestamp.type", )"
       R"("min.insync.replicas", "retention.bytes", "retention.ms", "unclean.leader.election.enable"])");
  // AlterConfigs replaces: what is not named goes back to its default.
  says(R"("alter": ["ok"], "altered": ["2000", )");
  says(R"("alter_bad": ["INVALID_CONFIG"], "alter_unknown": ["UNKNOWN_TOPIC_OR_PART"])");
  says(R"("broker": true)");
  says(R"("delete": {"a": "ok", "x": "UNKNOWN_TOPIC_OR_PART"}, "left": ["b", "f"])");
}

TEST(Admin, AGrownTopicTakesRecordsInItsNewPartitions) {
  node n;
  create(n, "t");
  connection c{n.kafka_port()};
  auto answer = c.ask(37, 0, writer{}.i32(1).str("t").i32(3).i32(-1).i32(10000).i8(0).bytes());
  ASSERT_TRUE(answer);
  answer->i32();
  ASSERT_EQ(answer->i32(), 1);
  EXPECT_EQ(answer->str(), "t");
  EXPECT_EQ(answer->i16(), 0);
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "2"}, "hello\n").status, 0);
  EXPECT_EQ(kcat(n, {"-C", "-q", "-e", "-t", "t", "-p", "2", "-o", "beginning"}).out, "hello\n");
}

TEST(Admin, SettingsChangeOneByOneAndTakeEffectAtOnce) {
  node n;
  create(n, "t");
  EXPECT_EQ(alter(n, "t", {{"max.message.bytes", 0, "1000"}, {"retention.ms", 0, "-1"}}).code, 0);
  EXPECT_EQ(described(n, "t"), "partitions=1\nmax.message.bytes=1000\nretention.ms=-1\n");
  auto refused = kcat(n, {"-P", "-t", "t", "-p", "0", "-D", "!"}, std::string(5000, 'x'));
  EXPECT_NE(refused.err.find("Message size too large"), std::string::npos) << refused.err;

  EXPECT_EQ(alter(n, "t", {{"max.message.bytes", 1, ""}}).code, 0);
  EXPECT_EQ(described(n, "t"), "partitions=1\nretention.ms=-1\n");
  EXPECT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0", "-D", "!"}, std::string(5000, 'x')).status, 0);

  EXPECT_EQ(alter(n, "t", {{"retention.ms", 0, "5"}}, true).code, 0);  // only asked whether it would do
  EXPECT_EQ(described(n, "t"), "partitions=1\nretention.ms=-1\n");

  constexpr int invalid_config = 40, invalid_request = 42, unknown_topic = 3;
  for (const auto& [change, code] :
       std::vector<std::pair<config_change, int>>{{{"retention.ms", 0, "soon"}, invalid_config},
                                                  {{"retention.ms", 2, "5"}, invalid_config},
                                                  {{"no.such.setting", 0, "5"}, invalid_config},
                                                  {{"cleanup.policy", 0, "compact"}, invalid_config},
                                                  {{"durability", 0, "interval"}, invalid_config}}) {
    auto said = alter(n, "t", {change});
    EXPECT_EQ(said.code, code) << change.name << "=" << change.value;
    EXPECT_NE(said.text.find(change.name), std::string::npos) << said.text;
  }
  EXPECT_EQ(alter(n, "t", {{"retention.ms", 0, "5"}, {"retention.ms", 0, "6"}}).code, invalid_request);
  EXPECT_EQ(alter(n, "x", {{"retention.ms", 0, "5"}}).code, unknown_topic);
  EXPECT_EQ(described(n, "t"), "partitions=1\nretention.ms=-1\n");
}

TEST(Admin, DeletedRecordsAreGoneAlsoAfterARestart) {
  node n;
  create(n, "t");
  std::string text;
  for (int i = 0; i < 100; ++i) text += std::to_string(i) + "\n";
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, text).status, 0);

  constexpr int out_of_range = 1, unknown_topic = 3;
  EXPECT_EQ(trim(n, "t", 0, 101).code, out_of_range);
  EXPECT_EQ(trim(n, "t", 0, -2).code, out_of_range);
  EXPECT_EQ(trim(n, "t", 5, 10).code, unknown_topic);
  EXPECT_EQ(trim(n, "x", 0, 10).code, unknown_topic);
  auto done = trim(n, "t", 0, 40);
  EXPECT_EQ(done.code, 0);
  EXPECT_EQ(done.low, 40);

  const auto first = [&] {
    return kcat(n, {"-C", "-q", "-e", "-t", "t", "-p", "0", "-o", "beginning", "-c", "1", "-f", "%o %s\n"}).out;
  };
  EXPECT_EQ(first(), "40 40\n");
  n.kill();
  n.start();
  EXPECT_EQ(first(), "40 40\n");
  EXPECT_EQ(trim(n, "t", 0, 10).low, 40) << "never back";
  EXPECT_EQ(trim(n, "t", 0, -1).low, 100);
  EXPECT_EQ(first(), "");
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "next\n").status, 0);
  EXPECT_EQ(first(), "100 next\n");
}

TEST(Admin, ADeletedTopicComesBackEmptyAndItsWaitingReadersHearOfIt) {
  node n;
  create(n, "t");
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "old\n").status, 0);
  connection waiting{n.kafka_port()};
  const auto fetches = n.metric("troupe_partition_fetches_total");
  ASSERT_TRUE(waiting.send(request(1, 4, fetch_body("t", 0, 1, 300000))));
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  // Read once, and found nothing; read again, to watch.
  while (n.metric("troupe_partition_fetches_total") < fetches + 2) ASSERT_LT(std::chrono::steady_clock::now(), until);
  ASSERT_EQ(python("topic.py", {"delete", "--bootstrap", n.address(), "--topic", "t"}).status, 0);
  EXPECT_TRUE(waiting.receive(seconds{60})) << "a fetch must not wait for a deleted topic";
  create(n, "t");
  EXPECT_EQ(kcat(n, {"-C", "-q", "-e", "-t", "t", "-o", "beginning"}).out, "");
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "new\n").status, 0);
  EXPECT_EQ(kcat(n, {"-C", "-q", "-e", "-t", "t", "-o", "beginning"}).out, "new\n");
}

TEST(Admin, ManyPartitionsInOneRequest) {
  node n;
  create(n, "wide", 1000);
  EXPECT_EQ(n.metric("troupe_partitions"), 1000);
  ASSERT_EQ(kcat(n, {"-P", "-t", "wide", "-K", ","}, cities_text()).status, 0);
  auto got = kcat(n, {"-C", "-q", "-e", "-t", "wide", "-o", "beginning", "-f", "%o\n"});
  EXPECT_EQ(lines_of(got.out).size(), cities().size()) << got.err;
  ASSERT_EQ(n.stop(), 0);
  n.start();
  EXPECT_EQ(n.metric("troupe_partitions"), 1000);
  ASSERT_EQ(python("topic.py", {"delete", "--bootstrap", n.address(), "--topic", "wide"}).status, 0);
  EXPECT_EQ(n.metric("troupe_partitions"), 0);
}

TEST(Admin, AutoCreationCanBeOff) {
  node n{{"--auto-create-topics=off"}};
  auto written = kcat(n, {"-P", "-t", "t", "-p", "0", "-X", "message.timeout.ms=2000"}, "x\n");
  EXPECT_NE(written.status, 0);
  EXPECT_EQ(kcat(n, {"-L"}).out.find("topic \"t\""), std::string::npos);
}

TEST(Admin, NodeOptionsAreTheDefaultsOfTopics) {
  node n{{"--default-partitions=3", "--retention=1h", "--message-bytes-max=2000"}};
  ASSERT_EQ(kcat(n, {"-P", "-t", "t"}, "x\n").status, 0);
  EXPECT_EQ(described(n, "t"), "partitions=3\n") << "defaults are no settings of the topic";
  auto refused = kcat(n, {"-P", "-t", "t", "-p", "0", "-D", "!"}, std::string(5000, 'x'));
  EXPECT_NE(refused.err.find("Message size too large"), std::string::npos) << refused.err;
}

TEST(Admin, OldRecordsGoByThemselves) {
  node n{{"--retention-check=100ms", "--segment-bytes=1MiB"}};
  create(n, "t");
  ASSERT_EQ(alter(n, "t", {{"retention.bytes", 0, "2000000"}}).code, 0);
  for (int round = 0; round < 3; ++round) ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, cities_text()).status, 0);
  const auto first = [&] {
    auto low = kcat(n, {"-Q", "-t", "t:0:-2"});
    const auto at = low.out.rfind("offset ");
    return at == std::string::npos ? -1 : std::atol(low.out.c_str() + at + 7);
  };
  // What is left is whole and ends where it ended. Records that go while they are read throw the reader to the end, so
  // it reads again until nothing goes any more.
  const auto last = std::to_string(3 * cities().size() - 1);
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  std::vector<std::string> left;
  do {
    auto got = kcat(n, {"-C", "-q", "-e", "-t", "t", "-p", "0", "-o", "beginning", "-f", "%o\n"});
    left = lines_of(got.out);
  } while ((first() <= 0 || left.empty() || left.back() != last) && std::chrono::steady_clock::now() < until);
  EXPECT_GT(first(), 0) << "retention.bytes takes nothing away";
  ASSERT_FALSE(left.empty());
  EXPECT_EQ(left.back(), last);
  EXPECT_EQ(left.size(), 3 * cities().size() - std::stoul(left.front())) << "a gap";
}

}  // namespace
}  // namespace troupe::test
