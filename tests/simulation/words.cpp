#include "tests/simulation/words.hpp"

#include <charconv>
#include <sstream>

namespace troupe::sim {

words::words(std::string_view line, int nodes) : nodes_{nodes} {
  std::istringstream all{std::string{line}};
  for (std::string word; all >> word;) left_.push_back(word);
}

void words::complain(std::string what) {
  if (!wrong_) wrong_ = std::move(what);
}

std::optional<std::string> words::finished() {
  if (!wrong_ && !left_.empty()) complain("'" + left_.front() + "' is too much");
  return wrong_;
}

bool words::take(std::string_view word) {
  if (none_left() || left_.front() != word) return false;
  left_.pop_front();
  return true;
}

void words::expect(std::string_view word) {
  if (!take(word))
    complain("'" + std::string{word} + "' expected" + (left_.empty() ? "" : " before '" + left_.front() + "'"));
}

std::string words::next(std::string_view what) {
  if (left_.empty()) complain(std::string{what} + " expected");
  if (none_left()) return {};
  auto word = std::move(left_.front());
  left_.pop_front();
  return word;
}

namespace {

template <class Number>
bool read_number(std::string_view text, Number& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::int64_t words::number() {
  const auto word = next("a number");
  std::int64_t n = 0;
  if (!wrong_ && !read_number(word, n)) complain("'" + word + "' is no number");
  return n;
}

int words::node() {
  const auto all = some_nodes();
  if (all.size() != 1) complain("one node expected");
  return wrong_ ? 1 : all.front();
}

std::vector<int> words::some_nodes() {
  const auto word = next("a node");
  std::vector<int> all;
  if (word == "controller") return {controller};
  if (word == "all") {
    for (int n = 1; n <= nodes_; ++n) all.push_back(n);
    return all;
  }
  std::istringstream parts{word};
  for (std::string part; std::getline(parts, part, ',');) {
    int n = 0;
    if (!read_number(part, n))
      complain("'" + word + "' names no node");
    else if (n < 1 || n > nodes_)
      complain("there is no node " + part);
    all.push_back(n);
  }
  return all;
}

duration words::span() {
  const auto word = next("a duration");
  const auto unit_at = word.find_first_not_of("+-0123456789");
  const std::string_view unit = unit_at == word.npos ? "" : std::string_view{word}.substr(unit_at);
  static constexpr std::pair<std::string_view, duration> units[] = {{"us", 1us},   {"ms", 1ms}, {"s", 1s},
                                                                    {"min", 1min}, {"h", 1h},   {"y", 8760h}};
  std::int64_t n = 0;
  std::string_view digits{word.data(), word.size() - unit.size()};
  if (digits.starts_with('+')) digits.remove_prefix(1);
  for (const auto& [name, length] : units)
    if (unit == name && read_number(digits, n)) return n * length;
  complain("'" + word + "' is no duration (300ms, 11s, 2min, 1h, 10y)");
  return 1s;
}

std::pair<duration, duration> words::spans() {
  const auto word = next("two durations");
  const auto dots = word.find("..");
  if (dots == word.npos) {
    complain("'" + word + "' is no span of durations (1s..4s)");
    return {1s, 1s};
  }
  left_.push_front(word.substr(dots + 2));
  left_.push_front(word.substr(0, dots));
  const auto least = span(), most = span();
  if (most < least) complain("'" + word + "' ends before it begins");
  return {least, most};
}

std::int64_t words::rate() {
  const auto word = next("a rate");
  constexpr std::string_view unit = "kB/s";
  std::int64_t n = 0;
  if (!word.ends_with(unit) || !read_number(std::string_view{word}.substr(0, word.size() - unit.size()), n) || n < 1)
    complain("'" + word + "' is no rate (125kB/s)");
  return n;
}

double words::share() {
  const auto word = next("a percentage");
  int n = 0;
  std::string_view digits{word};
  if (digits.starts_with('+')) digits.remove_prefix(1);
  if (!word.ends_with('%') || !read_number(digits.substr(0, digits.size() - 1), n))
    complain("'" + word + "' is no percentage (9%)");
  return n / 100.0;
}

partition_name words::partition() {
  const auto word = next("a partition");
  const auto slash = word.find('/');
  partition_name p;
  if (slash == word.npos || slash == 0 || !read_number(std::string_view{word}.substr(slash + 1), p.index) ||
      p.index < 0)
    complain("'" + word + "' is no partition (orders/0)");
  else
    p.topic = word.substr(0, slash);
  return p;
}

std::optional<std::string> words::option(std::string_view name) {
  for (auto at = left_.begin(); at != left_.end(); ++at)
    if (at->starts_with(name) && at->size() > name.size() && (*at)[name.size()] == '=') {
      auto value = at->substr(name.size() + 1);
      left_.erase(at);
      return value;
    }
  return {};
}

/// Puts the value in front, for whoever reads that kind of word.
template <class Read>
auto words::parsed(std::string_view name, Read read) -> std::optional<decltype((this->*read)())> {
  auto value = option(name);
  if (!value) return {};
  left_.push_front(std::move(*value));
  return (this->*read)();
}
std::optional<std::int64_t> words::number_option(std::string_view name) {
  return parsed(name, &words::number);
}
std::optional<duration> words::span_option(std::string_view name) {
  return parsed(name, &words::span);
}
std::optional<double> words::share_option(std::string_view name) {
  return parsed(name, &words::share);
}
std::optional<int> words::node_option(std::string_view name) {
  return parsed(name, &words::node);
}

}  // namespace troupe::sim
