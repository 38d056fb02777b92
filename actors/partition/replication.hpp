#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include "actors/controller/node_messages.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/errc.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/store/log.hpp"

/// What the replicas of a partition say to each other (to the controller: `alter_isr`). Any of it may be lost, delayed
/// or repeated. The envelope says which cluster and which life of which node it comes from; the `seat` is the
/// follower's.
namespace troupe {

/// A follower asks its leader for what comes next. It acknowledges: everything below `offset` is durable here.
struct replica_fetch {
  store::log_identity seat;
  leader_epoch epoch;                 ///< the leader's, as the follower knows it
  std::uint64_t id{0};                ///< comes back in the answer
  log_offset offset;                  ///< where the follower's log ends
  leader_epoch last_epoch{no_epoch};  ///< of the last record below; none: the log is empty
  log_offset watermark;               ///< the follower's: the leader answers at once when it knows better
  std::uint64_t bytes_max{1 << 20};
};

struct replica_answer {
  store::log_identity seat;
  leader_epoch epoch;  ///< the leader's own
  std::uint64_t id{0};
  log_offset offset;  ///< as asked for
  struct records {
    log_offset watermark, start;
    std::vector<shared_bytes> runs;  ///< each one or several whole batches; together dense from `offset` on
  };
  /// The logs part within `epoch`, whose records end at `end` here: cut, and ask again.
  struct divergence {
    leader_epoch epoch;
    log_offset end;
  };
  /// What was asked for is deleted: drop the log and go on at `start`.
  struct restart {
    log_offset start;
  };
  /// not_leader, fenced_epoch (the follower's is older), unknown_epoch (it is newer): wait for metadata.
  struct refusal {
    errc why;
  };
  std::variant<records, divergence, restart, refusal> what;
};

/// What the metadata says about one partition, as one replica gets to see it.
struct assignment {
  partition_state state;
  /// The lives of the registered nodes that hold or held a replica; also the reader's own.
  std::map<node_id, std::int64_t> node_epochs;
  std::set<node_id> fenced;  ///< fenced or draining: never added to an ISR
  /// The last epoch whose leader was elected uncleanly: committed records from before may be gone.
  leader_epoch unclean{no_epoch};
  /// Without space (R11): behind, they stay behind, so the ISR does not wait for them as long as for others.
  std::set<node_id> full;
};

}  // namespace troupe
