#include "runtime/transport/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>

#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman_actor_impl.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/doorman_impl.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <limits>
#include <vector>

#include "runtime/observe/log.hpp"

namespace troupe::transport_parts {
namespace {

namespace network = caf::io::network;

std::string why_openssl_failed() {
  char why[256] = "unknown";
  if (const auto code = ERR_get_error(); code != 0) ERR_error_string_n(code, why, sizeof why);
  ERR_clear_error();
  return why;
}

/// OpenSSL writes to sockets without MSG_NOSIGNAL. CAF runs all connections in a thread of its own.
void block_sigpipe_in_this_thread() {
  thread_local const bool done = [] {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    return ::pthread_sigmask(SIG_BLOCK, &pipe, nullptr) == 0;
  }();
  (void)done;
}

enum class side : std::uint8_t { connects, accepts };

/// One connection, as a policy of CAF's streams.
class tls_policy {
public:
  tls_policy(const tls_context& context, int fd, side s) : tls_{SSL_new(context.get()), &SSL_free} {
    if (!tls_) return;
    SSL_set_fd(tls_.get(), fd);
    if (s == side::connects)
      SSL_set_connect_state(tls_.get());
    else
      SSL_set_accept_state(tls_.get());
  }

  network::rw_state read_some(std::size_t& result, network::native_socket, void* to, std::size_t size) {
    result = 0;
    if (!shake_hands()) return network::rw_state::failure;
    if (!established_) return network::rw_state::success;
    return did(SSL_read(tls_.get(), to, bounded(size)), result);
  }

  network::rw_state write_some(std::size_t& result, network::native_socket, const void* from, std::size_t size) {
    result = 0;
    if (!shake_hands()) return network::rw_state::failure;
    if (size == 0) return network::rw_state::indeterminate;  // CAF's way to begin
    if (!established_) {
      // Kept here, or CAF would ask again and again for as long as the socket takes bytes.
      if (early_.size() + size > early_bytes_max) return network::rw_state::failure;
      const auto* bytes = static_cast<const char*>(from);
      early_.insert(early_.end(), bytes, bytes + size);
      result = size;
      return network::rw_state::success;
    }
    return did(SSL_write(tls_.get(), from, bounded(size)), result);
  }

  /// Bytes that OpenSSL has taken from the socket already wake nobody.
  bool must_read_more(network::native_socket, std::size_t threshold) {
    return tls_ && static_cast<std::size_t>(SSL_pending(tls_.get())) >= threshold;
  }

private:
  /// CAF's own handshake, a few hundred bytes.
  static constexpr std::size_t early_bytes_max = 64 << 10;

  static int bounded(std::size_t size) {
    return static_cast<int>(std::min<std::size_t>(size, std::numeric_limits<int>::max()));
  }

  /// Goes on with it, if it is not done. False: it has failed.
  bool shake_hands() {
    block_sigpipe_in_this_thread();
    // What another connection left there would be taken for ours.
    ERR_clear_error();
    if (established_) return true;
    if (!tls_) return false;
    const int r = SSL_do_handshake(tls_.get());
    if (r != 1) return waits(r) || refused();
    established_ = true;
    if (early_.empty()) return true;
    // Nothing was written yet, so the socket takes so little at once.
    const auto early = std::exchange(early_, {});
    return SSL_write(tls_.get(), early.data(), bounded(early.size())) == bounded(early.size());
  }

  /// Who says nothing wrong, but goes away, is not worth a line.
  bool refused() const {
    static observe::seldom often;
    if (ERR_peek_error() == 0) return false;
    const auto why = why_openssl_failed();
    if (const auto times = often.due(); times > 0) {
      const auto peer = network::remote_addr_of_fd(SSL_get_fd(tls_.get()));
      observe::log(observe::level::warn, "transport", "tls_handshake_failed",
                   {{"peer", peer ? *peer : "unknown"},
                    {"called", SSL_is_server(tls_.get()) ? "us" : "it"},
                    {"why", why},
                    {"times", times},
                    {"next_step", "every node's certificate has to be of the authority that the others name"}});
    }
    return false;
  }

  bool waits(int r) const {
    const int state = SSL_get_error(tls_.get(), r);
    return state == SSL_ERROR_WANT_READ || state == SSL_ERROR_WANT_WRITE;
  }

  network::rw_state did(int r, std::size_t& result) const {
    if (r > 0) result = static_cast<std::size_t>(r);
    return r > 0 || waits(r) ? network::rw_state::success : network::rw_state::failure;
  }

  std::unique_ptr<SSL, decltype(&SSL_free)> tls_;
  bool established_{false};
  std::vector<char> early_;
};

class tls_scribe final : public caf::io::scribe {
public:
  tls_scribe(network::default_multiplexer& loop, network::native_socket fd, const tls_context& context, side s)
      : scribe{network::conn_hdl_from_socket(fd)}, stream_{loop, fd, context, fd, s} {}

  void configure_read(caf::io::receive_policy::config how) override {
    stream_.configure_read(how);
    if (std::exchange(launched_, true)) return;
    stream_.start(this);
    stream_.force_empty_write(this);  // whoever connects speaks first
  }
  void ack_writes(bool on) override { stream_.ack_writes(on); }
  std::vector<char>& wr_buf() override { return stream_.wr_buf(); }
  std::vector<char>& rd_buf() override { return stream_.rd_buf(); }
  void flush() override { stream_.flush(this); }
  void graceful_shutdown() override {
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }
  std::string addr() const override {
    auto at = network::remote_addr_of_fd(stream_.fd());
    return at ? *at : std::string{};
  }
  std::uint16_t port() const override {
    auto at = network::remote_port_of_fd(stream_.fd());
    return at ? *at : std::uint16_t{0};
  }
  void add_to_loop() override { stream_.activate(this); }
  void remove_from_loop() override { stream_.passivate(); }

private:
  bool launched_{false};
  network::stream_impl<tls_policy> stream_;
};

class tls_doorman final : public network::doorman_impl {
public:
  tls_doorman(network::default_multiplexer& loop, network::native_socket fd, tls_context context)
      : network::doorman_impl{loop, fd}, context_{std::move(context)} {}

  bool new_connection() override {
    auto& loop = acceptor_.backend();
    const auto fd = acceptor_.accepted_socket();
    if (detached()) {
      network::close_socket(fd);
      return false;
    }
    auto connection = caf::make_counted<tls_scribe>(loop, fd, context_, side::accepts);
    const auto id = connection->hdl();
    parent()->add_scribe(std::move(connection));
    return doorman::new_connection(&loop, id);
  }

private:
  const tls_context context_;
};

class tls_middleman final : public caf::io::middleman_actor_impl {
public:
  tls_middleman(caf::actor_config& config, caf::actor broker, tls_context context)
      : caf::io::middleman_actor_impl{config, std::move(broker)}, context_{std::move(context)} {}

  const char* name() const override { return "tls_middleman"; }

protected:
  caf::expected<caf::io::scribe_ptr> connect(const std::string& host, std::uint16_t port) override {
    auto fd = network::new_tcp_connection(host, port);
    if (!fd) return std::move(fd.error());
    return caf::make_counted<tls_scribe>(loop(), *fd, context_, side::connects);
  }
  caf::expected<caf::io::doorman_ptr> open(std::uint16_t port, const char* host, bool reuse) override {
    auto fd = network::new_tcp_acceptor_impl(port, host, reuse);
    if (!fd) return std::move(fd.error());
    return caf::make_counted<tls_doorman>(loop(), *fd, context_);
  }

private:
  network::default_multiplexer& loop() {
    return static_cast<network::default_multiplexer&>(system().middleman().backend());
  }
  const tls_context context_;
};

}  // namespace

result<tls_context> make_tls_context(const transport_tls& files) {
  ERR_clear_error();
  const tls_context context{SSL_CTX_new(TLS_method()), &SSL_CTX_free};
  const auto failed = [](const std::string& what) {
    return error{errc::system, what + " cannot be used: " + why_openssl_failed()};
  };
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1) return failed("OpenSSL");
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1)
    return failed("the certificate in " + files.certificate);
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return failed("the key in " + files.key);
  if (SSL_CTX_check_private_key(context.get()) != 1)
    return failed("the key in " + files.key + " with the certificate in " + files.certificate);
  if (SSL_CTX_load_verify_locations(context.get(), files.authority.c_str(), nullptr) != 1)
    return failed("the authority in " + files.authority);
  // A certificate of the authority is what makes a node one of the cluster; there are no names to compare.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Connections last: nothing is gained by resuming sessions.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  return context;
}

caf::io::middleman_actor spawn_tls_middleman(caf::actor_system& actors, tls_context context) {
  auto broker = actors.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  return actors.spawn<tls_middleman, caf::detached + caf::hidden>(std::move(broker), std::move(context));
}

}  // namespace troupe::transport_parts
