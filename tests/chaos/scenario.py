"""What scenarios share: a cluster under load, and the judgement at the end."""
import sys

from cluster import Cluster, wait_for
from history import summary, violation
from workload import Workload, create_topic


class Failed(AssertionError):
    pass


class Scenario:
    """`with Scenario(...) as s`: a cluster whose logs are shown when the body fails."""

    def __init__(self, topic='t', partitions=3, show=True, **how):
        self.topic, self.partitions, self.show = topic, partitions, show
        self.cluster = Cluster(**how)
        self.load = None

    def __enter__(self):
        self.cluster.__enter__()
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind and self.show:
                notes = self.load.notes if self.load else []
                print(f'{value}\n--- the first of {len(notes)} notes of clients', *notes[:40], self.cluster.tails(),
                      sep='\n', file=sys.stderr, flush=True)
        finally:
            self.cluster.__exit__(kind, value, trace)

    def serve(self, replicas=3, **load):
        create_topic(self.cluster, self.topic, self.partitions, replicas)
        self.cluster.wait_in_sync(self.topic, replicas)
        self.load = Workload(self.cluster, self.topic, self.partitions, **load).start()
        self.load.wait_progress()

    def read_everywhere(self):
        """Reads the log from each replica. In turn all nodes but one stop in order, so that the one leads all, and a second
        comes back, without which nothing could be committed."""
        for last in self.cluster.nodes.values():
            others = [n for n in self.cluster.nodes.values() if n is not last]
            for node in others:
                code = node.stop()
                if code != 0:
                    raise Failed(f'node {node.id} ended with {code} after SIGTERM')
            self.cluster.start(others[0].id)
            wait_for(f'node {last.id} leads all', lambda: all(
                p.leader == last.id and len(p.isr) == 2 for p in last.metadata(self.topic).values()), 60)
            self.load.read_all(f'the log on node {last.id}')
            self.cluster.start(others[1].id)
            self.cluster.wait_in_sync(self.topic)

    def violations(self):
        found = self.load.history.violations()
        found += [violation('failed', f'{value}: {why}') for value, why in self.load.history.failed]
        for node in self.cluster.nodes.values():
            node.note_end()
            found += [violation('ended', f'node {node.id}, {end}') for end in node.bad_ends]
        return found

    def judge(self):
        found = self.violations()
        if found:
            raise Failed('violations:\n' + summary(found))
        if not self.load.acknowledged():
            raise Failed('nothing was acknowledged: this shows nothing')
