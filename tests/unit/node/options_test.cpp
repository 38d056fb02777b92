#include "apps/node/options.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "actors/controller/topic_settings.hpp"
#include "runtime/store/log.hpp"

namespace troupe {
namespace {

using namespace std::chrono_literals;

struct Options : testing::Test {
  std::map<std::string, std::string> variables;
  std::vector<std::string> files;

  ~Options() override {
    for (const auto& f : files) unlink(f.c_str());
  }
  result<command> parse(std::vector<std::string> arguments) {
    std::vector<const char*> argv{"troupe-node"};
    for (const auto& a : arguments) argv.push_back(a.c_str());
    return parse_options(static_cast<int>(argv.size()), argv.data(), [this](const char* name) -> const char* {
      const auto at = variables.find(name);
      return at == variables.end() ? nullptr : at->second.c_str();
    });
  }
  node_options of(std::vector<std::string> arguments) {
    auto got = parse(std::move(arguments));
    EXPECT_TRUE(got) << got.error().text;
    return got->options;
  }
  std::string refusal(std::vector<std::string> arguments) {
    auto got = parse(std::move(arguments));
    if (got) return "accepted";
    EXPECT_EQ(got.error().text.find('\n'), std::string::npos);
    return got.error().text;
  }
  /// A file with this text; its path.
  std::string file(std::string_view text) {
    std::string path = testing::TempDir() + "options-XXXXXX";
    const int fd = mkstemp(path.data());
    EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(fd);
    files.push_back(path);
    return path;
  }
};

TEST_F(Options, SaysWhichVariableWasProbablyMeant) {
  const char* environment[] = {"TROUPE_DATADIR=/x",
                               "TROUPE_DATA_DIR=/x",
                               "TROUPE_CONFIG=/y",
                               "DATA_DIRS=/z",
                               "TROUPE_PORT_9092_TCP_ADDR=10.0.0.1",
                               nullptr};
  EXPECT_EQ(misspelt_variables(environment),
            std::vector<std::string>{"TROUPE_DATADIR is not an option's variable, did you mean TROUPE_DATA_DIR?"});
}

TEST_F(Options, WithoutAnyTheDefaultsHold) {
  const auto got = parse({});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->options, node_options{});
  EXPECT_EQ(got->message, "");
}

TEST_F(Options, DefaultsAreThoseOfTheRoomsThatUseThem) {
  const node_options o;
  EXPECT_EQ(o.retention, topic_settings{}.retention);
  EXPECT_EQ(o.retention_bytes, topic_settings{}.retention_bytes);
  EXPECT_EQ(o.message_bytes_max, topic_settings{}.message_bytes_max);
  EXPECT_EQ(o.segment_bytes, store::options{}.segment_bytes);
  EXPECT_EQ(o.segment_age, store::options{}.segment_age);
  EXPECT_EQ(o.sync_interval, store::options{}.interval);
  EXPECT_EQ(o.lanes, store::options{}.lanes);
  EXPECT_EQ(o.disk_reserve, store::options{}.reserve_bytes);
}

TEST_F(Options, EachIsRead) {
  const auto o = of({"--data-dir=/srv/x y",
                     "--node-id=0",
                     "--rack=eu-1a",
                     "--log-level=trace",
                     "--kafka=[::1]:1",
                     "--kafka-advertised=k.example:2",
                     "--http=localhost:0",
                     "--cluster=0.0.0.0:3",
                     "--cluster-advertised=c.example:4",
                     "--join=a.example:5,[::1]:6",
                     "--cluster-certificate=/c",
                     "--cluster-key=/k",
                     "--cluster-authority=/a",
                     "--insecure=on",
                     "--auto-create-topics=off",
                     "--default-partitions=7",
                     "--default-replication=2",
                     "--retention=none",
                     "--retention-bytes=5GiB",
                     "--message-bytes-max=2MiB",
                     "--retention-check=1s",
                     "--segment-bytes=1MiB",
                     "--segment-age=2h",
                     "--lanes=8",
                     "--disk-reserve=1GiB",
                     "--sync-interval=7ms",
                     "--io-threads=3",
                     "--actor-threads=4",
                     "--connections-max=5",
                     "--connections-per-address-max=6",
                     "--connection-idle=1min",
                     "--request-bytes-max=3MiB",
                     "--produce-memory=4MiB"});
  node_options want;
  want.data_dir = "/srv/x y";
  want.node_id = node_id{0};
  want.rack = "eu-1a";
  want.log_level = observe::level::trace;
  want.kafka = {"::1", 1};
  want.kafka_advertised = {"k.example", 2};
  want.http = {"localhost", 0};
  want.cluster = {"0.0.0.0", 3};
  want.cluster_advertised = {"c.example", 4};
  want.join = {{"a.example", 5}, {"::1", 6}};
  want.cluster_certificate = "/c";
  want.cluster_key = "/k";
  want.cluster_authority = "/a";
  want.insecure = true;
  want.default_replication = 2;
  want.auto_create_topics = false;
  want.default_partitions = 7;
  want.retention = std::nullopt;
  want.retention_bytes = 5ull << 30;
  want.message_bytes_max = 2 << 20;
  want.retention_check = 1s;
  want.segment_bytes = 1 << 20;
  want.segment_age = 2h;
  want.lanes = 8;
  want.disk_reserve = 1 << 30;
  want.sync_interval = 7ms;
  want.io_threads = 3;
  want.actor_threads = 4;
  want.connections_max = 5;
  want.connections_per_address_max = 6;
  want.connection_idle = 1min;
  want.request_bytes_max = 3 << 20;
  want.produce_memory = 4 << 20;
  EXPECT_EQ(o, want);
}

TEST_F(Options, ValuesMayFollowAsAnArgumentOfTheirOwnAndTheLastWins) {
  const auto o = of({"--rack", "a", "--rack=b", "--node-id", "4"});
  EXPECT_EQ(o.rack, "b");
  EXPECT_EQ(o.node_id, node_id{4});
}

TEST_F(Options, CommandLineBeatsEnvironmentBeatsFileBeatsDefault) {
  const auto path = file("rack = file\nnode-id = 2\nlanes = 2\n");
  variables = {{"TROUPE_RACK", "environment"}, {"TROUPE_NODE_ID", "3"}};
  const auto o = of({"--rack=line", "--config=" + path});
  EXPECT_EQ(o.rack, "line");
  EXPECT_EQ(o.node_id, node_id{3});
  EXPECT_EQ(o.lanes, 2u);
  EXPECT_EQ(o.io_threads, 0u);
}

TEST_F(Options, TheEnvironmentMayNameTheFileAndEmptyVariablesCountAsNotSet) {
  variables = {{"TROUPE_CONFIG", file("node-id = 9\n")}, {"TROUPE_NODE_ID", ""}};
  EXPECT_EQ(of({}).node_id, node_id{9});
}

TEST_F(Options, AFileHasCommentsBlankLinesAndEmptyValues) {
  const auto o =
      of({"--config", file("\xEF\xBB\xBF# from an editor\r\n\r\n  data-dir =  /a b # c \r\nrack=\r\n\tlanes\t=\t1")});
  EXPECT_EQ(o.data_dir, "/a b # c");
  EXPECT_EQ(o.rack, "");
  EXPECT_EQ(o.lanes, 1u);
}

TEST_F(Options, MistakesInAFileNameFileAndLine) {
  const auto in = [&](std::string_view text) {
    const auto path = file(text);
    auto why = refusal({"--config=" + path});
    EXPECT_EQ(why.substr(0, path.size()), path);
    return why.substr(path.size());
  };
  EXPECT_EQ(in("# a\nkafak = x:1\n"), ":2: unknown option \"kafak\", did you mean kafka? (--help lists all)");
  EXPECT_EQ(in("config = other\n"), ":1: unknown option \"config\" (--help lists all)");
  EXPECT_EQ(in("lanes\n"), ":1: \"lanes\" is no line of the form name = value");
  EXPECT_EQ(in("lanes = 9\n"), ":1: lanes: \"9\" is no number from 0 to 8");
  EXPECT_EQ(in("lanes = 1\n\nlanes = 2\n"), ":3: lanes was set in line 1 already");
  EXPECT_EQ(in("[section]\n"), ":1: \"[section]\" is no line of the form name = value");
}

TEST_F(Options, AFileThatCannotBeReadIsNamed) {
  EXPECT_EQ(refusal({"--config=/no/such.conf"}), "config \"/no/such.conf\": cannot be read: No such file or directory");
  EXPECT_EQ(refusal({"--config=/"}), "config \"/\": cannot be read: Is a directory");
  EXPECT_EQ(refusal({"--config=" + file(std::string((1 << 20) + 1, '\n'))}).substr(0, 8), "config \"");
}

TEST_F(Options, UnknownOnesNameTheNearest) {
  EXPECT_EQ(refusal({"--kafak=x:1"}), "unknown option \"--kafak\", did you mean --kafka? (--help lists all)");
  EXPECT_EQ(refusal({"--data_dir=x"}), "unknown option \"--data_dir\", did you mean --data-dir? (--help lists all)");
  EXPECT_EQ(refusal({"--message.bytes.max=1"}),
            "unknown option \"--message.bytes.max\", did you mean --message-bytes-max? (--help lists all)");
  EXPECT_EQ(refusal({"--connections-per"}),
            "unknown option \"--connections-per\", did you mean --connections-per-address-max? (--help lists all)");
  EXPECT_EQ(refusal({"--hlep"}), "unknown option \"--hlep\", did you mean --help? (--help lists all)");
  EXPECT_EQ(refusal({"--teleport=1"}), "unknown option \"--teleport\" (--help lists all)");
  EXPECT_EQ(refusal({"--"}), "unexpected argument \"--\"; options are written --name=value (--help lists all)");
  EXPECT_EQ(refusal({"start"}), "unexpected argument \"start\"; options are written --name=value (--help lists all)");
}

TEST_F(Options, WrongValuesSayWhatIsAllowed) {
  EXPECT_EQ(refusal({"--node-id=-1"}), "--node-id: \"-1\" is no number from 0 to 2147483647");
  EXPECT_EQ(refusal({"--node-id"}), "--node-id: a value is missing: --node-id=NUMBER");
  EXPECT_EQ(refusal({"--node-id", "--rack=x"}), "--node-id: a value is missing: --node-id=NUMBER");
  EXPECT_EQ(refusal({"--data-dir="}), "--data-dir: a directory is missing");
  EXPECT_EQ(refusal({"--kafka=9092"}),
            "--kafka: \"9092\" is no address: it is HOST:PORT, as in 127.0.0.1:9092 or [::1]:9092");
  EXPECT_EQ(refusal({"--log-level=loud"}),
            "--log-level: \"loud\" is no log level; it is one of trace, debug, info, warn, error");
  EXPECT_EQ(refusal({"--auto-create-topics=yes"}), "--auto-create-topics: \"yes\" is neither on nor off");
  EXPECT_EQ(refusal({"--retention=14"}),
            "--retention: \"14\" is no duration: a whole number with ms, s, min, h or d, as in 200ms or 14d; or none");
  EXPECT_EQ(refusal({"--segment-bytes=8GiB"}), "--segment-bytes: \"8GiB\" is out of range: from 1MiB to 4GiB");
  EXPECT_EQ(refusal({"--sync-interval=1min"}), "--sync-interval: \"1min\" is out of range: from 1ms to 10s");
  EXPECT_EQ(refusal({"--rack=a b"}), "--rack: \"a b\" is no name: at most 255 letters, digits and signs, no spaces");
  variables = {{"TROUPE_LANES", "many"}};
  EXPECT_EQ(refusal({}), "TROUPE_LANES: \"many\" is no number from 0 to 8");
}

TEST_F(Options, LinksBetweenNodesAreSafeOrOnPurposeNot) {
  EXPECT_EQ(of({"--cluster=127.0.0.1:7400"}).cluster, (net::address{"127.0.0.1", 7400}));
  EXPECT_NE(refusal({"--cluster=192.0.2.1:7400"}).find("--insecure=on"), std::string::npos);
  EXPECT_TRUE(of({"--cluster=192.0.2.1:7400", "--insecure=on"}).insecure);
  EXPECT_EQ(refusal({"--cluster=127.0.0.1:1", "--cluster-key=/k"}),
            "cluster-certificate, cluster-key and cluster-authority belong together: set all three or none");
}

TEST_F(Options, ANodeOfAClusterIsReachedByTheOthers) {
  EXPECT_NE(refusal({"--join=a.example:7400"}).find("set cluster"), std::string::npos);
  EXPECT_NE(refusal({"--cluster=0.0.0.0:7400", "--insecure=on"}).find("cluster-advertised"), std::string::npos);
  EXPECT_NE(refusal({"--cluster=127.0.0.1:0"}).find("port 0"), std::string::npos);
  EXPECT_NE(refusal({"--cluster=127.0.0.1:1", "--join=a.example"}).find("--join"), std::string::npos);
}

TEST_F(Options, ClientsAreToldAnAddressTheyCanUse) {
  EXPECT_EQ(of({"--kafka=localhost:9"}).kafka_advertised, (net::address{"localhost", 9}));
  EXPECT_EQ(of({"--kafka=0.0.0.0:9", "--kafka-advertised=me:10"}).kafka_advertised, (net::address{"me", 10}));
  EXPECT_EQ(refusal({"--kafka=0.0.0.0:9"}),
            "kafka: clients cannot be told to connect to 0.0.0.0; set kafka-advertised to an address where they reach "
            "this node, as in --kafka-advertised=my-host.example:9");
  EXPECT_EQ(refusal({"--kafka=[::]:9"}).substr(0, 49), "kafka: clients cannot be told to connect to ::; s");
  EXPECT_EQ(refusal({"--kafka-advertised=0.0.0.0:9"}).substr(0, 51),
            "kafka-advertised: clients cannot connect to 0.0.0.0");
  EXPECT_EQ(refusal({"--kafka=localhost:0"}), "kafka: port 0 (any free one) cannot be told to clients; name a port");
}

TEST_F(Options, WhatHasToFitIntoAnotherDoes) {
  EXPECT_EQ(refusal({"--message-bytes-max=2MiB", "--request-bytes-max=1MiB"}),
            "message-bytes-max (2MiB) is more than request-bytes-max (1MiB), in which it has to fit");
  EXPECT_EQ(refusal({"--produce-memory=50MiB"}),
            "request-bytes-max (100MiB) is more than produce-memory (50MiB), in which it has to fit");
}

TEST_F(Options, HelpAndVersionComeWhateverElseIsWrong) {
  EXPECT_EQ(parse({"--nonsense", "--help"})->message, help_text());
  EXPECT_EQ(parse({"-h"})->message, help_text());
  EXPECT_EQ(parse({"--version"})->message, version_text());
  EXPECT_EQ(version_text().substr(0, 12), "troupe-node ");
}

TEST_F(Options, HelpNamesEveryOptionWithItsDefaultAndFitsATerminal) {
  const auto help = help_text();
  for (const auto& o : describe({})) {
    const auto at = help.find("  --" + o.name + "=");
    ASSERT_NE(at, std::string::npos) << o.name;
    if (o.default_value.empty()) continue;
    EXPECT_NE(help.find("[" + o.default_value + "]", at), std::string::npos) << o.name;
  }
  std::istringstream lines{help};
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 108u) << line;
    EXPECT_FALSE(line.ends_with(' ')) << line;
  }
}

TEST_F(Options, DescriptionsShowValuesBesideDefaults) {
  node_options o;
  o.retention = 90s;
  for (const auto& d : describe(o)) {
    EXPECT_FALSE(d.documentation.empty()) << d.name;
    if (d.name == "retention") {
      EXPECT_EQ(d.value, "90s");
      EXPECT_EQ(d.default_value, "14d");
    } else {
      EXPECT_EQ(d.value, d.default_value) << d.name;
    }
  }
}

// The reference is what people copy from: it names every setting once, in the order of the help, explains it, and says
// what the code does.
TEST_F(Options, TheReferenceFileEqualsTheDefaultsInCode) {
  const std::string path = TROUPE_CONFIGS "/reference.conf";
  EXPECT_EQ(of({"--config=" + path}), node_options{});

  std::ifstream in{path};
  std::vector<std::pair<std::string, std::string>> written;
  std::string comment;
  for (std::string line; std::getline(in, line);) {
    EXPECT_LE(line.size(), 120u) << line;
    if (line.starts_with('#')) {
      comment += line + "\n";
    } else if (const auto equals = line.find('='); equals != std::string::npos) {
      const auto name = line.substr(0, line.find(' '));
      const auto value = equals + 2 < line.size() ? line.substr(equals + 2) : "";
      EXPECT_NE(comment.find(value.empty() ? "Default" : "Default " + value), std::string::npos)
          << name << " says another default in its comment";
      written.emplace_back(name, value);
      comment.clear();
    } else {
      comment.clear();
    }
  }
  std::vector<std::pair<std::string, std::string>> known;
  for (const auto& o : describe({})) known.emplace_back(o.name, o.default_value);
  EXPECT_EQ(written, known);
}

TEST_F(Options, TheFileForDevelopmentIsRight) {
  EXPECT_EQ(of({std::string{"--config="} + TROUPE_CONFIGS "/dev.conf"}).retention, 1h);
}

TEST_F(Options, TheClusterOfThreeFitsTogether) {
  std::set<std::string> addresses;
  std::vector<net::address> clusters;
  for (const auto* n : {"1", "2", "3"}) {
    const auto o = of({std::string{"--config="} + TROUPE_CONFIGS "/cluster-of-three/node-" + n + ".conf"});
    EXPECT_EQ(std::to_string(o.node_id.value()), n);
    EXPECT_EQ(o.data_dir, std::string{"./data/node-"} + n);
    ASSERT_TRUE(o.cluster);
    clusters.push_back(*o.cluster);
    for (const auto& at : {o.kafka, o.http, *o.cluster}) addresses.insert(at.text());
  }
  EXPECT_EQ(addresses.size(), 9u);  // no port is used twice
  // Exactly one founds; whom the others ask is there.
  const auto joins = [&](const char* n) {
    return of({std::string{"--config="} + TROUPE_CONFIGS "/cluster-of-three/node-" + n + ".conf"}).join;
  };
  EXPECT_TRUE(joins("1").empty());
  EXPECT_EQ(joins("2"), (std::vector{clusters[0], clusters[2]}));
  EXPECT_EQ(joins("3"), (std::vector{clusters[0], clusters[1]}));
}

}  // namespace
}  // namespace troupe
