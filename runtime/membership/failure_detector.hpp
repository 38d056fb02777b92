#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/random.hpp"

/// Which nodes answer: probes with the help of peers, and what goes between the nodes for it.
namespace troupe::membership {

/// A restart of a node is another life, with a higher epoch.
using life = node_life;

/// What nodes pass on about each other. `incarnation` counts what the subject has refuted in this life: only a higher
/// one clears a suspicion, and a suspicion of a lower one than is known says nothing new.
struct rumour {
  life subject;
  std::uint32_t incarnation{0};
  bool suspected{false};  ///< false: the subject itself says that it is alive
  friend bool operator==(const rumour&, const rumour&) = default;
};

// -- messages: `from` is the sender. Any may be lost, late, or come twice. -------------------------------------------

struct probe {
  life from, to;
  std::uint64_t sequence{0};
  std::vector<rumour> rumours;
};
/// Answers a probe, also one that a peer made on behalf of `sequence`'s owner: then `subject` is not `from`.
struct ack {
  life from;
  life subject;  ///< who is alive
  std::uint64_t sequence{0};
  std::uint32_t incarnation{0};                ///< the subject's
  std::chrono::milliseconds without_lease{0};  ///< for how long the subject has had none; 0: it has one
  std::vector<rumour> rumours;
};
/// Please probe `subject` for me.
struct probe_request {
  life from;
  life subject;
  std::uint64_t sequence{0};
  std::vector<rumour> rumours;
};
/// The peer is there, but got no answer from the subject either: tells the asker that its own line is well.
struct nack {
  life from;
  life subject;
  std::uint64_t sequence{0};
  std::vector<rumour> rumours;
};
struct gossip {
  life from;
  std::vector<rumour> rumours;
};
using message = std::variant<probe, ack, probe_request, nack, gossip>;

/// Why a node is suspected; the later in this list the stronger.
enum class cause : std::uint8_t {
  no_lease,  ///< it answers, but has had no lease for 5 s: the controller cannot reach it
  silent,    ///< neither we nor the peers that we asked got an answer
  gone,      ///< the kernel at the other end reset its link *and* refused a new one: no such process any more
};

/// A suspicion of our own (never of hearsay), for the heartbeats to the controller.
struct suspicion {
  life subject;
  cause why{cause::silent};
  instant when;  ///< of the newest evidence: it is renewed about each probe interval while it lasts
  friend bool operator==(const suspicion&, const suspicion&) = default;
};

struct detector_settings {
  std::chrono::milliseconds probe_interval{500};
  std::chrono::milliseconds answer_wait{300};     ///< then peers are asked, and have as long once more
  std::chrono::milliseconds lease_missing{5000};  ///< an answer "no lease for so long" is a suspicion
  std::size_t helpers{3};                         ///< peers that probe for us; also those that an urgent rumour goes to
  std::size_t suspects_probed{3};  ///< suspects probed again in each interval, besides the one whose turn it is
  std::size_t rumours_per_message{8};
  bool trust_refused{true};  ///< off where something between the nodes may refuse in a node's name: no `gone`
};

/// SWIM's failure detector with Lifeguard's local health.
///
/// Each interval one member, in shuffled rounds, is probed; also a few suspects, and at once whoever a rumour
/// suspects. What it says is only what it found out itself: a rumour makes it look, never accuse.
///
///                 an answer, or a refutation (then it looks again)
///          +-------------------------------------------------+
///          v                                                 |
///       trusted --no answer--> peers asked --no answer--> silent      renewed by each further silence
///        ^ ^ |                                               |
///        | | +---- "no lease for 5 s" ----> no_lease         +--> gone <-- link reset, then connection refused
///        | +- an answer with a lease ---------+                    |
///        +------------- an answer, or anything heard from it ------+
///
/// A detector that is slow itself accuses late: every wait is times (1 + health), and a late tick starts all waits
/// again, since the answers may lie unread behind it. Health rises with a late tick, a probe for which not even the
/// peers said a word, and a suspicion of ourselves that we refute; it falls with each answer in time.
///
/// Pure: the shell carries each `send` to its node, calls `tick` at `wakes_at()`, and says what happens to links.
class failure_detector {
public:
  static constexpr unsigned health_max = 8;

  struct send {
    node_id to;
    membership::message message;
  };
  /// The suspicion is new, or its cause is: tell the controller now, not with the next heartbeat.
  struct raised {
    membership::suspicion suspicion;
  };
  struct cleared {
    life subject;
  };
  using effect = std::variant<send, raised, cleared>;
  using effects = std::vector<effect>;

  /// `self` with the epoch of its registration.
  failure_detector(life self, detector_settings, random_source, instant now);

  // -- from the metadata image ---------------------------------------------------------------------------------

  /// `node` is a member with this epoch; a higher one than before is a new life, about which nothing is known yet.
  /// Ourselves and lower epochs: no effect.
  void member(life);
  /// The node left the cluster.
  void removed(node_id);

  // -- what happens ---------------------------------------------------------------------------------------------

  effects tick(instant now);
  /// A sender or subject of another life than the image's is not believed.
  effects received(const message&, instant now);
  /// The peer's kernel reset our link to this life (not: it timed out, or we closed it).
  effects link_reset(life, instant now);
  /// A new connection to the node was refused by its host, after the reset.
  effects connect_refused(node_id, instant now);
  /// Anything else that shows this life running: its end of a new link, a frame. It is not gone then; whether it is
  /// silent only answers tell.
  effects heard(life, instant now);
  /// Our own lease, which answers to probes mention; none: since when.
  void lease_held();
  void lease_missing(instant since);

  // -- queries --------------------------------------------------------------------------------------------------

  /// Call `tick` then, or as soon as possible after.
  instant wakes_at() const noexcept;
  /// For the heartbeat, sorted by node. One for each node at most: of the strongest cause.
  std::vector<suspicion> suspicions() const;
  unsigned health() const noexcept { return health_; }

private:
  struct peer {
    std::int64_t epoch{-1};
    std::uint32_t incarnation{0};
    std::optional<instant> no_lease, silent, gone;  ///< newest evidence
    bool reset{false};
    std::uint64_t missed{0};  ///< the last probe that was given up: its answer still counts
    std::optional<cause> suspected() const;
  };
  /// A probe of ours without an answer.
  struct waiting {
    life subject;
    instant until;
    std::size_t asked{0};  ///< peers; 0: not yet
    bool denied{false};    ///< one of them said that it got no answer either
  };
  /// A probe that we make for `asker`.
  struct errand {
    life asker, subject;
    std::uint64_t sequence{0};  ///< the asker's
    instant deny_at, until;
    bool denied{false};
  };
  struct told {
    rumour what;
    unsigned times{0};  ///< still to be told
  };
  static constexpr std::size_t errands_max = 64;

  peer* find(const life&);
  std::chrono::nanoseconds wait() const;
  void healthier();
  void sicker();

  void forgive_lateness(instant now);
  void expire(instant now, effects&);
  void next_round(instant now, effects&);
  void start_probe(node_id, instant now, effects&);
  void ask_peers(std::uint64_t sequence, waiting&, instant now, effects&);
  void give_up(std::uint64_t sequence, const waiting&, instant now, effects&);
  node_id next_in_turn();
  std::vector<node_id> some_peers(std::size_t count, node_id except);
  bool probing(node_id) const;

  void on(const probe&, instant now, effects&);
  void on(const ack&, instant now, effects&);
  void on(const probe_request&, instant now, effects&);
  void on(const nack&, instant now, effects&);
  void on(const gossip&, instant now, effects&);
  void answered(const ack&, peer&, instant now, effects&);
  void learn(const std::vector<rumour>&, instant now, effects&);
  void refute(const rumour&, effects&);
  void spread(const rumour&);
  void spread_now(const rumour&, effects&);
  std::vector<rumour> rumours_to_tell();
  std::chrono::milliseconds without_lease(instant now) const;

  /// Changes what is known of a peer by `change`, and says so if its suspicion is another then.
  template <class Change>
  void revise(node_id, peer&, effects&, Change change);

  life self_;
  detector_settings settings_;
  random_source random_;
  std::uint32_t incarnation_{0};
  std::optional<instant> unleased_since_;
  std::map<node_id, peer> peers_;
  std::map<std::uint64_t, waiting> waiting_;  ///< by our sequence
  std::map<std::uint64_t, errand> errands_;   ///< by our sequence
  std::map<node_id, told> rumours_;           ///< one about each subject
  std::vector<node_id> turn_;                 ///< the rest of this round, last first
  std::uint64_t sequence_{0};
  instant next_round_;
  unsigned health_{0};
};

}  // namespace troupe::membership
