#pragma once

#include <algorithm>

#include "apps/gateways/kafka/handlers.hpp"

namespace troupe::kafka {

/// Sends items to the controller and gives each its decision. Some items are refused here, because they do not even
/// translate; `places_` remembers where in the answer the others stand.
template <class Request, class Response>
class decided_exchange : public exchange_of<Request, Response> {
public:
  using exchange_of<Request, Response>::exchange_of;

protected:
  /// A request may ask for a result at once; a decision takes a few milliseconds all the same.
  static constexpr std::chrono::milliseconds wait_min{1000}, wait_max{60'000};

  void sent(std::size_t place) { places_.push_back(place); }
  bool anything_sent() const { return !places_.empty(); }

  decisions_reply when_decided(std::int32_t timeout_ms) {
    this->set_deadline(this->arrived() + std::clamp(std::chrono::milliseconds{timeout_ms}, wait_min, wait_max));
    return this->reply(std::vector<decision>{}, [this](std::vector<decision> made) {
      for (std::size_t i = 0; i < places_.size(); ++i) {
        if (i >= made.size())
          refuse(places_[i], controller_gone);  // the answer of a controller that has ended
        else if (made[i].refused)
          refuse(places_[i], *made[i].refused);
        else
          done(places_[i], made[i]);
      }
      this->answer(this->told);
    });
  }
  void due() final {
    this->forget_deadline();
    for (const auto place : places_) refuse(place, {errc::timed_out, "not decided in time; it may still happen"});
    this->answer(this->told);
  }

  virtual void done(std::size_t place, const decision&) = 0;
  virtual void refuse(std::size_t place, const error&) = 0;

  /// Of a result with a code and a text.
  template <class Result>
  void put_error(Result& result, const error& why) {
    result.error_code = this->code_of(why);
    result.error_message = why.text.empty() ? std::string{to_string(why.code)} : why.text;
  }

private:
  std::vector<std::size_t> places_;
};

}  // namespace troupe::kafka
