import sys
import time

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
version = confluent_kafka.version()
print('version=' + (version if isinstance(version, str) else version[0]))

producer, produced = Producer({'bootstrap.servers': address, 'enable.idempotence': True}), 0


def delivered(error, _):
    global produced
    produced += error is None


for n in range(count):
    while True:
        try:
            producer.produce(topic, b'%d' % n, key=b'%d' % n, on_delivery=delivered)
            break
        except BufferError:  # its queue is full
            producer.poll(0.1)
    producer.poll(0)
producer.flush(60)
print(f'produced={produced}')

consumer = Consumer({'bootstrap.servers': address, 'group.id': 'none', 'enable.auto.commit': False})
found = consumer.list_topics(topic, timeout=30).topics[topic].partitions
consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in found])
seen, last, deadline = set(), {}, time.monotonic() + 60
while len(seen) < count and time.monotonic() < deadline:
    for m in consumer.consume(1000, timeout=1):
        assert not m.error(), m.error()
        n = int(m.value())
        assert m.key() == m.value() and n not in seen and n > last.get(m.partition(), -1), n
        seen.add(n)
        last[m.partition()] = n
consumer.close()
print(f'consumed={len(seen)}')
