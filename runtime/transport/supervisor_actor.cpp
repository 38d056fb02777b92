#include "runtime/transport/supervisor_actor.hpp"

#include <algorithm>
#include <caf/io/all.hpp>
#include <map>
#include <utility>

#include "runtime/base/random.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/transport/link_batch.hpp"

namespace troupe::transport_parts {

/// It is time to dial; `turn` tells this time from one that was called off.
struct due {
  std::uint64_t place;
  std::uint64_t turn;
};
struct dialled {
  std::uint64_t place;
  dialer::outcome what;
  caf::actor remote;  ///< none: `why`
  std::string why;
};

}  // namespace troupe::transport_parts

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::due)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::dialled)

namespace troupe::transport_parts {
namespace {

using namespace std::chrono_literals;
using namespace transport_wire;
using observe::level;
using std::chrono::milliseconds;

constexpr milliseconds backoff_min = 50ms;
constexpr milliseconds backoff_max = 1000ms;
constexpr std::chrono::seconds connect_timeout{3};
/// After an answer that only a person can change.
constexpr milliseconds backoff_refused = 5000ms;
/// The higher id lets the lower one dial first.
constexpr milliseconds yield_min = 100ms;
/// As long a hello of the other side may have been under way when our own link was made.
constexpr milliseconds crossing_max = 1000ms;

class supervisor_actor : public caf::event_based_actor {
public:
  supervisor_actor(caf::actor_config& config, std::shared_ptr<hub> shared, std::shared_ptr<dialer> dials)
      : caf::event_based_actor{config},
        shared_{std::move(shared)},
        dialer_{std::move(dials)},
        cluster_id_{shared_->options.cluster_id},
        reach_{shared_->options.advertised},
        random_{random_seed()} {}

  const char* name() const override { return "transport"; }

  caf::behavior make_behavior() override {
    set_default_handler(caf::drop);
    set_exit_handler([](caf::exit_msg&) {});  // peers could send it
    set_error_handler([](caf::error&) {});
    // Links say `ended` first; this is for one that was ended by a fault of ours.
    set_down_handler([this](caf::down_msg& m) { handle_end(m.source.id(), {false, {}, "the link's actor failed"}); });
    return {
        [this](const link_batch& m) { handle_hello(m); },
        [this](const greeted& m) { handle_greeted(current_sender()->id(), m.theirs); },
        [this](const ended& m) { handle_end(current_sender()->id(), m); },
        [this](const due& m) { dial(m); },
        [this](const dialled& m) { handle_dialled(m); },
        [this](const know& m) { handle_know(m); },
        [this](const forget& m) { handle_forget(m.node); },
        [this](const seek& m) { handle_seek(m.at); },
        [this](const joined& m) { handle_joined(m.cluster_id); },
        [this](const listening& m) { reach_ = m.reach; },
        [this](stop& m) {
          stopped_ = std::move(m.done);
          places_.clear();
          for (auto& [node, p] : peers_) p.place.reset();
          for (auto& [id, s] : sessions_) cease_link(s, {link_farewell::why::stopping, self(), "the node is stopping"});
          finish_if_stopped();
        },
    };
  }

  void on_exit() override { dialer_.reset(); }

private:
  /// A link's actor, from its making to its end.
  struct session {
    caf::actor link;
    std::optional<std::uint64_t> place;  ///< what it was dialled for
    std::optional<introduction> theirs;  ///< once they have said it
    instant open_since{};
    bool ceasing{false};
  };
  /// An address that is dialled.
  struct place {
    net::address at;
    std::optional<node_id> node;  ///< none: a seed
    unsigned failures{0};
    bool busy{false};  ///< from the dial to the end of the handshake
    std::uint64_t turn{0};
    std::string complained;  ///< what was logged last
  };
  struct peer {
    std::optional<std::uint64_t> place;     ///< if it is known
    std::optional<caf::actor_id> greeting;  ///< our dial to it
    std::optional<caf::actor_id> current;   ///< the link that was reported up
    std::optional<caf::actor_id> next;      ///< waits for the end of `current`
    bool was_up{false};
    bool linked() const { return current || next; }
  };

  node_id self() const { return shared_->options.node; }
  static instant now() { return boot_clock::now(); }
  bool stopping() const { return static_cast<bool>(stopped_); }

  introduction ours(node_id expected = node_id{-1}) const {
    const auto& limits = shared_->options.limits;
    return {.cluster_id = cluster_id_,
            .node = self(),
            .expected = expected,
            .incarnation = shared_->options.incarnation,
            .reach = reach_,
            .granted = {limits.window_bytes[0], limits.window_bytes[1]},
            .frame_bytes_max = static_cast<std::uint32_t>(limits.frame_bytes_max)};
  }

  // -- what the node says -----------------------------------------------------------------------------------

  void handle_know(const know& m) {
    if (m.node == self() || stopping()) return;
    auto& p = peers_[m.node];
    shared_->add_box(m.node);
    if (p.place) {
      auto& at = places_.at(*p.place);
      if (at.at == m.at) return;
      at.at = m.at;
      at.failures = 0;
    } else {
      p.place = ++places_made_;
      auto& at = places_[*p.place];
      at.at = m.at;
      at.node = m.node;
    }
    if (!p.linked() && !p.greeting) schedule(*p.place, first_delay(m.node));
  }

  void handle_seek(const net::address& at) {
    const auto known = [&](const auto& p) { return !p.second.node && p.second.at == at; };
    if (stopping() || std::ranges::any_of(places_, known)) return;
    const auto id = ++places_made_;
    places_[id].at = at;
    schedule(id, jitter(20ms));  // the nodes of a new cluster seek each other
  }

  void handle_forget(node_id node) {
    const auto at = peers_.find(node);
    if (at == peers_.end()) return;
    if (at->second.place) places_.erase(*std::exchange(at->second.place, std::nullopt));
    for (const auto& id : {at->second.greeting, at->second.current, at->second.next})
      if (id) cease_link(sessions_.at(*id), {link_farewell::why::forgotten, self(), "the node left the cluster"});
    tidy(node);
  }

  void handle_joined(const std::string& cluster_id) {
    cluster_id_ = cluster_id;
    for (auto& [id, s] : sessions_)
      if (s.theirs)
        if (auto no = judge(ours(), *s.theirs)) {
          look_for_claim(*no, *s.theirs);
          cease_link(s, *no);
        }
  }

  /// Forgets a peer of whom nothing is left.
  void tidy(node_id node) {
    const auto at = peers_.find(node);
    if (at == peers_.end()) return;
    const auto& p = at->second;
    if (p.place || p.greeting || p.linked()) return;
    shared_->remove_box(node);
    peers_.erase(at);
  }

  // -- dialling -----------------------------------------------------------------------------------------------

  milliseconds jitter(milliseconds up_to) {
    return milliseconds{random_.below(static_cast<std::uint64_t>(up_to.count()) + 1)};
  }
  milliseconds first_delay(node_id node) { return self() < node ? jitter(20ms) : yield_min + jitter(yield_min); }

  void schedule(std::uint64_t id, milliseconds delay) { delayed_send(this, delay, due{id, ++places_.at(id).turn}); }

  void retry(std::uint64_t id) {
    auto& at = places_.at(id);
    const auto wait = std::min(backoff_max, backoff_min * (1 << std::min(at.failures, 5u)));
    ++at.failures;
    // Never in step with the other side, whose dial might take ours away again and again.
    schedule(id, wait / 2 + jitter(wait / 2));
  }

  void dial(const due& m) {
    const auto found = places_.find(m.place);
    if (found == places_.end() || found->second.turn != m.turn || found->second.busy || stopping()) return;
    auto& at = found->second;
    if (at.node && (peers_[*at.node].linked() || peers_[*at.node].greeting)) return;
    at.busy = true;
    auto to_us = [me = caf::actor_cast<caf::actor>(this), id = m.place](dialer::outcome what, caf::actor remote,
                                                                        std::string why) {
      caf::anon_send(me, dialled{id, what, std::move(remote), std::move(why)});
    };
    dialer_->dial(at.at, [to_us, port = at.at.port, middleman = shared_->middleman,
                          actors = &system()](const dialer::finding& f) {
      if (f.what != dialer::outcome::answers) return to_us(f.what, nullptr, f.why);
      // CAF ends a handshake at its next heartbeat: this takes half a second at most, and fails now and then for no
      // reason.
      auto ask = caf::make_function_view(middleman, caf::duration{connect_timeout});
      auto answer = ask(caf::connect_atom_v, f.host, port);
      if (answer && std::get<1>(*answer)) return to_us(f.what, caf::actor_cast<caf::actor>(std::get<1>(*answer)), {});
      to_us(f.what, nullptr,
            "something answers there that is no node, or we do not accept each other's certificates" +
                (answer ? std::string{} : " (" + actors->render(answer.error()) + ")"));
    });
  }

  void handle_dialled(const dialled& m) {
    const auto found = places_.find(m.place);
    if (found == places_.end() || stopping()) return;
    auto& at = found->second;
    at.busy = false;
    if (at.node ? peers_[*at.node].linked() : is_linked_at(at.at)) {
      if (!at.node) places_.erase(found);
      return;
    }
    if (!m.remote) {
      complain(at, level::info, "peer_unreachable", m.why);
      const auto node = at.node;
      retry(m.place);
      if (node && m.what == dialer::outcome::refused) shared_->callbacks.refused(*node);
      return;
    }
    at.busy = true;
    const auto id =
        start_link({shared_, caf::actor_cast<caf::actor>(this), m.remote, ours(at.node.value_or(node_id{-1})), {}});
    sessions_[id].place = m.place;
    if (at.node) peers_[*at.node].greeting = id;
  }

  bool is_linked_at(const net::address& at) const {
    return std::ranges::any_of(sessions_,
                               [&](const auto& s) { return s.second.theirs && s.second.theirs->reach == at; });
  }

  void complain(place& at, level how, const char* event, const std::string& why) {
    if (std::exchange(at.complained, why) == why) how = level::debug;
    observe::log(how, "transport", event,
                 {{"peer", at.node ? std::to_string(at.node->value()) : "?"}, {"address", at.at.text()}, {"why", why}});
  }

  // -- handshakes ---------------------------------------------------------------------------------------------

  caf::actor_id start_link(link_start start) {
    auto link = spawn_link(system(), std::move(start));
    monitor(link);
    const auto id = link.id();
    sessions_[id].link = std::move(link);
    return id;
  }

  void handle_hello(const link_batch& m) {
    const auto from = caf::actor_cast<caf::actor>(current_sender());
    auto parsed = parse_batch(m.bytes);
    if (!from || !parsed || parsed->kind != batch_kind::hello) return;
    auto theirs = parse_introduction(parsed->body);
    if (!theirs) return;
    if (stopping()) return refuse(from, {link_farewell::why::stopping, self(), "the node is stopping"});
    if (auto no = judge(ours(), *theirs)) {
      look_for_claim(*no, *theirs);
      if (no->reason != link_farewell::why::self)
        if (const auto times = refusals_.due(); times > 0)
          observe::log(
              level::warn, "transport", "peer_refused",
              {{"peer", theirs->node}, {"address", theirs->reach.text()}, {"why", no->text}, {"times", times}});
      return refuse(from, *no);
    }
    if (crosses(*theirs)) return refuse(from, {link_farewell::why::duplicate, self(), "there is a link already"});
    accept(from, *theirs);
  }

  void look_for_claim(const link_farewell& no, const introduction& theirs) {
    if (no.reason == link_farewell::why::cluster && theirs.expected == self())
      shared_->callbacks.claimed({theirs.node, theirs.incarnation, theirs.reach, theirs.cluster_id});
  }

  void refuse(const caf::actor& whom, const link_farewell& why) { send(whom, link_batch{write_farewell(why)}); }

  /// Whether a hello belongs to a link that we need not make, because another one to the same node stands or comes.
  bool crosses(const introduction& theirs) {
    const auto first = self() < theirs.node;
    const auto found = peers_.find(theirs.node);
    if (found != peers_.end()) {
      const auto& p = found->second;
      if (p.greeting && first) return true;
      for (const auto& id : {p.current, p.next}) {
        if (!id) continue;
        const auto& s = sessions_.at(*id);
        if (s.ceasing || s.theirs->incarnation != theirs.incarnation) continue;
        // A seed's dial, by a node that did not know whom it would meet.
        if (theirs.expected.value() < 0) return true;
        if (s.place && first && now() - s.open_since < crossing_max) return true;
      }
    }
    // Our own dial to a seed, which turns out to be this node.
    return first && std::ranges::any_of(sessions_, [&](const auto& s) {
             return s.second.place && !s.second.theirs && !s.second.ceasing && places_.contains(*s.second.place) &&
                    places_.at(*s.second.place).at == theirs.reach;
           });
  }

  void accept(const caf::actor& from, const introduction& theirs) {
    const auto id = start_link({shared_, caf::actor_cast<caf::actor>(this), from, {}, theirs});
    sessions_[id].theirs = theirs;
    auto& p = peers_[theirs.node];
    if (p.greeting)
      cease_link(sessions_.at(*p.greeting), {link_farewell::why::duplicate, self(), "the other link stays"});
    admit(id);
  }

  void handle_greeted(caf::actor_id id, const introduction& theirs) {
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) return;
    auto& s = found->second;
    if (s.ceasing) return;
    const auto at = s.place ? places_.find(*s.place) : places_.end();
    if (at == places_.end()) return cease_link(s, {link_farewell::why::forgotten, self(), "no longer wanted"});
    at->second.busy = false;
    if (auto no = judge(ours(at->second.node.value_or(node_id{-1})), theirs)) {
      handle_refusal(at->first, *no);
      return cease_link(s, *no);
    }
    s.theirs = theirs;
    at->second.failures = 0;
    at->second.complained.clear();
    if (at->second.node)
      peers_[*at->second.node].greeting.reset();
    else
      places_.erase(at);
    const auto& p = peers_[theirs.node];
    // Both dialled and both accepted: both keep what the lower id dialled.
    if (p.linked() && !(self() < theirs.node))
      return cease_link(s, {link_farewell::why::duplicate, self(), "the other link stays"});
    admit(id);
  }

  /// Makes a session the peer's link, after the end of the one it has.
  void admit(caf::actor_id id) {
    auto& p = peers_[sessions_.at(id).theirs->node];
    if (!p.current) {
      p.current = id;
      return open(id);
    }
    const link_farewell why{link_farewell::why::replaced, self(), "replaced by a newer link"};
    if (p.next) cease_link(sessions_.at(*p.next), why);
    p.next = id;
    cease_link(sessions_.at(*p.current), why);
  }

  void open(caf::actor_id id) {
    auto& s = sessions_.at(id);
    s.open_since = now();
    auto& p = peers_[s.theirs->node];
    if (p.place) places_.at(*p.place).failures = 0;
    if (std::exchange(p.was_up, true) && shared_->metrics) shared_->metrics->reconnected();
    observe::log(level::info, "transport", "link_up",
                 {{"peer", s.theirs->node},
                  {"address", s.theirs->reach.text()},
                  {"incarnation", s.theirs->incarnation},
                  {"dialled", s.place.has_value()}});
    // In this order: what is sent because of `up` is sent, and what is received is received after it.
    shared_->attach(*s.theirs, s.link);
    shared_->callbacks.up(as_peer(*s.theirs));
    send(s.link, go{ours()});
  }

  static transport_peer as_peer(const introduction& i) { return {i.node, i.incarnation, i.reach, i.cluster_id}; }

  // -- ends ---------------------------------------------------------------------------------------------------

  void cease_link(session& s, const link_farewell& why) {
    if (std::exchange(s.ceasing, true)) return;
    send(s.link, cease{why});
  }

  void handle_end(caf::actor_id id, const ended& how) {
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) return;
    const auto s = std::move(found->second);
    sessions_.erase(found);
    if (s.theirs)
      handle_link_end(id, *s.theirs, how);
    else if (s.place)
      handle_greeting_end(id, *s.place, how, s.ceasing);
    finish_if_stopped();
  }

  void handle_link_end(caf::actor_id id, const introduction& theirs, const ended& how) {
    auto& p = peers_[theirs.node];
    if (p.next == id) p.next.reset();
    if (p.current == id) {
      p.current.reset();
      if (const auto box = shared_->box(theirs.node)) shared_->detach(*box);
      observe::log(level::info, "transport", "link_down",
                   {{"peer", theirs.node}, {"address", theirs.reach.text()}, {"reset", how.reset}, {"why", how.why}});
      shared_->callbacks.down(as_peer(theirs), how.reset);
      if (stopping()) return;
      if (p.next) {
        p.current = std::exchange(p.next, std::nullopt);
        return open(*p.current);
      }
      // At once, whoever dials next and when: a leader that is known to be gone is replaced so much sooner.
      ask_whether_gone(theirs);
    }
    if (p.place && !p.linked() && !p.greeting && !stopping()) {
      // By a link that is not ours: two processes have our node id, and would take the peer from each other for ever.
      const bool by_twin = how.theirs && how.theirs->reason == link_farewell::why::replaced;
      if (by_twin)
        complain(places_.at(*p.place), level::warn, "link_taken", "another process with our node id has a newer link");
      schedule(*p.place, by_twin ? backoff_refused : first_delay(theirs.node));
    }
    tidy(theirs.node);
  }

  void handle_greeting_end(caf::actor_id id, std::uint64_t place_id, const ended& how, bool by_us) {
    const auto whom = std::ranges::find_if(peers_, [&](const auto& p) { return p.second.greeting == id; });
    if (whom != peers_.end()) {
      whom->second.greeting.reset();
      tidy(whom->first);
    }
    const auto found = places_.find(place_id);
    if (found == places_.end() || !std::exchange(found->second.busy, false) || stopping()) return;
    auto& at = found->second;
    if (by_us) {
      if (!at.node || !peers_[*at.node].linked()) retry(place_id);
      return;
    }
    if (how.theirs) return handle_refusal(place_id, *how.theirs);
    complain(at, level::info, "peer_unreachable", how.why);
    retry(place_id);
  }

  /// What was said against a link that we dialled, by them or by us.
  void handle_refusal(std::uint64_t place_id, const link_farewell& no) {
    auto& at = places_.at(place_id);
    if (no.reason == link_farewell::why::self && !at.node) {
      places_.erase(place_id);
      return;
    }
    if (no.passes()) {
      if (!at.node && peers_.contains(no.node) && peers_[no.node].linked())
        places_.erase(place_id);
      else
        retry(place_id);
      return;
    }
    complain(at, level::warn, "peer_refused", no.text);
    // A node of ours that has another cluster now should soon hear that we miss it.
    schedule(place_id, no.reason == link_farewell::why::cluster && at.node ? backoff_max : backoff_refused);
  }

  /// It said itself where it is, which will do to find out whether its process is gone.
  void ask_whether_gone(const introduction& theirs) {
    dialer_->dial(theirs.reach, [shared = shared_, node = theirs.node](const dialer::finding& f) {
      if (f.what == dialer::outcome::refused) shared->callbacks.refused(node);
    });
  }

  void finish_if_stopped() {
    if (!stopping() || !sessions_.empty()) return;
    std::exchange(stopped_, nullptr)();
    quit();
  }

  const std::shared_ptr<hub> shared_;
  std::shared_ptr<dialer> dialer_;
  std::string cluster_id_;
  net::address reach_;
  random_source random_;
  std::map<std::uint64_t, place> places_;
  std::uint64_t places_made_{0};
  std::map<caf::actor_id, session> sessions_;
  std::map<node_id, peer> peers_;
  observe::seldom refusals_;
  std::function<void()> stopped_;
};

}  // namespace

caf::actor spawn_supervisor(caf::actor_system& actors, std::shared_ptr<hub> shared, std::shared_ptr<dialer> dials) {
  return actors.spawn<supervisor_actor>(std::move(shared), std::move(dials));
}

}  // namespace troupe::transport_parts
