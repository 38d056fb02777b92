#include "runtime/entities/messages.hpp"

#include "runtime/base/check.hpp"
#include "runtime/base/hash64.hpp"
#include "runtime/base/overloaded.hpp"

namespace troupe::entities {

result<entity_name> entity_name::parse(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size())
    return {errc::invalid_request, "an entity's name is kind/key"};
  if (text.size() > size_max) return {errc::invalid_request, "an entity's name has at most 512 bytes"};
  return entity_name{std::string{text.substr(0, slash)}, std::string{text.substr(slash + 1)}};
}

shard_id shard_of(const entity_name& name, std::uint32_t shards) {
  TROUPE_CHECK(shards > 0);
  return {name.kind, static_cast<std::uint32_t>(hash64(name.text()) % shards)};
}

const shard_id& shard_in(const message& m) {
  const auto of_one = [](const auto& it) -> const shard_id& { return it.shard; };
  return std::visit(overloaded{[&](const answer& a) -> const shard_id& { return std::visit(of_one, a); }, of_one}, m);
}

std::size_t payload_bytes(const message& m) {
  struct {
    std::size_t operator()(const deliver& d) const { return d.payload.size(); }
    std::size_t operator()(const reply& r) const { return r.payload.size(); }
    std::size_t operator()(const moved&) const { return 0; }
    std::size_t operator()(const refused&) const { return 0; }
    std::size_t operator()(const answer& a) const { return std::visit(*this, a); }
    std::size_t operator()(const handover_request&) const { return 0; }
    std::size_t operator()(const handover& h) const {
      std::size_t all = 0;
      if (!h.had) return all;
      for (const auto& e : h.had->entities) all += e.key.size() + e.bytes.size();
      for (const auto& [key, it] : h.had->memory.handled) all += key.size() + it.reply.size();
      return all;
    }
  } bytes;
  return std::visit(bytes, m);
}

}  // namespace troupe::entities
