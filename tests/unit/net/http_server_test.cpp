#include "runtime/net/http_server.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace troupe::net {
namespace {

using namespace std::chrono_literals;

/// A client that sends exactly the bytes it is told to.
class client {
public:
  explicit client(std::uint16_t port, int family = AF_INET) : fd_{::socket(family, SOCK_STREAM, 0)} {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(port);
    six.sin6_addr = in6addr_loopback;
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(port);
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = 0 == (family == AF_INET ? ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&four), sizeof four)
                                         : ::connect(fd_.get(), reinterpret_cast<sockaddr*>(&six), sizeof six));
    const timeval patience{20, 0};  // a test that would hang fails instead
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  bool connected() const { return connected_; }
  void send(std::string_view text) { ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  void end() { ::shutdown(fd_.get(), SHUT_WR); }

  /// Up to the end of the stream.
  std::string rest() {
    while (more()) {
    }
    return std::exchange(got_, {});
  }
  /// One answer, by its Content-Length.
  std::string answer(bool head = false) {
    std::size_t end;
    while ((end = got_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return std::exchange(got_, {});
    end += 4;
    if (const auto at = got_.find("Content-Length: "); !head && at < end) end += std::stoul(got_.substr(at + 16));
    while (got_.size() < end && more()) {
    }
    auto one = got_.substr(0, end);
    got_.erase(0, end);
    return one;
  }

private:
  bool more() {
    char bytes[4096];
    const auto n = ::recv(fd_.get(), bytes, sizeof bytes, 0);
    if (n > 0) got_.append(bytes, static_cast<std::size_t>(n));
    return n > 0;
  }
  descriptor fd_;
  bool connected_{false};
  std::string got_;
};

struct HttpServer : testing::Test {
  void start(http_server::options limits = {}) {
    server = std::make_unique<http_server>(limits);
    server->get("/hello",
                [](const http_request& r) { return http_response{.body = "hello " + r.query, .headers = {}}; });
    server->post("/hello", [](const http_request& r, const http_server::later& say) {
      say([body = r.body] { return http_response{.body = "posted " + body, .headers = {}}; });
    });
    server->get("/only", [](const http_request&) { return http_response{}; });
    server->get("/things/{}/part/{}", [](const http_request& r) {
      return http_response{.body = r.parts.at(0) + " and " + r.parts.at(1), .headers = {}};
    });
    server->post("/later", [this](const http_request&, http_server::later say) {
      const std::lock_guard lock{mutex};
      waiting.push_back(std::move(say));
      came.notify_all();
    });
    server->get("/broken", [](const http_request&) -> http_response { throw std::runtime_error{"on purpose"}; });
    const auto at = server->start({"127.0.0.1", 0});
    ASSERT_TRUE(at) << at.error().text;
    port = at->port;
  }
  /// The answer to one request on a connection of its own.
  std::string ask(std::string_view request) {
    client c{port};
    c.send(request);
    return c.answer();
  }
  static std::string post(const std::string& path, const std::string& body,
                          const std::string& type = "application/json") {
    return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + type +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  /// Who is to be answered, once so many wait.
  std::vector<http_server::later> waiters(std::size_t count) {
    std::unique_lock lock{mutex};
    EXPECT_TRUE(came.wait_for(lock, 20s, [&] { return waiting.size() >= count; }));
    return std::move(waiting);
  }
  static std::string status(const std::string& answer) { return answer.substr(9, 3); }
  static std::string body(const std::string& answer) { return answer.substr(answer.find("\r\n\r\n") + 4); }

  std::mutex mutex;
  std::condition_variable came;
  std::vector<http_server::later> waiting;
  std::unique_ptr<http_server> server;
  std::uint16_t port{0};
};

TEST_F(HttpServer, AnswersWhatItWasGiven) {
  start();
  const auto got = ask("GET /hello?a=1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(got), "200");
  EXPECT_EQ(body(got), "hello a=1");
  EXPECT_NE(got.find("Content-Type: text/plain; charset=utf-8\r\n"), std::string::npos);
}

TEST_F(HttpServer, KeepsTheConnectionAndTheOrderOfPipelinedRequests) {
  start();
  client c{port};
  c.send("GET /hello?1 HTTP/1.1\r\nHost: x\r\n\r\nGET /hello?2 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(body(c.answer()), "hello 1");
  EXPECT_EQ(body(c.answer()), "hello 2");
  c.send("GET /hello?3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto last = c.rest();
  EXPECT_EQ(body(last), "hello 3");
  EXPECT_NE(last.find("Connection: close\r\n"), std::string::npos);
}

TEST_F(HttpServer, HeadHasTheLengthButNotTheBody) {
  start();
  client c{port};
  c.send("HEAD /hello?x HTTP/1.1\r\nHost: x\r\n\r\nGET /hello?y HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto head = c.answer(true);
  EXPECT_NE(head.find("Content-Length: 7\r\n"), std::string::npos);
  EXPECT_EQ(body(head), "");
  EXPECT_EQ(body(c.answer()), "hello y");
}

TEST_F(HttpServer, RefusalsAreProblemDetails) {
  start();
  const auto missing = ask("GET /no\"where HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(missing.find("Content-Type: application/problem+json\r\n"), std::string::npos);
  EXPECT_EQ(body(missing),
            "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
            "\"detail\":\"there is nothing at /no\\\"where\"}\n");
  const auto method = ask("POST /only HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
  EXPECT_EQ(status(method), "405");
  EXPECT_NE(method.find("Allow: GET, HEAD\r\n"), std::string::npos);
  EXPECT_EQ(status(ask("GET /hello HTTP/1.1\r\n\r\n")), "400");  // no Host
  EXPECT_EQ(status(ask("nonsense\r\n\r\n")), "400");
  EXPECT_EQ(status(ask("GET /hello HTTP/9.9\r\nHost: x\r\n\r\n")), "400");
  EXPECT_EQ(status(ask("GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n")), "400");
  EXPECT_EQ(status(ask("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")), "400");  // somebody tries TLS
}

TEST_F(HttpServer, ARoutePicksThePartsOfItsPath) {
  start();
  EXPECT_EQ(body(ask("GET /things/a/part/7?x HTTP/1.1\r\nHost: x\r\n\r\n")), "a and 7");
  for (const auto* other : {"/things/a/part/", "/things//part/7", "/things/a/part", "/things/a/part/7/8", "things"})
    EXPECT_EQ(status(ask("GET " + std::string{other} + " HTTP/1.1\r\nHost: x\r\n\r\n")), "404") << other;
}

TEST_F(HttpServer, TakesPostsOfJsonOnly) {
  start({.body_bytes_max = 1000});
  EXPECT_EQ(body(ask(post("/hello", "{}"))), "posted {}");
  EXPECT_EQ(body(ask(post("/hello", "{}", "Application/JSON; charset=utf-8"))), "posted {}");
  EXPECT_EQ(status(ask(post("/hello", "{}", "application/x-www-form-urlencoded"))), "415");
  EXPECT_EQ(status(ask(post("/hello", "{}", "application/jsonx"))), "415");
  EXPECT_EQ(status(ask("POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")), "415");
  EXPECT_EQ(status(ask(post("/hello", std::string(1001, ' ')))), "413");
  const auto put = ask("PUT /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(status(put), "405");
  EXPECT_NE(put.find("Allow: GET, HEAD, POST\r\n"), std::string::npos);
  const auto get = ask("GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(get), "405");
  EXPECT_NE(get.find("Allow: POST\r\n"), std::string::npos);
}

TEST_F(HttpServer, WhoWaitsForAnAnswerHoldsUpNobody) {
  start();
  client first{port}, second{port};
  first.send(post("/later", "{}"));
  second.send(post("/later", "{}"));
  auto two = waiters(2);
  EXPECT_EQ(body(ask("GET /hello?x HTTP/1.1\r\nHost: x\r\n\r\n")), "hello x");
  for (auto& say : two) say([] { return http_response{.status = 202, .headers = {}}; });
  EXPECT_EQ(status(first.answer()), "202");
  EXPECT_EQ(status(second.answer()), "202");
  first.send("GET /hello?y HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(body(first.answer()), "hello y");
}

TEST_F(HttpServer, AnAnswerThatDoesNotComeIsAFiveHundredAndThree) {
  start({.answer_timeout = 20ms});
  const auto late = ask(post("/later", "{}"));
  EXPECT_EQ(status(late), "503");
  EXPECT_NE(late.find("may still happen"), std::string::npos);
  // It may still come, and once more, also when there is no server any more.
  const auto say = waiters(1).at(0);
  say([] { return http_response{}; });
  client gone{port};
  gone.send(post("/later", "{}"));
  const auto again = waiters(1).at(0);
  server.reset();
  say([] { return http_response{}; });
  again([] { return http_response{}; });
}

TEST_F(HttpServer, HeaderAndBodyAreBounded) {
  start({.header_bytes_max = 1000, .body_bytes_max = 1000});
  const std::string much(5000, 'x');
  EXPECT_EQ(status(ask("GET /hello HTTP/1.1\r\nHost: x\r\nX: " + much + "\r\n\r\n")), "431");
  EXPECT_EQ(status(ask("GET /" + much + " HTTP/1.1\r\nHost: x\r\n\r\n")), "431");
  // Refused by what it announces; what it sends all the same does not cost it the answer.
  EXPECT_EQ(status(ask("GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + much)), "413");
  EXPECT_EQ(status(ask("GET /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" + much +
                       "\r\n0\r\n\r\n")),
            "413");
  EXPECT_EQ(status(ask("GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n")), "413");
}

TEST_F(HttpServer, AClientMayAskBeforeItSendsItsBody) {
  start();
  client c{port};
  c.send("GET /hello HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(c.answer(), "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("ab");
  EXPECT_EQ(status(c.answer()), "200");
}

TEST_F(HttpServer, AHandlerThatThrowsIsAFiveHundred) {
  start();
  testing::internal::CaptureStderr();
  const auto got = ask("GET /broken HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(status(got), "500");
  EXPECT_EQ(got.find("on purpose"), std::string::npos);  // is not the client's business
  EXPECT_NE(log.find("E http handler_failed path=/broken why=\"on purpose\"\n"), std::string::npos);
}

TEST_F(HttpServer, SlowAndIdleClientsAreClosed) {
  start({.request_timeout = 50ms, .idle_timeout = 100ms});
  client silent{port}, slow{port};
  slow.send("GET /hello HTTP/1.1\r\nHo");
  EXPECT_EQ(silent.rest(), "");
  EXPECT_EQ(slow.rest(), "");
  // On a busy machine we may be too slow ourselves.
  std::string got;
  for (int tries = 0; tries < 100 && got.empty(); ++tries) {
    client idle{port};
    idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    got = idle.rest();
  }
  EXPECT_EQ(got.substr(0, 13), "HTTP/1.1 200 ");
}

TEST_F(HttpServer, ConnectionsAreLimited) {
  start({.connections_max = 2});
  client a{port}, b{port};
  a.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  b.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(a.answer()), "200");
  EXPECT_EQ(status(b.answer()), "200");
  EXPECT_EQ(status(client{port}.rest()), "503");
  // A place that becomes free is given again.
  a.send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(status(a.rest()), "200");
  const auto until = std::chrono::steady_clock::now() + 20s;
  std::string got;
  do got = status(ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
  while (got == "503" && std::chrono::steady_clock::now() < until);
  EXPECT_EQ(got, "200");
}

TEST_F(HttpServer, ServesManyClientsFromSeveralThreads) {
  start({.threads = 3});
  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < 8; ++t)
    clients.emplace_back([&] {
      client c{port};
      for (int i = 0; i < 100; ++i) {
        c.send("GET /hello?" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n");
        right += body(c.answer()) == "hello " + std::to_string(i);
      }
    });
  for (auto& t : clients) t.join();
  EXPECT_EQ(right, 800);
}

TEST_F(HttpServer, StopClosesEverythingAtOnce) {
  start();
  client idle{port}, half{port};
  idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(idle.answer()), "200");
  half.send("GET /hel");
  const auto before = std::chrono::steady_clock::now();
  server->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 900ms);  // the patience for answers was not needed
  EXPECT_EQ(idle.rest(), "");
  EXPECT_EQ(half.rest(), "");
  EXPECT_FALSE(client{port}.connected());
  server->stop();
}

/// Does this machine have ::1? Many containers do not.
bool has_ipv6() {
  const descriptor s{::socket(AF_INET6, SOCK_STREAM, 0)};
  sockaddr_in6 at{};
  at.sin6_family = AF_INET6;
  at.sin6_addr = in6addr_loopback;
  return ::bind(s.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0;
}

TEST_F(HttpServer, ListensOnIpv6) {
  if (!has_ipv6()) GTEST_SKIP() << "this machine has no ::1";
  http_server six{{}};
  six.get("/", [](const http_request&) { return http_response{}; });
  const auto at = six.start({"::1", 0});
  ASSERT_TRUE(at) << at.error().text;
  EXPECT_EQ(at->text(), "[::1]:" + std::to_string(at->port));
  client c{at->port, AF_INET6};
  c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(c.answer()), "200");
}

TEST_F(HttpServer, ListensOnNames) {
  http_server named{{}};
  named.get("/", [](const http_request&) { return http_response{}; });
  const auto at = named.start({"localhost", 0});
  ASSERT_TRUE(at) << at.error().text;
  client c{at->port};
  c.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status(c.answer()), "200");
}

TEST_F(HttpServer, ATakenPortIsAClearError) {
  start();
  http_server second{{}};
  EXPECT_EQ(second.start({"127.0.0.1", port}).error().text,
            "cannot listen on 127.0.0.1:" + std::to_string(port) + ": the port is in use by another program");
}

}  // namespace
}  // namespace troupe::net
