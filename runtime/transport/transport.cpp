#include "runtime/transport/transport.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <future>
#include <set>
#include <utility>

#include "runtime/observe/log.hpp"
#include "runtime/transport/link_batch.hpp"
#include "runtime/transport/supervisor_actor.hpp"
#include "runtime/transport/tls.hpp"

namespace troupe {
namespace {

using namespace transport_parts;

/// Each can be held up by one silent host for a second.
constexpr unsigned dialer_threads = 3;
constexpr std::size_t window_bytes_most = std::size_t{1} << 30;
constexpr std::size_t frame_bytes_most = std::size_t{1} << 30;
constexpr std::chrono::seconds start_timeout{5};
constexpr std::chrono::seconds stop_timeout{5};

class caf_transport final : public transport {
public:
  caf_transport(caf::actor_system& actors, transport_options options, transport_callbacks callbacks, tls_context tls)
      : actors_{actors}, shared_{std::make_shared<hub>()}, dialer_{std::make_shared<dialer>(dialer_threads)} {
    shared_->options = std::move(options);
    shared_->callbacks = std::move(callbacks);
    shared_->middleman = tls ? spawn_tls_middleman(actors_, std::move(tls)) : actors_.middleman().actor_handle();
    if (shared_->options.metrics) shared_->metrics.emplace(*shared_->options.metrics);
    supervisor_ = spawn_supervisor(actors_, shared_, dialer_);
  }
  ~caf_transport() override { stop(); }

  result<void> listen() {
    const auto& o = shared_->options;
    // Its port back at once, though old connections still linger.
    const bool reuse = true;
    auto ask = caf::make_function_view(shared_->middleman, caf::duration{start_timeout});
    const auto port = ask(caf::publish_atom_v, o.listen.port, caf::actor_cast<caf::strong_actor_ptr>(supervisor_),
                          std::set<std::string>{}, o.listen.host, reuse);
    if (!port)
      return {errc::system, "cannot listen on " + o.listen.text() +
                                " for peers: the port is in use or this machine has no such address (" +
                                actors_.render(port.error()) + ")"};
    listening_ = {o.listen.host, *port};
    advertised_ = o.advertised.host.empty() ? listening_ : o.advertised;
    if (advertised_.port == 0) advertised_.port = *port;
    caf::anon_send(supervisor_, transport_parts::listening{advertised_});
    return {};
  }

  void send(node_id to, urgency u, shared_bytes frame) override { shared_->send(to, u, std::move(frame)); }
  void know(node_id node, net::address at) override {
    // At once: what is sent next waits for the connection.
    if (node != shared_->options.node) shared_->add_box(node);
    tell(transport_parts::know{node, std::move(at)});
  }
  void forget(node_id node) override { tell(transport_parts::forget{node}); }
  void seek(net::address at) override { tell(transport_parts::seek{std::move(at)}); }
  void joined(std::string cluster_id) override { tell(transport_parts::joined{std::move(cluster_id)}); }
  net::address listening() const override { return listening_; }
  net::address advertised() const override { return advertised_; }

  void stop() override {
    if (std::exchange(stopped_, true)) return;
    dialer_->stop();
    if (listening_.port != 0) actors_.middleman().unpublish(supervisor_, listening_.port);
    const auto done = std::make_shared<std::promise<void>>();
    tell(transport_parts::stop{[done] { done->set_value(); }});
    if (done->get_future().wait_for(stop_timeout) != std::future_status::ready)
      observe::log(observe::level::warn, "transport", "stop_timed_out", {{"seconds", stop_timeout.count()}});
    supervisor_ = nullptr;
    if (shared_->options.tls) {
      caf::scoped_actor self{actors_};
      self->send_exit(shared_->middleman, caf::exit_reason::kill);
      self->wait_for(shared_->middleman);
    }
    shared_->middleman = nullptr;
  }

private:
  template <class T>
  void tell(T message) {
    caf::anon_send(supervisor_, std::move(message));
  }

  caf::actor_system& actors_;
  const std::shared_ptr<hub> shared_;
  const std::shared_ptr<dialer> dialer_;
  caf::actor supervisor_;
  net::address listening_;
  net::address advertised_;
  bool stopped_{false};
};

}  // namespace

result<std::unique_ptr<transport>> transport::start(caf::actor_system& actors, transport_options options,
                                                    transport_callbacks callbacks) {
  // Less would not take a whole batch, more not be believed by peers.
  for (const auto window : options.limits.window_bytes)
    TROUPE_CHECK(window >= transport_wire::batch_bytes_usual && window <= window_bytes_most);
  TROUPE_CHECK(options.limits.frame_bytes_max <= frame_bytes_most);
  tls_context tls;
  if (options.tls) {
    auto made = make_tls_context(*options.tls);
    if (!made) return made.error();
    tls = *made;
  }
  auto made = std::make_unique<caf_transport>(actors, std::move(options), std::move(callbacks), std::move(tls));
  if (auto r = made->listen(); !r) return r.error();
  return std::unique_ptr<transport>{std::move(made)};
}

void configure_transport(caf::actor_system_config& config) {
  config.load<caf::io::middleman>();
  config.add_message_type<link_batch>("troupe_batch");
  // A silent peer is noticed by what does not come, so all nodes need the same.
  config.set("middleman.heartbeat-interval", caf::timespan{std::chrono::milliseconds{500}});
  config.set("middleman.connection-timeout", caf::timespan{std::chrono::seconds{3}});
  config.set("middleman.workers", std::size_t{1});
}

}  // namespace troupe
