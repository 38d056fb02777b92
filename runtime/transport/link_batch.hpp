#pragma once

#include <caf/all.hpp>

#include "runtime/base/bytes.hpp"
#include "runtime/transport/batch.hpp"

namespace troupe {

/// The one message that crosses nodes.
struct link_batch {
  shared_bytes bytes;

  friend caf::error inspect(caf::serializer& to, const link_batch& b) {
    const auto size = static_cast<std::uint32_t>(b.bytes.size());
    if (auto e = to(size)) return e;
    // CAF has one function for both directions; the one that writes does not touch them.
    return size == 0 ? caf::error{} : to.apply_raw(size, const_cast<std::byte*>(b.bytes.data()));
  }
  friend caf::error inspect(caf::deserializer& from, link_batch& b) {
    std::uint32_t size = 0;
    if (auto e = from(size)) return e;
    if (size > transport_wire::batch_bytes_max) return caf::sec::invalid_argument;
    const std::shared_ptr<std::byte[]> memory{new std::byte[size]};
    if (size > 0)
      if (auto e = from.apply_raw(size, memory.get())) return e;
    b.bytes = shared_bytes{memory, {memory.get(), size}};
    return caf::none;
  }
};

}  // namespace troupe
