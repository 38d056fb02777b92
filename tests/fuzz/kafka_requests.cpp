// Every request and response decoder, driven by the tables: an even first byte says that a request's frame follows, an
// odd one that its second and third byte choose an API and version of whose response the rest is a frame. What is
// understood must be printable, and come back the same when written and read again.
#include <cstdint>
#include <cstring>
#include <vector>

#include "apps/gateways/kafka/codec/codec.hpp"
#include "apps/gateways/kafka/codec/messages.hpp"
#include "runtime/base/check.hpp"

namespace troupe::kafka {
namespace {

constexpr std::size_t size_field = 4;

template <class Request>
void request(const request_frame& frame) {
  if (info_of<Request>().key != frame.header.key) return;
  const auto version = frame.header.version;
  const auto got = decode_request<Request>(frame.body, version);
  if (!got.ok()) return;
  const auto text = print(*got, version);
  const auto written = encode_request(*got, version, frame.header.correlation_id, frame.header.client_id);
  std::vector<std::byte> again(written.view().begin() + size_field, written.view().end());
  const auto head = decode_header(again);
  TROUPE_CHECK(head.ok());
  const auto reread = decode_request<Request>(head->body, version);
  TROUPE_CHECK(reread.ok());
  TROUPE_CHECK(print(*reread, version) == text);
}

template <class Response>
void response(byte_view frame, std::int16_t version) {
  const auto got = decode_response<Response>(frame, version);
  if (!got.ok()) return;
  const auto text = print(got->response, version);
  std::vector<std::byte> again;
  for (auto& piece : encode_response(got->response, version, got->correlation_id))
    again.insert(again.end(), piece.bytes.view().begin(), piece.bytes.view().end());
  const auto reread = decode_response<Response>(byte_view{again}.subspan(size_field), version);
  TROUPE_CHECK(reread.ok());
  TROUPE_CHECK(print(reread->response, version) == text);
}

template <class... Requests>
void each_request(message_list<Requests...>, const request_frame& frame) {
  (request<Requests>(frame), ...);
}
template <class... Responses>
void chosen_response(message_list<Responses...>, std::size_t choice, byte_view frame, std::int16_t version) {
  std::size_t index = 0;
  ((index++ == choice % sizeof...(Responses) ? response<Responses>(frame, version) : void()), ...);
}

}  // namespace
}  // namespace troupe::kafka

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  using namespace troupe::kafka;
  if (size < 3) return 0;
  // In memory of its own and of exactly this size: requests are read from writable frames.
  std::vector<std::byte> bytes(size - 1);
  std::memcpy(bytes.data(), data + 1, bytes.size());
  if (data[0] % 2 == 0) {
    const auto frame = decode_header(bytes);
    if (frame.ok() && !frame->body.empty()) each_request(all_requests{}, *frame);
  } else {
    chosen_response(all_responses{}, data[1], byte_view{bytes}.subspan(2), data[2] % 20);
  }
  return 0;
}
