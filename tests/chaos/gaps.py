"""How long a partition takes no records: a client without back-off sends small batches, one after the other, to whoever
takes them, with acks=all."""
import itertools
import socket
import struct
import threading
import time

from cluster import _exactly


def _crc32c_table():
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        yield n


_TABLE = list(_crc32c_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def batch(value):
    """One record without a key, from a producer without an id."""
    record = b'\0\0\0\1' + bytes([2 * len(value)]) + value + b'\0'  # attributes, time, offset, key; headers
    record = bytes([2 * len(record)]) + record
    now = int(time.time() * 1000)
    checked = struct.pack('>hiqqqhii', 0, 0, now, now, -1, -1, -1, 1) + record
    rest = struct.pack('>ibI', -1, 2, crc32c(checked)) + checked
    return struct.pack('>qi', 0, len(rest)) + rest


class Gaps:
    """From `start` to `finish`: the moments at which each partition acknowledged a batch."""

    def __init__(self, cluster, topic, partitions):
        self.cluster, self.topic = cluster, topic
        self.taken = {n: [] for n in range(partitions)}
        self._going = threading.Event()
        self._going.set()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in self.taken]

    def start(self):
        for t in self._threads:
            t.start()
        return self

    def finish(self):
        self._going.clear()
        for t in self._threads:
            t.join(30)

    def longest(self, partition, since):
        """In seconds, between two acknowledgements that follow each other, the later one after `since`."""
        moments = list(self.taken[partition])
        return max((b - a for a, b in itertools.pairwise(moments) if b >= since), default=0)

    def _run(self, partition):
        links = {}
        try:
            nodes = itertools.cycle(self.cluster.nodes.values())
            node = next(nodes)
            while self._going.is_set():
                if self._send(links, node, partition):
                    self.taken[partition].append(time.monotonic())
                else:
                    node = next(nodes)
                time.sleep(0.002)
        finally:
            for link in links.values():
                link.close()

    def _send(self, links, node, partition):
        name, records = self.topic.encode(), batch(b'x')
        body = (struct.pack('>hhih', 0, 3, 1, -1) + struct.pack('>hhi', -1, -1, 5000) + struct.pack('>ih', 1, len(name)) +
                name + struct.pack('>iii', 1, partition, len(records)) + records)
        try:
            if node.id not in links:
                host, port = node.kafka.rsplit(':', 1)
                links[node.id] = socket.create_connection((host, int(port)), timeout=2)
            link = links[node.id]
            link.sendall(struct.pack('>i', len(body)) + body)
            answer = _exactly(link, struct.unpack('>i', _exactly(link, 4))[0])
        except OSError:
            if node.id in links:
                links.pop(node.id).close()
            return False
        # number of the request, one topic, its name, one partition, its number
        return struct.unpack_from('>h', answer, 4 + 4 + 2 + len(name) + 4 + 4)[0] == 0
