#!/usr/bin/python3
"""What entities promise, by rate limits: one bucket for a name, whoever is asked, wherever it lives."""
import os
import sys
import threading
import time
import unittest
import urllib.request

from cluster import Cluster, wait_for
from limits import BURST, HOUR, call, decided

NAMES = [f'customer-{i}' for i in range(60)]  # about as many as there are shards


def take_all(cluster, name):
    """How many calls are allowed until one is not, asking the nodes in turn."""
    allowed = 0
    while allowed <= 10 * BURST:
        for node in cluster.alive():
            if not wait_for(f'an answer about {name}', lambda: [decided(node, name, HOUR)])[0]:
                return allowed
            allowed += 1
    raise AssertionError(f'{name} is allowed without end')


def metric(node, name):
    with urllib.request.urlopen(f'http://{node.http}/metrics', timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(' ', 1)[1]) for line in lines if line.startswith(name))


class Entities(unittest.TestCase):
    def run(self, result=None):
        with Cluster() as cluster:
            self.cluster = cluster
            cluster.start()
            before = len(result.failures) + len(result.errors) if result else 0
            super().run(result)
            if result and len(result.failures) + len(result.errors) > before:
                print(cluster.tails(), file=sys.stderr, flush=True)

    def settled(self):
        """Every shard is owned, and every node owns some."""
        def there():
            owned = [metric(n, 'troupe_entity_shards{kind="limit"}') for n in self.cluster.alive()]
            return sum(owned) == 64 and owned
        return wait_for('all shards are owned once', there, 60, 0.2)

    def test_one_bucket_at_every_node(self):
        self.settled()
        self.assertEqual({name: take_all(self.cluster, name) for name in NAMES}, dict.fromkeys(NAMES, BURST))
        status, body, headers = call(self.cluster[1], NAMES[0], HOUR)
        self.assertEqual(status, 429)
        self.assertEqual(body['remaining'], 0)
        self.assertLessEqual(abs(int(headers['Retry-After']) * 1000 - body['retry_after_ms']), 1000)
        self.assertGreater(metric(self.cluster[1], 'troupe_entity_calls_total{outcome="answered"}'), 0)
        for rule, word in (({'limit': 0}, 'limit'), ({'limit': 5, 'cost': 6}, 'cost'), ({}, 'limit')):
            status, body, headers = call(self.cluster[2], 'x', rule)
            self.assertEqual((status, headers['Content-Type']), (400, 'application/problem+json'))
            self.assertIn(word, body['detail'])

    def test_calls_side_by_side_get_no_more_than_there_is(self):
        self.settled()
        allowed = []

        def caller(node):
            for _ in range(30):
                if decided(node, 'hot', {'limit': 40, 'period_ms': 3_600_000}):
                    allowed.append(1)
        threads = [threading.Thread(target=caller, args=(n,)) for n in self.cluster.nodes.values() for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(len(allowed), 40)

    def test_buckets_move_along_when_their_nodes_leave_in_order(self):
        self.settled()
        for name in NAMES:
            self.assertEqual(take_all(self.cluster, name), BURST)
        nodes = self.cluster.nodes
        nodes[2].ask('nodes/1', {'action': 'drain'})
        wait_for('node 1 owns nothing', lambda: metric(nodes[1], 'troupe_entity_shards{kind="limit"}') == 0, 60, 0.2)
        self.settled()
        self.assertEqual(self.with_room(), [])
        nodes[2].ask('nodes/1', {'action': 'undo'})
        for node in nodes.values():
            self.assertEqual(node.stop(), 0)
            self.settled()
            self.assertEqual(self.with_room(), [], f'node {node.id} stopped')
            self.cluster.start(node.id)
        self.settled()
        self.assertEqual(self.with_room(), [])

    def test_owners_that_stand_still_or_die_are_replaced_and_decide_nothing_any_more(self):
        wait_for('every node owns some', lambda: min(self.settled()) > 0, 90, 0.5)
        for name in NAMES:
            take_all(self.cluster, name)
        old = self.cluster[2]
        old.pause()
        self.begin_anew('stopped')
        old.resume()
        # At once, and as often as it likes: whoever decides, it is not this one.
        for _ in range(3):
            for name in NAMES:
                try:
                    self.assertFalse(decided(old, name, HOUR), name)
                except OSError:
                    pass  # 503: it has no lease yet
        wait_for('it serves again', old.ready, 30)
        self.settled()
        self.assertEqual(self.with_room(), [])

        self.cluster[3].kill()
        self.begin_anew('killed')
        self.assertEqual(self.with_room(), [])

    def with_room(self):
        return [name for name in NAMES if take_all(self.cluster, name)]

    def begin_anew(self, what):
        """Of empty buckets, those of the node that is gone are full again, once; those of the others stand."""
        since = time.monotonic()
        found = {name: take_all(self.cluster, name) for name in NAMES}
        print(f'{sum(map(bool, found.values()))} of {len(NAMES)} buckets were on the {what} node; '
              f'all answered {time.monotonic() - since:.1f} s later')
        self.assertEqual((min(found.values()), max(found.values())), (0, BURST), found)
        # One or two may have counted for a caller that had given up.
        self.assertGreaterEqual(sum(found.values()), 0.9 * BURST * sum(map(bool, found.values())), found)


if __name__ == '__main__':
    os.environ.setdefault('TROUPE_NODE', 'build/release/bin/troupe-node')
    unittest.main(verbosity=2)
