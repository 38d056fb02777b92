#include "actors/controller/controller_actor.hpp"

#include <algorithm>
#include <caf/all.hpp>
#include <optional>
#include <unordered_map>

#include "actors/controller/metadata_store.hpp"
#include "actors/partition/partition_actor.hpp"
#include "runtime/base/check.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/observe/log.hpp"

/// The controller's shell. Every change takes one way:
///
///     request -> core: plan -> commit (blocks) -> image -> follow: logs, actors -> publish the view -> answer
///
/// `follow` compares images instead of reading records: it would do the same on a node that gets the records from a
/// quorum, after a restart, and again when something could not be had the first time.
namespace troupe {

using std::chrono::seconds;

caf::actor cluster_view::partition(std::string_view topic, partition_index index) const {
  const auto at = routes.find(topic);
  if (at == routes.end() || index.value() < 0) return {};
  const auto& here = at->second->partitions;
  const auto i = static_cast<std::size_t>(index.value());
  return i < here.size() ? here[i] : caf::actor{};
}

namespace {

using again_atom = caf::atom_constant<caf::atom("again")>;

/// Producer ids are reserved in blocks, so that a commit pays for many; what a crash leaves of a block is never used.
constexpr std::int64_t producer_id_block = 1000;
/// How long to wait before what could not be opened is tried again.
constexpr seconds again_after{5};
/// Logs of deleted topics are dropped together, at most so many in one go.
constexpr std::size_t dropped_at_once = 1000;

/// One partition of a topic on this node.
struct seat {
  std::optional<log_id> log;
  caf::actor actor;  ///< null: it could not be opened, or another node has it
};

struct hosted_topic {
  std::shared_ptr<const topic> at;  ///< what the actors have been told
  std::vector<seat> seats;
  bool settled{false};                               ///< every seat that should have an actor has one
  std::shared_ptr<const cluster_view::route> route;  ///< what gateways see of `seats`; null: to be made anew
};

class shell {
public:
  shell(caf::event_based_actor* self, controller_setup setup)
      : self_{self}, setup_{std::move(setup)}, core_{setup_.defaults} {}

  caf::behavior start();

private:
  result<void> open();
  void drop_unowned_logs(const std::vector<store::log_info>&);
  result<void> commit(const std::vector<metadata_record>&);
  void carry_out(controller::plan, const decisions_reply&);
  void follow();
  bool open_seats();
  std::vector<caf::actor> unhost_deleted();
  void reconfigure_changed();
  void publish();
  void ended(const caf::actor_addr&);
  void try_again_later();
  void drop_logs();
  void stop(stop_request&);
  void finish_stop();
  result<producer_id> next_producer_id();
  void give_up(const error&);
  const metadata_image& image() const { return metadata_ ? *metadata_->image() : nothing_; }

  caf::event_based_actor* self_;
  controller_setup setup_;
  controller core_;
  std::unique_ptr<metadata_store> metadata_;
  const metadata_image nothing_;  ///< what is known while the store is not open

  struct place {
    topic_id topic;
    std::size_t index;
  };
  std::map<topic_id, hosted_topic> hosted_;
  std::unordered_map<caf::actor_addr, place> places_;  ///< of the actors in `hosted_`
  std::unordered_map<caf::actor_addr, seat> leaving_;  ///< told to retire; their logs go when they have ended
  std::vector<log_id> unused_logs_;
  bool again_pending_{false};

  std::int64_t producer_id_next_{0}, producer_id_end_{0};
  std::optional<error> failed_;
  std::function<void()> stopped_;  ///< set once the node stops

  std::shared_ptr<const partition_metrics> partition_metrics_;
  observe::counter* records_{nullptr};
  observe::histogram* commit_seconds_{nullptr};
  observe::gauge *topics_{nullptr}, *partitions_{nullptr};
};

std::string_view name_of(const metadata_record& record) {
  constexpr std::string_view names[] = {"cluster_formed",        "node_registered",  "topic_created",
                                        "topic_deleted",         "partitions_added", "topic_configured",
                                        "producer_ids_reserved", "epoch_retired",    "partitions_changed",
                                        "node_changed",          "shards_changed",   "voters_wanted"};
  static_assert(std::size(names) == std::variant_size_v<metadata_record>);
  return names[record.index()];
}

/// What the operator reads about a record, beside its name. `before`: the image that it changes.
void log_record(const metadata_record& record, const metadata_image& before) {
  using observe::level;
  const auto event = name_of(record);
  const auto topic_name = [&](const topic_id& id) {
    const auto at = before.names.find(id);
    return at == before.names.end() ? id.text() : at->second;
  };
  if (const auto* r = std::get_if<cluster_formed>(&record))
    observe::log(level::info, "controller", event, {{"cluster", r->cluster_id}});
  if (const auto* r = std::get_if<node_registered>(&record))
    observe::log(level::info, "controller", event,
                 {{"node", r->node.id},
                  {"epoch", r->node.node_epoch},
                  {"host", r->node.kafka.host},
                  {"port", r->node.kafka.port}});
  if (const auto* r = std::get_if<topic_created>(&record))
    observe::log(level::info, "controller", event,
                 {{"topic", r->name}, {"id", r->id.text()}, {"partitions", r->partitions.size()}});
  if (const auto* r = std::get_if<topic_deleted>(&record))
    observe::log(level::info, "controller", event, {{"topic", topic_name(r->id)}, {"id", r->id.text()}});
  if (const auto* r = std::get_if<partitions_added>(&record))
    observe::log(level::info, "controller", event, {{"topic", topic_name(r->id)}, {"more", r->partitions.size()}});
  if (const auto* r = std::get_if<topic_configured>(&record))
    observe::log(level::info, "controller", event, {{"topic", topic_name(r->id)}, {"overrides", r->overrides.size()}});
}

caf::behavior shell::start() {
  self_->set_default_handler(caf::drop);
  self_->set_down_handler([this](caf::down_msg& m) { ended(m.source); });
  auto& metrics = *setup_.metrics;
  partition_metrics_ = std::make_shared<const partition_metrics>(metrics);
  records_ = &metrics.counter("troupe_metadata_records_total", "Metadata records committed");
  commit_seconds_ = &metrics.histogram("troupe_metadata_commit_seconds", "Time to make metadata records durable",
                                       observe::latency_bounds());
  topics_ = &metrics.gauge("troupe_topics", "Topics of the cluster");
  partitions_ = &metrics.gauge("troupe_partitions", "Partitions of the cluster");

  auto opened = open();
  if (!opened && !failed_) failed_ = opened.error();
  setup_.ready(std::move(opened));
  return {
      [this](create_topics_request& m) {
        carry_out(core_.create_topics(image(), m.topics, m.validate_only), m.answer);
      },
      [this](delete_topics_request& m) { carry_out(core_.delete_topics(image(), m.topics), m.answer); },
      [this](create_partitions_request& m) {
        carry_out(core_.create_partitions(image(), m.topics, m.validate_only), m.answer);
      },
      [this](alter_configs_request& m) {
        carry_out(core_.alter_configs(image(), m.topics, m.validate_only), m.answer);
      },
      [this](producer_id_request& m) { m.answer(next_producer_id()); },
      [this](stop_request& m) { stop(m); },
      [this](again_atom) {
        again_pending_ = false;
        if (!stopped_ && !failed_) follow();
      },
  };
}

result<void> shell::open() {
  if (auto checked = parse_topic_settings(setup_.defaults.topic_overrides); !checked) return checked.error();
  auto metadata = metadata_store::open(setup_.metadata_directory, {.node = setup_.self.id});
  if (!metadata) return metadata.error();
  metadata_ = std::move(*metadata);

  const auto logs = setup_.store->logs();
  // Going on would drop every log as unowned. Whoever lost the metadata may still want the records.
  if (image().cluster_id.empty() && !logs.empty())
    return {errc::wrong_format, "there are logs of " + std::to_string(logs.size()) +
                                    " partitions, but no metadata that knows them: the metadata was removed, or "
                                    "directories of two nodes are mixed"};
  const auto records = core_.node_started(image(), setup_.self);
  if (auto done = commit(records); !done) return done;

  drop_unowned_logs(logs);
  follow();
  return failed_ ? result<void>{*failed_} : result<void>{};
}

/// A crash between deleting a topic and dropping its logs leaves them behind.
void shell::drop_unowned_logs(const std::vector<store::log_info>& logs) {
  for (const auto& log : logs) {
    const auto owner = image().find(log.identity.topic);
    const auto index = static_cast<std::size_t>(log.identity.partition.value());
    if (owner && index < owner->partitions.size() &&
        std::ranges::count(owner->partitions[index].replicas, replica{setup_.self.id, log.identity.added_at}) > 0)
      continue;
    unused_logs_.push_back(log.id);
    observe::log(observe::level::info, "controller", "unowned_log",
                 {{"topic_id", log.identity.topic.text()},
                  {"partition", log.identity.partition},
                  {"log", log.id},
                  {"action", "dropped"}});
  }
  drop_logs();
}

result<void> shell::commit(const std::vector<metadata_record>& records) {
  if (failed_) return *failed_;
  if (records.empty()) return {};
  const auto before = metadata_->image();
  const auto begun = boot_clock::now();
  if (auto done = metadata_->commit(records); !done) {
    observe::log(observe::level::error, "controller", "metadata_not_written", {{"why", done.error()}});
    // Refused for lack of space, nothing has changed; after anything else nobody knows what the disk holds.
    if (done.code() != errc::storage_full) give_up(done.error());
    return done;
  }
  commit_seconds_->observe(std::chrono::duration<double>(boot_clock::now() - begun).count());
  records_->add(static_cast<double>(records.size()));
  for (const auto& record : records) log_record(record, *before);
  return {};
}

void shell::carry_out(controller::plan plan, const decisions_reply& answer) {
  std::optional<error> why_not = failed_;
  if (stopped_) why_not = error{errc::closed, "the node is stopping"};
  if (why_not) {
    for (auto& decision : plan.decisions) decision = {decision.name, why_not, nullptr};
    return answer(std::move(plan.decisions));
  }
  if (!plan.records.empty()) {
    if (auto done = commit(plan.records))
      follow();
    else
      why_not = done.error();
  }
  for (auto& decision : plan.decisions) {
    if (decision.refused) continue;
    if (why_not)
      decision.refused = why_not;
    else if (!decision.now)  // else only validated
      decision.now = image().find(decision.name);
  }
  answer(std::move(plan.decisions));
}

/// Makes this node do what the image says, and says so to the gateways. Repeating it is harmless.
void shell::follow() {
  const auto retired = unhost_deleted();
  reconfigure_changed();
  if (!open_seats()) try_again_later();
  publish();
  // Only now: whoever looks at the view no longer finds them.
  for (const auto& actor : retired) self_->send(actor, retire{});
  if (leaving_.empty()) drop_logs();
}

std::vector<caf::actor> shell::unhost_deleted() {
  std::vector<caf::actor> retired;
  for (auto at = hosted_.begin(); at != hosted_.end();) {
    if (image().names.contains(at->first)) {
      ++at;
      continue;
    }
    for (const auto& seat : at->second.seats) {
      if (seat.actor) {
        places_.erase(seat.actor.address());
        leaving_.emplace(seat.actor.address(), seat);
        retired.push_back(seat.actor);
      } else if (seat.log) {
        unused_logs_.push_back(*seat.log);
      }
    }
    at = hosted_.erase(at);
  }
  return retired;
}

void shell::reconfigure_changed() {
  for (auto& [id, hosted] : hosted_) {
    const auto now = image().find(id);
    if (now == hosted.at) continue;
    const auto settings = effective_settings(setup_.defaults.topic_overrides, now->overrides);
    const bool changed = settings != effective_settings(setup_.defaults.topic_overrides, hosted.at->overrides);
    hosted.at = now;
    hosted.settled = false;
    if (!changed) continue;
    for (const auto& seat : hosted.seats)
      if (seat.actor) self_->send(seat.actor, reconfigure{settings});
  }
}

/// False when something that should run here does not, and may later.
bool shell::open_seats() {
  struct opening {
    hosted_topic* topic;
    std::size_t index;
  };
  // All logs of one durability are made in one commit, however many topics a request had.
  std::map<store::durability, std::pair<std::vector<store::log_identity>, std::vector<opening>>> missing;
  for (const auto& [name, t] : image().topics) {
    auto& hosted = hosted_[t->id];
    if (hosted.settled) continue;
    hosted.settled = true;
    hosted.route = nullptr;
    hosted.at = t;
    hosted.seats.resize(t->partitions.size());
    const auto level = t->settings.durability == topic_settings::flush::interval ? store::durability::interval
                                                                                 : store::durability::group;
    for (std::size_t i = 0; i < hosted.seats.size(); ++i) {
      if (hosted.seats[i].actor) continue;
      const auto& replicas = t->partitions[i].replicas;
      const auto mine = std::ranges::find(replicas, setup_.self.id, &replica::node);
      if (mine == replicas.end()) continue;
      auto& [identities, openings] = missing[level];
      identities.push_back({t->id, partition_index{static_cast<std::int32_t>(i)}, mine->added_at});
      openings.push_back({&hosted, i});
    }
  }

  bool complete = true;
  for (const auto& [level, wanted] : missing) {
    const auto& [identities, openings] = wanted;
    auto logs = setup_.store->create(identities, level);
    if (!logs) {
      observe::log(observe::level::error, "controller", "logs_not_created",
                   {{"count", identities.size()}, {"why", logs.error()}});
      if (logs.code() == errc::storage_failed) give_up(logs.error());
      for (const auto& o : openings) o.topic->settled = false;
      complete = false;
      continue;
    }
    for (std::size_t i = 0; i < openings.size(); ++i) {
      const auto& [hosted, index] = openings[i];
      const auto& t = *hosted->at;
      auto actor = spawn_partition(self_->system(),
                                   {.topic = t.name,
                                    .index = partition_index{static_cast<std::int32_t>(index)},
                                    .epoch = t.partitions[index].epoch,
                                    .log = (*logs)[i],
                                    .settings = effective_settings(setup_.defaults.topic_overrides, t.overrides),
                                    .store = setup_.store,
                                    .metrics = partition_metrics_,
                                    .retention_interval = setup_.retention_interval});
      self_->monitor(actor);
      places_.emplace(actor.address(), place{t.id, index});
      hosted->seats[index] = {(*logs)[i], std::move(actor)};
    }
  }
  return complete;
}

void shell::publish() {
  auto view = std::make_shared<cluster_view>();
  view->image = metadata_->image();
  for (auto& [id, hosted] : hosted_) {
    if (!hosted.route) {
      auto route = std::make_shared<cluster_view::route>();
      route->id = id;
      for (const auto& seat : hosted.seats) route->partitions.push_back(seat.actor);
      hosted.route = std::move(route);
    }
    view->routes.emplace(hosted.at->name, hosted.route);
  }
  setup_.directory->publish(std::move(view));
  topics_->set(static_cast<double>(image().topics.size()));
  partitions_->set(static_cast<double>(image().partition_count));
}

/// A partition's actor has ended: told to, or by an accident.
void shell::ended(const caf::actor_addr& address) {
  if (const auto left = leaving_.find(address); left != leaving_.end()) {
    unused_logs_.push_back(*left->second.log);
    leaving_.erase(left);
    if (leaving_.empty() || unused_logs_.size() >= dropped_at_once) drop_logs();
  } else if (const auto at = places_.find(address); at != places_.end()) {
    auto& hosted = hosted_.at(at->second.topic);
    const auto index = at->second.index;
    hosted.seats[index].actor = {};
    hosted.settled = false;
    hosted.route = nullptr;
    places_.erase(at);
    if (!stopped_) {
      observe::log(observe::level::error, "controller", "partition_ended",
                   {{"entity", "partition/" + hosted.at->name + "/" + std::to_string(index)},
                    {"action", "started again"},
                    {"after_s", again_after.count()}});
      publish();
      try_again_later();
    }
  }
  if (stopped_) finish_stop();
}

void shell::try_again_later() {
  if (again_pending_ || failed_) return;
  again_pending_ = true;
  self_->delayed_send(self_, again_after, again_atom::value);
}

void shell::drop_logs() {
  if (unused_logs_.empty()) return;
  if (auto dropped = setup_.store->drop(unused_logs_); !dropped) {
    // The next start finds them without an owner.
    observe::log(observe::level::warn, "controller", "logs_not_dropped",
                 {{"count", unused_logs_.size()}, {"why", dropped.error()}});
    if (dropped.code() == errc::storage_failed) give_up(dropped.error());
  }
  unused_logs_.clear();
}

result<producer_id> shell::next_producer_id() {
  if (stopped_) return {errc::closed, "the node is stopping"};
  if (producer_id_next_ == producer_id_end_) {
    const auto block = core_.reserve_producer_ids(image(), producer_id_block);
    if (auto done = commit(block.records); !done) return done.error();
    producer_id_next_ = block.first.value();
    producer_id_end_ = producer_id_next_ + producer_id_block;
  }
  return producer_id{producer_id_next_++};
}

void shell::stop(stop_request& m) {
  if (stopped_) return m.answer();
  stopped_ = std::move(m.answer);
  for (const auto& [address, where] : places_)
    self_->send(hosted_.at(where.topic).seats[where.index].actor, stop_partition{[] {}});
  for (const auto& [address, seat] : leaving_) self_->send(seat.actor, stop_partition{[] {}});
  finish_stop();
}

void shell::finish_stop() {
  if (!places_.empty() || !leaving_.empty()) return;
  drop_logs();
  metadata_.reset();  // whoever hears the answer may open it again
  stopped_();
  self_->quit();
}

void shell::give_up(const error& why) {
  if (failed_) return;
  failed_ = why;
  setup_.failed(why);
}

}  // namespace

caf::actor spawn_controller(caf::actor_system& system, controller_setup setup) {
  TROUPE_CHECK(setup.store && setup.directory && setup.metrics && setup.ready && setup.failed);
  return system.spawn<caf::detached>([](caf::stateful_actor<std::optional<shell>>* self,
                                        controller_setup s) { return self->state.emplace(self, std::move(s)).start(); },
                                     std::move(setup));
}

}  // namespace troupe
