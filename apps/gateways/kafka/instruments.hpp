#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "apps/gateways/kafka/codec/api.hpp"
#include "runtime/base/instant.hpp"
#include "runtime/observe/metrics.hpp"

namespace troupe::kafka {

/// What the gateway counts. Thread-safe.
class instruments {
public:
  explicit instruments(observe::metrics&);

  observe::gauge& connections;
  observe::counter& accepted;
  observe::counter& bytes_in;
  observe::counter& bytes_out;
  observe::counter& malformed;

  void refused(std::string_view reason);
  void closed(std::string_view reason);
  void request(api_key api);
  void answered(api_key api, instant arrived, instant now);
  /// An error code in an answer; 0 is none.
  void error(std::int16_t code) {
    if (code != 0) count_error(code);
  }

private:
  /// Instruments of one API, made when it is first asked for.
  struct per_api {
    observe::counter* requests{nullptr};
    observe::histogram* seconds{nullptr};
    std::once_flag once;
  };
  static constexpr std::size_t apis_max = 100, codes_max = 160;

  per_api& of(api_key api);
  void count_error(std::int16_t code);

  observe::metrics& metrics_;
  std::array<per_api, apis_max> apis_;
  std::array<std::atomic<observe::counter*>, codes_max> errors_{};
};

}  // namespace troupe::kafka
