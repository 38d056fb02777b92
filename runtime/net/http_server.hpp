#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/net/address.hpp"

namespace troupe::net {

struct http_request {
  std::string path;                ///< as the client sent it, without the query
  std::string query;               ///< what follows the '?', undecoded
  std::vector<std::string> parts;  ///< what stands in the path for each `{}` of its route, undecoded
  std::string body;                ///< of a POST: JSON by its content type, not yet by its form
};

struct http_response {
  unsigned status{200};
  std::string content_type{"text/plain; charset=utf-8"};
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;  ///< further ones
};

/// Problem details as of RFC 9457: what went wrong, in a form that programs can read.
http_response problem(unsigned status, std::string_view detail);

/// A small HTTP/1.1 server for what operators ask of a node: GET, HEAD and POST of a few paths, keep-alive, nothing
/// else.
///
/// Is       a set of own threads around one `io_context`; each connection is a coroutine on a strand.
/// Answers  the paths it was given; 400, 404, 405, 413, 415, 431, 500 and 503 as problem details by itself. Too late
///          means closed.
/// Bounds   bytes of header and body, time for a request, for its answer, between two; number of connections.
class http_server {
public:
  struct options {
    unsigned threads{1};
    std::size_t header_bytes_max{8 << 10};
    std::size_t body_bytes_max{64 << 10};
    std::size_t connections_max{256};                   ///< above, a connection gets 503
    std::chrono::milliseconds request_timeout{10'000};  ///< from its first byte to its last; also to send the answer
    std::chrono::milliseconds answer_timeout{10'000};   ///< what is answered later, and is not by then, gets 503
    std::chrono::milliseconds idle_timeout{60'000};     ///< between two requests
  };
  /// Runs on the server's threads, on several at a time; must not block for long and not call `stop`. What it throws
  /// becomes a 500 and a line in the log.
  using handler = std::function<http_response(const http_request&)>;
  /// To be called once, from any thread, also after the deadline or the server's end. What it is given runs on the
  /// server's threads and makes the answer.
  using later = std::function<void(std::function<http_response()>)>;
  /// As `handler`, but answers by `later`, so that who waits holds up nobody.
  using later_handler = std::function<void(const http_request&, later)>;

  explicit http_server(const options&);
  /// As `stop`.
  ~http_server();

  /// Answers GET and HEAD of exactly `path`, in which `{}` stands for anything between two slashes. Before `start`.
  void get(const std::string& path, handler);
  void get(const std::string& path, later_handler);
  /// The same for POST. Its body has to be `application/json`: this also keeps other sites' pages from posting with an
  /// operator's browser, which sends that type to strangers only after asking them.
  void post(const std::string& path, later_handler);
  /// Listens and serves from now on; returns the address with the real port where 0 was asked for. Once. Errors: as
  /// `listen_on`.
  result<address> start(const address& at);
  /// Takes no more requests, gives answers under way a second, closes every connection and ends the threads. May be
  /// called again.
  void stop();

private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace troupe::net
