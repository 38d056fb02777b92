#include "apps/gateways/kafka/codec/codec.hpp"

#include <algorithm>

#include "apps/gateways/kafka/codec/walker.hpp"

namespace troupe::kafka {

result<request_frame> decode_header(byte_span frame) {
  wire::reader in{frame, decoded_bytes_max};
  request_frame got;
  got.header.key = static_cast<api_key>(in.integer<std::int16_t>());
  got.header.version = in.integer<std::int16_t>();
  got.header.correlation_id = in.integer<std::int32_t>();
  if (!in.ok()) return {errc::malformed, "request header: " + in.complaint()};

  const auto* api = find_api(got.header.key);
  const bool known = api && api->versions.has(got.header.version);
  // The client id keeps its two-byte length in all versions, so that a server can log who sends what it does not know.
  read(in, got.header.client_id, {got.header.version, false}, true);
  if (!known) {
    if (!in.ok()) got.header.client_id.reset();
    return got;
  }
  if (api->flexible(got.header.version)) skip_tags(in);
  if (!in.ok()) return malformed(*api, got.header.version, in);
  got.body = frame.last(in.left());
  return got;
}

void skip_tags(wire::reader& in) {
  const auto count = in.uvarint();
  std::int64_t last = -1;
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    const auto tag = in.uvarint();
    if (in.ok() && tag <= last) return in.fail("tags do not rise");
    last = tag;
    in.bytes(in.uvarint());
  }
}

error unsupported(const api_info& api, std::int16_t version) {
  return {errc::unsupported_version, std::string{api.name} + " has no version " + std::to_string(version)};
}

error malformed(const api_info& api, std::int16_t version, const wire::reader& in) {
  return {errc::malformed, std::string{api.name} + " v" + std::to_string(version) + ": " + in.complaint()};
}

frame_space make_frame(const wire::counter& measured) {
  const auto size = measured.own() + measured.outside();
  TROUPE_CHECK(size <= std::numeric_limits<std::int32_t>::max());
  const auto bytes = sizeof(std::int32_t) + measured.own();
  auto memory = std::make_shared_for_overwrite<std::byte[]>(bytes);
  store_be(memory.get(), static_cast<std::int32_t>(size));
  const byte_span span{memory.get(), bytes};
  return {std::move(memory), span};
}

piece_list cut(const frame_space& frame, const std::vector<wire::gap>& gaps) {
  const shared_bytes all{frame.memory, frame.bytes};
  piece_list pieces;
  pieces.reserve(gaps.size() + 1);
  std::size_t from = 0;
  for (auto& gap : gaps) {
    const auto to = sizeof(std::int32_t) + gap.at;
    pieces.push_back({all.slice(from, to - from), gap.bytes});
    from = to;
  }
  if (from < all.size()) pieces.push_back({all.slice(from, all.size() - from), {}});
  return pieces;
}

void printer::quoted(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  plain("\"");
  for (const char c : text) {
    if (full()) return;
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      text_ += "\\x";
      text_ += digits[byte >> 4];
      text_ += digits[byte & 15];
    } else {
      if (c == '"' || c == '\\') text_ += '\\';
      text_ += c;
    }
  }
  plain("\"");
}

std::string printer::take() && {
  if (!full()) return std::move(text_);
  // Cut in front of a character, not within it.
  auto end = bytes_max_;
  while (end > 0 && (static_cast<unsigned char>(text_[end]) & 0xc0) == 0x80) --end;
  text_.resize(end);
  return std::move(text_) + "…";
}

}  // namespace troupe::kafka
