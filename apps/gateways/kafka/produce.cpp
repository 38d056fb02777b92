#include <caf/send.hpp>

#include "apps/gateways/kafka/handlers.hpp"

/// Writing: Produce, and the ids of idempotent producers.
namespace troupe::kafka {
namespace {

class produce_exchange final : public exchange_of<produce_request, produce_response> {
public:
  using exchange_of::exchange_of;

private:
  void serve() override {
    const auto now = view();
    const auto deadline = arrived() + std::chrono::milliseconds{std::max(asked.timeout_ms, 0)};
    const bool acks_valid = asked.acks >= -1 && asked.acks <= 1;
    told.responses.resize(asked.topic_data.size());
    for (std::size_t t = 0; t < asked.topic_data.size(); ++t) {
      const auto& topic = asked.topic_data[t];
      auto& out = told.responses[t];
      out.name = topic.name;
      out.partition_responses.resize(topic.partition_data.size());
      const topic_route route{*now, topic.name};
      for (std::size_t p = 0; p < topic.partition_data.size(); ++p) {
        const auto& part = topic.partition_data[p];
        out.partition_responses[p].index = part.index;
        const auto found = route.find(part.index);
        if (!acks_valid)
          refuse(t, p, {errc::invalid_required_acks, "acks must be 0, 1 or -1 (all)"});
        else if (route.known() != nullptr && route.known()->internal)
          refuse(t, p, {errc::invalid_topic, "the topic is internal"});
        else if (!found.ok())
          refuse(t, p, found.error());
        else
          send(**found, t, p, deadline);
      }
    }
    if (open_ == 0) finish();
  }

  void send(const caf::actor& partition, std::size_t t, std::size_t p, instant deadline) {
    ++open_;
    produce message;
    // The partition may write into its part of the frame from now on, and keeps the frame until it is stored.
    if (const auto& records = asked.topic_data[t].partition_data[p].records)
      message.records = {request().frame.owner, *records};
    message.transactional_id = asked.transactional_id.has_value();
    message.acks = asked.acks;
    message.zstd_allowed = version() >= 7;
    message.deadline = deadline;
    produce::outcome lost;
    lost.refused = partition_gone;
    message.answer = reply(std::move(lost), [this, t, p](produce::outcome outcome) {
      take(t, p, std::move(outcome));
      if (--open_ == 0) finish();
    });
    caf::anon_send(partition, std::move(message));
  }

  void take(std::size_t t, std::size_t p, produce::outcome outcome) {
    auto& out = told.responses[t].partition_responses[p];
    out.log_start_offset = outcome.log_start.value();
    if (outcome.refused) {
      refuse(t, p, *outcome.refused);
      for (auto& r : outcome.records) out.record_errors.push_back({r.index, std::move(r.text)});
      return;
    }
    out.base_offset = outcome.base.value();
    out.log_append_time_ms = outcome.append_time_ms;
  }

  void refuse(std::size_t t, std::size_t p, const error& why) {
    auto& out = told.responses[t].partition_responses[p];
    failed_ = true;
    out.error_code = code_of(why);
    if (!why.text.empty()) out.error_message = why.text;
    out.base_offset = -1;
    if (out.error_code != code::not_leader_or_follower || version() < 10) return;
    // The client goes straight to the leader, without asking for metadata.
    const auto now = view();
    const auto* led = topic_route{*now, told.responses[t].name}.led_elsewhere(out.index, setup().node);
    const bool known = led != nullptr && setup().directory->may_name_leader(*led, setup().node);
    const auto node = known ? now->image->nodes.find(led->leader) : now->image->nodes.end();
    if (node == now->image->nodes.end()) return;
    out.current_leader = {led->leader.value(), led->epoch.value()};
    const auto same = [&](const auto& n) { return n.node_id == led->leader.value(); };
    if (std::none_of(told.node_endpoints.begin(), told.node_endpoints.end(), same))
      told.node_endpoints.push_back({led->leader.value(), node->second.kafka.host, node->second.kafka.port, {}});
  }

  void finish() {
    if (asked.acks != 0) return answer(told);
    // Nobody reads an answer; losing the connection is the only sign that something was refused.
    if (failed_) return break_connection("produce_refused");
    answer_nothing();
  }

  std::size_t open_{0};  ///< partitions that have not answered
  bool failed_{false};
};

class init_producer_id_exchange final : public exchange_of<init_producer_id_request, init_producer_id_response> {
public:
  using exchange_of::exchange_of;

private:
  void serve() override {
    // There is no transaction coordinator. This code ends a producer for good in Java and in librdkafka; any that says
    // "not available" is repeated for ever, and librdkafka also repeats "unsupported version". Clients seldom come this
    // far: they look for the coordinator first, and see that FindCoordinator is not offered.
    if (asked.transactional_id) {
      told.error_code = counted(code::transactional_id_authorization_failed);
      told.producer_epoch = -1;
      return answer(told);
    }
    // The id and epoch that the request may carry say nothing to us: without transactions the answer is a fresh id.
    auto take = reply(given{no_producer, controller_gone}, [this](const given& g) {
      told.producer_id = g.id.value();
      if (g.refused) told.error_code = code_of(*g.refused);
      told.producer_epoch = g.refused ? -1 : 0;
      answer(told);
    });
    caf::anon_send(setup().controller, producer_id_request{[take](const result<producer_id>& id) {
                     take(id.ok() ? given{*id, {}} : given{no_producer, id.error()});
                   }});
  }

  struct given {
    producer_id id;
    std::optional<error> refused;
  };
};

}  // namespace

exchange_maker* const make_produce = &make<produce_exchange>;
exchange_maker* const make_init_producer_id = &make<init_producer_id_exchange>;

}  // namespace troupe::kafka
