#pragma once

#include <cstdint>

namespace troupe {

/// 64 bits from the operating system's entropy source.
std::uint64_t random_seed();

/// xoshiro256** (Blackman, Vigna 2018): small, fast, and the same sequence for the same seed everywhere,
/// so that a test or a storm replays. Not for secrets. Not thread-safe.
class random_source {
public:
  using result_type = std::uint64_t;
  explicit random_source(std::uint64_t seed) noexcept;
  std::uint64_t operator()() noexcept;
  /// Uniform in [0, bound); `bound` > 0.
  std::uint64_t below(std::uint64_t bound) noexcept;
  /// True with probability `p` in [0, 1].
  bool chance(double p) noexcept;
  static constexpr std::uint64_t min() { return 0; }
  static constexpr std::uint64_t max() { return ~std::uint64_t{0}; }

private:
  std::uint64_t state_[4];
};

}  // namespace troupe
