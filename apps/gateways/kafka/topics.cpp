#include <caf/send.hpp>

#include "apps/gateways/kafka/decided_exchange.hpp"
#include "apps/gateways/kafka/topic_configs.hpp"

/// Requests that make, grow and remove topics: the controller decides, item by item.
namespace troupe::kafka {
namespace {

class create_topics_exchange final : public decided_exchange<create_topics_request, create_topics_response> {
public:
  using decided_exchange::decided_exchange;

private:
  void serve() override {
    std::vector<new_topic> wanted;
    told.topics.resize(asked.topics.size());
    for (std::size_t i = 0; i < asked.topics.size(); ++i) {
      told.topics[i].name = asked.topics[i].name;
      auto t = translate(asked.topics[i]);
      if (!t.ok()) {
        refuse(i, t.error());
        continue;
      }
      wanted.push_back(std::move(*t));
      sent(i);
    }
    if (!anything_sent()) return answer(told);
    decide(asked.timeout_ms, [to = setup().controller, wanted = std::move(wanted),
                              validate_only = asked.validate_only](decisions_reply answer) {
      caf::anon_send(to, troupe::create_topics_request{wanted, validate_only, std::move(answer)});
    });
  }

  static result<new_topic> translate(const create_topics_request::creatable_topic& t) {
    new_topic out{.name = std::string{t.name}, .partitions = t.num_partitions, .replication = t.replication_factor};
    out.assignments.resize(t.assignments.size());
    for (const auto& a : t.assignments) {
      const auto index = static_cast<std::size_t>(a.partition_index);
      // Each index once, and none left out.
      if (a.partition_index < 0 || index >= out.assignments.size() || !out.assignments[index].empty() ||
          a.broker_ids.empty())
        return {errc::invalid_assignment, "assignments must name each partition from 0 on once, with its nodes"};
      out.assignments[index] = nodes_of(a.broker_ids);
    }
    for (const auto& c : t.configs) {
      if (!c.value) return {errc::invalid_config, "no value is given for " + std::string{c.name}};
      if (!out.overrides.emplace(c.name, *c.value).second)
        return {errc::invalid_config, "the request names " + std::string{c.name} + " twice"};
    }
    return out;
  }

  void done(std::size_t place, const decision& made) override {
    auto& out = told.topics[place];
    if (!made.now) return;
    out.topic_id = made.now->id;
    out.num_partitions = static_cast<std::int32_t>(made.now->partitions.size());
    out.replication_factor =
        made.now->partitions.empty() ? 0 : static_cast<std::int16_t>(made.now->partitions.front().replicas.size());
    for (const auto& c : describe_topic(made.now->overrides, setup().topic_defaults))
      out.configs->push_back({c.name, c.value, c.read_only, c.config_source, c.is_sensitive});
  }
  void refuse(std::size_t place, const error& why) override { put_error(told.topics[place], why); }
};

class delete_topics_exchange final : public decided_exchange<delete_topics_request, delete_topics_response> {
public:
  using decided_exchange::decided_exchange;

private:
  void serve() override {
    std::vector<controller::doomed> doomed;
    const auto add = [&](std::optional<std::string_view> name, topic_id id) {
      auto& out = told.responses.emplace_back();
      if (name) out.name = std::string{*name};
      out.topic_id = id;
      sent(doomed.size());
      doomed.push_back({std::string{name.value_or("")}, id});
    };
    for (const auto& t : asked.topics) add(t.name, t.topic_id);
    for (const auto& name : asked.topic_names) add(name, {});
    if (doomed.empty()) return answer(told);
    decide(asked.timeout_ms, [to = setup().controller, doomed = std::move(doomed)](decisions_reply answer) {
      caf::anon_send(to, troupe::delete_topics_request{doomed, std::move(answer)});
    });
  }
  void done(std::size_t place, const decision& made) override {
    auto& out = told.responses[place];
    if (!out.name && !made.name.empty()) out.name = made.name;
  }
  void refuse(std::size_t place, const error& why) override { put_error(told.responses[place], why); }
};

class create_partitions_exchange final
    : public decided_exchange<create_partitions_request, create_partitions_response> {
public:
  using decided_exchange::decided_exchange;

private:
  void serve() override {
    std::vector<controller::growth> wanted;
    told.results.resize(asked.topics.size());
    for (std::size_t i = 0; i < asked.topics.size(); ++i) {
      const auto& t = asked.topics[i];
      told.results[i].name = t.name;
      controller::growth growth{.name = std::string{t.name}, .count = t.count, .assignments = {}};
      if (t.assignments) {
        growth.assignments.emplace();
        for (const auto& a : *t.assignments) growth.assignments->push_back(nodes_of(a.broker_ids));
      }
      wanted.push_back(std::move(growth));
      sent(i);
    }
    if (wanted.empty()) return answer(told);
    decide(asked.timeout_ms, [to = setup().controller, wanted = std::move(wanted),
                              validate_only = asked.validate_only](decisions_reply answer) {
      caf::anon_send(to, troupe::create_partitions_request{wanted, validate_only, std::move(answer)});
    });
  }
  void done(std::size_t, const decision&) override {}
  void refuse(std::size_t place, const error& why) override { put_error(told.results[place], why); }
};

}  // namespace

exchange_maker* const make_create_topics = &make<create_topics_exchange>;
exchange_maker* const make_delete_topics = &make<delete_topics_exchange>;
exchange_maker* const make_create_partitions = &make<create_partitions_exchange>;

}  // namespace troupe::kafka
