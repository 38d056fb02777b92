#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "actors/controller/cluster_controller.hpp"
#include "actors/node/node_actor.hpp"

/// What operators read and write, as JSON: from the metadata to text, and from a request's body to what the controller
/// is asked. Pure, and the only place that knows the names of these fields.
namespace troupe::rest {

/// So many partitions in trouble are named; the counts are of all.
inline constexpr std::size_t names_max = 100;

std::string cluster_json(const metadata_image&, const node_description&);
/// Nothing: there is no such node.
std::optional<std::string> node_json(const metadata_image&, const node_description&, node_id);
/// Nothing: there is no such topic.
std::optional<std::string> topic_json(const metadata_image&, std::string_view topic);

/// Errors of the three: invalid_request (what the body has to be, or what to use instead).
result<cluster_controller::request> cluster_request(std::string_view body);
result<cluster_controller::request> node_request(node_id, std::string_view body);
result<cluster_controller::request> partition_request(const partition_ref&, std::string_view body);

}  // namespace troupe::rest
