#pragma once

#include <memory>

#include "apps/gateways/kafka/admission.hpp"
#include "apps/gateways/kafka/gateway.hpp"
#include "apps/gateways/kafka/instruments.hpp"
#include "apps/gateways/kafka/memory_budget.hpp"
#include "runtime/observe/log.hpp"

namespace troupe::kafka {

/// What all connections of a gateway share.
struct services {
  explicit services(gateway_setup s)
      : setup{std::move(s)},
        count{*setup.metrics},
        requests_memory{std::make_shared<memory_budget>(setup.limits.request_memory_max)},
        responses_memory{std::make_shared<memory_budget>(setup.limits.response_memory_max)},
        door{std::make_shared<admission>(setup.limits.connections_max, setup.limits.connections_per_address_max,
                                         count)} {}

  const gateway_setup setup;
  instruments count;
  std::shared_ptr<memory_budget> requests_memory, responses_memory;
  std::shared_ptr<admission> door;
  observe::seldom strangers, unknown_requests, malformed_requests, accept_failures, refused_connections;

  std::shared_ptr<const cluster_view> view() const { return setup.directory->view(); }
};

}  // namespace troupe::kafka
