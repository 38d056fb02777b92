#include "apps/gateways/rest/limits.hpp"

#include <limits>
#include <nlohmann/json.hpp>

namespace troupe::rest {

namespace {

using nlohmann::json;

/// Rounded up: who comes back then is allowed.
std::int64_t whole(std::chrono::nanoseconds time, std::chrono::nanoseconds unit) {
  return (time + unit - std::chrono::nanoseconds{1}) / unit;
}

net::http_response undecided(const error& why) {
  auto out = net::problem(503, why.text + "; it may have counted all the same: try again");
  out.headers.emplace_back("Retry-After", "1");
  return out;
}

}  // namespace

result<limit::request> limit_request(std::string_view body) {
  const std::string usage =
      R"({"limit": 100, "period_ms": 60000, "burst": 20, "cost": 1}; all but limit may be left out)";
  const error wrong{errc::invalid_request, "the body has to be like " + usage};
  const auto value = json::parse(body, nullptr, false);
  if (!value.is_object() || !value.contains("limit")) return wrong;
  for (const auto& [name, number] : value.items()) {
    if (name != "limit" && name != "period_ms" && name != "burst" && name != "cost")
      return {errc::invalid_request, "there is no \"" + name + "\"; " + wrong.text};
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > std::numeric_limits<std::uint32_t>::max())
      return {errc::invalid_request, "\"" + name + "\" has to be a number from 0 to 4294967295"};
  }
  limit::request asked;
  asked.by.count = value["limit"];
  asked.by.period = std::chrono::milliseconds{value.value("period_ms", std::uint32_t{1000})};
  asked.by.burst = value.value("burst", asked.by.count);
  asked.cost = value.value("cost", std::uint32_t{1});
  if (const auto ok = limit::check(asked.by); !ok) return ok.error();
  return asked;
}

net::http_response limit_answer(const limit::request& asked, const limit::verdict& v) {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  const json body{{"allowed", v.allowed},
                  {"limit", asked.by.count},
                  {"remaining", v.remaining},
                  {"retry_after_ms", whole(v.retry_after, milliseconds{1})},
                  {"reset_after_ms", whole(v.reset_after, milliseconds{1})}};
  net::http_response out{v.allowed ? 200u : 429u, "application/json", body.dump() + "\n", {}};
  if (!v.allowed) out.headers.emplace_back("Retry-After", std::to_string(whole(v.retry_after, seconds{1})));
  return out;
}

void add_limits(net::http_server& server, std::shared_ptr<cluster_directory> directory) {
  server.post("/v1/limits/{}", [directory = std::move(directory)](const net::http_request& asked,
                                                                  const net::http_server::later& answer) {
    const auto refuse = [&](net::http_response what) { answer([what = std::move(what)] { return what; }); };
    const entities::entity_name whom{"limit", asked.parts[0]};
    if (whom.text().size() > entities::entity_name::size_max)
      return refuse(net::problem(400, "a limit's name has at most 506 bytes"));
    const auto what = limit_request(asked.body);
    if (!what) return refuse(net::problem(400, what.error().text));
    directory->ask(whom, limit::encode(*what), [answer, what = *what](result<shared_bytes> reply) {
      answer([what, reply = std::move(reply)] {
        if (!reply) return undecided(reply.error());
        const auto v = limit::decode_answer(*reply);
        if (!v) return net::problem(v.code() == errc::invalid_request ? 400 : 500, v.error().text);
        return limit_answer(what, *v);
      });
    });
  });
}

}  // namespace troupe::rest
