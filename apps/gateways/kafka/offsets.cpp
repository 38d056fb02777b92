#include <caf/send.hpp>

#include "apps/gateways/kafka/handlers.hpp"

/// Requests that ask each partition one thing: ListOffsets, OffsetForLeaderEpoch, DeleteRecords.
namespace troupe::kafka {
namespace {

/// Asks each partition, and answers when all have. `t` and `p` are places in the request, and so in the answer.
template <class Request, class Response, class Message>
class partition_by_partition : public exchange_of<Request, Response> {
public:
  using exchange_of<Request, Response>::exchange_of;

protected:
  using outcome = typename Message::outcome;

  void ask(const topic_route& route, std::int32_t index, std::size_t t, std::size_t p, Message message) {
    const auto found = route.find(index);
    if (!found.ok()) return refuse(t, p, found.error());
    ++open_;
    outcome lost;
    lost.refused = partition_gone;
    message.answer = this->reply(std::move(lost), [this, t, p](outcome said) {
      if (said.refused)
        refuse(t, p, *said.refused);
      else
        take(t, p, said);
      if (--open_ == 0) this->answer(this->told);
    });
    caf::anon_send(**found, std::move(message));
  }
  /// All partitions are asked.
  void asked_all() {
    if (open_ == 0) this->answer(this->told);
  }
  virtual void take(std::size_t t, std::size_t p, const outcome&) = 0;
  virtual void refuse(std::size_t t, std::size_t p, const error&) = 0;

  std::size_t open_{0};
};

class list_offsets_exchange final
    : public partition_by_partition<list_offsets_request, list_offsets_response, list_offsets> {
public:
  using partition_by_partition::partition_by_partition;

private:
  static constexpr std::int64_t last_tiered = -5;

  void serve() override {
    const auto now = view();
    told.topics.resize(asked.topics.size());
    std::map<std::pair<std::string_view, std::int32_t>, int> times;
    for (const auto& topic : asked.topics)
      for (const auto& part : topic.partitions) ++times[{topic.name, part.partition_index}];
    for (std::size_t t = 0; t < asked.topics.size(); ++t) {
      const auto& topic = asked.topics[t];
      told.topics[t].name = topic.name;
      told.topics[t].partitions.resize(topic.partitions.size());
      const topic_route route{*now, topic.name};
      for (std::size_t p = 0; p < topic.partitions.size(); ++p) {
        const auto& part = topic.partitions[p];
        told.topics[t].partitions[p].partition_index = part.partition_index;
        if (times[{topic.name, part.partition_index}] > 1)
          refuse(t, p, {errc::invalid_request, "the partition is named twice"});
        else if (!known(part.timestamp))
          refuse(t, p, {errc::unsupported_version, "no such special timestamp in this version"});
        else if (part.timestamp == last_tiered)
          continue;  // no tier holds anything: offset -1, which is what the entry says already
        else
          ask(route, part.partition_index, t, p,
              {part.timestamp, leader_epoch{part.current_leader_epoch}, asked.isolation_level == 1, {}});
      }
    }
    asked_all();
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

  void take(std::size_t t, std::size_t p, const outcome& said) override {
    auto& out = told.topics[t].partitions[p];
    out.timestamp = said.timestamp;
    out.offset = said.offset.value();
    out.leader_epoch = said.epoch.value();
  }
  void refuse(std::size_t t, std::size_t p, const error& why) override {
    told.topics[t].partitions[p].error_code = code_of(why);
  }
};

class epoch_exchange final
    : public partition_by_partition<offset_for_leader_epoch_request, offset_for_leader_epoch_response, epoch_end> {
public:
  using partition_by_partition::partition_by_partition;

private:
  void serve() override {
    const auto now = view();
    told.topics.resize(asked.topics.size());
    for (std::size_t t = 0; t < asked.topics.size(); ++t) {
      const auto& topic = asked.topics[t];
      told.topics[t].topic = topic.topic;
      told.topics[t].partitions.resize(topic.partitions.size());
      const topic_route route{*now, topic.topic};
      for (std::size_t p = 0; p < topic.partitions.size(); ++p) {
        const auto& part = topic.partitions[p];
        told.topics[t].partitions[p].partition = part.partition;
        ask(route, part.partition, t, p,
            {leader_epoch{part.current_leader_epoch}, leader_epoch{part.leader_epoch}, {}});
      }
    }
    asked_all();
  }
  void take(std::size_t t, std::size_t p, const outcome& said) override {
    auto& out = told.topics[t].partitions[p];
    out.leader_epoch = said.epoch.value();
    out.end_offset = said.end.value();
  }
  void refuse(std::size_t t, std::size_t p, const error& why) override {
    told.topics[t].partitions[p].error_code = code_of(why);
  }
};

class delete_records_exchange final
    : public partition_by_partition<delete_records_request, delete_records_response, delete_records> {
public:
  using partition_by_partition::partition_by_partition;

private:
  void serve() override {
    const auto now = view();
    told.topics.resize(asked.topics.size());
    for (std::size_t t = 0; t < asked.topics.size(); ++t) {
      const auto& topic = asked.topics[t];
      told.topics[t].name = topic.name;
      told.topics[t].partitions.resize(topic.partitions.size());
      const topic_route route{*now, topic.name};
      for (std::size_t p = 0; p < topic.partitions.size(); ++p) {
        const auto& part = topic.partitions[p];
        told.topics[t].partitions[p].partition_index = part.partition_index;
        if (route.known() != nullptr && route.known()->internal)
          refuse(t, p, {errc::invalid_topic, "the topic is internal"});
        else
          ask(route, part.partition_index, t, p, {log_offset{part.offset}, {}});
      }
    }
    asked_all();
  }
  void take(std::size_t t, std::size_t p, const outcome& said) override {
    told.topics[t].partitions[p].low_watermark = said.low_watermark.value();
  }
  void refuse(std::size_t t, std::size_t p, const error& why) override {
    auto& out = told.topics[t].partitions[p];
    out.error_code = code_of(why);
    out.low_watermark = -1;
  }
};

}  // namespace

exchange_maker* const make_list_offsets = &make<list_offsets_exchange>;
exchange_maker* const make_offset_for_leader_epoch = &make<epoch_exchange>;
exchange_maker* const make_delete_records = &make<delete_records_exchange>;

}  // namespace troupe::kafka
