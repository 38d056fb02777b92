// What a node says, as a peer reads it. What is understood must come back the same when written and read again.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "actors/node/node_codec.hpp"
#include "runtime/base/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  // In memory of its own and of exactly this size; cut to words, as no frame has another size.
  std::vector<std::byte> bytes(size / 8 * 8);
  if (!bytes.empty()) std::memcpy(bytes.data(), data, bytes.size());
  // Most mutations change the size; the head that has to say it would hide all else.
  if (bytes.size() >= 16) {
    store_le<std::uint32_t>(bytes.data(), 0);
    store_le(bytes.data() + 4, static_cast<std::uint32_t>(bytes.size() / 8 - 1));
  }
  const auto letter = decode(shared_bytes::own(std::move(bytes)));
  if (!letter.ok()) {
    TROUPE_CHECK(letter.code() == errc::malformed && !letter.error().text.empty());
    return 0;
  }
  const auto written = encode(*letter);
  const auto again = decode(written);
  TROUPE_CHECK(again.ok());
  TROUPE_CHECK(again->body.index() == letter->body.index());
  TROUPE_CHECK(std::ranges::equal(encode(*again).view(), written.view()));
  return 0;
}
