#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <concepts>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/bytes.hpp"
#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "schemas/metadata.capnp.h"

/// Frames: Cap'n Proto messages of one segment in the standard stream framing, written into the memory that leaves, and
/// read from the memory that came.
namespace troupe::schema {

// -- writing ------------------------------------------------------------------------------------------------------

/// Builds one frame in place. `bytes_expected` is what it will hardly exceed; a frame that does is copied once more.
/// The bytes follow from what is written and the expectation alone.
template <class Root>
class frame_writer final : capnp::MessageBuilder {
public:
  explicit frame_writer(std::size_t bytes_expected)
      : words_{1 + bytes_expected / sizeof(capnp::word) + 1}, memory_{new capnp::word[words_]()} {
    root_.emplace(initRoot<Root>());
  }
  typename Root::Builder& root() { return *root_; }

  /// The frame, whose memory is its own. Once.
  shared_bytes finish() {
    if (more_.empty()) return framed(memory_, getSegmentsForOutput()[0].size());
    const auto root = root_->asReader();
    const auto size = root.totalSize().wordCount + 1;
    std::shared_ptr<capnp::word[]> exact{new capnp::word[1 + size]()};
    capnp::FlatMessageBuilder flat{kj::arrayPtr(exact.get() + 1, size)};
    flat.setRoot(root);
    return framed(std::move(exact), flat.getSegmentsForOutput()[0].size());
  }

private:
  kj::ArrayPtr<capnp::word> allocateSegment(capnp::uint least) override {
    if (!std::exchange(begun_, true) && least < words_) return {memory_.get() + 1, words_ - 1};
    const auto size = std::max<std::size_t>(least, words_);
    more_.push_back(std::make_unique<capnp::word[]>(size));
    return {more_.back().get(), size};
  }

  static shared_bytes framed(std::shared_ptr<capnp::word[]> memory, std::size_t words) {
    auto* bytes = reinterpret_cast<std::byte*>(memory.get());
    store_le<std::uint32_t>(bytes, 0);  // the number of segments, less one
    store_le(bytes + 4, static_cast<std::uint32_t>(words));
    return {std::move(memory), {bytes, (1 + words) * sizeof(capnp::word)}};
  }

  std::size_t words_;
  std::shared_ptr<capnp::word[]> memory_;
  std::vector<std::unique_ptr<capnp::word[]>> more_;
  bool begun_{false};
  std::optional<typename Root::Builder> root_;
};

/// Text may hold any bytes for us; Cap'n Proto only wants to know where it ends.
inline capnp::Text::Reader text_of(std::string_view s) {
  return {s.data(), s.size()};
}
inline capnp::Data::Reader data_of(byte_view bytes) {
  return {reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()};
}
inline void write(Uuid::Builder to, const uuid& id) {
  const auto* bytes = reinterpret_cast<const std::byte*>(id.bytes.data());
  to.setHigh(load_be<std::uint64_t>(bytes));
  to.setLow(load_be<std::uint64_t>(bytes + 8));
}
inline unsigned count_of(std::size_t n) {
  TROUPE_CHECK(n < (1u << 29));  // more elements no list can have
  return static_cast<unsigned>(n);
}

// -- reading ------------------------------------------------------------------------------------------------------

inline uuid read(Uuid::Reader from) {
  uuid id;
  auto* bytes = reinterpret_cast<std::byte*>(id.bytes.data());
  store_be<std::uint64_t>(bytes, from.getHigh());
  store_be<std::uint64_t>(bytes + 8, from.getLow());
  return id;
}

/// What reads a frame, and believes nothing: Cap'n Proto checks pointers and throws (`read_frame` catches it), this
/// checks what the pointers lead to. The first trouble counts; after it values are empty, and nothing more is read
/// into memory.
///
/// Bound: every element that becomes an object, and every byte that is copied, is paid for with bytes of the frame. Of
/// an element that takes none, or less than a word (a list of small numbers taken for structs), there cannot be more
/// than words; and who points twice to the same bytes pays twice.
class frame_reader {
public:
  static constexpr std::size_t text_bytes_max = 1 << 20;

  frame_reader(const shared_bytes& frame, std::string_view message)
      : frame_{frame}, unpaid_{frame.size()}, message_{message} {}

  const std::optional<error>& trouble() const { return trouble_; }
  /// What is being read now, for the words of an error.
  void entered(std::string_view message) { message_ = message; }
  std::string_view message() const { return message_; }
  void wrong(std::string_view field, std::string_view what) {
    if (trouble_) return;
    trouble_ = error{errc::malformed, std::string{message_} + ": " + std::string{field} + " " + std::string{what}};
    unpaid_ = 0;
  }
  /// A union's member, or an enumeration's number, that only a newer version knows.
  void unknown(std::string_view field, std::uint64_t number) {
    wrong(field, "is " + std::to_string(number) + ", which this version does not know");
  }

  template <class Enum>
  Enum number(std::string_view field, std::unsigned_integral auto value, Enum last) {
    using rep = std::underlying_type_t<Enum>;
    if (value <= static_cast<std::make_unsigned_t<rep>>(last)) return static_cast<Enum>(value);
    unknown(field, value);
    return Enum{};
  }
  /// A number of runtime/base/errc.hpp; one that only a newer version knows is `internal`.
  errc error_code(std::uint16_t number) {
    if (number == 0) wrong("error", "has number 0, which is none");
    return number <= static_cast<std::uint16_t>(errc_last) ? static_cast<errc>(number) : errc::internal;
  }
  std::string text(std::string_view field, capnp::Text::Reader from, std::size_t bytes_max = text_bytes_max) {
    if (from.size() > bytes_max) wrong(field, "has " + std::to_string(from.size()) + " bytes");
    if (!pays(field, from.size())) return {};
    return {from.begin(), from.size()};
  }
  /// Shares the frame's memory.
  shared_bytes slice(std::string_view field, capnp::Data::Reader from) {
    if (!pays(field, from.size()) || from.size() == 0) return {};
    const auto at = reinterpret_cast<const std::byte*>(from.begin()) - frame_.data();
    return frame_.slice(static_cast<std::size_t>(at), from.size());
  }
  template <class List, class ReadOne>
  auto list(std::string_view field, List from, ReadOne read_one) {
    std::vector<decltype(read_one(from[0]))> all;
    constexpr bool numbers = std::is_arithmetic_v<std::remove_cvref_t<decltype(from[0])>>;
    constexpr auto each = numbers ? sizeof(std::conditional_t<numbers, decltype(from[0]), char>) : sizeof(capnp::word);
    if (!pays(field, from.size() * each)) return all;
    all.reserve(from.size());
    for (auto one : from) {
      all.push_back(read_one(one));
      if (trouble_) break;
    }
    return all;
  }

private:
  bool pays(std::string_view field, std::size_t bytes) {
    if (bytes > unpaid_) wrong(field, "has more than there are bytes");
    if (trouble_) return false;
    unpaid_ -= bytes;
    return true;
  }

  const shared_bytes& frame_;
  std::size_t unpaid_;
  std::string_view message_;
  std::optional<error> trouble_;
};

/// Reads all of `frame`, whose root is a Root, with `read(frame_reader&, Root::Reader)`. `what` is the word for it in
/// errors, which are `malformed`. What the value shares with the frame, it keeps alive.
template <class Root, class Read>
auto read_frame(std::string_view what, shared_bytes frame, Read read)
    -> result<std::invoke_result_t<Read, frame_reader&, typename Root::Reader>> {
  constexpr std::size_t word = sizeof(capnp::word);
  // Every pointer is followed once; some twice, to see whether there is anything.
  constexpr std::uint64_t traversals_per_word = 2;
  constexpr int nesting_max = 16;
  if (frame.size() < 2 * word || frame.size() % word != 0)
    return {errc::malformed, std::string{what} + " of " + std::to_string(frame.size()) + " bytes"};
  if (load_le<std::uint32_t>(frame.data()) != 0 || load_le<std::uint32_t>(frame.data() + 4) != frame.size() / word - 1)
    return {errc::malformed,
            std::string{what} + " of " + std::to_string(frame.size()) + " bytes that says it has another size"};
  // It may have come from anywhere; Cap'n Proto wants aligned words.
  if (reinterpret_cast<std::uintptr_t>(frame.data()) % word != 0) frame = shared_bytes::copy_of(frame);

  frame_reader in{frame, what};
  try {
    capnp::ReaderOptions limits;
    limits.traversalLimitInWords = frame.size() / word * traversals_per_word;
    limits.nestingLimit = nesting_max;
    capnp::FlatArrayMessageReader message{
        kj::arrayPtr(reinterpret_cast<const capnp::word*>(frame.data()), frame.size() / word), limits};
    auto value = read(in, message.getRoot<Root>());
    if (in.trouble()) return *in.trouble();
    return value;
  } catch (const kj::Exception& e) {
    return {errc::malformed, std::string{in.message()} + ": " + e.getDescription().cStr()};
  }
}

}  // namespace troupe::schema
