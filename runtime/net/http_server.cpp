#include "runtime/net/http_server.hpp"

#include <utility>
// Boost 1.81 forgets <utility>.
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "runtime/observe/log.hpp"

namespace troupe::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using observe::level;
using namespace std::chrono_literals;

constexpr auto token = asio::as_tuple(asio::use_awaitable);
constexpr auto stop_patience = 1s;
/// After a refused request, what the client still sends is read and thrown away up to this much: closing with unread
/// bytes resets the connection, and the client would never see why it was refused.
constexpr auto linger = 1s;
constexpr std::size_t linger_bytes_max = 1 << 20;
constexpr auto accept_pause = 100ms;  // when out of descriptors

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += "\\ufffd";
    }
  }
  return out += '"';
}

/// The refusal for a request that did not parse, or nothing to say: the client is gone.
std::optional<http_response> refusal(const beast::error_code& why) {
  if (why == http::error::body_limit) return problem(413, "the body is too large");
  if (why == http::error::header_limit || why == http::error::buffer_overflow)
    return problem(431, "the header is too large");
  if (why == http::error::end_of_stream || why == http::error::partial_message) return std::nullopt;
  if (why.category() == make_error_code(http::error::bad_method).category())
    return problem(400, "the request is malformed: " + why.message());
  return std::nullopt;
}

struct session {
  explicit session(tcp::socket socket) : stream{std::move(socket)} {}
  beast::tcp_stream stream;
  // Both only on the connection's strand.
  bool answering{false};
  bool stopping{false};
};

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t from = 0;;) {
    const auto slash = path.find('/', from);
    parts.push_back(path.substr(from, slash == path.npos ? slash : slash - from));
    if (slash == path.npos) return parts;
    from = slash + 1;
  }
}

bool is_json(std::string_view content_type) {
  auto type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return beast::iequals({type.data(), type.size()}, "application/json");
}

struct route {
  std::string path;
  http_server::later_handler get, post;

  /// What stands in `asked` for each `{}`; nothing: another path.
  std::optional<std::vector<std::string>> fits(std::string_view asked) const {
    const auto ours = split(path), theirs = split(asked);
    if (ours.size() != theirs.size()) return std::nullopt;
    std::vector<std::string> parts;
    for (std::size_t i = 0; i < ours.size(); ++i)
      if (ours[i] == "{}" && !theirs[i].empty())
        parts.emplace_back(theirs[i]);
      else if (ours[i] != theirs[i])
        return std::nullopt;
    return parts;
  }
  std::string methods() const { return !post ? "GET, HEAD" : get ? "GET, HEAD, POST" : "POST"; }
};

using maker = std::function<http_response()>;

/// An answer that comes later, from another thread. Who gives it may outlive the connection and the whole server, so it
/// holds only a ticket, which the waiting coroutine tears up when it ends.
class pending_answer {
public:
  explicit pending_answer(const asio::any_io_executor& strand) : slot_{std::make_shared<slot>(strand)} {
    ticket_->deliver = [to = slot_, strand](maker made) {
      asio::post(strand, [to, made = std::move(made)]() mutable {
        to->made = std::move(made);
        to->wake.cancel();
      });
    };
  }
  pending_answer(const pending_answer&) = delete;
  ~pending_answer() {
    const std::lock_guard lock{ticket_->mutex};
    ticket_->deliver = nullptr;
  }
  http_server::later later() const {
    return [ticket = ticket_](maker made) {
      const std::lock_guard lock{ticket->mutex};
      if (const auto deliver = std::exchange(ticket->deliver, nullptr)) deliver(std::move(made));
    };
  }
  /// Null when it did not come in time.
  asio::awaitable<maker> wait(std::chrono::milliseconds patience) {
    slot_->wake.expires_after(patience);
    // Delivery is a turn of this strand, so it cannot slip in between this look and the wait.
    if (!slot_->made) co_await slot_->wake.async_wait(token);
    co_return std::move(slot_->made);
  }

private:
  struct slot {
    explicit slot(const asio::any_io_executor& strand) : wake{strand} {}
    asio::steady_timer wake;
    maker made;
  };
  struct ticket {
    std::mutex mutex;
    std::function<void(maker)> deliver;
  };
  std::shared_ptr<slot> slot_;
  std::shared_ptr<ticket> ticket_ = std::make_shared<ticket>();
};

http_response failed_to_answer(const std::string& path, const std::exception& e) {
  observe::log(level::error, "http", "handler_failed", {{"path", path}, {"why", e.what()}});
  return problem(500, "the node failed to answer; its log says why");
}

}  // namespace

struct http_server::state {
  http_server::options limits;
  std::vector<route> routes;
  asio::io_context context;
  std::vector<tcp::acceptor> acceptors;
  std::vector<std::thread> threads;
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  bool stopping{false};
  std::set<std::shared_ptr<session>> sessions;

  explicit state(const http_server::options& o) : limits{o}, context{static_cast<int>(o.threads)} {}

  asio::awaitable<void> accept(tcp::acceptor& acceptor);
  asio::awaitable<void> serve(std::shared_ptr<session>);
  asio::awaitable<bool> answer(session&, http_response, unsigned version, bool head, bool keep_alive);
  asio::awaitable<http_response> respond(session&, const http::request<http::string_body>&);
  route& at(const std::string& path);
};

asio::awaitable<void> http_server::state::accept(tcp::acceptor& acceptor) {
  for (;;) {
    auto [failed, socket] = co_await acceptor.async_accept(asio::make_strand(context), token);
    if (failed == asio::error::operation_aborted || !acceptor.is_open()) co_return;
    if (failed) {
      // Out of descriptors, most likely. Some come back; asking again at once would only burn the processor.
      asio::steady_timer pause{co_await asio::this_coro::executor, accept_pause};
      co_await pause.async_wait(token);
      continue;
    }
    auto fresh = std::make_shared<session>(std::move(socket));
    bool full = false;
    {
      const std::lock_guard lock{mutex};
      if (stopping) co_return;
      full = sessions.size() >= limits.connections_max;
      if (!full) sessions.insert(fresh);
    }
    if (full) {
      constexpr std::string_view busy =
          "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
      beast::error_code ignored;
      fresh->stream.socket().non_blocking(true, ignored);
      fresh->stream.socket().send(asio::buffer(busy), 0, ignored);
      continue;
    }
    asio::co_spawn(fresh->stream.get_executor(), serve(fresh), asio::detached);
  }
}

asio::awaitable<void> http_server::state::serve(std::shared_ptr<session> own) {
  auto& stream = own->stream;
  beast::flat_buffer buffer{limits.header_bytes_max + (64 << 10)};
  bool first = true;
  while (!own->stopping) {
    if (!first && buffer.size() == 0) {
      stream.expires_after(limits.idle_timeout);
      auto [gone, count] = co_await stream.async_read_some(buffer.prepare(4096), token);
      if (gone || own->stopping) break;
      buffer.commit(count);
    }
    first = false;
    stream.expires_after(limits.request_timeout);
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes_max));
    parser.body_limit(limits.body_bytes_max);
    auto [failed, header_bytes] = co_await http::async_read_header(stream, buffer, parser, token);
    if (!failed && beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await asio::async_write(stream, asio::buffer(go_on), token);
    }
    if (!failed) {
      auto [cut, body_bytes] = co_await http::async_read(stream, buffer, parser, token);
      failed = cut;
    }
    if (own->stopping) break;
    if (failed) {
      if (auto why = refusal(failed)) {
        co_await answer(*own, std::move(*why), 11, false, false);
        stream.expires_after(linger);
        for (std::size_t read = 0; read < linger_bytes_max;) {
          buffer.clear();
          auto [gone, count] = co_await stream.async_read_some(buffer.prepare(4096), token);
          if (gone) break;
          read += count;
        }
      }
      break;
    }
    const auto& request = parser.get();
    // One that is being answered is not cut off by `stop`, also while the answer is on its way to us.
    own->answering = true;
    auto said = co_await respond(*own, request);
    if (!co_await answer(*own, std::move(said), request.version(), request.method() == http::verb::head,
                         request.keep_alive()))
      break;
  }
  beast::error_code ignored;
  stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
  stream.close();
  const std::lock_guard lock{mutex};
  sessions.erase(own);
  changed.notify_all();
}

asio::awaitable<http_response> http_server::state::respond(session& own,
                                                           const http::request<http::string_body>& request) {
  if (request.version() == 11 && request.count(http::field::host) != 1)
    co_return problem(400, "an HTTP/1.1 request has exactly one Host field");
  const std::string_view target{request.target().data(), request.target().size()};
  const auto mark = target.find('?');
  http_request asked{std::string{target.substr(0, mark)}, {}, {}, {}};
  if (mark != target.npos) asked.query = target.substr(mark + 1);
  const route* found = nullptr;
  for (const auto& r : routes)
    if (auto parts = r.fits(asked.path)) {
      asked.parts = std::move(*parts);
      found = &r;
      break;
    }
  if (found == nullptr) co_return problem(404, "there is nothing at " + asked.path);

  const bool posted = request.method() == http::verb::post;
  const bool got = request.method() == http::verb::get || request.method() == http::verb::head;
  const auto& answers = posted ? found->post : found->get;
  if (!answers || (!posted && !got)) {
    auto refused = problem(405, asked.path + " answers " + (found->post ? found->methods() : "GET and HEAD"));
    refused.headers.emplace_back("Allow", found->methods());
    co_return refused;
  }
  if (posted) {
    const auto type = request[http::field::content_type];
    if (!is_json({type.data(), type.size()}))
      co_return problem(415, "the body has to be JSON: send it with Content-Type: application/json");
    asked.body = request.body();
  }
  pending_answer pending{own.stream.get_executor()};
  try {
    answers(asked, pending.later());
  } catch (const std::exception& e) {
    co_return failed_to_answer(asked.path, e);
  }
  const auto made = co_await pending.wait(limits.answer_timeout);
  if (!made) {
    auto late = problem(503, "there was no answer in time; what was asked for may still happen");
    late.headers.emplace_back("Retry-After", "1");
    co_return late;
  }
  try {
    co_return made();
  } catch (const std::exception& e) {
    co_return failed_to_answer(asked.path, e);
  }
}

/// True when the connection may go on.
asio::awaitable<bool> http_server::state::answer(session& own, http_response what, unsigned version, bool head,
                                                 bool keep_alive) {
  http::response<http::string_body> message{static_cast<http::status>(what.status), version};
  message.set(http::field::content_type, what.content_type);
  message.set(http::field::cache_control, "no-store");
  for (const auto& [name, value] : what.headers) message.set(name, value);
  message.content_length(what.body.size());
  message.keep_alive(keep_alive && !own.stopping);
  if (!head) message.body() = std::move(what.body);
  own.answering = true;
  own.stream.expires_after(limits.request_timeout);
  http::response_serializer<http::string_body> serializer{message};
  // A HEAD's answer has the length of the body, but not the body.
  serializer.split(head);
  beast::error_code failed;
  if (head) {
    std::tie(failed, std::ignore) = co_await http::async_write_header(own.stream, serializer, token);
  } else {
    std::tie(failed, std::ignore) = co_await http::async_write(own.stream, serializer, token);
  }
  own.answering = false;
  const bool last = failed || !message.keep_alive();
  if (last) own.stream.socket().shutdown(tcp::socket::shutdown_send, failed);
  co_return !last;
}

http_response problem(unsigned status, std::string_view detail) {
  const std::string_view title{http::obsolete_reason(static_cast<http::status>(status))};
  return {status,
          "application/problem+json",
          "{\"type\":\"about:blank\",\"title\":" + json_string(title) + ",\"status\":" + std::to_string(status) +
              ",\"detail\":" + json_string(detail) + "}\n",
          {}};
}

http_server::http_server(const options& o) : state_{std::make_unique<state>(o)} {
  TROUPE_CHECK(o.threads > 0);
}
http_server::~http_server() {
  stop();
}

route& http_server::state::at(const std::string& path) {
  TROUPE_CHECK(acceptors.empty());
  for (auto& r : routes)
    if (r.path == path) return r;
  return routes.emplace_back(route{path, {}, {}});
}

void http_server::get(const std::string& path, handler answers) {
  get(path, [answers = std::move(answers)](const http_request& asked, const later& say) {
    say([made = answers(asked)] { return made; });
  });
}

void http_server::get(const std::string& path, later_handler answers) {
  state_->at(path).get = std::move(answers);
}

void http_server::post(const std::string& path, later_handler answers) {
  state_->at(path).post = std::move(answers);
}

result<address> http_server::start(const address& at) {
  TROUPE_CHECK(state_->acceptors.empty() && !state_->context.stopped());
  auto opened = listen_on(at);
  if (!opened) return opened.error();
  for (auto& socket : opened->sockets)
    state_->acceptors.emplace_back(asio::make_strand(state_->context), socket.ipv6 ? tcp::v6() : tcp::v4(),
                                   socket.fd.release());
  for (auto& acceptor : state_->acceptors)
    asio::co_spawn(acceptor.get_executor(), state_->accept(acceptor), asio::detached);
  for (unsigned i = 0; i < state_->limits.threads; ++i) state_->threads.emplace_back([this] { state_->context.run(); });
  return address{at.host, opened->port};
}

void http_server::stop() {
  auto& s = *state_;
  if (s.threads.empty()) return;
  for (auto& acceptor : s.acceptors)
    asio::post(acceptor.get_executor(), [&acceptor] {
      beast::error_code ignored;
      acceptor.close(ignored);
    });
  std::unique_lock lock{s.mutex};
  s.stopping = true;
  for (const auto& one : s.sessions)
    asio::post(one->stream.get_executor(), [one] {
      one->stopping = true;
      if (!one->answering) one->stream.cancel();
    });
  s.changed.wait_for(lock, stop_patience, [&] { return s.sessions.empty(); });
  lock.unlock();
  s.context.stop();
  for (auto& thread : s.threads) thread.join();
  s.threads.clear();
}

}  // namespace troupe::net
