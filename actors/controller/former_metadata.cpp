#include "actors/controller/former_metadata.hpp"

#include <string>

namespace troupe {

namespace {

constexpr std::uint32_t format = 1;
constexpr std::size_t record_key_bytes = 1 + 8, snapshot_key_bytes = 1 + 8 + 4;

using bytes = std::vector<std::byte>;

error damaged(std::string text) {
  return {errc::storage_damaged, "metadata: " + std::move(text)};
}

/// An image takes no setting that this version does not understand.
result<void> check_settings(const metadata_record& record) {
  const setting_map* overrides = nullptr;
  if (const auto* r = std::get_if<topic_created>(&record)) overrides = &r->overrides;
  if (const auto* r = std::get_if<topic_configured>(&record)) overrides = &r->overrides;
  if (overrides == nullptr) return {};
  if (auto known = parse_topic_settings(*overrides); !known)
    return {errc::wrong_format, "the metadata has a setting of a newer version: " + known.error().text};
  return {};
}

result<void> check_identity(byte_view value, node_id node) {
  if (value.size() < 4) return damaged("the row that says whose it is has " + std::to_string(value.size()) + " bytes");
  const auto found = load_be<std::uint32_t>(value.data());
  if (found != format)
    return {errc::wrong_format,
            "the metadata has format " + std::to_string(found) + ", this version reads " + std::to_string(format)};
  if (value.size() != 8) return damaged("the row that says whose it is has " + std::to_string(value.size()) + " bytes");
  const node_id owner{load_be<std::int32_t>(value.data() + 4)};
  if (owner != node)
    return {errc::wrong_format, "this data directory belongs to node " + std::to_string(owner.value()) +
                                    ", not to node " + std::to_string(node.value())};
  return {};
}

result<former_metadata> read_rows(const store::table& table) {
  // Key order brings the records first and the snapshot, which they follow, last.
  struct stored {
    std::int64_t offset;
    metadata_record record;
  };
  std::vector<stored> records;
  std::vector<metadata_record> snapshot;
  std::optional<error> trouble;
  former_metadata found;
  std::int64_t snapshot_at = -1;

  const auto visit = [&](byte_view key, byte_view value) {
    const auto kind = key.empty() ? std::byte{0} : key[0];
    found.rows.emplace_back(key.begin(), key.end());
    if (kind == std::byte{'i'} && key.size() == 1) return true;
    const bool is_record = kind == std::byte{'r'} && key.size() == record_key_bytes;
    const bool is_snapshot = kind == std::byte{'s'} && key.size() == snapshot_key_bytes;
    if (!is_record && !is_snapshot) {
      trouble = damaged("a row with a key of " + std::to_string(key.size()) + " bytes that nobody writes");
      return false;
    }
    const auto offset = load_be<std::int64_t>(key.data() + 1);
    auto record = decode_metadata_record(value);
    if (!record) {
      trouble = damaged((is_record ? "record " : "snapshot ") + std::to_string(offset) + ": " + record.error().text);
      return false;
    }
    if (auto known = check_settings(*record); !known) {
      trouble = known.error();
      return false;
    }
    if (is_record) {
      records.push_back({offset, std::move(*record)});
      return true;
    }
    const auto index = load_be<std::uint32_t>(key.data() + 9);
    if (index != snapshot.size() || (index > 0 && offset != snapshot_at)) {
      trouble = damaged("row " + std::to_string(index) + " of snapshot " + std::to_string(offset) + " is out of place");
      return false;
    }
    snapshot_at = offset;
    snapshot.push_back(std::move(*record));
    return true;
  };
  if (auto scanned = table.scan({}, {}, visit); !scanned) return scanned.error();
  if (trouble) return *trouble;

  found.image = metadata_image::restore(meta_offset{snapshot_at}, snapshot);
  for (const auto& [offset, record] : records) {
    if (offset != found.image.applied.value() + 1)
      return damaged("record " + std::to_string(offset) + " follows record " +
                     std::to_string(found.image.applied.value()));
    found.image.apply(meta_offset{offset}, record);
  }
  return found;
}

}  // namespace

result<std::optional<former_metadata>> read_former_metadata(const store::table& table, node_id node) {
  constexpr std::byte identity_key[]{std::byte{'i'}};
  auto identity = table.get(identity_key);
  if (!identity) return identity.error();
  if (!*identity) return std::optional<former_metadata>{};
  if (auto known = check_identity(**identity, node); !known) return known.error();
  auto rows = read_rows(table);
  if (!rows) return rows.error();
  return std::optional{std::move(*rows)};
}

}  // namespace troupe
