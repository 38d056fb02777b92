#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "actors/entity/entity.hpp"
#include "runtime/base/bytes.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/base/result.hpp"

/// Rate limits shared by a whole cluster: the limit of a name is one entity, `limit/<name>`, asked at any node.
namespace troupe::limit {

/// On average `count` in `period`, and up to `burst` at once: a bucket of `burst` tokens that fills up at that rate.
struct rule {
  static constexpr std::uint32_t most = 1'000'000;           ///< `count` and `burst`
  static constexpr std::chrono::hours longest{24};           ///< `period`
  std::uint32_t count{1};                                    ///< [1, most]
  std::chrono::nanoseconds period{std::chrono::seconds{1}};  ///< [1 ms, longest]
  std::uint32_t burst{1};                                    ///< [1, most]
  friend bool operator==(const rule&, const rule&) = default;
};
/// Error invalid_request: which of them is out of range, or an empty bucket takes more than 30 days to fill.
result<void> check(const rule&);

struct verdict {
  bool allowed{false};
  std::uint32_t remaining{0};              ///< tokens left
  std::chrono::nanoseconds retry_after{};  ///< until as many as were asked for are there; 0: allowed
  std::chrono::nanoseconds reset_after{};  ///< until the bucket is full
  friend bool operator==(const verdict&, const verdict&) = default;
};

/// One bucket, by the generic cell rate algorithm (ITU-T I.371, annex A: virtual scheduling): all it keeps is when it
/// will be full. So it may be asked with another rule each time; the time stands.
class bucket {
public:
  /// `debt`: until it is full, as it was handed over.
  explicit bucket(instant now, std::chrono::nanoseconds debt = {}) : full_at_{now + debt} {}
  /// Takes `cost` tokens if they are there, else none; 0 only looks. `rule` holds (`check`). Error invalid_request:
  /// `cost` is more than `burst`, so it would never be allowed.
  result<verdict> take(const rule&, std::uint32_t cost, instant now);
  std::chrono::nanoseconds debt(instant now) const {
    return full_at_ > now ? full_at_ - now : std::chrono::nanoseconds{};
  }

private:
  instant full_at_;
};

// -- as an entity ---------------------------------------------------------------------------------------------------

struct request {
  rule by;
  std::uint32_t cost{1};
};
shared_bytes encode(const request&);
result<request> decode_request(shared_bytes);
/// Its answer: what was decided, or invalid_request.
shared_bytes encode(const result<verdict>&);
result<verdict> decode_answer(shared_bytes);

/// The kind `limit`. Kept in memory only: when its node dies, a bucket begins full; when the shard moves in order, it
/// moves along.
entity_type type();

}  // namespace troupe::limit
