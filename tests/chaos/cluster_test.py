#!/usr/bin/python3
"""What a cluster of three promises, each promise by one scenario: real nodes, real clients, real signals."""
import os
import time
import unittest
from types import SimpleNamespace

import facilities
from cluster import wait_for
from gaps import Gaps
from network import Namespaces, Proxies
from scenario import Scenario
from workload import Workload, create_topic


DRAINS_OF_EACH = int(os.environ.get('TROUPE_DRAINS', 1))


def led_by(node, topic):
    return [n for n, p in node.metadata(topic).items() if p.leader == node.id]


class Cluster(unittest.TestCase):
    def test_three_nodes_form_a_cluster_and_serve(self):
        with Scenario(partitions=6) as s:
            s.cluster.start()
            s.serve()
            s.load.wait_progress(500)
            views = [str(n.metadata(s.topic)) for n in s.cluster.nodes.values()]
            self.assertEqual(len(set(views)), 1, views)
            leaders = {p.leader for p in s.cluster.partitions(s.topic).values()}
            self.assertEqual(leaders, {1, 2, 3}, 'every node leads')
            s.load.finish()
            s.judge()

    def test_a_killed_leader_costs_nothing_that_was_acknowledged(self):
        with Scenario() as s:
            s.cluster.start()
            s.serve()
            for _ in range(2):
                leader = s.cluster.leader(s.topic)
                leader.kill()
                killed = time.monotonic()
                self.assertNotEqual(s.cluster.leader(s.topic).id, leader.id)
                s.load.wait_progress(200)
                print(f'progress {time.monotonic() - killed:.1f} s after kill -9')
                s.cluster.start(leader.id)
                s.cluster.wait_in_sync(s.topic)
            s.load.finish()
            s.judge()

    def test_a_leader_that_stood_still_is_fenced_and_follows(self):
        with Scenario() as s:
            s.cluster.start()
            s.serve()
            old = s.cluster.leader(s.topic)
            old.pause()
            stopped = time.monotonic()
            new = s.cluster.leader(s.topic)
            s.load.wait_progress(200)
            time.sleep(max(0, stopped + 5 - time.monotonic()))
            old.resume()
            wait_for('the former leader knows', lambda: old.metadata(s.topic)[0].leader == new.id, 15)
            s.cluster.wait_in_sync(s.topic)
            s.load.wait_progress(200)
            s.load.finish()
            s.judge()

    def isolated_leader(self, network):
        with Scenario(network=network) as s:
            s.cluster.start()
            create_topic(s.cluster, 'probed', 6)
            s.cluster.wait_in_sync('probed')
            s.serve()
            old = s.cluster.leader(s.topic)
            others = [n for n in s.cluster.nodes.values() if n is not old]
            led = led_by(old, 'probed')
            controlled = old.ask('cluster')['controller'] == old.id
            for other in others:
                s.cluster.network.cut(old.id, other.id)
            cut = time.monotonic()
            gaps = Gaps(SimpleNamespace(nodes={n.id: n for n in others}), 'probed', 6).start()
            wait_for('the others have another leader',
                     lambda: all(n.metadata(s.topic)[0].leader in [m.id for m in others] for n in others), 15)
            # Clients still reach the old one: what it answers now must not be lost, nor contradict the new one. By now it
            # may have been replaced, so it does not say that it leads; a little later it names no leaders at all.
            self.assertEqual(old.metadata(s.topic)[0].leader, -1)
            s.load.wait_progress(200)
            time.sleep(3)
            self.assertEqual([p.leader for p in old.metadata(s.topic).values()], [-1] * s.partitions)
            wait_for('others lead all that it led', lambda: all(gaps.taken[n] for n in led), 15)
            gaps.finish()
            took = max(gaps.taken[n][0] for n in led) - cut
            print(f'{len(led)} partitions of a node that was cut off{", the controller," if controlled else ""} '
                  f'were led by others {took:.2f} s later')
            # 3.5 s are promised of a machine that does nothing else.
            self.assertLess(took, 10)
            s.cluster.network.heal()
            s.cluster.wait_in_sync(s.topic)
            s.load.wait_progress(200)
            s.load.finish()
            s.judge()

    def test_a_leader_behind_a_silent_proxy_is_replaced(self):
        self.isolated_leader(Proxies)

    def test_a_leader_whose_packets_are_dropped_is_replaced(self):
        missing = facilities.probe()['namespaces']
        if missing:
            self.skipTest(f'NOT RUN: network namespaces: {missing}')
        self.isolated_leader(Namespaces)

    def test_a_founder_with_a_new_disk_founds_no_second_cluster(self):
        with Scenario() as s:
            s.cluster.start()
            s.serve()
            founder = s.cluster[1]
            founder.kill()
            s.load.wait_progress(200)
            os.rename(founder.data, founder.data + '-lost')
            s.cluster.start(1, wait=False)
            wait_for('a second cluster', lambda: self.says(founder, 'cluster_formed'), 10, 0.01)
            founder.kill()  # perhaps before anybody has asked for it
            for _ in range(2):  # the second time it knows by itself
                s.cluster.start(1, wait=False)
                self.assertEqual(founder.process.wait(20), 1)
                founder.asked_to_end = True
                self.assertTrue(self.says(founder, 'a second cluster was founded in it: move the directory away'))
                self.assertFalse(self.says(founder, 'event=listening') or self.says(founder, 'kafka listening'))
            s.load.wait_progress(200)
            os.rename(founder.data, founder.data + '-second')
            founder.start([s.cluster.network.reached(n) for n in (2, 3)])
            founder.wait_ready()
            s.cluster.wait_in_sync(s.topic)
            s.load.wait_progress(200)
            s.load.finish()
            s.judge()

    def test_who_has_topics_is_not_stopped_by_another_cluster(self):
        with Scenario() as s:
            s.cluster.start()
            create_topic(s.cluster, 'first', 1)
            for node in s.cluster.nodes.values():
                node.kill()
            founder = s.cluster[1]
            os.rename(founder.data, founder.data + '-lost')
            began = time.monotonic()
            s.cluster.start(1)
            self.assertGreater(time.monotonic() - began, 2.5, 'it waits for those who might miss it')
            create_topic(SimpleNamespace(bootstrap=founder.kafka), 'second', 1, 1)
            s.cluster.start(2, 3)
            wait_for('it is claimed', lambda: self.says(founder, 'claimed_by_another_cluster'), 20)
            time.sleep(1)
            self.assertTrue(founder.ready())
            self.assertEqual(founder.metadata('second')[0].leader, 1)
            self.assertEqual(len(s.cluster[2].metadata('first')), 1)

    def says(self, node, text):
        with open(node.log_path(node.life), errors='replace') as log:
            return text in log.read()

    def test_a_rolling_restart_fails_no_produce(self):
        with Scenario() as s:
            s.cluster.start()
            create_topic(s.cluster, 'probed', 6)
            s.cluster.wait_in_sync('probed')
            s.serve()
            gaps = Gaps(s.cluster, 'probed', 6).start()
            found = []
            for node in s.cluster.nodes.values():
                led = led_by(node, 'probed')
                began = time.monotonic()
                self.assertEqual(node.stop(), 0)
                s.load.wait_progress(100)
                found += [gaps.longest(n, began) for n in led]
                s.cluster.start(node.id)
                for topic in ('probed', s.topic):
                    s.cluster.wait_in_sync(topic)
            s.load.wait_progress(100)
            gaps.finish()
            s.load.finish()
            s.judge()
            self.judge_gaps(found)

    def judge_gaps(self, found):
        found.sort()
        self.assertTrue(found)
        print(f'{len(found)} leaderships moved; without a leader {found[len(found) // 2] * 1000:.0f} ms in the middle, '
              f'{found[-1] * 1000:.0f} ms at most')
        # 300 ms are promised of a machine that does nothing else.
        self.assertLess(found[len(found) // 2], 1)

    def test_a_drained_node_leads_nothing_and_nobody_notices(self):
        with Scenario(partitions=6) as s:
            s.cluster.start()
            create_topic(s.cluster, 'probed', 6)
            s.cluster.wait_in_sync('probed')
            s.serve()
            gaps = Gaps(s.cluster, 'probed', 6).start()
            found = []
            for node in list(s.cluster.nodes.values()) * DRAINS_OF_EACH:
                others = [n for n in s.cluster.nodes.values() if n is not node]
                topics = ('probed', s.topic)
                led = led_by(node, 'probed')
                began = time.monotonic()
                others[0].ask(f'nodes/{node.id}', {'action': 'drain'})
                wait_for(f'node {node.id} is drained',
                         lambda: others[1].ask(f'nodes/{node.id}')['drain'] == 'done', 10)
                s.load.wait_progress(100)
                for topic in topics:
                    for p in others[0].metadata(topic).values():
                        self.assertNotEqual(p.leader, node.id)
                        self.assertEqual((len(p.replicas), len(p.isr)), (3, 3))
                self.assertNotEqual(others[0].ask('cluster')['controller'], node.id)
                found += [gaps.longest(n, began) for n in led]
                if node.id == 3:  # down for a while, and drained still
                    self.assertEqual(node.stop(), 0)
                    s.load.wait_progress(100)
                    s.cluster.start(node.id)
                    for topic in topics:
                        s.cluster.wait_in_sync(topic)
                    self.assertEqual(others[0].ask(f'nodes/{node.id}')['drain'], 'done')
                    self.assertNotIn(node.id, [p.leader for p in others[0].metadata(s.topic).values()])
                self.assertEqual(others[0].ask(f'nodes/{node.id}', {'action': 'undo'})['drain'], 'none')
                for topic in topics:
                    for n in range(6):
                        others[0].ask(f'partitions/{topic}/{n}', {'elect': 'preferred'})
                    wait_for(f'node {node.id} leads again',
                             lambda: node.id in [p.leader for p in node.metadata(topic).values()], 10)
            gaps.finish()
            s.load.finish()
            s.judge()
            self.judge_gaps(found)

    def test_a_lone_node_grows_to_three_while_it_serves(self):
        with Scenario(topic='old') as s:
            s.cluster.start(1)
            s.serve(replicas=1)
            s.cluster.start(2, 3)
            create_topic(s.cluster, 'new', 3, -1)
            s.cluster.wait_in_sync('new')
            self.assertEqual({len(p.replicas) for p in s.cluster.partitions('new').values()}, {3})
            self.assertEqual({len(p.replicas) for p in s.cluster.partitions('old').values()}, {1})
            fresh = Workload(s.cluster, 'new', 3, producers=1, consumers=1).start()
            fresh.wait_progress(200)
            s.load.wait_progress(200)
            fresh.finish()
            s.load.finish()
            s.judge()
            s.load = fresh
            s.judge()

    def test_a_node_that_comes_back_catches_up_and_can_lead(self):
        with Scenario() as s:
            s.cluster.start()
            s.serve()
            leader = s.cluster.leader(s.topic)
            follower = next(n for n in s.cluster.nodes.values() if n is not leader)
            follower.kill()
            s.load.wait_progress(1000)
            s.cluster.start(follower.id)
            s.cluster.wait_in_sync(s.topic)
            s.load.finish()
            s.read_everywhere()
            s.judge()

    def test_a_leader_whose_disk_is_full_gives_its_leaderships_up_until_it_has_space(self):
        missing = facilities.probe()['small mount']
        if missing:
            self.skipTest(f'NOT RUN: full disk: {missing}')
        mounted = []
        with Scenario(prepare=lambda c: mounted.append(c[2].mount_small_disk())) as s:
            try:
                s.cluster.start()
                s.serve()
                node, others = s.cluster[2], [s.cluster[1], s.cluster[3]]

                def leaders():
                    return {p.leader for n in others for p in n.metadata(s.topic).values()}
                self.assertIn(2, leaders())
                node.fill_disk()
                filled = time.monotonic()
                wait_for('others lead everything', lambda: leaders() == {1, 3}, 10)
                print(f'others lead {time.monotonic() - filled:.1f} s after the disk was full')
                self.assertTrue(all(n.description(2)['disk_full'] for n in others))
                self.assertEqual(others[0].description(2)['state'], 'active')
                # What the full one cannot append, the ISR waits for until it is dropped from it.
                s.load.wait_progress(500)
                print(f'progress {time.monotonic() - filled:.1f} s after it')
                node.free_disk()
                wait_for('it says that it has space', lambda: not others[0].description(2)['disk_full'], 30)
                s.cluster.wait_in_sync(s.topic)
                wait_for('it leads again', lambda: 2 in leaders(), 60)
                s.load.wait_progress(200)
                s.load.finish()
                s.judge()
            finally:
                for at in mounted:
                    facilities.quiet('umount', '-l', at)

    def test_a_leader_whose_clock_is_years_off_refuses_nothing(self):
        missing = facilities.probe()['wall clock']
        if missing:
            self.skipTest(f'NOT RUN: wall clock: {missing}')
        years = 3650 * 86400
        # From the start on, and while it runs.
        with Scenario(prepare=lambda c: c[2].set_clock(-years)) as s:
            s.cluster.start()
            s.serve()
            for off in (-years, 0, -years, years, 0):
                s.cluster[2].set_clock(off)
                s.load.wait_progress(300)
                time.sleep(1)
                self.assertIn(2, {p.leader for p in s.cluster.partitions(s.topic).values()})
            s.load.finish()
            s.judge()

    def test_all_nodes_killed_at_once_come_back_with_everything(self):
        with Scenario() as s:
            s.cluster.start()
            s.serve()
            for node in s.cluster.nodes.values():
                node.asked_to_end = True
                node.process.kill()
            for node in s.cluster.nodes.values():
                node.kill()
            s.cluster.start()
            s.load.wait_progress(200, 60)
            s.cluster.wait_in_sync(s.topic)
            s.load.finish()
            s.judge()


if __name__ == '__main__':
    unittest.main(verbosity=2)
