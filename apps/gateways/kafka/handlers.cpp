#include "apps/gateways/kafka/handlers.hpp"

namespace troupe::kafka {

std::shared_ptr<exchange> make_exchange(services& all, std::shared_ptr<io_loop> loop, std::weak_ptr<connection> home,
                                        arrival request) {
  const auto maker = [&]() -> exchange_maker* {
    switch (request.header.key) {
      case api_key::produce:
        return make_produce;
      case api_key::fetch:
        return make_fetch;
      case api_key::list_offsets:
        return make_list_offsets;
      case api_key::metadata:
        return make_metadata;
      case api_key::api_versions:
        return make_api_versions;
      case api_key::create_topics:
        return make_create_topics;
      case api_key::delete_topics:
        return make_delete_topics;
      case api_key::delete_records:
        return make_delete_records;
      case api_key::init_producer_id:
        return make_init_producer_id;
      case api_key::offset_for_leader_epoch:
        return make_offset_for_leader_epoch;
      case api_key::describe_configs:
        return make_describe_configs;
      case api_key::alter_configs:
        return make_alter_configs;
      case api_key::describe_cluster:
        return make_describe_cluster;
      case api_key::describe_log_dirs:
        return make_describe_log_dirs;
      case api_key::elect_leaders:
        return make_elect_leaders;
      case api_key::alter_partition_reassignments:
        return make_alter_partition_reassignments;
      case api_key::list_partition_reassignments:
        return make_list_partition_reassignments;
      case api_key::create_partitions:
        return make_create_partitions;
      case api_key::incremental_alter_configs:
        return make_incremental_alter_configs;
    }
    return nullptr;
  }();
  TROUPE_CHECK(maker != nullptr);  // `served` knows no other
  return maker(all, std::move(loop), std::move(home), std::move(request));
}

}  // namespace troupe::kafka
