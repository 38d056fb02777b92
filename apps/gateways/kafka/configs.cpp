#include <caf/send.hpp>
#include <set>

#include "apps/gateways/kafka/decided_exchange.hpp"
#include "apps/gateways/kafka/topic_configs.hpp"

/// Settings of topics, to read and to change, and the options of this node, to read.
namespace troupe::kafka {
namespace {

using entry = describe_configs_response::resource_result;

constexpr std::int8_t topic_resource = 2, node_resource = 4;

std::int8_t number(config_source s) {
  return static_cast<std::int8_t>(s);
}

error unknown_kind(std::int8_t type) {
  return {errc::invalid_request,
          "resources of type " + std::to_string(type) + " have no settings here; topics (2) and nodes (4) do"};
}

class describe_configs_exchange final : public exchange_of<describe_configs_request, describe_configs_response> {
public:
  using exchange_of::exchange_of;

private:
  void serve() override {
    const auto now = view();
    // Described once each: a request that repeats a resource a million times would make a huge answer.
    std::set<std::pair<std::int8_t, std::string_view>> seen;
    for (const auto& r : asked.resources) {
      auto& out = told.results.emplace_back();
      out.resource_type = r.resource_type;
      out.resource_name = r.resource_name;
      auto found = seen.emplace(r.resource_type, r.resource_name).second
                       ? describe(r, *now)
                       : error{errc::invalid_request, "the request names the resource twice"};
      if (!found.ok()) {
        out.error_code = code_of(found.error());
        out.error_message = found.error().text;
        continue;
      }
      for (auto& c : *found) {
        if (!wanted(r, c.name)) continue;
        if (!asked.include_synonyms) c.synonyms.clear();
        if (!asked.include_documentation) c.documentation.reset();
        out.configs.push_back(std::move(c));
      }
    }
    answer(told);
  }

  /// Kafka takes an empty list like none at all.
  static bool wanted(const describe_configs_request::resource& r, const std::string& name) {
    const auto& keys = r.configuration_keys;
    return !keys || keys->empty() || std::ranges::find(*keys, name) != keys->end();
  }

  result<std::vector<entry>> describe(const describe_configs_request::resource& r, const cluster_view& now) const {
    if (r.resource_type == topic_resource) {
      if (auto valid = check_topic_name(r.resource_name); !valid.ok()) return valid.error();
      const auto found = now.image->topics.find(r.resource_name);
      if (found == now.image->topics.end())
        return {errc::unknown_topic, "there is no topic " + std::string{r.resource_name}};
      return describe_topic(found->second->overrides, setup().topic_defaults);
    }
    if (r.resource_type == node_resource) {
      // No name means: what holds for all nodes. Nothing is set that way.
      if (r.resource_name.empty()) return std::vector<entry>{};
      const auto here = std::to_string(setup().node.value());
      if (r.resource_name != here)
        return {errc::invalid_request, "this is node " + here + ", not " + std::string{r.resource_name}};
      return describe_node();
    }
    return unknown_kind(r.resource_type);
  }

  std::vector<entry> describe_node() const {
    std::vector<entry> all;
    for (const auto& o : setup().options) {
      const auto source =
          number(o.value == o.default_value ? config_source::default_value : config_source::static_node);
      auto& e = all.emplace_back();
      e.name = o.name;
      e.value = o.value;
      e.read_only = true;
      e.config_source = source;
      e.config_type = static_cast<std::int8_t>(topic_setting::kind::string);
      e.documentation = o.documentation;
      if (o.value != o.default_value) e.synonyms.push_back({o.name, o.value, source});
      e.synonyms.push_back({o.name, o.default_value, number(config_source::default_value)});
    }
    return all;
  }
};

/// AlterConfigs and IncrementalAlterConfigs differ in what a list of settings means, and in the names of things.
template <class Request, class Response>
class alter_exchange : public decided_exchange<Request, Response> {
public:
  using decided_exchange<Request, Response>::decided_exchange;

private:
  static constexpr std::int32_t timeout_ms = 30'000;  // the request has none

  void serve() override {
    std::vector<controller::reconfiguration> wanted;
    this->told.responses.resize(this->asked.resources.size());
    for (std::size_t i = 0; i < this->asked.resources.size(); ++i) {
      const auto& r = this->asked.resources[i];
      auto& out = this->told.responses[i];
      out.resource_type = r.resource_type;
      out.resource_name = r.resource_name;
      if (auto fits = check(r); !fits.ok()) {
        refuse(i, fits.error());
        continue;
      }
      controller::reconfiguration change{.name = std::string{r.resource_name}, .changes = {}, .replace_all = replaces};
      for (const auto& c : r.configs) change.changes.push_back(translate(c));
      wanted.push_back(std::move(change));
      this->sent(i);
    }
    if (wanted.empty()) return this->answer(this->told);
    this->decide(timeout_ms, [to = this->setup().controller, wanted = std::move(wanted),
                              validate_only = this->asked.validate_only](decisions_reply answer) {
      caf::anon_send(to, troupe::alter_configs_request{wanted, validate_only, std::move(answer)});
    });
  }

  static constexpr bool replaces = std::is_same_v<Request, kafka::alter_configs_request>;

  template <class Resource>
  result<void> check(const Resource& r) const {
    if (r.resource_type == node_resource)
      return {errc::invalid_request, "a node's options are set where it is started (file, environment, command line)"};
    if (r.resource_type != topic_resource) return unknown_kind(r.resource_type);
    if constexpr (!replaces)
      for (const auto& c : r.configs)
        if (c.config_operation < 0 || c.config_operation > 3)
          return {errc::invalid_request, "operation " + std::to_string(c.config_operation) + " for " +
                                             std::string{c.name} + ": 0 set, 1 delete, 2 append, 3 subtract"};
    return {};
  }

  template <class Config>
  static setting_change translate(const Config& c) {
    setting_change change{.name = std::string{c.name}, .op = setting_change::operation::set, .value = {}};
    if (c.value) change.value = std::string{*c.value};
    if constexpr (!replaces) change.op = static_cast<setting_change::operation>(c.config_operation);
    return change;
  }

  void done(std::size_t, const decision&) override {}
  void refuse(std::size_t place, const error& why) override { this->put_error(this->told.responses[place], why); }
};

}  // namespace

std::vector<entry> describe_topic(const setting_map& overrides, const setting_map& defaults) {
  std::vector<entry> all;
  for (const auto& s : topic_setting_list()) {
    const auto source = [](setting_value::origin from) {
      switch (from) {
        case setting_value::origin::topic:
          return number(config_source::topic);
        case setting_value::origin::node:
          return number(config_source::static_node);
        case setting_value::origin::table:
          break;
      }
      return number(config_source::default_value);
    };
    const auto in_force = value_of(s, defaults, overrides);
    auto& e = all.emplace_back();
    e.name = s.name;
    e.value = std::string{in_force.value};
    e.read_only = s.fixed_at_creation;
    e.config_source = source(in_force.from);
    e.config_type = static_cast<std::int8_t>(s.type);
    e.documentation = std::string{s.documentation};
    // From the strongest to the weakest, starting with the one in force.
    static const setting_map none;
    const setting_value weaker[] = {in_force, value_of(s, defaults, none), value_of(s, none, none)};
    for (auto last = setting_value::origin{255}; const auto& v : weaker)
      if (v.from != std::exchange(last, v.from)) e.synonyms.push_back({e.name, std::string{v.value}, source(v.from)});
  }
  return all;
}

exchange_maker* const make_describe_configs = &make<describe_configs_exchange>;
exchange_maker* const make_alter_configs = &make<alter_exchange<kafka::alter_configs_request, alter_configs_response>>;
exchange_maker* const make_incremental_alter_configs =
    &make<alter_exchange<incremental_alter_configs_request, incremental_alter_configs_response>>;

}  // namespace troupe::kafka
