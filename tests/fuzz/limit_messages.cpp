// What is asked of a rate limiter and what it says, as a peer reads it; and whatever was understood, a limiter decides.
#include <cstdint>
#include <cstring>
#include <vector>

#include "actors/limit/limiter.hpp"
#include "runtime/base/check.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  // In memory of its own and of exactly this size; the head that has to say it would hide all else.
  std::vector<std::byte> bytes(size / 8 * 8);
  if (!bytes.empty()) std::memcpy(bytes.data(), data, bytes.size());
  if (bytes.size() >= 16) {
    store_le<std::uint32_t>(bytes.data(), 0);
    store_le(bytes.data() + 4, static_cast<std::uint32_t>(bytes.size() / 8 - 1));
  }
  const auto frame = shared_bytes::own(std::move(bytes));
  constexpr instant now{std::chrono::hours{1}};

  const auto kind = limit::type();
  auto limiter = kind.make("k", frame, now);
  const auto answer = limit::decode_answer(limiter->handle(frame, now));
  TROUPE_CHECK(answer.ok() || answer.code() == errc::invalid_request);
  if (answer) {
    const auto asked = limit::decode_request(frame);
    TROUPE_CHECK(asked.ok() && limit::check(asked->by).ok());
    TROUPE_CHECK(answer->allowed == (answer->retry_after == std::chrono::nanoseconds{}));
    TROUPE_CHECK(answer->retry_after >= std::chrono::nanoseconds{} && answer->remaining <= asked->by.burst);
  }
  const auto said = limit::decode_answer(frame);
  TROUPE_CHECK(said.ok() || said.code() == errc::malformed || said.code() == errc::invalid_request);
  return 0;
}
