// Three interleaved streams hide the latency of the crc32 instruction (three cycles, one a cycle); the
// partial results are joined by tables that advance a CRC over a fixed number of zero bytes. See Gopal et al.,
// "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel 2011.
#include "runtime/base/crc32c.hpp"

#include <array>

namespace troupe {

namespace {

constexpr std::uint32_t polynomial = 0x82f63b78;  // reflected

constexpr std::array<std::array<std::uint32_t, 256>, 8> byte_tables() {
  std::array<std::array<std::uint32_t, 256>, 8> t{};
  for (std::uint32_t n = 0; n < 256; ++n) {
    std::uint32_t c = n;
    for (int k = 0; k < 8; ++k) c = c & 1 ? c >> 1 ^ polynomial : c >> 1;
    t[0][n] = c;
  }
  for (std::uint32_t n = 0; n < 256; ++n)
    for (std::size_t k = 1; k < 8; ++k) t[k][n] = t[k - 1][n] >> 8 ^ t[0][t[k - 1][n] & 255];
  return t;
}
constexpr auto tables = byte_tables();

#if defined(__x86_64__)

/// Advances a CRC over a fixed number of zero bytes: four lookups, one per byte of the CRC.
class zeros {
public:
  explicit zeros(std::size_t count) {
    // The effect of one zero byte on each single bit, then squared as often as needed.
    std::array<std::uint32_t, 32> step{}, total{};
    for (int bit = 0; bit < 32; ++bit) {
      const std::uint32_t c = 1u << bit;
      step[bit] = c >> 8 ^ tables[0][c & 255];
      total[bit] = c;
    }
    for (; count != 0; count >>= 1) {
      if (count & 1)
        for (auto& column : total) column = apply(step, column);
      const auto once = step;
      for (auto& column : step) column = apply(once, column);
    }
    for (std::uint32_t byte = 0; byte < 4; ++byte)
      for (std::uint32_t n = 0; n < 256; ++n) table_[byte][n] = apply(total, n << (8 * byte));
  }
  std::uint32_t operator()(std::uint32_t crc) const noexcept {
    return table_[0][crc & 255] ^ table_[1][crc >> 8 & 255] ^ table_[2][crc >> 16 & 255] ^ table_[3][crc >> 24];
  }

private:
  static std::uint32_t apply(const std::array<std::uint32_t, 32>& columns, std::uint32_t vector) {
    std::uint32_t sum = 0;
    for (int bit = 0; vector != 0; ++bit, vector >>= 1)
      if (vector & 1) sum ^= columns[bit];
    return sum;
  }
  std::array<std::array<std::uint32_t, 256>, 4> table_{};
};

constexpr std::size_t long_stride = 4096, short_stride = 256;

__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(const std::byte* p, std::size_t n, std::uint32_t seed) {
  static const zeros over_long{long_stride}, over_short{short_stride};
  std::uint64_t crc = ~seed;
  for (; n != 0 && reinterpret_cast<std::uintptr_t>(p) % 8 != 0; ++p, --n)
    crc = __builtin_ia32_crc32qi(static_cast<std::uint32_t>(crc), static_cast<unsigned char>(*p));
  auto three_streams = [&](std::size_t stride, const zeros& over) __attribute__((target("sse4.2"))) {
    for (; n >= 3 * stride; p += 3 * stride, n -= 3 * stride) {
      std::uint64_t second = 0, third = 0;
      for (auto q = p, end = p + stride; q != end; q += 8) {
        crc = __builtin_ia32_crc32di(crc, load_le<std::uint64_t>(q));
        second = __builtin_ia32_crc32di(second, load_le<std::uint64_t>(q + stride));
        third = __builtin_ia32_crc32di(third, load_le<std::uint64_t>(q + 2 * stride));
      }
      crc = over(static_cast<std::uint32_t>(crc)) ^ second;
      crc = over(static_cast<std::uint32_t>(crc)) ^ third;
    }
  };
  three_streams(long_stride, over_long);
  three_streams(short_stride, over_short);
  for (; n >= 8; p += 8, n -= 8) crc = __builtin_ia32_crc32di(crc, load_le<std::uint64_t>(p));
  for (; n != 0; ++p, --n)
    crc = __builtin_ia32_crc32qi(static_cast<std::uint32_t>(crc), static_cast<unsigned char>(*p));
  return ~static_cast<std::uint32_t>(crc);
}

#endif

}  // namespace

std::uint32_t crc32c(byte_view bytes, std::uint32_t seed) noexcept {
#if defined(__x86_64__)
  static const bool fast = __builtin_cpu_supports("sse4.2");
  if (fast) return crc32c_sse42(bytes.data(), bytes.size(), seed);
#endif
  return crc32c_portable(bytes, seed);
}

std::uint32_t crc32c_portable(byte_view bytes, std::uint32_t seed) noexcept {
  auto p = bytes.data();
  auto n = bytes.size();
  std::uint32_t crc = ~seed;
  for (; n >= 8; p += 8, n -= 8) {
    const auto word = load_le<std::uint64_t>(p) ^ crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= tables[7 - k][word >> (8 * k) & 255];
  }
  for (; n != 0; ++p, --n) crc = crc >> 8 ^ tables[0][(crc ^ static_cast<std::uint32_t>(*p)) & 255];
  return ~crc;
}

}  // namespace troupe
