#include "runtime/transport/link_actor.hpp"

#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>
#include <utility>
#include <vector>

#include "runtime/observe/log.hpp"
#include "runtime/transport/link_batch.hpp"

namespace troupe::transport_parts {

struct flush {};
struct beat {};
struct too_late {};

}  // namespace troupe::transport_parts

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::flush)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::beat)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::transport_parts::too_late)

namespace troupe::transport_parts {
namespace {

using namespace transport_wire;

constexpr std::chrono::milliseconds beat_interval{500};
constexpr std::chrono::seconds handshake_timeout{2};
/// CAF notices silent nodes; this notices a peer whose node answers and whose link does not.
constexpr std::chrono::seconds silence_max{10};
/// A connection that ends though the peer was heard of until just now was closed by it. CAF's time-out takes longer.
constexpr std::chrono::seconds recently{2};

class link_actor : public caf::event_based_actor {
public:
  link_actor(caf::actor_config& config, link_start start)
      : caf::event_based_actor{config},
        shared_{std::move(start.shared)},
        supervisor_{std::move(start.supervisor)},
        remote_{std::move(start.remote)},
        ours_{std::move(start.ours)},
        theirs_{std::move(start.theirs)},
        dials_{ours_.has_value()},
        receiver_{shared_->options.limits},
        heard_{boot_clock::now()} {}

  const char* name() const override { return "link"; }

  caf::behavior make_behavior() override {
    set_default_handler(caf::drop);
    set_down_handler([this](caf::down_msg& m) {
      if (m.source == remote_) end({boot_clock::now() - heard_ < recently, {}, "the connection is lost"});
    });
    // A peer can send these too; the supervisor ends links by `cease`.
    set_exit_handler([](caf::exit_msg&) {});
    set_error_handler([this](caf::error& e) { end({false, {}, "internal: " + system().render(e)}); });
    monitor(remote_);
    if (dials_) {
      send(remote_, link_batch{write_introduction(batch_kind::hello, *ours_)});
      delayed_send(this, handshake_timeout, too_late{});
    }
    return {
        [this](link_batch& m) { handle(std::move(m)); },
        [this](const wake&) {
          if (phase_ == phase::open) pump();
        },
        [this](const flush&) {
          flush_due_ = false;
          if (phase_ != phase::open) return;
          pump();
          if (receiver_.owes_receipt()) tell();
        },
        [this](const beat&) {
          if (phase_ == phase::open) keep_up();
        },
        [this](go& m) { open(m.ours); },
        [this](const cease& m) {
          if (phase_ != phase::greeting || dials_) send(remote_, link_batch{write_farewell(m.why)});
          end({false, {}, m.why.text});
        },
        [this](const too_late&) {
          if (phase_ == phase::greeting) end({false, {}, "no answer to the handshake"});
        },
    };
  }

private:
  enum class phase : std::uint8_t { greeting, greeted, open, ended };

  void handle(link_batch&& m) {
    if (phase_ == phase::ended) return;
    // Any actor of any peer can send here. Their supervisor and the link it has made for us are of one node.
    const auto from = caf::actor_cast<caf::actor>(current_sender());
    const bool greeting = phase_ == phase::greeting && dials_;
    if (!from || (greeting ? from.node() != remote_.node() : from != remote_)) return;
    heard_ = boot_clock::now();
    auto parsed = parse_batch(m.bytes);
    if (!parsed) return fail(parsed.error());
    if (parsed->kind == batch_kind::farewell) return handle_farewell(parsed->body);
    if (greeting) {
      if (parsed->kind != batch_kind::welcome) return fail({errc::malformed, "no welcome after our hello"});
      auto theirs = parse_introduction(parsed->body);
      if (!theirs) return fail(theirs.error());
      theirs_ = *theirs;
      // From now on with their link, which is an actor of the same node.
      demonitor(remote_);
      remote_ = from;
      monitor(remote_);
      phase_ = phase::greeted;
      return send(supervisor_, greeted{theirs_});
    }
    // Frames may come before the supervisor has decided; the peer's window bounds them.
    if (phase_ != phase::open) return held_.push_back(std::move(*parsed));
    take(*parsed);
  }

  void handle_farewell(byte_view body) {
    auto said = parse_farewell(body);
    if (!said) return fail(said.error());
    // Nothing else goes through this connection then; a node that was only not the one asked for may have a link.
    if (said->reason <= link_farewell::why::cluster) drop_connection(system(), remote_.node());
    end({said->reason == link_farewell::why::stopping, *said, said->text});
  }

  void open(const introduction& ours) {
    if (phase_ == phase::ended) return;
    if (!dials_) send(remote_, link_batch{write_introduction(batch_kind::welcome, ours)});
    phase_ = phase::open;
    box_ = shared_->box(theirs_.node);
    TROUPE_CHECK(box_);
    delayed_send(this, beat_interval, beat{});
    pump();
    for (const auto& b : std::exchange(held_, {})) {
      if (phase_ != phase::open) return;
      take(b);
    }
  }

  void take(const batch& b) {
    auto frames = receiver_.taken(b);
    if (!frames) return fail(frames.error());
    const auto credited = [&] {
      std::lock_guard guard{box_->lock};
      return box_->sender.acknowledged(b.told, boot_clock::now());
    }();
    if (!credited) return fail(credited.error());
    per_urgency<std::uint64_t> count{}, bytes{};
    for (auto& f : *frames) {
      ++count[static_cast<std::size_t>(f.kind)];
      bytes[static_cast<std::size_t>(f.kind)] += f.frame.size();
      shared_->callbacks.received(theirs_.node, std::move(f.frame));
    }
    if (shared_->metrics)
      for (std::size_t i = 0; i < urgencies; ++i)
        if (count[i] > 0)
          shared_->metrics->count(*shared_->metrics->received, static_cast<urgency>(i), count[i], bytes[i]);
    // Behind what is in the mailbox already: one receipt answers all of it.
    if (!std::exchange(flush_due_, true)) send(this, flush{});
  }

  /// Sends whatever may be sent.
  void pump() {
    for (;;) {
      std::optional<shared_bytes> next;
      {
        // For one batch at a time, so that senders get in between.
        std::lock_guard guard{box_->lock};
        if (box_->sender.ready()) next = box_->sender.next_batch(receiver_.receipt(), boot_clock::now());
        if (!next) {
          box_->awake = false;
          return shared_->show(*box_);
        }
      }
      sent_ = true;
      send(remote_, link_batch{std::move(*next)});
    }
  }

  void tell() {
    std::lock_guard guard{box_->lock};
    sent_ = true;
    send(remote_, link_batch{box_->sender.empty_batch(receiver_.receipt())});
  }

  void keep_up() {
    if (boot_clock::now() - heard_ > silence_max) return fail({errc::timed_out, "nothing comes from the peer's link"});
    delayed_send(this, beat_interval, beat{});
    pump();
    if (!std::exchange(sent_, false) || receiver_.has_news()) tell();
    sent_ = false;
  }

  void fail(const error& why) {
    observe::log(observe::level::warn, "transport", "link_broken", {{"peer", theirs_.node}, {"why", why}});
    send(remote_, link_batch{write_farewell({link_farewell::why::broken, shared_->options.node, why.text})});
    drop_connection(system(), remote_.node());
    end({false, {}, why.text});
  }

  void end(ended how) {
    if (std::exchange(phase_, phase::ended) == phase::open) shared_->detach(*box_);
    send(supervisor_, std::move(how));
    quit();
  }

  const std::shared_ptr<hub> shared_;
  const caf::actor supervisor_;
  caf::actor remote_;
  const std::optional<introduction> ours_;
  introduction theirs_;
  const bool dials_;
  phase phase_{phase::greeting};
  std::shared_ptr<outbox> box_;
  link_receiver receiver_;
  std::vector<batch> held_;
  instant heard_;
  bool flush_due_{false};
  bool sent_{false};
};

}  // namespace

caf::actor spawn_link(caf::actor_system& actors, link_start start) {
  return actors.spawn<link_actor>(std::move(start));
}

void drop_connection(caf::actor_system& actors, const caf::node_id& node) {
  const auto broker = actors.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  auto* basp = static_cast<caf::io::basp_broker*>(caf::actor_cast<caf::abstract_actor*>(broker));
  // CAF has no call for it. But it closes a connection on which nonsense arrives, and the routing table has its own
  // lock.
  if (const auto at = basp->instance.tbl().lookup_direct(node))
    caf::anon_send(broker, caf::io::new_data_msg{*at, std::vector<char>(1)});
}

}  // namespace troupe::transport_parts
