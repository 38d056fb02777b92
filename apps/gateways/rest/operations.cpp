#include "apps/gateways/rest/operations.hpp"

#include <caf/send.hpp>
#include <charconv>

#include "apps/gateways/rest/cluster_json.hpp"

namespace troupe::rest {

namespace {

using net::http_request;
using net::http_response;
using later = net::http_server::later;
using view = std::shared_ptr<const cluster_view>;
/// The state that an answer shows.
using render = std::function<http_response(const metadata_image&, const node_description&)>;

std::optional<std::int32_t> number_in(std::string_view text) {
  std::int32_t value = -1;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (bad != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

http_response json(std::string body, unsigned status = 200) {
  return {status, "application/json", std::move(body), {}};
}

http_response json_or_missing(std::optional<std::string> body, unsigned status, const std::string& what) {
  return body ? json(std::move(*body), status) : net::problem(404, "there is no " + what);
}

void say(const later& to, http_response what) {
  to([what = std::move(what)] { return what; });
}

class operations {
public:
  operations(std::shared_ptr<cluster_directory> directory, std::function<caf::actor()> node)
      : directory_{std::move(directory)}, node_{std::move(node)} {}

  void show(const later& answer, render shown) const {
    const auto node = node_();
    if (!node) return say(answer, not_yet());
    describe(node, directory_, answer, std::move(shown));
  }

  /// Asks the controller; afterwards the state.
  void decide(const later& answer, result<cluster_controller::request> what, render shown) const {
    if (!what) return say(answer, net::problem(400, what.error().text));
    const auto node = node_();
    if (!node) return say(answer, not_yet());
    auto decided = [node, answer, directory = directory_,
                    shown = std::move(shown)](cluster_controller::outcome out) mutable {
      auto why = out.failed;
      if (!why && !out.items.empty() && !out.items.front()) why = out.items.front().error();
      if (why) return say(answer, refusal(*why));
      describe(node, std::move(directory), answer, std::move(shown));
    };
    caf::anon_send(node, operator_request{std::move(*what), std::move(decided)});
  }

  view now() const { return directory_->view(); }

private:
  static http_response not_yet() { return net::problem(503, "the node is starting: try again shortly"); }

  static void describe(const caf::actor& node, std::shared_ptr<cluster_directory> directory, later answer,
                       render shown) {
    // Only the facts are taken on the node's thread, which has heartbeats to send; the text is made on the server's.
    caf::anon_send(node, describe_node_request{[=](node_description self) {
                     answer([=] { return shown(*directory->view()->image, self); });
                   }});
  }

  std::shared_ptr<cluster_directory> directory_;
  std::function<caf::actor()> node_;
};

}  // namespace

http_response refusal(const error& why) {
  const auto retry = [&](const std::string& next) {
    auto out = net::problem(503, why.text + "; " + next);
    out.headers.emplace_back("Retry-After", "1");
    return out;
  };
  switch (why.code) {
    case errc::unknown_topic:
    case errc::invalid_partitions:
      return net::problem(404, why.text);
    case errc::invalid_request:
    case errc::invalid_assignment:
      return net::problem(409, why.text);
    case errc::not_enough_replicas:
      return net::problem(409, why.text + "; GET /v1/cluster shows which nodes there are");
    case errc::not_leader:
      return retry("GET /v1/cluster shows who votes and whom this node takes for the controller");
    case errc::busy:
      return retry("nothing was done, try again shortly");
    case errc::closed:
    case errc::timed_out:
      return retry("it may have happened all the same: a GET shows it");
    default:
      return net::problem(500, why.text);
  }
}

void add_operations(net::http_server& server, std::shared_ptr<cluster_directory> directory,
                    std::function<caf::actor()> node) {
  const auto all = std::make_shared<const operations>(std::move(directory), std::move(node));

  const auto cluster = [](unsigned status) -> render {
    return [status](const auto& image, const auto& self) { return json(cluster_json(image, self), status); };
  };
  server.get("/v1/cluster", [=](const http_request&, const later& answer) { all->show(answer, cluster(200)); });
  server.post("/v1/cluster", [=](const http_request& asked, const later& answer) {
    all->decide(answer, cluster_request(asked.body), cluster(202));
  });

  const auto one_node = [](node_id id, unsigned status) -> render {
    return [=](const auto& image, const auto& self) {
      return json_or_missing(node_json(image, self, id), status, "node " + std::to_string(id.value()));
    };
  };
  server.get("/v1/nodes/{}", [=](const http_request& asked, const later& answer) {
    const auto id = number_in(asked.parts[0]);
    if (!id) return say(answer, net::problem(404, "a node is named by its number"));
    all->show(answer, one_node(node_id{*id}, 200));
  });
  server.post("/v1/nodes/{}", [=](const http_request& asked, const later& answer) {
    const auto id = number_in(asked.parts[0]);
    if (!id) return say(answer, net::problem(404, "a node is named by its number"));
    auto what = node_request(node_id{*id}, asked.body);
    // The controller is told of known nodes only, so that its refusals are about their state.
    const auto* known = all->now()->image->node(node_id{*id});
    if (what && (known == nullptr || known->state == node_state::removed))
      return say(answer, net::problem(404, "there is no node " + asked.parts[0] + " in the cluster"));
    all->decide(answer, std::move(what), one_node(node_id{*id}, 202));
  });

  const auto one_topic = [](const std::string& topic, unsigned status) -> render {
    return [=](const auto& image, const auto&) {
      return json_or_missing(topic_json(image, topic), status, "topic " + topic);
    };
  };
  server.get("/v1/partitions/{}", [=](const http_request& asked, const later& answer) {
    all->show(answer, one_topic(asked.parts[0], 200));
  });
  server.post("/v1/partitions/{}/{}", [=](const http_request& asked, const later& answer) {
    const auto& name = asked.parts[0];
    const auto index = number_in(asked.parts[1]);
    const auto topic = all->now()->image->find(name);
    if (!topic) return say(answer, net::problem(404, "there is no topic " + name));
    if (!index || static_cast<std::size_t>(*index) >= topic->partitions.size())
      return say(answer, net::problem(404, "the topic " + name + " has partitions 0 to " +
                                               std::to_string(topic->partitions.size() - 1)));
    all->decide(answer, partition_request({topic->id, partition_index{*index}}, asked.body), one_topic(name, 202));
  });
}

}  // namespace troupe::rest
