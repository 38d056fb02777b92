#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "apps/gateways/kafka/instruments.hpp"

namespace troupe::kafka {

/// Who may come in: so many connections in all, and so many from one address. Thread-safe.
class admission : public std::enable_shared_from_this<admission> {
public:
  admission(std::uint32_t connections_max, std::uint32_t per_address_max, instruments& count)
      : connections_max_{connections_max}, per_address_max_{per_address_max}, count_{count} {}

  /// A connection's place, free again when destroyed.
  class seat {
  public:
    seat(std::shared_ptr<admission> door, std::string address) : door_{std::move(door)}, address_{std::move(address)} {}
    seat(seat&&) = default;
    seat& operator=(seat&&) = delete;
    ~seat() {
      if (door_) door_->leave(address_);
    }
    const std::string& address() const { return address_; }

  private:
    std::shared_ptr<admission> door_;
    std::string address_;
  };

  /// Nothing when it is full; counted, with the reason.
  std::optional<seat> enter(std::string address);
  std::uint32_t inside() const;

private:
  void leave(const std::string& address);

  const std::uint32_t connections_max_, per_address_max_;
  instruments& count_;
  mutable std::mutex mutex_;
  std::uint32_t inside_{0};
  std::unordered_map<std::string, std::uint32_t> by_address_;
};

}  // namespace troupe::kafka
