#include "actors/node/node_actor.hpp"

#include <algorithm>
#include <caf/all.hpp>
#include <deque>
#include <fstream>
#include <future>
#include <optional>

#include "actors/controller/former_metadata.hpp"
#include "actors/entity/entity_actor.hpp"
#include "actors/node/news_in_order.hpp"
#include "actors/node/node_core.hpp"
#include "actors/node/post_office.hpp"
#include "actors/node/quorum_writer.hpp"
#include "actors/node/record_log.hpp"
#include "actors/node/replica_host.hpp"
#include "runtime/base/check.hpp"
#include "runtime/base/overloaded.hpp"
#include "runtime/observe/log.hpp"

/// The shell of a node's core: carries letters, writes and requests to it, and its effects to the quorum's disk, to the
/// replicas, to other nodes and to callers.
namespace troupe::node_events {

struct link_is {
  transport_peer peer;
  bool up{false}, reset{false};
};
struct link_refused {
  node_id peer;
};
/// `by` belongs to a cluster that has this node as a member.
struct claimed {
  transport_peer by;
};
struct write_done {
  std::uint64_t number{0};
};
struct proposal {
  alter_isr what;
};
struct log_end_is {
  log_ends::log_end what;
};
struct reach_is {
  partition_ref where;
  std::optional<node_id> leader;
};
/// A shard of entities has stopped here, as the controller wanted.
struct shard_stopped {
  entities::shard_id shard;
  std::int32_t epoch{0};
};
/// Every replica and entity has taken in this metadata.
struct news_told {
  std::shared_ptr<const metadata_image> image;
};
struct fails {
  error why;
};
struct mark_written {};
struct doors_closed {};
struct beat_due {};

}  // namespace troupe::node_events

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::link_is)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::link_refused)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::claimed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::write_done)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::proposal)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::log_end_is)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::reach_is)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::shard_stopped)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::news_told)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::fails)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::mark_written)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::doors_closed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::node_events::beat_due)

namespace troupe {

namespace {

using namespace node_events;
using observe::level;
using std::chrono::milliseconds;

constexpr milliseconds tick_interval{50};
/// While the node starts, so that a node alone does not wait for ticks.
constexpr milliseconds starting_interval{2};
constexpr milliseconds log_ends_interval{1000};
/// What could not be opened is tried again.
constexpr milliseconds again_after{5000};
/// Address space for the quorum's log and its snapshot, not disk.
constexpr std::uint64_t metadata_map_bytes = 4ull << 30;
/// Producer ids are reserved in blocks, so that a commit pays for many; what a crash leaves of a block is never used.
constexpr std::int64_t producer_id_block = 1000;
/// What the entities of a node may take.
constexpr std::size_t entity_bytes_max = std::size_t{256} << 20;

/// A node that was alone, before there were quorums, has its metadata as records: they become the quorum's snapshot.
result<raft_table::former> adopt(const store::table& table, const registration& self) {
  auto found = read_former_metadata(table, self.node);
  if (!found) return found.error();
  raft_table::former former;
  if (!*found) return former;
  former.index = raft_index{(*found)->image.applied.value()};
  former.rows = std::move((*found)->rows);
  // It had no name for its disk yet. The quorum's one voter has: another disk would be another voter.
  if (const auto at = (*found)->image.nodes.find(self.node); at != (*found)->image.nodes.end())
    at->second.disk = self.disk;
  if (const auto records = (*found)->image.snapshot(); !records.empty())
    former.image = shared_bytes::own(encode_all(records));
  return former;
}

/// Another one after each start of the machine; empty where it cannot be told.
std::string boot_id() {
  std::ifstream in{"/proc/sys/kernel/random/boot_id"};
  std::string id;
  std::getline(in, id);
  return id;
}

template <class Items>
std::vector<std::string> names_of(const Items& items) {
  std::vector<std::string> names;
  for (const auto& it : items) names.push_back(it.name);
  return names;
}

/// As long a cluster of one node without topics waits for those who might miss that node: they dial every second.
constexpr std::chrono::seconds missed_within{3};

error second_cluster(const std::string& whose, const std::string& where) {
  return {errc::wrong_format,
          whose +
              " has this node as a member, but its data directory was empty, and a second cluster was founded in it: "
              "move the directory away and start the node again with --join=" +
              where + ", or take it out of that cluster before it founds another"};
}

class shell final : public node_core::witness {
public:
  shell(caf::event_based_actor* self, node_setup setup) : self_{self}, setup_{std::move(setup)} {}
  ~shell() override { close(); }

  caf::behavior start();

private:
  // node_core::witness
  void applies(const std::vector<metadata_record>&, const metadata_image& before) override;
  void leads(raft_term) override;
  void leads_no_more(raft_term) override;
  void notes(const cluster_controller::noted&) override;
  void suspects(const membership::suspicion&) override;
  void trusts(life) override;

  result<void> open();
  result<void> open_quorum(raft_stored& stored);
  std::vector<partition_ref> look_for_damage();
  result<void> open_transport();
  static instant now() { return boot_clock::now(); }

  void perform(node_core::effects&&);
  void registered(life as, const std::string& cluster_id);
  void start_entities(life as);
  template <class Message>
  void tell_entities(const Message&);
  void close_entities();
  void follow(std::shared_ptr<const metadata_image>);
  void look_at_peers(const metadata_image&);
  bool may_be_missed() const;
  bool has_nothing() const;
  void serves_now();
  void beat();
  void look_at_clock(moment, wall_time reading);
  void hear(const link_is&);
  void hear(const claimed&);
  void say_log_ends();
  void ask(cluster_controller::request, std::function<void(cluster_controller::outcome)>);
  void decide(cluster_controller::request, std::vector<std::string> names, decisions_reply);
  node_description description() const;
  void give_id(producer_id_request&);
  void reserve_ids();
  void stop(stop_request&);
  void close_doors();
  void stop_replicas();
  void replicas_stopped();
  void end();
  void fail(const error&);
  void close();

  caf::event_based_actor* self_;
  node_setup setup_;
  std::shared_ptr<post_office> post_;
  std::shared_ptr<replica_home> home_;
  std::unique_ptr<transport> transport_;
  std::unique_ptr<quorum_writer> writer_;
  std::unique_ptr<node_core> core_;
  std::optional<replica_host> host_;
  std::vector<caf::actor> entity_hosts_;
  std::set<partition_ref> damaged_;
  std::map<node_id, life> lives_;  ///< whom a peer said it is, over the link that it has now
  std::map<node_id, net::address> known_peers_;
  std::map<partition_ref, node_id> unreached_;
  log_ends log_ends_;

  bool member_{false}, serving_{false}, fast_ticks_{true};
  bool clock_trusted_{true};
  instant next_log_ends_{}, try_again_at_{instant::max()};
  std::map<node_core::ticket, std::function<void(cluster_controller::outcome)>> asked_;
  node_core::ticket next_ticket_{1};
  std::deque<std::function<void(result<producer_id>)>> ids_wanted_;
  std::int64_t producer_id_next_{0}, producer_id_end_{0};
  bool reserving_{false};
  std::optional<error> failed_;
  std::optional<stop_request> stopping_;
  bool adopted_{false};  ///< the directory of an earlier version
  instant opened_at_{};
  observe::seldom claims_;
  news_in_order news_;
  std::int64_t clean_epoch_{-1};
  bool let_go_{false}, doors_closing_{false}, replicas_stopping_{false}, marking_{false};

  observe::counter* records_{nullptr};
  observe::histogram* commit_seconds_{nullptr};
  observe::gauge *nodes_{nullptr}, *leads_{nullptr}, *term_{nullptr}, *lease_{nullptr};
};

caf::behavior shell::start() {
  self_->set_default_handler(caf::drop);
  self_->set_down_handler([this](caf::down_msg& m) {
    if (host_) host_->ended(m.source);
    // Nobody would answer for its shards, and the cluster takes them for served.
    if (std::ranges::find(entity_hosts_, m.source, [](const auto& h) { return h.address(); }) != entity_hosts_.end())
      fail({errc::internal, "what handles the entities of this node has ended"});
    if (host_ && host_->incomplete()) try_again_at_ = std::min(try_again_at_, now() + again_after);
    if (replicas_stopping_) replicas_stopped();
  });
  auto& metrics = *setup_.metrics;
  records_ = &metrics.counter("troupe_metadata_records_total", "Metadata records applied");
  commit_seconds_ = &metrics.histogram("troupe_metadata_commit_seconds", "Time to make metadata records durable",
                                       observe::latency_bounds());
  nodes_ = &metrics.gauge("troupe_nodes", "Nodes of the cluster that serve");
  leads_ = &metrics.gauge("troupe_controller", "1 where the controller is");
  term_ = &metrics.gauge("troupe_quorum_term", "Term of the metadata quorum");
  lease_ = &metrics.gauge("troupe_lease", "1 while this node holds its lease");
  if (auto opened = open(); !opened) {
    failed_ = opened.error();
    std::exchange(setup_.ready, {})(std::move(opened));
  }
  return {
      [this](letter_came& m) {
        if (!core_ || failed_) return;
        lives_[m.from.node] = m.from;
        perform(core_->received(now(), m.from, m.body));
      },
      [this](const write_done& m) {
        if (core_) perform(core_->written(now(), m.number));
      },
      [this](proposal& m) {
        if (core_) perform(core_->to_controller(now(), std::move(m.what)));
      },
      [this](const shard_stopped& m) {
        if (core_)
          perform(core_->to_controller(now(), shard_released{core_->self(), m.shard.kind, m.shard.index, m.epoch}));
      },
      [this](const link_is& m) { hear(m); },
      [this](const link_refused& m) {
        if (core_) perform(core_->refused(now(), m.peer));
      },
      [this](const claimed& m) { hear(m); },
      [this](const news_told& m) {
        if (const auto image = news_.taken_in(m.image); image && core_) perform(core_->told(now(), *image));
      },
      [this](const reach_is& m) {
        if (m.leader)
          unreached_[m.where] = *m.leader;
        else
          unreached_.erase(m.where);
      },
      [this](log_end_is& m) { log_ends_.ends.push_back(m.what); },
      [this](beat_due) { beat(); },
      [this](create_topics_request& m) {
        auto names = names_of(m.topics);
        decide(cluster_controller::create_topics{std::move(m.topics), m.validate_only}, std::move(names),
               std::move(m.answer));
      },
      [this](delete_topics_request& m) {
        auto names = names_of(m.topics);
        decide(cluster_controller::delete_topics{std::move(m.topics)}, std::move(names), std::move(m.answer));
      },
      [this](create_partitions_request& m) {
        auto names = names_of(m.topics);
        decide(cluster_controller::create_partitions{std::move(m.topics), m.validate_only}, std::move(names),
               std::move(m.answer));
      },
      [this](alter_configs_request& m) {
        auto names = names_of(m.topics);
        decide(cluster_controller::alter_configs{std::move(m.topics), m.validate_only}, std::move(names),
               std::move(m.answer));
      },
      [this](producer_id_request& m) { give_id(m); },
      [this](operator_request& m) { ask(std::move(m.what), std::move(m.answer)); },
      [this](const describe_node_request& m) { m.answer(description()); },
      [this](stop_request& m) { stop(m); },
      [this](doors_closed) { stop_replicas(); },
      [this](mark_written) {
        if (core_) perform(core_->marked(now()));
      },
      [this](const fails& m) { fail(m.why); },
  };
}

// -- opening --------------------------------------------------------------------------------------------------------

result<void> shell::open() {
  if (auto checked = parse_topic_settings(setup_.defaults.topic_overrides); !checked) return checked.error();
  raft_stored stored;
  opened_at_ = now();
  news_ = {};
  if (auto opened = open_quorum(stored); !opened) return opened;

  post_ = std::make_shared<post_office>(caf::actor_cast<caf::actor>(self_), setup_.directory);
  post_->is({setup_.self.node, -1});
  home_ = std::make_shared<replica_home>();
  damaged_.clear();
  auto damaged = look_for_damage();
  damaged_ = {damaged.begin(), damaged.end()};

  node_core::options o;
  o.agent.self = setup_.self;
  o.topics = controller{setup_.defaults};
  for (const auto& t : setup_.entities) o.controller.kinds.push_back({t.kind.name, t.kind.shards});
  core_ = std::make_unique<node_core>(std::move(o), std::move(stored), *this, random_source{random_seed()}, now());
  post_->belongs_to(core_->cluster_id());
  if (auto opened = open_transport(); !opened) return opened;

  auto past = writer_->past();
  const auto logs = setup_.store->logs();
  const auto boot = boot_id();
  // Whose node was alone until now has all there is.
  const bool clean =
      adopted_ || past.clean_epoch >= 0 || (!boot.empty() && past.boot_id == boot) ||
      std::ranges::none_of(logs, [](const auto& log) { return log.level == store::durability::interval; });
  past.boot_id = boot;
  past.clean_epoch = -1;
  past.distrusted = past.distrusted && !damaged.empty();
  writer_->put(past);
  self_->delayed_send(self_, starting_interval, beat_due{});
  perform(core_->recovered(now(), clean, std::move(damaged)));
  return failed_ ? result<void>{*failed_} : result<void>{};
}

result<void> shell::open_quorum(raft_stored& stored) {
  auto opened = store::table::open(setup_.metadata_directory, metadata_map_bytes);
  if (!opened) return opened.error();
  raft_table::options how;
  how.node = setup_.self.node;
  how.disk = setup_.self.disk;
  how.adopt = [this](const store::table& t) {
    auto former = adopt(t, setup_.self);
    adopted_ = former.ok() && former->image.size() > 0;
    return former;
  };
  auto table = raft_table::open(std::move(*opened), std::move(how));
  if (!table) return table.error();
  auto loaded = (*table)->load();
  if (!loaded) return loaded.error();
  stored = std::move(*loaded);

  auto past = (*table)->past();
  if (!past.cluster_id.empty() && !setup_.self.cluster_id.empty() && past.cluster_id != setup_.self.cluster_id)
    return {errc::wrong_format, "this data directory belongs to cluster " + past.cluster_id + ", not to " +
                                    setup_.self.cluster_id +
                                    ": choose another with --data-dir, or that with --cluster"};
  if (!past.claimed_by.empty()) return second_cluster("cluster " + past.claimed_by, "HOST:PORT of one of its nodes");
  const bool nothing = !stored.hard && !stored.snapshot && stored.entries.empty();
  // Going on would drop every log as unowned. Whoever lost the metadata may still want the records.
  if (const auto logs = setup_.store->logs(); nothing && !logs.empty())
    return {errc::wrong_format, "there are logs of " + std::to_string(logs.size()) +
                                    " partitions, but no metadata that knows them: the metadata was removed, or "
                                    "directories of two nodes are mixed"};
  if (nothing && setup_.founder) {
    raft::write first;
    first.snapshot = std::make_shared<raft_snapshot>(node_core::founding({setup_.self.node, setup_.self.disk}));
    if (auto done = (*table)->write({&first, 1}); !done) return done;
    stored.snapshot = first.snapshot;
  }
  ++past.starts;
  if (auto done = (*table)->put(past); !done) return done;
  setup_.self.start = past.starts;
  if (!past.cluster_id.empty()) setup_.self.cluster_id = past.cluster_id;

  const auto me = caf::actor_cast<caf::actor>(self_);
  quorum_writer::listener l;
  l.written = [me](std::uint64_t number) { caf::anon_send(me, write_done{number}); };
  l.took = [this](std::chrono::nanoseconds d) { commit_seconds_->observe(std::chrono::duration<double>(d).count()); };
  l.waits = [](const error& why) { observe::log(level::warn, "node", "metadata_waits_for_space", {{"why", why}}); };
  l.failed = [me](const error& why) {
    observe::log(level::error, "node", "metadata_not_written", {{"why", why}});
    caf::anon_send(me, fails{why});
  };
  writer_ = std::make_unique<quorum_writer>(std::move(*table), std::move(l));
  return {};
}

/// A disk that showed damage once is read from end to end; what does not read is damaged from there.
std::vector<partition_ref> shell::look_for_damage() {
  std::vector<partition_ref> damaged;
  for (const auto& log : setup_.store->logs()) {
    auto state = setup_.store->state(log.id);
    if (state && writer_->past().distrusted)
      for (auto at = state->start; at < state->end;) {
        std::promise<result<store::read_result>> later;
        auto got = setup_.store->read(log.id, at, {state->end, 1 << 20, true},
                                      [&](result<store::read_result> r) { later.set_value(std::move(r)); });
        const auto read = got ? std::move(*got) : later.get_future().get();
        bool whole = read.ok() && read->next != at;
        if (whole)
          for (const auto& s : read->slices) whole = whole && s.load().ok();
        if (!whole) break;
        at = read->next;
      }
    state = setup_.store->state(log.id);
    if (state && state->damaged_from) damaged.push_back({log.identity.topic, log.identity.partition});
  }
  if (!damaged.empty())
    observe::log(level::error, "node", "logs_damaged", {{"count", damaged.size()}, {"see", "log_damaged"}});
  return damaged;
}

result<void> shell::open_transport() {
  if (!setup_.peers) return {};
  auto o = *setup_.peers;
  o.node = setup_.self.node;
  o.incarnation = random_source{random_seed()}();
  o.cluster_id = core_->cluster_id();
  o.metrics = setup_.metrics;
  const auto me = caf::actor_cast<caf::actor>(self_);
  transport_callbacks c;
  c.received = [post = post_](node_id from, shared_bytes frame) { post->received(from, std::move(frame)); };
  c.up = [me](const transport_peer& p) { caf::anon_send(me, link_is{p, true, false}); };
  c.down = [me](const transport_peer& p, bool reset) { caf::anon_send(me, link_is{p, false, reset}); };
  c.refused = [me](node_id n) { caf::anon_send(me, link_refused{n}); };
  c.claimed = [me](const transport_peer& p) { caf::anon_send(me, claimed{p}); };
  auto started = transport::start(self_->system(), std::move(o), std::move(c));
  if (!started) return started.error();
  transport_ = std::move(*started);
  post_->uses(transport_.get());
  for (const auto& seed : setup_.seeds) transport_->seek(seed);
  return {};
}

// -- effects --------------------------------------------------------------------------------------------------------

void shell::perform(node_core::effects&& todo) {
  for (auto& it : todo) {
    if (failed_) return;
    std::visit(overloaded{
                   [&](node_core::write& e) { writer_->push(std::move(e.what)); },
                   [&](node_core::send& e) { post_->send(e.to, std::move(e.message)); },
                   [&](node_core::metadata& e) { follow(std::move(e.image)); },
                   [&](node_core::registered& e) { registered(e.as, e.cluster_id); },
                   [&](node_core::leased& e) {
                     home_->lease_end = e.until;
                     tell_entities(entities_leased{e.until});
                   },
                   [&](node_core::clock& e) { home_->wall_is(e.line); },
                   [&](node_core::write_mark& e) {
                     clean_epoch_ = e.node_epoch;
                     let_go_ = true;
                     if (stopping_)
                       close_doors();
                     else if (setup_.removed)
                       setup_.removed();
                   },
                   [&](node_core::answer& e) {
                     const auto at = asked_.find(e.to);
                     if (at == asked_.end()) return;
                     const auto told = std::move(at->second);
                     asked_.erase(at);
                     told(std::move(e.what));
                   },
                   [&](node_core::end& e) {
                     if (e.why)
                       fail(*e.why);
                     else
                       end();
                   },
               },
               it);
  }
}

void shell::registered(life as, const std::string& cluster_id) {
  observe::log(level::info, "node", "registered", {{"node", as.node}, {"epoch", as.epoch}, {"cluster", cluster_id}});
  if (auto past = writer_->past(); past.cluster_id != cluster_id) {
    past.cluster_id = cluster_id;
    writer_->put(past);
  }
  post_->belongs_to(cluster_id);
  post_->is(as);
  if (transport_) transport_->joined(cluster_id);
  member_ = true;

  const auto me = caf::actor_cast<caf::actor>(self_);
  home_->self = as;
  home_->send_fetch = [post = post_](node_id to, replica_fetch m) { post->send(to, std::move(m)); };
  home_->send_answer = [post = post_](node_life to, replica_answer m) { post->send(to.node, std::move(m)); };
  home_->propose = [me](alter_isr m) { caf::anon_send(me, proposal{std::move(m)}); };
  home_->out_of_reach = [me](const partition_ref& where, std::optional<node_id> leader) {
    caf::anon_send(me, reach_is{where, leader});
  };
  home_->found_damage = [me](const error& why) { caf::anon_send(me, fails{why}); };
  replica_host::surroundings s;
  s.owner = self_;
  s.store = setup_.store;
  s.home = home_;
  s.directory = setup_.directory;
  s.metrics = setup_.metrics;
  s.topic_overrides = setup_.defaults.topic_overrides;
  s.retention_interval = setup_.retention_interval;
  s.damaged = damaged_;
  s.failed = [this](const error& why) { fail(why); };
  host_.emplace(std::move(s));
  start_entities(as);
}

void shell::start_entities(life as) {
  const auto me = caf::actor_cast<caf::actor>(self_);
  for (std::uint32_t part = 0; part < setup_.entity_parts && !setup_.entities.empty(); ++part) {
    entity_setup s;
    s.self = {as.node, as.epoch};
    s.types = setup_.entities;
    s.part = part;
    s.parts = setup_.entity_parts;
    s.send = [post = post_](node_id to, entities::message m) { post->send(to, std::move(m)); };
    s.released = [me](const entities::shard_id& shard, std::int32_t epoch) {
      caf::anon_send(me, shard_stopped{shard, epoch});
    };
    s.metrics = setup_.metrics;
    s.bytes_max = entity_bytes_max / setup_.entity_parts;
    entity_hosts_.push_back(spawn_entities(self_->system(), std::move(s)));
    self_->monitor(entity_hosts_.back());
  }
  tell_entities(entities_leased{home_->lease_end});
  post_->brings_to(entity_hosts_);
  setup_.directory->entities_at(entity_hosts_);
}

template <class Message>
void shell::tell_entities(const Message& m) {
  for (const auto& host : entity_hosts_) self_->send(host, m);
}

/// What was asked here ends.
void shell::close_entities() {
  setup_.directory->entities_at({});
  if (post_) post_->brings_to({});
  for (const auto& host : std::exchange(entity_hosts_, {})) caf::anon_send(host, stop_entities{});
}

void shell::follow(std::shared_ptr<const metadata_image> image) {
  look_at_peers(*image);
  const auto me = caf::actor_cast<caf::actor>(self_);
  // Let go by the last replica or entity host that has taken it in.
  const std::shared_ptr<const void> news{image.get(),
                                         [me, image](const void*) { caf::anon_send(me, news_told{image}); }};
  news_.told(image);
  if (!member_) return;
  host_->follow(image, news);
  tell_entities(entities_told{image, news});
  if (host_->incomplete()) try_again_at_ = std::min(try_again_at_, now() + again_after);
}

void shell::look_at_peers(const metadata_image& image) {
  double serving = 0;
  for (const auto& [id, node] : image.nodes) {
    serving += node.serves();
    if (id == setup_.self.node || !transport_ || node.peer.port == 0) continue;
    const net::address at{node.peer.host, node.peer.port};
    if (node.state == node_state::removed) {
      if (known_peers_.erase(id) > 0) transport_->forget(id);
    } else if (auto& known = known_peers_[id]; known != at) {
      known = at;
      transport_->know(id, at);
    }
  }
  nodes_->set(serving);
}

// -- time -----------------------------------------------------------------------------------------------------------

void shell::beat() {
  if (!core_ || failed_) return;
  self_->delayed_send(self_, serving_ ? tick_interval : starting_interval, beat_due{});
  std::set<life> unreached;
  for (const auto& [where, leader] : unreached_)
    if (const auto* node = core_->image()->node(leader)) unreached.insert({leader, node->node_epoch});
  core_->cannot_reach({unreached.begin(), unreached.end()});
  const auto wall = wall_now();
  core_->wall_read(now(), wall);
  perform(core_->disk_is(now(), setup_.store->full()));
  perform(core_->tick(now()));
  look_at_clock(core_->agent().wall()->line().at(now(), wall), wall);
  if (failed_) return;
  const bool leased = core_->agent().has_lease(now());
  lease_->set(leased ? 1 : 0);
  term_->set(static_cast<double>(core_->quorum().term().value()));
  setup_.directory->controlled_by(core_->quorum().leader());
  setup_.directory->names_leaders_until(core_->agent().leads_until(), core_->agent().knows_leaders_until());
  if (!serving_ && core_->agent().at() >= node_agent::stage::serving && leased && !may_be_missed()) serves_now();
  if (now() >= try_again_at_ && host_) {
    try_again_at_ = instant::max();
    follow(core_->image());
  }
  if (now() >= next_log_ends_ && serving_) {
    next_log_ends_ = now() + log_ends_interval;
    say_log_ends();
  }
}

void shell::look_at_clock(moment believed, wall_time reading) {
  const bool trusted = believed.sure && believed.wall == reading;
  if (std::exchange(clock_trusted_, trusted) == trusted) return;
  const std::string next_step = trusted ? "" : "set the clocks of the nodes right";
  observe::log(trusted ? level::info : level::warn, "node", trusted ? "clock_trusted" : "clock_not_trusted",
               {{"clock_ms", reading.time_since_epoch().count()},
                {"goes_by_ms", believed.wall.time_since_epoch().count()},
                {"decides_by_it", believed.sure ? 1 : 0},
                {"next_step", next_step}});
}

/// Whoever founds a cluster may have a new disk, and a cluster that misses it. Clients wait for what its nodes say.
bool shell::may_be_missed() const {
  return transport_ && has_nothing() && now() < opened_at_ + missed_within;
}
bool shell::has_nothing() const {
  return core_->image()->nodes.size() < 2 && core_->image()->topics.empty();
}

void shell::serves_now() {
  serving_ = true;
  host_->drop_strangers();
  if (setup_.ready) std::exchange(setup_.ready, {})({});
}

/// Those that came since the last time; then the replicas are asked anew.
void shell::say_log_ends() {
  auto known = std::exchange(log_ends_, log_ends{core_->self(), {}});
  known.from = core_->self();
  if (!known.ends.empty()) perform(core_->to_controller(now(), std::move(known)));
  const auto me = caf::actor_cast<caf::actor>(self_);
  host_->ask_log_ends([me](log_ends::log_end e) { caf::anon_send(me, log_end_is{e}); });
}

void shell::hear(const link_is& m) {
  if (!core_ || failed_) return;
  if (m.up) {
    lives_.erase(m.peer.node);
    core_->seed(m.peer.node);
    // Who is not in the metadata yet is reached where it says.
    if (!known_peers_.contains(m.peer.node)) {
      known_peers_[m.peer.node] = m.peer.reach;
      transport_->know(m.peer.node, m.peer.reach);
    }
    return;
  }
  const auto at = lives_.find(m.peer.node);
  if (at == lives_.end() || at->second.epoch < 0) return;
  const auto lost = at->second;
  lives_.erase(at);
  tell_entities(entities_link_lost{lost.node});
  perform(core_->link_lost(now(), lost, m.reset));
}

void shell::hear(const claimed& m) {
  if (!core_ || failed_) return;
  const auto whose =
      "cluster " + m.by.cluster_id + " (node " + std::to_string(m.by.node.value()) + " at " + m.by.reach.text() + ")";
  if (!has_nothing()) {
    // Whoever is wrong: who has something to lose is not stopped by strangers.
    if (const auto times = claims_.due(); times > 0)
      observe::log(
          level::error, "node", "claimed_by_another_cluster",
          {{"by", whose}, {"next_step", "give one of the two another node id, or another address"}, {"times", times}});
    return;
  }
  auto past = writer_->past();
  past.claimed_by = m.by.cluster_id;
  writer_->put(past);
  fail(second_cluster(whose, m.by.reach.text()));
}

// -- requests -------------------------------------------------------------------------------------------------------

void shell::ask(cluster_controller::request what, std::function<void(cluster_controller::outcome)> answer) {
  std::optional<error> why_not = failed_;
  if (!why_not && stopping_) why_not = error{errc::closed, "the node is stopping"};
  if (why_not || !core_) {
    cluster_controller::outcome out;
    out.failed = why_not.value_or(error{errc::closed, "the node has not started"});
    return answer(std::move(out));
  }
  asked_.emplace(next_ticket_, std::move(answer));
  perform(core_->asked(now(), next_ticket_++, std::move(what)));
}

void shell::decide(cluster_controller::request what, std::vector<std::string> names, decisions_reply answer) {
  ask(std::move(what), [names = std::move(names), answer = std::move(answer)](cluster_controller::outcome out) {
    if (out.failed) {
      out.decisions.clear();
      for (const auto& name : names) out.decisions.push_back({name, out.failed, nullptr});
    }
    answer(std::move(out.decisions));
  });
}

node_description shell::description() const {
  node_description out;
  out.self.node = setup_.self.node;
  if (!core_) return out;
  const auto& quorum = core_->quorum();
  out.self = core_->self();
  out.cluster_id = core_->cluster_id();
  out.term = quorum.term().value();
  out.controller = quorum.leader();
  for (const auto& m : quorum.members()) (m.voter ? out.voters : out.learners).push_back(m.peer.node);
  out.leased = core_->agent().has_lease(now());
  return out;
}

void shell::give_id(producer_id_request& m) {
  if (failed_ || stopping_) return m.answer(failed_ ? *failed_ : error{errc::closed, "the node is stopping"});
  ids_wanted_.push_back(std::move(m.answer));
  reserve_ids();
}

void shell::reserve_ids() {
  while (!ids_wanted_.empty() && producer_id_next_ < producer_id_end_) {
    ids_wanted_.front()(producer_id{producer_id_next_++});
    ids_wanted_.pop_front();
  }
  if (ids_wanted_.empty() || std::exchange(reserving_, true)) return;
  ask(cluster_controller::reserve_producer_ids{producer_id_block}, [this](cluster_controller::outcome out) {
    reserving_ = false;
    if (!out.failed && out.first) {
      producer_id_next_ = out.first->value();
      producer_id_end_ = producer_id_next_ + producer_id_block;
      return reserve_ids();
    }
    const auto why = out.failed.value_or(error{errc::internal, "no producer ids were reserved"});
    for (auto& wanted : std::exchange(ids_wanted_, {})) wanted(why);
  });
}

// -- the end --------------------------------------------------------------------------------------------------------

void shell::stop(stop_request& m) {
  if (stopping_) return m.answer();
  stopping_ = std::move(m);
  if (core_ && !failed_ && !core_->ended() && !let_go_) return perform(core_->stop(now()));
  close_doors();
}

/// Nobody needs this node any more; or it cannot go on.
void shell::close_doors() {
  if (!stopping_ || std::exchange(doors_closing_, true)) return;
  const auto me = caf::actor_cast<caf::actor>(self_);
  if (stopping_->drained)
    stopping_->drained([me] { caf::anon_send(me, doors_closed{}); });
  else
    stop_replicas();
}

void shell::stop_replicas() {
  if (std::exchange(replicas_stopping_, true)) return;
  close_entities();
  if (host_) host_->stop();
  replicas_stopped();
}

void shell::replicas_stopped() {
  if ((host_ && !host_->none_left()) || std::exchange(marking_, true)) return;
  if (host_) host_->drop_logs();
  if (failed_ || !core_ || !writer_) return end();
  auto past = writer_->past();
  past.clean_epoch = clean_epoch_;
  const auto me = caf::actor_cast<caf::actor>(self_);
  writer_->put(past, [me] { caf::anon_send(me, mark_written{}); });
}

void shell::end() {
  close();
  if (stopping_) stopping_->answer();
  self_->quit();
}

/// Whoever hears that this has ended may open everything again.
void shell::close() {
  close_entities();
  if (post_) post_->uses(nullptr);
  if (transport_) transport_->stop();
  transport_.reset();
  writer_.reset();
}

void shell::fail(const error& why) {
  if (failed_) return;
  failed_ = why;
  if (why.code == errc::storage_damaged && writer_) {
    auto past = writer_->past();
    past.distrusted = true;  // the next start looks at everything
    writer_->put(past);
  }
  for (auto& [ticket, told] : std::exchange(asked_, {})) {
    cluster_controller::outcome out;
    out.failed = why;
    told(std::move(out));
  }
  if (setup_.ready)
    std::exchange(setup_.ready, {})(why);
  else
    setup_.failed(why);
  if (stopping_) close_doors();
}

// -- what happens ---------------------------------------------------------------------------------------------------

void shell::applies(const std::vector<metadata_record>& records, const metadata_image& before) {
  records_->add(static_cast<double>(records.size()));
  for (const auto& record : records) log_record(record, before);
}

void shell::leads(raft_term term) {
  leads_->set(1);
  observe::log(level::info, "node", "controller_here", {{"term", term}});
}
void shell::leads_no_more(raft_term term) {
  leads_->set(0);
  observe::log(level::info, "node", "controller_elsewhere", {{"term", term}});
}

void shell::notes(const cluster_controller::noted& n) {
  static constexpr std::string_view names[] = {
      "node_is_registered",       "node_fenced",         "node_active",         "node_draining",  "node_removed",
      "partition_without_leader", "records_may_be_lost", "shard_move_given_up", "node_disk_full", "node_disk_has_room"};
  using event = cluster_controller::noted::event;
  const bool bad = n.what == event::fenced || n.what == event::no_leader || n.what == event::possible_loss ||
                   n.what == event::disk_full;
  std::vector<observe::field> fields{{"node", n.node}};
  if (n.where) {
    const auto& names_now = core_->image()->names;
    const auto at = names_now.find(n.where->topic);
    fields.emplace_back("entity", "partition/" + (at == names_now.end() ? n.where->topic.text() : at->second) + "/" +
                                      std::to_string(n.where->index.value()));
  }
  observe::log(bad ? level::warn : level::info, "controller", names[static_cast<std::size_t>(n.what)],
               std::move(fields));
}

void shell::suspects(const membership::suspicion& s) {
  static constexpr std::string_view causes[] = {"no_lease", "silent", "gone"};
  observe::log(level::warn, "node", "peer_suspected",
               {{"node", s.subject.node}, {"epoch", s.subject.epoch}, {"why", causes[static_cast<int>(s.why)]}});
}
void shell::trusts(life peer) {
  observe::log(level::info, "node", "peer_answers_again", {{"node", peer.node}, {"epoch", peer.epoch}});
}

}  // namespace

caf::actor spawn_node(caf::actor_system& system, node_setup setup) {
  TROUPE_CHECK(setup.store && setup.directory && setup.metrics && setup.ready && setup.failed);
  return system.spawn<caf::detached>([](caf::stateful_actor<std::optional<shell>>* self,
                                        node_setup s) { return self->state.emplace(self, std::move(s)).start(); },
                                     std::move(setup));
}

}  // namespace troupe
