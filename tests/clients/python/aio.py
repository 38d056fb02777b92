import asyncio
import contextlib
import sys

import aiokafka

address, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
print('version=' + aiokafka.__version__)


@contextlib.asynccontextmanager
async def started(make):
    # At its start it asks one of the brokers that it is told of, and gives up when that one died a moment ago.
    while True:
        client = make()
        try:
            await client.start()
            break
        except (aiokafka.errors.KafkaError, OSError) as e:
            print(f'starts again: {e!r}', file=sys.stderr)
            # It may wait for ever for a connection that has failed.
            await asyncio.wait([asyncio.create_task(client.stop())], timeout=0.1)
    yield client
    # When it waits to fetch again, its stop passes on that it has cancelled this.
    with contextlib.suppress(asyncio.CancelledError):
        await client.stop()


async def main():
    async with started(lambda: aiokafka.AIOKafkaProducer(bootstrap_servers=address,
                                                         enable_idempotence=True)) as producer:
        sent = [await producer.send(topic, b'%d' % n, key=b'%d' % n) for n in range(count)]
        done = await asyncio.wait_for(asyncio.gather(*sent), 60)
        produced = sum(1 for s in done if s.offset >= 0)
    print(f'produced={produced}')

    # Without a group it takes all partitions of the topic.
    async with started(lambda: aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=address, group_id=None,
                                                         auto_offset_reset='earliest')) as consumer:
        seen, last = set(), {}
        while len(seen) < count:
            r = await asyncio.wait_for(consumer.getone(), 60)
            n = int(r.value)
            assert r.key == r.value and n not in seen and n > last.get(r.partition, -1), r
            seen.add(n)
            last[r.partition] = n
    print(f'consumed={len(seen)}')


asyncio.run(main())
