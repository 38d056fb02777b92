#include "apps/gateways/kafka/io_loop.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <csignal>

#include "runtime/base/check.hpp"

namespace troupe::kafka {

io_loop::io_loop() : work_{boost::asio::make_work_guard(context_)}, timer_{context_} {}

io_loop::~io_loop() {
  TROUPE_CHECK(!thread_.joinable());
}

void io_loop::put(std::unique_ptr<letter> l) {
  if (finished_) return;
  auto* const raw = l.release();
  auto* below = mailbox_.load(std::memory_order_relaxed);
  do {
    raw->next_ = below;
  } while (!mailbox_.compare_exchange_weak(below, raw));
  // From here on `raw` belongs to the loop. Who put the first one wakes it; the others' letters are found there by the
  // same wake-up.
  if (finished_) return discard_all();
  if (below == nullptr) post([this] { deliver_all(); });
}

void io_loop::post(std::function<void()> work) {
  boost::asio::post(context_, [this, work = std::move(work)] {
    work();
    end_turn();
  });
}

void io_loop::start() {
  thread_ = std::thread{[this] {
    // Signals are for the main thread; and sendfile(2) knows no other way to be spared a SIGPIPE.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    context_.run();
  }};
}

void io_loop::finish(bool cut) {
  finished_ = true;
  if (cut) context_.stop();
  post([this] {
    timer_.cancel();
    work_.reset();
  });
  if (thread_.joinable()) thread_.join();
  // Letters hold requests, and these hold us: a letter left behind would keep itself alive.
  discard_all();
}

void io_loop::discard_all() {
  for (auto* l = mailbox_.exchange(nullptr); l != nullptr;) {
    const std::unique_ptr<letter> owner{l};
    l = l->next_;
  }
}

void io_loop::deliver_all() {
  letter* newest = mailbox_.exchange(nullptr);
  letter* oldest = nullptr;
  while (newest != nullptr) {  // the stack gives them newest first
    auto* next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    const std::unique_ptr<letter> l{oldest};
    oldest = oldest->next_;
    l->deliver();
  }
}

void io_loop::end_turn() {
  // Flushing may make further connections dirty (memory comes back, others go on).
  while (!dirty_.empty()) {
    flushing_.swap(dirty_);
    for (auto& f : flushing_) f->flush();
    flushing_.clear();
  }
}

io_loop::deadline io_loop::at(instant when, std::weak_ptr<timed> who) {
  auto place = deadlines_.emplace(when, std::move(who));
  arm();
  return place;
}

void io_loop::cancel(deadline& d) {
  if (d) deadlines_.erase(*d);
  d.reset();
  // The timer stays as it is: firing too early costs less than setting it for every request.
}

void io_loop::arm() {
  if (deadlines_.empty()) return;
  const auto first = deadlines_.begin()->first;
  if (armed_for_ && *armed_for_ <= first) return;
  armed_for_ = first;
  timer_.expires_after(std::max(first - boot_clock::now(), boot_clock::duration::zero()));
  timer_.async_wait([this](const boost::system::error_code& failed) {
    if (failed) return;  // set anew, or finished
    fire();
    end_turn();
  });
}

void io_loop::fire() {
  armed_for_.reset();
  const auto now = boot_clock::now();
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    auto node = deadlines_.extract(deadlines_.begin());
    if (auto who = node.mapped().lock()) who->due();
  }
  arm();
}

}  // namespace troupe::kafka
