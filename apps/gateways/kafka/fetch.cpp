#include <caf/send.hpp>

#include "apps/gateways/kafka/connection.hpp"
#include "apps/gateways/kafka/handlers.hpp"

/// Fetch: reading, and waiting for something to read.
///
///     gathering ──all asked──▶ enough, an error, or no time to wait? ──yes──▶ answered
///         ▲ wave by wave            │ no                                          ▲
///                                   ▼                                            │
///                                waiting ── new data (enough now), time is up, node stops
///
/// Gathering asks partitions in the order of the request, side by side as many as could fill what may still be read: so
/// a thousand empty partitions are asked in a few waves, while full ones are not read to be thrown away. The first
/// partition with data gets its first batch through whatever its size, or its reader would be stuck.
///
/// Waiting asks every partition once more, and to say when there is more (`fetch::watch_until`): who has data at the
/// first question, as most under load, never leaves a watch behind.
///
/// A client that says in which rack it is (Fetch >= 11, KIP-392) is sent to a replica there, if it is in sync and the
/// leader is elsewhere: the leader is asked first whether the offset is committed, since so much every replica in sync
/// has. A follower reads up to the watermark that it knows; older versions know nothing of this and read from the
/// leader.
///
/// There are no fetch sessions: every request names all its partitions.
namespace troupe::kafka {
namespace {

class fetch_exchange final : public exchange_of<fetch_request, fetch_response> {
public:
  using exchange_of::exchange_of;
  void hurry() override {
    deadline_ = arrived();
    if (waiting_) tell();
  }

private:
  /// Of one answer, whatever the client allows (Kafka's default of fetch.max.bytes).
  static constexpr std::int64_t response_bytes_max = 55 << 20;
  static constexpr std::int16_t from_followers = 11;  ///< since this version clients know that they may
  /// A watch holds files of the store; nobody waits longer.
  static constexpr std::chrono::milliseconds wait_max{std::chrono::minutes{5}};

  struct partition_read {
    caf::actor partition;
    fetch question;
    fetch::outcome said;
    std::uint32_t topic{0}, place{0};  ///< in the answer
    std::uint32_t round{0};            ///< of the latest question; answers to earlier ones are stale
    bool unanswered{false}, watching{false};
    node_id nearer{-1};      ///< the replica in the client's rack, where that is another one
    bool redirected{false};  ///< the client is sent there

    bool has_data() const {
      const auto end = question.read_committed ? said.last_stable : said.high_watermark;
      return !said.refused && !said.diverging && !redirected && question.from < end;
    }
  };

  void serve() override {
    // Without sessions none can be continued. An epoch of -1 or 0 asks for everything, and that is what we do.
    if (asked.session_epoch != -1 && asked.session_epoch != 0) {
      told.error_code = counted(code::fetch_session_id_not_found);
      return answer(told);
    }
    bytes_max_ = std::clamp<std::int64_t>(asked.max_bytes, 0, response_bytes_max);
    bytes_min_ = std::clamp<std::int64_t>(asked.min_bytes, 0, bytes_max_);
    deadline_ = arrived() + std::clamp(std::chrono::milliseconds{asked.max_wait_ms}, {}, wait_max);
    const auto now = view();
    told.responses.resize(asked.topics.size());
    for (std::uint32_t t = 0; t < asked.topics.size(); ++t) {
      const auto& topic = asked.topics[t];
      told.responses[t].topic = topic.topic;
      told.responses[t].partitions.resize(topic.partitions.size());
      const topic_route route{*now, topic.topic};
      for (std::uint32_t p = 0; p < topic.partitions.size(); ++p) {
        told.responses[t].partitions[p].partition_index = topic.partitions[p].partition;
        add(route, topic.partitions[p], t, p);
        parts_.back().nearer = nearer(route, topic.partitions[p].partition, *now->image);
      }
    }
    // A reader that waits keeps only this exchange, not the buffer that its request came in.
    asked = {};
    drop_frame();
    next_wave();
  }

  void add(const topic_route& route, const fetch_request::fetch_partition& p, std::uint32_t topic,
           std::uint32_t place) {
    auto& part = parts_.emplace_back();
    part.topic = topic;
    part.place = place;
    part.question.from = log_offset{p.fetch_offset};
    part.question.bytes_max = static_cast<std::uint64_t>(std::max(p.partition_max_bytes, 0));
    part.question.current = leader_epoch{p.current_leader_epoch};
    part.question.last_fetched = leader_epoch{p.last_fetched_epoch};
    part.question.read_committed = asked.isolation_level == 1;
    part.question.leader_only = version() < from_followers;
    const auto found = route.find(p.partition);
    if (found.ok()) {
      part.partition = **found;
    } else {
      part.said.refused = found.error();
      ended_ = true;
    }
  }

  /// Another replica that is in the client's rack, if we lead and are not; several share their partitions.
  node_id nearer(const topic_route& route, std::int32_t index, const metadata_image& image) const {
    if (asked.rack_id.empty()) return node_id{-1};
    const auto* p = route.state(index);
    const auto client = home();
    if (p == nullptr || p->leader != setup().node || !client ||
        !client->sent_elsewhere().allowed({route.known()->id, partition_index{index}}, boot_clock::now()))
      return node_id{-1};
    const auto in_rack = [&](node_id id) {
      const auto* node = image.node(id);
      return node != nullptr && node->takes_on() && node->rack == asked.rack_id;
    };
    if (in_rack(setup().node)) return node_id{-1};
    std::vector<node_id> candidates;
    for (const auto id : p->isr)
      if (in_rack(id)) candidates.push_back(id);
    return candidates.empty() ? node_id{-1} : candidates[static_cast<std::size_t>(index) % candidates.size()];
  }

  // -- gathering -----------------------------------------------------------------------------------------------------

  void next_wave() {
    std::int64_t room = bytes_max_ - bytes_;
    std::int64_t promised = 0;
    while (next_ < parts_.size() && (room <= 0 || promised < room * reach_)) {
      auto& part = parts_[next_];
      if (part.partition) {
        const auto most = part.nearer.value() >= 0
                              ? 0
                              : std::clamp<std::int64_t>(room, 0, static_cast<std::int64_t>(part.question.bytes_max));
        // Without room only watermarks and errors are asked for; those cost nothing, so all in one wave.
        promised += most;
        ask(next_, static_cast<std::uint64_t>(most), next_ == 0 && part.nearer.value() < 0, false);
        ++open_;
      }
      ++next_;
    }
    if (open_ == 0) wave_done();
  }

  void wave_done() {
    // Nothing found so far: look further ahead at once.
    if (std::exchange(bytes_before_, bytes_) == bytes_) reach_ = std::min<std::int64_t>(reach_ * 4, 64);
    while (first_ < next_ && !parts_[first_].has_data()) ++first_;
    const bool stuck = first_ < next_ && parts_[first_].said.bytes == 0;
    if (stuck && !std::exchange(pushed_, true)) {
      // The first partition with data has a batch that did not fit.
      ++open_;
      return ask(first_, parts_[first_].question.bytes_max, true, false);
    }
    if (next_ < parts_.size()) return next_wave();
    if (enough() || parts_.empty() || boot_clock::now() >= deadline_) return tell();
    wait();
  }

  // -- waiting -------------------------------------------------------------------------------------------------------

  void wait() {
    waiting_ = true;
    set_deadline(deadline_);
    for (std::size_t i = 0; i < parts_.size(); ++i) watch(i);
  }
  void watch(std::size_t i) {
    const auto most = std::min(parts_[i].question.bytes_max, static_cast<std::uint64_t>(bytes_max_));
    parts_[i].watching = true;
    ask(i, most, bytes_ == 0, true);
  }
  void due() override {
    forget_deadline();
    tell();
  }

  // -- asking and hearing --------------------------------------------------------------------------------------------

  void ask(std::size_t i, std::uint64_t bytes_max, bool at_least_one, bool watch) {
    auto& part = parts_[i];
    fetch message = part.question;
    message.leader_only = message.leader_only || part.nearer.value() >= 0;
    message.bytes_max = bytes_max;
    message.at_least_one = at_least_one;
    if (watch) {
      message.watch_until = deadline_;
      message.over = over_flag();
    }
    part.unanswered = true;
    fetch::outcome lost;
    lost.refused = partition_gone;
    message.answer = reply(std::move(lost), [this, i, round = ++part.round](fetch::outcome said) {
      if (parts_[i].round == round) hear(i, std::move(said));
    });
    caf::anon_send(part.partition, std::move(message));
  }

  void hear(std::size_t i, fetch::outcome said) {
    auto& part = parts_[i];
    const bool first = std::exchange(part.unanswered, false);
    // Counted along: there may be very many partitions, and each answers at least twice while we wait.
    bytes_ += static_cast<std::int64_t>(said.bytes) - static_cast<std::int64_t>(part.said.bytes);
    ended_ = ended_ || said.refused || said.diverging;
    part.said = std::move(said);
    if (part.nearer.value() >= 0) send_elsewhere(part);
    if (!waiting_) {
      if (--open_ == 0) wave_done();
      return;
    }
    if (!first) part.watching = false;
    if (enough()) return tell();
    if (!part.watching) watch(i);  // something, but not enough
  }

  /// The leader has answered without records. Committed is what lies below the watermark, and the place right behind.
  void send_elsewhere(partition_read& part) {
    const auto to = std::exchange(part.nearer, node_id{-1});
    if (part.said.refused || part.said.diverging || part.question.from > part.said.high_watermark) return;
    auto& topic = told.responses[part.topic];
    auto& out = topic.partitions[part.place];
    const auto now = view();
    const auto client = home();
    const auto known = now->image->find(topic.topic);
    if (!known || !client) return;
    client->sent_elsewhere().sent({known->id, partition_index{out.partition_index}}, boot_clock::now());
    out.preferred_read_replica = to.value();
    part.redirected = ended_ = true;
  }

  bool enough() const { return bytes_ >= bytes_min_ || ended_; }

  // -- telling -------------------------------------------------------------------------------------------------------

  void tell() {
    const auto now = view();
    std::vector<std::vector<store::slice>> records(parts_.size());
    std::int64_t room = bytes_max_;
    bool any = false;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      auto& part = parts_[i];
      auto& topic = told.responses[part.topic];
      auto& out = topic.partitions[part.place];
      // Null means: not asked for. There are no transactions, so there is nothing to list either.
      if (part.question.read_committed) out.aborted_transactions.emplace();
      if (part.said.refused) {
        out.error_code = code_of(*part.said.refused);
        out.high_watermark = -1;
        const bool moved =
            out.error_code == code::not_leader_or_follower || out.error_code == code::fenced_leader_epoch;
        const topic_route route{*now, topic.topic};
        const auto* led = moved ? route.led_elsewhere(out.partition_index, setup().node) : nullptr;
        if (led != nullptr && setup().directory->may_name_leader(*led, setup().node))
          out.current_leader = {led->leader.value(), led->epoch.value()};
        continue;
      }
      out.high_watermark = part.said.high_watermark.value();
      out.last_stable_offset = part.said.last_stable.value();
      out.log_start_offset = part.said.log_start.value();
      if (part.said.diverging)
        out.diverging_epoch = {part.said.diverging->epoch.value(), part.said.diverging->end.value()};
      // Side by side, partitions may have brought more than fits: the later ones wait for the next request.
      std::uint32_t size = 0;
      for (auto& s : part.said.slices) {
        if (any && static_cast<std::int64_t>(s.size) > room) break;
        any = true;
        room -= static_cast<std::int64_t>(s.size);
        size += static_cast<std::uint32_t>(s.size);
        records[i].push_back(std::move(s));
      }
      out.records.outside = {size, static_cast<std::uint32_t>(i)};
    }
    answer(told, records);
  }

  void release() override {
    parts_.clear();
    told = {};
  }

  std::vector<partition_read> parts_;  ///< in the order of the request
  std::int64_t bytes_max_{0}, bytes_min_{0};
  instant deadline_;
  std::size_t next_{0};           ///< first partition not asked yet
  std::size_t open_{0};           ///< asked, not answered (gathering)
  std::size_t first_{0};          ///< where the first partition with data may be
  std::int64_t bytes_{0};         ///< found so far
  std::int64_t bytes_before_{0};  ///< when the wave before was done
  bool ended_{false};             ///< some partition said what ends the waiting
  std::int64_t reach_{1};         ///< how many times what fits a wave may promise
  bool pushed_{false};            ///< a batch that did not fit was asked for whatever its size
  bool waiting_{false};
};

}  // namespace

exchange_maker* const make_fetch = &make<fetch_exchange>;

}  // namespace troupe::kafka
