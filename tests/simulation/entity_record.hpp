#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/entities/shard_owner.hpp"

namespace troupe::sim {

/// What a caller asks an entity to do; an entity's state is the list of those that it did.
using operation = std::uint64_t;

shared_bytes bytes_of(const std::vector<operation>&);
std::vector<operation> operations_in(byte_view);

/// What the simulated durable entities keep in their shard's partition: one batch of one record each.
struct entity_record {
  std::optional<std::string> key;          ///< none: a sender's progress, not an entity
  std::vector<operation> state;            ///< of the entity
  std::vector<entities::remembered> with;  ///< so that repeats are known after a failover
  entities::sender_id sender;              ///< without a key: whose
  std::uint64_t settled{0};                ///< … and below what all is settled
};

std::vector<std::byte> batch_of(const entity_record&);
/// `see` gets the records of whole batches lying behind each other, in order.
void each_entity_record(byte_view batches, const std::function<void(const entity_record&)>& see);

}  // namespace troupe::sim
