#include "tests/simulation/stage.hpp"

#include <algorithm>
#include <tuple>

#include "actors/partition/record_batch.hpp"

namespace troupe::sim {

namespace {

std::string number(auto id) {
  return std::to_string(id.value());
}
std::string range(log_offset from, log_offset end) {
  return "[" + number(from) + ", " + number(end) + ")";
}
std::string refusal(errc why) {
  return "refused: " + std::string{to_string(why)};
}

std::string joined(const std::set<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "nothing" : text;
}

template <class Body>
struct kind {
  std::string_view name;
};
/// What scenarios call the letters.
constexpr std::tuple kinds{kind<raft_pre_vote>{"raft_pre_vote"},
                           kind<raft_pre_vote_reply>{"raft_pre_vote_reply"},
                           kind<raft_vote>{"raft_vote"},
                           kind<raft_vote_reply>{"raft_vote_reply"},
                           kind<raft_append>{"raft_append"},
                           kind<raft_append_reply>{"raft_append_reply"},
                           kind<raft_install>{"raft_install"},
                           kind<raft_install_reply>{"raft_install_reply"},
                           kind<raft_hand_over>{"raft_hand_over"},
                           kind<registration>{"registration"},
                           kind<registration_answer>{"registration_answer"},
                           kind<heartbeat>{"heartbeat"},
                           kind<heartbeat_answer>{"heartbeat_answer"},
                           kind<relayed>{"relayed"},
                           kind<relayed_answer>{"relayed_answer"},
                           kind<farewell>{"farewell"},
                           kind<alter_isr>{"alter_isr"},
                           kind<alter_isr_answer>{"alter_isr_answer"},
                           kind<log_ends>{"log_ends"},
                           kind<shard_released>{"shard_released"},
                           kind<release_order>{"release_order"},
                           kind<entities::deliver>{"deliver"},
                           kind<entities::answer>{"deliver_answer"},
                           kind<entities::handover_request>{"handover_request"},
                           kind<entities::handover>{"handover"},
                           kind<membership::message>{"membership"},
                           kind<replica_fetch>{"fetch"},
                           kind<replica_answer>{"fetch_answer"},
                           kind<produce_request>{"produce"},
                           kind<produce_reply>{"produce_answer"}};

template <class Body>
std::string_view name_of(const Body&) {
  std::string_view found = "other";
  auto look = [&]<class Known>(const kind<Known>& k) {
    if constexpr (std::is_same_v<Known, Body>) found = k.name;
  };
  std::apply([&](const auto&... k) { (look(k), ...); }, kinds);
  return found;
}

std::string_view kind_of(const letter& l) {
  if (const auto* m = std::get_if<raft_message>(&l.body))
    return std::visit([](const auto& body) { return name_of(body); }, m->body);
  return std::visit([](const auto& body) { return name_of(body); }, l.body);
}

}  // namespace

std::string listed(std::vector<int> nodes) {
  std::sort(nodes.begin(), nodes.end());
  std::string text;
  for (const auto n : nodes) text += (text.empty() ? "" : ",") + std::to_string(n);
  return text.empty() ? "none" : text;
}

/// One request over a connection of its own.
class stage::caller final : public client {
public:
  using client::client;
  void ask(int node, letter_body body) {
    connect_again(node_id{node});
    send(node_id{node}, std::move(body));
  }
  void receive(const letter& l) override {
    if (!answer) answer = l.body;
    if (heard) heard(l.body);
  }
  std::optional<letter_body> answer;
  std::function<void(const letter_body&)> heard;
};

stage::stage(const stage_options& o) : options_{o}, cluster_{o.cluster} {
  cluster_.intercept = [this](place to, const letter& l) { return intercepts(to, l); };
}

stage::~stage() = default;

lines stage::form() {
  // The first three together, so that they are the voters.
  for (const auto n : {std::min(options_.running, 3), options_.running})
    if (!cluster_.gather(n)) return {"the cluster did not form"};
  cluster_.run(1s);
  std::vector<int> active, voters;
  for (const auto& [id, node] : cluster_.judge().newest().nodes)
    if (node.state == node_state::active) active.push_back(id.value());
  auto* c = cluster_.controller();
  if (!c) return {"no controller works"};
  for (const auto& m : c->quorum().members())
    if (m.voter) voters.push_back(m.peer.node.value());
  return {"nodes " + listed(active) + " active; controller " + number(c->id()) + "; voters " + listed(voters)};
}

std::vector<int> stage::who(const std::vector<int>& named) {
  std::vector<int> all;
  for (const auto n : named)
    if (n != words::controller)
      all.push_back(n);
    else if (const auto* c = cluster_.controller())
      all.push_back(c->id().value());
  return all;
}

std::optional<partition_ref> stage::find(const partition_name& p) {
  const auto& image = cluster_.judge().newest();
  const auto at = image.topics.find(p.topic);
  if (at == image.topics.end() || static_cast<std::size_t>(p.index) >= at->second->partitions.size()) return {};
  return partition_ref{at->second->id, partition_index{p.index}};
}

const partition_state* stage::state(const partition_name& p) {
  const auto where = find(p);
  return where ? cluster_.judge().newest().find(*where) : nullptr;
}

const partition_replica* stage::replica(int node, const partition_name& p) {
  const auto where = find(p);
  auto* holder = cluster_.at(node);
  return where && holder ? holder->replica_of(*where) : nullptr;
}

std::optional<int> stage::leader_of(const partition_name& p) {
  const auto* s = state(p);
  if (!s || s->leader.value() < 0) return {};
  return s->leader.value();
}

// -- letters ----------------------------------------------------------------------------------------------------

bool stage::is_kind(std::string_view name) {
  return name == "raft" || std::apply([&](const auto&... k) { return ((k.name == name) || ...); }, kinds);
}

bool stage::intercepts(place to, const letter& l) {
  const auto from = l.from.node.value();
  for (const auto& f : fates_) {
    const auto& k = f.kind;
    if (!k.from.empty() && !k.from.contains(from)) continue;
    if (!k.to.empty() && !k.to.contains(to)) continue;
    const auto name = kind_of(l);
    // `alter_isr` is not its answer, `raft` is all of raft's.
    if (name != k.name && !(k.name == "raft" && name.starts_with("raft_"))) continue;
    cluster_.ground().tell((f.hold ? "held: " : "lost: ") + std::string{name} + " n" + std::to_string(from) + " -> n" +
                           std::to_string(to));
    if (f.hold)
      held_.emplace_back(to, l);
    else
      lost_.emplace(name);
    return true;
  }
  return false;
}

lines stage::lose_nothing() {
  std::erase_if(fates_, [](const fate& f) { return !f.hold; });
  return {"lost: " + joined(std::exchange(lost_, {}))};
}

lines stage::release(int times) {
  std::erase_if(fates_, [](const fate& f) { return f.hold; });
  const auto held = std::exchange(held_, {});
  std::set<std::string> names;
  for (; times > 0; --times)
    for (const auto& [to, l] : held) {
      names.emplace(kind_of(l));
      cluster_.bring(to, l);
    }
  return {"held: " + joined(names)};
}

// -- requests -----------------------------------------------------------------------------------------------------

lines stage::ask(cluster_controller::request what) {
  // The answer may come after we have given up.
  auto answer = std::make_shared<std::optional<cluster_controller::outcome>>();
  const bool asked = cluster_.run_until(
      [&] {
        auto* c = cluster_.controller();
        return c && c->ask(what, [answer](cluster_controller::outcome o) { *answer = std::move(o); });
      },
      5s);
  if (!asked) return {"no controller works"};
  if (!cluster_.run_until([&] { return answer->has_value(); }, 5s)) return {"no answer"};
  const auto& outcome = **answer;
  if (outcome.failed) return {refusal(outcome.failed->code)};
  lines said;
  for (const auto& d : outcome.decisions)
    if (d.refused) said.push_back(refusal(d.refused->code));
  for (const auto& item : outcome.items)
    if (!item) said.push_back(refusal(item.code()));
  return said;
}

// -- clients ------------------------------------------------------------------------------------------------------

std::shared_ptr<stage::caller> stage::call(int node, letter_body body) {
  const auto client = std::make_shared<caller>(cluster_.for_clients(), cluster_.free_place());
  cluster_.welcome(*client);
  callers_.push_back(client);
  client->ask(node, std::move(body));
  return client;
}

template <class Reply>
std::optional<Reply> stage::wait_for(caller& c, duration patience) {
  cluster_.run_until([&] { return c.answer.has_value(); }, patience);
  if (!c.answer) return {};
  return std::get<Reply>(*c.answer);
}

lines stage::send(const writing& w) {
  const auto where = find(w.where);
  if (!where) return {"no such partition"};
  const auto to = w.to ? w.to : leader_of(w.where);
  if (!to) return {"no leader"};
  const auto producer = w.producer.value_or(next_producer_);
  if (!w.producer) ++next_producer_;
  // The same batch again is the same bytes.
  const auto unique = static_cast<std::uint64_t>(producer) << 24 | static_cast<std::uint64_t>(w.sequence);
  auto batch = build_batch(producer, 0, w.sequence, w.records, unique);
  const auto crc = batch_header{batch}.crc();
  const auto client = call(*to, produce_request{1, *where, std::move(batch), w.acks});
  client->heard = [this, where = *where, crc, acks = w.acks, once = !w.producer](const letter_body& body) {
    const auto& reply = std::get<produce_reply>(body);
    if (!reply.refused && acks == -1) cluster_.judge().client_acknowledged(where, reply.base, crc);
    // Refused before it was written. A batch that is sent again may have been written the first time.
    if (reply.refused && once && *reply.refused == errc::not_enough_replicas) cluster_.judge().client_refused(crc);
  };
  open_.push_back({w, client});
  return {};
}

std::string stage::told(const sent& s) const {
  if (!s.client->answer) return "no answer";
  const auto& reply = std::get<produce_reply>(*s.client->answer);
  if (reply.refused) return refusal(*reply.refused);
  return "stored " + range(reply.base, reply.base + s.what.records);
}

lines stage::produce(const writing& w, duration patience) {
  if (auto wrong = send(w); !wrong.empty()) return wrong;
  const auto mine = open_.back();
  open_.pop_back();
  cluster_.run_until([&] { return mine.client->answer.has_value(); }, patience);
  return {told(mine)};
}

lines stage::answers(duration patience) {
  const auto asked = std::exchange(open_, {});
  cluster_.run_until(
      [&] {
        return std::all_of(asked.begin(), asked.end(), [](const sent& s) { return s.client->answer.has_value(); });
      },
      patience);
  lines all;
  for (const auto& s : asked) all.push_back(told(s));
  if (all.empty()) all.push_back("nothing was asked");
  return all;
}

lines stage::read(const partition_name& p, log_offset from, std::optional<int> at) {
  const auto where = find(p);
  if (!where) return {"no such partition"};
  const auto to = at ? at : leader_of(p);
  if (!to) return {"no leader"};
  auto next = from;
  std::optional<log_offset> first;
  for (;;) {
    auto client = call(*to, fetch_request{1, *where, next, no_epoch, at.has_value()});
    const auto reply = wait_for<fetch_reply>(*client, 2s);
    if (!reply) return {"no answer"};
    if (reply->refused) return {refusal(*reply->refused)};
    const auto before = next;
    for (const auto& run : reply->runs) {
      if (run.size() < batch_header::header_bytes) continue;
      const auto facts = facts_of(run);
      const auto base = batch_header{run}.base();
      cluster_.judge().client_read(*where, base, facts);
      if (!first) first = base;
      next = std::max(next, base + static_cast<std::int64_t>(facts.size()));
    }
    if (next == before)
      return {(first ? range(*first, next) : std::string{"nothing"}) + ", watermark " + number(reply->watermark)};
  }
}

lines stage::latest(const partition_name& p, std::optional<int> at) {
  const auto where = find(p);
  if (!where) return {"no such partition"};
  const auto leader = leader_of(p);
  const auto to = at ? at : leader;
  if (!to) return {"no leader"};
  // A former leader that does not know it yet may tell an older end; the present one must not.
  const auto acknowledged = to == leader ? cluster_.judge().acknowledged_end(*where) : log_offset{0};
  const auto reply = wait_for<latest_reply>(*call(*to, latest_request{1, *where}), 2s);
  if (!reply) return {"no answer"};
  if (reply->refused) return {refusal(*reply->refused)};
  cluster_.judge().client_told_latest(*where, acknowledged, reply->latest);
  return {number(reply->latest)};
}

void stage::load() {
  cluster_.add_producer(cluster_.partitions(), {.in_flight = 5});
  cluster_.add_producer(cluster_.partitions(), {.in_flight = 1});
  cluster_.add_consumer(cluster_.partitions(), false);
  cluster_.add_consumer(cluster_.partitions(), true);
}

// -- entities -------------------------------------------------------------------------------------------------------

namespace {
std::optional<entities::shard_id> shard_of(const entities::entity_name& whom) {
  for (const auto& kind : entity_kinds())
    if (kind.name == whom.kind) return entities::shard_of(whom, kind.shards);
  return std::nullopt;
}
}  // namespace

lines stage::call(const entities::entity_name& whom, int times, std::optional<int> at, duration patience) {
  const auto end = cluster_.ground().now() + patience;
  int answered = 0;
  for (int i = 0; i < times; ++i) {
    auto node = at;
    for (int n = 1; !node && n <= cluster_.options().nodes; ++n)
      if (cluster_.runs(n)) node = n;
    const auto what = node ? cluster_.call(*node, whom) : std::nullopt;
    if (!what) return {"refused"};
    const auto left = std::max<duration>(end - cluster_.ground().now(), duration::zero());
    answered += cluster_.run_until([&] { return cluster_.judge().answered(*what); }, left);
  }
  if (answered == times) return {"answered"};
  return {answered == 0 ? "no answer" : "answered " + std::to_string(answered) + " of " + std::to_string(times)};
}

std::optional<std::pair<node_id, bool>> stage::owner_of(const entities::entity_name& whom) const {
  const auto shard = shard_of(whom);
  return shard ? cluster_.owner_of(*shard) : std::nullopt;
}

std::optional<std::size_t> stage::done_by(const entities::entity_name& whom) {
  const auto owner = owner_of(whom);
  auto* p = owner ? cluster_.at(owner->first.value()) : nullptr;
  const auto* core = p && p->entities() ? p->entities()->host().owner_of(*shard_of(whom)) : nullptr;
  if (!core || core->now_in() != entities::shard_owner::state::active) return std::nullopt;
  const auto& all = p->entities()->state_of(*shard_of(whom));
  const auto did = all.find(whom.key);
  return did == all.end() ? 0 : did->second.size();
}

lines stage::peace() {
  fates_.clear();
  held_.clear();
  cluster_.heal();
  cluster_.run(1s);
  for (const auto& p : cluster_.producers()) p->stop();
  return {cluster_.run_until([&] { return cluster_.quiet(); }, 30s) ? "quiet" : cluster_.unrest()};
}

}  // namespace troupe::sim
