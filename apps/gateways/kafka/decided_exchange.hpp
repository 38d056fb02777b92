#pragma once

#include <algorithm>

#include "apps/gateways/kafka/handlers.hpp"

namespace troupe::kafka {

/// Sends items to the controller and gives each its decision. Some items are refused here, because they do not even
/// translate; `places_` remembers where in the answer the others stand.
///
/// While the cluster elects a controller there is nobody who decides. Few clients wait for long by themselves, so the
/// same is asked again for a while; only then they hear that there is no controller (NOT_CONTROLLER).
template <class Request, class Response>
class decided_exchange : public exchange_of<Request, Response> {
public:
  using exchange_of<Request, Response>::exchange_of;

protected:
  /// A request may ask for a result at once; a decision takes a few milliseconds all the same.
  static constexpr std::chrono::milliseconds wait_min{1000}, wait_max{60'000};
  static constexpr std::chrono::milliseconds controller_wait{5000}, again_after{100};

  void sent(std::size_t place) { places_.push_back(place); }
  bool anything_sent() const { return !places_.empty(); }

  /// `ask` sends the items to the controller, maybe more than once.
  void decide(std::int32_t timeout_ms, std::function<void(decisions_reply)> ask) {
    ask_ = std::move(ask);
    give_up_ = this->arrived() + std::clamp(std::chrono::milliseconds{timeout_ms}, wait_min, wait_max);
    ask_now();
  }
  void due() final {
    this->forget_deadline();
    if (std::exchange(pausing_, false)) return ask_now();
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
  void release() override { ask_ = nullptr; }

private:
  void ask_now() {
    this->set_deadline(give_up_);
    ask_(this->reply(std::vector<decision>{}, [this](std::vector<decision> made) { hear(made); }));
  }

  void hear(const std::vector<decision>& made) {
    const bool nobody = !made.empty() && std::ranges::all_of(made, [](const decision& d) {
      return d.refused && d.refused->code == errc::not_leader;
    });
    const auto again = boot_clock::now() + again_after;
    if (nobody && again < std::min(give_up_, this->arrived() + controller_wait)) {
      pausing_ = true;
      return this->set_deadline(again);
    }
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (i >= made.size())
        refuse(places_[i], controller_gone);  // the answer of a controller that has ended
      else if (made[i].refused)
        refuse(places_[i], *made[i].refused);
      else
        done(places_[i], made[i]);
    }
    this->answer(this->told);
  }

  std::vector<std::size_t> places_;
  std::function<void(decisions_reply)> ask_;
  instant give_up_;
  bool pausing_{false};  ///< nobody decides at the moment
};

}  // namespace troupe::kafka
