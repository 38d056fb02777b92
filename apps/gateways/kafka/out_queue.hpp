#pragma once

#include <cstdint>

#include "apps/gateways/kafka/fifo.hpp"
#include "runtime/store/log.hpp"

namespace troupe::kafka {

/// What waits to be written on a socket: pieces in memory and pieces in files of the store.
///
/// Memory goes out gathered, files by sendfile(2): record bytes are never copied in user space on their way from the
/// page cache to the socket. Short file pieces are read into memory instead: for them a system call of their own costs
/// more than the copy.
class out_queue {
public:
  static constexpr std::size_t sendfile_bytes_min = 16 * 1024;

  enum class progress : std::uint8_t {
    drained,  ///< all is handed to the kernel
    yielded,  ///< more could be written, but others want a turn
    blocked,  ///< the socket takes no more
    failed,   ///< the connection is broken, or a file could not be read
  };

  void push(store::slice piece) {
    if (piece.size == 0 && piece.bytes.empty()) return;
    if (!piece.file) piece.size = piece.bytes.size();
    (piece.file ? file_bytes_ : memory_bytes_) += piece.size;
    pieces_.push(std::move(piece));
  }
  void push(shared_bytes bytes) { push(store::slice{nullptr, 0, bytes.size(), std::move(bytes)}); }

  bool empty() const noexcept { return pieces_.empty(); }
  std::uint64_t bytes() const noexcept { return file_bytes_ + memory_bytes_; }
  std::uint64_t memory_bytes() const noexcept { return memory_bytes_; }

  /// Writes to a non-blocking socket, at most about `turn_bytes_max`; `written` counts up.
  progress write_to(int socket, std::uint64_t turn_bytes_max, std::uint64_t& written);
  void clear();

private:
  long send_memory(int socket);
  long send_file(int socket);
  void consumed(std::size_t bytes);
  bool load_short_pieces();

  fifo<store::slice> pieces_;  ///< the first one loses what is written of it
  std::uint64_t file_bytes_{0}, memory_bytes_{0};
};

}  // namespace troupe::kafka
