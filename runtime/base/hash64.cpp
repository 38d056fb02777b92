#include "runtime/base/hash64.hpp"

namespace troupe {

std::uint64_t hash64(byte_view bytes, std::uint64_t seed) noexcept {
  constexpr std::uint64_t step = 0x9e3779b97f4a7c15;  // keeps a run of zeros from leaving the state alone
  auto state = mix64(seed ^ bytes.size() * step);
  while (bytes.size() >= 8) {
    state = mix64((state ^ load_le<std::uint64_t>(bytes.data())) + step);
    bytes = bytes.subspan(8);
  }
  if (!bytes.empty()) {
    std::uint64_t last = 0;
    std::memcpy(&last, bytes.data(), bytes.size());
    state = mix64((state ^ last) + step);
  }
  return state;
}

}  // namespace troupe
