#include "runtime/membership/failure_detector.hpp"

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "runtime/base/check.hpp"
#include "runtime/base/rules.hpp"

namespace troupe::membership {

namespace {
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

life sender_of(const message& m) {
  return std::visit([](const auto& x) { return x.from; }, m);
}
}  // namespace

failure_detector::failure_detector(life self, detector_settings settings, random_source random, instant now)
    : self_{self}, settings_{settings}, random_{random}, unleased_since_{now} {
  // Nodes that start together do not probe together.
  next_round_ = now + nanoseconds{random_.below(nanoseconds{settings_.probe_interval}.count())};
}

// -- members ----------------------------------------------------------------------------------------------------

void failure_detector::member(life who) {
  if (who.node == self_.node) return;
  auto [found, added] = peers_.try_emplace(who.node);
  auto& p = found->second;
  if (!added && p.epoch >= who.epoch) return;
  p = {.epoch = who.epoch};
  if (holds(rule::epoch_fences_former_life)) {
    std::erase_if(waiting_, [&](const auto& w) { return w.second.subject.node == who.node; });
    std::erase_if(errands_, [&](const auto& e) { return e.second.subject.node == who.node; });
    rumours_.erase(who.node);
  }
  // Somewhere in the round that is on, so that a newcomer does not wait for the next.
  if (added) turn_.insert(turn_.begin() + static_cast<std::ptrdiff_t>(random_.below(turn_.size() + 1)), who.node);
}

void failure_detector::removed(node_id node) {
  peers_.erase(node);
  rumours_.erase(node);
  std::erase(turn_, node);
  std::erase_if(waiting_, [&](const auto& w) { return w.second.subject.node == node; });
  std::erase_if(errands_, [&](const auto& e) { return e.second.subject.node == node || e.second.asker.node == node; });
}

failure_detector::peer* failure_detector::find(const life& who) {
  const auto found = peers_.find(who.node);
  if (found == peers_.end()) return nullptr;
  const auto former_or_later = found->second.epoch != who.epoch;
  return former_or_later && holds(rule::epoch_fences_former_life) ? nullptr : &found->second;
}

// -- time -------------------------------------------------------------------------------------------------------

failure_detector::effects failure_detector::tick(instant now) {
  effects out;
  forgive_lateness(now);
  expire(now, out);
  if (now >= next_round_) next_round(now, out);
  return out;
}

instant failure_detector::wakes_at() const noexcept {
  auto at = next_round_;
  for (const auto& [_, w] : waiting_) at = std::min(at, w.until);
  for (const auto& [_, e] : errands_) at = std::min(at, e.denied ? e.until : e.deny_at);
  return at;
}

nanoseconds failure_detector::wait() const {
  return settings_.answer_wait * (holds(rule::slow_observer_accuses_late) ? 1 + health_ : 1);
}
void failure_detector::healthier() {
  if (health_ > 0) --health_;
}
void failure_detector::sicker() {
  if (health_ < health_max) ++health_;
}

/// A tick that comes late means that we stood still, and that answers may wait behind it.
void failure_detector::forgive_lateness(instant now) {
  const auto late = now - wakes_at();
  if (late <= settings_.answer_wait / 3) return;
  sicker();
  if (!holds(rule::slow_observer_accuses_late)) return;
  for (auto& [_, w] : waiting_) w.until = now + wait();
  for (auto& [_, e] : errands_) {
    e.deny_at += late;
    e.until += late;
  }
}

void failure_detector::expire(instant now, effects& out) {
  for (auto at = errands_.begin(); at != errands_.end();) {
    auto& [_, e] = *at;
    if (!e.denied && now >= e.deny_at) {
      e.denied = true;
      out.push_back(send{e.asker.node, nack{self_, e.subject, e.sequence, rumours_to_tell()}});
    }
    at = now >= e.until ? errands_.erase(at) : std::next(at);
  }
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    auto& [sequence, w] = *at;
    if (now >= w.until && w.asked == 0 && holds(rule::peers_asked_first)) ask_peers(sequence, w, now, out);
    if (now >= w.until) {
      give_up(sequence, w, now, out);
      at = waiting_.erase(at);
    } else {
      ++at;
    }
  }
}

void failure_detector::next_round(instant now, effects& out) {
  next_round_ = now + settings_.probe_interval;
  if (const auto next = next_in_turn(); peers_.contains(next) && !probing(next)) start_probe(next, now, out);
  // Suspects again, so that a suspicion is fresh or gone: those first whose evidence is oldest.
  std::vector<std::pair<instant, node_id>> suspects;
  for (const auto& [node, p] : peers_)
    if (p.suspected() && !probing(node))
      suspects.emplace_back(
          std::max({p.silent.value_or(instant{}), p.gone.value_or(instant{}), p.no_lease.value_or(instant{})}), node);
  std::sort(suspects.begin(), suspects.end());
  if (suspects.size() > settings_.suspects_probed) suspects.resize(settings_.suspects_probed);
  for (auto [_, node] : suspects) start_probe(node, now, out);
}

/// The node whose turn it is: each once in a round, in an order of chance. -1: we are alone.
node_id failure_detector::next_in_turn() {
  if (turn_.empty()) {
    for (const auto& [node, _] : peers_) turn_.push_back(node);
    for (auto left = turn_.size(); left > 1; --left) std::swap(turn_[left - 1], turn_[random_.below(left)]);
  }
  if (turn_.empty()) return node_id{-1};
  const auto next = turn_.back();
  turn_.pop_back();
  return next;
}

bool failure_detector::probing(node_id node) const {
  return std::any_of(waiting_.begin(), waiting_.end(), [&](const auto& w) { return w.second.subject.node == node; });
}

// -- our own probes -----------------------------------------------------------------------------------------------

void failure_detector::start_probe(node_id node, instant now, effects& out) {
  const life subject{node, peers_.at(node).epoch};
  auto& w = waiting_.emplace(++sequence_, waiting{subject, now + wait()}).first->second;
  out.push_back(send{node, probe{self_, subject, sequence_, rumours_to_tell()}});
  // Of a silent one all are asked at once, or its suspicion would be stale before it is renewed.
  if (const auto why = peers_.at(node).suspected(); why && *why != cause::no_lease) ask_peers(sequence_, w, now, out);
}

/// Starts the wait again; without peers to ask nothing changes.
void failure_detector::ask_peers(std::uint64_t sequence, waiting& w, instant now, effects& out) {
  const auto helpers = some_peers(settings_.helpers, w.subject.node);
  if (helpers.empty()) return;
  w.asked = helpers.size();
  w.until = now + wait();
  for (auto helper : helpers) out.push_back(send{helper, probe_request{self_, w.subject, sequence, rumours_to_tell()}});
}

void failure_detector::give_up(std::uint64_t sequence, const waiting& w, instant now, effects& out) {
  auto* p = find(w.subject);
  if (!p) return;
  const auto news = !p->suspected() || *p->suspected() == cause::no_lease;
  // Of a subject that is silent anyway the silence says nothing about us.
  if (news && !w.denied) sicker();
  p->missed = sequence;
  revise(w.subject.node, *p, out, [&] {
    p->silent = now;
    if (p->gone) p->gone = now;
  });
  if (news) {
    const rumour accusation{{w.subject.node, p->epoch}, p->incarnation, true};
    spread_now(accusation, out);
    // It hears of it also if only we cannot hear its answers.
    out.push_back(send{w.subject.node, gossip{self_, {accusation}}});
  }
}

/// By chance, of those that we trust.
std::vector<node_id> failure_detector::some_peers(std::size_t count, node_id except) {
  std::vector<node_id> out;
  for (const auto& [node, p] : peers_)
    if (node != except && !p.suspected()) out.push_back(node);
  count = std::min(count, out.size());
  for (std::size_t i = 0; i < count; ++i) std::swap(out[i], out[i + random_.below(out.size() - i)]);
  out.resize(count);
  return out;
}

// -- messages -----------------------------------------------------------------------------------------------------

failure_detector::effects failure_detector::received(const message& m, instant now) {
  const auto from = sender_of(m);
  const auto known = peers_.find(from.node);
  effects out;
  if (from.node == self_.node) return out;
  // A life that we do not know yet gets its answer, for our metadata may be behind, but changes nothing.
  const auto* asks = std::get_if<probe>(&m);
  if (asks && (known == peers_.end() || known->second.epoch < from.epoch)) {
    out.push_back(send{from.node, ack{self_, self_, asks->sequence, incarnation_, without_lease(now), {}}});
    return out;
  }
  auto* p = find(from);
  if (!p) return out;
  revise(from.node, *p, out, [&] {
    p->gone.reset();
    p->reset = false;
  });
  std::visit([&](const auto& x) { learn(x.rumours, now, out), on(x, now, out); }, m);
  return out;
}

void failure_detector::on(const probe& m, instant now, effects& out) {
  out.push_back(send{m.from.node, ack{self_, self_, m.sequence, incarnation_, without_lease(now), rumours_to_tell()}});
}

void failure_detector::on(const ack& m, instant now, effects& out) {
  if (const auto found = errands_.find(m.sequence); found != errands_.end()) {
    const auto e = found->second;
    if (e.subject != m.subject) return;
    errands_.erase(found);
    out.push_back(send{e.asker.node, ack{self_, m.subject, e.sequence, m.incarnation, m.without_lease, {}}});
  }
  auto* p = find(m.subject);
  if (!p) return;
  if (const auto found = waiting_.find(m.sequence); found != waiting_.end()) {
    if (found->second.subject != m.subject) return;
    if (found->second.asked == 0) healthier();
    waiting_.erase(found);
    answered(m, *p, now, out);
  } else if (m.sequence != 0 && std::exchange(p->missed, p->missed == m.sequence ? 0 : p->missed) == m.sequence) {
    answered(m, *p, now, out);
  }
}

void failure_detector::answered(const ack& m, peer& p, instant now, effects& out) {
  p.incarnation = std::max(p.incarnation, m.incarnation);
  revise(m.subject.node, p, out, [&] {
    p.silent.reset();
    p.gone.reset();
    p.reset = false;
    p.missed = 0;
    p.no_lease.reset();
    if (m.without_lease >= settings_.lease_missing && holds(rule::unleased_is_suspected)) p.no_lease = now;
  });
}

void failure_detector::on(const probe_request& m, instant now, effects& out) {
  if (m.subject.node == self_.node) return;
  if (errands_.size() == errands_max || !find(m.subject)) {
    out.push_back(send{m.from.node, nack{self_, m.subject, m.sequence, {}}});
    return;
  }
  // The word that there is no answer yet has to be back before the asker gives up; an answer is passed on even later.
  errands_.emplace(++sequence_, errand{m.from, m.subject, m.sequence, now + settings_.answer_wait * 6 / 10,
                                       now + settings_.answer_wait * (1 + health_max)});
  out.push_back(send{m.subject.node, probe{self_, m.subject, sequence_, rumours_to_tell()}});
}

void failure_detector::on(const nack& m, instant, effects&) {
  const auto found = waiting_.find(m.sequence);
  if (found != waiting_.end() && found->second.subject == m.subject) found->second.denied = true;
}

void failure_detector::on(const gossip&, instant, effects&) {}

// -- rumours --------------------------------------------------------------------------------------------------------

void failure_detector::learn(const std::vector<rumour>& rumours, instant now, effects& out) {
  for (const auto& r : rumours) {
    if (r.subject.node == self_.node) {
      if (r.suspected && (r.subject == self_ || !holds(rule::epoch_fences_former_life))) refute(r, out);
      continue;
    }
    auto* p = find(r.subject);
    if (!p) continue;
    const auto node = r.subject.node;
    if (r.suspected) {
      const auto known = rumours_.find(node);
      if (r.incarnation < p->incarnation) continue;
      if (known != rumours_.end() && known->second.what == r) continue;
      p->incarnation = r.incarnation;
      spread(r);
      if (!p->suspected() && !probing(node)) start_probe(node, now, out);
    } else {
      if (r.incarnation <= p->incarnation && holds(rule::refutation_is_newer)) continue;
      p->incarnation = std::max(p->incarnation, r.incarnation);
      const auto was_silent = p->silent.has_value();
      revise(node, *p, out, [&] { p->silent.reset(); });
      spread(r);
      // It was alive when it said so. Whether it still is we ask ourselves.
      if (was_silent && !probing(node)) start_probe(node, now, out);
    }
  }
}

void failure_detector::refute(const rumour& accusation, effects& out) {
  if (accusation.incarnation < incarnation_) return;
  incarnation_ = accusation.incarnation + 1;
  sicker();
  spread_now({self_, incarnation_, false}, out);
}

void failure_detector::spread(const rumour& r) {
  const auto rounds = static_cast<unsigned>(std::bit_width(peers_.size() + 1));
  rumours_[r.subject.node] = {r, 3 * rounds};
}

void failure_detector::spread_now(const rumour& r, effects& out) {
  spread(r);
  for (auto node : some_peers(settings_.helpers, r.subject.node)) out.push_back(send{node, gossip{self_, {r}}});
}

std::vector<rumour> failure_detector::rumours_to_tell() {
  std::vector<told*> waiting_to_be_told;
  for (auto& [_, t] : rumours_)
    if (t.times > 0) waiting_to_be_told.push_back(&t);
  std::stable_sort(waiting_to_be_told.begin(), waiting_to_be_told.end(),
                   [](const told* a, const told* b) { return a->times > b->times; });
  if (waiting_to_be_told.size() > settings_.rumours_per_message)
    waiting_to_be_told.resize(settings_.rumours_per_message);
  std::vector<rumour> out;
  for (auto* t : waiting_to_be_told) {
    --t->times;
    out.push_back(t->what);
  }
  return out;
}

// -- links and leases -------------------------------------------------------------------------------------------------

failure_detector::effects failure_detector::link_reset(life who, instant now) {
  effects out;
  auto* p = find(who);
  if (!p || !settings_.trust_refused) return out;
  p->reset = true;
  if (!holds(rule::gone_needs_reset_and_refusal)) revise(who.node, *p, out, [&] { p->gone = now; });
  return out;
}

failure_detector::effects failure_detector::connect_refused(node_id node, instant now) {
  effects out;
  const auto found = peers_.find(node);
  if (found == peers_.end() || !settings_.trust_refused) return out;
  auto& p = found->second;
  if (!p.reset && holds(rule::gone_needs_reset_and_refusal)) return out;
  revise(node, p, out, [&] { p.gone = now; });
  return out;
}

failure_detector::effects failure_detector::heard(life who, instant) {
  effects out;
  if (auto* p = find(who)) {
    revise(who.node, *p, out, [&] {
      p->gone.reset();
      p->reset = false;
    });
  }
  return out;
}

void failure_detector::lease_held() {
  unleased_since_.reset();
}
void failure_detector::lease_missing(instant since) {
  if (!unleased_since_) unleased_since_ = since;
}
milliseconds failure_detector::without_lease(instant now) const {
  if (!unleased_since_ || now <= *unleased_since_) return {};
  return std::chrono::ceil<milliseconds>(now - *unleased_since_);
}

// -- suspicions -------------------------------------------------------------------------------------------------------

std::optional<cause> failure_detector::peer::suspected() const {
  if (gone) return cause::gone;
  if (silent) return cause::silent;
  if (no_lease) return cause::no_lease;
  return std::nullopt;
}

template <class Change>
void failure_detector::revise(node_id node, peer& p, effects& out, Change change) {
  const auto before = p.suspected();
  change();
  const auto after = p.suspected();
  if (before == after) return;
  if (after) {
    out.push_back(raised{{{node, p.epoch}, *after, *(p.gone ? p.gone : p.silent ? p.silent : p.no_lease)}});
  } else {
    out.push_back(cleared{{node, p.epoch}});
  }
}

std::vector<suspicion> failure_detector::suspicions() const {
  std::vector<suspicion> out;
  for (const auto& [node, p] : peers_)
    if (const auto why = p.suspected())
      out.push_back({{node, p.epoch}, *why, *(p.gone ? p.gone : p.silent ? p.silent : p.no_lease)});
  return out;
}

}  // namespace troupe::membership
