#pragma once

#include "runtime/entities/messages.hpp"
#include "schemas/entity.capnp.h"
#include "schemas/frame.hpp"

/// Messages of entities as schemas/entity.capnp has them.
namespace troupe::schema {

void write(EntityMessage::Builder to, const entities::message&);
/// Payloads are slices of the frame.
entities::message read(frame_reader&, EntityMessage::Reader);
/// What a frame takes for it, generously: for `frame_writer`.
std::size_t frame_bytes(const entities::message&);

}  // namespace troupe::schema
