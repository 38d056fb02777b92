#!/usr/bin/python3
"""What Kafka clients may ask of a cluster of three whose nodes stand in racks, each promise by one test."""
import json
import time
import unittest
import urllib.request

import frames
from cluster import Cluster, wait_for
from workload import create_topic

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient

NOT_LEADER, INVALID_ASSIGNMENT, NOT_CONTROLLER, OFFSET_NOT_AVAILABLE = 6, 39, 41, 78
PREFERRED_NOT_AVAILABLE, NOT_NEEDED, NO_REASSIGNMENT = 80, 84, 85
RACKS = {1: 'a', 2: 'b', 3: 'c'}


def in_racks(cluster):
    for node in cluster.nodes.values():
        node.options = node.options + [f'--rack={RACKS[node.id]}']


def fetched_bytes(node):
    with urllib.request.urlopen(f'http://{node.http}/metrics', timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('troupe_partition_fetched_bytes_total '):
                return float(line.split()[1])
    return 0


def producer(cluster):
    """Stores values in partition 0, for good when it returns."""
    p = Producer({'bootstrap.servers': cluster.bootstrap, 'acks': 'all'})

    def produce(topic, values):
        failed = []
        for value in values:
            p.produce(topic, value, partition=0, on_delivery=lambda error, _: error and failed.append(error))
        assert p.flush(60) == 0 and not failed, failed
    return produce


class Requests(unittest.TestCase):
    def cluster(self, **how):
        cluster = Cluster(prepare=in_racks, **how)
        self.addCleanup(cluster.__exit__, None)
        cluster.start()
        return cluster

    def test_every_node_describes_the_cluster_and_its_own_logs(self):
        cluster = self.cluster()
        create_topic(cluster, 'orders', 2, 3)
        cluster.wait_in_sync('orders')
        producer(cluster)('orders', [b'x' * 1000] * 100)
        described = [frames.describe_cluster(n.kafka) for n in cluster.nodes.values()]
        controller = described[0][1]
        self.assertIn(controller, RACKS)
        for found in described:
            self.assertEqual(found, (0, controller, {n: (rack, False) for n, rack in RACKS.items()}))
        for node in cluster.nodes.values():
            # Whom libraries take for the controller.
            metadata = AdminClient({'bootstrap.servers': node.kafka}).list_topics(timeout=30)
            self.assertEqual(metadata.controller_id, controller)
            admin = KafkaAdminClient(bootstrap_servers=node.kafka)
            self.assertEqual({b['node_id']: b['rack'] for b in admin.describe_cluster()['brokers']}, RACKS)
            admin.close()
            (error, path, sizes, total, usable), = frames.describe_log_dirs(node.kafka)
            self.assertEqual(error, 0)
            self.assertTrue(path.startswith(node.data), path)
            self.assertEqual(set(sizes), {('orders', 0), ('orders', 1)})
            self.assertGreater(sizes['orders', 0], 100_000)
            self.assertEqual(sizes['orders', 1], 0)
            self.assertTrue(0 < usable <= total)
        cluster[3].kill()
        wait_for('node 3 is fenced', lambda: frames.describe_cluster(cluster[1].kafka)[2][3] == ('c', True))
        metadata = AdminClient({'bootstrap.servers': cluster[1].kafka}).list_topics(timeout=30)
        self.assertEqual(set(metadata.brokers), {1, 2})

    def test_replicas_are_moved_and_moves_are_cancelled(self):
        cluster = self.cluster()
        create_topic(cluster, 'orders', 1, 2)
        cluster.wait_in_sync('orders', 2)
        has = cluster.partitions('orders')[0].replicas
        third, = set(RACKS) - set(has)
        asked = cluster[has[0]].kafka
        self.assertEqual(frames.reassign(asked, 'orders', {0: None, 7: [1]}), {None: 0, 0: NO_REASSIGNMENT, 7: 3})
        self.assertEqual(frames.reassign(asked, 'orders', {0: [1, 99]})[0], INVALID_ASSIGNMENT)
        self.assertEqual(frames.reassign(asked, 'nothing', {0: [1]})[0], 3)
        # Whoever stands still gets nothing, so the move stays under way.
        cluster[third].pause()
        self.assertEqual(frames.reassign(asked, 'orders', {0: [has[0], third]}), {None: 0, 0: 0})
        self.assertEqual(frames.reassignments(asked), {('orders', 0): ([has[0], third, has[1]], [third], [has[1]])})
        self.assertEqual(frames.reassign(asked, 'orders', {0: None})[0], 0)
        self.assertEqual(frames.reassignments(asked), {})
        cluster[third].resume()
        wait_for('the third node serves again', lambda: not frames.describe_cluster(asked)[2][third][1])
        # On any node: it passes the request on.
        self.assertEqual(frames.reassign(cluster[third].kafka, 'orders', {0: [third, has[0]]}), {None: 0, 0: 0})
        wait_for('the replica has moved', lambda: not frames.reassignments(asked)
                 and cluster.partitions('orders')[0].isr == [third, has[0]])

    def test_preferred_leaders_lead_again_when_asked_for(self):
        cluster = self.cluster()
        create_topic(cluster, 'orders', 1, 3)
        cluster.wait_in_sync('orders')
        preferred = cluster.partitions('orders')[0].replicas[0]
        other = cluster[preferred % 3 + 1]
        self.assertEqual(frames.elect_leaders(other.kafka, 0, {'orders': [0, 1]}),
                         {None: 0, ('orders', 0): NOT_NEEDED, ('orders', 1): 3})
        self.assertEqual(frames.elect_leaders(other.kafka, 0, None), {None: 0})
        cluster[preferred].kill()
        self.assertNotEqual(cluster.leader('orders').id, preferred)
        wait_for('every node knows', lambda: other.metadata('orders')[0].leader not in (-1, preferred))
        self.assertEqual(frames.elect_leaders(other.kafka, 0, {'orders': [0]})['orders', 0], PREFERRED_NOT_AVAILABLE)
        self.assertEqual(frames.elect_leaders(other.kafka, 1, {'orders': [0]})['orders', 0], NOT_NEEDED)
        cluster.start(preferred)
        cluster.wait_in_sync('orders')
        self.assertEqual(frames.elect_leaders(other.kafka, 0, None), {None: 0, ('orders', 0): 0})
        self.assertEqual(other.metadata('orders')[0].leader, preferred)

    def test_readers_read_in_their_rack(self):
        cluster = self.cluster()
        create_topic(cluster, 'orders', 1, 3)
        cluster.wait_in_sync('orders')
        leader = cluster.leader('orders')
        near, far = (n for n in cluster.nodes.values() if n is not leader)
        count = 2000
        produce = producer(cluster)
        produce('orders', [b'%d %s' % (i, b'x' * 500) for i in range(count)])
        reader = Consumer({'bootstrap.servers': cluster.bootstrap, 'group.id': 'none', 'enable.auto.commit': False,
                           'client.rack': RACKS[near.id], 'auto.offset.reset': 'error'})
        self.addCleanup(reader.close)
        before = {n: fetched_bytes(cluster[n]) for n in RACKS}
        reader.assign([TopicPartition('orders', 0, 0)])
        got = []

        def read(up_to, limit_s):
            until = time.monotonic() + limit_s
            while len(got) < up_to and time.monotonic() < until:
                m = reader.poll(0.1)
                if m and not m.error():
                    got.append(int(m.value().split(b' ')[0]))
            self.assertEqual(got, list(range(up_to)))

        read(count, 60)
        handed_out = {n: fetched_bytes(cluster[n]) - before[n] for n in RACKS}
        self.assertGreater(handed_out[near.id], 500 * count)
        self.assertEqual(handed_out[leader.id] + handed_out[far.id], 0)
        # What comes is there soon too: the follower hears of each new watermark at once.
        for i in range(count, count + 20):
            produce('orders', [b'%d' % i])
            read(i + 1, 10)
        self.assertEqual(fetched_bytes(cluster[leader.id]), before[leader.id])
        # librdkafka waits five minutes for a replica that is away before it asks the leader again; so it comes back.
        near.kill()
        produce('orders', [b'%d' % i for i in range(count + 20, count + 120)])
        cluster.start(near.id)
        read(count + 120, 60)

    def test_a_follower_answers_as_far_as_it_knows(self):
        cluster = self.cluster()
        create_topic(cluster, 'orders', 1, 3)
        cluster.wait_in_sync('orders')
        producer(cluster)('orders', [b'x'] * 10)
        leader = cluster.leader('orders')
        follower, other = (n for n in cluster.nodes.values() if n is not leader)
        wait_for('the follower knows the watermark', lambda: frames.fetch(follower.kafka, 'orders', 0, 0)[1] == 10)
        for version in 11, 12:
            self.assertEqual(frames.fetch(leader.kafka, 'orders', 0, 4, version, RACKS[follower.id]),
                             (0, 10, follower.id, 0))
            error, watermark, preferred, size = frames.fetch(follower.kafka, 'orders', 0, 4, version)
            self.assertEqual((error, watermark, preferred), (0, 10, -1))
            self.assertGreater(size, 0)
            self.assertEqual(frames.fetch(follower.kafka, 'orders', 0, 10, version), (0, 10, -1, 0))
            self.assertEqual(frames.fetch(follower.kafka, 'orders', 0, 11, version)[0], OFFSET_NOT_AVAILABLE)
        self.assertEqual(frames.fetch(follower.kafka, 'orders', 0, 4, 10)[0], NOT_LEADER)
        # Cut off from the others it does not keep its readers.
        leader.pause()
        other.pause()
        wait_for('the follower has lost its lease',
                 lambda: frames.fetch(follower.kafka, 'orders', 0, 4)[0] == NOT_LEADER)
        leader.resume()
        other.resume()
        wait_for('it serves again', lambda: frames.fetch(follower.kafka, 'orders', 0, 4)[0] == 0)

    def test_without_a_controller_clients_are_told_so(self):
        cluster = self.cluster()
        create_topic(cluster, 'orders', 1, 3)
        cluster.wait_in_sync('orders')
        cluster[2].kill()
        cluster[3].kill()

        def controller():
            with urllib.request.urlopen(f'http://{cluster[1].http}/v1/cluster', timeout=10) as answer:
                return json.load(answer)['controller']
        wait_for('node 1 knows of no controller', lambda: controller() is None)
        self.assertEqual(frames.reassign(cluster[1].kafka, 'orders', {0: [1]}),
                         {None: NOT_CONTROLLER, 0: NOT_CONTROLLER})
        asked = time.monotonic()
        cluster.start(2, wait=False)
        # Elected while the request waits: nobody has to ask again.
        self.assertEqual(frames.reassign(cluster[1].kafka, 'orders', {0: None})[0], NO_REASSIGNMENT)
        print(f'answered {time.monotonic() - asked:.1f} s after the second of three voters was started')


if __name__ == '__main__':
    unittest.main(verbosity=2)
