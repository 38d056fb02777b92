#include "runtime/observe/metrics.hpp"
#include "runtime/transport/link_actor.hpp"

namespace troupe::transport_parts {
namespace {

constexpr const char* urgency_names[] = {"control", "bulk"};

}  // namespace

/// Frames and bytes that go one way.
struct instruments::direction {
  direction(observe::metrics& m, const std::string& name)
      : frames{counters(m, "troupe_link_frames_total", "Frames between nodes.", name)},
        bytes{counters(m, "troupe_link_bytes_total", "Bytes of frames between nodes.", name)} {}
  static per_urgency<observe::counter*> counters(observe::metrics& m, const char* metric, const char* help,
                                                 const std::string& name) {
    per_urgency<observe::counter*> out{};
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = &m.counter(metric, help, {{"direction", name}, {"urgency", urgency_names[i]}});
    return out;
  }
  per_urgency<observe::counter*> frames, bytes;
};

struct instruments::state {
  explicit state(observe::metrics& m)
      : drops{&drop(m, 0), &drop(m, 1)},
        reconnects{m.counter("troupe_link_reconnects_total", "Links to peers that were made again after a loss.")},
        queued{m.gauge("troupe_link_queued_bytes", "Bytes that wait for links to peers.")} {}
  static observe::counter& drop(observe::metrics& m, std::size_t i) {
    return m.counter("troupe_link_drops_total", "Frames to peers that were dropped before they were sent.",
                     {{"urgency", urgency_names[i]}});
  }
  per_urgency<observe::counter*> drops;
  observe::counter& reconnects;
  observe::gauge& queued;
};

instruments::instruments(observe::metrics& m)
    : sent{std::make_shared<direction>(m, "sent")},
      received{std::make_shared<direction>(m, "received")},
      state_{std::make_shared<state>(m)} {}

void instruments::count(const direction& d, urgency u, std::uint64_t frames, std::uint64_t bytes) const {
  const auto i = static_cast<std::size_t>(u);
  d.frames[i]->add(static_cast<double>(frames));
  d.bytes[i]->add(static_cast<double>(bytes));
}
void instruments::dropped(urgency u, std::uint64_t frames) const {
  state_->drops[static_cast<std::size_t>(u)]->add(static_cast<double>(frames));
}
void instruments::reconnected() const {
  state_->reconnects.add();
}
void instruments::queued(double more) const {
  state_->queued.add(more);
}

std::shared_ptr<outbox> hub::box(node_id id) const {
  std::shared_lock guard{lock_};
  const auto at = boxes_.find(id);
  return at == boxes_.end() ? nullptr : at->second;
}

std::shared_ptr<outbox> hub::add_box(node_id id) {
  std::unique_lock guard{lock_};
  auto& at = boxes_[id];
  if (!at) at = std::make_shared<outbox>(options.limits);
  return at;
}

void hub::remove_box(node_id id) {
  std::unique_lock guard{lock_};
  const auto at = boxes_.find(id);
  if (at == boxes_.end()) return;
  {
    std::lock_guard inner{at->second->lock};
    at->second->removed = true;
    if (metrics) metrics->queued(-static_cast<double>(std::exchange(at->second->queued_shown, 0)));
  }
  boxes_.erase(at);
}

void hub::send(node_id to, urgency u, shared_bytes frame) {
  const auto at = box(to);
  if (!at) {
    if (metrics) metrics->dropped(u, 1);
    return;
  }
  caf::actor link;
  {
    std::lock_guard guard{at->lock};
    if (!at->sender.push(u, std::move(frame), boot_clock::now())) return show(*at);
    if (!at->link || at->awake || !at->sender.ready()) return;
    at->awake = true;
    link = at->link;
  }
  caf::anon_send(link, wake{});
}

void hub::attach(const introduction& theirs, const caf::actor& link) {
  const auto at = add_box(theirs.node);
  std::lock_guard guard{at->lock};
  TROUPE_CHECK(!at->link);
  at->sender.opened(theirs.granted, theirs.frame_bytes_max, boot_clock::now());
  at->link = link;
}

void hub::detach(outbox& at) const {
  std::lock_guard guard{at.lock};
  if (!at.link) return;
  at.sender.closed(boot_clock::now());
  at.link = nullptr;
  at.awake = false;
  show(at);
}

void hub::show(outbox& at) const {
  if (!metrics || at.removed) return;
  for (std::size_t i = 0; i < transport_wire::urgencies; ++i) {
    const auto u = static_cast<urgency>(i);
    const auto& now = at.sender.total(u);
    auto& shown = at.shown[i];
    if (now.frames != shown.frames)
      metrics->count(*metrics->sent, u, now.frames - shown.frames, now.bytes - shown.bytes);
    if (now.dropped != shown.dropped) metrics->dropped(u, now.dropped - shown.dropped);
    shown = now;
  }
  const auto queued = at.sender.queued_bytes();
  metrics->queued(static_cast<double>(queued) - static_cast<double>(at.queued_shown));
  at.queued_shown = queued;
}

}  // namespace troupe::transport_parts
