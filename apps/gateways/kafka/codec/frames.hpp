#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "runtime/base/bytes.hpp"
#include "runtime/base/result.hpp"

namespace troupe::kafka {

/// Cuts a connection's byte stream into frames: four bytes of size (big-endian), then so many bytes.
///
/// The socket reads straight into `prepare()`'s space. A frame is handed out where it came to lie, so nothing is copied
/// but the part of a frame that was read before its buffer proved too small:
///
///   buffer  | frame | frame | fra............ |       frames share a buffer; the last one goes on in it if it fits,
///   buffer                  | frame.......... |       else in a larger one
///
/// What the size field says is believed only as far as bytes arrive: the first buffer for a frame has 64 KiB, or as
/// much as the largest frame that this connection has sent already; after that it doubles.
///
/// Frames keep their buffer alive; their bytes are the receiver's to write.
class frame_splitter {
public:
  struct limits {
    std::size_t frame_bytes_max{100 << 20};
  };
  frame_splitter() : frame_splitter{limits{}} {}
  explicit frame_splitter(limits bounds) : limits_{bounds} {}

  /// Where the next bytes go; never empty. Valid until the next call of any other member. Take all frames with `next`
  /// first.
  byte_span prepare();
  /// `count` bytes were written to the start of what `prepare` returned.
  void commit(std::size_t count);

  /// The next whole frame without its size; empty when more bytes are needed. After an error the connection has to be
  /// closed: there is no way to find the next frame. Errors: message_too_large, malformed.
  result<std::optional<owned_bytes>> next();

  /// Gives the buffer back while nothing of a frame has arrived: an idle connection then costs no memory.
  void rest();
  /// Bytes received of a frame that is not complete.
  std::size_t pending() const noexcept { return end_ - begin_; }

private:
  static constexpr std::size_t size_field = 4;
  static constexpr std::size_t read_bytes_min = 4 << 10;
  static constexpr std::size_t read_bytes_max = 64 << 10;
  static constexpr std::size_t guess_bytes_max = 4 << 20;

  void move_to_buffer_of(std::size_t capacity);

  limits limits_;
  std::shared_ptr<std::byte[]> buffer_;
  std::size_t capacity_{0};
  std::size_t begin_{0};                    ///< first byte not handed out
  std::size_t end_{0};                      ///< first byte not filled
  std::size_t read_bytes_{read_bytes_min};  ///< grows while reads fill what they are given
  std::size_t largest_{0};                  ///< bytes of the largest frame so far, size field included
  std::size_t latest_{0};                   ///< of the latest frame: the best guess for the next one
};

}  // namespace troupe::kafka
