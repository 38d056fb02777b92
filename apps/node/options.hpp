#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/net/address.hpp"
#include "runtime/observe/log.hpp"

namespace troupe {

/// What an operator may set; configs/reference.conf explains each. The defaults stand here and nowhere else.
struct node_options {
  using duration = std::chrono::milliseconds;

  std::filesystem::path data_dir{"./data"};
  troupe::node_id node_id{1};
  std::string rack;
  observe::level log_level{observe::level::info};

  net::address kafka{"127.0.0.1", 9092};
  net::address kafka_advertised{"127.0.0.1", 9092};  ///< where not set: `kafka`
  net::address http{"127.0.0.1", 8080};

  std::optional<net::address> cluster;             ///< where other nodes come in; none: this node stays alone
  std::optional<net::address> cluster_advertised;  ///< where not set: `cluster`
  std::vector<net::address> join;                  ///< empty: a new disk founds a cluster
  std::string cluster_certificate, cluster_key, cluster_authority;  ///< all or none
  bool insecure{false};

  bool auto_create_topics{true};
  std::int32_t default_partitions{1};
  std::int16_t default_replication{0};                       ///< 0: 3, or as many as there are nodes
  std::optional<duration> retention{std::chrono::days{14}};  ///< none: kept for ever
  std::optional<std::uint64_t> retention_bytes;              ///< per partition; none: no limit
  std::int32_t message_bytes_max{1048588};
  duration retention_check{std::chrono::seconds{10}};

  std::uint64_t segment_bytes{512ull << 20};
  duration segment_age{std::chrono::hours{1}};
  unsigned lanes{0};              ///< 0: one per core, at most 8
  std::uint64_t disk_reserve{0};  ///< 0: the smaller of 2 GiB and 5 %
  duration sync_interval{50};

  unsigned io_threads{0};     ///< 0: one per core
  unsigned actor_threads{0};  ///< 0: one per core
  std::uint32_t connections_max{4096};
  std::uint32_t connections_per_address_max{256};
  duration connection_idle{std::chrono::minutes{10}};
  std::uint64_t request_bytes_max{100ull << 20};
  std::uint64_t produce_memory{256ull << 20};

  friend bool operator==(const node_options&, const node_options&) = default;
};

/// What the command line asks for: to start with `options`, or only to print `message` (--help, --version).
struct command {
  node_options options;
  std::string message;
};

/// The value of an environment variable, or null.
using environment = std::function<const char*(const char*)>;
environment process_environment();

/// Reads the command line, the environment (`TROUPE_DATA_DIR` for `--data-dir`), the file named by `--config` or
/// TROUPE_CONFIG; the earlier in this list wins over the later, and all over the defaults. Touches nothing but that
/// file. Error invalid_request: one line that says what, where, and what is allowed.
result<command> parse_options(int argc, const char* const* argv, const environment& = process_environment());

/// A line for each variable, as in `environ`, that is nearly that of an option, and is heeded by nobody. Others that
/// begin with TROUPE_ may be somebody else's: some orchestrators make them from the names of services.
std::vector<std::string> misspelt_variables(const char* const* variables);

/// An option in words, for those who describe a node.
struct option_text {
  std::string name, value, default_value, documentation;
};
/// Every option, in the order of the help.
std::vector<option_text> describe(const node_options&);

std::string help_text();
std::string version_text();
std::string version();  ///< the number alone

}  // namespace troupe
