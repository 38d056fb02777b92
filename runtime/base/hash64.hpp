#pragma once

#include <cstdint>

#include "runtime/base/bytes.hpp"

namespace troupe {

/// A hash of bytes that is the same on every machine and in every version: shards and rings are built on it, so its
/// values are a format (docs/formats.md). Spreads evenly; no defence against someone who looks for collisions.
///
/// The length goes in first, then the bytes as little-endian words of 8, the last one filled up with zeros; each step
/// is a bijection of the state (mix64), so that two inputs of one length differ in the state until a later word makes
/// up for it.
std::uint64_t hash64(byte_view bytes, std::uint64_t seed = 0) noexcept;
inline std::uint64_t hash64(std::string_view text, std::uint64_t seed = 0) noexcept {
  return hash64(as_bytes(text), seed);
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): every bit of the input moves half of the output's.
constexpr std::uint64_t mix64(std::uint64_t z) noexcept {
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

}  // namespace troupe
