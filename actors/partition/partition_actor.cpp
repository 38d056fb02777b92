#include "actors/partition/partition_actor.hpp"

#include <caf/all.hpp>
#include <utility>

#include "actors/partition/decompressor.hpp"
#include "actors/partition/replica.hpp"
#include "actors/partition/restore.hpp"
#include "runtime/base/overloaded.hpp"
#include "runtime/base/random.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/observe/metrics.hpp"

/// The shell of a replica: carries messages to the core and its effects to the store, to callers and to other replicas.
///
///     restoring --opened--> serving --retire--> gone (says why for a moment) ------------> ends
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
/// A cut of the log has been done, or not.
struct cut_done {
  bool restart;
  log_offset at;
  result<void> how;
};
struct cut_again {
  bool restart;
  log_offset at;
};
enum class timer : std::uint8_t { deadlines, replication, retention, mark, linger };
struct due {
  timer which;
  std::uint64_t number{0};  ///< of several on their way, for those that may be armed again sooner
};

}  // namespace troupe::partition_events

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::opened)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::durable)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::refused)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::read_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::cut_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::cut_again)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::partition_events::due)

namespace troupe {

namespace {

using namespace partition_events;

/// How often deadlines of waiting callers are looked at, while there are any.
constexpr std::chrono::seconds deadline_interval{1};
/// When the replicas of a partition have to do with each other again is rounded up to a multiple of this, so that a
/// node with many of them wakes up rarely.
constexpr std::chrono::milliseconds replication_grid{100};
/// A cut that a full disk refused is tried again.
constexpr std::chrono::milliseconds cut_again_after{500};
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
        entity_{"partition/" + setup_.topic + "/" + std::to_string(setup_.seat.partition.value())},
        random_{random_seed()} {}

  const char* name() const override { return "partition"; }

  caf::behavior make_behavior() override {
    set_default_handler(caf::skip);
    const auto me = myself();
    setup_.store->listen(setup_.log, std::make_shared<listener>(me));
    setup_.store->run_blocking([me, store = setup_.store, log = setup_.log, wall = now().wall] {
      auto state = restore_partition(*store, log, wall);
      caf::anon_send(me, opened{std::make_shared<result<partition_restored>>(std::move(state))});
    });
    return {[this](opened& m) { begin(std::move(*m.state)); },
            [this](reassigned& m) {  // nothing is served yet, so it is taken in already
              setup_.first = std::move(m.now);
              if (m.settings) setup_.settings = std::move(*m.settings);
            }};
  }

  void on_exit() override {
    // The listener holds this actor, and the store holds the listener.
    setup_.store->listen(setup_.log, nullptr);
    setup_.store.reset();
  }

private:
  caf::actor myself() { return caf::actor_cast<caf::actor>(this); }
  moment now() const { return setup_.home->now(); }

  void begin(result<partition_restored> state) {
    set_default_handler(caf::drop);
    if (!state) {
      gone_ = state.error();
      observe::log(observe::level::error, "partition", "log_not_opened", {{"entity", entity_}, {"why", *gone_}});
    } else if (state->damaged_from && !setup_.damage_known) {
      // The controller has to hear of it before anybody counts on this replica, and hears it from a registration.
      gone_ = error{errc::storage_damaged, "the log of " + entity_ + " is damaged from offset " +
                                               std::to_string(state->damaged_from->value()) + " on"};
      setup_.home->found_damage(*gone_);
    } else {
      serve(std::move(*state));
    }
    become(serving());
  }

  void serve(partition_restored state) {
    if (state.damaged_from)
      observe::log(observe::level::error, "partition", "log_damaged",
                   {{"entity", entity_},
                    {"readable_from", state.start},
                    {"readable_below", *state.damaged_from},
                    {"end", state.end},
                    {"next_step",
                     "another replica leads and brings the rest back; where there is none, restore the data directory "
                     "from a backup, or set unclean.leader.election.enable=true on the topic to go on without what is "
                     "lost"}});
    unclean_ = setup_.settings.unclean_election;
    replica_ = std::make_unique<partition_replica>(setup_.seat, setup_.home->self, std::move(setup_.settings),
                                                   std::move(state));
    observe::log(observe::level::debug, "partition", "opened",
                 {{"entity", entity_},
                  {"start", core().start()},
                  {"end", core().end()},
                  {"producers", core().known_producers().size()}});
    take_in(std::exchange(setup_.first, {}));
    // At a random time first: the partitions of a node do not all look at once.
    arm(timer::retention,
        std::chrono::milliseconds{random_.below(static_cast<std::uint64_t>(setup_.retention_interval.count()) + 1)});
    mark_later();
  }

  caf::behavior serving() {
    return {
        [this](produce& m) { handle(std::move(m)); },
        [this](fetch& m) { handle(std::move(m)); },
        [this](const durable& m) {
          if (!replica_ || retired_) return;
          perform(replica_->durable(m.end, leased_now()));
          mark_later();
          stop_when_quiet();
        },
        [this](const replica_mail& m) { handle(m); },
        [this](list_offsets& m) { handle(std::move(m)); },
        [this](epoch_end& m) {
          if (!refuse_reader(m.answer, true)) m.answer(core().epoch_ended(m));
        },
        [this](delete_records& m) { handle(std::move(m)); },
        [this](reassigned& m) {
          if (replica_ && !gone_) {
            if (m.settings) {
              unclean_ = m.settings->unclean_election;
              perform(replica_->reconfigured(std::move(*m.settings), leased_now()));
            }
            take_in(std::move(m.now));
          }
        },
        [this](log_end_question& m) {
          if (!replica_ || gone_) return;
          // The only copy, and damaged: to lead it would have to cut off what follows, which may still be read one day.
          // That is for the operator to decide.
          const bool sole = replica_->current() == partition_replica::role::damaged && !replicated_;
          if (!sole || unclean_) m.answer(replica_->log_end());
        },
        [this](const refused& m) {
          if (!replica_ || retired_) return;
          if (const auto times = setup_.metrics ? setup_.metrics->refusals.due() : 1; times > 0)
            observe::log(
                observe::level::warn, "partition", "append_refused",
                {{"entity", entity_}, {"end", m.end}, {"was", core().end()}, {"why", m.why}, {"times", times}});
          perform(replica_->refused(m.end, m.why, leased_now()));
          stop_when_quiet();
        },
        [this](const cut_done& m) { handle(m); },
        [this](const cut_again& m) {
          if (replica_ && !retired_) cut(m.restart, m.at);
        },
        [this](read_done& m) {
          --outstanding_;
          m.go_on();
        },
        [this](const due& m) { handle(m); },
        [this](retire& m) {
          leave(std::move(m.why));
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
    const auto at = now();
    replica_->leased(setup_.home->lease_end.load(std::memory_order_relaxed));
    auto todo = replica_->produced(std::move(m), at, setup_.store->crowded(setup_.log), decompressor::of_this_thread());
    if (setup_.metrics) count(todo, bytes);
    perform(std::move(todo));
  }

  void handle(fetch&& m) {
    if (refuse_reader(m.answer, m.leader_only)) return;
    if (m.watch_until && !core().watchable()) {
      fetch::outcome full;
      full.refused = error{errc::busy, "too many readers wait for this partition"};
      return m.answer(std::move(full));
    }
    read(std::move(m), round::first);
  }

  void handle(list_offsets&& m) {
    if (refuse_reader(m.answer, true)) return;
    if (auto known = core().offsets_listed(m)) return m.answer(std::move(*known));
    ++outstanding_;
    const time_search search{m.timestamp, core().start(), core().watermark()};
    setup_.store->run_blocking(
        [me = myself(), store = setup_.store, log = setup_.log, search, answer = std::move(m.answer)] {
          caf::anon_send(me, read_done{[answer, found = find_by_time(*store, log, search)] { answer(found); }});
        });
  }

  void handle(delete_records&& m) {
    if (refuse_reader(m.answer, true)) return;
    auto start = core().records_deleted(m.before);
    if (!start) {
      delete_records::outcome out;
      out.refused = start.error();
      return m.answer(std::move(out));
    }
    if (!*start) return m.answer({{}, core().start()});
    ++outstanding_;
    setup_.store->trim(setup_.log, **start, [me = myself(), answer = std::move(m.answer), low = **start](auto trimmed) {
      delete_records::outcome out{{}, low};
      if (!trimmed) out.refused = trimmed.error();
      caf::anon_send(me, read_done{[answer, out] { answer(out); }});
    });
  }

  void handle(const replica_mail& m) {
    if (!replica_ || gone_) return;
    const auto at = leased_now();
    std::visit(overloaded{[&](const replica_fetch& it) { perform(replica_->received(m.from, it, at)); },
                          [&](const replica_answer& it) { perform(replica_->received(m.from, it, now())); },
                          [&](const alter_isr_answer& it) { perform(replica_->received(it, now())); }},
               m.what);
  }

  void handle(const cut_done& m) {
    if (!replica_ || retired_) return;
    if (m.how) return perform(replica_->truncated(setup_.store->state(setup_.log)->end, leased_now()));
    // Anything but a full disk has ended this node by now.
    if (m.how.code() == errc::storage_full) delayed_send(this, cut_again_after, cut_again{m.restart, m.at});
  }

  void handle(const due& m) {
    switch (m.which) {
      case timer::deadlines:
        deadlines_armed_ = false;
        if (replica_) perform(replica_->tick(leased_now()));
        return;
      case timer::replication:
        if (m.number == wakes_) look_at_others();
        return;
      case timer::mark:
        mark_armed_ = false;
        return mark_now();
      case timer::retention:
        if (gone_) return;
        retain();
        return arm(timer::retention, setup_.retention_interval);
      case timer::linger:
        // Whoever asked before the replica went is still answered.
        return outstanding_ == 0 ? quit() : arm(timer::linger, linger_interval);
    }
  }

  template <class Outcome>
  bool refuse_if_gone(const std::function<void(Outcome)>& answer) {
    return refuse_if(gone_, answer);
  }
  template <class Outcome>
  bool refuse_reader(const std::function<void(Outcome)>& answer, bool leader_only) {
    return refuse_if(unreadable(leader_only), answer);
  }
  template <class Outcome>
  static bool refuse_if(std::optional<error> why, const std::function<void(Outcome)>& answer) {
    if (!why) return false;
    Outcome out;
    out.refused = std::move(why);
    answer(std::move(out));
    return true;
  }
  std::optional<error> unreadable(bool leader_only) const {
    if (gone_) return gone_;
    using role = partition_replica::role;
    const auto is = replica_->current();
    const bool follows = is == role::follower || is == role::none;
    if (is != role::leader && (leader_only || !follows))
      return error{errc::not_leader, "this replica does not lead " + entity_};
    // Whoever has lost the controller may have been replaced, and would keep its readers for ever.
    if (boot_clock::now() >= setup_.home->lease_end.load(std::memory_order_relaxed))
      return error{errc::not_leader, "the node holds no lease"};
    return {};
  }

  // -- roles ----------------------------------------------------------------------------------------------

  partition_core& core() { return replica_->partition(); }
  const partition_core& core() const { return replica_->partition(); }

  /// The time, for an event; what the replica may still answer depends on the node's lease.
  instant leased_now() {
    replica_->leased(setup_.home->lease_end.load(std::memory_order_relaxed));
    return boot_clock::now();
  }

  void take_in(assignment a) {
    replicated_ = a.state.replicas.size() > 1;
    leased_now();
    perform(replica_->assigned(a, now()));
  }

  void look_at_others() {
    wakes_at_.reset();
    if (!replica_ || gone_) return;
    const auto wanted = replica_->wakes_at();
    if (wanted && *wanted <= boot_clock::now()) return perform(replica_->tick(leased_now()));
    look_at_others_later();
  }

  void look_at_others_later() {
    if (!replica_ || gone_) return;
    const auto wanted = replica_->wakes_at();
    if (!wanted || (wakes_at_ && *wakes_at_ <= *wanted)) return;
    const auto present = boot_clock::now();
    const instant then{replication_grid * (std::max(*wanted, present).time_since_epoch() / replication_grid + 1)};
    if (wakes_at_ && *wakes_at_ <= then) return;
    wakes_at_ = then;
    delayed_send(this, then - present, due{timer::replication, ++wakes_});
  }

  /// Says so if it changed.
  void look_at_reach() {
    const auto leader = replica_ ? replica_->out_of_reach() : std::nullopt;
    if (leader == out_of_reach_) return;
    out_of_reach_ = leader;
    setup_.home->out_of_reach({setup_.seat.topic, setup_.seat.partition}, leader);
  }

  void became(const partition_replica::become& it) {
    static constexpr std::string_view names[] = {"none", "leader", "follower", "damaged", "failed", "removed"};
    observe::log(it.why ? observe::level::error : observe::level::debug, "partition", "role",
                 {{"entity", entity_},
                  {"is", names[static_cast<std::size_t>(it.now)]},
                  {"epoch", it.epoch},
                  {"why", it.why ? it.why->text : std::string{}}});
  }

  // -- effects --------------------------------------------------------------------------------------------

  void perform(partition_replica::effects&& todo) {
    for (auto& one : todo)
      std::visit(overloaded{
                     [&](partition_replica::append& it) { setup_.store->append(setup_.log, std::move(it.batches)); },
                     [&](partition_replica::truncate& it) { cut(false, it.end); },
                     [&](partition_replica::restart& it) { cut(true, it.start); },
                     [&](partition_replica::trim& it) { setup_.store->trim(setup_.log, it.start, [](const auto&) {}); },
                     [&](partition_replica::send_fetch& it) { setup_.home->send_fetch(it.to, std::move(it.message)); },
                     [&](partition_replica::send_answer& it) { send(std::move(it)); },
                     [&](partition_replica::send_proposal& it) { setup_.home->propose(std::move(it.message)); },
                     [](partition_replica::committed&) {},
                     [&](partition_replica::tell& it) { tell(std::move(it.clients)); },
                     [&](partition_replica::become& it) { became(it); },
                 },
                 one);
    look_at_deadlines();
    look_at_reach();
    look_at_others_later();
  }

  void tell(partition_core::effects&& clients) {
    for (auto& it : clients.produced) it.to(std::move(it.outcome));
    for (auto& it : clients.fetched) it.to(std::move(it.outcome));
    for (auto& it : clients.woken) read(std::move(it), round::second);
  }

  void look_at_deadlines() {
    if (deadlines_armed_ || !core().waiting()) return;
    deadlines_armed_ = true;
    arm(timer::deadlines, deadline_interval);
  }

  void cut(bool restart, log_offset at) {
    auto told = [me = myself(), restart, at](const result<void>& how) {
      caf::anon_send(me, cut_done{restart, at, how});
    };
    if (restart)
      setup_.store->restart_at(setup_.log, at, std::move(told));
    else
      setup_.store->truncate(setup_.log, at, std::move(told));
  }

  /// To a follower: first with the records that the message is about.
  void send(partition_replica::send_answer&& it) {
    if (!it.read) return setup_.home->send_answer(it.to, std::move(it.message));
    auto waits = std::make_shared<partition_replica::send_answer>(std::move(it));
    const store::read_limits limits{waits->read->end, waits->read->bytes_max, true};
    ++outstanding_;
    auto got = setup_.store->read(setup_.log, waits->read->from, limits,
                                  [this, me = myself(), waits](result<store::read_result> later) {
                                    auto found = std::make_shared<result<store::read_result>>(std::move(later));
                                    caf::anon_send(me, read_done{[this, waits, found] { send(*waits, *found); }});
                                  });
    if (!got) return;
    --outstanding_;
    send(*waits, *got);
  }

  void send(partition_replica::send_answer& it, const result<store::read_result>& got) {
    if (!got) return damaged_by(got.error());
    auto& runs = std::get<replica_answer::records>(it.message.what).runs;
    for (const auto& s : got->slices) {
      auto bytes = s.load();
      if (!bytes) return damaged_by(bytes.error());
      runs.push_back(std::move(*bytes));
    }
    if (runs.empty() && it.read->from < it.read->end) return;  // without an answer the follower asks again
    setup_.home->send_answer(it.to, std::move(it.message));
  }

  /// Where others have the records, this replica gets them back; alone, it keeps what can be read.
  void damaged_by(const error& why) {
    if (why.code == errc::storage_damaged && replicated_ && !gone_) setup_.home->found_damage(why);
  }

  enum class round : std::uint8_t { first, second };
  struct reading {
    fetch request;
    fetch::outcome outcome;
    round which;
  };

  void read(fetch&& m, round which) {
    auto admitted = core().fetched(m);
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
      damaged_by(got.error());
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
    auto news = core().watch(it.request, seen);
    if (!news) return it.request.answer(refusal(news.error()));
    tell(std::move(*news));
    look_at_deadlines();
  }

  fetch::outcome refusal() const { return refusal(*gone_); }
  static fetch::outcome refusal(error why) {
    fetch::outcome out;
    out.refused = std::move(why);
    return out;
  }

  void count(const partition_replica::effects& todo, std::size_t bytes) const {
    const auto& m = *setup_.metrics;
    for (const auto& one : todo) {
      if (const auto* it = std::get_if<partition_replica::append>(&one)) {
        m.batches.add();
        m.records.add(it->batches.front().offsets);
        m.bytes.add(static_cast<double>(bytes));
        return;
      }
      if (const auto* it = std::get_if<partition_replica::tell>(&one); it && !it->clients.produced.empty()) {
        (it->clients.produced.front().outcome.refused ? m.refused : m.duplicates).add();
        return;
      }
    }
    m.duplicates.add();
  }

  // -- time -----------------------------------------------------------------------------------------------

  void arm(timer which, std::chrono::milliseconds in) { delayed_send(this, in, due{which}); }

  /// Followers let go what their leader let go.
  void retain() {
    if (replica_->current() != partition_replica::role::leader) return;
    std::vector<store::extent> extents;
    if (!core().retains_all()) extents = setup_.store->extents(setup_.log);
    const auto start = core().retained(extents, now());
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
    if (mark_armed_ || !core().mark_outdated()) return;
    mark_armed_ = true;
    arm(timer::mark, setup_.mark_interval);
  }

  void mark_now() {
    if (gone_) return;
    // Without a mark a restart reads more headers; nothing else is lost, so a failure is not worth a word.
    if (auto mark = core().mark(false)) setup_.store->put_mark(setup_.log, std::move(*mark), [](const auto&) {});
    mark_later();
  }

  // -- the end --------------------------------------------------------------------------------------------

  void leave(error why) {
    if (replica_) perform(replica_->ended(why, boot_clock::now()));
    gone_ = std::move(why);
  }

  /// Once nothing waits for the disk any more, writes the last mark and ends.
  void stop_when_quiet() {
    if (!stopping_ || closing_ || (replica_ && !retired_ && core().durable_end() != core().end())) return;
    closing_ = true;
    auto end = [this] {
      leave({errc::closed, "the node is stopping"});
      if (stopped_) stopped_();
      quit();
    };
    auto mark = replica_ && !retired_ ? core().mark(true) : std::nullopt;
    if (!mark) return end();
    ++outstanding_;
    setup_.store->put_mark(setup_.log, std::move(*mark),
                           [me = myself(), end](const auto&) { caf::anon_send(me, read_done{end}); });
  }

  partition_setup setup_;
  const std::string entity_;
  random_source random_;
  std::unique_ptr<partition_replica> replica_;
  std::optional<error> gone_;  ///< what everyone is told from now on
  bool retired_{false}, stopping_{false}, closing_{false};
  std::function<void()> stopped_;
  bool deadlines_armed_{false}, mark_armed_{false};
  std::optional<instant> wakes_at_;      ///< on behalf of the other replicas
  std::uint64_t wakes_{0};               ///< armed so far
  bool replicated_{false};               ///< others have replicas, too
  bool unclean_{false};                  ///< the topic would rather lose records than wait
  std::optional<node_id> out_of_reach_;  ///< as said last
  std::size_t outstanding_{0};           ///< callbacks of the store that still owe an answer
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
