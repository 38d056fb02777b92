#include "actors/node/cluster_directory.hpp"

#include <caf/send.hpp>

#include "actors/entity/entity_actor.hpp"

namespace troupe {

namespace {

caf::actor actor_at(const std::shared_ptr<const cluster_view::route>& route, partition_index index) {
  const auto i = static_cast<std::size_t>(index.value());
  return index.value() >= 0 && i < route->partitions.size() ? route->partitions[i] : caf::actor{};
}

/// Calls it once: with `closed`, when the message that holds it was taken by nobody.
class sure_answer {
public:
  explicit sure_answer(std::function<void(result<shared_bytes>)> answer) : answer_{std::move(answer)} {}
  sure_answer(const sure_answer&) = delete;
  ~sure_answer() {
    if (answer_) answer_(error{errc::closed, "the node is stopping"});
  }
  void operator()(result<shared_bytes> r) { std::exchange(answer_, nullptr)(std::move(r)); }

private:
  std::function<void(result<shared_bytes>)> answer_;
};

}  // namespace

caf::actor cluster_view::partition(std::string_view topic, partition_index index) const {
  const auto at = routes.find(topic);
  return at == routes.end() ? caf::actor{} : actor_at(at->second, index);
}

caf::actor cluster_view::partition(const partition_ref& where) const {
  const auto at = routes_by_id.find(where.topic);
  return at == routes_by_id.end() ? caf::actor{} : actor_at(at->second, where.index);
}

void cluster_directory::ask(entities::entity_name whom, shared_bytes payload,
                            std::function<void(result<shared_bytes>)> answer) const {
  const auto hosts = entity_hosts_.load();
  if (hosts->empty()) return answer(error{errc::closed, "this node does not serve entities now"});
  const auto now = view();
  const auto kind = now->image->shards.find(whom.kind);
  if (kind == now->image->shards.end())
    return answer(error{errc::not_leader, "the cluster has no entities of the kind " + whom.kind + " yet"});
  const auto shard = entities::shard_of(whom, static_cast<std::uint32_t>(kind->second.size()));
  const auto part = entity_host::part_of(shard, static_cast<std::uint32_t>(hosts->size()));
  auto told = [sure = std::make_shared<sure_answer>(std::move(answer))](result<shared_bytes> r) {
    (*sure)(std::move(r));
  };
  caf::anon_send((*hosts)[part], ask_entity{std::move(whom), std::move(payload), std::move(told)});
}

}  // namespace troupe
