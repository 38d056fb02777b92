#pragma once

#include "actors/controller/image.hpp"
#include "schemas/frame.hpp"

/// What metadata records have in common with the letters between nodes.
namespace troupe::schema {

void write(capnp::List<std::int32_t>::Builder to, const std::vector<node_id>&);
std::vector<node_id> read(capnp::List<std::int32_t>::Reader);
void write(Partition::Builder to, const partition_state&);
partition_state read(Partition::Reader);

}  // namespace troupe::schema
