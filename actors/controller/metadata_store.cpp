#include "actors/controller/metadata_store.hpp"

#include <string>

namespace troupe {

namespace {

constexpr std::uint32_t format = 1;
constexpr std::size_t record_key_bytes = 1 + 8, snapshot_key_bytes = 1 + 8 + 4;

using bytes = std::vector<std::byte>;

bytes identity_key() {
  return {std::byte{'i'}};
}
bytes record_key(std::int64_t offset) {
  bytes key(record_key_bytes, std::byte{'r'});
  store_be(key.data() + 1, offset);
  return key;
}
bytes snapshot_key(std::int64_t offset, std::uint32_t index) {
  bytes key(snapshot_key_bytes, std::byte{'s'});
  store_be(key.data() + 1, offset);
  store_be(key.data() + 9, index);
  return key;
}

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

struct stored_rows {
  metadata_image image;
  std::int64_t snapshot_at{-1};
  std::uint32_t snapshot_rows{0};
  std::vector<bytes> keys;
};

result<stored_rows> read_rows(const store::table& table) {
  // Key order brings the records first and the snapshot, which they follow, last.
  struct stored {
    std::int64_t offset;
    metadata_record record;
  };
  std::vector<stored> records;
  std::vector<metadata_record> snapshot;
  std::optional<error> trouble;
  stored_rows found;

  const auto visit = [&](byte_view key, byte_view value) {
    const auto kind = key.empty() ? std::byte{0} : key[0];
    found.keys.emplace_back(key.begin(), key.end());
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
    if (index != snapshot.size() || (index > 0 && offset != found.snapshot_at)) {
      trouble = damaged("row " + std::to_string(index) + " of snapshot " + std::to_string(offset) + " is out of place");
      return false;
    }
    found.snapshot_at = offset;
    snapshot.push_back(std::move(*record));
    return true;
  };
  if (auto scanned = table.scan({}, {}, visit); !scanned) return scanned.error();
  if (trouble) return *trouble;

  found.snapshot_rows = static_cast<std::uint32_t>(snapshot.size());
  found.image = metadata_image::restore(meta_offset{found.snapshot_at}, snapshot);
  for (const auto& [offset, record] : records) {
    if (offset != found.image.applied.value() + 1)
      return damaged("record " + std::to_string(offset) + " follows record " +
                     std::to_string(found.image.applied.value()));
    found.image.apply(meta_offset{offset}, record);
  }
  return found;
}

}  // namespace

result<std::unique_ptr<metadata_store>> metadata_store::open(const std::filesystem::path& directory,
                                                             const options& how) {
  auto table = store::table::open(directory, map_bytes);
  if (!table) return table.error();
  return open(std::move(*table), how);
}

result<std::unique_ptr<metadata_store>> metadata_store::open(std::unique_ptr<store::table> table, const options& how) {
  auto self = std::unique_ptr<metadata_store>{new metadata_store{std::move(table), how}};
  if (auto known = self->identify(); !known) return known.error();
  if (auto loaded = self->load(); !loaded) return loaded.error();
  return self;
}

result<void> metadata_store::identify() {
  auto row = table_->get(identity_key());
  if (!row) return row.error();
  if (!*row) {
    bytes mine(8);
    store_be(mine.data(), format);
    store_be(mine.data() + 4, options_.node.value());
    return table_->commit({{identity_key(), std::move(mine)}});
  }
  return check_identity(**row, options_.node);
}

result<void> metadata_store::load() {
  auto rows = read_rows(*table_);
  if (!rows) return rows.error();
  snapshot_at_ = rows->snapshot_at;
  snapshot_rows_ = rows->snapshot_rows;
  image_ = std::make_shared<const metadata_image>(std::move(rows->image));
  return {};
}

result<void> metadata_store::commit(const std::vector<metadata_record>& records) {
  if (records.empty()) return {};
  // Applied to a copy: if the disk refuses, nothing has happened.
  auto after = *image_;
  std::vector<store::table::change> changes;
  for (const auto& record : records) {
    const meta_offset at{after.applied.value() + 1};
    after.apply(at, record);
    changes.push_back({record_key(at.value()), encode(record)});
  }

  const bool snapshot_due = after.applied.value() - snapshot_at_ >= options_.snapshot_every;
  std::uint32_t rows = 0;
  if (snapshot_due) {
    changes.clear();  // the snapshot says it all
    for (auto offset = snapshot_at_ + 1; offset <= image_->applied.value(); ++offset)
      changes.push_back({record_key(offset), std::nullopt});
    for (std::uint32_t i = 0; i < snapshot_rows_; ++i) changes.push_back({snapshot_key(snapshot_at_, i), std::nullopt});
    for (const auto& record : after.snapshot())
      changes.push_back({snapshot_key(after.applied.value(), rows++), encode(record)});
  }
  if (auto done = table_->commit(changes); !done) return done;
  if (snapshot_due) {
    snapshot_at_ = after.applied.value();
    snapshot_rows_ = rows;
  }
  image_ = std::make_shared<const metadata_image>(std::move(after));
  return {};
}

result<std::optional<former_metadata>> read_former_metadata(const store::table& table, node_id node) {
  auto identity = table.get(identity_key());
  if (!identity) return identity.error();
  if (!*identity) return std::optional<former_metadata>{};
  if (auto known = check_identity(**identity, node); !known) return known.error();
  auto rows = read_rows(table);
  if (!rows) return rows.error();
  return std::optional{former_metadata{std::move(rows->image), std::move(rows->keys)}};
}

}  // namespace troupe
