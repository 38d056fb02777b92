#include "tests/simulation/fence_watch.hpp"

namespace troupe::sim {

namespace {
constexpr auto silent_after = 1500ms, suspicion_for = 2000ms, deaf_after = 5000ms;
}

void fence_watch::controls(const process& p) {
  desks_[p.id()] = {p.clock(), {}};
}

fence_watch::subject* fence_watch::about(const process& p, life l) {
  const auto* node = p.image().node(l.node);
  if (!node || node->node_epoch != l.epoch) return nullptr;
  auto& it = desks_[p.id()].about[l.node];
  if (it.epoch != l.epoch) {
    it = {};
    it.epoch = l.epoch;
    it.heard = desks_[p.id()].since;
    const auto& links = links_[p.id()];
    if (const auto link = links.find(l); link != links.end() && it.heard - link->second.at < suspicion_for) {
      it.reset = link->second.reset;
      it.refused = link->second.refused;
    }
  }
  return &it;
}

void fence_watch::heard(const process& p, const heartbeat& m) {
  links_[p.id()].erase(m.from);
  auto* it = about(p, m.from);
  if (!it) return;
  it->heard = p.clock();
  it->reset = it->refused = false;
  // Its newest word is all of it.
  for (auto& [id, other] : desks_[p.id()].about) other.suspected_until.erase(m.from.node);
  for (const auto& s : m.suspicions)
    if (auto* whom = about(p, s.subject)) whom->suspected_until[m.from.node] = p.clock() - s.age + suspicion_for;
}

void fence_watch::link_broken(const process& p, life l, bool reset) {
  auto& link = links_[p.id()][l];
  if (p.clock() - link.at >= suspicion_for) link = {};
  link.at = p.clock();
  (reset ? link.reset : link.refused) = true;
  if (auto* it = about(p, l)) (reset ? it->reset : it->refused) = true;
}

void fence_watch::said_farewell(const process& p, life l) {
  if (auto* it = about(p, l)) it->farewell = true;
}

void fence_watch::decides(const process& p, const std::vector<metadata_record>& records) {
  std::set<node_id> fenced;  // one after the other: who is out gives no reports any more
  for (const auto& record : records)
    if (const auto* change = std::get_if<node_changed>(&record); change && change->state == node_state::fenced)
      if (const auto* node = p.controller_core().image()->node(change->id); node && node->serves()) {
        judge(p, *node, fenced);
        fenced.insert(node->id);
      }
}

void fence_watch::judge(const process& p, const node_info& node, const std::set<node_id>& fenced) {
  ++fenced_;
  const auto now = p.clock();
  auto* it = about(p, {node.id, node.node_epoch});
  if (!it || it->farewell) return;
  const auto name =
      "I30: controller " + std::to_string(p.id().value()) + " fences node " + std::to_string(node.id.value());
  if (now - it->heard < silent_after && !(it->reset && it->refused))
    return broken_(name + ", from which it heard just now");
  int others = 0, reports = 0;
  for (const auto& [id, other] : p.controller_core().image()->nodes) {
    if (id == node.id || other.state != node_state::active || fenced.contains(id)) continue;
    auto* about_other = about(p, {id, other.node_epoch});
    if (id == p.id() || (about_other && now - about_other->heard < deaf_after)) ++others;
    const auto report = it->suspected_until.find(id);
    if (id != p.id() && report != it->suspected_until.end() && report->second > now) ++reports;
  }
  if (others >= 2 && reports == 0) broken_(name + " on its own word alone");
}

}  // namespace troupe::sim
