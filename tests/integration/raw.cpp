#include "tests/integration/raw.hpp"

#include <arpa/inet.h>
#include <lz4frame.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include "runtime/base/bytes.hpp"
#include "runtime/base/crc32c.hpp"

namespace troupe::test {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string reader::take(std::size_t size) {
  if (size > left()) throw std::runtime_error{"an answer ends too early"};
  at_ += size;
  return bytes_.substr(at_ - size, size);
}
std::int64_t reader::number(int width) {
  const auto raw = take(static_cast<std::size_t>(width));
  std::int64_t v = raw[0] < 0 ? -1 : 0;
  for (char c : raw) v = static_cast<std::int64_t>(static_cast<std::uint64_t>(v) << 8 | static_cast<unsigned char>(c));
  return v;
}

std::string framed(std::string_view bytes) {
  return writer{}.blob(bytes).bytes();
}

std::string request(int api, int version, std::string_view body, std::int32_t correlation) {
  return framed(writer{}.i16(api).i16(version).i32(correlation).str("raw").raw(body).bytes());
}

namespace {

void varint(std::string& to, std::int64_t value) {
  auto zigzag = static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
  for (; zigzag >= 0x80; zigzag >>= 7) to += static_cast<char>(zigzag | 0x80);
  to += static_cast<char>(zigzag);
}

}  // namespace

std::string record_batch(const std::vector<std::string>& values, const batch_options& how) {
  std::string records;
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::string record(1, '\0');                   // attributes
    varint(record, 0);                             // timestamp delta
    varint(record, static_cast<std::int64_t>(i));  // offset delta
    varint(record, -1);                            // no key
    varint(record, static_cast<std::int64_t>(values[i].size()));
    record += values[i];
    varint(record, 0);  // headers
    varint(records, static_cast<std::int64_t>(record.size()));
    records += record;
  }
  if (how.lz4) {
    std::string frame(LZ4F_compressFrameBound(records.size(), nullptr), '\0');
    frame.resize(LZ4F_compressFrame(frame.data(), frame.size(), records.data(), records.size(), nullptr));
    records = std::move(frame);
  }
  constexpr std::int64_t time = 1'600'000'000'000;
  const auto count = static_cast<std::int64_t>(values.size());
  const auto summed = writer{}
                          .i16(how.lz4 ? 3 : 0)
                          .i32(count - 1)
                          .i64(time)
                          .i64(time)
                          .i64(how.producer)
                          .i16(how.epoch)
                          .i32(how.sequence)
                          .i32(count)
                          .raw(records)
                          .bytes();
  const auto crc = crc32c(as_bytes(summed)) ^ (how.right_crc ? 0u : 1u);
  return writer{}.i64(0).i32(static_cast<std::int64_t>(summed.size()) + 9).i32(-1).i8(2).i32(crc).raw(summed).bytes();
}

std::string produce_body(std::string_view topic, int partition, std::string_view records, int acks) {
  return writer{}.null_str().i16(acks).i32(10000).i32(1).str(topic).i32(1).i32(partition).blob(records).bytes();
}

std::string fetch_body(std::string_view topic, int partition, std::int64_t offset, std::int32_t wait_ms) {
  return writer{}
      .i32(-1)
      .i32(wait_ms)
      .i32(1)
      .i32(1 << 20)
      .i8(0)  // replica, wait, min bytes, max bytes, isolation
      .i32(1)
      .str(topic)
      .i32(1)
      .i32(partition)
      .i64(offset)
      .i32(1 << 20)
      .bytes();
}

// -- connections ------------------------------------------------------------------------------------------

connection::connection(std::uint16_t port) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(port);
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0)
    throw std::runtime_error{"the node does not accept connections"};
}

connection::~connection() {
  if (socket_ >= 0) ::close(socket_);
}

bool connection::send(std::string_view bytes, milliseconds limit) {
  while (!bytes.empty()) {
    pollfd ready{socket_, POLLOUT, 0};
    if (::poll(&ready, 1, static_cast<int>(limit.count())) <= 0) return false;
    const auto n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) return false;
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

bool connection::exactly(char* to, std::size_t size, steady_clock::time_point until) {
  while (size > 0) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    pollfd ready{socket_, POLLIN, 0};
    if (left.count() < 0 || ::poll(&ready, 1, static_cast<int>(left.count())) <= 0) return false;
    const auto n = ::recv(socket_, to, size, 0);
    if (n <= 0) return false;
    to += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

std::optional<std::string> connection::receive(milliseconds limit) {
  const auto until = steady_clock::now() + limit;
  std::byte length[4];
  if (!exactly(reinterpret_cast<char*>(length), sizeof length, until)) return std::nullopt;
  std::string frame(load_be<std::uint32_t>(length), '\0');
  if (!exactly(frame.data(), frame.size(), until)) return std::nullopt;
  return frame;
}

std::optional<reader> connection::ask(int api, int version, std::string_view body) {
  constexpr std::int32_t correlation = 4711;
  if (!send(request(api, version, body, correlation))) return std::nullopt;
  auto frame = receive();
  if (!frame) return std::nullopt;
  reader answer{std::move(*frame)};
  if (answer.i32() != correlation) throw std::runtime_error{"an answer to something else"};
  return answer;
}

bool connection::closed_by_peer(milliseconds limit) {
  const auto until = steady_clock::now() + limit;
  char buffer[65536];
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    pollfd ready{socket_, POLLIN, 0};
    if (left.count() < 0 || ::poll(&ready, 1, static_cast<int>(left.count())) <= 0) return false;
    if (::recv(socket_, buffer, sizeof buffer, 0) <= 0) return true;
  }
}

bool connection::drain() {
  char buffer[65536];
  for (;;) {
    const auto n = ::recv(socket_, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
    if (n < 0) return true;
  }
}

}  // namespace troupe::test
