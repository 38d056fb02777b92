// What a node says, as a peer reads it. What is understood must come back the same when written and read again.
#include <algorithm>

#include "actors/node/node_codec.hpp"
#include "runtime/base/check.hpp"
#include "tests/fuzz/frame.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  const auto letter = decode(fuzz::frame_of(data, size));
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
