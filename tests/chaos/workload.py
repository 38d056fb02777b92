"""Clients under way while nodes fall: idempotent producers with unique values, consumers that poll all the time, and the
reading of everything at the end. What they see goes into a History."""
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cluster import TimedOut, wait_for
from history import History


def settings(cluster, **more):
    return {'bootstrap.servers': cluster.bootstrap, 'broker.address.family': 'v4', 'log_level': 0,
            # A node that is gone for a second should not be missed for ten.
            'reconnect.backoff.ms': 50, 'reconnect.backoff.max.ms': 500, 'topic.metadata.refresh.interval.ms': 2000,
            'socket.timeout.ms': 10000, 'error_cb': lambda e: None, **more}


def create_topic(cluster, name, partitions, replicas=3, limit_s=60):
    def tried():
        try:
            # A fresh client each time: an old one would wait for nodes that are gone.
            admin = AdminClient(settings(cluster))
            admin.create_topics([NewTopic(name, partitions, replicas)])[name].result(15)
        except KafkaException as e:
            if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                last[0] = e
                return False
        return True
    last = [None]
    try:
        wait_for('', tried, limit_s, 0.3)
    except TimedOut:
        raise TimedOut(f'topic {name} could not be created within {limit_s} s: {last[0]}')


class Workload:
    """From `start` to `finish`. Each producer keeps the pace of `rate` values a second."""

    def __init__(self, cluster, topic, partitions, producers=2, consumers=2, rate=200, size=0,
                 message_timeout_s=120):
        self.cluster, self.topic, self.partitions, self.rate = cluster, topic, partitions, rate
        self.size = size  # values are filled up to it with spaces
        self.message_timeout_s = message_timeout_s
        self.history = History()
        self.notes = []  # what clients complained about, for a reader of failures
        self._began = time.monotonic()
        self._producing, self._consuming = threading.Event(), threading.Event()
        self._producing.set()
        self._consuming.set()
        self._threads = [threading.Thread(target=self._guard, args=(self._produce, f'p{n}'), daemon=True)
                         for n in range(producers)]
        self._readers = [threading.Thread(target=self._guard, args=(self._consume, f'c{n}'), daemon=True)
                         for n in range(consumers)]

    def start(self):
        for t in self._threads + self._readers:
            t.start()
        return self

    def acknowledged(self):
        return len(self.history.acknowledged)

    def wait_progress(self, more=50, limit_s=40):
        """Acknowledgements go on: so many more, from now."""
        wanted = self.acknowledged() + more
        wait_for(f'{more} more acknowledged values', lambda: self.acknowledged() >= wanted, limit_s)

    def finish(self, limit_s=150):
        """Ends producers once all they sent is answered; consumers once they have seen the ends of the logs."""
        self._producing.clear()
        for t in self._threads:
            t.join(limit_s)
            if t.is_alive():
                raise TimedOut('a producer does not end')
        ends = {n: len(log) for n, log in self.read_all('when the load ended').items()}
        try:
            wait_for('consumers see all there is', lambda: self._positions() >= {
                (f'c{c}', p, ends[p]) for c in range(len(self._readers)) for p in ends if ends[p]}, 60, 0.2)
        finally:
            self._consuming.clear()
            for t in self._readers:
                t.join(60)

    def _positions(self):
        last = {}
        for consumer, partition, offset, _ in list(self.history.polls):
            last[consumer, partition] = offset + 1
        return {(c, p, end) for (c, p), end in last.items()}

    def read_all(self, name, limit_s=90):
        """All partitions from 0 to the ends that the leaders name, into the history."""
        until = time.monotonic() + limit_s
        while True:
            try:
                logs = self._read(min(30, limit_s))
                self.history.read(name, logs)
                return logs
            except KafkaException as e:
                if time.monotonic() > until:
                    raise TimedOut(f'reading {self.topic} does not succeed within {limit_s} s: {e}')
                time.sleep(0.3)

    def _read(self, limit_s):
        c = Consumer(settings(self.cluster, **{'group.id': 'none', 'enable.auto.commit': False,
                                               'auto.offset.reset': 'error'}))
        try:
            ends, logs = {}, {}
            for n in range(self.partitions):
                low, high = c.get_watermark_offsets(TopicPartition(self.topic, n), timeout=10)
                assert low == 0, f'partition {n} begins at {low}'
                ends[n], logs[n] = high, []
            c.assign([TopicPartition(self.topic, n, 0) for n in ends])
            until = time.monotonic() + limit_s
            while any(not logs[n] or logs[n][-1][0] + 1 < ends[n] for n in ends if ends[n]):
                for m in c.consume(5000, timeout=0.5):
                    if m.error():
                        raise KafkaException(m.error())
                    if m.offset() < ends[m.partition()]:
                        logs[m.partition()].append((m.offset(), m.value().decode().rstrip()))
                if time.monotonic() > until:
                    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f'read up to '
                                                    f'{ {n: len(log) for n, log in logs.items()} } of {ends}'))
            return logs
        finally:
            c.close()

    def _note(self, text):
        self.notes.append(f'{time.monotonic() - self._began:7.2f} s  {text}')

    def _guard(self, what, name):
        try:
            what(name)
        except Exception as e:  # a thread that dies silently would make a quiet test
            self._note(f'{name} died: {e!r}')
            self.history.failed.append((f'{name}:-1', repr(e)))

    def _produce(self, name):
        def delivered(error, m):
            value = m.value().decode().rstrip()
            if error:
                self._note(f'{value} failed: {error.name()} {error.str()}')
                self.history.failed.append((value, error.name()))
            else:
                self.history.acknowledged.append((value, m.partition(), -1 if m.offset() is None else m.offset()))

        p = Producer(settings(self.cluster, **{
            'enable.idempotence': True, 'acks': 'all', 'linger.ms': 2, 'retry.backoff.ms': 50,
            'request.timeout.ms': 5000, 'message.timeout.ms': self.message_timeout_s * 1000}))
        number, begun = 0, time.monotonic()
        while self._producing.is_set():
            if number > (time.monotonic() - begun) * self.rate or len(p) > 2000:
                p.poll(0.005)
                continue
            value, partition = f'{name}:{number}', number % self.partitions
            self.history.sent[value] = partition
            p.produce(self.topic, value.encode().ljust(self.size), partition=partition, on_delivery=delivered)
            number += 1
            p.poll(0)
        p.flush(self.message_timeout_s + 10)
        if len(p):
            self.history.failed.append((f'{name}:-1', f'{len(p)} values never answered'))

    def _consume(self, name):
        # No reset: an offset out of range means that something readable is gone.
        c = Consumer(settings(self.cluster, **{'group.id': 'none', 'enable.auto.commit': False,
                                               'auto.offset.reset': 'error', 'fetch.wait.max.ms': 100}))
        c.assign([TopicPartition(self.topic, n, 0) for n in range(self.partitions)])
        while self._consuming.is_set():
            for m in c.consume(1000, timeout=0.1):
                if m.error():
                    self._note(f'{name}: {m.error().name()} {m.error().str()}')
                    if m.error().code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
                        self.history.failed.append((f'{name}:-1', str(m.error())))
                        return
                else:
                    self.history.polls.append((name, m.partition(), m.offset(), m.value().decode().rstrip()))
        c.close()
