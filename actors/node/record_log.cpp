#include "actors/node/record_log.hpp"

#include <string_view>

#include "runtime/observe/log.hpp"

namespace troupe {

namespace {

using observe::level;

std::string_view name_of(const metadata_record& record) {
  constexpr std::string_view names[] = {
      "cluster_formed",   "node_registered",       "topic_created", "topic_deleted",      "partitions_added",
      "topic_configured", "producer_ids_reserved", "epoch_retired", "partitions_changed", "node_changed",
      "shards_changed",   "voters_wanted",         "node_ordered"};
  static_assert(std::size(names) == std::variant_size_v<metadata_record>);
  return names[record.index()];
}

std::string_view name_of(node_state state) {
  constexpr std::string_view names[] = {"active", "fenced", "draining", "removed"};
  return names[static_cast<std::size_t>(state)];
}

std::string_view name_of(voting votes) {
  constexpr std::string_view names[] = {"automatic", "always", "never"};
  return names[static_cast<std::size_t>(votes)];
}

}  // namespace

void log_record(const metadata_record& record, const metadata_image& before) {
  const auto event = name_of(record);
  const auto topic_name = [&](const topic_id& id) {
    const auto at = before.names.find(id);
    return at == before.names.end() ? id.text() : at->second;
  };
  if (const auto* r = std::get_if<cluster_formed>(&record))
    observe::log(level::info, "controller", event, {{"cluster", r->cluster_id}});
  if (const auto* r = std::get_if<node_registered>(&record))
    observe::log(level::info, "controller", event,
                 {{"node", r->node.id},
                  {"epoch", r->node.node_epoch},
                  {"host", r->node.kafka.host},
                  {"port", r->node.kafka.port}});
  if (const auto* r = std::get_if<node_changed>(&record))
    observe::log(level::info, "controller", event,
                 {{"node", r->id}, {"state", name_of(r->state)}, {"leaving", r->leaving ? 1 : 0}});
  if (const auto* r = std::get_if<node_ordered>(&record))
    observe::log(level::info, "controller", event,
                 {{"node", r->id}, {"drained", r->orders.drained ? 1 : 0}, {"votes", name_of(r->orders.votes)}});
  if (const auto* r = std::get_if<topic_created>(&record))
    observe::log(level::info, "controller", event,
                 {{"topic", r->name}, {"id", r->id.text()}, {"partitions", r->partitions.size()}});
  if (const auto* r = std::get_if<topic_deleted>(&record))
    observe::log(level::info, "controller", event, {{"topic", topic_name(r->id)}, {"id", r->id.text()}});
  if (const auto* r = std::get_if<partitions_added>(&record))
    observe::log(level::info, "controller", event, {{"topic", topic_name(r->id)}, {"more", r->partitions.size()}});
  if (const auto* r = std::get_if<topic_configured>(&record))
    observe::log(level::info, "controller", event, {{"topic", topic_name(r->id)}, {"overrides", r->overrides.size()}});
  if (const auto* r = std::get_if<partitions_changed>(&record))
    for (const auto& c : r->changes)
      observe::log(level::debug, "controller", event,
                   {{"topic", topic_name(c.where.topic)},
                    {"partition", c.where.index},
                    {"leader", c.state.leader},
                    {"epoch", c.state.epoch},
                    {"in_sync", c.state.isr.size()}});
}

}  // namespace troupe
