#pragma once

#include <deque>
#include <map>
#include <vector>

#include "tests/simulation/checker.hpp"
#include "tests/simulation/letter.hpp"

/// Who uses the cluster. Clients run on machines that never fail; what they are told goes to the checker.
namespace troupe::sim {

/// What a client needs of the world.
struct client_world {
  kernel& ground;
  network& net;
  checker& judge;
  std::function<void(place to, letter)> deliver;
  /// Which life of the node's process would get a letter now; 0: none.
  std::function<std::uint64_t(node_id)> life_of;
  std::vector<node_id> nodes;
};

/// A client's connection to a node, as TCP has it: in order, nothing lost, until it breaks; then nothing comes through
/// until the client connects anew.
class stream {
public:
  stream(client_world& w, place client, node_id node) : world_{w}, client_{client}, node_{node} {}
  void send(letter);
  /// What was under way is lost.
  void connect_again();

private:
  void pump();
  struct queued {
    letter what;
    instant ready;
  };
  client_world& world_;
  const place client_;
  const node_id node_;
  std::deque<queued> queue_;
  std::uint64_t life_{0};  ///< of the process at the other end; 0: not connected yet
  bool broken_{false};
};

/// Finds leaders, sends, and hears answers.
class client {
public:
  client(client_world&, place here);
  virtual ~client() = default;
  virtual void receive(const letter&) = 0;
  place here() const { return here_; }
  /// What it works on is gone.
  void retire() { retired_ = true; }

protected:
  void send(node_id to, letter_body);
  void connect_again(node_id to) { stream_to(to).connect_again(); }
  node_id any_node();
  request_id next_id() { return ++ids_; }
  client_world& world_;
  bool retired_{false};

private:
  stream& stream_to(node_id);
  const place here_;
  request_id ids_{0};
  std::map<node_id, stream> streams_;
};

/// An idempotent producer: numbers its batches, keeps up to five in a row under way for each partition (the partition
/// knows no more of them again), and repeats what fails until it is stored: one by one, in order, as Java's does, or
/// `ahead`, as librdkafka's does.
class producer final : public client {
public:
  struct habits {
    std::size_t in_flight{5};
    duration pace_min{5ms}, pace_max{60ms};  ///< between batches of one partition
    duration patience{1500ms};               ///< for one answer
    std::int16_t acks{-1};
    /// Hears of leaders at any time, sends what comes next to a new one while the former one still owes answers, and
    /// takes a batch that is stored for proof that all before it are.
    bool ahead{false};
  };
  producer(client_world&, place here, std::int64_t id, std::vector<partition_ref>, habits);
  void receive(const letter&) override;
  void stop() { stopped_ = true; }
  /// Stopped, and nothing waits; for a topic that is gone nobody waits.
  bool done() const;
  /// What waits belongs to partitions that may have lost what they knew of this producer.
  bool waits_for_lost() const;
  std::uint64_t acknowledged() const { return acknowledged_; }
  /// When the last batch was acknowledged.
  instant last_success() const { return last_success_; }

private:
  struct pending {
    std::int32_t sequence{0};
    std::int32_t records{1};
    std::uint64_t unique{0};
    std::vector<std::byte> bytes;
    std::uint32_t crc{0};
    request_id request{0};  ///< 0: not under way
    bool first{false};      ///< nothing before it was open when it was sent
    bool again{false};      ///< was sent before: goes only once nothing before it is open
    bool stored{false};     ///< acknowledged; stays until all before it are
    node_id to{-1};         ///< whom it was sent to
    instant sent_at{};
  };
  struct lane {
    partition_ref where;
    node_id leader{-1};
    std::int32_t next_sequence{0};
    std::int16_t epoch{0};
    std::uint64_t made{0};
    bool known{false};  ///< to the partition
    std::deque<pending> batches;
    instant not_before{};
    request_id looking{0};
  };
  void make(lane&);
  void build(const lane&, pending&);
  void begin_anew(lane&);
  void push(lane&);
  bool goes(const lane&, const pending&, bool open_before, bool gap) const;
  void no_answer(lane&, node_id from);
  void look_for_leader(lane&);
  void ask_who_leads(lane&);
  void stored(lane&, pending&, log_offset base);
  void refused(lane&, pending&, errc why, node_id by);
  void tick();

  const std::int64_t id_;
  const habits habits_;
  std::vector<lane> lines_;
  bool stopped_{false};
  std::uint64_t acknowledged_{0};
  instant last_success_{};
};

/// Reads partitions from the start, over and over, from the leader or from whoever has a replica.
class consumer final : public client {
public:
  consumer(client_world&, place here, std::vector<partition_ref>, bool from_followers);
  void receive(const letter&) override;
  log_offset position(std::size_t partition) const { return lines_[partition].next; }
  std::uint64_t read() const { return read_; }

private:
  struct line {
    partition_ref where;
    log_offset next;
    node_id leader{-1};
    leader_epoch epoch{no_epoch};
    request_id request{0};
    instant sent_at{};
    log_offset acked_before;  ///< when `latest` was asked for
    request_id latest{0};
  };
  void tick();

  const bool from_followers_;
  std::vector<line> lines_;
  std::uint64_t read_{0};
};

/// A batch of `records` records as the Kafka protocol has it; each value is different from all others ever built.
std::vector<std::byte> build_batch(std::int64_t producer, std::int16_t epoch, std::int32_t sequence,
                                   std::int32_t records, std::uint64_t unique);

}  // namespace troupe::sim
