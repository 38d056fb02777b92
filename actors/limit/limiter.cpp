#include "actors/limit/limiter.hpp"

#include <algorithm>

#include "schemas/frame.hpp"
#include "schemas/limit.capnp.h"

namespace troupe::limit {

using std::chrono::nanoseconds;

namespace {

constexpr std::chrono::hours longest_refill{30 * 24};

/// Between two tokens.
nanoseconds interval(const rule& r) {
  return r.period / r.count;
}

}  // namespace

result<void> check(const rule& r) {
  const auto wrong = [](std::string what) { return error{errc::invalid_request, std::move(what)}; };
  const auto up_to = " has to be from 1 to " + std::to_string(rule::most);
  if (r.count < 1 || r.count > rule::most) return wrong("the limit" + up_to);
  if (r.burst < 1 || r.burst > rule::most) return wrong("the burst" + up_to);
  if (r.period < std::chrono::milliseconds{1} || r.period > rule::longest)
    return wrong("the period has to be from 1 ms to 24 hours");
  if (interval(r) > nanoseconds{longest_refill} / r.burst)
    return wrong("a burst of " + std::to_string(r.burst) + " would take more than 30 days to come back");
  return {};
}

result<verdict> bucket::take(const rule& r, std::uint32_t cost, instant now) {
  if (cost > r.burst)
    return {errc::invalid_request,
            "a cost of " + std::to_string(cost) + " is never allowed with a burst of " + std::to_string(r.burst)};
  const auto each = interval(r);
  const auto room = each * r.burst;
  const auto debt_after = debt(now) + each * cost;
  verdict v;
  v.allowed = debt_after <= room;
  if (v.allowed && cost > 0) full_at_ = now + debt_after;
  v.retry_after = v.allowed ? nanoseconds{} : debt_after - room;
  v.reset_after = debt(now);
  v.remaining = static_cast<std::uint32_t>(std::max(room - debt(now), nanoseconds{}) / each);
  return v;
}

// -- bytes ----------------------------------------------------------------------------------------------------------

namespace {
constexpr std::size_t frame_bytes = 64;
}

shared_bytes encode(const request& r) {
  schema::frame_writer<schema::LimitRequest> frame{frame_bytes};
  auto& to = frame.root();
  to.setCount(r.by.count);
  to.setPeriodNs(r.by.period.count());
  to.setBurst(r.by.burst);
  to.setCost(r.cost);
  return frame.finish();
}

result<request> decode_request(shared_bytes bytes) {
  return schema::read_frame<schema::LimitRequest>(
      "limit request", std::move(bytes), [](schema::frame_reader&, schema::LimitRequest::Reader from) {
        return request{{from.getCount(), nanoseconds{from.getPeriodNs()}, from.getBurst()}, from.getCost()};
      });
}

shared_bytes encode(const result<verdict>& v) {
  schema::frame_writer<schema::LimitAnswer> frame{frame_bytes + (v ? 0 : v.error().text.size())};
  auto& to = frame.root();
  if (!v) {
    to.setInvalid(schema::text_of(v.error().text));
  } else {
    to.setAllowed(v->allowed);
    to.setRemaining(v->remaining);
    to.setRetryAfterNs(v->retry_after.count());
    to.setResetAfterNs(v->reset_after.count());
  }
  return frame.finish();
}

result<verdict> decode_answer(shared_bytes bytes) {
  auto read = schema::read_frame<schema::LimitAnswer>(
      "limit answer", std::move(bytes),
      [](schema::frame_reader& in, schema::LimitAnswer::Reader from) -> result<verdict> {
        if (from.hasInvalid()) return {errc::invalid_request, in.text("invalid", from.getInvalid())};
        return verdict{from.getAllowed(), from.getRemaining(), nanoseconds{from.getRetryAfterNs()},
                       nanoseconds{from.getResetAfterNs()}};
      });
  if (!read) return read.error();
  return std::move(*read);
}

// -- the entity -----------------------------------------------------------------------------------------------------

namespace {

class limit_entity final : public entity {
public:
  limit_entity(instant now, nanoseconds debt) : bucket_{now, debt} {}

  shared_bytes handle(const shared_bytes& payload, instant now) override {
    const auto asked = decode_request(payload);
    if (!asked) return encode(result<verdict>{asked.error()});
    if (const auto ok = check(asked->by); !ok) return encode(result<verdict>{ok.error()});
    return encode(bucket_.take(asked->by, asked->cost, now));
  }
  shared_bytes state(instant now) const override {
    std::vector<std::byte> out(sizeof(std::int64_t));
    store_le<std::int64_t>(out.data(), bucket_.debt(now).count());
    return shared_bytes::own(std::move(out));
  }
  bool is_as_new(instant now) const override { return bucket_.debt(now) == nanoseconds{}; }

private:
  bucket bucket_;
};

}  // namespace

entity_type type() {
  return {{"limit", entities::keeping::ephemeral, 64}, [](std::string_view, byte_view state, instant now) {
            nanoseconds debt{};
            if (state.size() == sizeof(std::int64_t))
              debt = std::clamp(nanoseconds{load_le<std::int64_t>(state.data())}, nanoseconds{},
                                nanoseconds{longest_refill});
            return std::make_unique<limit_entity>(now, debt);
          }};
}

}  // namespace troupe::limit
