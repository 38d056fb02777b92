#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "runtime/base/random.hpp"
#include "tests/integration/process.hpp"
#include "tests/integration/raw.hpp"

/// Acknowledged is kept: across orderly restarts, and across kill -9 at any moment.
namespace troupe::test {
namespace {

std::vector<std::string> everything(const node& n, const std::string& topic) {
  auto got = kcat(n, {"-C", "-q", "-e", "-t", topic, "-o", "beginning", "-f", "%p %o %s\n"});
  EXPECT_EQ(got.status, 0) << got.err;
  return lines_of(got.out);
}

/// What a producer was told, by "partition offset".
std::map<std::string, std::string> by_place(const std::vector<std::string>& records) {
  std::map<std::string, std::string> at;
  for (const auto& r : records) {
    const auto value = r.find(' ', r.find(' ') + 1);
    if (value == std::string::npos) continue;  // a line that was cut by the end of whoever wrote it
    EXPECT_TRUE(at.emplace(r.substr(0, value), r.substr(value + 1)).second) << r;
  }
  return at;
}

/// Every acknowledged record lies where it was acknowledged.
void expect_kept(const std::vector<std::string>& acknowledged, const std::vector<std::string>& stored) {
  const auto there = by_place(stored);
  std::size_t missing = 0;
  for (const auto& [place, value] : by_place(acknowledged)) {
    const auto found = there.find(place);
    if ((found == there.end() || found->second != value) && ++missing <= 3)
      ADD_FAILURE() << "at " << place << " was acknowledged: " << value
                    << "; there is: " << (found == there.end() ? "nothing" : found->second);
  }
  EXPECT_EQ(missing, 0u);
}

/// A file that a program appends to.
class growing_file {
public:
  explicit growing_file(std::filesystem::path file) : file_{std::move(file)} {
    write_file(file_, "");
    watch_ = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    ::inotify_add_watch(watch_, file_.c_str(), IN_MODIFY);
  }
  ~growing_file() { ::close(watch_); }
  std::uint64_t size() const { return std::filesystem::file_size(file_); }
  /// Waits until it has a size, or its writer has ended.
  void wait_for(std::uint64_t bytes, child& writer) const {
    char events[4096];
    while (size() < bytes && !writer.wait(milliseconds{0})) {
      pollfd appended{watch_, POLLIN, 0};
      if (::poll(&appended, 1, 100) > 0 && ::read(watch_, events, sizeof events) < 0)
        throw std::runtime_error{"inotify"};
    }
  }

private:
  std::filesystem::path file_;
  int watch_;
};

TEST(Recovery, AnOrderlyRestartChangesNothing) {
  node n;
  ASSERT_EQ(kcat(n, {"-P", "-t", "cities", "-K", ","}, cities_text()).status, 0);
  const auto before = everything(n, "cities");
  EXPECT_EQ(before.size(), cities().size());
  for (int life = 0; life < 3; ++life) {
    ASSERT_EQ(n.stop(), 0);
    n.start();
    EXPECT_EQ(everything(n, "cities"), before);
  }
  // And it goes on where it was.
  ASSERT_EQ(kcat(n, {"-P", "-t", "cities", "-p", "0"}, "one more\n").status, 0);
  const auto after = everything(n, "cities");
  ASSERT_EQ(after.size(), before.size() + 1);
  EXPECT_EQ(after.back(), "0 " + std::to_string(before.size()) + " one more");
}

struct crash {
  const char* name;
  std::vector<std::string> producer;
  std::vector<std::string> topic;  ///< settings
  bool exactly_once{false};
  friend void PrintTo(const crash& c, std::ostream* to) { *to << c.name; }
};

class Recovery : public ::testing::TestWithParam<crash> {};

/// The node is killed again and again while a producer writes; the producer goes on after each restart.
TEST_P(Recovery, NothingAcknowledgedIsMissingAfterKillsInMidStream) {
  node n;
  auto create = std::vector<std::string>{"create", "--bootstrap", n.address(), "--topic", "t", "--partitions", "3"};
  for (const auto& s : GetParam().topic) create.insert(create.end(), {"--set", s});
  auto created = python("topic.py", create);
  ASSERT_EQ(created.status, 0) << created.err;

  scratch files;
  write_file(files / "in", cities_text());
  const growing_file acknowledged{files / "acked"};
  std::vector<std::string> arguments{"produce", "--bootstrap", n.address(),
                                     "--topic", "t",           "--timeout",
                                     "120",     "--record",    (files / "acked").string()};
  for (const auto& s : GetParam().producer) arguments.insert(arguments.end(), {"--set", s});
  // Small batches that come at once: many acknowledgements, so that a kill falls between them.
  for (const auto* s : {"batch.num.messages=200", "linger.ms=0", "retry.backoff.ms=50", "reconnect.backoff.max.ms=200",
                        "message.timeout.ms=120000"})
    arguments.insert(arguments.end(), {"--set", s});
  child producer{python_command("client.py", arguments), {files / "in", files / "out", files / "err"}};

  random_source random{static_cast<std::uint64_t>(GetParam().name[0])};
  const auto total = cities_text().size();
  int kills = 0;
  for (std::uint64_t at = total / 10; at < total; at += total / 10 + random.below(total / 10)) {
    acknowledged.wait_for(at, producer);
    if (producer.wait(milliseconds{0})) break;
    n.kill();
    ++kills;
    n.start();
  }
  EXPECT_GE(kills, 4);
  ASSERT_EQ(producer.wait(seconds{180}), 0) << read_file(files / "err");

  const auto acked = lines_of(read_file(files / "acked"));
  EXPECT_EQ(acked.size(), cities().size());
  const auto stored = everything(n, "t");
  expect_kept(acked, stored);
  if (GetParam().exactly_once) {
    // No record twice, and within a partition the order in which they were sent.
    std::set<std::string> seen;
    std::map<char, std::size_t> last;
    std::map<std::string, std::size_t> line;
    for (std::size_t i = 0; i < cities().size(); ++i) line[cities()[i]] = i + 1;
    for (const auto& r : stored) {
      const auto value = r.substr(r.find(' ', r.find(' ') + 1) + 1);
      ASSERT_TRUE(seen.insert(value).second) << "twice: " << value;
      ASSERT_GT(line[value], last[r[0]]) << "out of order: " << value;
      last[r[0]] = line[value];
    }
    EXPECT_EQ(seen.size(), cities().size());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Of, Recovery,
    ::testing::Values(crash{"idempotent", {"enable.idempotence=true"}, {}, true}, crash{"acks_all", {"acks=all"}, {}},
                      crash{"leader_only", {"acks=1"}, {}},
                      crash{"zstd", {"enable.idempotence=true", "compression.type=zstd"}, {}, true},
                      // The process dies, not the machine: what the operating system has is there.
                      crash{"written_only", {"enable.idempotence=true"}, {"durability=interval"}, true}),
    [](const auto& p) { return p.param.name; });

TEST(Recovery, ManyKillsInARowLoseNothing) {
  node n;
  ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "first\n").status, 0);
  for (int life = 1; life <= 10; ++life) {
    n.kill();
    n.start();
    ASSERT_EQ(kcat(n, {"-P", "-t", "t", "-p", "0"}, "life " + std::to_string(life) + "\n").status, 0);
  }
  const auto all = everything(n, "t");
  ASSERT_EQ(all.size(), 11u);
  EXPECT_EQ(all.back(), "0 10 life 10");
}

TEST(Recovery, TopicsAndTheirSettingsOutliveAKill) {
  node n;
  auto created = python("topic.py", {"create", "--bootstrap", n.address(), "--topic", "kept", "--partitions", "7",
                                     "--set", "retention.ms=86400000"});
  ASSERT_EQ(created.status, 0) << created.err;
  created = python("topic.py", {"create", "--bootstrap", n.address(), "--topic", "gone"});
  ASSERT_EQ(created.status, 0) << created.err;
  ASSERT_EQ(kcat(n, {"-P", "-t", "gone", "-p", "0"}, "x\n").status, 0);
  ASSERT_EQ(python("topic.py", {"delete", "--bootstrap", n.address(), "--topic", "gone"}).status, 0);
  n.kill();
  n.start();
  auto described = python("topic.py", {"describe", "--bootstrap", n.address(), "--topic", "kept"});
  EXPECT_EQ(described.out, "partitions=7\nretention.ms=86400000\n") << described.err;
  const auto listed = kcat(n, {"-L"}).out;
  EXPECT_EQ(listed.find("\"gone\""), std::string::npos) << listed;
  // A topic of the same name is a new one.
  ASSERT_EQ(kcat(n, {"-P", "-t", "gone", "-p", "0"}, "y\n").status, 0);
  EXPECT_EQ(everything(n, "gone"), std::vector<std::string>{"0 0 y"});
}

TEST(Recovery, AKillWhileTopicsComeAndGoLeavesEachWholeOrAbsent) {
  node n;
  constexpr int create = 19, remove = 20;
  const auto name = [](int i) { return "t" + std::to_string(i); };
  std::set<std::string> there, unsure;
  std::optional<connection> c{n.kafka_port()};
  for (int i = 0; i < 120; ++i) {
    // Every third topic goes again; every tenth request is cut off by a kill, so nobody knows what became of it.
    const bool removing = i % 3 == 2;
    const auto topic = name(removing ? i - 1 : i);
    const auto body = removing ? writer{}.i32(1).str(topic).i32(10000).bytes()
                               : writer{}.i32(1).str(topic).i32(4).i16(1).i32(0).i32(0).i32(10000).i8(0).bytes();
    const auto frame = request(removing ? remove : create, removing ? 1 : 2, body);
    ASSERT_TRUE(c->send(frame));
    if (i % 10 == 9) {
      n.kill();
      n.start();
      c.emplace(n.kafka_port());
      there.erase(topic);
      unsure.insert(topic);
      continue;
    }
    ASSERT_TRUE(c->receive());
    if (removing)
      there.erase(topic);
    else
      there.insert(topic);
    if (removing) unsure.erase(topic);
  }
  const auto listed = kcat(n, {"-L"}).out;
  for (int i = 0; i < 120; ++i) {
    const bool is_there = listed.find("topic \"" + name(i) + "\" with 4 partitions") != std::string::npos;
    if (!unsure.contains(name(i))) {
      EXPECT_EQ(is_there, there.contains(name(i))) << name(i);
    }
    // Whole: its last partition takes the first record.
    if (is_there) {
      EXPECT_EQ(kcat(n, {"-P", "-t", name(i), "-p", "3"}, "x\n").status, 0) << name(i);
      connection end{n.kafka_port()};
      auto answer = end.ask(2, 1, writer{}.i32(-1).i32(1).str(name(i)).i32(1).i32(3).i64(-1).bytes());
      ASSERT_TRUE(answer);
      answer->i32();
      answer->str();
      answer->i32();
      answer->i32();
      EXPECT_EQ(answer->i16(), 0);
      answer->i64();
      EXPECT_EQ(answer->i64(), 1) << name(i);
    }
  }
}

TEST(Recovery, ProducerIdsAreNotGivenTwice) {
  node n;
  scratch files;
  const auto three = std::string{"1,a\n2,b\n3,c\n"};
  for (int life = 0; life < 3; ++life) {
    // Were an id given again with sequence 0, the batch would pass for a duplicate and vanish.
    auto written = python(
        "client.py",
        {"produce", "--bootstrap", n.address(), "--topic", "t", "--partition", "0", "--set", "enable.idempotence=true"},
        three);
    ASSERT_EQ(written.status, 0) << written.err;
    n.kill();
    n.start();
  }
  EXPECT_EQ(everything(n, "t").size(), 9u);
}

}  // namespace
}  // namespace troupe::test
