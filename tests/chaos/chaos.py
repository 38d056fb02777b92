#!/usr/bin/python3
"""Random faults against a cluster of three real nodes under load: `./dev chaos --runs=N [--from=S]`.

A run's faults, their order, victims and lengths come from its seed alone, so a seed gives the same plan on every machine
with the same facilities; what the processes make of it is up to their schedulers. Each run: form, load, faults for
about 25 s, heal, read everything from each node, judge. A run that failed leaves its logs and its history.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import facilities
from cluster import scratch, wait_for
from limits import Limits
from network import Namespaces, Plain, Proxies
from scenario import Scenario

FAULTS_S = 25
# How often a shard's owner may be lost by a fault. Some are over before anybody misses it.
LOSES = {'kill': 1, 'kill_all': 2, 'flicker': 2, 'pause': 1, 'stop': 1, 'cut': 1, 'isolate': 1, 'one_way': 1}
IDS = (1, 2, 3)


class Plan:
    """What happens in a run, decided before it begins."""

    def __init__(self, seed, there, only=()):
        dice = random.Random(seed)
        networks = [Proxies] + ([Namespaces] if 'namespaces' in there else [])
        self.network = dice.choice(networks)
        self.small_disk = dice.choice(IDS) if 'small mount' in there and dice.random() < 0.5 else None
        self.jumping = dice.choice(IDS) if 'wall clock' in there and dice.random() < 0.5 else None
        self.partitions = dice.choice((1, 3, 6))
        self.size = dice.choice((0, 0, 500, 4000))
        kinds = ['kill', 'kill', 'kill', 'kill_all', 'pause', 'pause', 'stop', 'stop', 'flicker', 'cut', 'isolate', 'isolate']
        kinds += ['one_way'] * ('one_way' in self.network.can) + ['delay'] * ('delay' in self.network.can)
        kinds += ['reset'] * ('reset' in self.network.can)
        kinds += ['disk_full'] * 3 * (self.small_disk is not None) + ['jump'] * 3 * (self.jumping is not None)
        kinds = [k for k in kinds if not only or k in only]
        if not kinds:
            raise SystemExit(f'none of {", ".join(only)} can be done here with seed {seed}')
        self.steps = []
        # The special ones of a run are owed; the others are drawn.
        owed = [k for k in ('disk_full', 'jump') if k in kinds]
        at = dice.uniform(0.5, 1.5)
        while at < FAULTS_S:
            kind = owed.pop() if owed and dice.random() < 0.5 else dice.choice(kinds)
            # Often the leader: that is where it hurts.
            victim = dice.choice(('leader', 'leader', 1, 2, 3))
            victim = {'disk_full': self.small_disk, 'jump': self.jumping}.get(kind, victim)
            lasts = round(dice.choice((dice.uniform(0.1, 1), dice.uniform(1, 4), dice.uniform(4, 7))), 2)
            self.steps.append((round(at, 2), kind, victim, lasts, dice.randrange(1 << 16)))
            # Some overlap: the second fault comes before the first one has ended.
            at += lasts * dice.choice((0.4, 1, 1)) + dice.uniform(0.3, 2.5)

    def text(self):
        extra = [f'small disk of node {self.small_disk}'] * (self.small_disk is not None)
        extra += [f'jumping clock of node {self.jumping}'] * (self.jumping is not None)
        lines = [', '.join([self.network.name, f'{self.partitions} partitions', f'values of {self.size or "few"} bytes'] + extra)]
        return '\n'.join(lines + [f'  at {at:5.2f} s  {kind} {victim} for {lasts} s'
                                  for at, kind, victim, lasts, _ in self.steps])


class Run:
    def __init__(self, seed, plan, home):
        self.seed, self.plan, self.story = seed, plan, []
        self._mounted = None
        options = ['--segment-bytes=4MiB'] if seed % 2 else []
        self.s = Scenario(topic='t', partitions=plan.partitions, show=False, network=plan.network, options=options,
                          home=home, prepare=self._prepare)
        self.cluster = self.s.cluster
        self.limits = None
        self._undo = []  # (when, what, how), in no order
        self.done = set()

    def _prepare(self, cluster):
        if self.plan.small_disk:
            self._mounted = cluster[self.plan.small_disk].mount_small_disk()
        if self.plan.jumping:
            cluster[self.plan.jumping].set_clock(0)

    def tell(self, text):
        self.story.append(f'{time.monotonic() - self.begun:6.2f} s  {text}')

    def go(self):
        """Returns what was wrong, or nothing."""
        self.begun = time.monotonic()
        try:
            with self.s:
                try:
                    return self._go()
                except Exception as e:  # also our own mistakes: the other runs go on, the logs are kept
                    return f'{type(e).__name__}: {e}'
                finally:
                    if self.limits:
                        self.limits.finish()
                    self.cluster.network.heal()
                    self.cluster.keep = True  # the caller looks at the logs first
        finally:
            self._unmount()

    def _unmount(self):
        if self._mounted:
            # The data is wanted, the mount is not.
            kept = self._mounted + '.kept'
            shutil.copytree(self._mounted, kept, ignore=shutil.ignore_patterns('ballast'))
            facilities.quiet('umount', '-l', self._mounted)

    def _go(self):
        self.cluster.start()
        self.s.serve(rate=150, size=self.plan.size)
        self.limits = Limits(self.cluster).start()
        begun = time.monotonic()
        self.tell('the faults begin')
        for at, kind, victim, lasts, chance in self.plan.steps:
            self._until(begun + at)
            self._fault(kind, victim, lasts, random.Random(chance))
        self._until(begun + FAULTS_S)
        for _, what, how in sorted(self._undo, key=lambda u: u[0]):
            self._end(what, how)
        self._undo.clear()
        self._heal()
        self.tell('healed')
        self.s.load.wait_progress(150, 40)  # service returns by itself within 30 s
        self.tell('progress')
        self.cluster.wait_in_sync('t', limit_s=60)
        self.tell('in sync')
        self.s.load.finish()
        self.limits.finish()
        losses = sum(LOSES.get(kind, 0) for _, kind, *_ in self.plan.steps)
        wrong = self.limits.violations(losses)
        if wrong:
            return '; '.join(wrong)
        self.tell(f'{self.limits.calls} limits decided')
        self.s.read_everywhere()
        self.s.judge()
        self.tell('judged')

    def _until(self, moment):
        while True:
            due = min(self._undo, key=lambda u: u[0], default=None)
            if not due or due[0] > moment:
                break
            self._undo.remove(due)
            time.sleep(max(0, due[0] - time.monotonic()))
            self._end(due[1], due[2])
        time.sleep(max(0, moment - time.monotonic()))

    def _end(self, what, how):
        how()
        self.tell(f'{what} ends')

    def _later(self, lasts, what, how):
        self._undo.append((time.monotonic() + lasts, what, how))

    def _start(self, node):
        if not node.running():
            self.cluster.start(node.id, wait=False)

    def _heal(self):
        self.cluster.network.heal()
        for node in self.cluster.nodes.values():
            node.resume()
            self._start(node)

    def _fault(self, kind, victim, lasts, dice):
        network = self.cluster.network
        if victim == 'leader':
            leading = self.cluster.partitions('t').get(0)
            victim = leading.leader if leading and leading.leader in self.cluster.nodes else dice.choice(IDS)
        node = self.cluster[victim]
        others = [n for n in IDS if n != node.id]
        what = f'{kind} {node.id}'
        if kind in ('kill', 'stop', 'pause', 'flicker') and (not node.running() or node.paused):
            return
        self.tell(what)
        self.done.add(kind)
        if kind == 'kill':
            node.kill()
            self._later(lasts, what, lambda: self._start(node))
        elif kind == 'kill_all':
            for n in self.cluster.nodes.values():
                n.kill()
            self._later(lasts, what, lambda: [self._start(n) for n in self.cluster.nodes.values()])
        elif kind == 'flicker':  # killed repeatedly while it starts
            for _ in range(4):
                node.kill()
                self._start(node)
                time.sleep(dice.uniform(0.02, 0.6))
        elif kind == 'stop':
            # It may have no quorum to hand over to; then it is killed once its time has come.
            node.terminate()

            def ended():
                if node.running():
                    try:
                        node.process.wait(10)
                    except subprocess.TimeoutExpired:
                        self.tell(f'node {node.id} did not end within {lasts + 10:.0f} s of SIGTERM and is killed')
                        node.kill()
                self._start(node)
            self._later(lasts, what, ended)
        elif kind == 'pause':
            node.pause()
            self._later(lasts, what, node.resume)
        elif kind == 'cut':
            network.cut(node.id, dice.choice(others))
            self._later(lasts, what, network.heal)
        elif kind == 'isolate':
            for other in others:
                network.cut(node.id, other)
            self._later(lasts, what, network.heal)
        elif kind == 'one_way':
            for other in others:
                network.one_way(*((node.id, other) if dice.random() < 0.5 else (other, node.id)))
            self._later(lasts, what, network.heal)
        elif kind == 'delay':
            for other in others:
                network.delay(node.id, other, dice.uniform(0.02, 0.4))
            self._later(lasts, what, network.heal)
        elif kind == 'reset':
            for other in others:
                network.reset(node.id, other)
        elif kind == 'disk_full':
            node.fill_disk()
            self._later(lasts, what, node.free_disk)
        elif kind == 'jump':
            jump = dice.choice((3600, -3600, 3650 * 86400, -3650 * 86400, 7, -7))
            self.tell(f'by {jump} s')
            node.set_clock(jump)
            self._later(lasts, what, lambda: node.set_clock(0))


def keep(run, wrong, home):
    h = run.s.load.history if run.s.load else None
    with open(os.path.join(home, 'story'), 'w') as f:
        print(f'seed {run.seed}', run.plan.text(), *run.story, wrong, *(run.s.load.notes if h else []), sep='\n', file=f)
    if h:
        with open(os.path.join(home, 'history.json'), 'w') as f:
            # Of a run that broke off, clients may still be at it.
            json.dump({'sent': h.sent.copy(), 'acknowledged': h.acknowledged.copy(), 'failed': h.failed.copy(),
                       'polls': h.polls.copy(), 'readings': h.readings.copy()}, f)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=10)
    parser.add_argument('--from', dest='first', type=int, default=1, metavar='SEED')
    parser.add_argument('--without', default='', help='facilities to do without, by commas')
    parser.add_argument('--only', default='', help='kinds of faults, by commas; changes what a seed means')
    parser.add_argument('--plan', action='store_true', help='show what the seeds would do')
    parser.add_argument('--stop', action='store_true', help='end with the first run that fails')
    args = parser.parse_args()

    without = set(filter(None, args.without.split(',')))
    probed = facilities.probe()
    if without - set(probed):
        parser.error(f'--without knows {", ".join(probed)}')
    there = {name for name, missing in probed.items() if missing is None and name not in without}
    for name, missing in probed.items():
        print(f'{name:12} ' + ('there' if name in there else f'NOT RUN: {"left out" if missing is None else missing}'))

    # kill -TERM must clean up namespaces and mounts too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed, kinds, acknowledged = [], set(), 0
    begun = time.monotonic()
    seed = args.first - 1
    for seed in range(args.first, args.first + args.runs):
        plan = Plan(seed, there, set(filter(None, args.only.split(','))))
        if args.plan:
            print(f'seed {seed}: {plan.text()}')
            continue
        home = os.path.join(scratch(), f'seed-{seed}-{os.getpid()}')
        run, started = Run(seed, plan, home), time.monotonic()
        wrong = run.go()
        count = run.s.load.acknowledged() if run.s.load else 0
        acknowledged += count
        kinds |= run.done
        print(f'seed {seed}: {"FAILED" if wrong else "good"}, {count} acknowledged, {time.monotonic() - started:.0f} s, '
              f'{plan.network.name}: {" ".join(sorted(run.done))}', flush=True)
        if wrong:
            failed.append(seed)
            keep(run, wrong, home)
            print(plan.text(), *run.story, wrong, run.cluster.tails(), f'all of it is in {home}', sep='\n', flush=True)
            if args.stop:
                break
        else:
            shutil.rmtree(home, ignore_errors=True)
    if args.plan:
        return 0
    missing = [name for name in probed if name not in there]
    print(f'chaos: {seed - args.first + 1} runs from seed {args.first}, {len(failed)} failed'
          f'{" (" + ", ".join(map(str, failed)) + ")" if failed else ""}, {acknowledged} values acknowledged, '
          f'{time.monotonic() - begun:.0f} s; faults: {" ".join(sorted(kinds))}; '
          f'not run: {", ".join(missing) or "nothing"}; next: --from={seed + 1}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
