#pragma once

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "apps/gateways/kafka/codec/cluster_tables.hpp"
#include "apps/gateways/kafka/codec/config_tables.hpp"
#include "apps/gateways/kafka/codec/fetch_tables.hpp"
#include "apps/gateways/kafka/codec/messages.hpp"
#include "apps/gateways/kafka/codec/placement_tables.hpp"
#include "apps/gateways/kafka/codec/produce_tables.hpp"
#include "apps/gateways/kafka/codec/topic_tables.hpp"
#include "runtime/base/random.hpp"

namespace troupe::kafka {

/// Fills messages with random contents, as far as a version has them. Owns what their views point to.
class message_maker {
public:
  explicit message_maker(std::uint64_t seed) : chance_{seed} {}

  template <class Message>
  Message make(std::int16_t version) {
    Message message;
    fill(message, dialect_of<Message>(version));
    return message;
  }

  std::uint64_t below(std::uint64_t bound) { return chance_.below(bound); }
  std::int32_t number() { return static_cast<std::int32_t>(chance_()); }

private:
  template <class T>
  void fill(T& to, dialect d) {
    if constexpr (is_optional<T>) {
      fill(to.emplace(), d);
    } else if constexpr (is_text<T>) {
      static constexpr std::size_t sizes[] = {0, 1, 7, 127, 128, 300};
      texts_.emplace_back(sizes[below(std::size(sizes))], static_cast<char>('a' + below(26)));
      to = texts_.back();
    } else if constexpr (std::is_same_v<T, byte_span>) {
      to = bytes();
    } else if constexpr (std::is_same_v<T, fetched_records>) {
      to.here = bytes();
    } else if constexpr (is_vector<T>) {
      to.resize(below(4));
      for (auto& e : to) fill(e, d);
    } else if constexpr (std::is_same_v<T, bool>) {
      to = below(2) == 1;
    } else if constexpr (std::is_integral_v<T>) {
      to = static_cast<T>(chance_() >> below(64));
    } else if constexpr (std::is_same_v<T, uuid>) {
      for (auto& b : to.bytes) b = static_cast<std::uint8_t>(below(256));
    } else {
      for_each_field<T>([&](const auto& f) {
        if (!f.on.has(d.version)) return;
        if (f.tag >= 0 && below(2) == 0) return;
        if constexpr (is_optional<std::remove_cvref_t<decltype(to.*f.member)>>)
          if (d.version >= f.null_from && below(3) == 0) return (to.*f.member).reset();
        fill(to.*f.member, d);
      });
    }
  }

  byte_span bytes() {
    auto& made = blobs_.emplace_back(below(200));
    for (auto& b : made) b = static_cast<std::byte>(below(256));
    return made;
  }

  random_source chance_;
  std::deque<std::string> texts_;
  std::deque<std::vector<std::byte>> blobs_;
};

/// Calls `f.operator()<Message>()` for each message of a list.
template <class... Messages, class F>
void for_each_message(message_list<Messages...>, F&& f) {
  (f.template operator()<Messages>(), ...);
}

/// The bytes of a message that holds all of its records itself.
inline std::vector<std::byte> joined(const piece_list& pieces) {
  std::vector<std::byte> all;
  for (auto& p : pieces) all.insert(all.end(), p.bytes.view().begin(), p.bytes.view().end());
  return all;
}
inline std::vector<std::byte> copy_of(byte_view bytes) {
  return {bytes.begin(), bytes.end()};
}

inline constexpr std::size_t everything = 1 << 20;  ///< bytes to print

}  // namespace troupe::kafka
