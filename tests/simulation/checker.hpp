#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/process.hpp"

/// Watches a whole cluster from above and knows what nobody in it can know: what was committed first, who led when.
/// The numbers are those of the protocol's invariants.
namespace troupe::sim {

/// One record of a committed log.
struct fact {
  std::uint32_t batch_crc{0};
  std::int32_t at{0};  ///< within its batch
  leader_epoch epoch;
  friend bool operator==(const fact&, const fact&) = default;
};

class checker final : public observer {
public:
  explicit checker(kernel& k) : kernel_{k} {}

  /// All processes that run, by node.
  std::function<const process*(node_id)> process_of;

  // -- observer -------------------------------------------------------------------------------------------
  void applied(node_id, const raft_entry&, const metadata_image& after) override;
  void leads_quorum(node_id, raft_term) override;
  void leads(node_id, const store::log_identity&, leader_epoch) override;
  void committed(const process&, const partition_replica&) override;
  void acknowledged(const process&) override;
  void broken(const std::string& what) override;
  void call_sent(operation, std::int32_t epoch) override;
  void call_ended(operation, bool answered) override;
  void handles(node_id, const entities::shard_id&, const entity_kind&, std::int32_t epoch, operation,
               const std::vector<operation>& before) override;
  void replies(node_id, const entities::shard_id&, const entity_kind&, std::int32_t epoch, bool stopped) override;

  // -- clients --------------------------------------------------------------------------------------------
  /// acks=all: it is at `base` for good (I1, I21).
  void client_acknowledged(const partition_ref&, log_offset base, std::uint32_t batch_crc);
  /// It was refused before it could be written (I22).
  void client_refused(std::uint32_t batch_crc);
  /// Somebody read this (I3).
  void client_read(const partition_ref&, log_offset base, const std::vector<fact>&);
  void client_told_latest(const partition_ref&, log_offset asked_when_acked, log_offset latest);
  /// Everything below was acknowledged to some client so far.
  log_offset acknowledged_end(const partition_ref&) const;

  // -- from time to time ----------------------------------------------------------------------------------
  /// What holds at any moment (I4).
  void look();
  /// In quiet times: what the owners of durable shards have is what was answered, each call once.
  void look_at_entities();
  std::uint64_t committed_records() const;
  std::uint64_t answered_calls() const { return answered_calls_; }
  const metadata_image& newest() const { return newest_; }

  const std::vector<std::string>& violations() const { return violations_; }

private:
  struct entry_known {
    raft_term term;
    std::uint64_t payload{0}, image{0};
  };
  struct partition_known {
    std::vector<fact> truth;
    std::vector<leader_epoch> committed_in;                                    ///< whose leader committed it first
    std::set<std::tuple<std::int64_t, std::int16_t, std::int32_t>> sequences;  ///< producer, epoch, sequence
    std::set<std::uint32_t> crcs;
    log_offset acknowledged;
    std::map<leader_epoch, node_id> leaders;
  };
  struct replica_known {
    std::uint64_t life{0};
    log_offset watermark;
  };
  struct call_known {
    std::int32_t sent_for{-1};  ///< the latest epoch
    bool answered{false};
    std::optional<entities::shard_id> durable;  ///< of the shard that handled it
  };
  /// I27: who is behind does nothing any more.
  void not_behind(node_id, const entities::shard_id&, const entity_kind&, std::int32_t epoch, const char* what);
  std::string named(const partition_ref&) const;
  void check_image(const metadata_image&);
  /// Compares [from, to) of the replica's log with what is known; what is new becomes known if `extends`.
  void compare(const process&, const store::log_identity&, log_offset from, log_offset to, bool extends);

  kernel& kernel_;
  std::map<raft_index, entry_known> entries_;
  std::map<raft_term, node_id> terms_;
  metadata_image newest_;
  std::map<partition_ref, partition_known> partitions_;
  std::map<std::pair<node_id, store::log_identity>, replica_known> replicas_;
  std::set<std::uint32_t> refused_;
  std::map<operation, call_known> calls_;
  std::map<entities::shard_id, std::int32_t> handled_in_;  ///< the latest epoch
  std::uint64_t answered_calls_{0};
  std::vector<std::string> violations_;
};

/// The records of whole batches lying behind each other, and where the last one ends.
std::vector<fact> facts_of(byte_view batches);

}  // namespace troupe::sim
