#include <caf/send.hpp>

#include "apps/gateways/kafka/handlers.hpp"

/// Requests that ask each partition one thing: ListOffsets, OffsetForLeaderEpoch, DeleteRecords.
namespace troupe::kafka {
namespace {

// These requests and their answers have one shape, but two names for its parts.
template <class Topic>
auto& name_of(Topic& t) {
  if constexpr (requires { t.name; })
    return t.name;
  else
    return t.topic;
}
template <class Partition>
auto& index_of(Partition& p) {
  if constexpr (requires { p.partition_index; })
    return p.partition_index;
  else
    return p.partition;
}

/// Asks each partition, and answers when all have.
template <class Request, class Response, class Message>
class partition_by_partition : public exchange_of<Request, Response> {
public:
  using exchange_of<Request, Response>::exchange_of;

protected:
  using asked_topic = typename decltype(Request::topics)::value_type;
  using asked_partition = typename decltype(asked_topic::partitions)::value_type;
  using told_topic = typename decltype(Response::topics)::value_type;
  using told_partition = typename decltype(told_topic::partitions)::value_type;
  using outcome = typename Message::outcome;

  void serve() override {
    const auto now = this->view();
    this->told.topics.resize(this->asked.topics.size());
    for (std::size_t t = 0; t < this->asked.topics.size(); ++t) {
      const auto& topic = this->asked.topics[t];
      auto& out = this->told.topics[t];
      name_of(out) = name_of(topic);
      out.partitions.resize(topic.partitions.size());
      const topic_route route{*now, name_of(topic)};
      for (std::size_t p = 0; p < topic.partitions.size(); ++p) {
        index_of(out.partitions[p]) = index_of(topic.partitions[p]);
        ask(route, t, p);
      }
    }
    if (open_ == 0) this->answer(this->told);
  }

  /// What to ask a partition; nothing where its entry in the answer is right as it is.
  virtual result<std::optional<Message>> question(const topic_route&, const asked_topic&, const asked_partition&) = 0;
  virtual void take(told_partition&, const outcome&) = 0;
  virtual void refuse(told_partition& out, const error& why) { out.error_code = this->code_of(why); }

private:
  void ask(const topic_route& route, std::size_t t, std::size_t p) {
    const auto& topic = this->asked.topics[t];
    auto& out = this->told.topics[t].partitions[p];
    auto message = question(route, topic, topic.partitions[p]);
    if (!message.ok()) return refuse(out, message.error());
    if (!*message) return;
    const auto found = route.find(index_of(topic.partitions[p]));
    if (!found.ok()) return refuse(out, found.error());
    ++open_;
    outcome lost;
    lost.refused = partition_gone;
    // `told` keeps its size from here on, so its entries stay where they are.
    (*message)->answer = this->reply(std::move(lost), [this, &out](outcome said) {
      if (said.refused)
        refuse(out, *said.refused);
      else
        take(out, said);
      if (--open_ == 0) this->answer(this->told);
    });
    caf::anon_send(**found, std::move(**message));
  }

  std::size_t open_{0};  ///< partitions that have not answered
};

class list_offsets_exchange final
    : public partition_by_partition<list_offsets_request, list_offsets_response, list_offsets> {
public:
  using partition_by_partition::partition_by_partition;

private:
  static constexpr std::int64_t last_tiered = -5;

  void serve() override {
    for (const auto& topic : asked.topics)
      for (const auto& part : topic.partitions) ++times_[{topic.name, part.partition_index}];
    partition_by_partition::serve();
  }

  result<std::optional<list_offsets>> question(const topic_route&, const asked_topic& topic,
                                               const asked_partition& part) override {
    if (times_[{topic.name, part.partition_index}] > 1) return {errc::invalid_request, "the partition is named twice"};
    if (!known(part.timestamp)) return {errc::unsupported_version, "no such special timestamp in this version"};
    // No tier holds anything: offset -1, which is what the entry says already.
    if (part.timestamp == last_tiered) return std::optional<list_offsets>{};
    return std::optional{
        list_offsets{part.timestamp, leader_epoch{part.current_leader_epoch}, asked.isolation_level == 1, {}}};
  }

  /// Each special timestamp came with a version of its own.
  bool known(std::int64_t timestamp) const {
    switch (timestamp) {
      case list_offsets::latest:
      case list_offsets::earliest:
        return true;
      case list_offsets::max_timestamp:
        return version() >= 7;
      case list_offsets::earliest_local:
        return version() >= 8;
      case last_tiered:
        return version() >= 9;
      default:
        return timestamp >= 0;
    }
  }

  void take(told_partition& out, const outcome& said) override {
    out.timestamp = said.timestamp;
    out.offset = said.offset.value();
    out.leader_epoch = said.epoch.value();
  }

  std::map<std::pair<std::string_view, std::int32_t>, int> times_;  ///< how often each partition is named
};

class epoch_exchange final
    : public partition_by_partition<offset_for_leader_epoch_request, offset_for_leader_epoch_response, epoch_end> {
public:
  using partition_by_partition::partition_by_partition;

private:
  result<std::optional<epoch_end>> question(const topic_route&, const asked_topic&,
                                            const asked_partition& part) override {
    return std::optional{epoch_end{leader_epoch{part.current_leader_epoch}, leader_epoch{part.leader_epoch}, {}}};
  }
  void take(told_partition& out, const outcome& said) override {
    out.leader_epoch = said.epoch.value();
    out.end_offset = said.end.value();
  }
};

class delete_records_exchange final
    : public partition_by_partition<delete_records_request, delete_records_response, delete_records> {
public:
  using partition_by_partition::partition_by_partition;

private:
  result<std::optional<delete_records>> question(const topic_route& route, const asked_topic&,
                                                 const asked_partition& part) override {
    if (route.known() != nullptr && route.known()->internal) return {errc::invalid_topic, "the topic is internal"};
    return std::optional{delete_records{log_offset{part.offset}, {}}};
  }
  void take(told_partition& out, const outcome& said) override { out.low_watermark = said.low_watermark.value(); }
  void refuse(told_partition& out, const error& why) override {
    partition_by_partition::refuse(out, why);
    out.low_watermark = -1;
  }
};

}  // namespace

exchange_maker* const make_list_offsets = &make<list_offsets_exchange>;
exchange_maker* const make_offset_for_leader_epoch = &make<epoch_exchange>;
exchange_maker* const make_delete_records = &make<delete_records_exchange>;

}  // namespace troupe::kafka
