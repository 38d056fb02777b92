#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/simulation/fence_watch.hpp"
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
  /// Somebody has flipped bits on this node's disk lately: that it cannot read is no wonder.
  std::function<bool(node_id)> may_be_damaged = [](node_id) { return false; };

  // -- observer -------------------------------------------------------------------------------------------
  void applied(node_id, const raft_entry&, const metadata_image& after) override;
  void leads_quorum(node_id, raft_term) override;
  void voted(const raft_peer& voter, raft_term, const raft_peer& candidate) override;
  void came(const process&, const std::vector<partition_ref>& damaged, bool empty_disk) override;
  void controls(const process& p) override { fences_.controls(p); }
  void heard(const process& p, const heartbeat& m) override { fences_.heard(p, m); }
  void link_broken(const process& p, life l, bool reset) override { fences_.link_broken(p, l, reset); }
  void said_farewell(const process& p, life l) override { fences_.said_farewell(p, l); }
  void decides(const process&, const std::vector<metadata_record>&) override;
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
  /// acks=all: a later batch of its producer was acknowledged, so this one must be there, too (I1).
  void client_believes_stored(const partition_ref&, std::uint32_t batch_crc);
  /// It was refused before it could be written (I22).
  void client_refused(std::uint32_t batch_crc);
  /// Somebody read this (I3).
  void client_read(const partition_ref&, log_offset base, const std::vector<fact>&);
  void client_told_latest(const partition_ref&, log_offset asked_when_acked, log_offset latest);
  /// Everything below was acknowledged to some client so far.
  log_offset acknowledged_end(const partition_ref&) const;

  // -- from time to time ----------------------------------------------------------------------------------
  /// What holds at any moment (I4, I6, I8).
  void look();
  /// In quiet times: what the owners of durable shards have is what was answered, each call once.
  void look_at_entities();
  std::uint64_t committed_records() const;
  std::uint64_t answered_calls() const { return answered_calls_; }
  bool answered(operation what) const {
    const auto at = calls_.find(what);
    return at != calls_.end() && at->second.answered;
  }
  const metadata_image& newest() const { return newest_; }
  /// Of the quorum, as last decided.
  const raft_members& members() const { return members_; }
  /// Committed records of this partition were lost, as an unclean election may.
  bool lossy(const partition_ref&) const;
  log_offset truth_end(const partition_ref&) const;
  struct counts {
    std::uint64_t unclean_elections{0}, lost_records{0}, damaged_replicas{0};
  };
  const counts& seen() const { return seen_; }
  const fence_watch& fences() const { return fences_; }

  const std::vector<std::string>& violations() const { return violations_; }

private:
  struct entry_known {
    raft_term term;
    std::uint64_t payload{0}, image{0};
  };
  using sequence = std::tuple<std::int64_t, std::int16_t, std::int32_t>;  ///< producer, epoch, sequence
  struct shortening {
    leader_epoch epoch;
    log_offset end;
  };
  struct partition_known {
    std::vector<fact> truth;
    std::vector<leader_epoch> committed_in;  ///< whose leader committed it first
    std::set<sequence> sequences;
    std::map<log_offset, sequence> sequence_at;
    std::set<std::uint32_t> crcs;
    log_offset acknowledged;
    std::map<leader_epoch, node_id> leaders;
    // Unclean elections. From the first leader of an unclean epoch on what it lacks is lost; leaders of earlier epochs
    // may still commit and tell what nobody will ever see again.
    leader_epoch unclean{no_epoch};  ///< the newest one in the metadata
    std::vector<shortening> cuts;
    instant cut_at{};
    std::set<std::tuple<log_offset, std::uint32_t, std::int32_t>> lost;
    /// More is committed than is known: its leader's disk was damaged before anybody looked, and whoever else has it is
    /// not there now. Looked at again with the next commit; until then who names it is believed.
    bool blind{false};
    leader_epoch cut_in() const { return cuts.empty() ? no_epoch : cuts.back().epoch; }
    bool was_lost(log_offset at, const fact& f) const { return lost.contains({at, f.batch_crc, f.at}); }
  };
  struct replica_known {
    std::uint64_t life{0};
    log_offset watermark;
    leader_epoch epoch{no_epoch};
    bool among_lost{false};  ///< its watermark counts records that are lost
  };
  struct call_known {
    std::int32_t sent_for{-1};  ///< the latest epoch
    bool answered{false};
    std::optional<entities::shard_id> durable;  ///< of the shard that handled it
  };
  bool lossy(const entities::shard_id&) const;
  /// I27: who is behind does nothing any more.
  void not_behind(node_id, const entities::shard_id&, const entity_kind&, std::int32_t epoch, const char* what);
  std::string named(const partition_ref&) const;
  void check_image(const metadata_image&);
  void check_step(const metadata_image& before, const metadata_image& after);
  void check_step(const partition_ref&, const partition_state& before, const partition_state& after,
                  const metadata_image& nodes_before, const metadata_image& nodes_after, std::int32_t configured_min);
  void shorten(partition_known&, const process&, const store::log_identity&, leader_epoch);
  void check_leader(const partition_ref&, const partition_state&, std::int32_t configured_min);
  /// Compares [from, to) of the replica's log with what is known; what is new becomes known if `extends`.
  void compare(const process&, const store::log_identity&, log_offset from, log_offset to, bool extends);
  result<std::vector<shared_bytes>> read_anywhere(const process&, const store::log_identity&, log_offset from,
                                                  log_offset to) const;

  kernel& kernel_;
  std::map<raft_index, entry_known> entries_;
  std::map<raft_term, node_id> terms_;
  std::map<std::pair<uuid, raft_term>, raft_peer> votes_;
  raft_members members_;
  metadata_image newest_;
  /// Replicas that came back with less than they had, and did not get into the ISR since.
  std::set<std::pair<node_id, partition_ref>> unwhole_;
  fence_watch fences_{[this](const std::string& what) { broken(what); }};
  counts seen_;
  std::map<partition_ref, partition_known> partitions_;
  std::map<std::pair<node_id, store::log_identity>, replica_known> replicas_;
  std::set<std::uint32_t> refused_;
  std::map<node_id, std::vector<partition_ref>> held_before_;  ///< its replicas when its present life was registered
  std::map<operation, call_known> calls_;
  std::map<entities::shard_id, std::int32_t> handled_in_;  ///< the latest epoch
  std::uint64_t answered_calls_{0};
  std::vector<std::string> violations_;
};

/// The records of whole batches lying behind each other, and where the last one ends.
std::vector<fact> facts_of(byte_view batches);

}  // namespace troupe::sim
