#include "runtime/transport/batch.hpp"

#include <algorithm>

namespace troupe::transport_wire {
namespace {

constexpr std::uint16_t magic = 0x4c54;
constexpr std::uint8_t version = 1;

void put_header(std::byte* at, batch_kind kind, std::uint32_t pieces, std::uint64_t sequence, const receipt& told) {
  store_le(at, magic);
  store_le(at + 2, version);
  store_le(at + 3, static_cast<std::uint8_t>(kind));
  store_le(at + 4, pieces);
  store_le(at + 8, sequence);
  store_le(at + 16, told.acknowledged);
  store_le(at + 24, told.limits[0]);
  store_le(at + 32, told.limits[1]);
}

error broken(const char* why) {
  return {errc::malformed, std::string{"a batch from a peer: "} + why};
}

}  // namespace

result<batch> parse_batch(const shared_bytes& bytes) {
  if (bytes.size() < batch_header_bytes) return broken("shorter than its header");
  if (bytes.size() > batch_bytes_max) return broken("too long");
  const auto* at = bytes.data();
  if (load_le<std::uint16_t>(at) != magic) return broken("no batch at all");
  if (load_le<std::uint8_t>(at + 2) != version) return broken("another version of the format");
  batch out;
  const auto kind = load_le<std::uint8_t>(at + 3);
  if (kind < static_cast<std::uint8_t>(batch_kind::frames) || kind > static_cast<std::uint8_t>(batch_kind::farewell))
    return broken("an unknown kind");
  out.kind = static_cast<batch_kind>(kind);
  const auto count = load_le<std::uint32_t>(at + 4);
  if (out.kind != batch_kind::frames) {
    if (count != 0) return broken("pieces where none belong");
    out.body = bytes.slice(batch_header_bytes, bytes.size() - batch_header_bytes);
    return out;
  }
  out.sequence = load_le<std::uint64_t>(at + 8);
  out.told = {load_le<std::uint64_t>(at + 16), {load_le<std::uint64_t>(at + 24), load_le<std::uint64_t>(at + 32)}};

  std::size_t next = batch_header_bytes;
  // Before anything is reserved for them: so many must fit.
  if (count > (bytes.size() - next) / piece_header_bytes) return broken("more pieces than it has room for");
  out.pieces.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (bytes.size() - next < piece_header_bytes) return broken("cut off in a piece's header");
    const auto* header = at + next;
    next += piece_header_bytes;
    if (load_le<std::uint8_t>(header) >= urgencies) return broken("an unknown urgency");
    const auto size = load_le<std::uint32_t>(header + 12);
    const auto padded = piece_cost(size) - piece_header_bytes;
    if (padded > bytes.size() - next) return broken("cut off in a piece");
    piece one{static_cast<urgency>(load_le<std::uint8_t>(header)), load_le<std::uint32_t>(header + 4),
              load_le<std::uint32_t>(header + 8), bytes.slice(next, size)};
    if (one.offset > one.frame_bytes || size > one.frame_bytes - one.offset) return broken("a piece outside its frame");
    if (size == 0 && one.frame_bytes != 0) return broken("an empty piece");
    next += padded;
    out.pieces.push_back(std::move(one));
  }
  if (next != bytes.size()) return broken("bytes behind its last piece");
  return out;
}

batch_writer::batch_writer(std::size_t bytes_expected) {
  bytes_.reserve(std::min(bytes_expected, batch_bytes_max));
  bytes_.resize(batch_header_bytes);
}

void batch_writer::add(urgency kind, std::uint32_t frame_bytes, std::uint32_t offset, byte_view bytes) {
  std::array<std::byte, piece_header_bytes> header{};
  store_le(header.data(), static_cast<std::uint8_t>(kind));
  store_le(header.data() + 4, frame_bytes);
  store_le(header.data() + 8, offset);
  store_le(header.data() + 12, static_cast<std::uint32_t>(bytes.size()));
  const auto end = bytes_.size() + piece_cost(bytes.size());
  bytes_.insert(bytes_.end(), header.begin(), header.end());
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  bytes_.resize(end);
  ++pieces_;
}

shared_bytes batch_writer::finish(std::uint64_t sequence, const receipt& told) && {
  put_header(bytes_.data(), batch_kind::frames, pieces_, sequence, told);
  return shared_bytes::own(std::move(bytes_));
}

shared_bytes write_body(batch_kind kind, byte_view body) {
  std::vector<std::byte> bytes(batch_header_bytes);
  put_header(bytes.data(), kind, 0, 0, {});
  bytes.insert(bytes.end(), body.begin(), body.end());
  return shared_bytes::own(std::move(bytes));
}

}  // namespace troupe::transport_wire
