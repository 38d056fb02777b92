// The frame splitter against the simplest one there is: all bytes in one piece, cut by their size fields. The first
// byte seeds how the bytes arrive.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "apps/gateways/kafka/codec/frames.hpp"
#include "runtime/base/check.hpp"
#include "runtime/base/random.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  if (size < 1) return 0;
  random_source chance{data[0]};
  const byte_view stream{reinterpret_cast<const std::byte*>(data) + 1, size - 1};
  constexpr std::size_t frame_bytes_max = 1 << 20, size_field = 4;
  kafka::frame_splitter splitter{{.frame_bytes_max = frame_bytes_max}};

  std::vector<owned_bytes> got;
  bool refused = false;
  for (std::size_t at = 0; at < stream.size() && !refused;) {
    const auto space = splitter.prepare();
    TROUPE_CHECK(!space.empty() && space.size() <= std::max<std::size_t>(64 << 10, 2 * stream.size()));
    const auto count = std::min({space.size(), stream.size() - at, std::size_t{chance.below(300)}});
    if (count > 0) std::memcpy(space.data(), stream.data() + at, count);
    splitter.commit(count);
    at += count;
    for (;;) {
      auto next = splitter.next();
      refused = !next.ok();
      if (refused || !*next) break;
      got.push_back(std::move(**next));
    }
    if (chance.chance(0.05)) splitter.rest();
  }

  std::size_t at = 0, index = 0;
  for (; stream.size() - at >= size_field; ++index) {
    const auto field = load_be<std::uint32_t>(stream.data() + at);
    if (field > frame_bytes_max) {
      TROUPE_CHECK(refused);
      break;
    }
    if (field > stream.size() - at - size_field) break;
    TROUPE_CHECK(index < got.size());
    TROUPE_CHECK(std::ranges::equal(got[index].bytes, stream.subspan(at + size_field, field)));
    at += size_field + field;
  }
  TROUPE_CHECK(index == got.size());
  return 0;
}
