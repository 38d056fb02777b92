#include "runtime/transport/transport.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <caf/all.hpp>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "runtime/base/random.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/observe/metrics.hpp"
#include "tests/support/scratch.hpp"

/// Several transports in one process, each with an actor system of its own, on 127.0.0.1.
namespace troupe {
namespace {

using namespace std::chrono_literals;

struct config : caf::actor_system_config {
  config() {
    set("scheduler.max-threads", std::size_t{2});
    set("work-stealing.moderate-poll-attempts", std::size_t{1});
    configure_transport(*this);
  }
};

/// One node: its transport, and what it was told.
class station {
public:
  struct setup {
    std::int32_t id{1};
    std::string cluster_id{"cluster"};
    std::uint16_t port{0};
    std::optional<transport_tls> tls{};
    link_limits limits{};
    std::chrono::milliseconds reads_for{0};  ///< each frame
  };
  explicit station(setup s) : id_{s.id}, actors_{config_} {
    transport_options o;
    o.node = node_id{s.id};
    o.incarnation = random_seed();
    o.cluster_id = s.cluster_id;
    o.listen.port = s.port;
    o.tls = s.tls;
    o.limits = s.limits;
    o.metrics = &metrics_;
    transport_callbacks c;
    c.received = [this, takes = s.reads_for](node_id from, shared_bytes frame) {
      if (takes > 0ms) std::this_thread::sleep_for(takes);
      note("from " + std::to_string(from.value()) + ": " +
           (frame.size() < 100 ? std::string{as_text(frame)} : std::to_string(frame.size()) + " bytes"));
    };
    c.up = [this](const transport_peer& p) { note("up " + std::to_string(p.node.value())); };
    c.down = [this](const transport_peer& p, bool reset) {
      note("down " + std::to_string(p.node.value()) + (reset ? " reset" : ""));
    };
    c.refused = [this](node_id n) { note("refused " + std::to_string(n.value())); };
    c.claimed = [this](const transport_peer& p) { note("claimed by " + p.cluster_id); };
    auto started = transport::start(actors_, o, c);
    if (!started) throw std::runtime_error{started.error().text};
    transport_ = std::move(*started);
  }
  ~station() { transport_->stop(); }

  transport* operator->() { return transport_.get(); }
  node_id id() const { return node_id{id_}; }
  net::address at() const { return transport_->listening(); }
  std::string metrics() const { return metrics_.text(); }
  void know(station& other) { transport_->know(other.id(), other.at()); }
  void send(const station& to, std::string_view text, urgency u = urgency::control) {
    transport_->send(to.id(), u, shared_bytes::copy_of(as_bytes(text)));
  }

  /// Takes `line` from what was noted; waits for it.
  testing::AssertionResult hears(const std::string& line, std::chrono::milliseconds within = 5s) {
    std::unique_lock guard{lock_};
    if (noted_.wait_for(guard, within, [&] { return std::ranges::count(lines_, line) > 0; })) {
      lines_.erase(std::ranges::find(lines_, line));
      return testing::AssertionSuccess();
    }
    std::string all;
    for (const auto& l : lines_) all += "\n  " + l;
    return testing::AssertionFailure() << "node " << id_ << " did not hear '" << line << "', but:" << all;
  }
  std::size_t count(const std::string& line) {
    std::lock_guard guard{lock_};
    return static_cast<std::size_t>(std::ranges::count(lines_, line));
  }

private:
  void note(std::string line) {
    std::lock_guard guard{lock_};
    lines_.push_back(std::move(line));
    noted_.notify_all();
  }

  const std::int32_t id_;
  observe::metrics metrics_;
  std::mutex lock_;
  std::condition_variable noted_;
  std::vector<std::string> lines_;
  config config_;
  caf::actor_system actors_;
  std::unique_ptr<transport> transport_;
};

testing::AssertionResult talk(station& a, station& b) {
  const auto to = [](station& from, station& other, const std::string& word) {
    from.send(other, word);
    return other.hears("from " + std::to_string(from.id().value()) + ": " + word);
  };
  if (auto r = to(a, b, "hello"); !r) return r;
  return to(b, a, "hello yourself");
}

testing::AssertionResult linked(station& a, station& b) {
  if (auto r = a.hears("up " + std::to_string(b.id().value())); !r) return r;
  return b.hears("up " + std::to_string(a.id().value()));
}

TEST(Transport, TwoNodesTalkBothWaysThoughOnlyOneKnowsTheOther) {
  station a{{.id = 1}}, b{{.id = 2}};
  a.know(b);
  a.send(b, "waits for the connection");
  EXPECT_TRUE(b.hears("from 1: waits for the connection"));
  ASSERT_TRUE(linked(a, b));
  EXPECT_TRUE(talk(a, b));
  EXPECT_NE(a.metrics().find("troupe_link_frames_total{direction=\"sent\",urgency=\"control\"} 2"), std::string::npos)
      << a.metrics();
}

TEST(Transport, LargeFramesArriveWhole) {
  station a{{.id = 1}}, b{{.id = 2}};
  a.know(b);
  ASSERT_TRUE(linked(a, b));
  for (std::size_t size : {100, 65'536, 1'000'000, 16 << 20}) {
    a.send(b, std::string(size, 'x'), urgency::bulk);
    EXPECT_TRUE(b.hears("from 1: " + std::to_string(size) + " bytes"));
  }
}

TEST(Transport, ASeedIsFoundAndTellsWhoItIs) {
  station a{{.id = 1}}, b{{.id = 2, .cluster_id = ""}};
  b->seek(a.at());
  b->seek(b.at());  // a list of seeds has oneself in it
  ASSERT_TRUE(linked(a, b));
  EXPECT_TRUE(talk(a, b));
}

TEST(Transport, ASeedIsDialledUntilItIsThere) {
  net::address at;
  {
    station gone{{.id = 1}};
    at = gone.at();
  }
  station b{{.id = 2}};
  b->seek(at);
  std::this_thread::sleep_for(100ms);
  station a{{.id = 1, .port = at.port}};
  ASSERT_TRUE(linked(a, b));
  EXPECT_TRUE(talk(a, b));
}

TEST(Transport, NodesThatDialEachOtherAtOnceEndWithALink) {
  for (int round = 0; round < 5; ++round) {
    station a{{.id = 1}}, b{{.id = 2}}, c{{.id = 3}};
    // By seeds, neither knows that it is the other who dials.
    for (auto* from : {&a, &b, &c})
      for (auto* to : {&a, &b, &c})
        if (round % 2 == 0)
          (*from)->seek(to->at());
        else if (from != to)
          from->know(*to);
    for (auto* x : {&a, &b, &c}) {
      for (auto* y : {&a, &b, &c})
        if (x != y) {
          EXPECT_TRUE(x->hears("up " + std::to_string(y->id().value())));
        }
    }
    // One link may have given way to another; a word may be lost with it, the next is not.
    const auto talk_at_last = [](station& x, station& y) {
      const auto word = "from " + std::to_string(x.id().value()) + ": are you there?";
      for (int i = 0; i < 40; ++i) {
        x.send(y, "are you there?");
        if (y.hears(word, 100ms)) return true;
      }
      return false;
    };
    for (auto [x, y] : {std::pair{&a, &b}, {&b, &c}, {&c, &a}, {&b, &a}, {&c, &b}, {&a, &c}})
      EXPECT_TRUE(talk_at_last(*x, *y));
  }
}

TEST(Transport, ANodeOfAnotherClusterIsRefusedInWords) {
  testing::internal::CaptureStderr();
  {
    station a{{.id = 1, .cluster_id = "green"}}, b{{.id = 2, .cluster_id = "blue"}};
    a.know(b);
    EXPECT_FALSE(a.hears("up 2", 700ms));
    EXPECT_EQ(b.count("up 1"), 0u);
    EXPECT_TRUE(b.hears("claimed by green"));
    // A seed is nobody in particular.
    station c{{.id = 3, .cluster_id = "red"}};
    c->seek(b.at());
    EXPECT_FALSE(b.hears("claimed by red", 300ms));
  }
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("peer_refused"), std::string::npos) << log;
  EXPECT_NE(log.find("node 1 belongs to cluster green, node 2 to cluster blue"), std::string::npos) << log;
}

TEST(Transport, ALinkEndsWhenANodeJoinsAnotherCluster) {
  station a{{.id = 1, .cluster_id = "green"}}, b{{.id = 2, .cluster_id = ""}};
  b.know(a);
  ASSERT_TRUE(linked(a, b));
  b->joined("blue");
  EXPECT_TRUE(a.hears("down 2"));
  EXPECT_TRUE(b.hears("down 1"));
}

TEST(Transport, ANodeThatOneClusterKnowsIsClaimedWhenItJoinsAnother) {
  station a{{.id = 1, .cluster_id = "green"}}, b{{.id = 2, .cluster_id = ""}};
  a.know(b);
  ASSERT_TRUE(linked(a, b));
  b->joined("blue");
  EXPECT_TRUE(b.hears("claimed by green"));
}

TEST(Transport, AnotherNodeAtAKnownAddressIsRefused) {
  station a{{.id = 1}}, b{{.id = 2}};
  a->know(node_id{3}, b.at());
  EXPECT_FALSE(a.hears("up 2", 500ms));
  EXPECT_EQ(a.count("up 3"), 0u);
  a.know(b);
  EXPECT_TRUE(linked(a, b));
}

TEST(Transport, AStoppedPeerIsDownAndRefusesAndItsSuccessorIsFound) {
  station a{{.id = 1}};
  auto b = std::make_unique<station>(station::setup{.id = 2});
  const auto port = b->at().port;
  a.know(*b);
  ASSERT_TRUE(linked(a, *b));
  b.reset();
  EXPECT_TRUE(a.hears("down 2 reset", 1s));
  EXPECT_TRUE(a.hears("refused 2", 1s));
  b = std::make_unique<station>(station::setup{.id = 2, .port = port});
  ASSERT_TRUE(linked(a, *b));
  EXPECT_TRUE(talk(a, *b));
}

TEST(Transport, ASecondIncarnationTakesTheLinkAndTheFirstLeavesIt) {
  station a{{.id = 1}}, first{{.id = 2}}, second{{.id = 2}};
  first.know(a);
  ASSERT_TRUE(linked(a, first));
  second.know(a);
  EXPECT_TRUE(second.hears("up 1"));
  EXPECT_TRUE(first.hears("down 1"));
  EXPECT_TRUE(a.hears("down 2"));
  EXPECT_TRUE(a.hears("up 2"));
  EXPECT_TRUE(talk(a, second));
  EXPECT_FALSE(first.hears("up 1", 500ms));  // not at once, or they would take turns for ever
}

TEST(Transport, APeerThatDialledUsIsAskedWhetherItIsGone) {
  station a{{.id = 1}};
  auto b = std::make_unique<station>(station::setup{.id = 2});
  b->know(a);
  ASSERT_TRUE(linked(a, *b));
  b.reset();
  EXPECT_TRUE(a.hears("down 2 reset", 1s));
  EXPECT_TRUE(a.hears("refused 2", 1s));
}

/// Node 2 in a process of its own. Made while this one has no threads.
class other_process {
public:
  other_process() {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error{"pipe"};
    id_ = ::fork();
    if (id_ == 0) {
      station b{{.id = 2}};
      const auto port = b.at().port;
      if (::write(ends[1], &port, sizeof port) != sizeof port) ::_exit(1);
      for (;;) ::pause();
    }
    if (::read(ends[0], &at_.port, sizeof at_.port) != sizeof at_.port) throw std::runtime_error{"read"};
    ::close(ends[0]);
    ::close(ends[1]);
  }
  ~other_process() {
    signal(SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  void signal(int number) { ::kill(id_, number); }
  net::address at() const { return at_; }

private:
  pid_t id_{-1};
  net::address at_{"127.0.0.1", 0};
};

TEST(Transport, AKilledProcessIsDownAtOnceAndRefuses) {
  other_process b;
  station a{{.id = 1}};
  a->know(node_id{2}, b.at());
  ASSERT_TRUE(a.hears("up 2"));
  b.signal(SIGKILL);
  EXPECT_TRUE(a.hears("down 2 reset", 1s));
  EXPECT_TRUE(a.hears("refused 2", 1s));
}

TEST(Transport, ASilentProcessIsDownAfterATimeAndComesBack) {
  other_process b;
  station a{{.id = 1}};
  a->know(node_id{2}, b.at());
  ASSERT_TRUE(a.hears("up 2"));
  b.signal(SIGSTOP);
  EXPECT_TRUE(a.hears("down 2", 5s));  // not a reset
  EXPECT_EQ(a.count("refused 2"), 0u);
  b.signal(SIGCONT);
  EXPECT_TRUE(a.hears("up 2"));
}

TEST(Transport, AForgottenPeerIsLeftAlone) {
  station a{{.id = 1}}, b{{.id = 2}};
  a.know(b);
  ASSERT_TRUE(linked(a, b));
  a->forget(b.id());
  EXPECT_TRUE(a.hears("down 2"));
  EXPECT_TRUE(b.hears("down 1"));
  EXPECT_FALSE(a.hears("up 2", 300ms));
}

TEST(Transport, ASlowReceiverHoldsTheSenderBackAndControlGetsThrough) {
  link_limits limits;
  limits.window_bytes = {1 << 20, 1 << 20};
  limits.queue_bytes_max = {1 << 20, 2 << 20};
  station a{{.id = 1, .limits = limits}}, b{{.id = 2, .limits = limits, .reads_for = 5ms}};
  a.know(b);
  ASSERT_TRUE(linked(a, b));
  const std::string frame(60'000, 'x');
  for (int i = 0; i < 500; ++i) a.send(b, frame, urgency::bulk);
  a.send(b, "urgent");
  EXPECT_TRUE(b.hears("from 1: urgent", 2s));
  std::this_thread::sleep_for(700ms);
  // What was under way and what waited, no more: the rest was dropped at the sender.
  const auto arrived = b.count("from 1: 60000 bytes");
  EXPECT_GT(arrived, 30u);
  EXPECT_LT(arrived, (3u << 20) / 60'000 + 100);
  EXPECT_NE(a.metrics().find("troupe_link_drops_total{urgency=\"bulk\"}"), std::string::npos);
  EXPECT_EQ(a.metrics().find("troupe_link_drops_total{urgency=\"bulk\"} 0\n"), std::string::npos);
}

net::descriptor connect_to(std::uint16_t port) {
  net::descriptor fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  return fd;
}

/// Writes bytes to a port and hangs up.
void write_raw(std::uint16_t port, const std::vector<std::byte>& bytes) {
  const auto fd = connect_to(port);
  if (::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) return;
  std::byte answer[512];
  if (::recv(fd.get(), answer, sizeof answer, 0) < 0) return;
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

TEST(Transport, NonsenseAtThePortDoesNotDisturb) {
  station a{{.id = 1}}, b{{.id = 2}};
  a.know(b);
  ASSERT_TRUE(linked(a, b));
  random_source random{7};
  for (int i = 0; i < 50; ++i) {
    std::vector<std::byte> bytes(1 + random.below(2000));
    for (auto& x : bytes)
      x = static_cast<std::byte>(i % 2 == 0 ? random.below(256) : "GET / HTTP/1.1\r\n"[random.below(16)]);
    write_raw(b.at().port, bytes);
  }
  EXPECT_TRUE(talk(a, b));
  EXPECT_EQ(a.count("down 2"), 0u);
}

TEST(Transport, ATakenPortIsAnErrorInWords) {
  station a{{.id = 1}};
  config c;
  caf::actor_system actors{c};
  transport_options o;
  o.node = node_id{2};
  o.listen.port = a.at().port;
  const auto no = transport::start(actors, o, {});
  ASSERT_FALSE(no);
  EXPECT_NE(no.error().text.find("cannot listen on 127.0.0.1:" + std::to_string(a.at().port)), std::string::npos);
}

/// An authority and certificates that it signed.
struct authority {
  test::scratch_directory place;
  bool made{false};
  explicit authority(const std::string& name) {
    made = run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=" + name +
               " -keyout ca.key -out ca.pem");
  }
  transport_tls sign(const std::string& name) const {
    EXPECT_TRUE(run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=" + name +
                    " -keyout " + name + ".key -out " + name + ".csr && openssl x509 -req -days 2 -in " + name +
                    ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -out " + name + ".pem"));
    const auto in = [&](const std::string& file) { return (place.path() / file).string(); };
    return {in(name + ".pem"), in(name + ".key"), in("ca.pem")};
  }
  bool run(const std::string& command) const {
    return std::system(("cd " + place.path().string() + " && (" + command + ") >/dev/null 2>&1").c_str()) == 0;
  }
};

TEST(TransportTls, OnlyNodesWithACertificateOfTheAuthorityTalk) {
  if (std::system("openssl version >/dev/null 2>&1") != 0) GTEST_SKIP() << "the openssl command is missing";
  const authority ours{"ours"}, theirs{"theirs"};
  ASSERT_TRUE(ours.made && theirs.made);
  station a{{.id = 1, .tls = ours.sign("a")}}, b{{.id = 2, .tls = ours.sign("b")}};
  a.know(b);
  ASSERT_TRUE(linked(a, b));
  EXPECT_TRUE(talk(a, b));
  a.send(b, std::string(3'000'000, 'x'), urgency::bulk);
  EXPECT_TRUE(b.hears("from 1: 3000000 bytes"));

  station plain{{.id = 3}};
  plain.know(b);
  plain.know(a);
  auto forged = theirs.sign("c");
  station stranger{{.id = 4, .tls = forged}};
  stranger.know(a);
  b.know(plain);
  EXPECT_FALSE(plain.hears("up 2", 1s));
  EXPECT_EQ(plain.count("up 1") + stranger.count("up 1") + a.count("up 4") + b.count("up 3"), 0u);
  write_raw(b.at().port, std::vector<std::byte>(100, std::byte{0x16}));
  const auto silent = connect_to(b.at().port);  // costs no time while it says nothing
  const auto cpu = cpu_seconds();
  std::this_thread::sleep_for(600ms);  // a heartbeat
  EXPECT_LT(cpu_seconds() - cpu, 0.3);
  EXPECT_EQ(a.count("down 2") + a.count("down 2 reset"), 0u);
  EXPECT_TRUE(talk(a, b));
}

TEST(TransportTls, FilesThatCannotBeUsedAreAnErrorInWords) {
  config c;
  caf::actor_system actors{c};
  transport_options o;
  o.node = node_id{1};
  o.tls = transport_tls{"/nowhere/node.pem", "/nowhere/node.key", "/nowhere/ca.pem"};
  const auto no = transport::start(actors, o, {});
  ASSERT_FALSE(no);
  EXPECT_NE(no.error().text.find("the certificate in /nowhere/node.pem cannot be used"), std::string::npos)
      << no.error().text;
}

}  // namespace
}  // namespace troupe
