#include "apps/gateways/kafka/exchange.hpp"

#include "apps/gateways/kafka/connection.hpp"

namespace troupe::kafka {

void exchange::abandon() {
  if (over()) return;
  over_ = true;
  loop_->cancel(deadline_);
  release();
}

void exchange::drop_frame() {
  request_.header.client_id.reset();
  request_.body = {};
  request_.frame = {};
}

void exchange::finish(piece_list pieces, std::span<std::vector<store::slice>> records) {
  if (over()) return;
  output_.reserve(pieces.size() * 2);
  for (auto& p : pieces) {
    const auto size = p.bytes.size();
    if (size > 0) output_.push_back(store::slice{nullptr, 0, size, std::move(p.bytes)});
    if (p.outside.size == 0) continue;
    for (auto& s : records[p.outside.handle]) output_.push_back(std::move(s));
  }
  answered_ = true;
  answered_at_ = boot_clock::now();
  all_.count.answered(api(), arrived(), answered_at_);
  abandon();
  if (auto home = home_.lock()) home->answered();
}

void exchange::break_connection(std::string_view why) {
  if (auto home = home_.lock()) home->close(why);
}

}  // namespace troupe::kafka
