#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "runtime/base/check.hpp"
#include "runtime/base/errc.hpp"

namespace troupe {

/// What went wrong, and the words for the person who has to act on it: what, who, where, and the
/// next step where there is one.
struct error {
  errc code{errc::internal};
  std::string text;

  friend bool operator==(const error&, const error&) = default;
};

/// A value, or why there is none. `result<void>` says only whether it worked.
template <class T>
class [[nodiscard]] result {
public:
  result(T value) : state_{std::in_place_index<0>, std::move(value)} {}
  result(troupe::error e) : state_{std::in_place_index<1>, std::move(e)} {}
  result(errc code, std::string text = {}) : result{troupe::error{code, std::move(text)}} {}

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  /// The value. Asking a failed result for it is a broken invariant.
  T& value() & {
    TROUPE_CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    TROUPE_CHECK(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    TROUPE_CHECK(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const troupe::error& error() const {
    TROUPE_CHECK(!ok());
    return *std::get_if<1>(&state_);
  }
  errc code() const { return error().code; }

private:
  std::variant<T, troupe::error> state_;
};

template <>
class [[nodiscard]] result<void> {
public:
  result() = default;
  result(troupe::error e) : error_{std::move(e)} {}
  result(errc code, std::string text = {}) : error_{troupe::error{code, std::move(text)}} {}

  bool ok() const noexcept { return !error_; }
  explicit operator bool() const noexcept { return ok(); }
  const troupe::error& error() const {
    TROUPE_CHECK(error_.has_value());
    return *error_;
  }
  errc code() const { return error().code; }

private:
  std::optional<troupe::error> error_;
};

}  // namespace troupe
