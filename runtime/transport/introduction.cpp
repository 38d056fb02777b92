#include "runtime/transport/introduction.hpp"

#include <algorithm>

namespace troupe {
namespace {

constexpr std::size_t text_bytes_max = 1024;

class writer {
public:
  template <class T>
  void number(T value) {
    const auto at = bytes_.size();
    bytes_.resize(at + sizeof value);
    store_le(bytes_.data() + at, value);
  }
  void text(std::string_view t) {
    t = t.substr(0, text_bytes_max);
    number(static_cast<std::uint16_t>(t.size()));
    const auto raw = as_bytes(t);
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
  }
  byte_view bytes() const { return bytes_; }

private:
  std::vector<std::byte> bytes_;
};

/// Gives zeros once something was missing.
class reader {
public:
  explicit reader(byte_view bytes) : bytes_{bytes} {}
  template <class T>
  T number() {
    if (bytes_.size() < sizeof(T)) {
      failed_ = true;
      return {};
    }
    const auto value = load_le<T>(bytes_.data());
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  std::string text() {
    const auto size = number<std::uint16_t>();
    if (size > bytes_.size() || size > text_bytes_max) failed_ = true;
    if (failed_) return {};
    std::string out{as_text(bytes_.first(size))};
    bytes_ = bytes_.subspan(size);
    return out;
  }
  /// What is behind the fields we know belongs to a later version.
  bool failed() const { return failed_; }

private:
  byte_view bytes_;
  bool failed_{false};
};

std::string name_of(node_id id) {
  return "node " + std::to_string(id.value());
}

}  // namespace

std::optional<link_farewell> judge(const introduction& ours, const introduction& theirs) {
  const auto no = [&](link_farewell::why reason, std::string text) {
    return link_farewell{reason, ours.node, std::move(text)};
  };
  if (ours.protocol != theirs.protocol)
    return no(link_farewell::why::protocol,
              "protocol " + std::to_string(theirs.protocol) + " of " + name_of(theirs.node) + " is not protocol " +
                  std::to_string(ours.protocol) + " of " + name_of(ours.node) + ": update the older one");
  if (!ours.cluster_id.empty() && !theirs.cluster_id.empty() && ours.cluster_id != theirs.cluster_id)
    return no(link_farewell::why::cluster, name_of(theirs.node) + " belongs to cluster " + theirs.cluster_id + ", " +
                                               name_of(ours.node) + " to cluster " + ours.cluster_id);
  if (ours.incarnation == theirs.incarnation && ours.node == theirs.node)
    return no(link_farewell::why::self, "this is the same node");
  if (ours.node == theirs.node)
    return no(link_farewell::why::same_id, "both call themselves " + name_of(ours.node) + ": one needs another id");
  if (theirs.node.value() < 0) return no(link_farewell::why::wrong_node, "it has no node id");
  if (theirs.expected.value() >= 0 && theirs.expected != ours.node)
    return no(link_farewell::why::wrong_node,
              "asked for " + name_of(theirs.expected) + ", and " + name_of(ours.node) + " answers at this address");
  if (ours.expected.value() >= 0 && ours.expected != theirs.node)
    return no(link_farewell::why::wrong_node,
              "asked for " + name_of(ours.expected) + ", and " + name_of(theirs.node) + " answers at this address");
  return std::nullopt;
}

shared_bytes write_introduction(transport_wire::batch_kind kind, const introduction& i) {
  writer out;
  out.number(i.protocol);
  out.text(i.cluster_id);
  out.number(i.node.value());
  out.number(i.expected.value());
  out.number(i.incarnation);
  out.text(i.reach.host);
  out.number(i.reach.port);
  out.number(i.granted[0]);
  out.number(i.granted[1]);
  out.number(i.frame_bytes_max);
  return transport_wire::write_body(kind, out.bytes());
}

result<introduction> parse_introduction(byte_view body) {
  reader in{body};
  introduction i;
  i.protocol = in.number<std::uint16_t>();
  i.cluster_id = in.text();
  i.node = node_id{in.number<std::int32_t>()};
  i.expected = node_id{in.number<std::int32_t>()};
  i.incarnation = in.number<std::uint64_t>();
  i.reach.host = in.text();
  i.reach.port = in.number<std::uint16_t>();
  i.granted[0] = in.number<std::uint64_t>();
  i.granted[1] = in.number<std::uint64_t>();
  i.frame_bytes_max = in.number<std::uint32_t>();
  if (in.failed()) return {errc::malformed, "the introduction of a peer is cut off"};
  // Far above any window, and far below where sums overflow.
  constexpr std::uint64_t granted_max = std::uint64_t{1} << 40;
  if (std::ranges::any_of(i.granted, [](auto g) { return g > granted_max; }))
    return {errc::malformed, "the introduction of a peer grants too much"};
  return i;
}

shared_bytes write_farewell(const link_farewell& f) {
  writer out;
  out.number(static_cast<std::uint8_t>(f.reason));
  out.number(f.node.value());
  out.text(f.text);
  return transport_wire::write_body(transport_wire::batch_kind::farewell, out.bytes());
}

result<link_farewell> parse_farewell(byte_view body) {
  reader in{body};
  link_farewell f;
  const auto reason = in.number<std::uint8_t>();
  f.node = node_id{in.number<std::int32_t>()};
  f.text = in.text();
  if (in.failed() || reason < static_cast<std::uint8_t>(link_farewell::why::protocol) ||
      reason > static_cast<std::uint8_t>(link_farewell::why::broken))
    return {errc::malformed, "the farewell of a peer cannot be read"};
  f.reason = static_cast<link_farewell::why>(reason);
  return f;
}

}  // namespace troupe
