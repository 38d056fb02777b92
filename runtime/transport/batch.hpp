#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/result.hpp"

/// The wire form of what one link sends another; integers are little-endian.
///
///      0  u16 magic "TL"    2  u8 version    3  u8 kind    4  u32 pieces
///      8  u64 sequence           of this batch; 1, 2, … on each link
///     16  u64 acknowledged       the last batch that the sender has taken
///     24  u64 limit of control   bytes that the receiver of this batch may have sent by then, since the link was made
///     32  u64 limit of bulk
///     40  pieces: u8 urgency, 3 zeros, u32 bytes of the whole frame, u32 offset in it, u32 bytes of this piece;
///         the bytes, and zeros up to a multiple of 8
///
/// Every piece begins at a multiple of 8, so a frame that is whole lies where Cap'n Proto can read it in place. The
/// other kinds have a body in place of pieces, and zeros for the numbers.
namespace troupe::transport_wire {

enum class urgency : std::uint8_t { control, bulk };
inline constexpr std::size_t urgencies = 2;
/// One value for each urgency.
template <class T>
using per_urgency = std::array<T, urgencies>;

enum class batch_kind : std::uint8_t { frames = 1, hello, welcome, farewell };

inline constexpr std::size_t batch_header_bytes = 40;
inline constexpr std::size_t piece_header_bytes = 16;
/// What links fill a batch up to: short, so that control gets in between.
inline constexpr std::size_t batch_bytes_usual = 64 << 10;
/// What is taken from a peer.
inline constexpr std::size_t batch_bytes_max = 128 << 10;

/// What a piece takes on the wire, and of the credit.
constexpr std::size_t piece_cost(std::size_t bytes) {
  return piece_header_bytes + (bytes + 7) / 8 * 8;
}

/// What a link tells with every batch about the other direction.
struct receipt {
  std::uint64_t acknowledged{0};
  per_urgency<std::uint64_t> limits{};
  friend bool operator==(const receipt&, const receipt&) = default;
};

struct piece {
  urgency kind{urgency::control};
  std::uint32_t frame_bytes{0};
  std::uint32_t offset{0};
  shared_bytes bytes;
};

struct batch {
  batch_kind kind{batch_kind::frames};
  std::uint64_t sequence{0};
  receipt told;
  std::vector<piece> pieces;
  shared_bytes body;  ///< of the other kinds
};

/// Error malformed: says which rule of the format is broken. The pieces share the memory of `bytes`.
result<batch> parse_batch(const shared_bytes& bytes);

/// Puts a batch of frames together.
class batch_writer {
public:
  explicit batch_writer(std::size_t bytes_expected);
  void add(urgency, std::uint32_t frame_bytes, std::uint32_t offset, byte_view bytes);
  std::size_t size() const noexcept { return bytes_.size(); }
  shared_bytes finish(std::uint64_t sequence, const receipt&) &&;

private:
  std::vector<std::byte> bytes_;
  std::uint32_t pieces_{0};
};

shared_bytes write_body(batch_kind, byte_view body);

}  // namespace troupe::transport_wire
