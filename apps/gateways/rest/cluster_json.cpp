#include "apps/gateways/rest/cluster_json.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/net/address.hpp"

namespace troupe::rest {

namespace {

using json = nlohmann::ordered_json;

std::string text_of(const json& value) {
  // A name with bytes that are no UTF-8 must not cost the operator the whole answer.
  return value.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

json ids(const std::vector<node_id>& nodes) {
  auto out = json::array();
  for (const auto id : nodes) out.push_back(id.value());
  return out;
}

json maybe(std::optional<node_id> id) {
  return id && id->value() >= 0 ? json(id->value()) : json(nullptr);
}

json place(const endpoint& at) {
  return at.port == 0 ? json(nullptr) : json(net::address{at.host, at.port}.text());
}

std::string_view name_of(node_state state) {
  switch (state) {
    case node_state::active:
      return "active";
    case node_state::fenced:
      return "fenced";
    case node_state::draining:
      return "draining";
    case node_state::removed:
      return "removed";
  }
  return "unknown";
}

std::string_view name_of(voting votes) {
  switch (votes) {
    case voting::automatic:
      return "automatic";
    case voting::always:
      return "always";
    case voting::never:
      return "never";
  }
  return "unknown";
}

/// Names of partitions, as many as are told, and how many there are.
struct named {
  std::size_t count{0};
  json names = json::array();
  void add(const topic& t, std::size_t index) {
    if (count++ < names_max) names.push_back(t.name + "/" + std::to_string(index));
  }
};

struct holdings {
  std::size_t leads{0}, replicas{0}, shards{0};
};

/// A replica that is still being added is not missed yet.
bool under_replicated(const partition_state& p) {
  return std::ranges::any_of(p.replicas, [&](const replica& r) {
    return !p.in_sync(r.node) && std::ranges::find(p.adding, r.node) == p.adding.end();
  });
}

template <class See>
void each_partition(const metadata_image& image, See see) {
  for (const auto& [name, t] : image.topics)
    for (std::size_t i = 0; i < t->partitions.size(); ++i) see(*t, i, t->partitions[i]);
}

std::map<node_id, holdings> holdings_of(const metadata_image& image) {
  std::map<node_id, holdings> out;
  each_partition(image, [&](const topic&, std::size_t, const partition_state& p) {
    if (p.leader.value() >= 0) ++out[p.leader].leads;
    for (const auto& r : p.replicas) ++out[r.node].replicas;
  });
  for (const auto& [kind, shards] : image.shards)
    for (const auto& s : shards)
      if (s.owner.value() >= 0) ++out[s.owner].shards;
  return out;
}

json node_of(const node_info& n, const node_description& self, const holdings& has) {
  const bool empty = has.leads == 0 && has.shards == 0 && self.controller != n.id;
  const auto in = [&](const std::vector<node_id>& list) { return std::ranges::find(list, n.id) != list.end(); };
  return {{"id", n.id.value()},
          {"state", name_of(n.state)},
          {"leaving", n.leaving},
          {"disk_full", n.disk_full},
          {"drain", !n.orders.drained ? "none"
                    : empty           ? "done"
                                      : "under way"},
          {"epoch", n.node_epoch},
          {"rack", n.rack.empty() ? json(nullptr) : json(n.rack)},
          {"kafka", place(n.kafka)},
          {"cluster", place(n.peer)},
          {"quorum", in(self.voters)     ? "voter"
                     : in(self.learners) ? "learner"
                                         : "none"},
          {"votes", name_of(n.orders.votes)},
          {"leaderships", has.leads},
          {"replicas", has.replicas},
          {"shards", has.shards}};
}

error wrong(std::string text) {
  return {errc::invalid_request, std::move(text)};
}

/// An object that has exactly one of `keys`.
result<json> body_with_one_of(std::string_view body, std::initializer_list<std::string_view> keys,
                              const std::string& usage) {
  auto value = json::parse(body, nullptr, false);
  if (value.is_discarded() || !value.is_object() || value.size() != 1 ||
      std::ranges::find(keys, value.begin().key()) == keys.end())
    return wrong("the body has to be " + usage);
  return value;
}

std::optional<std::int32_t> id_in(const json& value) {
  if (!value.is_number_unsigned() || value > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  return value.get<std::int32_t>();
}

}  // namespace

std::string cluster_json(const metadata_image& image, const node_description& self) {
  auto has = holdings_of(image);
  auto nodes = json::array();
  for (const auto& [id, n] : image.nodes) nodes.push_back(node_of(n, self, has[id]));
  named under, leaderless;
  each_partition(image, [&](const topic& t, std::size_t i, const partition_state& p) {
    if (under_replicated(p)) under.add(t, i);
    if (p.leader.value() < 0) leaderless.add(t, i);
  });
  const auto& id = image.cluster_id.empty() ? self.cluster_id : image.cluster_id;
  return text_of({{"cluster", id.empty() ? json(nullptr) : json(id)},
                  {"node", {{"id", self.self.node.value()}, {"epoch", self.self.epoch}, {"lease", self.leased}}},
                  {"controller", maybe(self.controller)},
                  {"quorum",
                   {{"term", self.term},
                    {"voters", ids(self.voters)},
                    {"learners", ids(self.learners)},
                    {"voters_wanted", image.voter_count}}},
                  {"nodes", std::move(nodes)},
                  {"topics", image.topics.size()},
                  {"partitions",
                   {{"count", image.partition_count},
                    {"under_replicated", under.count},
                    {"under_replicated_names", std::move(under.names)},
                    {"leaderless", leaderless.count},
                    {"leaderless_names", std::move(leaderless.names)}}},
                  {"metadata_offset", image.applied.value()}});
}

std::optional<std::string> node_json(const metadata_image& image, const node_description& self, node_id id) {
  const auto* n = image.node(id);
  if (n == nullptr) return std::nullopt;
  auto out = node_of(*n, self, holdings_of(image)[id]);
  if ((n->leaving || n->orders.drained) && n->state != node_state::removed) {
    named leads, holds;
    each_partition(image, [&](const topic& t, std::size_t i, const partition_state& p) {
      if (p.leader == id) leads.add(t, i);
      if (p.has_replica(id)) holds.add(t, i);
    });
    auto& left = out["left_to_do"];
    left = {{"leads", std::move(leads.names)}, {"shards", out["shards"]}, {"controls", self.controller == id}};
    if (n->leaving) {
      left["holds"] = std::move(holds.names);
      left["votes"] = out["quorum"] == "voter";
    }
  }
  return text_of(out);
}

std::optional<std::string> topic_json(const metadata_image& image, std::string_view name) {
  const auto t = image.find(name);
  if (!t) return std::nullopt;
  auto partitions = json::array();
  for (std::size_t i = 0; i < t->partitions.size(); ++i) {
    const auto& p = t->partitions[i];
    std::vector<node_id> replicas;
    for (const auto& r : p.replicas) replicas.push_back(r.node);
    partitions.push_back({{"partition", i},
                          {"leader", maybe(p.leader)},
                          {"epoch", p.epoch.value()},
                          {"replicas", ids(replicas)},
                          {"isr", ids(p.isr)},
                          {"elr", ids(p.elr)},
                          {"adding", ids(p.adding)},
                          {"removing", ids(p.removing)}});
  }
  return text_of({{"topic", t->name},
                  {"id", t->id.text()},
                  {"internal", t->internal},
                  {"under_replicated", std::ranges::count_if(t->partitions, under_replicated)},
                  {"partitions", std::move(partitions)}});
}

result<cluster_controller::request> cluster_request(std::string_view body) {
  const std::string usage = R"({"voters": 1, 3 or 5})";
  auto value = body_with_one_of(body, {"voters"}, usage);
  if (!value) return value.error();
  const auto count = id_in((*value)["voters"]);
  if (!count || (*count != 1 && *count != 3 && *count != 5)) return wrong("the body has to be " + usage);
  return cluster_controller::request{cluster_controller::want_voter_count{*count}};
}

result<cluster_controller::request> node_request(node_id node, std::string_view body) {
  const std::string usage = R"({"action": "drain", "remove", "undo", "add_voter", "remove_voter" or "auto_voter"})";
  auto value = body_with_one_of(body, {"action"}, usage);
  if (!value) return value.error();
  const auto& action = (*value)["action"];
  using controls = cluster_controller;
  if (action == "drain") return controls::request{controls::drain_node{node}};
  if (action == "remove") return controls::request{controls::remove_node{node, false}};
  if (action == "undo") return controls::request{controls::remove_node{node, true}};
  if (action == "add_voter") return controls::request{controls::set_voting{node, voting::always}};
  if (action == "remove_voter") return controls::request{controls::set_voting{node, voting::never}};
  if (action == "auto_voter") return controls::request{controls::set_voting{node, voting::automatic}};
  return wrong("the body has to be " + usage);
}

result<cluster_controller::request> partition_request(const partition_ref& where, std::string_view body) {
  const std::string usage =
      R"({"replicas": [ids, preferred leader first]}, {"cancel": true} or {"elect": "preferred" or "unclean"})";
  auto value = body_with_one_of(body, {"replicas", "cancel", "elect"}, usage);
  if (!value) return value.error();
  const auto& what = value->begin().value();
  if (value->contains("cancel") && what == true)
    return cluster_controller::request{cluster_controller::reassign{{{where, std::nullopt}}}};
  if (value->contains("elect") && what == "preferred")
    return cluster_controller::request{cluster_controller::elect_preferred{{where}}};
  if (value->contains("elect") && what == "unclean")
    return cluster_controller::request{cluster_controller::elect_uncleanly{{where}}};
  if (!value->contains("replicas") || !what.is_array() || what.empty()) return wrong("the body has to be " + usage);
  std::vector<node_id> target;
  for (const auto& one : what) {
    const auto id = id_in(one);
    if (!id) return wrong("the body has to be " + usage);
    target.emplace_back(*id);
  }
  return cluster_controller::request{cluster_controller::reassign{{{where, std::move(target)}}}};
}

}  // namespace troupe::rest
