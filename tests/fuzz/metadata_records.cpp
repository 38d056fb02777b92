// An entry of the quorum's log, as every node reads it, also from a snapshot that another sent. What is understood must
// come back the same when written and read again.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "actors/controller/image.hpp"
#include "runtime/base/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  std::vector<std::byte> bytes(size / 8 * 8);
  if (!bytes.empty()) std::memcpy(bytes.data(), data, bytes.size());
  const auto records = decode_all_metadata_records(bytes);
  if (!records.ok()) {
    TROUPE_CHECK(records.code() == errc::malformed && !records.error().text.empty());
    return 0;
  }
  const auto written = encode_all(*records);
  const auto again = decode_all_metadata_records(written);
  TROUPE_CHECK(again.ok() && again->size() == records->size());
  TROUPE_CHECK(encode_all(*again) == written);
  return 0;
}
