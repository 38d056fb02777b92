#pragma once

#include <cstdint>

/// The protocol's rules, by name, so that the simulator can take one away and see whether its checkers notice
/// (docs/simulation.md). In every other build a rule simply holds: `holds(…)` is true at compile time and costs
/// nothing.
///
///     if (holds(rule::own_term_commit) && term_of(index) != term_) return;
///
/// The number behind a rule is its place in the protocol: R rules, sections (§) and faults (F).
namespace troupe {

enum class rule : std::uint8_t {
  // -- metadata quorum ----------------------------------------------------------------------
  durable_before_send,       ///< R3: what a message depends on is on disk before it leaves
  leader_counts_durable,     ///< R3: a leader counts itself only for entries on its disk
  vote_compares_logs,        ///< R3: no vote for a candidate whose log is behind
  one_vote_per_term,         ///< I19
  own_term_commit,           ///< R4: only entries of the leader's own term commit by counting
  change_waits_for_no_op,    ///< R4: no membership change before the no-op of this term is committed
  one_change_at_a_time,      ///< R4
  learner_catches_up,        ///< R4: a newcomer votes only once it has caught up
  pre_vote,                  ///< R5
  step_down_without_quorum,  ///< R5
  disk_is_the_voter,         ///< R6: a voter with another disk is another voter
  snapshot_before_log,       ///< R7: a snapshot is durable before the log below it goes
  command_once,              ///< R8: (client, sequence) applies once
  read_needs_round,          ///< R8: a linear read waits for a heartbeat round
  quiet_after_start,         ///< R9: no vote within 1 s of the voter's own start
  quiet_after_leader,        ///< R9: no vote within 1 s of hearing a leader

  // -- nodes and leases -----------------------------------------------------------------------
  controller_waits_for_no_op,    ///< R9
  new_controller_heard_all,      ///< R9: a new controller treats every node as heard and granted at its election
  grant_needs_quorum,            ///< R9: no lease without a majority within 0.8 s
  grant_needs_fresh_metadata,    ///< §5.3: no lease below the record that took something from the node
  lease_from_sending,            ///< §5.3
  active_after_lease,            ///< §12: a new owner is active only after the old one's lease, with its drift
  two_reports,                   ///< §5.4: the controller alone, or peers alone, fence nobody
  own_report_always,             ///< §5.4: the controller's own missing heartbeat is needed always
  gone_needs_reset_and_refusal,  ///< §5.4
  gone_needs_both,               ///< §5.4: "gone" counts as the end of a lease only if two nodes say so
  epoch_fences_former_life,      ///< §2: messages of an earlier node epoch are ignored
  register_fences,               ///< §5.1: registration takes the former life out of ISRs and leaderships
  unclean_leaves_elr,            ///< §5.1
  ready_before_active,           ///< §5.2
  peers_asked_first,             ///< §5: a detector suspects nobody before its peers have tried
  refutation_is_newer,           ///< §5: only a higher incarnation clears a suspicion
  slow_observer_accuses_late,    ///< §5: waits grow with the observer's own health
  unleased_is_suspected,         ///< §5.4: "no lease for 5 s" is a suspicion
  full_disk_leads_last,          ///< R11: a node without space leads only what nobody else can

  // -- partitions -------------------------------------------------------------------------------
  watermark_over_maximal_isr,     ///< §7
  watermark_needs_min_isr,        ///< §7
  watermark_counts_durable,       ///< §7, I7: own durable offset, not own end
  fetch_after_sync,               ///< §7: a fetch acknowledges, so what it acknowledges is synced
  fetch_same_epoch,               ///< §7
  answer_same_epoch,              ///< §7
  answer_at_own_end,              ///< §7
  diverged_by_epoch,              ///< §7: truncation by epochs, not to the own watermark
  end_of_greatest_epoch,          ///< §7: the greatest epoch at or below (KIP-279)
  no_progress_when_diverged,      ///< §7
  added_at_checked,               ///< §6, F13
  isr_adds_at_watermark,          ///< §8
  isr_adds_past_epoch_start,      ///< §8: LESO
  isr_adds_seen_in_epoch,         ///< §8
  isr_adds_this_life,             ///< §8: node epochs of the listed
  isr_adds_unfenced,              ///< §8
  partition_epoch_checked,        ///< §8
  keep_maximal_isr,               ///< §8: an unknown outcome keeps the union
  settled_by_partition_epoch,     ///< §8: so does a rejection, until no late copy of the proposal can be accepted
  removal_bumps_leader_epoch,     ///< §2
  clean_election,                 ///< §9
  elr_cleared,                    ///< §6, §8: ELR is emptied once the ISR is large enough
  reassign_waits_for_isr,         ///< §9
  reassign_keeps_min_isr,         ///< §9, I13
  no_truncation_below_watermark,  ///< §7, I9
  damaged_never_leads,            ///< §10, I14
  ack_after_sync,                 ///< §7, I12
  latest_waits_for_epoch_start,   ///< §7: no "latest offset" before the watermark has reached LESO
  lease_before_answer,            ///< §5.3, I31
  first_batches_awaited,          ///< ADR 17: an unknown producer's later batch waits for its first ones

  // -- entities ---------------------------------------------------------------------------------
  deliver_same_epoch,        ///< §12
  deliver_needs_active,      ///< §12: assigned is not yet active, except for soft kinds
  deliver_needs_lease,       ///< §12
  reply_needs_lease,         ///< §12
  repeats_suppressed,        ///< §12
  reply_after_commit,        ///< §12: a reply leaves when the watermark covers its record
  handoff_stops_first,       ///< §12: the old owner stops before the new one starts
  nothing_dropped_silently,  ///< §12, I28

  count  ///< not a rule
};

#ifdef TROUPE_REMOVABLE_RULES
/// The one that this thread does without; `count`: none.
inline thread_local rule removed_rule = rule::count;
inline bool holds(rule r) {
  return r != removed_rule;
}
#else
constexpr bool holds(rule) {
  return true;
}
#endif

}  // namespace troupe
