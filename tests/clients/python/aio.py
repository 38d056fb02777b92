import asyncio
import sys

import aiokafka

address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
print('version=' + aiokafka.__version__)


async def main():
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=address, enable_idempotence=True) as producer:
        sent = [await producer.send(topic, b'%d' % n, key=b'%d' % n) for n in range(count)]
        done = await asyncio.wait_for(asyncio.gather(*sent), 60)
        produced = sum(1 for s in done if s.offset >= 0)
    print(f'produced={produced}')

    # Without a group it takes all partitions of the topic.
    async with aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=address, group_id=None,
                                         auto_offset_reset='earliest') as consumer:
        seen, last = set(), {}
        while len(seen) < count:
            r = await asyncio.wait_for(consumer.getone(), 60)
            n = int(r.value)
            assert r.key == r.value and n not in seen and n > last.get(r.partition, -1), r
            seen.add(n)
            last[r.partition] = n
    print(f'consumed={len(seen)}')


asyncio.run(main())
