#pragma once

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/allowed_unsafe_message_type.hpp>
#include <memory>
#include <string>

#include "actors/partition/partition.hpp"

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::produce)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::fetch)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::list_offsets)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::epoch_end)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::delete_records)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::reconfigure)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::retire)

namespace troupe {

struct partition_setup {
  std::string topic;
  partition_index index;
  leader_epoch epoch;
  log_id log;
  topic_settings settings;
  std::shared_ptr<store::log_store> store;
};

/// Starts the actor; it restores its core from the store before it takes its first message.
caf::actor spawn_partition(caf::actor_system&, partition_setup);

}  // namespace troupe
