#pragma once

#include "tests/unit/controller/cluster_fixture.hpp"

/// Random histories of a whole cluster's metadata. After every batch the image is in order (I11, I13: `disorder`), and
/// a simple model of who holds what is committed agrees with ISR, ELR and every election.
namespace troupe::test {

/// Leaders are always busy: while enough are in sync, records are committed that only the ISR has.
class holders {
public:
  std::string wrong;
  /// May take several batches, and leads nowhere until it is registered.
  node_id registering{-1};

  void see(const metadata_image& after) {
    for (const auto& [name, t] : after.topics)
      for (std::size_t i = 0; i < t->partitions.size(); ++i) {
        const auto& p = t->partitions[i];
        const auto [at, fresh] = known_.try_emplace({t->id, i});
        auto& [complete, leader, unclean] = at->second;
        const std::set<node_id> isr{p.isr.begin(), p.isr.end()};
        const auto here = name + "/" + std::to_string(i);
        if (fresh) complete = isr;
        if (p.unclean_epoch != unclean) complete = isr;  // documented loss
        if (p.leader != leader && p.leader.value() >= 0 && !complete.contains(p.leader) && wrong.empty())
          wrong = here + ": the new leader lacks committed records";
        for (auto n : p.elr)
          if (!complete.contains(n) && n != registering && wrong.empty())
            wrong = here + ": one of the ELR lacks committed records";
        if (p.leader.value() >= 0) {
          if (static_cast<std::int32_t>(isr.size()) >= min_in_sync(t->settings.min_insync_replicas, p))
            complete = isr;
          else
            complete.insert(isr.begin(), isr.end());  // who joined has caught up
        }
        leader = p.leader;
        unclean = p.unclean_epoch;
      }
  }
  /// The leader counts it from now on, and would not if it were behind.
  void caught_up(const partition_ref& where, node_id id) {
    known_[{where.topic, static_cast<std::size_t>(where.index.value())}].complete.insert(id);
  }
  void forgot(node_id id) {
    for (auto& [where, k] : known_) k.complete.erase(id);
  }

private:
  struct known {
    std::set<node_id> complete;
    node_id leader{-1};
    leader_epoch unclean{no_epoch};
  };
  std::map<std::pair<topic_id, std::size_t>, known> known_;
};

struct history {
  explicit history(std::uint64_t seed)
      : random{seed}, c{{.self = node_id{1}, .kinds = {{"session", 8}}, .batch_changes_max = 1 + random.below(30)}} {
    size = 3 + static_cast<int>(random.below(4));
    for (int id = 1; id <= size; ++id) c.nodes[id].rack = std::string(1, static_cast<char>('a' + id % 3));
    c.join_all(size);
    for (int t = 0; t < 3; ++t) {
      new_topic topic{.name = "t" + std::to_string(t), .partitions = 4};
      topic.replication = static_cast<std::int16_t>(1 + random.below(3));
      topic.overrides["min.insync.replicas"] = std::to_string(1 + random.below(3));
      if (random.chance(0.2)) topic.overrides["unclean.leader.election.enable"] = "true";
      c.ask(cluster_controller::create_topics{{topic}});
    }
    model.see(*c.image);
    // Every image, also those between two batches of one step.
    c.committed = [this](const metadata_image& image) { model.see(image); };
  }
  history(const history&) = delete;

  int some_node() { return 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(size))); }

  void step() {
    const int id = some_node();
    auto& n = c.nodes[id];
    const auto& topic = c.image->topics.at("t" + std::to_string(random.below(3)));
    const auto index = random.below(topic->partitions.size());
    const auto& p = topic->partitions[index];
    switch (random.below(12)) {
      case 0:
        if (n.up) c.kill(id);
        break;
      case 1:
      case 2:
        if (!n.up || random.chance(0.1)) {
          const bool clean = random.chance(0.7);
          if (!clean) model.forgot(node_id{id});
          model.registering = node_id{id};
          c.start(id, clean);
          model.registering = node_id{-1};
          if (!clean) model.forgot(node_id{id});
          c.beat(id);
        }
        break;
      case 3:
        if (n.up) c.beat(id);
        break;
      case 4:
      case 5:
      case 6:
        propose_isr(topic->name, static_cast<int>(index), p);
        break;
      case 7: {
        std::set<int> target;
        for (auto width = 1 + random.below(3); target.size() < width;) target.insert(some_node());
        std::ignore = c.reassign(topic->name, std::vector<int>{target.begin(), target.end()}, static_cast<int>(index));
        break;
      }
      case 8:
        if (random.chance(0.5)) std::ignore = c.reassign(topic->name, std::nullopt, static_cast<int>(index));
        break;
      case 9:
        if (n.up && random.chance(0.3)) n.stopping = !n.stopping;
        if (random.chance(0.1)) c.ask(cluster_controller::remove_node{node_id{id}, random.chance(0.7)});
        if (random.chance(0.2)) c.ask(cluster_controller::drain_node{node_id{id}});
        if (random.chance(0.2)) c.ask(cluster_controller::set_voting{node_id{id}, some_voting()});
        break;
      case 10:
        if (random.chance(0.3)) {
          c.ask(cluster_controller::elect_preferred{{{topic->id, partition_index{static_cast<int>(index)}}}});
        } else if (random.chance(0.2)) {
          setting_change min{.name = "min.insync.replicas", .value = std::to_string(1 + random.below(3))};
          c.ask(cluster_controller::alter_configs{{{topic->name, {min}}}});
        } else {
          say_log_ends(id);
        }
        break;
      default:
        if (random.chance(0.1))
          c.change_controller(some_node(), {.kinds = {{"session", 8}}, .batch_changes_max = 1 + random.below(30)});
        c.run(std::chrono::milliseconds{random.below(1500)});
    }
    for (auto& r : std::exchange(c.releases, {}))
      if (random.chance(0.7)) c.take(c.core.released(c.now, {r.owner, r.kind, r.shard, r.epoch}));
  }

  /// As leaders do: drop some, add whoever has caught up; sometimes with old epochs or dead nodes.
  void propose_isr(const std::string& topic, int index, const partition_state& p) {
    if (p.leader.value() < 0) return;
    auto change = c.proposal(topic, {}, index);
    for (const auto& r : p.replicas) {
      const bool in = p.in_sync(r.node);
      if (r.node == p.leader || (in ? random.chance(0.8) : random.chance(0.5)))
        change.isr.push_back(c.life_of(r.node.value()));
    }
    if (random.chance(0.1)) --change.partition_epoch;
    if (random.chance(0.1)) --change.isr[random.below(change.isr.size())].epoch;
    for (const auto& member : change.isr) model.caught_up(change.where, member.node);
    c.say(change);
    model.see(*c.image);
  }
  voting some_voting() { return static_cast<voting>(random.below(3)); }
  void say_log_ends(int id) {
    log_ends ends{c.life_of(id), {}};
    for (const auto& [name, t] : c.image->topics)
      for (std::size_t i = 0; i < t->partitions.size(); ++i)
        ends.ends.push_back({{t->id, partition_index{static_cast<std::int32_t>(i)}},
                             leader_epoch{static_cast<std::int32_t>(random.below(5))},
                             log_offset{static_cast<std::int64_t>(random.below(100))}});
    c.take(c.core.log_ends_are(c.now, ends));
  }
  /// Nobody disturbs any more.
  void heal() {
    for (int id = 1; id <= size; ++id) {
      auto& n = c.nodes[id];
      n.stopping = false;
      c.ask(cluster_controller::remove_node{node_id{id}, true});
      if (!n.up || c.node(id).state != node_state::active) c.join(id);
    }
    for (int i = 0; i < 4; ++i) {
      c.run(1s);
      for (int id = 1; id <= size; ++id) say_log_ends(id);
    }
  }

  random_source random;
  cluster c;
  holders model;
  int size{3};
};

}  // namespace troupe::test
