// What is asked of a rate limiter and what it says, as a peer reads it; and whatever was understood, a limiter decides.
#include "actors/limit/limiter.hpp"
#include "runtime/base/check.hpp"
#include "tests/fuzz/frame.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe;
  const auto frame = fuzz::frame_of(data, size);
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
