#include "tests/unit/kafka_gateway/fixture.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <caf/all.hpp>

#include "runtime/base/random.hpp"

namespace troupe::kafka {

client::client(std::uint16_t port, int receive_buffer) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  const timeval limit{std::chrono::seconds{patience}.count(), 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
    throw std::runtime_error{std::string{"connect: "} + std::strerror(errno)};
}

void client::send(byte_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // closed: the test sees it when it reads
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

std::size_t client::try_send(byte_view bytes) {
  const auto sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent > 0 ? static_cast<std::size_t>(sent) : 0;
}

std::optional<std::vector<std::byte>> client::frame() {
  const auto read = [&](std::byte* to, std::size_t size) {
    while (size > 0) {
      const auto got = ::recv(fd_, to, size, 0);
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) throw std::runtime_error{"no answer in time"};
      if (got <= 0) return false;
      to += got;
      size -= static_cast<std::size_t>(got);
    }
    return true;
  };
  std::array<std::byte, 4> size;
  if (!read(size.data(), size.size())) return {};
  std::vector<std::byte> bytes(static_cast<std::size_t>(load_be<std::int32_t>(size.data())));
  if (!read(bytes.data(), bytes.size())) return {};
  return bytes;
}

bool client::closed() {
  std::array<std::byte, 4096> skipped;
  for (;;) {
    const auto got = ::recv(fd_, skipped.data(), skipped.size(), 0);
    if (got > 0) continue;
    return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
  }
}

bool client::silent() const {
  std::byte one;
  return ::recv(fd_, &one, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
}

void client::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

GatewayTest::GatewayTest() {
  config.set("scheduler.max-threads", 2);
  system = std::make_unique<caf::actor_system>(config);
  image.cluster_id = "abcdefghijklmnopqrstuv";
  image.nodes[node_id{7}] = node_info{node_id{7}, 1, {"broker.example", 19092}, ""};
  auto* c = &controller;
  controller.actor = system->spawn([c](caf::event_based_actor*) -> caf::behavior {
    return {
        [c](troupe::create_topics_request& m) { c->creates.put(std::move(m)); },
        [c](troupe::delete_topics_request& m) { c->deletes.put(std::move(m)); },
        [c](troupe::create_partitions_request& m) { c->growths.put(std::move(m)); },
        [c](troupe::alter_configs_request& m) { c->alters.put(std::move(m)); },
        [c](producer_id_request& m) { c->ids.put(std::move(m)); },
        [c](operator_request& m) { c->others.put(std::move(m)); },
    };
  });
  setup.listen = {{"127.0.0.1", 0}};
  setup.node = node_id{7};
  setup.io_threads = 2;
  setup.directory = directory;
  directory->names_leaders_until(instant::max(), instant::max());
  setup.controller = controller.actor;
  setup.metrics = &metrics;
  setup.limits.connections_per_address_max = 1000;
  publish();
}

GatewayTest::~GatewayTest() {
  stop();
  for (auto& [name, p] : partitions) caf::anon_send_exit(p->actor, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(controller.actor, caf::exit_reason::user_shutdown);
  setup = {};
  routes.clear();
  directory->publish(std::make_shared<const cluster_view>());
  for (auto& [name, p] : partitions) p->actor = nullptr;
  controller.actor = nullptr;
  system->await_all_actors_done();
}

void GatewayTest::start() {
  auto opened = kafka_gateway::open(setup);
  ASSERT_TRUE(opened.ok()) << opened.error().text;
  gateway = std::move(*opened);
  gateway->start();
}

void GatewayTest::stop() {
  gateway.reset();
}

std::shared_ptr<const topic> GatewayTest::make_topic(const std::string& name, std::int32_t count) const {
  auto t = std::make_shared<topic>();
  t->id.bytes.fill(static_cast<std::uint8_t>(name.size() + static_cast<unsigned char>(name.back())));
  t->name = name;
  for (std::int32_t i = 0; i < count; ++i)
    t->partitions.push_back({{{node_id{7}, 0}}, {node_id{7}}, node_id{7}, leader_epoch{3}, 0});
  return t;
}

void GatewayTest::add_topic(const std::string& name, std::int32_t count, bool internal) {
  auto t = std::make_shared<topic>(*make_topic(name, count));
  t->internal = internal;
  auto route = std::make_shared<cluster_view::route>();
  route->id = t->id;
  for (std::int32_t i = 0; i < count; ++i) {
    auto fake = std::make_unique<fake_partition>();
    auto* f = fake.get();
    fake->actor = system->spawn([f](caf::event_based_actor*) -> caf::behavior {
      return {
          [f](produce& m) { f->on_produce ? f->on_produce(m) : f->produces.put(std::move(m)); },
          [f](fetch& m) { f->on_fetch ? f->on_fetch(m) : f->fetches.put(std::move(m)); },
          [f](list_offsets& m) { f->lists.put(std::move(m)); },
          [f](epoch_end& m) { f->epochs.put(std::move(m)); },
          [f](delete_records& m) { f->deletes.put(std::move(m)); },
      };
    });
    route->partitions.push_back(fake->actor);
    partitions[{name, i}] = std::move(fake);
  }
  image.topics[name] = t;
  image.names[t->id] = name;
  routes[name] = route;
  publish();
}

void GatewayTest::add_node(std::int32_t id, const std::string& rack, node_state state) {
  image.nodes[node_id{id}] = node_info{node_id{id}, 1, {"node-" + std::to_string(id), 9092}, rack, state};
  publish();
}

void GatewayTest::change(const std::string& name, std::int32_t index,
                         const std::function<void(partition_state&)>& how) {
  auto t = std::make_shared<topic>(*image.topics.at(name));
  how(t->partitions.at(static_cast<std::size_t>(index)));
  image.topics[name] = t;
  publish();
}

void GatewayTest::publish() {
  auto view = std::make_shared<cluster_view>();
  view->image = std::make_shared<const metadata_image>(image);
  view->routes = routes;
  directory->publish(view);
}

double GatewayTest::metric(const std::string& name_and_labels) const {
  const auto text = "\n" + metrics.text();
  const auto at = text.find("\n" + name_and_labels + " ");
  return at == std::string::npos ? 0 : std::stod(text.substr(at + name_and_labels.size() + 2));
}

bool GatewayTest::until(const std::string& name_and_labels, const std::function<bool(double)>& holds) const {
  const auto limit = std::chrono::steady_clock::now() + patience;
  while (!holds(metric(name_and_labels))) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(1ms);  // metrics tell nobody when they change
  }
  return true;
}

produce_request produce_of(std::string_view topic, std::int32_t partition, byte_span records, std::int16_t acks) {
  produce_request r;
  r.acks = acks;
  r.timeout_ms = 30'000;
  r.topic_data.resize(1);
  r.topic_data[0].name = topic;
  r.topic_data[0].partition_data = {{partition, records}};
  return r;
}

fetch_request fetch_of(std::string_view topic, std::int32_t partitions, std::int32_t max_wait_ms) {
  fetch_request r;
  r.max_wait_ms = max_wait_ms;
  r.min_bytes = 1;
  r.max_bytes = 50 << 20;
  r.topics.resize(1);
  r.topics[0].topic = topic;
  for (std::int32_t i = 0; i < partitions; ++i) {
    r.topics[0].partitions.emplace_back();
    r.topics[0].partitions.back().partition = i;
    r.topics[0].partitions.back().partition_max_bytes = 1 << 20;
  }
  return r;
}

std::vector<std::byte> some_bytes(std::size_t size, std::uint64_t seed) {
  random_source random{seed};
  std::vector<std::byte> bytes(size);
  for (auto& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

fetch::outcome data(std::int64_t watermark, std::vector<store::slice> slices) {
  fetch::outcome o;
  o.high_watermark = o.last_stable = log_offset{watermark};
  o.log_start = log_offset{0};
  o.epoch = leader_epoch{3};
  for (const auto& s : slices) o.bytes += s.size;
  o.slices = std::move(slices);
  return o;
}

store::slice in_memory(std::vector<std::byte> bytes) {
  const auto size = bytes.size();
  return {nullptr, 0, size, shared_bytes::own(std::move(bytes))};
}

}  // namespace troupe::kafka
