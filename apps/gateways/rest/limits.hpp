#pragma once

#include <memory>

#include "actors/limit/limiter.hpp"
#include "actors/node/cluster_directory.hpp"
#include "runtime/net/http_server.hpp"

namespace troupe::rest {

/// Rate limits that all nodes of a cluster share, to be asked at any of them.
///
///     POST /v1/limits/{name}    {"limit": 100, "period_ms": 60000, "burst": 20, "cost": 1}
///
/// On average `limit` in `period_ms` [1000], up to `burst` [limit] at once; this call takes `cost` [1], 0 only looks.
/// 200: allowed, 429 with Retry-After: not now, both with {"allowed", "limit", "remaining", "retry_after_ms",
/// "reset_after_ms"}. 400: what was asked makes no sense. 503 with Retry-After: undecided, it may have counted.
/// The name is taken as it stands in the path.
void add_limits(net::http_server&, std::shared_ptr<cluster_directory>);

/// What a body asks for. Error invalid_request.
result<limit::request> limit_request(std::string_view body);
net::http_response limit_answer(const limit::request&, const limit::verdict&);

}  // namespace troupe::rest
