#!/usr/bin/python3
"""What a lone node promises: nobody else has a copy, so nothing is decided over its operator's head, and nothing waits for
others."""
import contextlib
import glob
import os
import shutil
import sys
import tarfile
import time
import unittest

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

import frames
from cluster import Cluster, wait_for
from workload import settings


@contextlib.contextmanager
def shown(cluster):
    """The node's log is shown when the body fails."""
    with cluster:
        try:
            yield cluster
        except BaseException:
            print(cluster.tails(), file=sys.stderr, flush=True)
            raise


def said(node):
    """In this life."""
    with open(node.log_path(node.life), errors='replace') as log:
        return log.read()


def create(node, topic, **config):
    admin = AdminClient({'bootstrap.servers': node.kafka})
    admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(15)


def produce(node, topic, values):
    """Each value is a batch, and a block, of its own."""
    failed = []
    p = Producer({'bootstrap.servers': node.kafka, 'acks': 'all', 'linger.ms': 0, 'log_level': 0})
    for v in values:
        p.produce(topic, v, partition=0, on_delivery=lambda e, m: failed.append(e) if e else None)
        p.flush(20)
    assert not failed and not len(p), failed


def read(node, topic, partition=0):
    c = Consumer({'bootstrap.servers': node.kafka, 'group.id': 'none', 'enable.auto.commit': False, 'log_level': 0})
    try:
        at = TopicPartition(topic, partition, 0)
        _, end = c.get_watermark_offsets(at, timeout=15)
        c.assign([at])
        found = []
        until = time.monotonic() + 20
        while len(found) < end:
            assert time.monotonic() < until, f'{len(found)} of {end} records can be read'
            found += [m.value().decode() for m in c.consume(1000, timeout=0.5) if not m.error()]
        return found
    finally:
        c.close()


def values(first, end):
    return [f'value {n} ' + chr(ord('a') + n % 26) * 2000 for n in range(first, end)]


class LoneNode(unittest.TestCase):
    def leader(self, node, topic):
        return node.metadata(topic)[0].leader

    def start_again(self, cluster, node):
        """As a supervisor does. A node that finds damage ends, so that its next registration says so."""
        cluster.start(node.id, wait=False)

        def up():
            if not node.running():
                self.assertEqual((node.process.returncode, node.life - first), (1, 0), 'it ends once, with 1')
                cluster.start(node.id, wait=False)
            return 'log_damaged' in said(node) and node.ready()
        first = node.life
        wait_for('the node is ready and says what is damaged', up)

    def damage(self, node, value):
        """Turns over one bit of a stored record, in whatever file it is."""
        hits = []
        for path in glob.glob(os.path.join(node.data, '**', 'data.mdb'), recursive=True):
            with open(path, 'r+b') as f:
                at = f.read().find(value.encode())
                if at >= 0:
                    f.seek(at + len(value) // 2)
                    byte = f.read(1)[0]
                    f.seek(at + len(value) // 2)
                    f.write(bytes([byte ^ 1]))
                    hits.append(path)
        self.assertEqual(len(hits), 1, f'{value[:20]} is in {hits}')

    def test_the_only_copy_that_is_damaged_waits_for_its_operator(self):
        with shown(Cluster(nodes=1)) as cluster:
            cluster.start()
            node = cluster[1]
            create(node, 'hurt')
            create(node, 'sound')
            wrote = values(0, 60)
            produce(node, 'hurt', wrote)
            produce(node, 'sound', wrote[:3])
            node.kill()
            shutil.copytree(node.data, node.data + '-kept')
            self.damage(node, wrote[40])

            self.start_again(cluster, node)
            self.assertEqual(read(node, 'sound'), wrote[:3], 'the other topics are served')
            time.sleep(3)  # longer than any election takes
            self.assertEqual(self.leader(node, 'hurt'), -1)

            # The operator has a copy.
            node.kill()
            shutil.rmtree(node.data)
            shutil.copytree(node.data + '-kept', node.data)
            cluster.start()
            wait_for('a leader of what was restored', lambda: self.leader(node, 'hurt') == 1, 15)
            self.assertEqual(read(node, 'hurt'), wrote)

            # The operator has none, and lets go: this once …
            node.kill()
            self.damage(node, wrote[40])
            self.start_again(cluster, node)
            self.assertEqual(self.leader(node, 'hurt'), -1)
            self.assertEqual(frames.elect_leaders(node.kafka, 1, {'hurt': [0]}), {None: 0, ('hurt', 0): 0})
            self.assertIn('records_may_be_lost', said(node))
            wait_for('a leader of what is sound', lambda: 'entity=partition/hurt/0 is=leader' in said(node), 15)
            self.assertEqual(read(node, 'hurt'), wrote[:40])

            # … or always.
            node.kill()
            self.damage(node, wrote[20])
            self.start_again(cluster, node)
            self.assertEqual(self.leader(node, 'hurt'), -1)
            admin = AdminClient({'bootstrap.servers': node.kafka})
            change = ConfigResource(ConfigResource.Type.TOPIC, 'hurt',
                                    set_config={'unclean.leader.election.enable': 'true'})
            admin.alter_configs([change])[change].result(15)
            wait_for('a leader of what is sound', lambda: 'entity=partition/hurt/0 is=leader' in said(node), 15)
            self.assertEqual(read(node, 'hurt'), wrote[:20])
            produce(node, 'hurt', values(100, 103))
            self.assertEqual(read(node, 'hurt'), wrote[:20] + values(100, 103))

    def test_a_killed_node_with_unsynced_topics_leads_at_once(self):
        with shown(Cluster(nodes=1)) as cluster:
            cluster.start()
            node = cluster[1]
            create(node, 'quick', durability='interval')
            create(node, 'safe')
            wrote = values(0, 50)
            for topic in ('quick', 'safe'):
                produce(node, topic, wrote)
            node.kill()
            begun = time.monotonic()
            cluster.start()
            for topic in ('quick', 'safe'):
                self.assertEqual(self.leader(node, topic), 1, f'{topic}: ready means led')
            took = time.monotonic() - begun
            print(f'led {took:.2f} s after the start')
            for topic in ('quick', 'safe'):
                self.assertEqual(read(node, topic), wrote)
                produce(node, topic, values(50, 52))
                self.assertEqual(read(node, topic), values(0, 52))
            self.assertNotIn('records_may_be_lost', said(node))


    def test_a_directory_of_the_first_version_is_taken_over(self):
        with shown(Cluster(nodes=1)) as cluster:
            node = cluster[1]
            with tarfile.open(os.path.join(os.path.dirname(__file__), '../data/first-version.tar.gz')) as packed:
                packed.extractall(node.home)
            for _ in range(2):  # taken over, and as its own
                cluster.start()
                admin = AdminClient({'bootstrap.servers': node.kafka})
                self.assertEqual(set(admin.list_topics(timeout=15).topics), {'kept', 'unsynced'})
                topic = ConfigResource(ConfigResource.Type.TOPIC, 'kept')
                own = {e.name: e.value for e in admin.describe_configs([topic])[topic].result(15).values()
                       if e.source == 1}
                self.assertEqual(own, {'retention.ms': '-1', 'max.message.bytes': '200000'})
                for n, p in node.metadata('kept').items():
                    self.assertEqual((p.leader, p.isr), (1, [1]))
                    self.assertEqual(read(node, 'kept', n), [f'kept {i}' for i in range(n, 30, 3)])
                self.assertEqual(len(node.metadata('kept')), 3)
                self.assertEqual(read(node, 'unsynced')[:10], [f'unsynced {i}' for i in range(10)])
                self.assertNotIn('records_may_be_lost', said(node))
                produce(node, 'unsynced', ['more'])
                node.kill()
            cluster.start()
            self.assertEqual(read(node, 'unsynced')[10:], ['more', 'more'])


if __name__ == '__main__':
    unittest.main(verbosity=2)
