#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "runtime/base/bytes.hpp"
#include "runtime/base/result.hpp"

namespace troupe {

/// How a batch's records are packed; the numbers are the protocol's.
enum class compression : std::uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };

std::string_view to_string(compression) noexcept;

/// Unpacks the records of batches, a window at a time: what is looked at never lies in memory as a whole (raw snappy,
/// which has no window, excepted). Contexts are kept for the next batch; large ones are given back.
/// Not thread-safe: `of_this_thread` is how actors and readers get theirs.
class decompressor {
public:
  /// Counted while streaming, so that a few bytes cannot become gigabytes: replication.md 13 asks for 100 × the
  /// compressed size, at most 64 MiB. Small batches of one repeated value pack a thousandfold with any codec, and
  /// producers bound their batches before packing, so the first 16 MiB are allowed whatever the ratio: memory does
  /// not depend on it, and time is that of 16 MiB.
  static constexpr std::uint64_t output_max = 64ull << 20, output_always = 16ull << 20, ratio_max = 100;
  static std::uint64_t limit(std::size_t compressed) noexcept;

  decompressor();
  ~decompressor();
  decompressor(const decompressor&) = delete;
  decompressor& operator=(const decompressor&) = delete;
  /// One per thread, made at first use.
  static decompressor& of_this_thread();

  /// Begins with `packed`, which must stay valid. `codec` is not `none`. Error invalid_record.
  result<void> open(compression codec, byte_view packed);
  /// The next piece, valid until the next call; empty at the end. The `headroom` bytes before it may be written over:
  /// there a reader puts what it had left of the piece before, and reads on in one go.
  /// Errors, all of them invalid_record: damaged or cut input, more than `limit`.
  result<byte_span> next();
  static constexpr std::size_t headroom = 32;
  /// Gives large contexts back. Call it after the last piece.
  void close() noexcept;

private:
  class window;
  class stream;
  class gzip_stream;
  class lz4_stream;
  class zstd_stream;
  class snappy_stream;

  template <class Stream>
  result<void> begin(std::unique_ptr<Stream>&, byte_view packed);

  std::unique_ptr<gzip_stream> gzip_;
  std::unique_ptr<lz4_stream> lz4_;
  std::unique_ptr<zstd_stream> zstd_;
  std::unique_ptr<snappy_stream> snappy_;
  stream* current_{nullptr};
  std::uint64_t left_{0};
};

}  // namespace troupe
