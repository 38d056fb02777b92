"""What clients saw, and whether a log that keeps its promises could have shown it.

A value is "<producer>:<number>"; a producer numbers what it sends from 0 and never sends a value twice. The history is
judged once everything has healed and the logs have been read from 0 to their ends, maybe several times from different
leaders. Pure: no clients, no clock.

Violations, by name:
  lost         acknowledged, but not in the final log
  moved        acknowledged at one offset, in the final log at another
  duplicate    in the final log twice
  reordered    one producer's values of one partition not in the order in which they were sent
  contradicted two values were seen at one offset, by whomever
  vanished     polled, but behind the end of the final log
  backwards    a consumer's poll was not behind its poll before
  skipped      offsets that a consumer never saw, or that the final log lacks
  invented     a value that nobody sent, or not to this partition
"""
from collections import Counter, namedtuple

violation = namedtuple('violation', 'kind what')


class History:
    def __init__(self):
        self.sent = {}  # value -> partition
        self.acknowledged = []  # (value, partition, offset); offset -1: the client does not know it
        self.failed = []  # (value, error): unknown whether it was written
        self.polls = []  # (consumer, partition, offset, value), each consumer's in its order
        self.readings = []  # (name, {partition: [(offset, value)]})

    def read(self, name, logs):
        self.readings.append((name, logs))

    def violations(self):
        return list(self._find())

    def _find(self):
        seen = {}  # (partition, offset) -> (value, who)

        def contradicts(partition, offset, value, who):
            first = seen.setdefault((partition, offset), (value, who))
            if first[0] != value:
                yield violation('contradicted', f'partition {partition} offset {offset}: {first[1]} saw {first[0]}, '
                                                f'{who} saw {value}')

        for name, logs in self.readings:
            for partition, log in logs.items():
                yield from self._judge_log(name, partition, log)
                for offset, value in log:
                    yield from contradicts(partition, offset, value, name)

        position = {}
        for consumer, partition, offset, value in self.polls:
            expected = position.get((consumer, partition), 0)
            if offset < expected:
                yield violation('backwards', f'{consumer} partition {partition}: offset {offset} after {expected - 1}')
            elif offset > expected:
                yield violation('skipped', f'{consumer} partition {partition}: offsets {expected} to {offset - 1}')
            position[consumer, partition] = max(expected, offset + 1)
            yield from contradicts(partition, offset, value, consumer)

        for value, partition, offset in self.acknowledged:
            if offset >= 0:
                yield from contradicts(partition, offset, value, 'the producer')

        for name, logs in self.readings:
            where = {value: (partition, offset) for partition, log in logs.items() for offset, value in log}
            for value, partition, offset in self.acknowledged:
                if value not in where:
                    yield violation('lost', f'{value}, acknowledged at partition {partition} offset {offset}, '
                                            f'is not in {name}')
                elif offset >= 0 and where[value] != (partition, offset):
                    yield violation('moved', f'{value}, acknowledged at partition {partition} offset {offset}, '
                                             f'is at {where[value]} in {name}')
            ends = {partition: log[-1][0] + 1 if log else 0 for partition, log in logs.items()}
            for (consumer, partition), end in position.items():
                if end > ends.get(partition, 0):
                    yield violation('vanished', f'{consumer} saw partition {partition} up to {end}, '
                                                f'{name} ends at {ends.get(partition, 0)}')

    def _judge_log(self, name, partition, log):
        last, at, expected = {}, {}, 0
        for offset, value in log:
            if offset != expected:
                yield violation('skipped', f'{name} partition {partition}: offset {offset} where {expected} belongs')
            expected = offset + 1
            if value in at:
                yield violation('duplicate', f'{name} partition {partition}: {value} at {at[value]} and {offset}')
                continue
            at[value] = offset
            if self.sent.get(value) != partition:
                yield violation('invented', f'{name} partition {partition} offset {offset}: {value}')
                continue
            producer, number = value.rsplit(':', 1)
            if int(number) < last.get(producer, -1):
                yield violation('reordered', f'{name} partition {partition}: {value} at {offset}, behind number '
                                             f'{last[producer]}')
            last[producer] = max(int(number), last.get(producer, -1))


def summary(found, examples=5):
    """Every kind with its count, and a few of each; empty when there is nothing."""
    lines = []
    for kind, count in sorted(Counter(v.kind for v in found).items()):
        lines.append(f'{kind}: {count}')
        lines += ['  ' + v.what for v in [v for v in found if v.kind == kind][:examples]]
    return '\n'.join(lines)
