import sys
import time

import kafka

address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
repeats = len(sys.argv) > 4
print('version=' + kafka.__version__)

producer = kafka.KafkaProducer(bootstrap_servers=address, compression_type='gzip')
sent = [producer.send(topic, b'%d' % n, key=b'%d' % n) for n in range(count)]
producer.flush(60)
produced = sum(1 for s in sent if s.get(timeout=10).offset >= 0)
producer.close()
print(f'produced={produced}')

consumer = kafka.KafkaConsumer(bootstrap_servers=address, group_id=None, enable_auto_commit=False)
partitions = [kafka.TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
consumer.assign(partitions)
consumer.seek_to_beginning(*partitions)
seen, last, deadline = set(), {}, time.monotonic() + 60
while len(seen) < count and time.monotonic() < deadline:
    for records in consumer.poll(timeout_ms=500).values():
        for r in records:
            n = int(r.value)
            assert r.key == r.value and (repeats or n not in seen and n > last.get(r.partition, -1)), r
            seen.add(n)
            last[r.partition] = n
consumer.close()
print(f'consumed={len(seen)}')
