#pragma once

#include <array>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "apps/gateways/kafka/codec/codec.hpp"
#include "apps/gateways/kafka/codec/wire.hpp"

/// One walk over any message. A struct is described by its fields in the order of the wire:
///
///   template <>
///   struct layout<metadata_response::topic> {
///     using s = metadata_response::topic;
///     static constexpr std::tuple fields{
///         field{"ErrorCode", &s::error_code},
///         field{"Name", &s::name}.nullable(12),
///         field{"TopicId", &s::topic_id}.since(10),
///   …
///
/// A message's own layout also has `static constexpr api_key key`. Defaults are the members' initial values: there is
/// no second place for them. Only the *_tables.hpp include this file, and only the *_messages.cpp
/// include those: each instantiates its messages once.
namespace troupe::kafka {

template <class Struct>
struct layout;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
inline constexpr bool is_text = std::is_same_v<T, std::string_view> || std::is_same_v<T, std::string>;
/// What stands on the wire behind a count of its bytes or elements.
template <class T>
inline constexpr bool is_counted =
    is_text<T> || is_vector<T> || std::is_same_v<T, byte_span> || std::is_same_v<T, fetched_records>;

/// How one member stands on the wire. `Tagged` ones stand not in their place but in the tag section, and only if they
/// differ from their initial value.
template <class Struct, class Member, bool Tagged = false>
struct field {
  static constexpr std::int16_t never = std::numeric_limits<std::int16_t>::max();

  std::string_view name;
  Member Struct::*member;
  version_range on{0, never};
  std::int16_t null_from{never};
  std::int16_t tag{-1};

  constexpr field(std::string_view n, Member Struct::*m) : name{n}, member{m} {}

  constexpr field since(std::int16_t version) const {
    return with([&](auto& f) { f.on.first = version; });
  }
  constexpr field until(std::int16_t version) const {
    return with([&](auto& f) { f.on.last = version; });
  }
  constexpr field nullable(std::int16_t from = 0) const {
    return with([&](auto& f) { f.null_from = from; });
  }
  constexpr field<Struct, Member, true> tagged(std::int16_t number) const {
    field<Struct, Member, true> f{name, member};
    f.on = on;
    f.null_from = null_from;
    f.tag = number;
    return f;
  }

private:
  template <class Change>
  constexpr field with(Change change) const {
    auto copy = *this;
    change(copy);
    return copy;
  }
};

/// Calls `f` with each field of a struct, in the order of the wire.
template <class Struct, class F>
constexpr void for_each_field(F&& f) {
  std::apply([&](const auto&... fields) { (f(fields), ...); }, layout<Struct>::fields);
}

/// A table that does not contradict itself: tags rise, and null goes with optional.
template <class Struct>
constexpr bool is_sound() {
  int last_tag = -1;
  bool sound = true;
  for_each_field<Struct>([&]<class M, bool Tagged>(const field<Struct, M, Tagged>& f) {
    sound = sound && is_optional<M> == (f.null_from != f.never) && Tagged == (f.tag >= 0);
    if (!Tagged) return;
    sound = sound && f.tag > last_tag;
    last_tag = f.tag;
  });
  return sound;
}

/// The version at hand.
struct dialect {
  std::int16_t version;
  bool flexible;
};

// -- reading ---------------------------------------------------------------------------------------------------------

/// The fewest bytes that a value can take: what a count is checked against before anything is allocated.
template <class T>
std::size_t bytes_min(dialect d) {
  if constexpr (is_optional<T>) {
    return bytes_min<typename T::value_type>(d);
  } else if constexpr (is_counted<T>) {
    return d.flexible ? 1 : is_text<T> ? 2 : 4;
  } else if constexpr (std::is_integral_v<T>) {
    return sizeof(T);
  } else if constexpr (std::is_same_v<T, uuid>) {
    return sizeof(uuid::bytes);
  } else {
    std::size_t sum = d.flexible ? 1 : 0;
    for_each_field<T>([&]<class M, bool Tagged>(const field<T, M, Tagged>& f) {
      if (!Tagged && f.on.has(d.version)) sum += bytes_min<M>(d);
    });
    return std::max<std::size_t>(sum, 1);
  }
}

/// A count of bytes or elements; -1 for null.
template <class T>
std::int64_t read_count(wire::reader& in, dialect d) {
  if (d.flexible) return std::int64_t{in.uvarint()} - 1;
  const std::int64_t count = is_text<T> ? in.integer<std::int16_t>() : in.integer<std::int32_t>();
  if (count < -1) in.fail("a length is negative");
  return count;
}

template <class T>
void read(wire::reader& in, T& to, dialect d, bool null_allowed);

template <class T>
void read_counted(wire::reader& in, T& to, std::size_t count, dialect d) {
  if constexpr (is_text<T>) {
    if (count > wire::text_bytes_max) return in.fail("a text is too long");
    to = as_text(in.bytes(count));
  } else if constexpr (std::is_same_v<T, byte_span>) {
    // Requests are read from writable frames (`decode_request`); the reader alone does not know it.
    const auto bytes = in.bytes(count);
    to = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  } else if constexpr (std::is_same_v<T, fetched_records>) {
    to.here = in.bytes(count);
  } else {
    using element = typename T::value_type;
    if (count > in.left() / bytes_min<element>(d)) return in.fail("there are fewer bytes than elements");
    in.charge(count * sizeof(element));
    if (!in.ok()) return;
    to.resize(count);
    for (auto& e : to) {
      read(in, e, d, false);
      if (!in.ok()) return;
    }
  }
}

/// Tags rise strictly; those that this version does not have are skipped.
template <class Struct>
void read_tags(wire::reader& in, Struct& to, dialect d) {
  const auto count = in.uvarint();
  std::int64_t last = -1;
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    const auto tag = in.uvarint();
    const auto size = in.uvarint();
    if (in.ok() && tag <= last) return in.fail("tags do not rise");
    last = tag;
    const auto behind = in.narrow(size);
    bool known = false;
    for_each_field<Struct>([&]<class M, bool Tagged>(const field<Struct, M, Tagged>& f) {
      if constexpr (Tagged) {
        if (!in.ok() || static_cast<std::uint32_t>(f.tag) != tag || !f.on.has(d.version)) return;
        known = true;
        read(in, to.*f.member, d, d.version >= f.null_from);
        if (!in.ok()) in.blame(f.name);
      }
    });
    if (!known) in.bytes(in.left());
    in.widen(behind);
  }
}

template <class T>
void read(wire::reader& in, T& to, dialect d, bool null_allowed) {
  if constexpr (is_optional<T>) {
    using value = typename T::value_type;
    const auto count = read_count<value>(in, d);
    if (!in.ok()) return;
    if (count >= 0) return read_counted(in, to.emplace(), static_cast<std::size_t>(count), d);
    if (!null_allowed) return in.fail("it must not be null");
    to.reset();
  } else if constexpr (is_counted<T>) {
    const auto count = read_count<T>(in, d);
    if (!in.ok()) return;
    if (count >= 0) return read_counted(in, to, static_cast<std::size_t>(count), d);
    if constexpr (!std::is_same_v<T, fetched_records>) in.fail("it must not be null");
  } else if constexpr (std::is_same_v<T, bool>) {
    to = in.integer<std::int8_t>() != 0;
  } else if constexpr (std::is_integral_v<T>) {
    to = in.integer<T>();
  } else if constexpr (std::is_same_v<T, uuid>) {
    to = in.id();
  } else {
    static_assert(is_sound<T>());
    for_each_field<T>([&]<class M, bool Tagged>(const field<T, M, Tagged>& f) {
      if constexpr (!Tagged) {
        if (!in.ok() || !f.on.has(d.version)) return;
        read(in, to.*f.member, d, d.version >= f.null_from);
        if (!in.ok()) in.blame(f.name);
      }
    });
    if (d.flexible) read_tags(in, to, d);
  }
}

// -- writing: `Sink` is wire::counter or wire::writer ----------------------------------------------------------------

template <class T, class Sink>
void write(Sink& out, const T& from, dialect d, bool null_allowed);

template <class T, class Sink>
void write_count(Sink& out, std::int64_t count, dialect d) {
  if (d.flexible)
    out.uvarint(static_cast<std::uint32_t>(count + 1));
  else if constexpr (is_text<T>)
    out.integer(static_cast<std::int16_t>(count));
  else
    out.integer(static_cast<std::int32_t>(count));
}

template <class T, class Sink>
void write_counted(Sink& out, const T& from, dialect d) {
  if constexpr (is_text<T>) {
    const auto text = std::string_view{from}.substr(0, wire::text_bytes_max);
    write_count<T>(out, static_cast<std::int64_t>(text.size()), d);
    out.bytes(as_bytes(text));
  } else if constexpr (std::is_same_v<T, byte_span>) {
    write_count<T>(out, static_cast<std::int64_t>(from.size()), d);
    out.bytes(from);
  } else if constexpr (std::is_same_v<T, fetched_records>) {
    write_count<T>(out, static_cast<std::int64_t>(from.here.size() + from.outside.size), d);
    out.bytes(from.here);
    if (from.outside.size > 0) out.outside(from.outside);
  } else {
    write_count<T>(out, static_cast<std::int64_t>(from.size()), d);
    for (auto& e : from) write(out, e, d, false);
  }
}

/// Whether a tagged field can be left out.
template <class T>
bool is_initial(const T& value, const T& initial) {
  if constexpr (is_vector<T>)
    return value.empty();
  else
    return value == initial;
}

template <class Struct, class Sink>
void write_tags(Sink& out, const Struct& from, dialect d) {
  static const Struct initial{};
  auto for_each_present = [&](auto&& then) {
    for_each_field<Struct>([&]<class M, bool Tagged>(const field<Struct, M, Tagged>& f) {
      if constexpr (Tagged)
        if (f.on.has(d.version) && !is_initial(from.*f.member, initial.*f.member)) then(f);
    });
  };
  std::uint32_t count = 0;
  for_each_present([&](const auto&) { ++count; });
  out.uvarint(count);
  if (count == 0) return;
  for_each_present([&](const auto& f) {
    const bool null_allowed = d.version >= f.null_from;
    wire::counter size;
    write(size, from.*f.member, d, null_allowed);
    out.uvarint(static_cast<std::uint32_t>(f.tag));
    out.uvarint(static_cast<std::uint32_t>(size.own()));
    write(out, from.*f.member, d, null_allowed);
  });
}

template <class T, class Sink>
void write(Sink& out, const T& from, dialect d, bool null_allowed) {
  if constexpr (is_optional<T>) {
    using value = typename T::value_type;
    if (from)
      write_counted(out, *from, d);
    else
      write_count<value>(out, null_allowed ? -1 : 0, d);
  } else if constexpr (is_counted<T>) {
    write_counted(out, from, d);
  } else if constexpr (std::is_same_v<T, bool>) {
    out.integer(static_cast<std::int8_t>(from));
  } else if constexpr (std::is_integral_v<T>) {
    out.integer(from);
  } else if constexpr (std::is_same_v<T, uuid>) {
    out.bytes(std::as_bytes(std::span{from.bytes}));
  } else {
    for_each_field<T>([&]<class M, bool Tagged>(const field<T, M, Tagged>& f) {
      if constexpr (!Tagged)
        if (f.on.has(d.version)) write(out, from.*f.member, d, d.version >= f.null_from);
    });
    if (d.flexible) write_tags(out, from, d);
  }
}

// -- printing --------------------------------------------------------------------------------------------------------

/// Appends to a text up to a bound, and knows when to stop.
class printer {
public:
  explicit printer(std::size_t bytes_max) : bytes_max_{bytes_max} {}
  bool full() const noexcept { return text_.size() > bytes_max_; }
  void plain(std::string_view text) {
    if (!full()) text_ += text;
  }
  /// Somebody else's text: it must not break the line or look like ours.
  void quoted(std::string_view text);
  std::string take() &&;

private:
  std::size_t bytes_max_;
  std::string text_;
};

template <class T>
void print_value(printer& out, const T& value, dialect d) {
  if constexpr (is_optional<T>) {
    value ? print_value(out, *value, d) : out.plain("null");
  } else if constexpr (is_text<T>) {
    out.quoted(value);
  } else if constexpr (std::is_same_v<T, byte_span>) {
    out.plain("<" + std::to_string(value.size()) + " bytes>");
  } else if constexpr (std::is_same_v<T, fetched_records>) {
    out.plain("<" + std::to_string(value.here.size() + value.outside.size) + " bytes>");
  } else if constexpr (is_vector<T>) {
    out.plain("[");
    for (std::size_t i = 0; i < value.size() && !out.full(); ++i) {
      if (i > 0) out.plain(" ");
      print_value(out, value[i], d);
    }
    out.plain("]");
  } else if constexpr (std::is_same_v<T, bool>) {
    out.plain(value ? "true" : "false");
  } else if constexpr (std::is_integral_v<T>) {
    out.plain(std::to_string(value));
  } else if constexpr (std::is_same_v<T, uuid>) {
    out.plain(value.text());
  } else {
    out.plain("{");
    bool first = true;
    for_each_field<T>([&](const auto& f) {
      if (!f.on.has(d.version) || out.full()) return;
      if (!std::exchange(first, false)) out.plain(" ");
      out.plain(f.name);
      out.plain("=");
      print_value(out, value.*f.member, d);
    });
    out.plain("}");
  }
}

// -- the entry points ------------------------------------------------------------------------------------------------

/// Memory for a frame, and its size field written.
struct frame_space {
  std::shared_ptr<std::byte[]> memory;
  byte_span bytes;
};
frame_space make_frame(const wire::counter& measured);
/// The frame in pieces, cut at its gaps.
piece_list cut(const frame_space& frame, const std::vector<wire::gap>& gaps);
error unsupported(const api_info& api, std::int16_t version);
error malformed(const api_info& api, std::int16_t version, const wire::reader& in);
/// A tag section of a header, whose fields we do not know.
void skip_tags(wire::reader& in);

template <class Message>
constexpr const api_info& api_of = *find_api(layout<Message>::key);

template <class Message>
constexpr dialect dialect_of(std::int16_t version) {
  return {version, api_of<Message>.flexible(version)};
}

/// ApiVersions answers keep the old header in all versions: a client reads it before it knows what the server speaks.
template <class Response>
constexpr bool has_header_tags(std::int16_t version) {
  return api_of<Response>.flexible(version) && layout<Response>::key != api_key::api_versions;
}

template <class Message>
const api_info& info_of() noexcept {
  return api_of<Message>;
}

template <class Request>
result<Request> decode_request(byte_span body, std::int16_t version) {
  if (!api_of<Request>.versions.has(version)) return unsupported(api_of<Request>, version);
  wire::reader in{body, decoded_bytes_max};
  Request request;
  read(in, request, dialect_of<Request>(version), false);
  if (!in.ok()) return malformed(api_of<Request>, version, in);
  return request;
}

template <class Response>
result<received<Response>> decode_response(byte_view frame, std::int16_t version) {
  if (!api_of<Response>.versions.has(version)) return unsupported(api_of<Response>, version);
  wire::reader in{frame, decoded_bytes_max};
  received<Response> got;
  got.correlation_id = in.integer<std::int32_t>();
  if (has_header_tags<Response>(version)) skip_tags(in);
  if (in.ok()) read(in, got.response, dialect_of<Response>(version), false);
  if (!in.ok()) return malformed(api_of<Response>, version, in);
  return got;
}

template <class Response>
piece_list encode_response(const Response& response, std::int16_t version, std::int32_t correlation_id) {
  TROUPE_CHECK(api_of<Response>.versions.has(version));
  auto emit = [&](auto& out) {
    out.integer(correlation_id);
    if (has_header_tags<Response>(version)) out.uvarint(0);
    write(out, response, dialect_of<Response>(version), false);
  };
  wire::counter measured;
  emit(measured);
  const auto frame = make_frame(measured);
  wire::writer out{frame.bytes.subspan(sizeof(std::int32_t)), measured.gaps()};
  emit(out);
  TROUPE_CHECK(out.full());
  return cut(frame, out.gaps());
}

template <class Request>
shared_bytes encode_request(const Request& request, std::int16_t version, std::int32_t correlation_id,
                            std::optional<std::string_view> client_id) {
  TROUPE_CHECK(api_of<Request>.versions.has(version));
  auto emit = [&](auto& out) {
    out.integer(static_cast<std::int16_t>(api_of<Request>.key));
    out.integer(version);
    out.integer(correlation_id);
    write(out, client_id, {version, false}, true);  // the client id keeps its old form in all versions
    if (api_of<Request>.flexible(version)) out.uvarint(0);
    write(out, request, dialect_of<Request>(version), false);
  };
  wire::counter measured;
  emit(measured);
  const auto frame = make_frame(measured);
  wire::writer out{frame.bytes.subspan(sizeof(std::int32_t))};
  emit(out);
  TROUPE_CHECK(out.full());
  return {frame.memory, frame.bytes};
}

template <class Message>
std::string print(const Message& message, std::int16_t version, std::size_t bytes_max) {
  printer out{bytes_max};
  print_value(out, message, dialect_of<Message>(version));
  return std::move(out).take();
}

}  // namespace troupe::kafka

/// What codec.hpp promises for a request or a response, compiled here.
#define TROUPE_KAFKA_REQUEST(Message)                                                       \
  template result<Message> decode_request<Message>(byte_span, std::int16_t);                \
  template shared_bytes encode_request<Message>(const Message&, std::int16_t, std::int32_t, \
                                                std::optional<std::string_view>);           \
  template std::string print<Message>(const Message&, std::int16_t, std::size_t);           \
  template const api_info& info_of<Message>() noexcept
#define TROUPE_KAFKA_RESPONSE(Message)                                                      \
  template result<received<Message>> decode_response<Message>(byte_view, std::int16_t);     \
  template piece_list encode_response<Message>(const Message&, std::int16_t, std::int32_t); \
  template std::string print<Message>(const Message&, std::int16_t, std::size_t);           \
  template const api_info& info_of<Message>() noexcept
