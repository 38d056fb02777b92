#!/usr/bin/python3
"""The checker finds each kind of violation in a history made for it, and nothing in a sound one."""
import unittest

from history import History, summary


def sound():
    """Two producers, two partitions, one consumer; b:1 was never acknowledged but is there, b:3 is not."""
    h = History()
    h.sent = {'a:0': 0, 'a:1': 1, 'a:2': 0, 'b:0': 0, 'b:1': 0, 'b:3': 0}
    h.acknowledged = [('a:0', 0, 0), ('b:0', 0, 1), ('a:2', 0, 2), ('a:1', 1, 0)]
    h.failed = [('b:1', 'timed out'), ('b:3', 'timed out')]
    h.polls = [('c', 0, 0, 'a:0'), ('c', 1, 0, 'a:1'), ('c', 0, 1, 'b:0')]
    h.read('end', {0: [(0, 'a:0'), (1, 'b:0'), (2, 'a:2'), (3, 'b:1')], 1: [(0, 'a:1')]})
    return h


class Checker(unittest.TestCase):
    def finds(self, h, *kinds):
        self.assertEqual(sorted({v.kind for v in h.violations()}), sorted(kinds), summary(h.violations()))

    def test_nothing_in_a_sound_history(self):
        self.finds(sound())

    def test_lost(self):
        h = sound()
        h.readings[0][1][1].clear()
        h.polls.pop(1)
        self.finds(h, 'lost')

    def test_lost_in_one_reading_of_several(self):
        h = sound()
        h.read('on node 2', {0: h.readings[0][1][0][:2], 1: [(0, 'a:1')]})
        self.finds(h, 'lost')

    def test_moved(self):
        h = sound()
        h.acknowledged[2] = ('a:2', 0, 7)
        self.finds(h, 'moved')

    def test_duplicate(self):
        h = sound()
        h.readings[0][1][0].append((4, 'a:0'))
        self.finds(h, 'duplicate', 'moved')

    def test_duplicate_of_what_has_no_known_offset(self):
        h = sound()
        h.readings[0][1][0].append((4, 'b:1'))
        self.finds(h, 'duplicate')

    def test_reordered(self):
        h = sound()
        h.acknowledged = []
        h.polls = []
        h.readings[0] = ('end', {0: [(0, 'a:2'), (1, 'a:0')], 1: []})
        self.finds(h, 'reordered')

    def test_two_values_at_one_offset(self):
        h = sound()
        h.polls.append(('c', 0, 2, 'b:3'))
        self.finds(h, 'contradicted')

    def test_two_consumers_saw_two_values_that_are_gone_now(self):
        h = sound()
        h.polls += [('c', 0, 2, 'a:2'), ('c', 0, 3, 'b:1'), ('c', 0, 4, 'b:3')]
        h.polls += [('d', 0, n, v) for n, v in enumerate(['a:0', 'b:0', 'a:2', 'b:1', 'a:3'])]
        self.finds(h, 'contradicted', 'vanished')

    def test_two_acknowledged_at_one_offset(self):
        h = sound()
        h.acknowledged.append(('b:3', 0, 2))
        self.finds(h, 'contradicted', 'lost')

    def test_vanished(self):
        h = sound()
        h.polls += [('c', 1, 1, 'a:9')]
        self.finds(h, 'vanished')

    def test_backwards(self):
        h = sound()
        h.polls.append(('c', 0, 0, 'a:0'))
        self.finds(h, 'backwards')

    def test_skipped_by_a_consumer(self):
        h = sound()
        h.polls.append(('c', 0, 3, 'b:1'))
        self.finds(h, 'skipped')

    def test_skipped_in_the_log(self):
        h = sound()
        h.readings[0][1][0][3] = (5, 'b:1')
        self.finds(h, 'skipped')

    def test_invented(self):
        h = sound()
        h.readings[0][1][1].append((1, 'x:0'))
        self.finds(h, 'invented')

    def test_in_the_wrong_partition(self):
        h = sound()
        h.readings[0][1][1].append((1, 'b:3'))
        self.finds(h, 'invented')

    def test_numbers_are_compared_as_numbers(self):
        h = History()
        h.sent = {'a:9': 0, 'a:10': 0}
        h.read('end', {0: [(0, 'a:9'), (1, 'a:10')]})
        self.finds(h)


if __name__ == '__main__':
    unittest.main()
