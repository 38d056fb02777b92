#include "runtime/base/random.hpp"

#include <sys/random.h>

#include <bit>

#include "runtime/base/check.hpp"

namespace troupe {

std::uint64_t random_seed() {
  std::uint64_t word = 0;
  TROUPE_CHECK(getrandom(&word, sizeof word, 0) == sizeof word);
  return word;
}

__extension__ using wide = unsigned __int128;

random_source::random_source(std::uint64_t seed) noexcept {
  for (auto& word : state_) {  // splitmix64 spreads a small seed over the whole state
    seed += 0x9e3779b97f4a7c15;
    auto z = seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    word = z ^ z >> 31;
  }
}

std::uint64_t random_source::operator()() noexcept {
  const auto out = std::rotl(state_[1] * 5, 7) * 9;
  const auto t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = std::rotl(state_[3], 45);
  return out;
}

std::uint64_t random_source::below(std::uint64_t bound) noexcept {
  return static_cast<std::uint64_t>(static_cast<wide>((*this)()) * bound >> 64);
}

bool random_source::chance(double p) noexcept {
  return static_cast<double>((*this)() >> 11) * 0x1p-53 < p;
}

}  // namespace troupe
