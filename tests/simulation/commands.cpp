#include <algorithm>
#include <array>

#include "actors/partition/record_batch.hpp"
#include "tests/simulation/stage.hpp"

/// The words of scenarios: what may be done on a stage, and what may be asked. What the commands are for stands in
/// scenario.hpp.
namespace troupe::sim {

namespace {

std::string number(auto id) {
  return std::to_string(id.value());
}
std::string listed(const std::vector<node_id>& nodes) {
  std::vector<int> all;
  for (const auto n : nodes) all.push_back(n.value());
  return sim::listed(all);
}
std::vector<node_id> ids(const std::vector<int>& nodes) {
  std::vector<node_id> all;
  for (const auto n : nodes) all.emplace_back(n);
  return all;
}

/// Does one thing to each node that is named.
template <class Do>
action to_each(std::vector<int> named, Do what) {
  return [named = std::move(named), what](stage& s) -> lines {
    const auto all = s.who(named);
    if (all.empty()) return {"no controller works"};
    for (const auto n : all) what(s.world(), n);
    return {};
  };
}

// -- queries ------------------------------------------------------------------------------------------------------

/// Asks for something of a partition's newest metadata.
template <class Tell>
action of_partition(words& w, Tell what) {
  return [p = w.partition(), what](stage& s) -> lines {
    const auto* state = s.state(p);
    return {state ? what(*state) : "no such partition"};
  };
}

/// Asks for something of a partition on each node that is named.
template <class Tell>
action of_replicas(words& w, Tell what) {
  auto nodes = w.some_nodes();
  return [named = std::move(nodes), p = w.partition(), what](stage& s) {
    lines all;
    const auto nodes_now = s.who(named);
    for (const auto n : nodes_now) {
      const auto* r = s.replica(n, p);
      auto text = !s.world().runs(n) ? "off" : r ? what(*r) : "no replica";
      all.push_back((nodes_now.size() > 1 ? std::to_string(n) + ": " : "") + text);
    }
    return all;
  };
}

std::string role_of(const partition_replica& r) {
  static constexpr std::array names{"none", "leader", "follower", "damaged", "failed", "removed"};
  std::string text = names[static_cast<std::size_t>(r.current())];
  return r.leads() ? text + " of epoch " + number(r.partition().epoch()) : text;
}

std::string log_of(const partition_replica& r) {
  const auto& p = r.partition();
  auto text = "[" + number(p.start()) + ", " + number(p.end()) + ")";
  for (const auto& e : p.epochs().entries()) text += ", epoch " + number(e.epoch) + " from " + number(e.start);
  if (p.durable_end() != p.end()) text += ", on disk to " + number(p.durable_end());
  return text;
}

std::string state_of(const partition_state& p) {
  auto text = "leader " + (p.leader.value() < 0 ? "none" : number(p.leader)) + ", epoch " + number(p.epoch) + ", isr " +
              listed(p.isr);
  auto add = [&](const char* name, const std::vector<node_id>& nodes) {
    if (!nodes.empty()) text += std::string{", "} + name + " " + listed(nodes);
  };
  add("elr", p.elr);
  add("last known elr", p.last_known_elr);
  add("adding", p.adding);
  add("removing", p.removing);
  return text;
}

std::string node_state_of(stage& s, int n) {
  static constexpr std::array names{"active", "fenced", "draining", "removed"};
  const auto* node = s.world().judge().newest().node(node_id{n});
  std::string text = node ? names[static_cast<std::size_t>(node->state)] : "unknown";
  if (node && node->orders.drained) text += " drained";
  if (!s.world().runs(n)) return text + " (off)";
  return s.world().box(n).paused() ? text + " (paused)" : text;
}

std::string members_of(stage& s, bool voters) {
  auto* c = s.world().controller();
  if (!c) return "no controller works";
  std::vector<int> all;
  for (const auto& m : c->quorum().members())
    if (m.voter == voters) all.push_back(m.peer.node.value());
  return sim::listed(all);
}

std::string controller_of(stage& s) {
  const auto* c = s.world().controller();
  return c ? number(c->id()) : "none";
}

entities::entity_name read_entity(words& w) {
  const auto text = w.next("an entity");
  auto whom = entities::entity_name::parse(text);
  if (!whom) {
    w.complain("'" + text + "' is no name of an entity: kind/key");
    return {};
  }
  return *whom;
}

struct entry {
  std::string_view name;
  action (*read)(words&);
};

constexpr entry queries[] = {
    {"leader",
     [](words& w) {
       return of_partition(
           w, [](const partition_state& p) { return p.leader.value() < 0 ? std::string{"none"} : number(p.leader); });
     }},
    {"isr", [](words& w) { return of_partition(w, [](const partition_state& p) { return listed(p.isr); }); }},
    {"elr", [](words& w) { return of_partition(w, [](const partition_state& p) { return listed(p.elr); }); }},
    {"replicas",
     [](words& w) {
       return of_partition(w, [](const partition_state& p) {
         // In their order: the first is to lead.
         std::string text;
         for (const auto& r : p.replicas) text += (text.empty() ? "" : ",") + number(r.node);
         return text;
       });
     }},
    {"epoch", [](words& w) { return of_partition(w, [](const partition_state& p) { return number(p.epoch); }); }},
    {"state", [](words& w) { return of_partition(w, state_of); }},
    {"roles",
     [](words& w) -> action {
       return [p = w.partition()](stage& s) -> lines {
         const auto* state = s.state(p);
         if (!state) return {"no such partition"};
         std::string text;
         for (const auto n : s.world().node_numbers()) {
           const auto* r = s.replica(n, p);
           if (!r && !state->has_replica(node_id{n})) continue;
           text += (text.empty() ? "" : ", ") + std::to_string(n) + " " +
                   (!s.world().runs(n) ? "off"
                    : r                ? role_of(*r)
                                       : "no replica");
         }
         return {text};
       };
     }},
    {"serving",
     [](words& w) -> action {
       return [p = w.partition()](stage& s) -> lines {
         const auto* state = s.state(p);
         if (!state) return {"no such partition"};
         const auto n = state->leader.value();
         const auto* r = n < 0 ? nullptr : s.replica(n, p);
         const bool serves = r && r->leads() && r->partition().epoch() == state->epoch && s.world().at(n)->has_lease();
         return {serves ? std::to_string(n) : "nobody"};
       };
     }},
    {"role", [](words& w) { return of_replicas(w, role_of); }},
    {"log", [](words& w) { return of_replicas(w, log_of); }},
    {"end",
     [](words& w) { return of_replicas(w, [](const partition_replica& r) { return number(r.partition().end()); }); }},
    {"watermark",
     [](words& w) {
       return of_replicas(w, [](const partition_replica& r) { return number(r.partition().watermark()); });
     }},
    {"node", [](words& w) -> action { return [n = w.node()](stage& s) -> lines { return {node_state_of(s, n)}; }; }},
    {"nodes",
     [](words&) -> action {
       return [](stage& s) -> lines {
         std::string text;
         for (int n = 1; n <= s.world().options().nodes; ++n)
           text += (text.empty() ? "" : ", ") + std::to_string(n) + " " + node_state_of(s, n);
         return {text};
       };
     }},
    {"lease",
     [](words& w) {
       auto nodes = w.some_nodes();
       return action{[named = std::move(nodes)](stage& s) {
         lines all;
         const auto nodes_now = s.who(named);
         for (const auto n : nodes_now) {
           auto* p = s.world().at(n);
           all.push_back((nodes_now.size() > 1 ? std::to_string(n) + ": " : "") + (!p               ? "off"
                                                                                   : p->has_lease() ? "yes"
                                                                                                    : "no"));
         }
         return all;
       }};
     }},
    {"setting",
     [](words& w) -> action {
       auto name = w.next("a topic");
       return [name, key = w.next("a setting")](stage& s) -> lines {
         const auto& topics = s.world().judge().newest().topics;
         const auto at = topics.find(name);
         if (at == topics.end()) return {"no such topic"};
         const auto value = at->second->overrides.find(key);
         return {value == at->second->overrides.end() ? "the default" : value->second};
       };
     }},
    {"controller", [](words&) -> action { return [](stage& s) -> lines { return {controller_of(s)}; }; }},
    {"voters", [](words&) -> action { return [](stage& s) -> lines { return {members_of(s, true)}; }; }},
    {"quorum",
     [](words&) -> action {
       return [](stage& s) -> lines {
         return {"controller " + controller_of(s) + ", voters " + members_of(s, true) + ", learners " +
                 members_of(s, false)};
       };
     }},
    {"owner",
     [](words& w) -> action {
       return [whom = read_entity(w)](stage& s) -> lines {
         const auto owner = s.owner_of(whom);
         if (!owner) return {"no such kind"};
         if (owner->first.value() < 0) return {"nobody"};
         return {number(owner->first) + (owner->second ? "" : ", not yet active")};
       };
     }},
    {"done",
     [](words& w) -> action {
       return [whom = read_entity(w)](stage& s) -> lines {
         const auto done = s.done_by(whom);
         return {done ? std::to_string(*done) : "nobody serves it"};
       };
     }},
    {"violations",
     [](words&) -> action {
       return [](stage& s) {
         const auto& all = s.world().judge().violations();
         return all.empty() ? lines{"none"} : all;
       };
     }},
};

action read_query(words& w) {
  const auto name = w.next("a query");
  for (const auto& q : queries)
    if (q.name == name) return q.read(w);
  w.complain("there is no query '" + name + "'");
  return {};
}

// -- commands -----------------------------------------------------------------------------------------------------

std::string joined(const lines& all) {
  std::string text;
  for (const auto& line : all) text += (text.empty() ? "" : "; ") + line;
  return text;
}

/// wait QUERY = TEXT within D
action read_wait(words& w) {
  auto ask = read_query(w);
  const bool equal = w.take("=");
  if (!equal) w.expect("!=");
  std::string text;
  for (auto word = w.next("a text"); !word.empty(); word = w.next("'within'")) {
    text += (text.empty() ? "" : " ") + word;
    if (w.take("within")) break;
  }
  return [ask, equal, text, patience = w.span()](stage& s) -> lines {
    if (s.world().run_until([&] { return (joined(ask(s)) == text) == equal; }, patience)) return {};
    return {"not so: " + joined(ask(s))};
  };
}

stage::writing read_writing(words& w) {
  stage::writing what;
  if (const auto acks = w.option("acks")) {
    if (*acks != "1" && *acks != "all") w.complain("acks are 1 or all");
    what.acks = *acks == "1" ? 1 : -1;
  }
  what.to = w.node_option("to");
  what.producer = w.number_option("producer");
  const auto sequence = w.number_option("sequence");
  if (sequence.has_value() != what.producer.has_value()) w.complain("a producer has a sequence");
  what.sequence = static_cast<std::int32_t>(sequence.value_or(0));
  what.where = w.partition();
  what.records = static_cast<std::int32_t>(w.number());
  if (what.records < 1) w.complain("at least one record");
  return what;
}

stage::kind_of_letter read_kind(words& w) {
  stage::kind_of_letter k;
  k.name = w.next("a kind of letter");
  if (!stage::is_kind(k.name)) w.complain("there is no letter '" + k.name + "'");
  auto fixed = [&](std::set<place>& into) {
    for (const auto n : w.some_nodes()) {
      if (n == words::controller) w.complain("letters are told apart by fixed nodes");
      into.insert(n);
    }
  };
  if (w.take("from")) fixed(k.from);
  if (w.take("to")) fixed(k.to);
  return k;
}

setting_map read_settings(words& w) {
  setting_map settings;
  while (!w.none_left()) {
    const auto word = w.next("setting=value");
    const auto equals = word.find('=');
    if (equals == word.npos)
      w.complain("'" + word + "' is no setting=value");
    else
      settings[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return settings;
}

/// The replicas of several partitions, up to the first word with a `=`.
std::vector<std::vector<node_id>> read_seats(words& w, setting_map* settings) {
  std::vector<std::vector<node_id>> seats;
  while (!w.none_left() && !(settings && w.at_option())) seats.push_back(ids(w.some_nodes()));
  if (settings) *settings = read_settings(w);
  if (seats.empty()) w.complain("replicas expected (1,2,3)");
  return seats;
}

constexpr entry commands[] = {
    // lives
    {"start", [](words& w) { return to_each(w.some_nodes(), [](cluster& c, int n) { c.start(n); }); }},
    {"kill", [](words& w) { return to_each(w.some_nodes(), [](cluster& c, int n) { c.kill(n); }); }},
    {"cut power", [](words& w) { return to_each(w.some_nodes(), [](cluster& c, int n) { c.cut_power(n); }); }},
    {"stop", [](words& w) { return to_each(w.some_nodes(), [](cluster& c, int n) { c.stop(n); }); }},
    {"pause", [](words& w) { return to_each(w.some_nodes(), [](cluster& c, int n) { c.pause(n); }); }},
    {"resume", [](words& w) { return to_each(w.some_nodes(), [](cluster& c, int n) { c.resume(n); }); }},
    {"new disk",
     [](words& w) -> action {
       return [n = w.node()](stage& s) -> lines {
         if (s.world().runs(n)) return {"it still runs"};
         s.world().replace_disk(n);
         return {};
       };
     }},
    // network
    {"isolate",
     [](words& w) -> action {
       auto whom = w.some_nodes();
       std::optional<std::vector<int>> from;
       if (w.take("from")) from = w.some_nodes();
       return [whom, from](stage& s) -> lines {
         for (const auto n : s.who(whom))
           for (const auto m : from ? s.who(*from) : s.world().node_numbers())
             if (n != m) {
               s.world().cut(n, m);
               s.world().cut(m, n);
             }
         return {};
       };
     }},
    {"cut",
     [](words& w) -> action {
       auto from = w.some_nodes();
       w.expect("->");
       auto to = w.some_nodes();
       return [from, to](stage& s) -> lines {
         for (const auto n : s.who(from))
           for (const auto m : s.who(to))
             if (n != m) s.world().cut(n, m);
         return {};
       };
     }},
    {"heal",
     [](words& w) -> action {
       if (w.none_left())
         return [](stage& s) -> lines {
           s.world().net().heal_all();
           return {};
         };
       return [whom = w.some_nodes()](stage& s) -> lines {
         for (const auto n : s.who(whom))
           for (const auto m : s.world().node_numbers()) {
             s.world().net().heal(n, m);
             s.world().net().heal(m, n);
           }
         return {};
       };
     }},
    {"slow link",
     [](words& w) -> action {
       const auto from = w.node();
       w.expect("->");
       const auto to = w.node();
       const auto kilobytes = w.rate();
       return [from, to, kilobytes](stage& s) -> lines {
         s.world().net().slow(from, to, 1000.0 * static_cast<double>(kilobytes));
         return {};
       };
     }},
    {"weather",
     [](words& w) -> action {
       weather sky;
       if (!w.take("fair")) {
         sky.loss = w.share_option("loss").value_or(0);
         sky.repeat = w.share_option("repeat").value_or(0);
         sky.late = w.share_option("late").value_or(0);
         sky.late_max = w.span_option("late-max").value_or(50ms);
       }
       return [sky](stage& s) -> lines {
         s.world().net().set_weather(sky);
         return {};
       };
     }},
    // letters
    {"lose nothing", [](words&) -> action { return [](stage& s) { return s.lose_nothing(); }; }},
    {"lose",
     [](words& w) -> action {
       return [k = read_kind(w)](stage& s) -> lines {
         s.lose(k);
         return {};
       };
     }},
    {"hold",
     [](words& w) -> action {
       return [k = read_kind(w)](stage& s) -> lines {
         s.hold(k);
         return {};
       };
     }},
    {"release",
     [](words& w) -> action { return [times = w.take("twice") ? 2 : 1](stage& s) { return s.release(times); }; }},
    // disks, clocks
    {"slow disk",
     [](words& w) -> action {
       auto whom = w.some_nodes();
       const auto [least, most] = w.spans();
       return to_each(std::move(whom), [least = least, most = most](cluster& c, int n) {
         c.box(n).pace.sync_min = least;
         c.box(n).pace.sync_max = most;
       });
     }},
    {"fail sync",
     [](words& w) { return to_each(w.some_nodes(), [](cluster& c, int n) { c.box(n).disk.fail_next_sync(); }); }},
    {"fail write",
     [](words& w) {
       auto whom = w.some_nodes();
       const auto written = w.take("after") ? w.share() : 1;
       return to_each(std::move(whom),
                      [written](cluster& c, int n) { c.box(n).disk.fail_next_append(errc::storage_failed, written); });
     }},
    {"fill disk",
     [](words& w) {
       auto whom = w.some_nodes();
       const auto left = static_cast<std::uint64_t>(w.take("but") ? std::max<std::int64_t>(w.number(), 0) : 0);
       return to_each(std::move(whom),
                      [left](cluster& c, int n) { c.box(n).disk.set_capacity(c.box(n).disk.used_bytes() + left); });
     }},
    {"free disk",
     [](words& w) {
       return to_each(w.some_nodes(), [](cluster& c, int n) { c.box(n).disk.set_capacity(UINT64_MAX); });
     }},
    {"drift",
     [](words& w) {
       auto whom = w.some_nodes();
       return to_each(std::move(whom), [by = w.share()](cluster& c, int n) { c.box(n).clock.drift(1 + by); });
     }},
    {"wall",
     [](words& w) {
       auto whom = w.some_nodes();
       return to_each(std::move(whom), [by = std::chrono::duration_cast<std::chrono::milliseconds>(w.span())](
                                           cluster& c, int n) { c.box(n).clock.step_wall(by); });
     }},
    // requests
    {"topic",
     [](words& w) -> action {
       new_topic t;
       t.name = w.next("a name");
       t.assignments = read_seats(w, &t.overrides);
       // Records bear a fixed date.
       t.overrides.emplace("retention.ms", "-1");
       return [t](stage& s) {
         auto said = s.ask(cluster_controller::create_topics{{t}, false});
         if (said.empty()) s.world().run(500ms);
         return said;
       };
     }},
    {"grow",
     [](words& w) -> action {
       auto name = w.next("a name");
       return [name, seats = read_seats(w, nullptr)](stage& s) -> lines {
         const auto& topics = s.world().judge().newest().topics;
         const auto at = topics.find(name);
         if (at == topics.end()) return {"no such topic"};
         const auto count = static_cast<std::int32_t>(at->second->partitions.size() + seats.size());
         return s.ask(cluster_controller::create_partitions{{{name, count, seats}}, false});
       };
     }},
    {"config",
     [](words& w) -> action {
       controller::reconfiguration change;
       change.name = w.next("a name");
       for (const auto& [name, value] : read_settings(w))
         change.changes.push_back({name, setting_change::operation::set, value});
       return [change](stage& s) { return s.ask(cluster_controller::alter_configs{{change}, false}); };
     }},
    {"reassign",
     [](words& w) -> action {
       auto p = w.partition();
       return [p, to = ids(w.some_nodes())](stage& s) -> lines {
         const auto where = s.find(p);
         return where ? s.ask(cluster_controller::reassign{{{*where, to}}}) : lines{"no such partition"};
       };
     }},
    {"cancel",
     [](words& w) -> action {
       return [p = w.partition()](stage& s) -> lines {
         const auto where = s.find(p);
         return where ? s.ask(cluster_controller::reassign{{{*where, {}}}}) : lines{"no such partition"};
       };
     }},
    {"elect",
     [](words& w) -> action {
       return [p = w.partition()](stage& s) -> lines {
         const auto where = s.find(p);
         return where ? s.ask(cluster_controller::elect_preferred{{*where}}) : lines{"no such partition"};
       };
     }},
    {"remove",
     [](words& w) -> action {
       return [n = w.node()](stage& s) { return s.ask(cluster_controller::remove_node{node_id{n}, false}); };
     }},
    {"keep",
     [](words& w) -> action {
       return [n = w.node()](stage& s) { return s.ask(cluster_controller::remove_node{node_id{n}, true}); };
     }},
    {"drain",
     [](words& w) -> action {
       return [n = w.node()](stage& s) { return s.ask(cluster_controller::drain_node{node_id{n}}); };
     }},
    {"vote",
     [](words& w) -> action {
       const auto n = w.node();
       const auto how = w.next("always, never or automatic");
       if (how != "always" && how != "never" && how != "automatic") w.complain("always, never or automatic expected");
       const auto votes = how == "always" ? voting::always : how == "never" ? voting::never : voting::automatic;
       return [=](stage& s) { return s.ask(cluster_controller::set_voting{node_id{n}, votes}); };
     }},
    {"want voters",
     [](words& w) -> action {
       return [n = static_cast<std::int32_t>(w.number())](stage& s) {
         return s.ask(cluster_controller::want_voter_count{n});
       };
     }},
    // clients
    {"produce",
     [](words& w) -> action {
       const auto patience = w.span_option("within").value_or(2s);
       return [patience, what = read_writing(w)](stage& s) { return s.produce(what, patience); };
     }},
    {"send", [](words& w) -> action { return [what = read_writing(w)](stage& s) { return s.send(what); }; }},
    {"answers",
     [](words& w) -> action {
       return [patience = w.span_option("within").value_or(2s)](stage& s) { return s.answers(patience); };
     }},
    {"read",
     [](words& w) -> action {
       const log_offset from{w.number_option("from").value_or(0)};
       const auto at = w.node_option("at");
       return [from, at, p = w.partition()](stage& s) { return s.read(p, from, at); };
     }},
    {"latest",
     [](words& w) -> action {
       const auto at = w.node_option("at");
       return [at, p = w.partition()](stage& s) { return s.latest(p, at); };
     }},
    {"call",
     [](words& w) -> action {
       const auto times = static_cast<int>(w.number_option("times").value_or(1));
       if (times < 1 || times > 1000) w.complain("from 1 to 1000 times");
       const auto at = w.node_option("at");
       const auto patience = w.span_option("within").value_or(35s);  // a call gives up after 30 s
       return [whom = read_entity(w), times, at, patience](stage& s) { return s.call(whom, times, at, patience); };
     }},
    {"load",
     [](words&) -> action {
       return [](stage& s) -> lines {
         s.load();
         return {};
       };
     }},
    // time
    {"tick",
     [](words& w) -> action {
       return [d = w.span()](stage& s) -> lines {
         s.world().run(d);
         return {};
       };
     }},
    {"wait", read_wait},
    {"peace", [](words&) -> action { return [](stage& s) { return s.peace(); }; }},
};

}  // namespace

action read_command(words& w) {
  auto name = w.next("a command");
  // "cut power" before "cut".
  for (const auto& c : commands) {
    const auto space = c.name.find(' ');
    if (space != c.name.npos && c.name.substr(0, space) == name && w.take(c.name.substr(space + 1))) return c.read(w);
  }
  for (const auto& c : commands)
    if (c.name == name) return c.read(w);
  for (const auto& q : queries)
    if (q.name == name) return q.read(w);
  w.complain("there is no command '" + name + "'");
  return {};
}

stage_options read_cluster(words& w) {
  stage_options o;
  w.expect("cluster");
  auto& c = o.cluster;
  c.nodes = static_cast<int>(w.number_option("nodes").value_or(3));
  if (c.nodes < 1 || c.nodes > 9) w.complain("from 1 to 9 nodes");
  o.running = static_cast<int>(w.number_option("running").value_or(c.nodes));
  if (o.running < 1 || o.running > c.nodes) w.complain("running: from 1 to all of the nodes");
  c.seed = static_cast<std::uint64_t>(w.number_option("seed").value_or(1));
  c.drift = w.share_option("drift").value_or(0);
  if (const auto trust = w.option("trust-refused")) {
    if (*trust != "on" && *trust != "off") w.complain("trust-refused is on or off");
    c.trust_refused = *trust == "on";
  }
  if (const auto entities = w.option("entities")) {
    if (*entities != "on" && *entities != "off") w.complain("entities is on or off");
    c.entities = *entities == "on";
  }
  return o;
}

}  // namespace troupe::sim
