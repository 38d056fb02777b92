#include "actors/controller/image.hpp"

#include <algorithm>

/// Records become an image. Whatever a record says was decided by the controller against this very image, so a record
/// that does not fit means that two nodes disagree about the past: nobody may go on from there.
namespace troupe {

namespace {

template <class... Fs>
struct overloaded : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
overloaded(Fs...) -> overloaded<Fs...>;  // clang 14, for the fuzz targets, does not deduce it

std::shared_ptr<topic> copy_of(const metadata_image& image, const topic_id& id) {
  const auto found = image.find(id);
  TROUPE_CHECK(found != nullptr);
  return std::make_shared<topic>(*found);
}

}  // namespace

std::shared_ptr<const topic> metadata_image::find(std::string_view name) const {
  const auto at = topics.find(name);
  return at == topics.end() ? nullptr : at->second;
}

std::shared_ptr<const topic> metadata_image::find(topic_id id) const {
  const auto at = names.find(id);
  return at == names.end() ? nullptr : find(at->second);
}

leader_epoch metadata_image::first_epoch(std::string_view name) const {
  const auto at = retired_epochs.find(name);
  return leader_epoch{1 + (at == retired_epochs.end() ? retired_floor : std::max(at->second, retired_floor))};
}

void metadata_image::apply(meta_offset at, const metadata_record& record) {
  TROUPE_CHECK(at.value() == applied.value() + 1);
  take(record);
  applied = at;
}

void metadata_image::take(const metadata_record& record) {
  std::visit(overloaded{
                 [&](const cluster_formed& r) {
                   TROUPE_CHECK(cluster_id.empty() && !r.cluster_id.empty());
                   cluster_id = r.cluster_id;
                 },
                 [&](const node_registered& r) { nodes[r.node.id] = r.node; },
                 [&](const topic_created& r) {
                   auto settings = parse_topic_settings(r.overrides);
                   TROUPE_CHECK(settings.ok() && !r.id.is_nil() && !r.partitions.empty());
                   const bool fresh =
                       names.emplace(r.id, r.name).second &&
                       topics
                           .emplace(r.name, std::make_shared<const topic>(
                                                topic{r.id, r.name, r.internal, r.partitions, r.overrides, *settings}))
                           .second;
                   TROUPE_CHECK(fresh);
                   partition_count += r.partitions.size();
                 },
                 [&](const topic_deleted& r) {
                   const auto gone = find(r.id);
                   TROUPE_CHECK(gone != nullptr);
                   auto& retired = retired_epochs.try_emplace(gone->name, -1).first->second;
                   for (const auto& p : gone->partitions) retired = std::max(retired, p.epoch.value());
                   if (retired_epochs.size() > retired_names_max) {
                     for (const auto& [name, epoch] : retired_epochs) retired_floor = std::max(retired_floor, epoch);
                     retired_epochs.clear();
                   }
                   partition_count -= gone->partitions.size();
                   topics.erase(gone->name);
                   names.erase(r.id);
                 },
                 [&](const partitions_added& r) {
                   auto grown = copy_of(*this, r.id);
                   grown->partitions.insert(grown->partitions.end(), r.partitions.begin(), r.partitions.end());
                   partition_count += r.partitions.size();
                   topics[grown->name] = std::move(grown);
                 },
                 [&](const topic_configured& r) {
                   auto changed = copy_of(*this, r.id);
                   auto settings = parse_topic_settings(r.overrides);
                   TROUPE_CHECK(settings.ok());
                   changed->overrides = r.overrides;
                   changed->settings = *settings;
                   topics[changed->name] = std::move(changed);
                 },
                 [&](const producer_ids_reserved& r) {
                   TROUPE_CHECK(r.next > next_producer_id);
                   next_producer_id = r.next;
                 },
                 [&](const epoch_retired& r) {
                   auto& retired =
                       r.name.empty() ? retired_floor : retired_epochs.try_emplace(r.name, -1).first->second;
                   retired = std::max(retired, r.epoch);
                 },
             },
             record);
}

std::vector<metadata_record> metadata_image::snapshot() const {
  std::vector<metadata_record> records;
  records.reserve(2 + nodes.size() + topics.size() + retired_epochs.size());
  if (!cluster_id.empty()) records.emplace_back(cluster_formed{cluster_id});
  for (const auto& [id, node] : nodes) records.emplace_back(node_registered{node});
  for (const auto& [name, t] : topics)
    records.emplace_back(topic_created{t->id, t->name, t->internal, t->partitions, t->overrides});
  if (next_producer_id > 0) records.emplace_back(producer_ids_reserved{next_producer_id});
  if (retired_floor >= 0) records.emplace_back(epoch_retired{{}, retired_floor});
  for (const auto& [name, epoch] : retired_epochs) records.emplace_back(epoch_retired{name, epoch});
  return records;
}

metadata_image metadata_image::restore(meta_offset at, const std::vector<metadata_record>& snapshot) {
  metadata_image image;
  for (const auto& record : snapshot) image.take(record);
  image.applied = at;
  return image;
}

}  // namespace troupe
