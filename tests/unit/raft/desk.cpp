#include "tests/unit/raft/desk.hpp"

#include <algorithm>

#include "runtime/base/check.hpp"

namespace troupe::raft_test {

using namespace std::chrono_literals;

desk::desk(int voters, raft_options options) : options_{options} {
  std::vector<raft_peer> all;
  for (int n = 1; n <= voters; ++n) all.push_back(peer(n));
  for (int n = 1; n <= voters; ++n) {
    members_[n].self = peer(n);
    members_[n].kept = formatted(all);
    start(n);
  }
}

void desk::add(int node, int disk) {
  auto& m = members_[node];
  m = {};
  m.self = peer(node, disk);
  start(node);
}

void desk::crash(int node) {
  auto& m = members_.at(node);
  m.core.reset();
  m.unwritten.clear();
}

void desk::start(int node) {
  auto& m = members_.at(node);
  m.state = image::of(m.kept.snapshot.get());
  m.decided.clear();
  m.core =
      std::make_unique<raft>(m.self, options_, m.kept.stored(), random_source{static_cast<std::uint64_t>(node)}, now);
}

void desk::perform(int node, raft::effects todo) {
  auto& m = members_.at(node);
  for (auto& e : todo) {
    if (auto* w = std::get_if<raft::write>(&e)) m.unwritten.push_back(std::move(*w));
    if (auto* s = std::get_if<raft::send>(&e)) net.push_back(std::move(s->message));
    if (auto* p = std::get_if<raft::proposed>(&e)) proposed.push_back(*p);
    if (auto* r = std::get_if<raft::read_ready>(&e)) reads.push_back(*r);
    if (auto* c = std::get_if<raft::changed>(&e)) changed.push_back(*c);
    if (auto* s = std::get_if<raft::stop>(&e)) stopped.push_back(*s);
    leading += std::holds_alternative<raft::leading>(e);
    stepped_down += std::holds_alternative<raft::stepped_down>(e);
    if (auto* i = std::get_if<raft::install>(&e)) {
      m.state = image::of(i->snapshot.get());
      ++installed;
    }
    if (auto* c = std::get_if<raft::commit>(&e)) {
      for (auto& one : c->entries) {
        contradiction |= !m.state.apply(one);
        contradiction |= decided_.emplace(one.what.index, content_of(one.what)).first->second != content_of(one.what);
        m.decided[one.what.index] = one.what;
      }
    }
  }
  if (!slow.contains(node)) finish_writes(node);
}

void desk::finish_writes(int node) {
  auto& m = members_.at(node);
  if (!m.core || m.unwritten.empty()) return;
  const auto number = m.unwritten.back().number;
  for (auto& w : std::exchange(m.unwritten, {})) m.kept.perform(w);
  perform(node, m.core->written(now, number));
}

void desk::tick(int node) {
  perform(node, (*this)[node].tick(now));
}

void desk::deliver_one(const raft_message& m) {
  const int to = m.to.node.value();
  if (up(to)) perform(to, (*this)[to].step(now, m));
}

void desk::deliver() {
  for (int i = 0; !net.empty(); ++i) {
    TROUPE_CHECK(i < 100'000);
    const auto m = net.front();
    net.erase(net.begin());
    if (lets(m)) deliver_one(m);
  }
}

void desk::elect(int node) {
  for (int i = 0; (*this)[node].role() != raft::role_t::leader; ++i) {
    TROUPE_CHECK(i < 10);
    pass(2001ms);
    tick(node);
    deliver();
  }
}

void desk::beat(int node) {
  pass(150ms);
  tick(node);
  deliver();
}

raft::proposed desk::propose(int node, std::uint64_t sequence, const std::string& text, raft_client client) {
  const auto before = proposed.size();
  perform(node, (*this)[node].propose(now, client, sequence, shared_bytes::copy_of(as_bytes(text))));
  deliver();
  return proposed.size() > before ? proposed.back() : raft::proposed{.outcome = raft_outcome::lost};
}

raft_outcome desk::change(int node, raft_peer who, raft::part wanted) {
  const auto before = changed.size();
  perform(node, (*this)[node].change(now, ++tokens_, who, wanted));
  deliver();
  return changed.size() > before ? changed.back().outcome : raft_outcome::lost;
}

void desk::compact(int node) {
  auto s = (*this)[node].head();
  s.image = members_.at(node).state.bytes();
  perform(node, (*this)[node].compacted(std::make_shared<const raft_snapshot>(std::move(s))));
}

void desk::only(std::set<int> nodes) {
  lets = [nodes = std::move(nodes)](const raft_message& m) {
    return nodes.contains(m.from.node.value()) && nodes.contains(m.to.node.value());
  };
}

std::string desk::text_at(int node, int index) const {
  const auto& decided = members_.at(node).decided;
  const auto found = decided.find(raft_index{index});
  return found == decided.end() ? "" : std::string{as_text(found->second.payload)};
}

bool old_entries_are_not_counted() {
  desk d{5, {.append_entries_max = 1}};
  d.elect(1);
  d.beat(1);
  d.only({1, 2});
  d.propose(1, 1, "a");  // entry 2 of term 1, at 1 and 2
  d.crash(1);

  // 5 leads term 2 with an entry 2 of its own that nobody else gets.
  d.lets = [](const raft_message& m) {
    const auto in = [](int n) { return n >= 3; };
    return in(m.from.node.value()) && in(m.to.node.value()) && !std::holds_alternative<raft_append>(m.body);
  };
  d.elect(5);
  d.crash(5);

  // 1 leads again and brings "a" to 3, but its no-op, entry 3, is on no other disk.
  d.start(1);
  d.slow = {2};
  d.lets = [&](const raft_message& m) {
    const auto* a = std::get_if<raft_append>(&m.body);
    if (a && m.to.node == node_id{3} && d.disk_of(3).last() == raft_index{2}) return a->entries.empty();
    return m.from.node.value() <= 3 && m.to.node.value() <= 3;
  };
  for (int i = 0; d[1].role() != raft::role_t::leader && i < 10; ++i) {
    d.pass(2001ms);
    d.tick(1);
    // 2's disk is slow only once it has voted.
    while (!d.net.empty() && d[1].role() != raft::role_t::leader) {
      const auto m = d.net.front();
      d.net.erase(d.net.begin());
      if (d.lets(m)) d.deliver_one(m);
      if (d[1].role() != raft::role_t::leader) d.finish_writes(2);
    }
  }
  d.deliver();
  d.beat(1);
  d.beat(1);
  TROUPE_CHECK(d.disk_of(3).last() == raft_index{2} && d.disk_of(2).last() == raft_index{2});
  d.crash(1);
  d.crash(2);
  d.slow.clear();
  d.start(2);

  d.start(5);
  d.lets = [](const raft_message&) { return true; };
  d.elect(5);
  d.beat(5);
  TROUPE_CHECK(d[5].committed() >= raft_index{3});
  return !d.contradiction;
}

bool changes_wait_for_the_no_op() {
  desk d{4};
  d.elect(1);
  d.add(5);
  d.change(1, peer(5), raft::part::learner);
  d.beat(1);
  for (int n : {1, 2, 3, 4}) d.compact(n);

  // 1 leads again, and only 5 hears of it: a set of five.
  d.crash(1);
  d.start(1);
  d.lets = [](const raft_message& m) {
    return !std::holds_alternative<raft_append>(m.body) || m.to.node == node_id{5};
  };
  d.elect(1);
  // The others hear it too, but lose what they have not yet written.
  d.lets = [](const raft_message&) { return true; };
  d.slow = {2, 3, 4};
  d.beat(1);
  d.change(1, peer(5), raft::part::voter);
  d.slow.clear();
  for (int n : {1, 2, 3, 4}) d.crash(n);
  for (int n : {2, 3, 4}) d.start(n);

  // 2 leads, and only 3 hears of it: a set of three.
  d.lets = [](const raft_message& m) {
    return m.to.node != node_id{5} && (!std::holds_alternative<raft_append>(m.body) || m.to.node == node_id{3});
  };
  d.elect(2);
  d.deliver();
  d.change(2, peer(1), raft::part::none);
  d.beat(2);
  d.crash(2);
  d.crash(3);

  // 1, 4 and 5 are a majority of five.
  d.start(1);
  d.lets = [](const raft_message&) { return true; };
  for (int i = 0; i < 5 && d[1].role() != raft::role_t::leader; ++i) {
    d.pass(2001ms);
    d.tick(1);
    d.deliver();
  }
  if (d[1].role() == raft::role_t::leader) d.beat(1);
  return !d.contradiction;
}

bool one_node_grants(bool third_starts_again) {
  desk d{3};
  d.elect(1);
  d.lets = [](const raft_message& m) { return m.from == peer(3) || m.to == peer(3); };
  for (int i = 0; i < 14; ++i) d.beat(1);
  if (third_starts_again) {
    d.crash(3);
    d.start(3);
  }
  d.tick(2);
  d.deliver();
  int granting = 0;
  for (int n : {1, 2}) {
    const auto contact = d[n].majority_contact(d.now);
    granting += contact && d.now - *contact < 800ms;
  }
  return granting == 1;
}

}  // namespace troupe::raft_test
