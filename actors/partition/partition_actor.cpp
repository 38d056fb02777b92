#include "actors/partition/partition_actor.hpp"

#include <caf/all.hpp>
#include <utility>

#include "actors/partition/decompressor.hpp"
#include "actors/partition/partition_core.hpp"
#include "actors/partition/restore.hpp"
#include "runtime/base/random.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/observe/metrics.hpp"

/// The shell of a partition: carries messages to the core and its effects to the store and to callers.
///
///     restoring --opened--> serving --retire--> gone (says unknown_topic for a moment) --> ends
///         |                    `-----stop-----> stopping (last block, mark) -------------> ends
///         `--cannot be opened--> gone (says why, until retired or stopped)
///
/// While restoring, messages wait in the mailbox. What comes from the store's threads comes as a message.
namespace troupe::partition_events {

struct opened {
  std::shared_ptr<result<partition_restored>> state;
};
struct durable {
  log_offset end;
};
struct refused {
  log_offset end;
  error why;
};
/// A read that needed the disk has come back.
struct read_done {
  std::function<void()> go_on;
};
enum class timer : std::uint8_t { tick, retention, mark, linger };
struct due {
  timer which;
};

}  // namespace troupe::partition_events

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::opened)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::durable)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::refused)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::read_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::due)

namespace troupe {

namespace {

using namespace partition_events;

/// How often deadlines of waiting callers are looked at, while there are any.
constexpr std::chrono::seconds tick_interval{1};
/// How long a retired partition still answers.
constexpr std::chrono::seconds linger_interval{1};

class listener final : public store::log_listener {
public:
  explicit listener(caf::actor owner) : owner_{std::move(owner)} {}
  void durable(log_offset end) override { caf::anon_send(owner_, partition_events::durable{end}); }
  void refused(log_offset end, const error& why) override {
    caf::anon_send(owner_, partition_events::refused{end, why});
  }

private:
  const caf::actor owner_;
};

class partition_actor : public caf::event_based_actor {
public:
  partition_actor(caf::actor_config& config, partition_setup setup)
      : caf::event_based_actor{config},
        setup_{std::move(setup)},
        entity_{"partition/" + setup_.topic + "/" + std::to_string(setup_.index.value())},
        random_{random_seed()} {}

  const char* name() const override { return "partition"; }

  caf::behavior make_behavior() override {
    set_default_handler(caf::skip);
    const auto me = myself();
    setup_.store->listen(setup_.log, std::make_shared<listener>(me));
    setup_.store->run_blocking([me, store = setup_.store, log = setup_.log] {
      auto state = restore_partition(*store, log, wall_now());
      caf::anon_send(me, opened{std::make_shared<result<partition_restored>>(std::move(state))});
    });
    return {[this](opened& m) { begin(std::move(*m.state)); }};
  }

  void on_exit() override {
    // The listener holds this actor, and the store holds the listener.
    setup_.store->listen(setup_.log, nullptr);
    setup_.store.reset();
  }

private:
  caf::actor myself() { return caf::actor_cast<caf::actor>(this); }
  static moment now() { return {boot_clock::now(), wall_now()}; }

  void begin(result<partition_restored> state) {
    set_default_handler(caf::drop);
    if (state) {
      if (state->damaged_from)
        observe::log(observe::level::error, "partition", "log_damaged",
                     {{"entity", entity_},
                      {"readable_from", state->start},
                      {"readable_below", *state->damaged_from},
                      {"end", state->end},
                      {"next_step",
                       "produce is refused and records below stay readable: copy them to a new topic, then delete this "
                       "one; or restore the data directory from a backup"}});
      core_ = std::make_unique<partition_core>(setup_.epoch, std::move(setup_.settings), std::move(*state), now());
      observe::log(observe::level::debug, "partition", "opened",
                   {{"entity", entity_},
                    {"epoch", setup_.epoch},
                    {"start", core_->start()},
                    {"end", core_->end()},
                    {"producers", core_->known_producers().size()}});
      // At a random time first: the partitions of a node do not all look at once.
      arm(timer::retention,
          std::chrono::milliseconds{random_.below(static_cast<std::uint64_t>(setup_.retention_interval.count()) + 1)});
      mark_later();
    } else {
      gone_ = state.error();
      observe::log(observe::level::error, "partition", "log_not_opened", {{"entity", entity_}, {"why", *gone_}});
    }
    become(serving());
  }

  caf::behavior serving() {
    return {
        [this](produce& m) { handle(std::move(m)); },
        [this](fetch& m) { handle(std::move(m)); },
        [this](const durable& m) {
          if (!core_ || retired_) return;
          perform(core_->durable(m.end));
          mark_later();
          stop_when_quiet();
        },
        [this](list_offsets& m) { handle(std::move(m)); },
        [this](epoch_end& m) {
          if (!refuse_if_gone(m.answer)) m.answer(core_->epoch_ended(m));
        },
        [this](delete_records& m) { handle(std::move(m)); },
        [this](reconfigure& m) {
          if (core_) core_->reconfigured(std::move(m.settings));
        },
        [this](const refused& m) {
          if (!core_ || retired_) return;
          if (const auto times = setup_.metrics ? setup_.metrics->refusals.due() : 1; times > 0)
            observe::log(
                observe::level::warn, "partition", "append_refused",
                {{"entity", entity_}, {"end", m.end}, {"was", core_->end()}, {"why", m.why}, {"times", times}});
          perform(core_->refused(m.end, m.why));
          stop_when_quiet();
        },
        [this](read_done& m) {
          --outstanding_;
          m.go_on();
        },
        [this](const due& m) { handle(m); },
        [this](const retire&) {
          leave({errc::unknown_topic, "the topic was deleted"});
          if (!std::exchange(retired_, true)) arm(timer::linger, linger_interval);
        },
        [this](stop_partition& m) {
          stopped_ = std::move(m.stopped);
          stopping_ = true;
          gone_ = error{errc::closed, "the node is stopping"};
          stop_when_quiet();
        },
    };
  }

  // -- messages -------------------------------------------------------------------------------------------

  void handle(produce&& m) {
    if (refuse_if_gone(m.answer)) return;
    const auto bytes = m.records.bytes.size();
    auto todo = core_->produced(std::move(m), now(), setup_.store->crowded(setup_.log), decompressor::of_this_thread());
    if (setup_.metrics) count(todo, bytes);
    perform(std::move(todo));
  }

  void handle(fetch&& m) {
    if (refuse_if_gone(m.answer)) return;
    if (m.watch_until && !core_->watchable()) {
      fetch::outcome full;
      full.refused = error{errc::busy, "too many readers wait for this partition"};
      return m.answer(std::move(full));
    }
    read(std::move(m), round::first);
  }

  void handle(list_offsets&& m) {
    if (refuse_if_gone(m.answer)) return;
    if (auto known = core_->offsets_listed(m)) return m.answer(std::move(*known));
    ++outstanding_;
    const time_search search{m.timestamp, core_->start(), core_->watermark()};
    setup_.store->run_blocking(
        [me = myself(), store = setup_.store, log = setup_.log, search, answer = std::move(m.answer)] {
          caf::anon_send(me, read_done{[answer, found = find_by_time(*store, log, search)] { answer(found); }});
        });
  }

  void handle(delete_records&& m) {
    if (refuse_if_gone(m.answer)) return;
    auto start = core_->records_deleted(m.before);
    if (!start) {
      delete_records::outcome out;
      out.refused = start.error();
      return m.answer(std::move(out));
    }
    if (!*start) return m.answer({{}, core_->start()});
    ++outstanding_;
    setup_.store->trim(setup_.log, **start, [me = myself(), answer = std::move(m.answer), low = **start](auto trimmed) {
      delete_records::outcome out{{}, low};
      if (!trimmed) out.refused = trimmed.error();
      caf::anon_send(me, read_done{[answer, out] { answer(out); }});
    });
  }

  void handle(const due& m) {
    switch (m.which) {
      case timer::tick:
        tick_armed_ = false;
        return perform(core_->tick(boot_clock::now()));
      case timer::mark:
        mark_armed_ = false;
        return mark_now();
      case timer::retention:
        if (gone_) return;
        retain();
        return arm(timer::retention, setup_.retention_interval);
      case timer::linger:
        // Whoever asked before the topic went is still answered.
        return outstanding_ == 0 ? quit() : arm(timer::linger, linger_interval);
    }
  }

  template <class Outcome>
  bool refuse_if_gone(const std::function<void(Outcome)>& answer) {
    if (!gone_) return false;
    Outcome out;
    out.refused = gone_;
    answer(std::move(out));
    return true;
  }

  // -- effects --------------------------------------------------------------------------------------------

  void perform(partition_core::effects&& todo) {
    if (!todo.append.empty()) setup_.store->append(setup_.log, std::move(todo.append));
    for (auto& it : todo.produced) it.to(std::move(it.outcome));
    for (auto& it : todo.fetched) it.to(std::move(it.outcome));
    for (auto& it : todo.woken) read(std::move(it), round::second);
    if (!tick_armed_ && core_->waiting()) {
      tick_armed_ = true;
      arm(timer::tick, tick_interval);
    }
  }

  enum class round : std::uint8_t { first, second };
  struct reading {
    fetch request;
    fetch::outcome outcome;
    round which;
  };

  void read(fetch&& m, round which) {
    auto admitted = core_->fetched(m);
    reading it{std::move(m), std::move(admitted.outcome), which};
    if (!admitted.read) return finish(std::move(it));
    const store::read_limits limits{admitted.end, it.request.bytes_max, it.request.at_least_one};
    // Shared, because the store may call back; nearly always it does not, and this is all that a read allocates.
    auto waits = std::make_shared<reading>(std::move(it));
    ++outstanding_;
    auto got = setup_.store->read(
        setup_.log, waits->request.from, limits, [this, me = myself(), waits](result<store::read_result> later) {
          auto found = std::make_shared<result<store::read_result>>(std::move(later));
          caf::anon_send(me, read_done{[this, waits, found] { take(*waits, std::move(*found)); }});
        });
    if (!got) return;
    --outstanding_;
    take(*waits, std::move(*got));
  }

  void take(reading& it, result<store::read_result>&& got) {
    if (got) {
      it.outcome.slices = std::move(got->slices);
      it.outcome.bytes = got->bytes;
    } else {
      it.outcome.refused = got.error();
    }
    finish(std::move(it));
  }

  void finish(reading&& it) {
    if (setup_.metrics) {
      setup_.metrics->fetches.add();
      setup_.metrics->fetched_bytes.add(static_cast<double>(it.outcome.bytes));
    }
    const bool watches =
        it.which == round::first && it.request.watch_until && !it.outcome.refused && !it.outcome.diverging;
    const auto seen = it.outcome.high_watermark;
    it.request.answer(std::move(it.outcome));
    if (!watches) return;
    if (gone_) return it.request.answer(refusal());
    if (auto todo = core_->watch(it.request, seen))
      perform(std::move(*todo));
    else
      it.request.answer(refusal(todo.error()));
  }

  fetch::outcome refusal() const { return refusal(*gone_); }
  static fetch::outcome refusal(error why) {
    fetch::outcome out;
    out.refused = std::move(why);
    return out;
  }

  void count(const partition_core::effects& todo, std::size_t bytes) const {
    const auto& m = *setup_.metrics;
    if (!todo.append.empty()) {
      m.batches.add();
      m.records.add(todo.append.front().offsets);
      m.bytes.add(static_cast<double>(bytes));
    } else if (!todo.produced.empty() && todo.produced.front().outcome.refused) {
      m.refused.add();
    } else {
      m.duplicates.add();
    }
  }

  // -- time -----------------------------------------------------------------------------------------------

  void arm(timer which, std::chrono::milliseconds in) { delayed_send(this, in, due{which}); }

  void retain() {
    std::vector<store::extent> extents;
    if (!core_->retains_all()) extents = setup_.store->extents(setup_.log);
    const auto start = core_->retained(extents, now());
    if (!start) return;
    observe::log(observe::level::debug, "partition", "retention", {{"entity", entity_}, {"start", *start}});
    setup_.store->trim(setup_.log, *start, [entity = entity_](const result<void>& trimmed) {
      // It will be tried again with the next start; after a restart the old one holds for a while.
      if (!trimmed)
        observe::log(observe::level::warn, "partition", "retention_failed",
                     {{"entity", entity}, {"why", trimmed.error()}});
    });
  }

  void mark_later() {
    if (mark_armed_ || !core_->mark_outdated()) return;
    mark_armed_ = true;
    arm(timer::mark, setup_.mark_interval);
  }

  void mark_now() {
    if (gone_) return;
    // Without a mark a restart reads more headers; nothing else is lost, so a failure is not worth a word.
    if (auto mark = core_->mark(false)) setup_.store->put_mark(setup_.log, std::move(*mark), [](const auto&) {});
    mark_later();
  }

  // -- the end --------------------------------------------------------------------------------------------

  void leave(error why) {
    if (core_) perform(core_->ended(why));
    gone_ = std::move(why);
  }

  /// Once nothing waits for the disk any more, writes the last mark and ends.
  void stop_when_quiet() {
    if (!stopping_ || closing_ || (core_ && !retired_ && core_->durable_end() != core_->end())) return;
    closing_ = true;
    auto end = [this] {
      leave({errc::closed, "the node is stopping"});
      if (stopped_) stopped_();
      quit();
    };
    auto mark = core_ && !retired_ ? core_->mark(true) : std::nullopt;
    if (!mark) return end();
    ++outstanding_;
    setup_.store->put_mark(setup_.log, std::move(*mark),
                           [me = myself(), end](const auto&) { caf::anon_send(me, read_done{end}); });
  }

  partition_setup setup_;
  const std::string entity_;
  random_source random_;
  std::unique_ptr<partition_core> core_;
  std::optional<error> gone_;  ///< what everyone is told from now on
  bool retired_{false}, stopping_{false}, closing_{false};
  std::function<void()> stopped_;
  bool tick_armed_{false}, mark_armed_{false};
  std::size_t outstanding_{0};  ///< callbacks of the store that still owe an answer
};

}  // namespace

partition_metrics::partition_metrics(observe::metrics& m)
    : batches{m.counter("troupe_partition_appended_batches_total", "Record batches appended")},
      records{m.counter("troupe_partition_appended_records_total", "Records appended")},
      bytes{m.counter("troupe_partition_appended_bytes_total", "Bytes of record batches appended")},
      duplicates{m.counter("troupe_partition_duplicate_batches_total",
                           "Batches of idempotent producers that were in the log already")},
      refused{m.counter("troupe_partition_refused_batches_total", "Batches refused before they were appended")},
      fetches{m.counter("troupe_partition_fetches_total", "Reads answered")},
      fetched_bytes{m.counter("troupe_partition_fetched_bytes_total", "Bytes handed out to readers")} {}

caf::actor spawn_partition(caf::actor_system& system, partition_setup setup) {
  return system.spawn<partition_actor>(std::move(setup));
}

}  // namespace troupe
