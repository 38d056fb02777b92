#include "actors/controller/controller.hpp"

#include <algorithm>
#include <set>

#include "actors/controller/replica_plan.hpp"
#include "runtime/base/check.hpp"

/// Each entrance walks the items of its request in order and, besides the image, looks at what the items before have
/// been promised (names, partitions), so that a request is decided as if its items had come one by one.
namespace troupe {

namespace {

using seats = std::vector<std::vector<node_id>>;
constexpr std::string_view min_insync_setting = "min.insync.replicas";

// Names come from outside: whole where they may be one, cut where they cannot.
std::string quoted(std::string_view text) {
  return "\"" + std::string{text.substr(0, 249)} + "\"";
}

/// Names that would be the same file or metric name to many tools.
std::string folded(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

/// Who does not serve now has nothing of the new partitions, and is not in sync until it has caught up.
std::vector<partition_state> partitions_of(const metadata_image& image, const seats& assignments, leader_epoch epoch) {
  std::vector<partition_state> partitions;
  partitions.reserve(assignments.size());
  for (const auto& nodes : assignments) {
    auto& p = partitions.emplace_back();
    for (auto node : nodes) {
      p.replicas.push_back({node, 0});
      if (image.nodes.at(node).state == node_state::active) p.isr.push_back(node);
    }
    p.leader = p.isr.front();
    p.epoch = epoch;
  }
  return partitions;
}

/// `width`: how many replicas each partition must have.
result<void> check_assignments(const metadata_image& image, const seats& assignments, std::size_t width) {
  for (const auto& nodes : assignments) {
    if (nodes.empty()) return {errc::invalid_assignment, "a partition is assigned to no node"};
    if (nodes.size() != width)
      return {errc::invalid_assignment, "every partition must have " + std::to_string(width) +
                                            " replicas, one is assigned to " + std::to_string(nodes.size()) + " nodes"};
    std::set<node_id> distinct;
    for (auto node : nodes) {
      const auto* info = image.node(node);
      if (info == nullptr || info->state == node_state::removed || info->leaving)
        return {errc::invalid_assignment, "there is no node " + std::to_string(node.value())};
      if (info->orders.drained)
        return {errc::invalid_assignment,
                "node " + std::to_string(node.value()) + " is drained and gets no replicas until that is undone"};
      if (!distinct.insert(node).second)
        return {errc::invalid_assignment, "node " + std::to_string(node.value()) + " is named twice for one partition"};
    }
    if (std::ranges::none_of(nodes, [&](node_id n) { return image.node(n)->state == node_state::active; }))
      return {errc::invalid_assignment, "a partition is assigned only to nodes that do not serve now"};
  }
  return {};
}

/// What is mentioned more than once: a request that says two things about one topic is not guessed at.
template <class Items, class Name>
std::set<std::string, std::less<>> repeated(const Items& items, Name name) {
  std::set<std::string, std::less<>> seen, twice;
  for (const auto& item : items)
    if (auto n = name(item); !n.empty() && !seen.insert(n).second) twice.insert(n);
  return twice;
}

std::string too_many(std::size_t wanted, std::int32_t most) {
  return "the cluster would have " + std::to_string(wanted) + " partitions, allowed are " + std::to_string(most);
}

/// The elements of a comma-separated list, without blanks around them.
std::vector<std::string> elements(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    auto item = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (item.starts_with(' ')) item.remove_prefix(1);
    while (item.ends_with(' ')) item.remove_suffix(1);
    if (!item.empty()) out.emplace_back(item);
  }
  return out;
}

std::string joined(const std::vector<std::string>& items) {
  std::string out;
  for (const auto& item : items) out.append(out.empty() ? "" : ",").append(item);
  return out;
}

}  // namespace

result<void> check_topic_name(std::string_view name) {
  constexpr std::size_t length_max = 249;
  if (name.empty()) return {errc::invalid_topic, "a topic name must not be empty"};
  if (name.size() > length_max)
    return {errc::invalid_topic, "a topic name has at most " + std::to_string(length_max) + " characters, this one " +
                                     std::to_string(name.size())};
  if (name == "." || name == "..") return {errc::invalid_topic, "a topic name must not be \".\" or \"..\""};
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  // The name itself is left out of the text: it may hold anything.
  if (!std::ranges::all_of(name, allowed))
    return {errc::invalid_topic, "a topic name has only letters and digits of ASCII, '.', '_' and '-'"};
  return {};
}

controller::plan controller::create_topics(const metadata_image& image, const std::vector<new_topic>& asked,
                                           bool validate_only) const {
  plan out;
  const auto twice = repeated(asked, [](const new_topic& t) { return t.name; });
  std::map<std::string, std::string> by_folded;  // '.' and '_' taken as one; filled when first needed
  if (std::ranges::any_of(asked, [](const new_topic& t) { return t.name.find_first_of("._") != std::string::npos; }))
    for (const auto& [name, t] : image.topics) by_folded.emplace(folded(name), name);
  auto partitions_total = image.partition_count;
  replica_plan planner{image};

  const auto decide = [&](const new_topic& want) -> result<topic> {
    if (auto name = check_topic_name(want.name); !name) return name.error();
    if (twice.contains(want.name)) return {errc::invalid_request, "the request names " + quoted(want.name) + " twice"};
    if (image.find(want.name)) return {errc::topic_exists, "topic " + quoted(want.name) + " exists"};
    if (const auto alike = by_folded.find(folded(want.name)); alike != by_folded.end())
      return {errc::invalid_topic,
              quoted(want.name) + " differs from " + quoted(alike->second) + " only in '.' and '_'"};

    seats assignments;
    if (!want.assignments.empty()) {
      if (want.partitions != -1 || want.replication != -1)
        return {errc::invalid_request, "with assignments, the counts of partitions and replicas must be -1"};
      if (partitions_total + want.assignments.size() > static_cast<std::size_t>(defaults_.partitions_max))
        return {errc::invalid_partitions,
                too_many(partitions_total + want.assignments.size(), defaults_.partitions_max)};
      if (auto ok = check_assignments(image, want.assignments, want.assignments.front().size()); !ok) return ok.error();
      assignments = want.assignments;
    } else {
      const auto count = want.partitions == -1 ? defaults_.partitions : want.partitions;
      const auto by_default = defaults_.replication > 0 ? defaults_.replication : planner.usual_replication();
      const auto replicas = want.replication == -1 ? by_default : want.replication;
      if (count < 1)
        return {errc::invalid_partitions, "a topic has at least 1 partition, not " + std::to_string(count)};
      if (partitions_total + static_cast<std::size_t>(count) > static_cast<std::size_t>(defaults_.partitions_max))
        return {errc::invalid_partitions,
                too_many(partitions_total + static_cast<std::size_t>(count), defaults_.partitions_max)};
      if (replicas < 1)
        return {errc::invalid_replication, "a partition has at least 1 replica, not " + std::to_string(replicas)};
      if (static_cast<std::size_t>(replicas) > planner.nodes())
        return {errc::invalid_replication, std::to_string(replicas) + " replicas of a partition need as many nodes, " +
                                               "the cluster has " + std::to_string(planner.nodes())};
      assignments = planner.fresh(static_cast<std::size_t>(count), static_cast<std::size_t>(replicas));
    }

    auto overrides = want.overrides;
    for (const auto& [name, value] : defaults_.topic_overrides)
      if (const auto* setting = find_topic_setting(name); setting && setting->fixed_at_creation)
        overrides.emplace(name, value);
    // With copies it decides who may be elected, so it is written down: leader and controller must go by the same.
    if (const auto width = assignments.front().size(); width > 1) {
      const auto configured = defaults_.topic_overrides.find(min_insync_setting);
      if (configured != defaults_.topic_overrides.end())
        overrides.emplace(min_insync_setting, configured->second);
      else if (width >= 3)
        overrides.emplace(min_insync_setting, "2");
    }
    auto settings = parse_topic_settings(overrides);
    if (!settings) return settings.error();
    return topic{new_id_(),
                 want.name,
                 false,
                 partitions_of(image, assignments, image.first_epoch(want.name)),
                 std::move(overrides),
                 *settings};
  };

  for (const auto& want : asked) {
    auto& decision = out.decisions.emplace_back(troupe::decision{want.name, {}, {}});
    auto made = decide(want);
    if (!made) {
      decision.refused = made.error();
      continue;
    }
    partitions_total += made->partitions.size();
    if (made->name.find_first_of("._") != std::string::npos) by_folded.emplace(folded(made->name), made->name);
    if (validate_only)
      decision.now = std::make_shared<const topic>(std::move(*made));
    else
      out.records.emplace_back(
          topic_created{made->id, made->name, made->internal, std::move(made->partitions), std::move(made->overrides)});
  }
  return out;
}

std::vector<metadata_record> controller::create_internal(const metadata_image& image, const std::string& name,
                                                         std::int32_t partitions) const {
  replica_plan planner{image};
  if (planner.nodes() == 0) return {};
  const auto seats = planner.fresh(static_cast<std::size_t>(partitions), planner.nodes() >= 3 ? 3 : 1);
  return {topic_created{new_id_(),
                        name,
                        true,
                        partitions_of(image, seats, image.first_epoch(name)),
                        {{std::string{min_insync_setting}, "2"}, {"retention.ms", "-1"}}}};
}

controller::plan controller::delete_topics(const metadata_image& image, const std::vector<doomed>& asked) const {
  plan out;
  const auto find = [&](const doomed& d) { return d.name.empty() ? image.find(d.id) : image.find(d.name); };
  // By the topic itself: one item may name it, another give its id.
  const auto twice = repeated(asked, [&](const doomed& d) {
    const auto found = find(d);
    return found ? found->name : d.name;
  });

  const auto decide = [&](const doomed& want, const std::shared_ptr<const topic>& found) -> result<void> {
    if (want.name.empty() && want.id.is_nil())
      return {errc::invalid_request, "neither name nor id of a topic is given"};
    if (!want.name.empty() && !want.id.is_nil())
      return {errc::invalid_request, "both name and id are given for " + quoted(want.name)};
    if (!found && want.name.empty()) return {errc::unknown_topic_id, "there is no topic with id " + want.id.text()};
    if (twice.contains(found ? found->name : want.name))
      return {errc::invalid_request, "the request names " + quoted(found ? found->name : want.name) + " twice"};
    if (!found) return {errc::unknown_topic, "there is no topic " + quoted(want.name)};
    if (found->internal) return {errc::invalid_topic, quoted(found->name) + " is internal and cannot be deleted"};
    return {};
  };

  for (const auto& want : asked) {
    const auto found = find(want);
    auto& decision = out.decisions.emplace_back(troupe::decision{found ? found->name : want.name, {}, {}});
    if (auto allowed = decide(want, found); !allowed)
      decision.refused = allowed.error();
    else
      out.records.emplace_back(topic_deleted{found->id});
  }
  return out;
}

controller::plan controller::create_partitions(const metadata_image& image, const std::vector<growth>& asked,
                                               bool validate_only) const {
  plan out;
  const auto twice = repeated(asked, [](const growth& g) { return g.name; });
  auto partitions_total = image.partition_count;
  replica_plan planner{image};

  const auto decide = [&](const growth& want, const std::shared_ptr<const topic>& found) -> result<seats> {
    if (twice.contains(want.name)) return {errc::invalid_request, "the request names " + quoted(want.name) + " twice"};
    if (!found) return {errc::unknown_topic, "there is no topic " + quoted(want.name)};
    if (found->internal) return {errc::invalid_topic, quoted(found->name) + " is internal and cannot grow"};
    const auto has = found->partitions.size();
    if (want.count <= 0 || static_cast<std::size_t>(want.count) <= has)
      return {errc::invalid_partitions, quoted(want.name) + " has " + std::to_string(has) +
                                            " partitions; the new total must be higher, not " +
                                            std::to_string(want.count)};
    const auto more = static_cast<std::size_t>(want.count) - has;
    if (partitions_total + more > static_cast<std::size_t>(defaults_.partitions_max))
      return {errc::invalid_partitions, too_many(partitions_total + more, defaults_.partitions_max)};
    const auto& first = found->partitions.front();
    const auto width = first.replicas.size() - first.removing.size();
    if (!want.assignments) {
      if (width > planner.nodes())
        return {errc::invalid_replication, std::to_string(width) + " replicas of a partition need as many nodes, " +
                                               "the cluster has " + std::to_string(planner.nodes())};
      return planner.fresh(more, width);
    }
    if (want.assignments->size() != more)
      return {errc::invalid_assignment, std::to_string(more) + " partitions are new, " +
                                            std::to_string(want.assignments->size()) + " are assigned"};
    if (auto ok = check_assignments(image, *want.assignments, width); !ok) return ok.error();
    return *want.assignments;
  };

  for (const auto& want : asked) {
    auto& decision = out.decisions.emplace_back(troupe::decision{want.name, {}, {}});
    const auto found = image.find(want.name);
    auto assignments = decide(want, found);
    if (!assignments) {
      decision.refused = assignments.error();
      continue;
    }
    auto added = partitions_of(image, *assignments, image.first_epoch(want.name));
    partitions_total += added.size();
    if (validate_only) {
      auto after = std::make_shared<topic>(*found);
      after->partitions.insert(after->partitions.end(), added.begin(), added.end());
      decision.now = std::move(after);
    } else {
      out.records.emplace_back(partitions_added{found->id, std::move(added)});
    }
  }
  return out;
}

namespace {

/// Overrides after one change. `fallback`: the value where there is no override.
result<void> change(setting_map& overrides, const setting_change& change, std::string_view fallback,
                    const topic_setting& setting) {
  using operation = setting_change::operation;
  if (change.op == operation::remove) {
    overrides.erase(change.name);
    return {};
  }
  if (!change.value) return {errc::invalid_request, "no value is given for " + change.name};
  if (change.op == operation::set) {
    overrides[change.name] = *change.value;
    return {};
  }
  if (setting.type != topic_setting::kind::list)
    return {errc::invalid_config,
            change.name + " is no list: a value can be set or removed, not appended or subtracted"};
  const auto at = overrides.find(change.name);
  auto list = elements(at == overrides.end() ? fallback : std::string_view{at->second});
  for (const auto& item : elements(*change.value)) {
    const auto there = std::ranges::find(list, item);
    if (change.op == operation::append && there == list.end()) list.push_back(item);
    if (change.op == operation::subtract && there != list.end()) list.erase(there);
  }
  overrides[change.name] = joined(list);
  return {};
}

}  // namespace

controller::plan controller::alter_configs(const metadata_image& image, const std::vector<reconfiguration>& asked,
                                           bool validate_only) const {
  plan out;
  const auto twice = repeated(asked, [](const reconfiguration& r) { return r.name; });
  const auto value_in = [&](const setting_map& overrides, const topic_setting& setting) {
    return value_of(setting, defaults_.topic_overrides, overrides).value;
  };

  const auto decide = [&](const reconfiguration& want, const std::shared_ptr<const topic>& found) -> result<topic> {
    if (twice.contains(want.name)) return {errc::invalid_request, "the request names " + quoted(want.name) + " twice"};
    if (!found) return {errc::unknown_topic, "there is no topic " + quoted(want.name)};
    auto overrides = found->overrides;
    // "All others go back to their default" cannot mean those that never change.
    if (want.replace_all)
      std::erase_if(overrides, [](const auto& o) { return !find_topic_setting(o.first)->fixed_at_creation; });
    std::set<std::string_view> seen;
    for (const auto& c : want.changes) {
      const auto* setting = find_topic_setting(c.name);
      // The parser knows how to say that there is no such setting.
      if (!setting) return parse_topic_settings({{c.name, ""}}).error();
      if (!seen.insert(c.name).second) return {errc::invalid_request, "the request names " + c.name + " twice"};
      if (auto done = change(overrides, c, value_in({}, *setting), *setting); !done) return done.error();
      if (setting->fixed_at_creation && value_in(overrides, *setting) != value_in(found->overrides, *setting))
        return {errc::invalid_config, c.name + " is fixed when a topic is created; " + quoted(want.name) + " has " +
                                          std::string{value_in(found->overrides, *setting)}};
    }
    auto settings = parse_topic_settings(overrides);
    if (!settings) return settings.error();
    auto after = *found;
    after.overrides = std::move(overrides);
    after.settings = *settings;
    return after;
  };

  for (const auto& want : asked) {
    auto& decision = out.decisions.emplace_back(troupe::decision{want.name, {}, {}});
    const auto found = image.find(want.name);
    auto after = decide(want, found);
    if (!after)
      decision.refused = after.error();
    else if (validate_only)
      decision.now = std::make_shared<const topic>(std::move(*after));
    else if (after->overrides != found->overrides)
      out.records.emplace_back(topic_configured{found->id, std::move(after->overrides)});
  }
  return out;
}

controller::id_block controller::reserve_producer_ids(const metadata_image& image, std::int64_t count) const {
  TROUPE_CHECK(count > 0);
  return {producer_id{image.next_producer_id}, {producer_ids_reserved{image.next_producer_id + count}}};
}

}  // namespace troupe
