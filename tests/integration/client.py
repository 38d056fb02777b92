#!/usr/bin/python3
"""What the integration tests need of confluent_kafka (Debian's, 1.7 on librdkafka 2.0): one command, one task.

produce  lines of standard input; --record writes "partition offset line" of what was acknowledged
consume  everything up to the end as it was at the start; prints "partition offset key,value"
records  produces and consumes records with all that a record can have, and compares
timed    produces records with given timestamps, then looks up offsets by time
admin    create, grow, describe, alter and delete topics; prints what it found
"""
import argparse
import json
import sys
import time

from confluent_kafka import (Consumer, KafkaException, Producer, TopicPartition, OFFSET_BEGINNING,
                             TIMESTAMP_CREATE_TIME)
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic


def settings(args, **more):
    conf = {'bootstrap.servers': args.bootstrap, 'broker.address.family': 'v4', **more}
    conf.update(pair.split('=', 1) for pair in args.set or [])
    return conf


def consumer(args):
    return Consumer(settings(args, **{'group.id': 'none', 'enable.auto.commit': False, 'enable.partition.eof': False,
                                      'auto.offset.reset': 'error'}))


def partitions(c, topic):
    found = c.list_topics(topic, timeout=30).topics[topic]
    if found.error:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def read(c, assignment):
    """Yields the messages of `assignment` (offsets may be logical) up to the high watermarks as they are now."""
    left = {}
    for at in assignment:
        low, high = c.get_watermark_offsets(TopicPartition(at.topic, at.partition), timeout=30)
        begin = low if at.offset == OFFSET_BEGINNING else at.offset
        if begin < high:
            left[at.partition] = high
    c.assign(assignment)
    deadline = time.monotonic() + 60
    while left:
        for m in c.consume(10000, timeout=1):
            if m.error():
                raise KafkaException(m.error())
            if m.partition() in left:
                if m.offset() < left[m.partition()]:
                    yield m
                if m.offset() + 1 >= left[m.partition()]:
                    del left[m.partition()]
            deadline = time.monotonic() + 60
        if time.monotonic() > deadline:
            raise SystemExit(f'no message for 60 s, still missing up to: {left}')


def cmd_produce(args):
    p = Producer(settings(args, **{'linger.ms': '5'}))
    record = open(args.record, 'wb', buffering=0) if args.record else None
    failed = []

    def delivered(error, m):
        if error:
            failed.append(str(error))
        elif record:
            record.write(b'%d %d %s\n' % (m.partition(), m.offset(), m.value()))

    for line in sys.stdin.buffer:
        line = line.rstrip(b'\n')
        where = {'partition': args.partition} if args.partition >= 0 else {'key': line.split(b',', 1)[0]}
        while True:
            try:
                p.produce(args.topic, line, on_delivery=delivered, **where)
                break
            except BufferError:
                p.poll(0.1)
        p.poll(0)
    p.flush(args.timeout)
    if failed or len(p):
        print(f'{len(failed)} failed, {len(p)} unknown; first: {failed[:1]}', file=sys.stderr)
        sys.exit(3)


def cmd_consume(args):
    c = consumer(args)
    where = partitions(c, args.topic) if args.partition < 0 else [args.partition]
    out = sys.stdout.buffer
    for m in read(c, [TopicPartition(args.topic, n, args.offset) for n in where]):
        out.write(b'%d %d %s,%s\n' % (m.partition(), m.offset(), m.key() or b'', m.value() or b''))
    c.close()


def cmd_records(args):
    """Null and empty keys and values, headers (also empty, repeated, null), sizes around the limits of one byte."""
    cases = [(None, b'v', None), (b'', b'v', None), (b'k', None, None), (b'k', b'', None), (None, None, None),
             (b'k', b'v', [('h', b'1'), ('h', b'2'), ('', b''), ('none', None), ('é', bytes(range(256)))])]
    cases += [(b'k' * n, b'v' * n, [('n', b'x' * n)]) for n in (63, 64, 127, 128, 8191, 8192, 100000)]
    p = Producer(settings(args))
    start = 1_600_000_000_000
    for n, (key, value, headers) in enumerate(cases):
        p.produce(args.topic, value, key, partition=0, headers=headers, timestamp=start + n)
    assert p.flush(30) == 0
    c = consumer(args)
    got = [(m.key(), m.value(), m.headers(), m.timestamp())
           for m in read(c, [TopicPartition(args.topic, 0, OFFSET_BEGINNING)])]
    want = [(key, value, headers, (TIMESTAMP_CREATE_TIME, start + n)) for n, (key, value, headers) in enumerate(cases)]
    for n, pair in enumerate(zip(got, want)):
        assert pair[0] == pair[1], f'record {n}: {pair}'
    assert len(got) == len(want), (len(got), len(want))


def cmd_timed(args):
    """Times that fall and rise: the answer is the first record, in offset order, that is not before the time."""
    start = 1_600_000_000_000
    times = [start + t for t in (0, 100, 50, 200, 150, 300, 300, 1000)]
    p = Producer(settings(args, **{'linger.ms': '50'}))
    for n, t in enumerate(times):
        p.produce(args.topic, b'%d' % n, partition=0, timestamp=t)
        if n == 3:  # so that there are several batches
            assert p.flush(30) == 0
    assert p.flush(30) == 0
    c = consumer(args)
    for asked in [start - 1, *times, start + 1, start + 120, start + 250, start + 301, start + 1001]:
        found = c.offsets_for_times([TopicPartition(args.topic, 0, asked)], timeout=30)[0]
        if found.error:
            raise KafkaException(found.error)
        # librdkafka says "end" where the protocol says -1.
        want = next((n for n, t in enumerate(times) if t >= asked), -1)
        assert found.offset == want, f'time start+{asked - start}: offset {found.offset}, expected {want}'


def done(futures):
    """The outcome by name: "ok" or the error's name."""
    outcome = {}
    for name, future in futures.items():
        try:
            future.result(30)
            outcome[str(name)] = 'ok'
        except KafkaException as e:
            outcome[str(name)] = e.args[0].name()
    return outcome


def cmd_admin(args):
    a = AdminClient(settings(args))

    def configs(topic):
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        return a.describe_configs([resource])[resource].result(30)

    said = {}
    said['create'] = done(a.create_topics([
        NewTopic('a', 3, 1, config={'retention.ms': '60000'}), NewTopic('b', 1, 1), NewTopic('bad name', 1, 1),
        NewTopic('c', 1, 5), NewTopic('d', 0, 1), NewTopic('e', 1, 1, config={'retention.ms': 'soon'}),
        NewTopic('f', 2, replica_assignment=[[1], [1]])]))
    said['again'] = done(a.create_topics([NewTopic('a', 1, 1)]))
    said['validate'] = done(a.create_topics([NewTopic('v', 1, 1)], validate_only=True))
    said['topics'] = {name: len(t.partitions) for name, t in a.list_topics(timeout=30).topics.items()}
    said['grow'] = done(a.create_partitions([NewPartitions('a', 5), NewPartitions('b', 1), NewPartitions('x', 2)]))
    said['grown'] = len(a.list_topics('a', timeout=30).topics['a'].partitions)

    found = configs('a')
    said['retention'] = [found['retention.ms'].value, found['retention.ms'].source, found['retention.ms'].is_default]
    said['limit'] = [found['max.message.bytes'].value, found['max.message.bytes'].is_default]
    said['names'] = sorted(found)

    def alter(topic, **values):
        return done(a.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={
            k.replace('_', '.'): v for k, v in values.items()})]))

    said['alter'] = list(alter('a', max_message_bytes='2000').values())
    found = configs('a')
    said['altered'] = [found['max.message.bytes'].value, found['retention.ms'].is_default]
    said['alter_bad'] = list(alter('a', max_message_bytes='many').values())
    said['alter_unknown'] = list(alter('nowhere', max_message_bytes='2000').values())
    broker = ConfigResource(ConfigResource.Type.BROKER, '1')
    said['broker'] = len(a.describe_configs([broker])[broker].result(30)) > 0

    said['delete'] = done(a.delete_topics(['a', 'x']))
    said['left'] = sorted(a.list_topics(timeout=30).topics)
    json.dump(said, sys.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('command', choices=[n[4:] for n in globals() if n.startswith('cmd_')])
    parser.add_argument('--bootstrap', required=True)
    parser.add_argument('--topic', default='t')
    parser.add_argument('--partition', type=int, default=-1)
    parser.add_argument('--offset', type=int, default=OFFSET_BEGINNING)
    parser.add_argument('--record')
    parser.add_argument('--timeout', type=float, default=60)
    parser.add_argument('--set', action='append', metavar='NAME=VALUE')
    args = parser.parse_args()
    globals()['cmd_' + args.command](args)


if __name__ == '__main__':
    main()
