#include "apps/gateways/kafka/gateway.hpp"

#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <condition_variable>
#include <unordered_set>

#include "apps/gateways/kafka/connection.hpp"
#include "runtime/net/address.hpp"
#include "runtime/observe/log.hpp"

namespace troupe::kafka {
namespace {

using boost::asio::ip::tcp;

/// The connections of one thread.
class hall final : public connection::listener, public timed, public std::enable_shared_from_this<hall> {
public:
  explicit hall(std::function<void()> emptied) : emptied_{std::move(emptied)} {}

  const std::shared_ptr<io_loop>& loop() const { return loop_; }

  // On the loop's thread.
  void take(services& all, tcp::socket socket, admission::seat seat) {
    if (draining_) return;
    auto guest = std::make_shared<connection>(all, loop_, std::move(socket), std::move(seat), *this);
    inside_.insert(guest);
    if (!sweeping_) sweep_later();
    guest->start();
  }
  void drain() {
    draining_ = true;
    for_each([](connection& c) { c.drain(); });
    if (inside_.empty()) emptied_();
  }
  void close() {
    draining_ = true;
    for_each([](connection& c) { c.close("stopping"); });
  }
  void roomy() {
    for_each([](connection& c) { c.roomy(); });
  }
  void closed(const std::shared_ptr<connection>& guest) override {
    inside_.erase(guest);
    if (draining_ && inside_.empty()) emptied_();
  }
  void due() override {
    sweeping_ = false;
    const auto now = boot_clock::now();
    for_each([&](connection& c) { c.sweep(now); });
    // Nobody here, nothing to sweep: an idle node does not wake up.
    if (!inside_.empty()) sweep_later();
  }

private:
  void sweep_later() {
    sweeping_ = true;
    loop_->at(boot_clock::now() + std::chrono::seconds{1}, weak_from_this());
  }
  /// A connection may leave during its call.
  template <class Call>
  void for_each(Call call) {
    const std::vector<std::shared_ptr<connection>> now{inside_.begin(), inside_.end()};
    for (const auto& c : now) call(*c);
  }

  std::shared_ptr<io_loop> loop_{std::make_shared<io_loop>()};
  std::function<void()> emptied_;
  std::unordered_set<std::shared_ptr<connection>> inside_;
  bool sweeping_{false}, draining_{false};
};

struct listening {
  tcp::acceptor acceptor;
  boost::asio::steady_timer pause;  ///< between attempts when descriptors have run out
};

error trouble(const std::string& what, const endpoint& at, const boost::system::error_code& why) {
  const bool taken = why == boost::asio::error::address_in_use;
  return {errc::system, what + " " + net::address{at.host, at.port}.text() + ": " +
                            (taken ? "the port is in use by another program" : why.message())};
}

result<listening> listen_on(boost::asio::io_context& context, tcp::endpoint at, const endpoint& named) {
  boost::system::error_code failed;
  tcp::acceptor acceptor{context};
  acceptor.open(at.protocol(), failed);
  if (!failed) acceptor.set_option(tcp::acceptor::reuse_address{true}, failed);
  if (!failed && at.protocol() == tcp::v6() && !at.address().is_unspecified())
    acceptor.set_option(boost::asio::ip::v6_only{true}, failed);
  if (!failed) acceptor.bind(at, failed);
  if (!failed) acceptor.listen(1024, failed);
  if (failed) return trouble("cannot listen on", named, failed);
  return listening{std::move(acceptor), boost::asio::steady_timer{context}};
}

}  // namespace

struct kafka_gateway::state {
  explicit state(gateway_setup s) : all{std::move(s)} {}

  services all;
  std::vector<std::shared_ptr<hall>> halls;
  std::vector<listening> doors;  ///< on the first hall's loop
  std::vector<endpoint> addresses;
  std::size_t next_hall{0};
  bool started{false}, stopped{false};

  std::mutex mutex;
  std::condition_variable changed;
  std::size_t emptied{0};

  result<void> open();
  result<void> open(const endpoint&);
  void accept(std::size_t door);
  void accepted(std::size_t door, const boost::system::error_code&, hall&, tcp::socket);
};

result<void> kafka_gateway::state::open() {
  auto threads = all.setup.io_threads;
  if (threads == 0) threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
  for (unsigned i = 0; i < threads; ++i)
    halls.push_back(std::make_shared<hall>([this] {
      const std::lock_guard lock{mutex};
      ++emptied;
      changed.notify_all();
    }));
  // Whoever waits for memory is told on its own thread. The halls may be gone by then: frames live on in the store.
  const auto tell = [waiting = std::vector<std::weak_ptr<hall>>{halls.begin(), halls.end()}] {
    for (const auto& w : waiting)
      if (auto h = w.lock())
        h->loop()->post([w] {
          if (auto still = w.lock()) still->roomy();
        });
  };
  all.requests_memory->when_roomy(tell);
  all.responses_memory->when_roomy(tell);
  all.setup.metrics->on_collect([requests = all.requests_memory, responses = all.responses_memory,
                                 &a = all.setup.metrics->gauge("troupe_kafka_request_memory_bytes",
                                                               "Requests that arrive or are worked on, in memory."),
                                 &b = all.setup.metrics->gauge("troupe_kafka_response_memory_bytes",
                                                               "Answers in memory that wait for clients.")] {
    a.set(static_cast<double>(requests->used()));
    b.set(static_cast<double>(responses->used()));
  });
  for (const auto& at : all.setup.listen)
    if (auto opened = open(at); !opened.ok()) return opened;
  return {};
}

result<void> kafka_gateway::state::open(const endpoint& at) {
  auto& context = halls.front()->loop()->context();
  std::vector<tcp::endpoint> places;
  const bool local = at.host == "localhost";
  if (local) {
    // Clients that resolve "localhost" try either family first.
    places = {{boost::asio::ip::address_v4::loopback(), at.port}, {boost::asio::ip::address_v6::loopback(), at.port}};
  } else {
    boost::system::error_code failed;
    const auto found = tcp::resolver{context}.resolve(at.host, std::to_string(at.port),
                                                      tcp::resolver::passive | tcp::resolver::numeric_service, failed);
    if (failed) return trouble("cannot resolve", at, failed);
    for (const auto& f : found)
      if (std::find(places.begin(), places.end(), f.endpoint()) == places.end()) places.push_back(f.endpoint());
  }
  std::uint16_t port = at.port;
  for (auto place : places) {
    place.port(port);
    auto door = listen_on(context, place, at);
    // A machine without IPv6 is no reason to refuse "localhost".
    if (!door.ok() && local && place.address().is_v6()) continue;
    if (!door.ok()) return door.error();
    boost::system::error_code ignored;
    port = door->acceptor.local_endpoint(ignored).port();
    addresses.push_back({place.address().to_string(), port});
    doors.push_back(std::move(*door));
  }
  return {};
}

void kafka_gateway::state::accept(std::size_t door) {
  auto& to = *halls[next_hall++ % halls.size()];
  doors[door].acceptor.async_accept(to.loop()->context(),
                                    [this, door, &to](const boost::system::error_code& failed, tcp::socket socket) {
                                      accepted(door, failed, to, std::move(socket));
                                      halls.front()->loop()->end_turn();
                                    });
}

void kafka_gateway::state::accepted(std::size_t door, const boost::system::error_code& failed, hall& to,
                                    tcp::socket socket) {
  auto& d = doors[door];
  if (failed == boost::asio::error::operation_aborted || !d.acceptor.is_open()) return;
  if (failed) {
    // Mostly: no descriptors left. Those who wait stay in the kernel's queue until some connection ends.
    if (const auto times = all.accept_failures.due(); times > 0)
      observe::log(observe::level::warn, "kafka", "accept_failed", {{"why", failed.message()}, {"times", times}});
    d.pause.expires_after(std::chrono::milliseconds{100});
    d.pause.async_wait([this, door](const boost::system::error_code& cancelled) {
      if (!cancelled) accept(door);
    });
    return;
  }
  boost::system::error_code gone;
  const auto from = socket.remote_endpoint(gone);
  if (!gone) {
    if (auto seat = all.door->enter(from.address().to_string())) {
      struct entrance {
        tcp::socket socket;
        admission::seat seat;
      };
      // Shared, since a posted function must be copyable.
      auto guest = std::make_shared<entrance>(entrance{std::move(socket), std::move(*seat)});
      to.loop()->post([this, &to, guest] { to.take(all, std::move(guest->socket), std::move(guest->seat)); });
    } else if (const auto times = all.refused_connections.due(); times > 0) {
      observe::log(observe::level::warn, "kafka", "connection_refused",
                   {{"from", from.address().to_string()},
                    {"inside", all.door->inside()},
                    {"hint", "all places are taken: see connections-max and connections-per-address-max"},
                    {"times", times}});
    }
  }
  accept(door);
}

result<std::unique_ptr<kafka_gateway>> kafka_gateway::open(gateway_setup setup) {
  auto s = std::make_unique<state>(std::move(setup));
  auto opened = s->open();
  std::unique_ptr<kafka_gateway> gateway{new kafka_gateway{std::move(s)}};
  if (!opened.ok()) return opened.error();
  return gateway;
}

kafka_gateway::kafka_gateway(std::unique_ptr<state> s) : state_{std::move(s)} {}
kafka_gateway::~kafka_gateway() {
  stop();
}

const std::vector<endpoint>& kafka_gateway::addresses() const {
  return state_->addresses;
}

void kafka_gateway::start() {
  auto& s = *state_;
  TROUPE_CHECK(!s.started && !s.stopped);
  s.started = true;
  for (std::size_t i = 0; i < s.doors.size(); ++i) s.accept(i);
  for (auto& h : s.halls) h->loop()->start();
  for (const auto& a : s.addresses)
    observe::log(observe::level::info, "kafka", "listening", {{"host", a.host}, {"port", a.port}});
}

void kafka_gateway::stop(std::chrono::milliseconds patience) {
  auto& s = *state_;
  if (std::exchange(s.stopped, true)) return;
  if (s.started) {
    s.halls.front()->loop()->post([&s] {
      for (auto& d : s.doors) {
        boost::system::error_code ignored;
        d.acceptor.close(ignored);
        d.pause.cancel();
      }
    });
    for (auto& h : s.halls) h->loop()->post([&h] { h->drain(); });
    {
      std::unique_lock lock{s.mutex};
      s.changed.wait_for(lock, patience, [&] { return s.emptied == s.halls.size(); });
    }
    for (auto& h : s.halls) h->loop()->post([&h] { h->close(); });
  }
  for (auto& h : s.halls) h->loop()->finish(!s.started);
  s.doors.clear();
}

}  // namespace troupe::kafka
