#include "apps/gateways/kafka/out_queue.hpp"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace troupe::kafka {
namespace {

constexpr std::size_t gather_max = 64;  // pieces per system call

}  // namespace

out_queue::progress out_queue::write_to(int socket, std::uint64_t turn_bytes_max, std::uint64_t& written) {
  std::uint64_t this_turn = 0;
  while (!pieces_.empty()) {
    if (this_turn >= turn_bytes_max) return progress::yielded;
    if (!load_short_pieces()) return progress::failed;
    const auto sent = pieces_.front().file ? send_file(socket) : send_memory(socket);
    if (sent > 0) {
      consumed(static_cast<std::size_t>(sent));
      written += static_cast<std::uint64_t>(sent);
      this_turn += static_cast<std::uint64_t>(sent);
      continue;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return progress::blocked;
    return progress::failed;  // sent == 0: the file is shorter than the slice says
  }
  return progress::drained;
}

void out_queue::clear() {
  pieces_.clear();
  file_bytes_ = memory_bytes_ = 0;
}

/// Replaces short file pieces at the front by their bytes, so that they join what is gathered.
bool out_queue::load_short_pieces() {
  for (std::size_t i = 0; i < pieces_.size() && i < gather_max; ++i) {
    auto& piece = pieces_[i];
    if (!piece.file) continue;
    if (piece.size >= sendfile_bytes_min) break;
    auto bytes = piece.load();
    if (!bytes.ok()) return false;
    file_bytes_ -= piece.size;
    memory_bytes_ += piece.size;
    piece = store::slice{nullptr, 0, bytes->size(), std::move(*bytes)};
  }
  return true;
}

long out_queue::send_memory(int socket) {
  std::array<iovec, gather_max> parts;
  std::size_t count = 0;
  while (count < parts.size() && count < pieces_.size() && !pieces_[count].file) {
    const auto view = pieces_[count].bytes.view();
    parts[count++] = {const_cast<std::byte*>(view.data()), view.size()};
  }
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = count;
  // With more to come at once, the kernel waits for it instead of sending a short packet.
  const int more = count < pieces_.size() ? MSG_MORE : 0;
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT | more);
}

long out_queue::send_file(int socket) {
  const auto& piece = pieces_.front();
  auto position = static_cast<off_t>(piece.position);
  return ::sendfile(socket, *piece.file, &position, piece.size);
}

void out_queue::consumed(std::size_t bytes) {
  while (bytes > 0) {
    auto& piece = pieces_.front();
    const auto part = std::min(bytes, piece.size);
    (piece.file ? file_bytes_ : memory_bytes_) -= part;
    bytes -= part;
    if (part == piece.size) {
      pieces_.pop();
      continue;
    }
    piece.size -= part;
    piece.position += part;
    if (!piece.file) piece.bytes = piece.bytes.slice(part, piece.size);
  }
}

}  // namespace troupe::kafka
