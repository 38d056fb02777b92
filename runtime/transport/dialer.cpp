#include "runtime/transport/dialer.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace troupe {
namespace {

constexpr std::chrono::milliseconds connect_timeout{1000};

/// 0, or an errno.
int try_connect(const addrinfo& at, int stop_signal) {
  const net::descriptor fd{::socket(at.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (fd.get() < 0) return errno;
  if (::connect(fd.get(), at.ai_addr, at.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd wait[] = {{fd.get(), POLLOUT, 0}, {stop_signal, POLLIN, 0}};
  const int n = ::poll(wait, 2, static_cast<int>(connect_timeout.count()));
  if (n < 0) return errno;
  if (n == 0) return ETIMEDOUT;
  if (wait[1].revents != 0) return ECANCELED;
  int failed = 0;
  socklen_t size = sizeof failed;
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &failed, &size) == 0 ? failed : errno;
}

}  // namespace

dialer::dialer(unsigned threads) : stop_signal_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {
  TROUPE_CHECK(stop_signal_.get() >= 0);
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

dialer::~dialer() {
  stop();
}

void dialer::dial(net::address at, std::function<void(const finding&)> then) {
  {
    std::lock_guard guard{lock_};
    if (stopping_) return;
    jobs_.push_back({std::move(at), std::move(then)});
  }
  work_.notify_one();
}

void dialer::stop() {
  {
    std::lock_guard guard{lock_};
    stopping_ = true;
    jobs_.clear();
  }
  work_.notify_all();
  ::eventfd_write(stop_signal_.get(), 1);
  for (auto& t : threads_)
    if (t.joinable()) t.join();
}

void dialer::run() {
  for (;;) {
    std::unique_lock guard{lock_};
    work_.wait(guard, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    const auto next = std::move(jobs_.front());
    jobs_.pop_front();
    guard.unlock();
    next.then(probe(next.at));
  }
}

dialer::finding dialer::probe(const net::address& at) const {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int code = getaddrinfo(at.host.c_str(), std::to_string(at.port).c_str(), &hints, &found); code != 0)
    return {outcome::unreachable, {}, code == EAI_NONAME ? "the name is unknown" : gai_strerror(code)};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list{found, &freeaddrinfo};
  finding out{outcome::unreachable, {}, "the name has no address"};
  for (const auto* one = list.get(); one; one = one->ai_next) {
    const int failed = try_connect(*one, stop_signal_.get());
    if (failed == 0) {
      char host[NI_MAXHOST];
      if (getnameinfo(one->ai_addr, one->ai_addrlen, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0) continue;
      return {outcome::answers, host, {}};
    }
    // One address that is refused tells that the host runs, whatever the others say.
    if (out.what == outcome::refused) continue;
    out.what = failed == ECONNREFUSED ? outcome::refused : outcome::unreachable;
    out.why = std::strerror(failed);
  }
  return out;
}

}  // namespace troupe
