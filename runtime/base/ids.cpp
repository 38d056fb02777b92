#include "runtime/base/ids.hpp"

#include "runtime/base/random.hpp"

namespace troupe {

namespace {
constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
}

uuid uuid::random() {
  uuid id;
  do {
    for (int half = 0; half < 2; ++half) {
      auto word = random_seed();
      for (int i = 0; i < 8; ++i) id.bytes[half * 8 + i] = static_cast<std::uint8_t>(word >> (8 * i));
    }
    id.bytes[6] = static_cast<std::uint8_t>((id.bytes[6] & 0x0f) | 0x40);  // RFC 9562, version 4
    id.bytes[8] = static_cast<std::uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  } while (id.text().front() == '-');  // a leading dash reads as an option on command lines
  return id;
}

std::string uuid::text() const {
  std::string out;
  out.reserve(22);
  std::uint32_t bits = 0;
  int count = 0;
  for (auto byte : bytes) {
    bits = bits << 8 | byte;
    count += 8;
    while (count >= 6) out += alphabet[bits >> (count -= 6) & 63];
  }
  out += alphabet[bits << (6 - count) & 63];
  return out;
}

std::optional<uuid> uuid::parse(std::string_view text) {
  if (text.size() != 22) return std::nullopt;
  uuid id;
  std::uint32_t bits = 0;
  int count = 0;
  std::size_t at = 0;
  for (char c : text) {
    auto found = std::string_view{alphabet, 64}.find(c);
    if (found == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(found);
    count += 6;
    if (count >= 8 && at < id.bytes.size()) id.bytes[at++] = static_cast<std::uint8_t>(bits >> (count -= 8));
  }
  return id;
}

}  // namespace troupe
