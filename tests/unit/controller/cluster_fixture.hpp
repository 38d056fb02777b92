#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/controller/cluster_controller.hpp"
#include "tests/unit/controller/fixtures.hpp"

/// A controller with nodes that say what a test lets them say, and a quorum that commits at once or when told to.
namespace troupe::test {

using namespace std::chrono_literals;
using controller_t = cluster_controller;

inline uuid disk_of(int node, int disk = 0) {
  return id_of(static_cast<std::uint64_t>(1000 * (disk + 1) + node));
}

/// What must hold of any image (I11), and between two that follow each other (I8, I13). Empty: it does.
inline std::string disorder(const metadata_image& before, const metadata_image& after) {
  const auto in = [](const std::vector<node_id>& list, node_id n) { return std::ranges::count(list, n) > 0; };
  for (const auto& [name, t] : after.topics)
    for (std::size_t i = 0; i < t->partitions.size(); ++i) {
      const auto& p = t->partitions[i];
      const auto at = name + "/" + std::to_string(i) + ": ";
      std::set<node_id> nodes, isr{p.isr.begin(), p.isr.end()};
      for (const auto& r : p.replicas) nodes.insert(r.node);
      if (p.replicas.empty() || nodes.size() != p.replicas.size()) return at + "replicas are not distinct nodes";
      if (isr.size() != p.isr.size()) return at + "a node is twice in the ISR";
      for (const auto* list : {&p.isr, &p.elr, &p.last_known_elr, &p.adding, &p.removing})
        for (auto n : *list)
          if (!nodes.contains(n)) return at + "a node that is no replica";
      for (auto n : p.isr) {
        const auto* node = after.node(n);
        if (node == nullptr || !node->serves()) return at + "a fenced node in the ISR";
        if (in(p.elr, n)) return at + "ISR and ELR overlap";
      }
      const auto min = static_cast<std::size_t>(min_in_sync(t->settings.min_insync_replicas, p));
      if (isr.size() >= min && !p.elr.empty()) return at + "an ELR beside a large enough ISR";
      if (p.leader.value() >= 0 && !isr.contains(p.leader)) return at + "the leader is not in the ISR";
      if (isr.empty() && p.elr.empty() && p.last_known_elr.empty()) return at + "nobody is known to hold anything";
      for (auto n : p.adding)
        if (in(p.removing, n)) return at + "a node is added and removed";

      const auto old = before.find(t->id);
      if (!old || i >= old->partitions.size()) continue;
      const auto& was = old->partitions[i];
      if (p.epoch < was.epoch || p.partition_epoch < was.partition_epoch) return at + "an epoch fell";
      if (p == was) continue;
      if (p.partition_epoch == was.partition_epoch) return at + "changed under the same epoch";
      if (p.leader != was.leader && p.epoch == was.epoch) return at + "two leaders in one epoch";
      const bool replica_went =
          std::ranges::any_of(was.replicas, [&](const replica& r) { return std::ranges::count(p.replicas, r) == 0; });
      if (replica_went && p.epoch == was.epoch) return at + "a replica went without a new leader epoch";
      const auto min_before = static_cast<std::size_t>(min_in_sync(t->settings.min_insync_replicas, was));
      const bool all_serve = std::ranges::all_of(was.isr, [&](node_id n) { return after.node(n)->serves(); });
      if (p.replicas != was.replicas && was.isr.size() >= min_before && all_serve && isr.size() < min)
        return at + "a reassignment left too few in sync";
    }
  return {};
}

class cluster {
public:
  struct member {
    uuid disk;
    std::uint64_t start{0};
    std::int64_t epoch{-1};
    meta_offset applied{-1};
    std::string rack;
    std::uint16_t weight{1};
    bool up{false}, stopping{false};
    std::vector<suspicion_report> suspicions;
    std::vector<life> unreachable;
    bool disk_full{false};
    std::optional<wall_time> wall;
  };

  explicit cluster(controller_t::options how = {.self = node_id{1}}, controller_defaults defaults = {.replication = 0})
      : core{std::move(how), controller{std::move(defaults), counted_ids()}} {
    take(core.elected(now, image, meta_offset{-1}));
  }

  controller_t core;
  std::shared_ptr<const metadata_image> image = std::make_shared<const metadata_image>();
  instant now{instant{} + 1h};
  std::map<int, member> nodes;
  std::map<std::uint64_t, controller_t::answer> answers;
  std::vector<controller_t::noted> notes;
  std::vector<controller_t::release_shard> releases;
  std::vector<node_id> handed_to;
  std::optional<std::vector<controller_t::voter>> voters;
  std::optional<controller_t::propose> pending;
  bool commits{true};
  bool quorum{true};
  std::size_t batches{0};
  std::string broken;  ///< what `disorder` found first
  std::function<void(const metadata_image&)> committed = [](const metadata_image&) {};

  void take(controller_t::effects todo) {
    for (auto& e : todo) {
      if (auto* p = std::get_if<controller_t::propose>(&e)) {
        EXPECT_FALSE(pending.has_value()) << "two batches at a time";
        pending = std::move(*p);
      } else if (auto* a = std::get_if<controller_t::answer>(&e)) {
        answers.insert_or_assign(a->to, *a);
      } else if (auto* v = std::get_if<controller_t::want_voters>(&e)) {
        voters = v->voters;
      } else if (auto* r = std::get_if<controller_t::release_shard>(&e)) {
        releases.push_back(*r);
      } else if (auto* h = std::get_if<controller_t::hand_over>(&e)) {
        handed_to.push_back(h->to);
      } else {
        notes.push_back(std::get<controller_t::noted>(e));
      }
    }
    if (commits) commit();
  }

  /// What is proposed goes through bytes, as it would in the quorum's log, whose other entries leave gaps.
  void commit() {
    while (pending) {
      const auto batch = *std::exchange(pending, {});
      const auto records = decode_all_metadata_records(encode_all(batch.records)).value();
      auto after = std::make_shared<metadata_image>(*image);
      after->apply(meta_offset{image->applied.value() + 1 + static_cast<std::int64_t>(batch.batch % 3)}, records);
      if (broken.empty()) broken = disorder(*image, *after);
      image = std::move(after);
      ++batches;
      committed(*image);
      take(core.applied(now, image));
      take(core.proposal_ended(now, batch.batch, controller_t::proposal_outcome::done));
    }
  }

  std::uint64_t next_ticket() { return ++ticket_; }
  template <class T>
  T answer_to(std::uint64_t ticket) {
    const auto at = answers.find(ticket);
    if (at == answers.end() || !std::holds_alternative<T>(at->second.what)) {
      ADD_FAILURE() << "no such answer";
      return T{};
    }
    return std::get<T>(at->second.what);
  }
  const node_info& node(int id) const { return image->nodes.at(node_id{id}); }
  const partition_state& partition(const std::string& topic, std::size_t index = 0) const {
    return image->find(topic)->partitions.at(index);
  }
  partition_ref where(const std::string& topic, int index = 0) const {
    return {image->find(topic)->id, partition_index{index}};
  }
  life life_of(int id) const { return {node_id{id}, nodes.at(id).epoch}; }

  // -- what nodes do --------------------------------------------------------------------------------------

  registration_answer start(int id, bool clean = true, std::vector<partition_ref> damaged = {}) {
    auto& n = nodes[id];
    if (n.disk.is_nil()) n.disk = disk_of(id);
    ++n.start;
    n.stopping = false;
    n.suspicions.clear();
    n.unreachable.clear();
    return say_registration(id, clean, std::move(damaged));
  }
  registration_answer say_registration(int id, bool clean = true, std::vector<partition_ref> damaged = {}) {
    auto& n = nodes[id];
    registration r{"", node_id{id}, n.disk, n.start, clean, std::move(damaged)};
    r.kafka = {"127.0.0.1", static_cast<std::uint16_t>(9091 + id)};
    r.rack = n.rack;
    r.weight = n.weight;
    const auto t = next_ticket();
    take(core.registered(now, t, r));
    if (!answers.contains(t)) return {};
    const auto a = answer_to<registration_answer>(t);
    if (a.what == registration_answer::verdict::accepted) {
      n.epoch = a.node_epoch;
      n.up = true;
    }
    return a;
  }
  heartbeat_answer beat(int id, bool ready = true) {
    auto& n = nodes[id];
    n.applied = image->applied;
    heartbeat h{life_of(id), n.applied, now};
    h.ready = ready;
    h.wants_to_stop = n.stopping;
    h.suspicions = n.suspicions;
    h.unreachable = n.unreachable;
    h.disk_full = n.disk_full;
    h.wall = n.wall;
    return say(h);
  }
  heartbeat_answer say(const heartbeat& h) {
    if (quorum) core.quorum_heard(now);
    const auto t = next_ticket();
    take(core.heard(now, t, h));
    return answer_to<heartbeat_answer>(t);
  }
  /// Registers and is ready.
  void join(int id, bool clean = true) {
    start(id, clean);
    beat(id);
  }
  void join_all(int count) {
    for (int id = 1; id <= count; ++id) join(id);
  }
  /// Time passes; everybody who is up says so every half second.
  void run(boot_clock::duration time) {
    const auto end = now + time;
    while (now < end) {
      const auto step = std::min<boot_clock::duration>(end - now, 100ms);
      now += step;
      if (quorum) core.quorum_heard(now);
      if ((now - instant{}) % 500ms < step)
        for (auto& [id, n] : nodes)
          if (n.up) beat(id);
      take(core.tick(now));
    }
  }
  /// `id` falls silent and everybody else who is up suspects it, until it is fenced.
  void kill(int id) {
    nodes[id].up = false;
    for (auto& [other, n] : nodes)
      if (n.up) n.suspicions.push_back({life_of(id), suspicion_cause::silent, 0ms});
    run(2000ms);
    for (auto& [other, n] : nodes)
      std::erase_if(n.suspicions, [&](const auto& s) { return s.subject.node == node_id{id}; });
  }

  // -- what clients and leaders ask -----------------------------------------------------------------------

  controller_t::outcome ask(controller_t::request r) {
    const auto t = next_ticket();
    take(core.asked(now, t, std::move(r)));
    if (!answers.contains(t)) return {};
    return answer_to<controller_t::outcome>(t);
  }
  void create(const std::string& name, std::vector<std::vector<int>> seats, setting_map overrides = {}) {
    new_topic t{.name = name, .overrides = std::move(overrides)};
    for (const auto& of_one : seats) {
      auto& nodes_of = t.assignments.emplace_back();
      for (int id : of_one) nodes_of.push_back(node_id{id});
    }
    const auto o = ask(controller_t::create_topics{{t}});
    ASSERT_EQ(o.decisions.size(), 1u);
    ASSERT_FALSE(o.decisions[0].refused) << o.decisions[0].refused->text;
  }
  alter_isr proposal(const std::string& topic, std::vector<int> isr, int index = 0) const {
    const auto& p = partition(topic, static_cast<std::size_t>(index));
    alter_isr c{where(topic, index), life_of(p.leader.value()), p.epoch, p.partition_epoch, {}};
    for (int id : isr) c.isr.push_back(life_of(id));
    return c;
  }
  alter_isr_answer say(const alter_isr& c) {
    const auto t = next_ticket();
    take(core.isr_asked(now, t, c));
    if (!answers.contains(t)) return {};
    return answer_to<alter_isr_answer>(t);
  }
  alter_isr_answer::outcome set_isr(const std::string& topic, std::vector<int> isr, int index = 0) {
    return say(proposal(topic, std::move(isr), index)).what;
  }
  result<void> reassign(const std::string& topic, std::optional<std::vector<int>> target, int index = 0) {
    controller_t::reassign::item item{where(topic, index), std::nullopt};
    if (target) {
      item.target.emplace();
      for (int id : *target) item.target->push_back(node_id{id});
    }
    return ask(controller_t::reassign{{item}}).items.at(0);
  }
  std::size_t noted(controller_t::noted::event e, int id) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(notes, [&](const auto& n) { return n.what == e && n.node == node_id{id}; }));
  }

  /// Another controller takes over, with this one's image and nothing of its memory.
  void change_controller(int id, controller_t::options how = {}) {
    how.self = node_id{id};
    pending.reset();
    core = controller_t{std::move(how), controller{{.replication = 0}, counted_ids()}};
    take(core.elected(now, image, image->applied));
  }

private:
  std::uint64_t ticket_{0};
};

inline std::vector<node_id> ids(std::initializer_list<int> list) {
  std::vector<node_id> out;
  for (int id : list) out.push_back(node_id{id});
  return out;
}
inline std::vector<node_id> seats_of(const partition_state& p) {
  std::vector<node_id> out;
  for (const auto& r : p.replicas) out.push_back(r.node);
  return out;
}

}  // namespace troupe::test
