#pragma once

#include <cstdint>

#include "runtime/base/bytes.hpp"

namespace troupe {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of record batches and of our blocks.
/// `seed` is the result for the bytes before, so that crc32c(b, crc32c(a)) == crc32c(a + b).
/// Uses SSE4.2 where the processor has it (three streams at once), else tables.
std::uint32_t crc32c(byte_view bytes, std::uint32_t seed = 0) noexcept;

/// The portable form, for processors without the instruction and for the test that compares both.
std::uint32_t crc32c_portable(byte_view bytes, std::uint32_t seed = 0) noexcept;

}  // namespace troupe
