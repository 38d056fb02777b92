#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/base/bytes.hpp"

namespace troupe::fuzz {

/// The input as a frame, in memory of its own and of exactly its size, cut to words, as no frame has another size. Most
/// mutations change the size; the head that has to say it would hide all else, so it is set right.
inline shared_bytes frame_of(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> bytes(size / 8 * 8);
  if (!bytes.empty()) std::memcpy(bytes.data(), data, bytes.size());
  if (bytes.size() >= 16) {
    store_le<std::uint32_t>(bytes.data(), 0);
    store_le(bytes.data() + 4, static_cast<std::uint32_t>(bytes.size() / 8 - 1));
  }
  return shared_bytes::own(std::move(bytes));
}

}  // namespace troupe::fuzz
