#include "tests/bench/common/cluster.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/integration/raw.hpp"

namespace troupe::bench {

using namespace std::chrono_literals;

http_answer http(std::uint16_t port, std::string_view path, std::optional<std::string_view> json) {
  std::string request = (json ? "POST " : "GET ") + std::string{path} +
                        " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
  if (json) request += "Content-Length: " + std::to_string(json->size()) + "\r\n";
  request += "\r\n" + std::string{json.value_or("")};
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.sin_port = htons(port);
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval limit{15, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::string all;
  if (connect(s, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0 &&
      send(s, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    char buffer[16384];
    for (ssize_t n; (n = recv(s, buffer, sizeof buffer, 0)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
  }
  close(s);
  http_answer answer;
  if (all.starts_with("HTTP/1.1 ")) answer.status = std::atoi(all.c_str() + 9);
  if (const auto body = all.find("\r\n\r\n"); body != std::string::npos) answer.body = all.substr(body + 4);
  return answer;
}

cluster::cluster(setup s) : setup_{std::move(s)} {
  home_ = setup_.directory / ("troupe-bench-" + std::to_string(getpid()));
  for (int n = 1; n <= size(); ++n) ports_[n] = {free_port(), free_port(), free_port()};
  for (int n = 1; n <= size(); ++n) start(n);
  for (int n = 1; n <= size(); ++n) wait_ready(n);
}

cluster::~cluster() {
  for (int n = 1; n <= size(); ++n) kill(n);
  std::error_code ignored;
  std::filesystem::remove_all(home_, ignored);
}

std::string cluster::bootstrap() const {
  std::string all;
  for (int n = 1; n <= size(); ++n) all += (n > 1 ? "," : "") + address(n);
  return all;
}

void cluster::start(int n) {
  const auto folder = data(n).parent_path();
  std::filesystem::create_directories(folder);
  const auto at = [](std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); };
  std::vector<std::string> words{TROUPE_NODE,
                                 "--node-id=" + std::to_string(n),
                                 "--data-dir=" + data(n).string(),
                                 "--kafka=" + address(n),
                                 "--http=" + at(http_port(n)),
                                 "--cluster=" + at(ports_.at(n).link),
                                 "--log-level=" + setup_.log_level};
  if (n != 1) words.push_back("--join=" + at(ports_.at(1).link));
  words.insert(words.end(), setup_.more.begin(), setup_.more.end());
  const auto log = (folder / "log").string();
  const auto parent = getpid();
  const auto pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    if (!std::freopen(log.c_str(), "a", stderr) || !std::freopen("/dev/null", "w", stdout)) _exit(1);
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  pids_[n] = pid;
}

void cluster::wait_ready(int n) const {
  wait_for(
      "node " + std::to_string(n) + " to be ready", [&] { return http(http_port(n), "/readyz").status == 200; }, 2ms);
}

void cluster::signal(int n, int number) const {
  if (const auto at = pids_.find(n); at != pids_.end()) ::kill(at->second, number);
}

void cluster::kill(int n) {
  signal(n, SIGKILL);
  if (pids_.contains(n)) waitpid(pids_[n], nullptr, 0);
  pids_.erase(n);
}

std::optional<int> cluster::stop(int n, std::chrono::seconds limit) {
  signal(n, SIGTERM);
  for (const auto until = clock_type::now() + limit; clock_type::now() < until; pause(2ms)) {
    int status = 0;
    if (waitpid(pids_.at(n), &status, WNOHANG) != pids_.at(n)) continue;
    pids_.erase(n);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  kill(n);
  return std::nullopt;
}

void cluster::create_topic(const std::string& name, const std::vector<std::vector<int>>& replicas,
                           const std::vector<std::pair<std::string, std::string>>& configs) const {
  test::writer body;
  body.i32(1).str(name).i32(-1).i16(-1).i32(static_cast<std::int64_t>(replicas.size()));
  for (std::size_t p = 0; p < replicas.size(); ++p) {
    body.i32(static_cast<std::int64_t>(p)).i32(static_cast<std::int64_t>(replicas[p].size()));
    for (const int n : replicas[p]) body.i32(n);
  }
  body.i32(static_cast<std::int64_t>(configs.size()));
  for (const auto& [key, value] : configs) body.str(key).str(value);
  body.i32(10'000).i8(0);
  auto answer = test::connection{kafka_port(1)}.ask(19, 2, body.bytes());
  if (!answer) die("node 1 does not answer");
  answer->i32(), answer->i32(), answer->str();
  if (const auto code = answer->i16()) die("topic " + name + " cannot be created: " + std::to_string(code));
  wait_in_sync(name, replicas.front().size());
}

void cluster::delete_topic(const std::string& name) const {
  if (!test::connection{kafka_port(1)}.ask(20, 1, test::writer{}.i32(1).str(name).i32(10'000).bytes()))
    die("topic " + name + " cannot be deleted");
}

void cluster::let_lead(int n, const std::string& topic) const {
  const auto leads = [&] {
    const auto all = partitions(n, topic);
    return all && std::ranges::all_of(*all, [&](const partition_view& p) { return p.leader == n; });
  };
  const auto found = nlohmann::json::parse(http(http_port(n), "/v1/partitions/" + topic).body);
  for (const auto& p : found["partitions"]) {
    auto replicas = p["replicas"].get<std::vector<int>>();
    std::ranges::stable_partition(replicas, [&](int r) { return r == n; });
    const auto path = "/v1/partitions/" + topic + "/" + std::to_string(p["partition"].get<int>());
    http(http_port(n), path, nlohmann::json{{"replicas", replicas}}.dump());
    http(http_port(n), path, R"({"elect":"preferred"})");
  }
  wait_for("node " + std::to_string(n) + " to lead " + topic, leads);
}

std::optional<std::vector<partition_view>> cluster::partitions(int n, const std::string& topic) const {
  const auto answer = http(http_port(n), "/v1/partitions/" + topic);
  if (answer.status != 200) return std::nullopt;
  const auto said = nlohmann::json::parse(answer.body);
  std::vector<partition_view> all;
  for (const auto& p : said["partitions"])
    all.push_back({p["leader"].is_null() ? -1 : p["leader"].get<int>(), p["epoch"].get<std::int64_t>(),
                   p["isr"].get<std::vector<int>>()});
  return all;
}

std::optional<cluster_facts> cluster::facts(int n) const {
  const auto answer = http(http_port(n), "/v1/cluster");
  if (answer.status != 200) return std::nullopt;
  const auto said = nlohmann::json::parse(answer.body);
  return cluster_facts{said["controller"].is_null() ? -1 : said["controller"].get<int>(), said["quorum"]["term"]};
}

bool cluster::in_sync(const std::string& topic, std::size_t replicas) const {
  for (int n = 1; n <= size(); ++n) {
    const auto all = partitions(n, topic);
    if (!all || all->empty()) return false;
    for (const auto& p : *all)
      if (p.leader < 0 || p.isr.size() != replicas) return false;
  }
  return true;
}

void cluster::wait_in_sync(const std::string& topic, std::size_t replicas) const {
  wait_for("all replicas of " + topic + " to be in sync", [&] { return in_sync(topic, replicas); });
}

void cluster::pause(std::chrono::milliseconds time) {
  std::this_thread::sleep_for(time);
}

void cluster::give_up(const std::string& what) const {
  die("waited two minutes for " + what + "; data and logs are in " + home_.string());
}

}  // namespace troupe::bench
