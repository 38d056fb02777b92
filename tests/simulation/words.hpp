#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/simulation/kernel.hpp"

namespace troupe::sim {

/// `orders/0`
struct partition_name {
  std::string topic;
  int index{0};
};

/// The words of a command, taken from the front one after the other. The first thing wrong is kept and everything taken
/// from then on means nothing, so a reader of commands asks once, at the end.
class words {
public:
  /// Stands for whoever is the controller when the command runs.
  static constexpr int controller = 0;

  /// Nodes count from 1 to `nodes`.
  words(std::string_view line, int nodes);

  bool none_left() const { return left_.empty() || wrong_; }
  /// The next word is `name=value`.
  bool at_option() const { return !none_left() && left_.front().find('=') != std::string::npos; }
  /// Takes this word, if it is the next.
  bool take(std::string_view);
  void expect(std::string_view);
  std::string next(std::string_view what);
  int node();
  std::vector<int> some_nodes();
  duration span();
  /// 1s..4s
  std::pair<duration, duration> spans();
  /// 125kB/s: 125
  std::int64_t rate();
  partition_name partition();
  /// 9%: 0.09
  double share();
  std::int64_t number();
  /// The value of `name=value`, wherever it stands.
  std::optional<std::string> option(std::string_view name);
  std::optional<std::int64_t> number_option(std::string_view name);
  std::optional<duration> span_option(std::string_view name);
  std::optional<double> share_option(std::string_view name);
  std::optional<int> node_option(std::string_view name);
  void complain(std::string what);
  /// What is wrong, also: words that nobody took.
  std::optional<std::string> finished();

private:
  template <class Read>
  auto parsed(std::string_view name, Read read) -> std::optional<decltype((this->*read)())>;

  std::deque<std::string> left_;
  const int nodes_;
  std::optional<std::string> wrong_;
};

}  // namespace troupe::sim
