// What a peer sends over a link: batches, introductions, farewells. The first byte chooses how: bit 0 puts the header
// right first, so that the fuzzer gets past it; bit 1 cuts the rest into several batches of one link.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "runtime/transport/introduction.hpp"
#include "runtime/transport/link.hpp"

namespace {

using namespace troupe;
using namespace transport_wire;

void require(bool holds) {
  if (!holds) std::abort();
}

void repair(std::vector<std::byte>& bytes, std::uint64_t sequence) {
  if (bytes.size() < batch_header_bytes) bytes.resize(batch_header_bytes);
  store_le(bytes.data(), std::uint16_t{0x4c54});
  store_le(bytes.data() + 2, std::uint8_t{1});
  store_le(bytes.data() + 3, static_cast<std::uint8_t>(static_cast<unsigned>(bytes[3]) % 4 + 1));
  store_le(bytes.data() + 8, sequence);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto how = data[0];
  byte_view rest{reinterpret_cast<const std::byte*>(data) + 1, size - 1};
  link_limits limits;
  limits.frame_bytes_max = 10'000;
  limits.window_bytes = {30'000, 30'000};
  link_receiver receiver{limits};
  link_sender sender{limits};
  sender.opened({30'000, 30'000}, 10'000, instant{});

  for (std::uint64_t sequence = 1; !rest.empty(); ++sequence) {
    auto bytes = rest.size();
    if ((how & 2) != 0 && rest.size() > 2) {
      bytes = std::min<std::size_t>(load_le<std::uint16_t>(rest.data()), rest.size() - 2);
      rest = rest.subspan(2);
    }
    std::vector<std::byte> one{rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(bytes)};
    rest = rest.subspan(bytes);
    if ((how & 1) != 0) repair(one, sequence);
    const auto parsed = parse_batch(shared_bytes::own(std::move(one)));
    if (!parsed) continue;
    if (parsed->kind == batch_kind::farewell) {
      if (auto said = parse_farewell(parsed->body))
        require(*said == *parse_farewell(parse_batch(write_farewell(*said))->body));
      continue;
    }
    if (parsed->kind != batch_kind::frames) {
      if (auto said = parse_introduction(parsed->body))
        require(*said == *parse_introduction(parse_batch(write_introduction(parsed->kind, *said))->body));
      continue;
    }
    (void)sender.push(urgency::bulk, shared_bytes::copy_of(parsed->body), instant{});
    (void)sender.next_batch({}, instant{});
    (void)sender.acknowledged(parsed->told, instant{});
    for (const auto u : {urgency::control, urgency::bulk}) require(sender.in_flight_bytes(u) <= 30'000);
    const auto frames = receiver.taken(*parsed);
    if (!frames) return 0;
    for (const auto& f : *frames) require(f.frame.size() <= limits.frame_bytes_max);
    (void)receiver.receipt();
  }
  return 0;
}
