#include "apps/gateways/kafka/instruments.hpp"

#include <string>

#include "apps/gateways/kafka/codec/error_codes.hpp"

namespace troupe::kafka {

instruments::instruments(observe::metrics& m)
    : connections{m.gauge("troupe_kafka_connections", "Open client connections.")},
      accepted{m.counter("troupe_kafka_connections_accepted_total", "Client connections let in.")},
      bytes_in{m.counter("troupe_kafka_received_bytes_total", "Bytes received from clients.")},
      bytes_out{m.counter("troupe_kafka_sent_bytes_total", "Bytes sent to clients.")},
      malformed{
          m.counter("troupe_kafka_malformed_frames_total", "Frames that ended their connection: no valid request.")},
      metrics_{m} {}

void instruments::refused(std::string_view reason) {
  metrics_
      .counter("troupe_kafka_connections_refused_total", "Client connections turned away, by the bound they met.",
               {{"reason", std::string{reason}}})
      .add();
}

void instruments::closed(std::string_view reason) {
  metrics_
      .counter("troupe_kafka_connections_closed_total", "Client connections ended, by reason.",
               {{"reason", std::string{reason}}})
      .add();
}

void instruments::request(api_key api) {
  of(api).requests->add();
}

void instruments::answered(api_key api, instant arrived, instant now) {
  of(api).seconds->observe(std::chrono::duration<double>(now - arrived).count());
}

instruments::per_api& instruments::of(api_key api) {
  auto& a = apis_[static_cast<std::size_t>(api) % apis_max];
  std::call_once(a.once, [&] {
    const observe::labels labels{{"api", std::string{name_of(api)}}};
    a.requests = &metrics_.counter("troupe_kafka_requests_total", "Requests received, by API.", labels);
    a.seconds = &metrics_.histogram("troupe_kafka_request_seconds",
                                    "From the arrival of a request to its answer (waiting included), by API.",
                                    observe::latency_bounds(), labels);
  });
  return a;
}

void instruments::count_error(std::int16_t code) {
  auto& place = errors_[static_cast<std::size_t>(code + 1) % codes_max];
  auto* c = place.load(std::memory_order_relaxed);
  if (c == nullptr) {
    // Two threads may both ask: the registry gives them the same one.
    c = &metrics_.counter(
        "troupe_kafka_errors_total", "Error codes in answers, one for each item refused.",
        {{"code", name_of_code(code).empty() ? std::to_string(code) : std::string{name_of_code(code)}}});
    place.store(c, std::memory_order_relaxed);
  }
  c->add();
}

}  // namespace troupe::kafka
