#include "apps/gateways/kafka/codec/frames.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "runtime/base/check.hpp"

namespace troupe::kafka {

namespace {

/// A size field that is no size: who might have sent it?
std::string hint(std::uint32_t field) {
  if (field >> 16 == 0x1603) return ": a TLS client on a plain listener?";
  if (field == 0x47455420 || field == 0x504f5354 || field == 0x48454144) return ": an HTTP client on a Kafka listener?";
  return "";
}

}  // namespace

byte_span frame_splitter::prepare() {
  const auto here = pending(), room = capacity_ - begin_;
  if (here >= size_field) {
    const auto frame = size_field + load_be<std::uint32_t>(buffer_.get() + begin_);
    TROUPE_CHECK(here < frame);  // else `next` would have it
    const auto believed = std::min<std::size_t>(frame, std::max(read_bytes_max, largest_));
    if (room < believed)
      move_to_buffer_of(believed);
    else if (end_ == capacity_)
      move_to_buffer_of(std::min<std::size_t>(frame, 2 * here));
  } else if (latest_ > read_bytes_max) {
    // Producers under load send frames of nearly one size: a little more room than the last one had lets the next one
    // stay where it is read. What is not touched costs addresses only; still not without bound.
    const auto guess = std::min(latest_ + latest_ / 64, guess_bytes_max);
    if (room < guess) move_to_buffer_of(guess);
  } else if (capacity_ - end_ < read_bytes_ / 4) {
    // Small frames fill a buffer nearly to its end before the next one is made.
    move_to_buffer_of(read_bytes_);
  }
  return {buffer_.get() + end_, capacity_ - end_};
}

void frame_splitter::commit(std::size_t count) {
  TROUPE_CHECK(count <= capacity_ - end_);
  // A read that fills its space left something behind: next time one call should fetch more.
  if (count == capacity_ - end_) read_bytes_ = std::min(2 * read_bytes_, read_bytes_max);
  end_ += count;
}

result<std::optional<owned_bytes>> frame_splitter::next() {
  if (pending() < size_field) return std::optional<owned_bytes>{};
  const auto field = load_be<std::uint32_t>(buffer_.get() + begin_);
  const auto bound = limits_.frame_bytes_max;
  if (field > std::numeric_limits<std::int32_t>::max())
    return {errc::malformed, "a frame of negative size (" + std::to_string(static_cast<std::int32_t>(field)) + ")"};
  if (field > bound)
    return {errc::message_too_large,
            "a frame of " + std::to_string(field) + " bytes, " + std::to_string(bound) + " are allowed" + hint(field)};
  const std::size_t size = size_field + field;
  if (pending() < size) return std::optional<owned_bytes>{};
  const byte_span bytes{buffer_.get() + begin_ + size_field, field};
  begin_ += size;
  largest_ = std::max(largest_, size);
  latest_ = size;
  return std::optional{owned_bytes{buffer_, bytes}};
}

void frame_splitter::rest() {
  if (pending() > 0) return;
  buffer_.reset();
  capacity_ = begin_ = end_ = 0;
}

void frame_splitter::move_to_buffer_of(std::size_t capacity) {
  const auto here = pending();
  TROUPE_CHECK(here < capacity);
  auto larger = std::make_shared_for_overwrite<std::byte[]>(capacity);
  if (here > 0) std::memcpy(larger.get(), buffer_.get() + begin_, here);
  buffer_ = std::move(larger);
  capacity_ = capacity;
  begin_ = 0;
  end_ = here;
}

}  // namespace troupe::kafka
