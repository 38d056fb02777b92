#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "apps/gateways/kafka/codec/codec.hpp"
#include "apps/gateways/kafka/codec/error_codes.hpp"
#include "apps/gateways/kafka/codec/messages.hpp"
#include "apps/gateways/kafka/io_loop.hpp"
#include "apps/gateways/kafka/services.hpp"
#include "runtime/store/log.hpp"

namespace troupe::kafka {

class connection;

/// A request as it came in.
struct arrival {
  request_header header;
  byte_span body;     ///< within `frame`
  owned_bytes frame;  ///< counted in the requests' memory for as long as anyone shares it
  instant at;
};

/// One request on its way to its answer.
///
///     started --answer--> answered
///        └----- abandon (its connection is gone): what still comes for it is ignored
///
/// Lives on its connection's thread; only its memory may be freed on another one. Actors' answers reach it through
/// `reply`. Every exchange is answered at some time: actors answer or vanish, and `reply` notices both.
class exchange : public timed, public std::enable_shared_from_this<exchange> {
public:
  exchange(services& all, std::shared_ptr<io_loop> loop, std::weak_ptr<connection> home, arrival request)
      : all_{all}, loop_{std::move(loop)}, home_{std::move(home)}, request_{std::move(request)} {}

  /// Decodes and serves; it may be answered when this returns. Errors: malformed (the connection is to be closed).
  virtual result<void> begin() = 0;
  /// The node is stopping: what waits for more to come answers with what it has.
  virtual void hurry() {}
  void due() override {}

  void abandon();
  bool over() const noexcept { return over_.load(std::memory_order_relaxed); }
  bool answered() const noexcept { return answered_; }

  api_key api() const noexcept { return request_.header.key; }
  std::int16_t version() const noexcept { return request_.header.version; }
  instant arrived() const noexcept { return request_.at; }
  instant answered_at() const noexcept { return answered_at_; }
  std::size_t request_bytes() const noexcept { return frame_bytes_; }
  /// Once answered: the bytes for the socket; empty for a request that has no answer on the wire.
  std::vector<store::slice>& output() noexcept { return output_; }

protected:
  const arrival& request() const noexcept { return request_; }
  /// For those who wait long: views into the request end here.
  void drop_frame();

  template <class Response>
  void answer(const Response& response, std::optional<std::int16_t> as_version = {}) {
    finish(encode_response(response, as_version.value_or(version()), request_.header.correlation_id), {});
  }
  /// With records: `outside.handle` of each is its place in `records`.
  template <class Response>
  void answer(const Response& response, std::span<std::vector<store::slice>> records) {
    finish(encode_response(response, version(), request_.header.correlation_id), records);
  }
  void answer_nothing() { finish({}, {}); }
  /// Null once the connection is gone.
  std::shared_ptr<connection> home() const { return home_.lock(); }
  /// Ends the connection: the only thing that a client understands who expects no answer.
  void break_connection(std::string_view why);

  /// A function for an actor; `then` runs on our thread, unless we are over by then.
  template <class Outcome, class Then>
  std::function<void(Outcome)> reply(Outcome lost, Then then) {
    return reply_on(loop_, std::move(lost), [self = shared_from_this(), then = std::move(then)](Outcome outcome) {
      if (!self->over()) then(std::move(outcome));
    });
  }
  void set_deadline(instant when) {
    loop_->cancel(deadline_);
    deadline_ = loop_->at(when, weak_from_this());
  }
  void forget_deadline() { deadline_.reset(); }
  /// Set once nobody waits for this exchange any more.
  std::shared_ptr<const std::atomic<bool>> over_flag() { return {shared_from_this(), &over_}; }
  /// Answered or abandoned: lets go of what is not needed any more. An actor may hold on to us a while longer.
  virtual void release() {}

  /// Counted, like every code that goes out.
  std::int16_t code_of(const error& e) { return counted(to_code(e.code, api(), version())); }
  std::int16_t counted(std::int16_t code) {
    all_.count.error(code);
    return code;
  }
  const gateway_setup& setup() const noexcept { return all_.setup; }
  std::shared_ptr<const cluster_view> view() const { return all_.view(); }

private:
  void finish(piece_list pieces, std::span<std::vector<store::slice>> records);

  services& all_;
  std::shared_ptr<io_loop> loop_;
  std::weak_ptr<connection> home_;
  arrival request_;
  std::size_t frame_bytes_{request_.frame.bytes.size()};
  io_loop::deadline deadline_;
  bool answered_{false};
  instant answered_at_;
  std::atomic<bool> over_{false};
  std::vector<store::slice> output_;
};

/// An exchange of one kind of request: decoded into `asked`, answered with `told`.
template <class Request, class Response>
class exchange_of : public exchange {
public:
  using exchange::exchange;
  result<void> begin() final {
    auto decoded = decode_request<Request>(request().body, version());
    if (!decoded.ok()) return decoded.error();
    asked = std::move(*decoded);
    serve();
    return {};
  }

protected:
  virtual void serve() = 0;

  Request asked;
  Response told;
};

/// Makes the exchange for a request that `served` has let through.
std::shared_ptr<exchange> make_exchange(services&, std::shared_ptr<io_loop>, std::weak_ptr<connection>, arrival);

}  // namespace troupe::kafka
