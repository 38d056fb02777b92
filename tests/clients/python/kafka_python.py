import sys
import time

import kafka

address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
repeats = len(sys.argv) > 4
print('version=' + kafka.__version__)

# Before 3.0 it takes a record for stored that the leader alone has, and that is lost with the leader.
durable = {'acks': 'all'} if repeats else {}
producer = kafka.KafkaProducer(bootstrap_servers=address, compression_type='gzip', **durable)
wanted, produced = list(range(count)), 0
while wanted:
    sent = [(n, producer.send(topic, b'%d' % n, key=b'%d' % n)) for n in wanted]
    producer.flush(60)
    failed = [(n, s.exception) for n, s in sent if not s.succeeded()]
    produced += len(sent) - len(failed)
    # Version 2.0 does not ask again by itself. Whoever may not write twice cannot either.
    if failed and not repeats:
        raise failed[0][1]
    wanted = [n for n, _ in failed]
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
