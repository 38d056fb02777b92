#include "apps/gateways/kafka/connection.hpp"

#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>

#include "runtime/observe/log.hpp"

namespace troupe::kafka {

using boost::asio::ip::tcp;

connection::connection(services& all, std::shared_ptr<io_loop> loop, tcp::socket socket, admission::seat seat,
                       listener& l)
    : all_{all},
      loop_{std::move(loop)},
      socket_{std::move(socket)},
      seat_{std::move(seat)},
      listener_{l},
      splitter_{{.frame_bytes_max = all.setup.limits.request_bytes_max}},
      partial_{all.requests_memory},
      queued_{all.responses_memory},
      accepted_at_{boot_clock::now()},
      read_at_{accepted_at_},
      written_at_{accepted_at_},
      frame_since_{accepted_at_} {}

void connection::start() {
  boost::system::error_code failed;
  socket_.native_non_blocking(true, failed);
  if (!failed) socket_.set_option(tcp::no_delay{true}, failed);
  if (failed) return close("reset");
  wait_readable();
}

void connection::drain() {
  if (closed_) return;
  draining_ = true;
  held_.reset();
  if (std::exchange(overdrawn_, false)) all_.requests_memory->return_overdraft();
  for (std::size_t i = 0; i < outstanding_.size(); ++i) outstanding_[i]->hurry();
  flush_soon();
}

void connection::close(std::string_view why) {
  if (closed_) return;
  closed_ = true;
  all_.count.closed(why);
  const auto self = shared_from_this();
  boost::system::error_code ignored;
  socket_.close(ignored);
  while (!outstanding_.empty()) {
    outstanding_.front()->abandon();
    outstanding_.pop();
  }
  held_.reset();
  out_.clear();
  if (std::exchange(overdrawn_, false)) all_.requests_memory->return_overdraft();
  partial_.resize(0);
  queued_.resize(0);
  splitter_ = frame_splitter{};
  seat_.reset();
  listener_.closed(self);
}

// -- reading ---------------------------------------------------------------------------------------------------------

void connection::wait_readable() {
  if (reading_ || closed_ || draining_) return;
  if (!may_read()) {
    if (!paused_at_) paused_at_ = boot_clock::now();
    return;
  }
  if (paused_at_) {
    const auto pause = boot_clock::now() - *std::exchange(paused_at_, {});  // that was not the client's doing
    frame_since_ += pause;
    accepted_at_ += pause;
  }
  reading_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const boost::system::error_code& failed) {
    self->reading_ = false;
    if (self->closed_) return;
    if (failed) return self->close("reset");
    self->on_readable();
    self->loop_->end_turn();
  });
}

void connection::on_readable() {
  read_at_ = boot_clock::now();
  for (unsigned i = 0; i < reads_per_turn && !draining_ && may_read(); ++i) {
    const auto space = splitter_.prepare();
    const auto got = ::recv(socket_.native_handle(), space.data(), space.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got <= 0) return close(got == 0 ? "client" : "reset");
    const auto count = static_cast<std::size_t>(got);
    if (!first_frame_seen_ && splitter_.pending() == 0)
      std::memcpy(first_bytes_.data(), space.data(), std::min(count, first_bytes_.size()));
    if (splitter_.pending() == 0) frame_since_ = read_at_;
    splitter_.commit(count);
    all_.count.bytes_in.add(static_cast<double>(count));
    progress();
    if (closed_) return;
    if (count < space.size()) break;  // that was all
  }
  flush_soon();
}

/// Not while a request is held, nor while requests use too much memory; see memory_budget about the overdraft.
bool connection::may_read() {
  if (held_) return false;
  auto& memory = *all_.requests_memory;
  if (!memory.crowded() || overdrawn_) return true;
  const bool half_received = splitter_.pending() > 0;
  if (half_received && memory.try_overdraft()) return overdrawn_ = true;
  // Said again each time: being parked already may mean to wait for the other memory.
  parked_ = true;
  memory.wait_for_room(half_received);
  return false;
}

void connection::roomy() {
  if (closed_ || !std::exchange(parked_, false)) return;
  flush_soon();
}

/// Moves everything as far as it goes: answers out, held requests into work, frames out of the splitter.
void connection::progress() {
  if (std::exchange(progressing_, true)) return;
  do {
    collect();
  } while (!closed_ && (held_ ? begin_held() : take_frame()));
  progressing_ = false;
  if (!closed_) account();
}

bool connection::take_frame() {
  if (draining_) return false;
  auto next = splitter_.next();
  if (!next.ok()) {
    refuse(next.error());
    return false;
  }
  if (!*next) return false;
  auto& frame = **next;
  first_frame_seen_ = true;
  frame_since_ = read_at_;

  struct counted {
    memory_overdraft overdraft;  // goes last
    memory_lease lease;
    std::shared_ptr<void> bytes;
  };
  auto owner = std::make_shared<counted>(
      counted{std::exchange(overdrawn_, false) ? memory_overdraft{all_.requests_memory} : memory_overdraft{},
              memory_lease{all_.requests_memory}, std::move(frame.owner)});
  owner->lease.resize(frame.bytes.size());
  auto taken = decode_header(frame.bytes);
  if (!taken.ok()) {
    refuse(taken.error());
    return false;
  }
  held_ = arrival{taken->header, taken->body, owned_bytes{std::move(owner), frame.bytes}, read_at_};
  return true;
}

bool connection::begin_held() {
  if (!may_begin(*held_)) return false;
  auto request = std::move(*held_);
  held_.reset();
  const auto key = request.header.key;
  if (!served(key, request.header.version) && key != api_key::api_versions) {
    refuse(error{errc::unsupported_version, "this API or version is not offered"}, &request.header);
    return false;
  }
  all_.count.request(key);
  const auto header = request.header;
  const auto frame = request.frame;  // keeps `header` readable
  auto work = make_exchange(all_, loop_, weak_from_this(), std::move(request));
  if (auto begun = work->begin(); !begun.ok()) {
    refuse(begun.error(), &header);
    return false;
  }
  if (closed_) {
    work->abandon();
    return false;
  }
  outstanding_bytes_ += work->request_bytes();
  others_than_produce_ = key != api_key::produce;
  outstanding_.push(std::move(work));
  return true;
}

bool connection::may_begin(const arrival& next) {
  if (out_.bytes() >= response_bytes_queued_max) return false;
  if (next.header.key != api_key::produce) {
    if (!outstanding_.empty()) return false;
    if (next.header.key != api_key::fetch || !all_.responses_memory->crowded()) return true;
    parked_ = true;
    all_.responses_memory->wait_for_room();
    return false;
  }
  return !others_than_produce_ && outstanding_.size() < requests_outstanding_max &&
         outstanding_bytes_ < request_bytes_outstanding_max;
}

// -- writing ---------------------------------------------------------------------------------------------------------

void connection::answered() {
  if (!closed_ && !progressing_) flush_soon();
}

void connection::flush_soon() {
  if (closed_ || std::exchange(dirty_, true)) return;
  loop_->flush_later(shared_from_this());
}

void connection::flush() {
  dirty_ = false;
  if (closed_) return;
  progress();
  if (!closed_) write();
  if (closed_) return;
  if (draining_ && outstanding_.empty() && out_.empty()) return close(ending_);
  wait_readable();
}

/// What is answered, up to the first request that is not, goes to the socket's queue.
void connection::collect() {
  while (!outstanding_.empty() && outstanding_.front()->answered()) {
    auto& done = *outstanding_.front();
    outstanding_bytes_ -= done.request_bytes();
    if (out_.empty()) written_at_ = done.answered_at();
    for (auto& piece : done.output()) out_.push(std::move(piece));
    outstanding_.pop();
  }
  if (outstanding_.empty()) others_than_produce_ = false;
}

void connection::write() {
  while (!out_.empty() && !writing_) {
    std::uint64_t written = 0;
    const auto outcome = out_.write_to(socket_.native_handle(), write_bytes_per_turn, written);
    all_.count.bytes_out.add(static_cast<double>(written));
    if (written > 0) written_at_ = boot_clock::now();
    switch (outcome) {
      case out_queue::progress::drained:
        progress();  // what was held back by a full queue
        if (closed_) return;
        break;
      case out_queue::progress::yielded:
        writing_ = true;
        loop_->post([self = shared_from_this()] {
          self->writing_ = false;
          self->flush_soon();
        });
        break;
      case out_queue::progress::blocked:
        wait_writable();
        break;
      case out_queue::progress::failed:
        return close("reset");
    }
  }
  account();
}

void connection::wait_writable() {
  writing_ = true;
  socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const boost::system::error_code& failed) {
    self->writing_ = false;
    if (self->closed_) return;
    if (failed) return self->close("reset");
    self->flush_soon();
    self->loop_->end_turn();
  });
}

// -- bounds ----------------------------------------------------------------------------------------------------------

void connection::account() {
  partial_.resize(splitter_.pending());
  queued_.resize(out_.memory_bytes());
}

void connection::sweep(instant now) {
  if (closed_) return;
  const auto& limits = all_.setup.limits;
  if (!first_frame_seen_ && !paused_at_ && now - accepted_at_ > limits.first_frame) return close("first_frame");
  if (splitter_.pending() > 0 && !paused_at_ && now - frame_since_ > limits.frame) return close("slow_frame");
  if (!out_.empty() && now - written_at_ > limits.idle) return close("stuck");
  if (outstanding_.empty() && out_.empty() && now - std::max(read_at_, written_at_) > limits.idle) return close("idle");
  if (splitter_.pending() == 0 && now - read_at_ > std::chrono::seconds{1}) splitter_.rest();
}

/// Bytes that are no request of ours end the connection: the protocol has no other answer. Those that came before them
/// are still answered.
void connection::refuse(const error& why, const request_header* header) {
  const bool unknown = why.code == errc::unsupported_version && header != nullptr;
  if (!unknown) all_.count.malformed.add();
  auto& occasion = unknown ? all_.unknown_requests : all_.malformed_requests;
  if (const auto times = occasion.due(); times > 0)
    observe::log(observe::level::warn, "kafka", unknown ? "request_unknown" : "request_malformed",
                 {{"from", seat_->address()},
                  {"api", header ? static_cast<std::int16_t>(header->key) : std::int16_t{-1}},
                  {"version", header ? header->version : std::int16_t{-1}},
                  {"client", header && header->client_id ? *header->client_id : std::string_view{}},
                  {"why", why},
                  {"times", times}});
  note_stranger();
  ending_ = unknown ? "unknown_request" : "malformed";
  drain();
  splitter_ = frame_splitter{};
}

/// Who speaks another protocol is told apart by the first bytes, for the one who has to find out why it fails.
void connection::note_stranger() {
  if (first_frame_seen_) return;
  const std::string_view start{first_bytes_.data(), first_bytes_.size()};
  const bool tls = start[0] == 0x16 && start[1] == 0x03;
  const bool http = start == "GET " || start == "POST" || start == "HEAD" || start == "PUT " || start == "OPTI";
  if (!tls && !http) return;
  if (const auto times = all_.strangers.due(); times > 0)
    observe::log(observe::level::warn, "kafka", tls ? "tls_on_plain_port" : "http_on_kafka_port",
                 {{"from", seat_->address()},
                  {"hint", tls ? "this port speaks plaintext: set security.protocol=PLAINTEXT in the client"
                               : "this is the port for Kafka clients; HTTP has its own"},
                  {"times", times}});
}

}  // namespace troupe::kafka
