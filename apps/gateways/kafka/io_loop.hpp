#pragma once

#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/base/instant.hpp"

/// One thread of the gateway: its io_context, the answers that come in from actors, its deadlines.
///
///     actor threads ── put() ──▶ mailbox (a lock-free stack) ──▶ deliver_all(), in order ──▶ flush
///                                 └ only who finds it empty wakes the loop: one wake-up per batch
namespace troupe::kafka {

/// Something for the loop's thread: usually an actor's answer and what to do with it.
class letter {
public:
  virtual ~letter() = default;
  /// On the loop's thread.
  virtual void deliver() = 0;

private:
  friend class io_loop;
  letter* next_{nullptr};
};

/// Has work left over for the end of the turn: what several answers add goes out in one system call.
class flushable {
public:
  virtual ~flushable() = default;
  virtual void flush() = 0;
};

/// Waits for a moment.
class timed {
public:
  virtual ~timed() = default;
  /// On the loop's thread. The deadline is gone already; whoever holds it forgets it.
  virtual void due() = 0;
};

class io_loop : public std::enable_shared_from_this<io_loop> {
public:
  using deadlines = std::multimap<instant, std::weak_ptr<timed>>;
  using deadline = std::optional<deadlines::iterator>;

  io_loop();
  ~io_loop();

  // -- from any thread -----------------------------------------------------------------------------
  /// Delivered in the order of the calls of one thread; dropped after `finish`.
  void put(std::unique_ptr<letter>);
  void post(std::function<void()>);
  void start();
  /// The thread ends once nothing is left to do (`cut`: at once); joined on return.
  void finish(bool cut);

  // -- on the loop's thread ------------------------------------------------------------------------
  boost::asio::io_context& context() { return context_; }
  deadline at(instant when, std::weak_ptr<timed>);
  /// `due` will not be called; the deadline is empty afterwards.
  void cancel(deadline&);
  void flush_later(std::shared_ptr<flushable> who) { dirty_.push_back(std::move(who)); }
  /// Every entry from the io_context ends with this.
  void end_turn();

private:
  void deliver_all();
  void discard_all();
  void arm();
  void fire();

  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer timer_;
  std::optional<instant> armed_for_;
  deadlines deadlines_;
  std::atomic<letter*> mailbox_{nullptr};
  std::atomic<bool> finished_{false};
  std::vector<std::shared_ptr<flushable>> dirty_, flushing_;
  std::thread thread_;
};

/// A function for an actor that brings what it is called with to `then` on the loop's thread. May be called several
/// times. If the actor drops it without a call (it ended), `then` gets `lost`: nobody waits for ever.
template <class Outcome, class Then>
std::function<void(Outcome)> reply_on(std::shared_ptr<io_loop> loop, Outcome lost, Then then) {
  struct answer : letter {
    answer(std::shared_ptr<Then> t, Outcome o) : then{std::move(t)}, outcome{std::move(o)} {}
    void deliver() override { (*then)(std::move(outcome)); }
    std::shared_ptr<Then> then;
    Outcome outcome;
  };
  struct slot {
    slot(std::shared_ptr<io_loop> l, Outcome o, Then t)
        : home{std::move(l)}, unanswered{std::move(o)}, to{std::move(t)} {}
    ~slot() {
      if (!called) home->put(std::make_unique<answer>(std::make_shared<Then>(std::move(to)), std::move(unanswered)));
    }
    std::shared_ptr<io_loop> home;
    Outcome unanswered;
    Then to;
    std::atomic<bool> called{false};
  };
  return [s = std::make_shared<slot>(std::move(loop), std::move(lost), std::move(then))](Outcome outcome) {
    s->called.store(true, std::memory_order_relaxed);
    s->home->put(std::make_unique<answer>(std::shared_ptr<Then>{s, &s->to}, std::move(outcome)));
  };
}

}  // namespace troupe::kafka
