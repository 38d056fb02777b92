#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <caf/all.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/base/random.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/transport/transport.hpp"

// `./dev bench transport_bench [seconds] [certificate key authority]`: two nodes in this process on 127.0.0.1: bulk by
// itself, small control frames by themselves, and the round trip of a control frame with and without saturating bulk.
// Both nodes share the cores, so a real pair is faster; what matters is how much control is delayed by bulk.

namespace {

using namespace troupe;
using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(used.ru_utime) + of(used.ru_stime);
}

struct config : caf::actor_system_config {
  config() {
    set("scheduler.max-threads", std::size_t{std::max(1u, std::thread::hardware_concurrency())});
    set("scheduler.max-throughput", std::size_t{200});
    set("work-stealing.moderate-poll-attempts", std::size_t{1});
    configure_transport(*this);
  }
};

struct node {
  node(std::int32_t id, const std::optional<transport_tls>& tls, std::function<void(node_id, shared_bytes)> received)
      : actors{cfg} {
    transport_options o;
    o.node = node_id{id};
    o.incarnation = random_seed();
    o.tls = tls;
    transport_callbacks c{std::move(received), [this](const transport_peer&) { up = true; },
                          [this](const transport_peer&, bool) { up = false; }, [](node_id) {},
                          [](const transport_peer&) {}};
    auto started = transport::start(actors, o, std::move(c));
    if (!started) {
      std::fprintf(stderr, "bench transport: %s\n", started.error().text.c_str());
      std::exit(1);
    }
    links = std::move(*started);
  }
  ~node() { links->stop(); }

  std::atomic<bool> up{false};
  config cfg;
  caf::actor_system actors;
  std::unique_ptr<transport> links;
};

shared_bytes frame(std::size_t size) {
  return shared_bytes::own(std::vector<std::byte>(size, std::byte{1}));
}

struct meter {
  std::atomic<std::uint64_t> frames{0}, bytes{0};
};

/// Keeps `frames_ahead` frames more under way than have arrived: what a caller does that has a window of its own.
class pump {
public:
  pump(node& from, urgency u, std::size_t size, std::uint64_t frames_ahead, const meter& arrived)
      : thread_{[&from, u, size, frames_ahead, &arrived, this] {
          const auto one = frame(size);
          auto sent = arrived.frames.load();
          while (!stop_) {
            if (sent - arrived.frames >= frames_ahead) {
              std::this_thread::sleep_for(50us);
              continue;
            }
            from.links->send(node_id{2}, u, one);
            ++sent;
          }
        }} {}
  ~pump() {
    stop_ = true;
    thread_.join();
  }

private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace

int main(int argc, char** argv) {
  const auto seconds = argc > 1 ? std::atof(argv[1]) : 3.0;
  std::optional<transport_tls> tls;
  if (argc > 4) tls = transport_tls{argv[2], argv[3], argv[4]};
  observe::set_up_log(observe::level::warn);
  const auto span = std::chrono::duration<double>(seconds);

  // Frames of 16 bytes are round trips, of 64 count, larger ones are bulk.
  meter bulk, small;
  std::mutex lock;
  std::condition_variable came_back;
  bool back = false;
  std::optional<node> a, b;
  b.emplace(2, tls, [&](node_id from, shared_bytes f) {
    if (f.size() == 16) return b->links->send(from, urgency::control, std::move(f));
    auto& m = f.size() == 64 ? small : bulk;
    ++m.frames;
    m.bytes += f.size();
  });
  a.emplace(1, tls, [&](node_id, shared_bytes) {
    std::lock_guard guard{lock};
    back = true;
    came_back.notify_one();
  });
  a->links->know(node_id{2}, b->links->listening());
  while (!a->up || !b->up) std::this_thread::sleep_for(1ms);

  const auto rate = [&](const char* what, const meter& m) {
    std::this_thread::sleep_for(200ms);
    const auto frames = m.frames.load(), bytes = m.bytes.load();
    const auto cpu = cpu_seconds();
    const auto begin = steady::now();
    std::this_thread::sleep_for(span);
    const auto took = std::chrono::duration<double>(steady::now() - begin).count();
    const auto mb = static_cast<double>(m.bytes - bytes) / 1e6;
    const auto used = cpu_seconds() - cpu;
    std::printf("%-34s %9.0f frames/s %8.0f MB/s %6.2f CPU s/GB %6.2f CPU us/frame\n", what,
                static_cast<double>(m.frames - frames) / took, mb / took, used / mb * 1000,
                used / static_cast<double>(m.frames - frames) * 1e6);
  };
  const auto round_trips = [&](const char* what) {
    std::vector<double> ms;
    const auto end = steady::now() + span;
    while (steady::now() < end) {
      const auto begin = steady::now();
      std::unique_lock guard{lock};
      back = false;
      guard.unlock();
      a->links->send(node_id{2}, urgency::control, frame(16));
      guard.lock();
      if (!came_back.wait_for(guard, 5s, [&] { return back; })) {
        std::fprintf(stderr, "bench transport: a control frame was lost\n");
        std::exit(1);
      }
      guard.unlock();
      ms.push_back(std::chrono::duration<double, std::milli>(steady::now() - begin).count());
      std::this_thread::sleep_for(500us);
    }
    std::sort(ms.begin(), ms.end());
    const auto at = [&](double q) { return ms[static_cast<std::size_t>(q * static_cast<double>(ms.size() - 1))]; };
    std::printf("%-34s %9zu times  p50 %.3f  p99 %.3f  p99.9 %.3f  max %.3f ms\n", what, ms.size(), at(.5), at(.99),
                at(.999), ms.back());
  };

  round_trips("control round trip, idle");
  {
    pump p{*a, urgency::bulk, 256 << 10, 24, bulk};
    rate("bulk, 256 KiB", bulk);
    round_trips("control round trip, beside bulk");
  }
  std::this_thread::sleep_for(200ms);
  {
    pump p{*a, urgency::control, 64, 20'000, small};
    rate("control, 64 B", small);
  }
  return 0;
}
