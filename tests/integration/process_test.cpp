#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "tests/integration/process.hpp"
#include "tests/integration/raw.hpp"

/// What the person sees who starts, watches and stops a node.
namespace troupe::test {
namespace {

outcome start_wrongly(std::vector<std::string> options) {
  options.insert(options.begin(), TROUPE_NODE);
  return run(options, {}, seconds{30});
}

TEST(Process, AWrongOptionIsOneLineAndExitCodeTwoAndTouchesNothing) {
  scratch home;
  const auto data = (home / "data").string();
  const std::pair<const char*, const char*> wrong[] = {
      {"--no-such-option=1", "no-such-option"},
      {"--kafka=nonsense", "--kafka"},
      {"--kafka=127.0.0.1:99999", "--kafka"},
      {"--http=", "--http"},
      {"--node-id=-1", "--node-id"},
      {"--node-id=one", "--node-id"},
      {"--log-level=loud", "--log-level"},
      {"--retention=soon", "--retention"},
      {"--segment-bytes=12", "--segment-bytes"},
      {"--auto-create-topics=maybe", "--auto-create-topics"},
      {"--config=/no/such/file", "/no/such/file"},
      {"stray", "stray"},
  };
  for (const auto& [option, named] : wrong) {
    auto ended = start_wrongly({"--data-dir=" + data, option});
    EXPECT_EQ(ended.status, 2) << option;
    EXPECT_EQ(lines_of(ended.err).size(), 1u) << ended.err;
    EXPECT_NE(ended.err.find(named), std::string::npos) << ended.err;
    EXPECT_EQ(ended.out, "");
    EXPECT_FALSE(std::filesystem::exists(data)) << option;
  }
}

TEST(Process, HelpAndVersionAreAnswered) {
  auto help = start_wrongly({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const auto* option : {"--data-dir", "--node-id", "--kafka", "--http", "--cluster", "--log-level", "--config"})
    EXPECT_NE(help.out.find(option), std::string::npos) << option;
  EXPECT_EQ(start_wrongly({"--version"}).status, 0);
}

TEST(Process, ADirectoryInUseIsRefusedAndItsOwnerGoesOn) {
  node n;
  auto second = start_wrongly({"--data-dir=" + n.data().string(), "--kafka=127.0.0.1:" + std::to_string(free_port()),
                               "--http=127.0.0.1:" + std::to_string(free_port())});
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find(n.data().string()), std::string::npos) << second.err;
  EXPECT_NE(second.err.find(std::to_string(n.pid())), std::string::npos) << second.err;
  EXPECT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "x\n").status, 0);
}

TEST(Process, ADirectoryOfAnotherNodeIsRefused) {
  node n{{"--node-id=1"}};
  ASSERT_EQ(n.stop(), 0);
  auto other = start_wrongly({"--data-dir=" + n.data().string(), "--node-id=2",
                              "--kafka=127.0.0.1:" + std::to_string(free_port()),
                              "--http=127.0.0.1:" + std::to_string(free_port())});
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("node 1"), std::string::npos) << other.err;
  n.start();
}

TEST(Process, LostMetadataIsNoReasonToDropTheRecords) {
  node n;
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "x\n").status, 0);
  ASSERT_EQ(n.stop(), 0);
  scratch aside;
  const auto metadata = n.data() / "metadata";
  std::filesystem::copy(metadata, aside / "metadata", std::filesystem::copy_options::recursive);
  std::filesystem::remove_all(metadata);
  auto refused = start_wrongly({"--data-dir=" + n.data().string(), "--kafka=" + n.address(),
                                "--http=127.0.0.1:" + std::to_string(n.http_port())});
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("metadata"), std::string::npos) << refused.err;
  std::filesystem::remove_all(metadata);
  std::filesystem::copy(aside / "metadata", metadata, std::filesystem::copy_options::recursive);
  n.start();
  EXPECT_EQ(kcat(n, {"-C", "-q", "-e", "-t", "t", "-o", "beginning"}).out, "x\n");
}

TEST(Process, ATakenPortIsNamed) {
  node n;
  scratch home;
  for (const auto& [kafka, http] : {std::pair{n.kafka_port(), free_port()}, {free_port(), n.http_port()}}) {
    auto ended = start_wrongly({"--data-dir=" + (home / "data").string(), "--kafka=127.0.0.1:" + std::to_string(kafka),
                                "--http=127.0.0.1:" + std::to_string(http)});
    EXPECT_EQ(ended.status, 1);
    const auto taken = std::to_string(kafka == n.kafka_port() ? kafka : http);
    EXPECT_NE(ended.err.find(taken + ": the port is in use by another program"), std::string::npos) << ended.err;
    EXPECT_NE(ended.err.find(kafka == n.kafka_port() ? "--kafka" : "--http"), std::string::npos) << ended.err;
  }
}

TEST(Process, OptionsComeFromAFileToo) {
  scratch home;
  write_file(home / "node.conf", "default-partitions = 5\n");
  node n{{"--config=" + (home / "node.conf").string()}};
  ASSERT_EQ(kcat(n, {"-P", "-t", "t"}, "x\n").status, 0);
  EXPECT_NE(kcat(n, {"-L", "-t", "t"}).out.find("5 partitions"), std::string::npos);
}

TEST(Process, StopsInOrderWhileClientsWriteAndWait) {
  node n;
  scratch files;
  write_file(files / "in", cities_text());
  ASSERT_EQ(kcat(n, {"-P", "-t", "quiet", "-p", "0"}, "x\n").status, 0);
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  const auto grows = [&](const char* metric, double from) {
    while (n.metric(metric) <= from && std::chrono::steady_clock::now() < until) continue;
    return n.metric(metric) > from;
  };
  connection waiting{n.kafka_port()};
  const auto fetches = n.metric("troupe_partition_fetches_total");
  ASSERT_TRUE(waiting.send(request(1, 4, fetch_body("quiet", 0, 1, 300000))));
  // Read once, and found nothing; read again, to watch.
  ASSERT_TRUE(grows("troupe_partition_fetches_total", fetches + 1));
  // A record at a time: this takes far longer than we wait.
  child producer{{"kcat", "-b", n.address(), "-P", "-E", "-t", "t", "-X", "batch.num.messages=1", "-X",
                  "max.in.flight.requests.per.connection=1", "-X", "message.timeout.ms=3000"},
                 {.in = files / "in"}};
  ASSERT_TRUE(grows("troupe_partition_appended_records_total", 100));
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(n.stop(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, seconds{10});
  EXPECT_FALSE(producer.wait(milliseconds{0})) << "it should still have had records to write";
  EXPECT_TRUE(waiting.receive()) << "who waits is answered";
  EXPECT_TRUE(waiting.closed_by_peer());
  EXPECT_NE(n.log().find("stopped"), std::string::npos);
  n.start();
  EXPECT_EQ(n.log().find("damaged"), std::string::npos) << "an orderly stop leaves nothing to repair";
}

TEST(Process, SaysHowItIs) {
  node n;
  EXPECT_EQ(http_get(n.http_port(), "/healthz").status, 200);
  EXPECT_EQ(http_get(n.http_port(), "/readyz").status, 200);
  EXPECT_EQ(http_get(n.http_port(), "/nowhere").status, 404);
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "x\n").status, 0);
  const auto metrics = http_get(n.http_port(), "/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_NE(metrics.body.find("# TYPE troupe_topics gauge"), std::string::npos);
  EXPECT_EQ(n.metric("troupe_topics"), 1);
  EXPECT_EQ(n.metric("troupe_partition_appended_records_total"), 1);
  EXPECT_GE(n.metric("troupe_store_syncs_total"), 1);
}

bool holds(const http_answer& got, std::string_view text) {
  return got.body.find(text) != std::string::npos;
}

TEST(Process, ShowsItsClusterAndTakesOperations) {
  node n;
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "x\n").status, 0);
  const auto cluster = http_get(n.http_port(), "/v1/cluster");
  EXPECT_EQ(cluster.status, 200);
  for (const auto* part : {"\"controller\": 1", "\"state\": \"active\"", "\"topics\": 1", "\"leaderless\": 0"})
    EXPECT_TRUE(holds(cluster, part)) << part << " in " << cluster.body;
  EXPECT_TRUE(holds(http_get(n.http_port(), "/v1/nodes/1"), "\"leaderships\": 1"));
  EXPECT_EQ(http_get(n.http_port(), "/v1/nodes/2").status, 404);
  EXPECT_TRUE(holds(http_get(n.http_port(), "/v1/partitions/t"), "\"leader\": 1"));
  EXPECT_EQ(http_get(n.http_port(), "/v1/partitions/u").status, 404);

  const auto voters = http_post(n.http_port(), "/v1/cluster", R"({"voters":5})");
  EXPECT_EQ(voters.status, 202);
  EXPECT_TRUE(holds(voters, "\"voters_wanted\": 5")) << voters.body;
  EXPECT_EQ(http_post(n.http_port(), "/v1/partitions/t/0", R"({"elect":"preferred"})").status, 202);
  EXPECT_EQ(http_post(n.http_port(), "/v1/partitions/t/0", R"({"replicas":[1]})").status, 202);

  const auto last = http_post(n.http_port(), "/v1/nodes/1", R"({"action":"remove"})");
  EXPECT_EQ(last.status, 409);
  EXPECT_TRUE(holds(last, "no other node would be left")) << last.body;
  EXPECT_EQ(http_post(n.http_port(), "/v1/nodes/1", R"({"action":"undo"})").status, 409);
  EXPECT_EQ(http_post(n.http_port(), "/v1/nodes/1", R"({"action":"stop"})").status, 400);
  const auto drained = http_post(n.http_port(), "/v1/nodes/1", R"({"action":"drain"})");
  EXPECT_EQ(drained.status, 409);
  EXPECT_TRUE(holds(drained, "no other node would be left")) << drained.body;
  const auto voter = http_post(n.http_port(), "/v1/nodes/1", R"({"action":"add_voter"})");
  EXPECT_EQ(voter.status, 202);
  EXPECT_TRUE(holds(voter, "\"votes\": \"always\"")) << voter.body;
  EXPECT_EQ(http_post(n.http_port(), "/v1/nodes/1", R"({"action":"add_voter"})").status, 409);
  const auto sole = http_post(n.http_port(), "/v1/nodes/1", R"({"action":"remove_voter"})");
  EXPECT_EQ(sole.status, 409);
  EXPECT_TRUE(holds(sole, "no other node can take its place")) << sole.body;
  EXPECT_EQ(http_post(n.http_port(), "/v1/nodes/1", R"({"action":"auto_voter"})").status, 202);
  EXPECT_EQ(http_post(n.http_port(), "/v1/nodes/2", R"({"action":"remove"})").status, 404);
  EXPECT_EQ(http_post(n.http_port(), "/v1/partitions/t/0", R"({"replicas":[1,2]})").status, 409);
  EXPECT_EQ(http_post(n.http_port(), "/v1/partitions/t/1", R"({"cancel":true})").status, 404);
  EXPECT_EQ(http_post(n.http_port(), "/v1/partitions/t/0", R"({"cancel":true})").status, 409);
}

TEST(Process, ANodeThatWaitsForItsClusterSaysSo) {
  scratch home;
  const auto http = free_port();
  child waiting{
      {TROUPE_NODE, "--data-dir=" + (home / "data").string(), "--kafka=127.0.0.1:" + std::to_string(free_port()),
       "--http=127.0.0.1:" + std::to_string(http), "--cluster=127.0.0.1:" + std::to_string(free_port()),
       "--join=127.0.0.1:" + std::to_string(free_port())},
      {.err = home / "err"}};
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  http_answer got;
  do got = http_get(http, "/readyz");
  while (!holds(got, "--join") && !waiting.wait(milliseconds{2}) && std::chrono::steady_clock::now() < until);
  EXPECT_EQ(got.status, 503);
  EXPECT_TRUE(holds(got, "none of the nodes named by --join has taken this node in yet")) << got.body;
  EXPECT_EQ(http_get(http, "/healthz").status, 200);
  const auto cluster = http_get(http, "/v1/cluster");
  EXPECT_EQ(cluster.status, 200);
  EXPECT_TRUE(holds(cluster, "\"cluster\": null")) << cluster.body;
  // Nobody decides here.
  EXPECT_EQ(http_post(http, "/v1/cluster", R"({"voters":3})").status, 503);
  waiting.signal(SIGTERM);
  EXPECT_EQ(waiting.wait(seconds{30}), 1);
}

TEST(Process, ANodeThatIsTakenOutOfItsClusterEndsInOrder) {
  const auto first = "127.0.0.1:" + std::to_string(free_port()), second = "127.0.0.1:" + std::to_string(free_port());
  node stays{{"--node-id=1", "--cluster=" + first}};
  node leaves{{"--node-id=2", "--cluster=" + second, "--join=" + first}};
  ASSERT_EQ(kcat(leaves, {"-P", "-t", "t", "-p", "0", "-X", "acks=all"}, "x\n").status, 0);
  EXPECT_EQ(http_post(leaves.http_port(), "/v1/nodes/2", R"({"action":"remove"})").status, 202);
  const auto until = std::chrono::steady_clock::now() + seconds{60};
  while (leaves.running() && std::chrono::steady_clock::now() < until) continue;
  ASSERT_FALSE(leaves.running()) << http_get(stays.http_port(), "/v1/nodes/2").body;
  EXPECT_EQ(leaves.stop(), 0);
  EXPECT_NE(leaves.log().find("removed_from_cluster"), std::string::npos);
  EXPECT_TRUE(holds(http_get(stays.http_port(), "/v1/nodes/2"), "\"state\": \"removed\""));
  EXPECT_EQ(kcat(stays, {"-C", "-q", "-e", "-t", "t", "-o", "beginning"}).out, "x\n");
}

/// Seconds of processor time that a process has used.
double processor_seconds(int pid) {
  std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
  std::string field;
  std::getline(stat, field, ')');  // the name may hold blanks
  double user = 0, system = 0;
  for (int i = 3; i <= 15 && stat >> field; ++i) {
    if (i == 14) user = std::stod(field);
    if (i == 15) system = std::stod(field);
  }
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

TEST(Process, StartsAtOnceAndIdlesCheaply) {
  node n;
  ASSERT_EQ(n.stop(), 0);
  // 200 ms by the machine that this was made on. Tests share theirs with others, so once in ten is proof enough; a node
  // that is slow by itself is slow each time.
  milliseconds best = seconds{60};
  for (int tries = 0; tries < 10 && best >= seconds{1}; ++tries) {
    if (tries > 0) {
      ASSERT_EQ(n.stop(), 0);
    }
    std::filesystem::remove_all(n.data());
    best = std::min(best, n.start());
  }
  EXPECT_LT(best, seconds{1});
  RecordProperty("ready_ms", static_cast<int>(best.count()));
  EXPECT_LT(n.resident(), 60u << 20);

  double least = 2;
  for (int tries = 0; tries < 5 && least >= 0.1; ++tries) {
    const auto before = processor_seconds(n.pid());
    timespec two_seconds{2, 0};  // what is measured is what happens while nothing happens
    ::nanosleep(&two_seconds, nullptr);
    least = std::min(least, processor_seconds(n.pid()) - before);
  }
  EXPECT_LT(least, 0.1);
}

}  // namespace
}  // namespace troupe::test
