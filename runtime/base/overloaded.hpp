#pragma once

namespace troupe {

/// Several lambdas as one visitor: `std::visit(overloaded{[](a&) {…}, [](b&) {…}}, variant)`.
template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloaded(Fs...) -> overloaded<Fs...>;  // clang 14, for the fuzz targets, does not deduce it

}  // namespace troupe
