#include "runtime/membership/failure_detector.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace troupe::membership {
namespace {

using namespace std::chrono_literals;
using effects = failure_detector::effects;

const instant start{};
const life me{node_id{1}, 10};

life other(int node, std::int64_t epoch = 20) {
  return {node_id{node}, epoch};
}

template <class T>
std::vector<std::pair<node_id, T>> sent(const effects& all) {
  std::vector<std::pair<node_id, T>> out;
  for (const auto& e : all)
    if (const auto* s = std::get_if<failure_detector::send>(&e))
      if (const auto* m = std::get_if<T>(&s->message)) out.emplace_back(s->to, *m);
  return out;
}
template <class T>
std::vector<T> of(const effects& all) {
  std::vector<T> out;
  for (const auto& e : all)
    if (const auto* x = std::get_if<T>(&e)) out.push_back(*x);
  return out;
}

/// A detector at node 1 with the members 2..n.
struct observer {
  failure_detector it;
  instant now{start};

  explicit observer(int nodes, detector_settings s = {}) : it{me, s, random_source{1}, start} {
    for (int i = 2; i <= nodes; ++i) it.member(other(i));
  }
  /// Runs to the next wake-up.
  effects next() {
    now = it.wakes_at();
    return it.tick(now);
  }
  /// Runs until somebody is probed.
  std::pair<node_id, probe> next_probe() {
    for (;;)
      if (auto p = sent<probe>(next()); !p.empty()) return p.front();
  }
  /// Runs until `node` is suspected; nobody answers but those that say no.
  effects until_suspected(node_id node) {
    for (;;) {
      auto out = next();
      for (const auto& [helper, request] : sent<probe_request>(out))
        if (helper != node) it.received(nack{other(helper.value()), request.subject, request.sequence, {}}, now);
      for (const auto& r : of<failure_detector::raised>(out))
        if (r.suspicion.subject.node == node) return out;
      for (const auto& [to, p] : sent<probe>(out))
        if (to != node) answer(to, p);
    }
  }
  effects answer(node_id, const probe& p, std::chrono::milliseconds unleased = 0ms) {
    return it.received(ack{p.to, p.to, p.sequence, 0, unleased, {}}, now + 1ms);
  }
};

TEST(FailureDetector, ProbesEachMemberOnceInARoundAndOneInAnInterval) {
  observer o{6};
  instant last{};
  for (int round = 0; round < 3; ++round) {
    std::set<node_id> probed;
    for (int i = 0; i < 5; ++i) {
      const auto [to, p] = o.next_probe();
      EXPECT_EQ(p.to, other(to.value()));
      EXPECT_TRUE(last == instant{} || o.now - last == 500ms);
      last = o.now;
      probed.insert(to);
      o.answer(to, p);
    }
    EXPECT_EQ(probed.size(), 5u);
  }
}

TEST(FailureDetector, AloneItProbesNobody) {
  observer o{1};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(o.next().empty());
}

TEST(FailureDetector, AsksThreePeersAfter300MsAndSuspectsAfterTheSameAgain) {
  observer o{6};
  const auto [to, p] = o.next_probe();
  const auto at = o.now;
  EXPECT_EQ(o.it.wakes_at(), at + 300ms);
  auto asked = sent<probe_request>(o.next());
  ASSERT_EQ(asked.size(), 3u);
  std::set<node_id> helpers;
  for (const auto& [helper, request] : asked) {
    EXPECT_EQ(request.subject, p.to);
    EXPECT_NE(helper, to);
    helpers.insert(helper);
    o.it.received(nack{other(helper.value()), request.subject, request.sequence, {}}, o.now);
  }
  EXPECT_EQ(helpers.size(), 3u);
  EXPECT_TRUE(o.it.suspicions().empty());

  const auto out = o.until_suspected(to);
  EXPECT_EQ(o.now, at + 600ms);
  const suspicion expected{p.to, cause::silent, at + 600ms};
  EXPECT_EQ(of<failure_detector::raised>(out).at(0).suspicion, expected);
  EXPECT_EQ(o.it.suspicions(), std::vector{expected});
  EXPECT_EQ(o.it.health(), 0u);  // the peers are well and agree

  // Three peers and the accused hear of it at once.
  std::set<node_id> told;
  for (const auto& [node, g] : sent<gossip>(out)) {
    EXPECT_EQ(g.rumours, (std::vector<rumour>{{p.to, 0, true}}));
    told.insert(node);
  }
  EXPECT_EQ(told.size(), 4u);
  EXPECT_TRUE(told.contains(to));
}

TEST(FailureDetector, AnAnswerThroughAPeerKeepsTheSubjectTrusted) {
  observer o{5};
  const auto [to, p] = o.next_probe();
  const auto asked = sent<probe_request>(o.next());
  const auto [helper, request] = asked.at(0);
  o.it.received(ack{other(helper.value()), p.to, request.sequence, 0, 0ms, {}}, o.now + 1ms);
  for (int i = 0; i < 3; ++i) {
    const auto [next, again] = o.next_probe();
    o.answer(next, again);
  }
  EXPECT_TRUE(o.it.suspicions().empty());
}

TEST(FailureDetector, ASuspicionIsRenewedAboutEachInterval) {
  observer o{4};
  o.until_suspected(node_id{3});
  auto last = o.it.suspicions().at(0).when;
  for (int i = 0; i < 4; ++i) {
    while (o.it.suspicions().at(0).when == last) {
      for (const auto& [to, p] : sent<probe>(o.next()))
        if (to != node_id{3}) o.answer(to, p);
    }
    EXPECT_LE(o.it.suspicions().at(0).when - last, 1s);
    last = o.it.suspicions().at(0).when;
  }
}

TEST(FailureDetector, ALateAnswerClearsASuspicionOnceOnly) {
  observer o{2};  // nobody to ask
  const auto [to, p] = o.next_probe();
  o.until_suspected(to);
  EXPECT_EQ(of<failure_detector::cleared>(o.answer(to, p)).size(), 1u);
  EXPECT_TRUE(o.it.suspicions().empty());

  o.until_suspected(to);
  EXPECT_TRUE(of<failure_detector::cleared>(o.answer(to, p)).empty());  // a copy of the old one proves nothing
  EXPECT_EQ(o.it.suspicions().size(), 1u);
}

TEST(FailureDetector, ANewIncarnationClearsASuspicionAndIsLookedIntoAtOnce) {
  observer o{4};
  o.until_suspected(node_id{3});
  while (!o.it.suspicions().empty() && sent<probe>(o.next()).empty()) {
  }
  // The subject is silent, and its probe may be on its way: let that one end.
  const auto stale = o.it.received(gossip{other(2), {{other(3), 0, false}}}, o.now);
  EXPECT_TRUE(of<failure_detector::cleared>(stale).empty());
  const auto fresh = o.it.received(gossip{other(2), {{other(3), 1, false}}}, o.now);
  EXPECT_EQ(of<failure_detector::cleared>(fresh).at(0).subject, other(3));
  // A suspicion of what was refuted says nothing new.
  EXPECT_TRUE(o.it.received(gossip{other(2), {{other(3), 0, true}}}, o.now).empty());
}

TEST(FailureDetector, RefutesWhatIsSaidOfItself) {
  observer o{6};
  const auto out = o.it.received(gossip{other(2), {{me, 0, true}}}, start);
  const auto told = sent<gossip>(out);
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[0].second.rumours, (std::vector<rumour>{{me, 1, false}}));
  EXPECT_EQ(o.it.health(), 1u);
  EXPECT_TRUE(o.it.received(gossip{other(3), {{me, 0, true}}}, start).empty());            // refuted already
  EXPECT_TRUE(o.it.received(gossip{other(3), {{{me.node, 9}, 5, true}}}, start).empty());  // of a former life
  const auto answer = o.it.received(probe{other(2), me, 1, {}}, start);
  EXPECT_EQ(sent<ack>(answer).at(0).second.incarnation, 1u);
}

TEST(FailureDetector, ARumourMakesItLookButNotAccuse) {
  observer o{6};
  const auto out = o.it.received(gossip{other(2), {{other(4), 0, true}}}, start);
  EXPECT_EQ(sent<probe>(out).at(0).first, node_id{4});
  EXPECT_TRUE(o.it.suspicions().empty());
  EXPECT_TRUE(o.it.received(gossip{other(3), {{other(4), 0, true}}}, start).empty());  // looking already
}

TEST(FailureDetector, RumoursRideOnMessagesABoundedNumberOfTimes) {
  observer o{6};
  o.it.received(gossip{other(2), {{other(4), 0, true}}}, start);
  int times = 0;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const auto out = o.it.received(probe{other(3), me, i, {}}, start);
    times += static_cast<int>(sent<ack>(out).at(0).second.rumours.size());
  }
  EXPECT_EQ(times, 9 - 1);  // 3 x log2 of six nodes, rounded up; one rode on the probe of node 4
}

TEST(FailureDetector, AMessageCarriesAtMostEightRumours) {
  observer o{40};
  for (int i = 3; i <= 40; ++i) o.it.received(gossip{other(2), {{other(i), 0, true}}}, start);
  const auto out = o.it.received(probe{other(2), me, 1, {}}, start);
  EXPECT_EQ(sent<ack>(out).at(0).second.rumours.size(), 8u);
}

TEST(FailureDetector, AnswersAProbeWithItsLeaseAndItsOwnLife) {
  observer o{3};
  auto unleased = [&](instant now) {
    return sent<ack>(o.it.received(probe{other(2), me, 7, {}}, now)).at(0).second.without_lease;
  };
  o.it.lease_held();
  EXPECT_EQ(unleased(start + 9s), 0ms);
  o.it.lease_missing(start + 10s);
  o.it.lease_missing(start + 12s);  // it is the first moment that counts
  EXPECT_EQ(unleased(start + 15s), 5s);

  const auto former = sent<ack>(o.it.received(probe{other(2), {me.node, 3}, 8, {}}, start)).at(0).second;
  EXPECT_EQ(former.subject, me);
  EXPECT_EQ(former.sequence, 8u);
}

TEST(FailureDetector, NoLeaseForFiveSecondsIsASuspicionUntilAnAnswerWithOne) {
  observer o{2};
  auto probed = o.next_probe();
  EXPECT_TRUE(o.answer(probed.first, probed.second, 4999ms).empty());
  probed = o.next_probe();
  auto out = o.answer(probed.first, probed.second, 5s);
  EXPECT_EQ(of<failure_detector::raised>(out).at(0).suspicion, (suspicion{other(2), cause::no_lease, o.now + 1ms}));
  probed = o.next_probe();
  out = o.answer(probed.first, probed.second, 0ms);
  EXPECT_EQ(of<failure_detector::cleared>(out).at(0).subject, other(2));
}

TEST(FailureDetector, ProbesForAPeerAndPassesTheAnswerOn) {
  observer o{3};
  const auto errand = sent<probe>(o.it.received(probe_request{other(2), other(3), 77, {}}, start)).at(0);
  EXPECT_EQ(errand.first, node_id{3});
  const auto passed =
      sent<ack>(o.it.received(ack{other(3), other(3), errand.second.sequence, 4, 6s, {}}, start + 900ms));
  ASSERT_EQ(passed.size(), 1u);
  EXPECT_EQ(passed[0].first, node_id{2});
  EXPECT_EQ(passed[0].second.from, me);
  EXPECT_EQ(passed[0].second.subject, other(3));
  EXPECT_EQ(passed[0].second.sequence, 77u);
  EXPECT_EQ(passed[0].second.incarnation, 4u);
  EXPECT_EQ(passed[0].second.without_lease, 6s);
}

TEST(FailureDetector, TellsThePeerInTimeThatThereIsNoAnswer) {
  observer o{3};
  o.it.received(probe_request{other(2), other(3), 77, {}}, start);
  for (;;) {
    const auto denied = sent<nack>(o.next());
    if (denied.empty()) continue;
    EXPECT_EQ(o.now, start + 180ms);
    EXPECT_EQ(denied[0].first, node_id{2});
    EXPECT_EQ(denied[0].second.sequence, 77u);
    break;
  }
}

TEST(FailureDetector, ErrandsAreBoundedAndFurtherOnesAreDeniedAtOnce) {
  observer o{3};
  for (std::uint64_t i = 0; i < 64; ++i)
    EXPECT_EQ(sent<probe>(o.it.received(probe_request{other(2), other(3), i, {}}, start)).size(), 1u);
  const auto out = o.it.received(probe_request{other(2), other(3), 64, {}}, start);
  EXPECT_EQ(sent<nack>(out).size(), 1u);
  EXPECT_TRUE(sent<probe>(out).empty());
}

TEST(FailureDetector, HealthRisesWithMissedAnswersToEightAndFallsWithEachAnswer) {
  observer o{12};
  unsigned before = 0;
  while (o.it.health() < failure_detector::health_max) {
    o.next();  // not even a peer says a word
    EXPECT_GE(o.it.health(), before);
    before = o.it.health();
  }
  for (int i = 0; i < 100; ++i) o.next();
  EXPECT_EQ(o.it.health(), 8u);
}

TEST(FailureDetector, AnUnhealthyObserverWaitsLonger) {
  observer o{6};
  o.it.received(gossip{other(2), {{me, 0, true}}}, start);
  o.it.received(gossip{other(2), {{me, 1, true}}}, start);
  EXPECT_EQ(o.it.health(), 2u);
  const auto [to, p] = o.next_probe();
  const auto at = o.now;
  while (sent<probe_request>(o.next()).empty()) {
  }
  EXPECT_EQ(o.now - at, 900ms);

  const auto health = o.it.health();
  const auto [next, again] = o.next_probe();
  o.answer(next, again);
  EXPECT_EQ(o.it.health(), health - 1);
}

TEST(FailureDetector, ALateTickStartsAllWaitsAgainAndAccusesNobody) {
  observer o{2};
  const auto [to, p] = o.next_probe();
  o.now += 20s;  // we stood still
  EXPECT_TRUE(of<failure_detector::raised>(o.it.tick(o.now)).empty());
  EXPECT_EQ(o.it.health(), 1u);
  o.answer(to, p);  // lay unread meanwhile
  EXPECT_EQ(o.it.health(), 0u);
  EXPECT_TRUE(o.it.suspicions().empty());
}

TEST(FailureDetector, GoneNeedsAResetAndThenARefusal) {
  observer o{3};
  EXPECT_TRUE(o.it.connect_refused(node_id{2}, start).empty());  // before: it may have been starting
  EXPECT_TRUE(o.it.link_reset(other(2), start).empty());
  const auto out = o.it.connect_refused(node_id{2}, start + 2ms);
  EXPECT_EQ(of<failure_detector::raised>(out).at(0).suspicion, (suspicion{other(2), cause::gone, start + 2ms}));
  EXPECT_EQ(o.it.suspicions().at(0).why, cause::gone);
}

TEST(FailureDetector, AnythingHeardClearsGone) {
  observer o{3};
  auto make_gone = [&] {
    o.it.link_reset(other(2), start);
    o.it.connect_refused(node_id{2}, start);
    EXPECT_EQ(o.it.suspicions().size(), 1u);
  };
  make_gone();
  EXPECT_EQ(of<failure_detector::cleared>(o.it.heard(other(2), start)).size(), 1u);
  make_gone();
  EXPECT_EQ(of<failure_detector::cleared>(o.it.received(gossip{other(2), {}}, start)).size(), 1u);
  EXPECT_TRUE(o.it.connect_refused(node_id{2}, start).empty());  // the reset counts no more
}

TEST(FailureDetector, WhereRefusalsAreNotTrustedNobodyIsGone) {
  observer o{3, {.trust_refused = false}};
  o.it.link_reset(other(2), start);
  EXPECT_TRUE(o.it.connect_refused(node_id{2}, start).empty());
}

TEST(FailureDetector, WhatIsKnownOfAFormerLifeDoesNotCountForTheNext) {
  observer o{4};
  o.until_suspected(node_id{3});
  o.it.member(other(3, 30));
  EXPECT_TRUE(o.it.suspicions().empty());
  EXPECT_TRUE(o.it.link_reset(other(3), o.now).empty());
  EXPECT_TRUE(o.it.connect_refused(node_id{3}, o.now).empty());
  EXPECT_TRUE(o.it.received(gossip{other(2), {{other(3), 7, true}}}, o.now).empty());
  EXPECT_TRUE(o.it.received(gossip{other(3), {{other(4), 7, true}}}, o.now).empty());
  o.it.member(other(3));  // an old record changes nothing
  EXPECT_EQ(of<failure_detector::raised>(o.until_suspected(node_id{3})).at(0).suspicion.subject, other(3, 30));
}

TEST(FailureDetector, AnswersALifeThatItsMetadataDoesNotKnowYet) {
  observer o{2};
  const auto out = o.it.received(probe{other(2, 99), me, 5, {{me, 3, true}}}, start);
  EXPECT_EQ(sent<ack>(out).at(0).second.sequence, 5u);
  EXPECT_EQ(o.it.health(), 0u);  // but believes nothing of it
  EXPECT_EQ(sent<ack>(o.it.received(probe{other(7), me, 5, {}}, start)).size(), 1u);
  EXPECT_TRUE(o.it.received(probe{other(2, 19), me, 5, {}}, start).empty());
}

TEST(FailureDetector, WhoLeftTheClusterIsForgotten) {
  observer o{3};
  o.until_suspected(node_id{3});
  o.it.removed(node_id{3});
  EXPECT_TRUE(o.it.suspicions().empty());
  for (int i = 0; i < 20; ++i)
    for (const auto& [to, p] : sent<probe>(o.next())) EXPECT_NE(to, node_id{3});
}

}  // namespace
}  // namespace troupe::membership
