#pragma once

#include <utility>

#include <boost/asio/ip/tcp.hpp>

#include <array>
#include <memory>
#include <optional>
#include <string_view>

#include "apps/gateways/kafka/codec/frames.hpp"
#include "apps/gateways/kafka/exchange.hpp"
#include "apps/gateways/kafka/fifo.hpp"
#include "apps/gateways/kafka/out_queue.hpp"
#include "apps/gateways/kafka/redirects.hpp"

namespace troupe::kafka {

/// One client's connection: frames in, answers out, in the order of the requests.
///
///     socket ─▶ splitter ─▶ held ─▶ outstanding (in order) ─▶ out ─▶ socket
///              a partial   the next   being worked on or       bytes and
///              frame       request,   answered, behind one     file ranges
///                          not begun  that is not
///
/// Produce requests overlap: each is begun while earlier ones wait for the disk, and the partitions get them in their
/// order. Every other request begins when all before it are answered, and nothing begins behind it: since answers go
/// out in order anyway, overlapping would gain nothing, and so a client sees what its earlier requests did. It also
/// bounds what answers a connection can make us hold.
///
/// While a bound below is reached nothing more is begun, one request is held, and reading stops.
class connection final : public flushable, public std::enable_shared_from_this<connection> {
public:
  static constexpr std::size_t requests_outstanding_max = 256;
  static constexpr std::uint64_t request_bytes_outstanding_max = 32 << 20;
  static constexpr std::uint64_t response_bytes_queued_max = 1 << 20;
  /// Then other connections of the thread get their turn.
  static constexpr unsigned reads_per_turn = 16;
  static constexpr std::uint64_t write_bytes_per_turn = 4 << 20;

  /// Told once, when the connection is closed.
  class listener {
  public:
    virtual ~listener() = default;
    virtual void closed(const std::shared_ptr<connection>&) = 0;
  };

  connection(services&, std::shared_ptr<io_loop>, boost::asio::ip::tcp::socket, admission::seat, listener&);

  // All on the loop's thread.
  void start();
  /// Takes no more requests, answers those that it has, closes.
  void drain();
  void close(std::string_view why);
  /// Closes what is idle, slow or stuck, and gives unused buffers back. About once a second.
  void sweep(instant now);
  /// Memory has come free: goes on if that was awaited.
  void roomy();
  /// An exchange has its answer.
  void answered();
  void flush() override;
  redirects& sent_elsewhere() noexcept { return sent_elsewhere_; }

private:
  void wait_readable();
  void on_readable();
  bool may_read();
  void progress();
  bool take_frame();
  bool begin_held();
  bool may_begin(const arrival&);
  void collect();
  void write();
  void wait_writable();
  void flush_soon();
  void account();
  void refuse(const error&, const request_header* = nullptr);
  void note_stranger();

  services& all_;
  std::shared_ptr<io_loop> loop_;
  boost::asio::ip::tcp::socket socket_;
  std::optional<admission::seat> seat_;
  listener& listener_;

  frame_splitter splitter_;
  std::optional<arrival> held_;
  fifo<std::shared_ptr<exchange>> outstanding_;
  out_queue out_;
  redirects sent_elsewhere_;

  memory_lease partial_, queued_;  ///< of the requests' and the responses' memory
  std::uint64_t outstanding_bytes_{0};
  bool others_than_produce_{false};  ///< something is outstanding that nothing may overlap

  std::array<char, 4> first_bytes_{};
  instant accepted_at_, read_at_, written_at_, frame_since_;
  std::optional<instant> paused_at_;  ///< since then we do not want to read
  bool first_frame_seen_{false};
  bool overdrawn_{false};  ///< we hold the overdraft of the requests' memory
  bool parked_{false};     ///< memory is awaited
  bool reading_{false}, writing_{false}, dirty_{false}, progressing_{false};
  bool draining_{false}, closed_{false};
  std::string_view ending_{"stopping"};  ///< why we drain
};

}  // namespace troupe::kafka
