#include "apps/node/node.hpp"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>
#include <future>
#include <thread>

#include "actors/limit/limiter.hpp"
#include "actors/node/node_actor.hpp"
#include "apps/gateways/kafka/gateway.hpp"
#include "apps/gateways/rest/limits.hpp"
#include "apps/gateways/rest/operations.hpp"
#include "apps/node/data_directory.hpp"
#include "runtime/net/http_server.hpp"
#include "runtime/observe/log.hpp"
#include "runtime/observe/metrics.hpp"
#include "runtime/store/log.hpp"

namespace troupe {

namespace {

using observe::level;

/// An orderly stop waits so long for other nodes to take over; a little longer than the node itself does.
constexpr std::chrono::seconds drain_patience{35};

/// CAF as measured to suit us (docs/adr): as many workers as cores, fair to many actors, quiet when idle.
struct actor_config : caf::actor_system_config {
  actor_config(unsigned threads, bool has_peers) {
    if (has_peers) configure_transport(*this);
    set("scheduler.max-threads", static_cast<std::size_t>(threads));
    set("scheduler.max-throughput", std::size_t{200});
    set("work-stealing.moderate-poll-attempts", std::size_t{1});
  }
};

unsigned cores_or(unsigned asked) {
  return asked != 0 ? asked : std::max(1u, std::thread::hardware_concurrency());
}

/// Takes as many descriptors as this process may have, and says how many that is. The customary 1024 protects programs
/// that use select(); here each segment and each connection takes one.
std::uint64_t take_descriptors() {
  rlimit allowed{};
  if (::getrlimit(RLIMIT_NOFILE, &allowed) != 0) return 1024;
  const rlimit all{allowed.rlim_max, allowed.rlim_max};
  return ::setrlimit(RLIMIT_NOFILE, &all) == 0 ? all.rlim_cur : allowed.rlim_cur;
}

/// A signal to end is waiting to be taken.
bool asked_to_end() {
  sigset_t waiting;
  return ::sigpending(&waiting) == 0 && (sigismember(&waiting, SIGTERM) == 1 || sigismember(&waiting, SIGINT) == 1);
}

/// What the store says as `key=value key="some words"`, as fields.
std::vector<observe::field> fields_of(std::string_view text) {
  std::vector<observe::field> out;
  while (!text.empty()) {
    const auto equals = text.find('=');
    if (equals == text.npos) {
      out.emplace_back("more", text);
      break;
    }
    const bool quoted = text.substr(equals + 1).starts_with('"');
    const auto begin = equals + (quoted ? 2 : 1);
    const auto end = std::min(text.find(quoted ? "\" " : " ", begin), text.size() - (quoted ? 1 : 0));
    out.emplace_back(text.substr(0, equals), text.substr(begin, end - begin));
    text.remove_prefix(std::min(text.size(), end + (quoted ? 2 : 1)));
  }
  return out;
}

void log_notice(const store::notice& n) {
  const auto severity = n.severity == store::notice::level::error  ? level::error
                        : n.severity == store::notice::level::warn ? level::warn
                                                                   : level::info;
  observe::log(severity, "store", n.event, fields_of(n.fields));
}

void watch_store(observe::metrics& metrics, const store::log_store& log) {
  struct total {
    observe::counter& shown;
    std::uint64_t store::statistics::*field;
    std::uint64_t told{0};
  };
  auto counter = [&](const char* name, const char* help, std::uint64_t store::statistics::*field) {
    return total{metrics.counter(name, help), field};
  };
  std::vector<total> totals{
      counter("troupe_store_blocks_total", "Blocks (group commits) written.", &store::statistics::blocks),
      counter("troupe_store_block_bytes_total", "Bytes of blocks written, with headers and padding.",
              &store::statistics::block_bytes),
      counter("troupe_store_batches_total", "Batches written.", &store::statistics::batches),
      counter("troupe_store_batch_bytes_total", "Bytes of batches written.", &store::statistics::batch_bytes),
      counter("troupe_store_syncs_total", "Syncs to the disk.", &store::statistics::syncs),
      counter("troupe_store_hot_reads_total", "Reads served in place.", &store::statistics::hot_reads),
      counter("troupe_store_cold_reads_total", "Reads that went through a reader thread.",
              &store::statistics::cold_reads),
      counter("troupe_store_cold_read_bytes_total", "Bytes read by reader threads.",
              &store::statistics::cold_read_bytes),
      counter("troupe_store_segments_dropped_total", "Segments whose space came back.",
              &store::statistics::segments_dropped),
      counter("troupe_store_batches_moved_total", "Batches that the cleaner copied forward.",
              &store::statistics::batches_moved),
      counter("troupe_store_refused_batches_total", "Batches refused by a full or failed disk.",
              &store::statistics::refused_batches),
      counter("troupe_store_damaged_blocks_total", "Blocks found damaged.", &store::statistics::damaged_blocks)};
  auto& segments = metrics.gauge("troupe_store_segments", "Segments on disk.");
  auto& disk = metrics.gauge("troupe_store_disk_bytes", "Space that the logs take on disk.");
  auto& free = metrics.gauge("troupe_store_free_bytes", "Space left on the logs' file system.");
  auto& queued = metrics.gauge("troupe_store_queued_bytes", "Bytes that wait for the disk.");
  auto& full = metrics.gauge("troupe_store_full", "1 while appends are refused for lack of space.");
  metrics.on_collect([&, totals = std::move(totals)]() mutable {
    const auto now = log.stats();
    for (auto& t : totals) {
      t.shown.add(static_cast<double>(now.*t.field - t.told));
      t.told = now.*t.field;
    }
    segments.set(static_cast<double>(now.segments));
    disk.set(static_cast<double>(now.disk_bytes));
    free.set(static_cast<double>(now.free_bytes));
    queued.set(static_cast<double>(now.queued_bytes));
    full.set(now.full ? 1 : 0);
  });
}

/// Node options that are defaults of topics, under the topics' names for them.
setting_map topic_defaults(const node_options& o) {
  setting_map out;
  out["retention.ms"] = o.retention ? std::to_string(o.retention->count()) : "-1";
  out["retention.bytes"] = o.retention_bytes ? std::to_string(*o.retention_bytes) : "-1";
  out["max.message.bytes"] = std::to_string(o.message_bytes_max);
  return out;
}

kafka::log_directory look_at(const store::log_store& log, const std::filesystem::path& path) {
  kafka::log_directory out{.path = path.string()};
  for (const auto& it : log.logs())
    if (const auto state = log.state(it.id)) out.logs.push_back({it.identity, state->bytes});
  std::error_code failed;
  if (const auto space = std::filesystem::space(path, failed); !failed) {
    out.total_bytes = space.capacity;
    out.usable_bytes = space.available;
  }
  out.failed = log.stats().failed;
  return out;
}

}  // namespace

struct node::state {
  node_options options;
  std::function<void(const error&)> fatal;
  std::atomic<bool> failing{false};
  /// Why clients should not come yet, or any more; null: they may.
  std::atomic<const char*> unready{"the node opens its logs"};

  std::optional<data_directory> directory;
  std::uint64_t descriptors{0};
  observe::metrics metrics;
  std::shared_ptr<store::log_store> log;
  std::optional<actor_config> config;
  std::unique_ptr<caf::actor_system> actors;
  std::shared_ptr<cluster_directory> cluster = std::make_shared<cluster_directory>();
  caf::actor controller;
  std::atomic<bool> has_controller{false};  ///< read by threads of `http`, which is there first
  bool stopped{false};
  std::unique_ptr<kafka::kafka_gateway> kafka;
  std::unique_ptr<net::http_server> http;
  net::address http_address;
  std::string cluster_id;

  void fail(const error& why) {
    if (failing.exchange(true)) return;
    observe::log(level::error, "node", "node_failed", {{"why", why}});
    fatal(why);
  }

  result<void> open();
  result<void> open_store();
  result<void> open_http();
  result<void> join_cluster();
  result<void> open_kafka();
  std::uint64_t spare_descriptors() const;
  void stop();
};

result<std::unique_ptr<node>> node::start(const node_options& options, std::function<void(const error&)> fatal) {
  auto s = std::make_unique<state>();
  s->options = options;
  s->fatal = std::move(fatal);
  auto opened = s->open();
  std::unique_ptr<node> out{new node{std::move(s)}};
  if (!opened) return opened.error();
  return out;
}

node::node(std::unique_ptr<state> s) : state_{std::move(s)} {}
node::~node() {
  stop();
}
void node::stop() {
  state_->stop();
}

result<void> node::state::open() {
  auto locked = data_directory::open(options.data_dir, options.node_id);
  if (!locked) return locked.error();
  directory.emplace(std::move(*locked));
  observe::watch_process(metrics);
  metrics.gauge("troupe_build_info", "1; the labels tell the version.", {{"version", version()}}).set(1);
  descriptors = take_descriptors();
  if (auto r = open_store(); !r) return r;
  config.emplace(cores_or(options.actor_threads), options.cluster.has_value());
  actors = std::make_unique<caf::actor_system>(*config);
  // Before the node is part of its cluster: one that waits can be asked why.
  if (auto r = open_http(); !r) return r;
  if (auto r = join_cluster(); !r) return r;
  if (auto r = open_kafka(); !r) return r;
  unready = nullptr;
  return {};
}

result<void> node::state::open_store() {
  store::options how;
  how.lanes = options.lanes;
  how.segment_bytes = options.segment_bytes;
  how.segment_age = options.segment_age;
  how.interval = options.sync_interval;
  how.reserve_bytes = options.disk_reserve;
  auto opened = store::log_store::open(directory->logs(), how, [this](const store::notice& n) {
    log_notice(n);
    if (n.severity == store::notice::level::error && log && log->stats().failed)
      fail({errc::storage_failed, n.event + " in the store, see above"});
  });
  if (!opened) return opened.error();
  log = std::move(*opened);
  watch_store(metrics, *log);
  return {};
}

result<void> node::state::join_cluster() {
  node_setup setup;
  setup.self.node = options.node_id;
  setup.self.disk = directory->disk_id();
  setup.self.kafka = {options.kafka_advertised.host, options.kafka_advertised.port};
  setup.self.rack = options.rack;
  setup.founder = options.join.empty();
  if (options.cluster) {
    const auto reached = options.cluster_advertised.value_or(*options.cluster);
    setup.self.peer = {reached.host, reached.port};
    auto& peers = setup.peers.emplace();
    peers.listen = *options.cluster;
    peers.advertised = reached;
    // A follower's fetch brings at least one batch, and a batch may be as large as a request.
    peers.limits.frame_bytes_max = options.request_bytes_max + (1 << 20);
    if (!options.cluster_certificate.empty())
      peers.tls = transport_tls{options.cluster_certificate, options.cluster_key, options.cluster_authority};
    setup.seeds = options.join;
  }
  setup.defaults.partitions = options.default_partitions;
  setup.defaults.replication = options.default_replication;
  setup.defaults.topic_overrides = topic_defaults(options);
  setup.metadata_directory = directory->metadata();
  setup.store = log;
  setup.directory = cluster;
  setup.entities = {limit::type()};
  setup.entity_parts = cores_or(options.actor_threads);
  setup.metrics = &metrics;
  setup.retention_interval = options.retention_check;
  auto started = std::make_shared<std::promise<result<void>>>();
  setup.ready = [started](result<void> r) { started->set_value(std::move(r)); };
  setup.failed = [this](const error& why) { fail(why); };
  setup.removed = [this] {
    unready = "the node was taken out of its cluster";
    observe::log(level::info, "node", "removed_from_cluster", {{"node", options.node_id}});
    // An orderly stop, with exit code 0: a supervisor that starts again what has failed leaves it alone. Started again,
    // it would join anew.
    ::kill(::getpid(), SIGTERM);
  };
  auto outcome = started->get_future();
  const char* const waits_for = options.join.empty() ? "no majority of the cluster's voters answers, or the cluster "
                                                       "is empty and waits three seconds for nodes that miss this one"
                                                     : "none of the nodes named by --join has taken this node in yet";
  unready = waits_for;
  controller = spawn_node(*actors, std::move(setup));
  has_controller = true;
  // Who joins, or finds no majority of the quorum, waits; whoever started us may change their mind meanwhile.
  for (int waits = 1; outcome.wait_for(std::chrono::milliseconds{200}) != std::future_status::ready; ++waits) {
    if (asked_to_end()) return {errc::closed, "stopped before the node was part of its cluster"};
    if (waits % 25 == 0)
      observe::log(level::warn, "node", "waiting_for_cluster", {{"waited_s", waits / 5}, {"why", waits_for}});
  }
  auto r = outcome.get();
  unready = "the node opens its doors";
  if (r) cluster_id = cluster->view()->image->cluster_id;
  return r;
}

/// Those that we do not need ourselves. Clients must never get at the descriptors that the store needs for its next
/// segments: it could not go on. So more than half of them are for segments.
std::uint64_t node::state::spare_descriptors() const {
  constexpr std::uint64_t own = 40;
  return descriptors > own ? descriptors - own : 0;
}

result<void> node::state::open_http() {
  net::http_server::options web;
  web.connections_max = std::clamp<std::size_t>(spare_descriptors() / 16, 1, web.connections_max);
  http = std::make_unique<net::http_server>(web);
  http->get("/healthz", [this](const net::http_request&) {
    return failing ? net::problem(503, "the node cannot go on and is ending; its log says why")
                   : net::http_response{.body = "ok\n"};
  });
  http->get("/readyz", [this](const net::http_request&, const net::http_server::later& answer) {
    const auto say = [answer](const char* why_not) {
      answer([why_not] {
        return why_not == nullptr ? net::http_response{.body = "ready\n"} : net::problem(503, why_not);
      });
    };
    const char* const why_not = failing ? "the node cannot go on and is ending; its log says why" : unready.load();
    if (why_not != nullptr) return say(why_not);
    caf::anon_send(
        controller, describe_node_request{[say](const node_description& self) {
          say(self.leased ? nullptr : "the node has no lease: it hears from no controller, so it serves nothing");
        }});
  });
  http->get("/metrics", [this](const net::http_request&) {
    return net::http_response{.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.text()};
  });
  rest::add_limits(*http, cluster);
  rest::add_operations(*http, cluster, [this] { return has_controller ? controller : caf::actor{}; });
  auto bound = http->start(options.http);
  if (!bound) return error{bound.error().code, bound.error().text + "; the option is --http"};
  http_address = *bound;
  return {};
}

result<void> node::state::open_kafka() {
  kafka::gateway_setup door;
  door.listen = {{options.kafka.host, options.kafka.port}};
  door.node = options.node_id;
  door.io_threads = options.io_threads;
  door.directory = cluster;
  door.controller = controller;
  door.metrics = &metrics;
  const auto spare = spare_descriptors();
  const auto places = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(spare * 3 / 8, 1, options.connections_max));
  if (places < options.connections_max)
    observe::log(level::warn, "node", "descriptors_few",
                 {{"open_files_max", descriptors},
                  {"connections_max", places},
                  {"wanted", options.connections_max},
                  {"hint", "raise the limit of open files: ulimit -n, or LimitNOFILE in a unit"}});
  door.limits.connections_max = places;
  door.limits.connections_per_address_max = options.connections_per_address_max;
  door.limits.idle = options.connection_idle;
  door.limits.request_bytes_max = static_cast<std::uint32_t>(options.request_bytes_max);
  door.limits.request_memory_max = options.produce_memory;
  door.look_at_logs = [store = log, path = directory->logs()](std::function<void(kafka::log_directory)> tell) {
    store->run_blocking([store, path, tell = std::move(tell)] { tell(look_at(*store, path)); });
  };
  door.auto_create_topics = options.auto_create_topics;
  door.topic_defaults = topic_defaults(options);
  for (auto& o : describe(options)) door.options.push_back({o.name, o.value, o.default_value, o.documentation});
  auto opened = kafka::kafka_gateway::open(std::move(door));
  if (!opened) return error{opened.error().code, opened.error().text + "; the option is --kafka"};
  kafka = std::move(*opened);

  kafka->start();
  return {};
}

void node::state::stop() {
  // Load balancers see "not ready" first. Then the other nodes take over what is led here, while clients are still
  // served; then the doors close, the partitions write their marks, the store syncs.
  unready = "the node is stopping";
  if (has_controller && !std::exchange(stopped, true)) {
    struct progress {
      std::promise<std::function<void()>> drained;
      std::promise<void> ended;
    };
    auto it = std::make_shared<progress>();
    auto drained = it->drained.get_future();
    auto ended = it->ended.get_future();
    caf::anon_send(controller, stop_request{[it](std::function<void()> go_on) { it->drained.set_value(go_on); },
                                            [it] { it->ended.set_value(); }});
    if (drained.wait_for(drain_patience) == std::future_status::ready) {
      if (kafka) kafka->stop();
      drained.get()();
    }
    if (ended.wait_for(std::chrono::seconds{10}) != std::future_status::ready)
      observe::log(level::warn, "node", "partitions_slow_to_stop", {{"waited_s", 10}});
  }
  if (kafka) kafka->stop();
  kafka.reset();
  if (log) log->close();
  if (http) http->stop();
  http.reset();
  // The view has the partitions' actors, and they have the view: none of them would ever go.
  cluster->publish(std::make_shared<const cluster_view>());
}

std::string node::banner() const {
  const auto& o = state_->options;
  return "Troupe node " + std::to_string(o.node_id.value()) + " of cluster " + state_->cluster_id + " is ready.\n" +
         "  Kafka clients   " + net::address{o.kafka_advertised}.text() + "\n" +  //
         "  HTTP            http://" + state_->http_address.text() + "  (/healthz, /readyz, /metrics, /v1/cluster)\n" +
         "  data            " + state_->directory->path().string() + "\n";
}

}  // namespace troupe
