#include <caf/send.hpp>
#include <set>

#include "apps/gateways/kafka/handlers.hpp"

/// How a client gets to know us: ApiVersions, Metadata (with the making of topics that are asked for), DescribeCluster.
namespace troupe::kafka {
namespace {

using namespace std::chrono_literals;

class api_versions_exchange final : public exchange {
public:
  using exchange::exchange;
  result<void> begin() override {
    // Of a version that we do not know the body cannot be read; a version 0 answer tells the client what we speak.
    if (!served(api(), version())) {
      auto told = refuse_api_versions();
      counted(told.error_code);
      answer(told, 0);
      return {};
    }
    if (auto asked = decode_request<api_versions_request>(request().body, version()); !asked.ok()) return asked.error();
    answer(announce_apis());
    return {};
  }
};

/// What may be done with a topic or the cluster, as a bit per operation of Kafka's ACLs. There are no rights to check
/// yet, so everything that makes sense is allowed.
constexpr std::int32_t bits(std::initializer_list<int> operations) {
  std::int32_t all = 0;
  for (const int o : operations) all |= 1 << o;
  return all;
}
enum operation { read = 3, write, create, remove, alter, describe, cluster_action, describe_configs, alter_configs };
constexpr int idempotent_write = 12;
constexpr auto topic_operations = bits({read, write, create, remove, alter, describe, describe_configs, alter_configs});
constexpr auto cluster_operations =
    bits({create, alter, describe, cluster_action, describe_configs, alter_configs, idempotent_write});

/// Whom admin requests are best sent to. Any node takes them and passes them on, so where no controller can be named it
/// is this one.
std::int32_t controller_of(const gateway_setup& setup, const metadata_image& image) {
  const auto known = setup.directory->controller();
  const auto* node = known ? image.node(*known) : nullptr;
  return (node != nullptr && node->serves() ? *known : setup.node).value();
}

std::optional<std::string> rack_of(const node_info& node) {
  return node.rack.empty() ? std::nullopt : std::optional{node.rack};
}

class metadata_exchange final : public exchange_of<metadata_request, metadata_response> {
public:
  using exchange_of::exchange_of;

private:
  /// The controller answers in milliseconds; clients wait 30 seconds.
  static constexpr auto creation_max = 15s;

  void serve() override {
    everything_ = !asked.topics || (version() == 0 && asked.topics->empty());
    if (!everything_ && asked.allow_auto_topic_creation && setup().auto_create_topics) {
      auto missing = to_create(*view());
      if (!missing.empty()) return create(std::move(missing));
    }
    tell();
  }

  std::vector<new_topic> to_create(const cluster_view& now) const {
    std::vector<new_topic> missing;
    std::set<std::string_view> seen;
    for (const auto& t : *asked.topics) {
      if (!t.name || now.image->topics.contains(*t.name) || !check_topic_name(*t.name).ok()) continue;
      if (seen.insert(*t.name).second) missing.push_back({.name = std::string{*t.name}});
    }
    return missing;
  }

  void create(std::vector<new_topic> missing) {
    set_deadline(arrived() + creation_max);
    caf::anon_send(setup().controller,
                   troupe::create_topics_request{std::move(missing), false,
                                                 reply(std::vector<decision>{}, [this](std::vector<decision> made) {
                                                   for (auto& d : made) created_.emplace(d.name, std::move(d));
                                                   tell();
                                                 })});
    creating_ = true;
  }
  void due() override {
    forget_deadline();
    tell();
  }

  void tell() {
    const auto now = view();
    const auto& image = *now->image;
    for (const auto& [id, node] : image.nodes)
      if (node.serves()) told.brokers.push_back({id.value(), node.kafka.host, node.kafka.port, rack_of(node)});
    if (!image.cluster_id.empty()) told.cluster_id = image.cluster_id;
    told.controller_id = controller_of(setup(), image);
    if (everything_) {
      for (const auto& [name, t] : image.topics) told.topics.push_back(about(*t, image));
    } else {
      // Each once: a request that repeats a name a million times would make a huge answer.
      std::set<std::string_view> names;
      std::set<uuid> ids;
      for (const auto& t : *asked.topics)
        if (t.name ? names.insert(*t.name).second : ids.insert(t.topic_id).second)
          told.topics.push_back(about(t, image));
    }
    if (asked.include_cluster_authorized_operations) told.cluster_authorized_operations = cluster_operations;
    answer(told);
  }

  metadata_response::topic about(const metadata_request::topic& t, const metadata_image& image) {
    metadata_response::topic out;
    if (t.name) {
      if (const auto found = image.topics.find(*t.name); found != image.topics.end())
        return about(*found->second, image);
      out.name = std::string{*t.name};
      if (const auto made = created_.find(*t.name); made != created_.end() && made->second.now)
        return about(*made->second.now, image);
      out.error_code = counted(why_missing(*t.name));
    } else {
      if (const auto found = image.find(t.topic_id)) return about(*found, image);
      out.topic_id = t.topic_id;
      out.error_code = counted(code::unknown_topic_id);
    }
    return out;
  }

  std::int16_t why_missing(std::string_view name) {
    if (!check_topic_name(name).ok()) return code::invalid_topic_exception;
    const auto made = created_.find(name);
    if (made != created_.end() && made->second.refused && made->second.refused->code != errc::topic_exists)
      return to_code(made->second.refused->code, api(), version());
    // Somebody made it at the same time, or making it takes long: the client asks again.
    return creating_ ? code::leader_not_available : code::unknown_topic_or_partition;
  }

  metadata_response::topic about(const topic& t, const metadata_image& image) {
    metadata_response::topic out{.name = t.name, .topic_id = t.id, .is_internal = t.internal};
    if (asked.include_topic_authorized_operations) out.topic_authorized_operations = topic_operations;
    out.partitions.reserve(t.partitions.size());
    for (std::int32_t index = 0; const auto& p : t.partitions) {
      auto& o = out.partitions.emplace_back();
      o.partition_index = index++;
      // A leader that was fenced serves nobody, and its address is not told either.
      const auto online = [&](node_id id) {
        const auto* node = image.node(id);
        return node != nullptr && node->serves();
      };
      const bool known = setup().directory->may_name_leader(p, setup().node);
      o.leader_id = known && online(p.leader) ? p.leader.value() : -1;
      o.leader_epoch = p.epoch.value();
      if (o.leader_id < 0) o.error_code = counted(code::leader_not_available);
      for (const auto& r : p.replicas) {
        o.replica_nodes.push_back(r.node.value());
        if (!online(r.node)) o.offline_replicas.push_back(r.node.value());
      }
      o.isr_nodes = numbers_of(p.isr);
    }
    return out;
  }

  bool everything_{false}, creating_{false};
  std::map<std::string, decision, std::less<>> created_;
};

class describe_cluster_exchange final : public exchange_of<describe_cluster_request, describe_cluster_response> {
public:
  using exchange_of::exchange_of;

private:
  static constexpr std::int8_t brokers = 1, controllers = 2;

  void serve() override {
    if (asked.endpoint_type != brokers) {
      const bool known = asked.endpoint_type == controllers;
      told.error_code = counted(known ? code::mismatched_endpoint_type : code::unsupported_endpoint_type);
      told.error_message = known ? "this address is for clients of brokers, not of controllers"
                                 : "there are no endpoints of type " + std::to_string(asked.endpoint_type);
      return answer(told);
    }
    const auto now = view();
    const auto& image = *now->image;
    for (const auto& [id, node] : image.nodes) {
      const bool fenced = node.state == node_state::fenced;
      if (node.serves() || (fenced && asked.include_fenced_brokers))
        told.brokers.push_back({id.value(), node.kafka.host, node.kafka.port, rack_of(node), fenced});
    }
    told.cluster_id = image.cluster_id;
    told.controller_id = controller_of(setup(), image);
    if (asked.include_cluster_authorized_operations) told.cluster_authorized_operations = cluster_operations;
    answer(told);
  }
};

}  // namespace

exchange_maker* const make_api_versions = &make<api_versions_exchange>;
exchange_maker* const make_metadata = &make<metadata_exchange>;
exchange_maker* const make_describe_cluster = &make<describe_cluster_exchange>;

}  // namespace troupe::kafka
