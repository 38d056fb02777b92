#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/base/ids.hpp"
#include "runtime/base/result.hpp"
#include "runtime/net/address.hpp"
#include "runtime/transport/batch.hpp"

/// How two nodes get to know each other before frames flow.
///
///     dials                              accepts
///       │──── hello: who I am, whom I ask for ──>│  judge
///       │<─── welcome: who I am ─────────────────│  or farewell: why not
///       │  judge                                 │
namespace troupe {

inline constexpr std::uint16_t transport_protocol = 1;

struct introduction {
  std::uint16_t protocol{transport_protocol};
  std::string cluster_id;  ///< empty: belongs to none yet
  node_id node{-1};
  node_id expected{-1};  ///< whom a hello asks for; -1: whoever it is
  std::uint64_t incarnation{0};
  net::address reach;  ///< where others reach this node
  transport_wire::per_urgency<std::uint64_t> granted{};
  std::uint32_t frame_bytes_max{0};
  friend bool operator==(const introduction&, const introduction&) = default;
};

/// Why a link is not made, or ends.
struct link_farewell {
  enum class why : std::uint8_t {
    protocol = 1,  ///< the versions do not speak with each other
    cluster,       ///< the other one belongs to another cluster
    wrong_node,    ///< another node answers at this address
    same_id,       ///< both have one node id
    self,          ///< a node that dialled itself
    duplicate,     ///< another link to the same node stands or is being made
    replaced,      ///< by a newer link
    forgotten,     ///< the node left the cluster
    stopping,
    broken,  ///< the link's rules were broken
  };
  why reason{why::stopping};
  node_id node{-1};  ///< who says so
  std::string text;

  /// Dialling again soon can help.
  bool passes() const { return reason >= why::duplicate; }
  friend bool operator==(const link_farewell&, const link_farewell&) = default;
};

/// What speaks against a link with `theirs`, in words for both sides' operators.
std::optional<link_farewell> judge(const introduction& ours, const introduction& theirs);

shared_bytes write_introduction(transport_wire::batch_kind, const introduction&);
shared_bytes write_farewell(const link_farewell&);
/// Of a parsed batch's body. Error malformed.
result<introduction> parse_introduction(byte_view body);
result<link_farewell> parse_farewell(byte_view body);

}  // namespace troupe
