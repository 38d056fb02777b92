#include "apps/node/options.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <sstream>

#include "apps/node/units.hpp"
#include "runtime/transport/transport.hpp"

/// One table of options serves the command line, the environment, the file, the help and the test of reference.conf: an
/// option that is added to it exists everywhere. We read the command line ourselves because all sources then share
/// one set of checks and one form of error.
namespace troupe {
namespace {

constexpr std::string_view program = "troupe-node";
constexpr std::size_t config_bytes_max = 1 << 20;

using setter = std::function<result<void>(node_options&, std::string_view)>;
using getter = std::function<std::string(const node_options&)>;

/// How a field is read and written, and what the help calls its values.
struct form {
  std::string_view values;
  setter set;
  getter get;
};

struct option {
  std::string_view group, name;
  form how;
  std::string_view documentation;
};

error wrong(std::string text) {
  return {errc::invalid_request, std::move(text)};
}

// -- the forms of values --------------------------------------------------------------------------------

template <class Number>
form number(Number node_options::*field, Number least, Number most) {
  return {
      "NUMBER",
      [=](node_options& to, std::string_view text) -> result<void> {
        Number value{};
        const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (bad != std::errc{} || end != text.data() + text.size() || value < least || value > most)
          return wrong(in_quotes(text) + " is no number from " + std::to_string(least) + " to " + std::to_string(most));
        to.*field = value;
        return {};
      },
      [=](const node_options& from) { return std::to_string(from.*field); }};
}

using duration = node_options::duration;

result<duration> duration_in(std::string_view text, duration least, duration most) {
  auto value = parse_duration(text);
  if (value && (*value < least || *value > most))
    return wrong(in_quotes(text) + " is out of range: from " + duration_text(least) + " to " + duration_text(most));
  return value;
}

form time(duration node_options::*field, duration least, duration most) {
  return {"DURATION",
          [=](node_options& to, std::string_view text) -> result<void> {
            auto value = duration_in(text, least, most);
            if (!value) return value.error();
            to.*field = *value;
            return {};
          },
          [=](const node_options& from) { return duration_text(from.*field); }};
}

result<std::uint64_t> size_in(std::string_view text, std::uint64_t least, std::uint64_t most) {
  auto value = parse_size(text);
  if (value && (*value < least || *value > most))
    return wrong(in_quotes(text) + " is out of range: from " + size_text(least) + " to " + size_text(most));
  return value;
}

template <class Number>
form size(Number node_options::*field, std::uint64_t least, std::uint64_t most) {
  return {"SIZE",
          [=](node_options& to, std::string_view text) -> result<void> {
            auto value = size_in(text, least, most);
            if (!value) return value.error();
            to.*field = static_cast<Number>(*value);
            return {};
          },
          [=](const node_options& from) { return size_text(static_cast<std::uint64_t>(from.*field)); }};
}

/// A value, or `none`.
template <class Value, class Parse, class Text>
form or_none(std::string_view values, std::optional<Value> node_options::*field, Parse parse, Text text_of) {
  return {values,
          [=](node_options& to, std::string_view text) -> result<void> {
            if (text == "none") {
              to.*field = std::nullopt;
              return {};
            }
            auto value = parse(text);
            if (!value) return wrong(value.error().text + "; or none");
            to.*field = *value;
            return {};
          },
          [=](const node_options& from) { return from.*field ? text_of(*(from.*field)) : "none"; }};
}

form address(net::address node_options::*field) {
  return {"HOST:PORT",
          [=](node_options& to, std::string_view text) -> result<void> {
            auto value = net::parse_address(text);
            if (!value) return value.error();
            to.*field = *value;
            return {};
          },
          [=](const node_options& from) { return (from.*field).text(); }};
}

form on_off(bool node_options::*field) {
  return {"on|off",
          [=](node_options& to, std::string_view text) -> result<void> {
            if (text != "on" && text != "off") return wrong(in_quotes(text) + " is neither on nor off");
            to.*field = text == "on";
            return {};
          },
          [=](const node_options& from) { return from.*field ? "on" : "off"; }};
}

const form data_directory{"DIRECTORY",
                          [](node_options& to, std::string_view text) -> result<void> {
                            if (text.empty()) return wrong("a directory is missing");
                            to.data_dir = text;
                            return {};
                          },
                          [](const node_options& from) { return from.data_dir.string(); }};

const form id{"NUMBER",
              [](node_options& to, std::string_view text) -> result<void> {
                std::int32_t value = -1;
                const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
                if (bad != std::errc{} || end != text.data() + text.size() || value < 0)
                  return wrong(in_quotes(text) + " is no number from 0 to 2147483647");
                to.node_id = node_id{value};
                return {};
              },
              [](const node_options& from) { return std::to_string(from.node_id.value()); }};

const form rack_name{
    "NAME",
    [](node_options& to, std::string_view text) -> result<void> {
      if (text.size() > 255 || !std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; }))
        return wrong(in_quotes(text) + " is no name: at most 255 letters, digits and signs, no spaces");
      to.rack = text;
      return {};
    },
    [](const node_options& from) { return from.rack; }};

const form log_from{"LEVEL",
                    [](node_options& to, std::string_view text) -> result<void> {
                      auto value = observe::parse_level(text);
                      if (!value) return value.error();
                      to.log_level = *value;
                      return {};
                    },
                    [](const node_options& from) {
                      constexpr std::array names{"trace", "debug", "info", "warn", "error"};
                      return std::string{names[static_cast<std::size_t>(from.log_level)]};
                    }};

/// Follows `kafka` while empty: `completed` fills it in.
const form advertised{"HOST:PORT",
                      [](node_options& to, std::string_view text) -> result<void> {
                        if (text.empty()) {
                          to.kafka_advertised = {};
                          return {};
                        }
                        auto value = net::parse_address(text);
                        if (!value) return value.error();
                        to.kafka_advertised = *value;
                        return {};
                      },
                      [](const node_options& from) {
                        const auto& at = from.kafka_advertised;
                        return at == from.kafka || at.host.empty() ? std::string{} : at.text();
                      }};

/// An address, or nothing.
form maybe_address(std::optional<net::address> node_options::*field) {
  return {"HOST:PORT",
          [=](node_options& to, std::string_view text) -> result<void> {
            (to.*field).reset();
            if (text.empty()) return {};
            auto value = net::parse_address(text);
            if (!value) return value.error();
            to.*field = *value;
            return {};
          },
          [=](const node_options& from) { return from.*field ? (from.*field)->text() : std::string{}; }};
}

const form addresses{"HOST:PORT,…",
                     [](node_options& to, std::string_view text) -> result<void> {
                       to.join.clear();
                       while (!text.empty()) {
                         const auto comma = std::min(text.find(','), text.size());
                         auto value = net::parse_address(text.substr(0, comma));
                         if (!value) return value.error();
                         to.join.push_back(*value);
                         text.remove_prefix(std::min(text.size(), comma + 1));
                       }
                       return {};
                     },
                     [](const node_options& from) {
                       std::string all;
                       for (const auto& a : from.join) all += (all.empty() ? "" : ",") + a.text();
                       return all;
                     }};

form file(std::string node_options::*field) {
  return {"FILE",
          [=](node_options& to, std::string_view text) -> result<void> {
            to.*field = text;
            return {};
          },
          [=](const node_options& from) { return from.*field; }};
}

// -- the table ------------------------------------------------------------------------------------------

const std::vector<option>& table() {
  using namespace std::chrono_literals;
  using o = node_options;
  constexpr std::uint64_t KiB = 1 << 10, MiB = KiB << 10, GiB = MiB << 10, TiB = GiB << 10;
  constexpr duration day = std::chrono::days{1};
  static const std::vector<option> all{
      {"The node", "data-dir", data_directory, "Where everything that must survive is kept."},
      {"The node", "node-id", id, "This node's number in its cluster; stays with the data directory."},
      {"The node", "rack", rack_name, "Rack or zone of this machine; consumers with the same client.rack read here."},
      {"The node", "log-level", log_from, "What is logged: trace, debug, info, warn or error, and what is graver."},

      {"Addresses", "kafka", address(&o::kafka), "Where Kafka clients come in."},
      {"Addresses", "kafka-advertised", advertised,
       "The address Kafka clients are told to use; empty: that of kafka. Needed when kafka is 0.0.0.0 or [::]."},
      {"Addresses", "http", address(&o::http),
       "Where /healthz, /readyz, /metrics and operations (/v1) are served, to whoever reaches it. Port 0: any free "
       "one."},

      {"Cluster", "cluster", maybe_address(&o::cluster),
       "Where the other nodes of the cluster come in; empty: this node stays alone."},
      {"Cluster", "cluster-advertised", maybe_address(&o::cluster_advertised),
       "The address other nodes are told to use; empty: that of cluster. Needed when cluster is 0.0.0.0 or [::]."},
      {"Cluster", "join", addresses,
       "Nodes of the cluster that a new node asks to take it in; empty: a new node founds a cluster. Once it is in, it "
       "knows the others by itself."},
      {"Cluster", "cluster-certificate", file(&o::cluster_certificate),
       "What this node shows to the others (PEM). With it, key and authority, links are mutual TLS."},
      {"Cluster", "cluster-key", file(&o::cluster_key), "The key of the certificate (PEM)."},
      {"Cluster", "cluster-authority", file(&o::cluster_authority),
       "The authority that signed every node's certificate (PEM)."},
      {"Cluster", "insecure", on_off(&o::insecure),
       "Let other machines reach the cluster address without TLS: whoever connects is believed."},

      {"Topics", "auto-create-topics", on_off(&o::auto_create_topics),
       "Create a topic when a client first asks for it by name."},
      {"Topics", "default-partitions", number(&o::default_partitions, 1, 10'000),
       "Partitions of a topic that is created without a number."},
      {"Topics", "default-replication", number<std::int16_t>(&o::default_replication, 0, 1000),
       "Replicas of a topic that is created without a number; 0: 3, or as many as there are nodes."},
      {"Topics", "retention",
       or_none<duration>(
           "DURATION", &o::retention, [](auto text) { return duration_in(text, 1ms, 36'525 * std::chrono::days{1}); },
           duration_text),
       "How long messages are kept at least; none: for ever. Topics may differ (retention.ms)."},
      {"Topics", "retention-bytes",
       or_none<std::uint64_t>(
           "SIZE", &o::retention_bytes, [](auto text) { return size_in(text, 1, 1024 * TiB); }, size_text),
       "Most bytes kept per partition; none: no limit. Topics may differ (retention.bytes)."},
      {"Topics", "message-bytes-max", size(&o::message_bytes_max, KiB, GiB),
       "Largest batch of messages taken. Topics may differ (max.message.bytes)."},
      {"Topics", "retention-check", time(&o::retention_check, 100ms, day),
       "How often each partition looks for messages to let go."},

      {"Storage", "segment-bytes", size(&o::segment_bytes, MiB, 4 * GiB),
       "Size of a segment file. Space comes back a segment at a time."},
      {"Storage", "segment-age", time(&o::segment_age, 1s, 3650 * day),
       "A segment is closed at this age even if it is not full."},
      {"Storage", "lanes", number(&o::lanes, 0u, 8u),
       "Journals written in parallel; 0: one per core, at most 8. Fixed when the data directory is created."},
      {"Storage", "disk-reserve", size(&o::disk_reserve, 0, 1024 * TiB),
       "Below this much free space nothing more is taken; 0: the smaller of 2GiB and 5 % of the disk."},
      {"Storage", "sync-interval", time(&o::sync_interval, 1ms, 10s),
       "Time between syncs of topics with durability=interval. Others sync before they acknowledge."},

      {"Limits", "io-threads", number(&o::io_threads, 0u, 256u),
       "Threads for client connections; 0: one per core, at most 8."},
      {"Limits", "actor-threads", number(&o::actor_threads, 0u, 256u), "Threads for actors; 0: one per core."},
      {"Limits", "connections-max", number<std::uint32_t>(&o::connections_max, 1, 1'000'000),
       "Most Kafka connections; fewer where few files may be open (ulimit -n)."},
      {"Limits", "connections-per-address-max", number<std::uint32_t>(&o::connections_per_address_max, 1, 1'000'000),
       "Most Kafka connections from one address."},
      {"Limits", "connection-idle", time(&o::connection_idle, 1s, 7 * day),
       "A Kafka connection without requests is closed after this."},
      {"Limits", "request-bytes-max", size(&o::request_bytes_max, 64 * KiB, GiB), "Largest Kafka request taken."},
      {"Limits", "produce-memory", size(&o::produce_memory, MiB, TiB),
       "Memory for requests under way; above, clients wait."},
  };
  return all;
}

const option* find(std::string_view name) {
  for (const auto& o : table())
    if (o.name == name) return &o;
  return nullptr;
}

// -- words for mistakes ---------------------------------------------------------------------------------

/// Letters to insert, remove, replace or swap to make one word the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

/// What was probably meant: the one option that begins like this, or one a few letters off.
std::string_view nearest(std::string_view name, bool on_command_line) {
  std::vector<std::string_view> known;
  for (const auto& o : table()) known.push_back(o.name);
  if (on_command_line) known.insert(known.end(), {"config", "help", "version"});
  if (name.empty() || name.size() > 64) return {};

  std::string same{name};
  std::replace(same.begin(), same.end(), '_', '-');
  std::replace(same.begin(), same.end(), '.', '-');
  const auto begins = [&](std::string_view candidate) { return candidate.starts_with(same); };
  if (same.size() >= 3 && std::count_if(known.begin(), known.end(), begins) == 1)
    return *std::find_if(known.begin(), known.end(), begins);
  std::string_view best;
  std::size_t least = std::max<std::size_t>(1, std::min<std::size_t>(3, name.size() / 3)) + 1;
  for (const auto candidate : known)
    if (const auto d = distance(same, candidate); d < least) {
      least = d;
      best = candidate;
    }
  return best;
}

std::string unknown(std::string_view name, bool on_command_line) {
  const std::string dashes = on_command_line ? "--" : "";
  auto text = "unknown option " + in_quotes(dashes + std::string{name});
  if (const auto meant = nearest(name, on_command_line); !meant.empty())
    text += ", did you mean " + dashes + std::string{meant} + "?";
  return text + " (--help lists all)";
}

// -- the sources ----------------------------------------------------------------------------------------

std::string variable(std::string_view name) {
  std::string out = "TROUPE_";
  for (const char c : name) out += c == '-' ? '_' : static_cast<char>(c - (c >= 'a' && c <= 'z' ? 'a' - 'A' : 0));
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r";
  const auto first = text.find_first_not_of(blank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blank) - first + 1);
}

struct command_line {
  std::vector<std::pair<const option*, std::string>> values;
  std::optional<std::string> config;
};

result<command_line> read_command_line(int argc, const char* const* argv) {
  command_line out;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with("--") || argument == "--")
      return wrong("unexpected argument " + in_quotes(argument) +
                   "; options are written --name=value (--help lists all)");
    const auto equals = argument.find('=');
    const auto name = argument.substr(2, equals == argument.npos ? argument.npos : equals - 2);
    const auto* known = find(name);
    if (!known && name != "config") return wrong(unknown(name, true));
    std::string value;
    if (equals != argument.npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < argc && std::strncmp(argv[i + 1], "--", 2) != 0) {
      value = argv[++i];
    } else {
      return wrong("--" + std::string{name} + ": a value is missing: --" + std::string{name} + "=" +
                   std::string{known ? known->how.values : "FILE"});
    }
    if (!known) {
      if (value.empty()) return wrong("--config: the name of a file is missing");
      out.config = value;
    } else {
      out.values.emplace_back(known, std::move(value));
    }
  }
  return out;
}

result<std::string> read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  std::string text(config_bytes_max + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  // A directory opens, but does not read.
  if (!in.is_open() || in.bad() || (in.fail() && !in.eof()))
    return wrong("config " + in_quotes(path) + ": cannot be read: " + std::strerror(errno));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > config_bytes_max) return wrong("config " + in_quotes(path) + ": is longer than 1MiB");
  return text;
}

result<void> apply_file(node_options& to, const std::string& path) {
  auto text = read_file(path);
  if (!text) return text.error();
  std::map<std::string_view, int> seen;
  if (text->starts_with("\xEF\xBB\xBF")) text->erase(0, 3);  // the mark some editors put in front
  std::istringstream lines{*text};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const auto here = [&](const std::string& what) { return wrong(path + ":" + std::to_string(number) + ": " + what); };
    const auto content = trimmed(line);
    if (content.empty() || content.starts_with('#')) continue;
    const auto equals = content.find('=');
    if (equals == content.npos) return here(in_quotes(content) + " is no line of the form name = value");
    const auto name = trimmed(content.substr(0, equals));
    const auto* known = find(name);
    if (!known) return here(unknown(name, false));
    if (const auto [before, fresh] = seen.emplace(known->name, number); !fresh)
      return here(std::string{name} + " was set in line " + std::to_string(before->second) + " already");
    if (auto set = known->how.set(to, trimmed(content.substr(equals + 1))); !set)
      return here(std::string{name} + ": " + set.error().text);
  }
  return {};
}

/// What one option alone cannot know.
result<void> completed(node_options& o) {
  if (o.kafka_advertised.host.empty()) {
    o.kafka_advertised = o.kafka;
    if (o.kafka.is_wildcard())
      return wrong("kafka: clients cannot be told to connect to " + o.kafka.host +
                   "; set kafka-advertised to an address where they reach this node, as in --kafka-advertised=" +
                   "my-host.example:" + std::to_string(o.kafka.port));
  }
  if (o.kafka_advertised.is_wildcard())
    return wrong("kafka-advertised: clients cannot connect to " + o.kafka_advertised.host +
                 "; it is an address where they reach this node");
  if (o.kafka_advertised.port == 0) return wrong("kafka: port 0 (any free one) cannot be told to clients; name a port");
  const auto reached = o.cluster_advertised ? o.cluster_advertised : o.cluster;
  if (reached && reached->is_wildcard())
    return wrong("cluster: other nodes cannot be told to connect to " + reached->host +
                 "; set cluster-advertised to an address where they reach this node");
  if (!o.join.empty() && !o.cluster)
    return wrong(
        "join: a node of a cluster has to be reached by the others; set cluster, as in "
        "--cluster=127.0.0.1:7400");
  if (o.cluster && o.cluster->port == 0)
    return wrong("cluster: port 0 (any free one) cannot be told to other nodes; name a port");
  const int files = !o.cluster_certificate.empty() + !o.cluster_key.empty() + !o.cluster_authority.empty();
  if (files != 0 && files != 3)
    return wrong("cluster-certificate, cluster-key and cluster-authority belong together: set all three or none");
  if (o.cluster)
    if (auto safe = check_exposure(*o.cluster, files == 3, o.insecure); !safe) return safe;
  if (static_cast<std::uint64_t>(o.message_bytes_max) > o.request_bytes_max)
    return wrong("message-bytes-max (" + size_text(static_cast<std::uint64_t>(o.message_bytes_max)) +
                 ") is more than request-bytes-max (" + size_text(o.request_bytes_max) + "), in which it has to fit");
  if (o.request_bytes_max > o.produce_memory)
    return wrong("request-bytes-max (" + size_text(o.request_bytes_max) + ") is more than produce-memory (" +
                 size_text(o.produce_memory) + "), in which it has to fit");
  return {};
}

}  // namespace

environment process_environment() {
  return [](const char* name) { return std::getenv(name); };
}

result<command> parse_options(int argc, const char* const* argv, const environment& env) {
  // Whoever asks for help gets it, whatever else is wrong.
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") return command{{}, help_text()};
    if (argument == "--version") return command{{}, version_text()};
  }
  auto line = read_command_line(argc, argv);
  if (!line) return line.error();

  node_options o;
  o.kafka_advertised = {};
  // An empty variable counts as not set: that is how compose files and unit files leave one out.
  const auto from_environment = [&](std::string_view name) -> std::optional<std::string> {
    const char* value = env(variable(name).c_str());
    return value && *value ? std::optional<std::string>{value} : std::nullopt;
  };
  if (const auto file = line->config ? line->config : from_environment("config"))
    if (auto read = apply_file(o, *file); !read) return read.error();
  for (const auto& known : table())
    if (const auto value = from_environment(known.name))
      if (auto set = known.how.set(o, *value); !set) return wrong(variable(known.name) + ": " + set.error().text);
  for (const auto& [known, value] : line->values)
    if (auto set = known->how.set(o, value); !set)
      return wrong("--" + std::string{known->name} + ": " + set.error().text);
  if (auto whole = completed(o); !whole) return whole.error();
  return command{std::move(o), {}};
}

std::vector<std::string> misspelt_variables(const char* const* variables) {
  std::vector<std::string> out;
  for (; *variables != nullptr; ++variables) {
    std::string_view name = *variables;
    name = name.substr(0, name.find('='));
    constexpr std::string_view ours = "TROUPE_";
    if (!name.starts_with(ours) || name == variable("config")) continue;
    std::string wanted{name.substr(ours.size())};
    std::transform(wanted.begin(), wanted.end(), wanted.begin(), [](unsigned char c) { return std::tolower(c); });
    const auto meant = nearest(wanted, false);
    if (!meant.empty() && name != variable(meant))
      out.push_back(std::string{name} + " is not an option's variable, did you mean " + variable(meant) + "?");
  }
  return out;
}

std::vector<option_text> describe(const node_options& o) {
  std::vector<option_text> out;
  for (const auto& known : table())
    out.push_back(
        {std::string{known.name}, known.how.get(o), known.how.get(node_options{}), std::string{known.documentation}});
  return out;
}

std::string version() {
  return TROUPE_VERSION;
}

std::string version_text() {
  return std::string{program} + " " + version() + "\n";
}

std::string help_text() {
  constexpr std::size_t column = 42, width = 100;
  std::string out{program};
  out += " " TROUPE_VERSION ": one node of Troupe, with a door for Kafka clients.\n\nUsage: ";
  out += program;
  out += " [--NAME=VALUE …]\n";
  const auto line = [&](std::string left, std::string_view text) {
    out += "  " + left;
    std::size_t at = left.size() + 2;
    const auto next_line = [&] { out += '\n' + std::string(at = column, ' '); };
    if (at + 2 > column) {
      next_line();
    } else {
      out += std::string(column - at, ' ');
      at = column;
    }
    std::istringstream words{std::string{text}};
    for (std::string word; words >> word; at += word.size() + 1) {
      if (at != column && at + word.size() > width) next_line();
      if (at != column) out += ' ';
      out += word;
    }
    out += '\n';
  };
  std::string_view group;
  for (const auto& known : table()) {
    if (known.group != group) out += "\n" + std::string{group = known.group} + "\n";
    const auto value = known.how.get(node_options{});
    line("--" + std::string{known.name} + "=" + std::string{known.how.values},
         std::string{known.documentation} + (value.empty() ? "" : " [" + value + "]"));
  }
  out += "\nElsewhere\n";
  line("--config=FILE", "Read options from a file of lines `name = value`; see configs/reference.conf.");
  line("--help, --version", "Print this, or the version.");
  out +=
      "\nEach option may also come from the environment, --data-dir as TROUPE_DATA_DIR. The command line wins over\n"
      "the environment, the environment over the file, the file over the defaults in brackets.\n"
      "Durations: 200ms, 10s, 5min, 1h, 14d. Sizes: bytes, or 64KiB, 512MiB, 4GiB, 1TiB.\n";
  return out;
}

}  // namespace troupe
