#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "actors/entity/entity_host.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/instant.hpp"

namespace troupe {

/// One entity, as its kind makes it: one message at a time, nothing to wait for, no thread of its own. Pure: it is told
/// the time. Used on one thread at a time.
class entity {
public:
  virtual ~entity() = default;
  /// Handles a message; its reply. A message that makes no sense is answered, too.
  virtual shared_bytes handle(const shared_bytes& payload, instant now) = 0;
  /// What it takes along when its shard moves to another node, whose clock is another.
  virtual shared_bytes state(instant now) const = 0;
  /// It is like one that was never asked, so it may be dropped.
  virtual bool is_as_new(instant now) const = 0;
};

/// A kind of entity that a node has. Kinds that are not durable.
struct entity_type {
  entity_kind kind;
  /// `state`: as another node wrote it, or empty for a new one. Bytes that make no sense: a new one.
  std::function<std::unique_ptr<entity>(std::string_view key, byte_view state, instant now)> make;
};

}  // namespace troupe
