#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/gateways/kafka/codec/api.hpp"
#include "apps/gateways/kafka/codec/fetch_messages.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/result.hpp"

/// Kafka requests and responses, from bytes and to bytes. Pure: no socket, no clock.
///
/// Each message is a plain struct (*_messages.hpp) whose members carry the names of the protocol's fields. One table
/// per struct (*_messages.cpp) says in which versions a field is on the wire, since when it may be null, and under
/// which tag it stands; one generic walk over these tables (walker.hpp) reads, measures, writes and prints. There is no
/// code per version.
///
/// - A field that a version does not have keeps its member's initial value when read, and is left out when written.
/// - Requests hold views into the frame they were read from: texts are `string_view`, records are writable spans. The
///   frame must outlive them. Responses own their texts, since they are put together from many answers.
/// - Null is `nullopt`. A null that a version does not allow is malformed when read, and goes out as empty.
/// - A text is at most 32767 bytes in every version: a longer one is malformed when read, and is cut when written.
/// - Bytes behind the last field are ignored, as Kafka does.
namespace troupe::kafka {

/// The most memory that the arrays of one message may take. Counts are checked against the bytes at hand as well; this
/// is for the frame of 100 MiB that really consists of empty texts and would become gigabytes.
inline constexpr std::size_t decoded_bytes_max = 16 << 20;

struct request_header {
  api_key key{};  ///< any number: see `served`
  std::int16_t version{0};
  std::int32_t correlation_id{0};
  std::optional<std::string_view> client_id;
};

/// A frame taken apart. `body` is empty unless we know the API and version.
struct request_frame {
  request_header header;
  byte_span body;
};

/// Reads a frame's header (the frame without its four size bytes). Keys and versions that we do not know are no error:
/// the header is read as far as all versions share it, for the log line. Errors: malformed.
result<request_frame> decode_header(byte_span frame);

/// Reads a request. Errors: malformed (the text says what and where), unsupported_version.
/// Defined for every message of `all_requests`.
template <class Request>
result<Request> decode_request(byte_span body, std::int16_t version);

/// A stretch of a message on its way out: own bytes, then (in a fetch response) bytes that the sender has to fetch.
struct piece {
  shared_bytes bytes;
  outside_bytes outside;  ///< size 0: none
};
/// A whole frame, size bytes included. All own bytes lie in one allocation.
using piece_list = std::vector<piece>;

/// Writes a response with its header and frame size. Defined for every message of `all_responses`.
template <class Response>
piece_list encode_response(const Response& response, std::int16_t version, std::int32_t correlation_id);

/// The message's fields as text for a log line: only those of this version, no record bytes, at most `bytes_max` bytes.
/// Defined for every message.
template <class Message>
std::string print(const Message& message, std::int16_t version, std::size_t bytes_max = 1000);

// -- the client's side: tools, tests ---------------------------------------------------------------------------------

/// Writes a request with its header and frame size.
template <class Request>
shared_bytes encode_request(const Request& request, std::int16_t version, std::int32_t correlation_id,
                            std::optional<std::string_view> client_id);

template <class Response>
struct received {
  std::int32_t correlation_id{0};
  Response response;
};
/// Reads a response's frame (without its four size bytes). Errors: malformed, unsupported_version.
template <class Response>
result<received<Response>> decode_response(byte_view frame, std::int16_t version);

/// What holds for a message's API. Defined for every message.
template <class Message>
const api_info& info_of() noexcept;

}  // namespace troupe::kafka
