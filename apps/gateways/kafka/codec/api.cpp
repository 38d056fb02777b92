#include "apps/gateways/kafka/codec/api.hpp"

#include <algorithm>

#include "apps/gateways/kafka/codec/error_codes.hpp"

namespace troupe::kafka {

namespace {

// Clients take the highest version that both sides have, and prefer an announced API over their fallback: so nothing
// stands here that is not served fully. Fetch and Produce stop below the versions that name topics by id alone (13),
// and Metadata below 13 (top-level errors).
constexpr std::array offered{
    offered_api{api_key::produce, {0, 11}, 3},
    offered_api{api_key::fetch, {4, 12}, 4},
    offered_api{api_key::list_offsets, {1, 9}, 1},
    offered_api{api_key::metadata, {0, 12}, 0},
    offered_api{api_key::api_versions, {0, 4}, 0},
    offered_api{api_key::create_topics, {2, 7}, 2},
    offered_api{api_key::delete_topics, {1, 6}, 1},
    offered_api{api_key::delete_records, {0, 2}, 0},
    offered_api{api_key::init_producer_id, {0, 5}, 0},
    offered_api{api_key::offset_for_leader_epoch, {2, 4}, 2},
    offered_api{api_key::describe_configs, {1, 4}, 1},
    offered_api{api_key::alter_configs, {0, 2}, 0},
    offered_api{api_key::describe_log_dirs, {0, 4}, 0},
    offered_api{api_key::create_partitions, {0, 3}, 0},
    offered_api{api_key::elect_leaders, {0, 2}, 0},
    offered_api{api_key::incremental_alter_configs, {0, 1}, 0},
    offered_api{api_key::alter_partition_reassignments, {0, 1}, 0},
    offered_api{api_key::list_partition_reassignments, {0, 0}, 0},
    offered_api{api_key::describe_cluster, {0, 2}, 0},
};

// Whatever is served, the codec can read and write.
static_assert(std::ranges::is_sorted(offered, {}, &offered_api::key));
static_assert(std::ranges::all_of(offered, [](const offered_api& o) {
  // By value: with the sanitizers on, g++ 12 does not take a comparison of pointers for a constant.
  for (auto& api : known_apis)
    if (api.key == o.key) return api.versions.has(o.served_from) && api.versions.has(o.announced.last);
  return false;
}));

const offered_api* find_offer(api_key key) noexcept {
  const auto at = std::ranges::find(offered, key, &offered_api::key);
  return at == offered.end() ? nullptr : &*at;
}

api_versions_response::api_version announcement(const offered_api& o) {
  return {static_cast<std::int16_t>(o.key), o.announced.first, o.announced.last};
}

}  // namespace

std::span<const offered_api> offered_apis() noexcept {
  return offered;
}

bool served(api_key key, std::int16_t version) noexcept {
  const auto* o = find_offer(key);
  return o && o->served_from <= version && version <= o->announced.last;
}

api_versions_response announce_apis() {
  api_versions_response answer;
  answer.api_keys.reserve(offered.size());
  for (auto& o : offered) answer.api_keys.push_back(announcement(o));
  return answer;
}

api_versions_response refuse_api_versions() {
  api_versions_response answer;
  answer.error_code = code::unsupported_version;
  answer.api_keys.push_back(announcement(*find_offer(api_key::api_versions)));
  return answer;
}

}  // namespace troupe::kafka
