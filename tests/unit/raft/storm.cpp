#include "tests/unit/raft/storm.hpp"

#include <algorithm>
#include <numeric>
#include <sstream>

namespace troupe::raft_test {

storm::storm(std::uint64_t seed) : random_{seed} {
  const auto small = [&](std::size_t max) { return 1 + random_.below(max); };
  options_.append_entries_max = small(20);
  options_.append_bytes_max = 100 + random_.below(2000);
  options_.in_flight_bytes_max = 200 + random_.below(4000);
  options_.uncommitted_max = 5 + random_.below(100);
  options_.piece_bytes = 8 + random_.below(60);
  options_.reads_max = 20;
  options_.clients_max = 2 + random_.below(5);
  options_.keep_behind = static_cast<std::int64_t>(random_.below(12));
  options_.learner_lag_max = static_cast<std::int64_t>(random_.below(4));
  loss_ = random_.chance(0.5) ? 0.02 : 0.1;
  repeat_ = 0.03;
  slow_message_ = random_.chance(0.5) ? 0.02 : 0.15;
  client_gap_ = random_.chance(0.4) ? 300 : 4000;
  fault_gap_ = between(100, 1000) * ms;
  crash_chance_ = random_.chance(0.5) ? 0.01 : 0.001;
  for (auto& w : weights_) w = random_.chance(0.3) ? 0 : random_.chance(0.5) ? 1 : 5;
  weights_[0] = 3;
  weights_total_ = std::accumulate(weights_.begin(), weights_.end(), std::int64_t{0});
  churn_ = random_.chance(0.5);
  wipes_left_ = static_cast<int>(random_.below(3));

  const int voters = random_.chance(0.6) ? 3 : 5;
  const int nodes = voters + 1 + (churn_ ? 2 : 0);
  std::vector<raft_peer> first;
  for (int n = 1; n <= voters; ++n) first.push_back(peer(n));
  for (int n = 1; n <= nodes; ++n) {
    auto& m = members_[n];
    m.self = peer(n);
    if (n <= voters) m.kept = formatted(first);
    m.rate = random_.chance(0.3) ? 0.91 + 0.18 * random_.chance(0.5) : 0.91 + 0.0018 * double(random_.below(101));
    m.offset = between(0, 1000000) * ms;
    m.slow_disk = random_.chance(0.35);
  }
  decided_members_ = members_[1].kept.members();
  clients_.resize(2 + random_.below(3));
  for (auto& c : clients_) {
    c.id = {++client_ids_, {}};
    c.window = random_.chance(0.5) ? 1 : 3;
  }
}

std::string storm::run() {
  for (auto& [n, m] : members_) start(n);
  for (std::size_t c = 0; c < clients_.size(); ++c) in(between(0, 500) * ms, [this, c] { client_turn(c); });
  in(500 * ms, [this] { admin_turn(); });
  in(1000 * ms, [this] { fault_turn(); });
  run_until(30'000 * ms);
  if (broken_.empty()) settle();
  return broken_;
}

void storm::fail(const std::string& what) {
  if (!broken_.empty()) return;
  std::ostringstream text;
  text << "at " << now_ / ms << " ms: " << what;
  for (auto& [n, m] : members_) {
    text << "\n  node " << n;
    if (!m.core) continue;
    text << " role " << static_cast<int>(m.core->role()) << " term " << m.core->term().value() << " committed "
         << m.core->committed().value() << " last " << m.core->last().value() << " on disk " << m.kept.last().value()
         << (m.core->stopped() ? " stopped" : "") << " writing " << m.unwritten.size() << " for "
         << (m.disk_free_at - now_) / ms << " ms"
         << " members";
    for (auto& o : m.core->members()) text << ' ' << o.peer.node.value() << (o.voter ? "v" : "l");
  }
  broken_ = text.str();
}

std::int64_t storm::between(std::int64_t a, std::int64_t b) {
  return a + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(b - a) + 1));
}

void storm::in(std::int64_t delay, std::function<void()> what) {
  events_.push({now_ + delay, ++order_, std::move(what)});
}

instant storm::clock(const member& m) const {
  const auto local = m.offset + static_cast<std::int64_t>(static_cast<double>(now_) * m.rate);
  return instant{std::chrono::microseconds{local}};
}

void storm::at(int node, std::int64_t delay, std::function<raft::effects(member&)> what) {
  const auto life = members_[node].life;
  in(delay, [this, node, life, what = std::move(what)]() mutable {
    auto& m = members_[node];
    if (m.life != life || !m.core) return;
    if (m.paused_until > now_) return at(node, m.paused_until - now_, std::move(what));
    perform(m, what(m));
    if (m.core) watch(m);
  });
}

void storm::run_until(std::int64_t time) {
  while (broken_.empty() && !events_.empty() && events_.top().at <= time) {
    auto next = std::move(const_cast<event&>(events_.top()));
    events_.pop();
    now_ = next.at;
    next.what();
    watch_grants();
  }
  now_ = std::max(now_, time);
}

// -- nodes --------------------------------------------------------------------------------------------------

void storm::start(int node) {
  auto& m = members_[node];
  if (m.core) return;
  if (const auto sound = raft::sound(m.self, m.kept.stored()); !sound.ok())
    return fail("node " + std::to_string(node) + " cannot start: " + sound.error().text);
  ++m.life;
  m.memory = m.kept;
  m.image = image::of(m.kept.snapshot.get());
  m.disk_free_at = now_;
  m.paused_until = 0;
  m.core = std::make_unique<raft>(m.self, options_, m.kept.stored(), random_source{random_()}, clock(m));
  tick(node);
}

void storm::tick(int node) {
  const auto every = static_cast<std::int64_t>(50 * ms / members_[node].rate);
  at(node, every, [this, node](member& m) {
    tick(node);
    return m.core->tick(clock(m));
  });
}

/// Some of the writes on their way are on the disk, in order; of one with a snapshot perhaps only that.
void storm::crash(int node) {
  auto& m = members_[node];
  if (!m.core) return;
  const auto kept = random_.below(m.unwritten.size() + 1);
  for (std::size_t i = 0; i < kept; ++i) m.kept.perform(m.unwritten[i]);
  if (kept < m.unwritten.size() && m.unwritten[kept].snapshot && random_.chance(0.5))
    m.kept.snapshot = m.unwritten[kept].snapshot;
  m.unwritten.clear();
  m.core.reset();
  ++m.life;
  if (random_.chance(0.5)) {
    const auto life = m.life;
    for (auto& [n, other] : members_)
      if (n != node && other.core) {
        at(n, between(1, 30) * ms, [this, node, life](member& o) {
          if (members_[node].life != life) return raft::effects{};
          return o.core->peer_gone(clock(o), node_id{node});
        });
      }
  }
}

/// One disk is lost at a time: the next only when the quorum has put another in its place.
bool storm::may_wipe(int node) const {
  std::size_t voters = 0;
  bool in = false;
  for (auto& m : decided_members_) {
    if (!m.voter) continue;
    ++voters;
    in = in || m.peer == members_.at(node).self;
    if (members_.at(m.peer.node.value()).self != m.peer) return false;
  }
  for (auto& [n, m] : members_)
    for (auto* d : {&m.kept, &m.memory})
      for (auto& e : d->entries)
        if (e.kind == raft_entry::kind_t::members && e.index > decided_members_at_) return false;
  return in && voters >= 3;
}

void storm::wipe(int node) {
  crash(node);
  auto& m = members_[node];
  m.kept = {};
  m.memory = {};
  m.self = peer(node, ++m.disks);
}

// -- watching -----------------------------------------------------------------------------------------------

void storm::perform(member& m, raft::effects todo) {
  for (auto& e : todo) {
    if (!broken_.empty()) return;
    std::visit([&](auto& one) { on(m, one); }, e);
    // The moments around a leader's decisions are the telling ones.
    if (stormy_ && m.core->role() == raft::role_t::leader && random_.chance(crash_chance_))
      return crash_and_return(m.self.node.value());
  }
}

void storm::watch(member& m) {
  if (m.core->role() != raft::role_t::leader) return;
  const auto term = m.core->term();
  const auto [known, first] = leaders_.emplace(term, m.self.node.value());
  if (known->second != m.self.node.value()) return fail("I15: two leaders in term " + std::to_string(term.value()));
  if (!first) return;
  for (auto i = raft_index{1}; i.value() <= static_cast<std::int64_t>(decided_.size()); i = i + 1) {
    const auto& d = decided_[static_cast<std::size_t>(i.value()) - 1];
    if (d.in >= term || (m.memory.snapshot && i < m.memory.snapshot->index)) continue;
    if (m.memory.term_at(i) != d.term)
      return fail("I17: the leader of term " + std::to_string(term.value()) + " lacks entry " +
                  std::to_string(i.value()));
  }
}

void storm::watch_grants() {
  int granting = 0;
  for (auto& [n, m] : members_) {
    if (!m.core || m.paused_until > now_) continue;
    const auto contact = m.core->majority_contact(clock(m));
    if (contact && clock(m) - *contact < std::chrono::milliseconds{800}) ++granting;
  }
  if (granting > 1) fail("R9: two nodes may grant leases");
}

void storm::on(member& m, raft::write& w) {
  for (auto& e : w.entries) {
    const auto previous = w.entries.front().index == e.index
                              ? m.memory.term_at(e.index - 1).value_or(raft_term{})
                              : w.entries[static_cast<std::size_t>(e.index - w.entries.front().index) - 1].term;
    const std::pair content{previous, content_of(e)};
    const auto [known, added] = entries_.emplace(std::pair{e.index, e.term}, content);
    if (!added && known->second != content) fail("I16: entry " + std::to_string(e.index.value()) + " differs");
    if (added && e.kind == raft_entry::kind_t::members) {
      for (auto& one : e.members) {
        const auto same = [&](const raft_member& o) { return o.peer == one.peer && o.voter; };
        const auto& was = m.memory.members();
        const auto& promoted = members_[one.peer.node.value()];
        if (!one.voter || promoted.self != one.peer || std::any_of(was.begin(), was.end(), same)) continue;
        if (promoted.memory.last() + options_.learner_lag_max < m.memory.last())
          fail("R4: node " + std::to_string(one.peer.node.value()) + " votes before it has caught up");
      }
    }
  }
  m.memory.perform(w);
  m.unwritten.push_back(std::move(w));
  const auto number = m.unwritten.back().number;
  const bool slow = m.slow_disk && stormy_;
  m.disk_free_at =
      std::max(m.disk_free_at, now_) + (slow ? between(5, random_.chance(0.1) ? 1500 : 60) * ms : between(100, 2 * ms));
  const bool fails = stormy_ && random_.chance(0.0005);
  at(m.self.node.value(), m.disk_free_at - now_, [this, number, fails](member& o) {
    if (fails && stormy_) {
      in(between(0, 2000) * ms, [this, node = o.self.node.value()] { crash_and_return(node); });
      return o.core->disk_failed();
    }
    if (o.core->stopped()) return raft::effects{};
    while (!o.unwritten.empty() && o.unwritten.front().number <= number) {
      o.kept.perform(o.unwritten.front());
      o.unwritten.pop_front();
    }
    return o.core->written(clock(o), number);
  });
}

void storm::on(member& m, raft::send& s) {
  const auto& message = s.message;
  std::optional<raft_peer> vote;
  if (const auto* reply = std::get_if<raft_vote_reply>(&message.body); reply && reply->granted) vote = message.to;
  if (std::holds_alternative<raft_vote>(message.body)) vote = m.self;
  if (vote && votes_.emplace(std::pair{m.self, message.term}, *vote).first->second != *vote)
    fail("I19: node " + std::to_string(m.self.node.value()) + " voted twice in term " +
         std::to_string(message.term.value()));
  const int from = m.self.node.value(), to = message.to.node.value();
  const int copies = !stormy_ ? 1 : random_.chance(loss_) ? 0 : random_.chance(repeat_) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const auto delay = stormy_ && random_.chance(slow_message_) ? between(0, random_.chance(0.1) ? 4000 : 300) * ms
                                                                : between(100, 3 * ms);
    in(delay, [this, from, to, message] {
      if (const auto c = cut_.find({from, to}); stormy_ && c != cut_.end() && c->second > 0) return;
      at(to, 0, [this, message](member& o) { return o.core->step(clock(o), message); });
    });
  }
}

void storm::on(member& m, raft::commit& c) {
  for (auto& e : c.entries) {
    if (e.what.index != m.image.index + 1) return fail("commit: not dense");
    if (!m.image.apply(e)) return fail("R8: a command was applied twice or left out");
    const auto place = static_cast<std::size_t>(e.what.index.value());
    const decision d{e.what.term, m.core->term(), content_of(e.what), m.image.hash, e.outcome};
    if (place == decided_.size() + 1) {
      decided_.push_back(d);
      if (e.what.kind == raft_entry::kind_t::members) {
        decided_members_ = e.what.members;
        decided_members_at_ = e.what.index;
      }
      if (e.what.kind == raft_entry::kind_t::command && e.outcome == raft_outcome::done)
        effects_[{e.what.client, e.what.sequence}] = e.what.index;
    } else if (place > decided_.size() || decided_[place - 1].content != d.content ||
               decided_[place - 1].outcome != d.outcome || decided_[place - 1].hash != d.hash) {
      return fail("I18: node " + std::to_string(m.self.node.value()) + " decides otherwise at " +
                  std::to_string(place));
    }
  }
  if (m.image.index - m.core->snapshot_index() < 10 || !random_.chance(0.2)) return;
  // The owner writes its snapshot at leisure; meanwhile the quorum goes on.
  at(m.self.node.value(), 0, [this](member& o) {
    auto s = o.core->head();
    if (s.index != o.image.index) fail("head: not what is applied");
    s.image = o.image.bytes();
    at(o.self.node.value(), between(0, 300) * ms,
       [whole = std::make_shared<const raft_snapshot>(std::move(s))](member& x) { return x.core->compacted(whole); });
    return raft::effects{};
  });
}

void storm::on(member& m, raft::install& i) {
  m.image = image::of(i.snapshot.get());
  const auto place = static_cast<std::size_t>(m.image.index.value());
  if (m.image.index != i.snapshot->index || place == 0 || place > decided_.size() ||
      decided_[place - 1].hash != m.image.hash)
    fail("I18: a snapshot that nobody decided");
}

void storm::on(member& m, raft::stop& s) {
  fail("node " + std::to_string(m.self.node.value()) + " stopped: " + s.why);
}

// -- clients ------------------------------------------------------------------------------------------------

int storm::some_node() {
  auto n = members_.begin();
  std::advance(n, static_cast<std::ptrdiff_t>(random_.below(members_.size())));
  return n->first;
}

/// Anyone who believes to lead, perhaps no longer rightly.
int storm::some_leader() {
  std::vector<int> found;
  for (auto& [n, m] : members_)
    if (m.core && m.core->role() == raft::role_t::leader) found.push_back(n);
  return found.empty() ? some_node() : found[random_.below(found.size())];
}

void storm::client_turn(std::size_t c) {
  if (c >= clients_.size()) return;
  auto& one = clients_[c];
  in(between(20, stormy_ ? client_gap_ : 200) * ms, [this, c] { client_turn(c); });
  const int node = random_.chance(0.9) ? some_leader() : some_node();
  if (random_.chance(0.5)) {
    for (auto& [n, m] : members_) {
      if (!m.core || (n != node && m.core->role() != raft::role_t::leader)) continue;
      const auto token = ++tokens_;
      reads_[token] = answered_;
      at(n, 0, [this, token](member& o) { return o.core->read(clock(o), token); });
    }
  }
  for (std::uint64_t s = one.acked + 1; s <= one.acked + one.window; ++s) {
    if (one.done.contains(s)) continue;
    const auto text = std::to_string(one.id.id) + "/" + std::to_string(s);
    at(node, 0, [this, id = one.id, s, text](member& m) {
      return m.core->propose(clock(m), id, s, shared_bytes::copy_of(as_bytes(text)));
    });
  }
}

void storm::on(member&, raft::proposed& p) {
  const auto c = std::find_if(clients_.begin(), clients_.end(), [&](const client& o) { return o.id == p.client; });
  if (p.outcome == raft_outcome::done || p.outcome == raft_outcome::repeated) {
    const auto place = effects_.find({p.client, p.sequence});
    if (place == effects_.end() || place->second > p.index) return fail("answered, but not decided");
    answered_ = std::max(answered_, place->second);
    if (c == clients_.end()) return;
    c->done.insert(p.sequence);
    while (c->done.erase(c->acked + 1)) ++c->acked;
  } else if (p.outcome == raft_outcome::expired && c != clients_.end()) {
    c->id = {++client_ids_, raft_index{static_cast<std::int64_t>(decided_.size())}};
    c->acked = 0;
    c->done.clear();
  }
}

void storm::on(member& m, raft::read_ready& r) {
  const auto asked = reads_.find(r.token);
  if (asked == reads_.end()) return fail("a read answered twice");
  if (r.outcome == raft_outcome::done) {
    if (r.index < asked->second || m.image.index < r.index) fail("R8: a stale read");
    answered_ = std::max(answered_, r.index);
  }
  reads_.erase(asked);
}

// -- trouble ------------------------------------------------------------------------------------------------

void storm::admin_turn() {
  if (!stormy_) return;
  in((churn_ ? between(50, 600) : between(500, 3000)) * ms, [this] { admin_turn(); });
  at(some_leader(), 0, [this](member& m) { return administer(m); });
}

/// A change of the members, or a hand-over. While a disk is lost, no other voter is taken away.
raft::effects storm::administer(member& m) {
  if (random_.chance(0.08)) return m.core->hand_over(clock(m), node_id{some_node()});
  const auto there = [&](const raft_peer& p) { return members_[p.node.value()].self == p; };
  auto target = members_[some_node()].self;
  auto wanted = static_cast<raft::part>(random_.below(3));
  std::size_t voters = 0;
  bool lost = false;
  for (auto& o : m.core->members()) {
    voters += o.voter;
    lost = lost || (o.voter && !there(o.peer));
    if (!there(o.peer) && random_.chance(0.7)) {
      target = o.peer;
      wanted = raft::part::none;
    }
  }
  if (wanted != raft::part::voter && there(target) && (lost || voters <= (churn_ ? 2u : 3u))) return {};
  auto todo = m.core->change(clock(m), ++tokens_, target, wanted);
  if (churn_ && !lost && random_.chance(0.3)) {  // must be refused
    auto more = m.core->change(clock(m), ++tokens_, members_[some_node()].self, wanted);
    std::move(more.begin(), more.end(), std::back_inserter(todo));
  }
  return todo;
}

/// For a while nothing goes from one to the other.
void storm::cut(int from, int to, std::int64_t time) {
  ++cut_[{from, to}];
  in(time, [this, from, to] { --cut_[{from, to}]; });
}

/// A node that nobody hears, and that hears nobody, must notice.
void storm::isolate(int node) {
  const auto time = between(500, 7000) * ms;
  for (auto& [n, m] : members_) {
    if (n == node) continue;
    cut(n, node, time);
    cut(node, n, time);
  }
  // What waits for a paused node still reaches it.
  if (!members_[node].core || time < 2300 * ms || members_[node].paused_until > now_) return;
  const auto term = members_[node].core->term();
  at(node, time - 1, [this, term, until = now_ + time](member& m) {
    const auto& set = m.core->members();
    const auto voters = std::count_if(set.begin(), set.end(), [](const raft_member& o) { return o.voter; });
    if (!stormy_ || now_ > until || voters < 2 || m.paused_until + 2300 * ms > now_) return raft::effects{};
    if (m.core->role() == raft::role_t::leader && m.paused_until + 100 * ms < now_)
      fail("R5: a node alone still leads");
    if (m.core->term().value() > term.value() + 1) fail("R5: a node alone raised its term");
    return raft::effects{};
  });
}

void storm::crash_and_return(int node) {
  crash(node);
  in(between(10, random_.chance(0.7) ? 400 : 4000) * ms, [this, node] { start(node); });
}

void storm::fault_turn() {
  if (!stormy_) return;
  in(between(fault_gap_ / 4, fault_gap_ * 2), [this] { fault_turn(); });
  const int node = random_.chance(0.6) ? some_leader() : some_node();
  auto left = static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(weights_total_)));
  int kind = 0;
  while (left >= weights_[static_cast<std::size_t>(kind)]) left -= weights_[static_cast<std::size_t>(kind++)];
  const auto time = between(200, random_.chance(0.5) ? 2500 : 5000) * ms;
  switch (static_cast<fault>(kind)) {
    case fault::crash:
      return crash_and_return(node);
    case fault::crash_many:
      for (auto& [n, m] : members_)
        if (random_.chance(0.5)) crash_and_return(n);
      return;
    case fault::isolate:
      return isolate(node);
    case fault::halves: {
      std::set<int> left_side;
      for (auto& [n, m] : members_)
        if (random_.chance(0.5)) left_side.insert(n);
      for (auto& [a, x] : members_)
        for (auto& [b, y] : members_)
          if (left_side.contains(a) != left_side.contains(b)) cut(a, b, time);
      return;
    }
    case fault::link: {  // one way or both
      const int other = some_node();
      cut(node, other, time);
      if (random_.chance(0.7)) cut(other, node, time);
      return;
    }
    case fault::pause:
      members_[node].paused_until = now_ + between(50, 3000) * ms;
      return;
    case fault::disk_speed:
      members_[node].slow_disk = !members_[node].slow_disk;
      return;
    case fault::wipe:
      if (wipes_left_ > 0 && may_wipe(node)) {
        --wipes_left_;
        wipe(node);
        start(node);
        if (const int other = some_leader(); random_.chance(0.5)) crash_and_return(other);
      }
      return;
    case fault::count:
      break;
  }
}

void storm::settle() {
  stormy_ = false;
  for (auto& [n, m] : members_) {
    if (m.core && m.core->stopped()) crash(n);
    m.paused_until = 0;
    start(n);
  }
  run_until(now_ + 12'000 * ms);
  const auto before = answered_;
  run_until(now_ + 3'000 * ms);
  if (!broken_.empty()) return;
  if (answered_ == before) return fail("P5: nothing is decided any more");
  clients_.clear();
  run_until(now_ + 6'000 * ms);
  const auto owed = raft_index{static_cast<std::int64_t>(decided_.size())};
  for (auto& m : decided_members_) {
    const auto& o = members_[m.peer.node.value()];
    if (broken_.empty() && o.self == m.peer && o.core->committed() < owed)
      fail("P5: node " + std::to_string(m.peer.node.value()) + " does not catch up");
  }
}

}  // namespace troupe::raft_test
